"""casebook augment"""

import typer

from ..tables import TextColumn
from .output import WIDE, print_json, print_table, wrong_usage
from .sources import CLASS_LIST, COLUMNS, LABEL_FROM, ROOT, SUFFIX, read_source
from .train import parsed_settings


def augment(
    data: str = typer.Argument(
        None, help="A picture, of which every epoch is shown, or a data set; without it, the policies are listed."
    ),
    policy: str = typer.Option(None, "--policy", "-p", help="Which policy (basic); without DATA they are listed."),
    out: str = typer.Option("augmented.png", "--out", "-o", help="The PNG or JPEG to write."),
    count: int = typer.Option(12, "--count", "-n", min=1, max=200, help="Pictures on the sheet of a policy."),
    per_row: int = typer.Option(4, "--per-row", min=1, max=20, help="Pictures in a row of the sheet."),
    size: int = typer.Option(224, min=8, max=1024, help="Side of the network's input in pixels."),
    seed: int = typer.Option(0, min=0, help="Another seed draws other parameters."),
    operations: bool = typer.Option(False, "--operations", help="Show one of each operation, without a policy."),
    settings: list[str] = typer.Option(
        None, "--set", help="A law laid over the policy's, as NAME=VALUE, such as rotate=15."
    ),
    label_from: str = LABEL_FROM,
    root: str = ROOT,
    suffix: str = SUFFIX,
    columns: str = COLUMNS,
    classes: str = CLASS_LIST,
    wide: bool = WIDE,
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Draw a contact sheet of augmented pictures with their parameters, or list the policies."""
    from casebook.augmentation.policy import POLICIES, named_policy

    if operations and (data is None or policy or settings):
        raise wrong_usage("--operations takes a picture and shows each operation once, without a policy or laws")
    source = read_source(
        data, label_from=label_from, root=root, suffix=suffix, columns=columns, class_list=classes
    )  # fmt: skip
    if data is None or source is None:
        if json_:
            print_json({"policies": {name: _entry(*entry) for name, entry in POLICIES.items()}})
        else:
            rows = [[name, entry.purpose, entry.source] for name, entry in POLICIES.items()]
            shown = (TextColumn("policy"), TextColumn("what it does", fold=30), TextColumn("source", rank=1, fold=20))
            print_table(shown, rows, wide=wide)
        return
    laws = parsed_settings(settings or [])
    laws |= laws.pop("augment", {})  # as casebook train spells them
    chosen = named_policy(policy or "basic").changed(laws)
    from casebook.workflows.augment import draw_operations, draw_sheet

    if operations:
        pictures = draw_operations(data, out, size=size, columns=per_row)
    else:
        pictures = draw_sheet(source, chosen, out, count=count, size=size, seed=seed, columns=per_row)
    if json_:
        print_json(
            {"data": data, "policy": None if operations else policy or "basic", "out": out, "pictures": pictures}
        )
    else:
        print(f"{len(pictures)} pictures in {out}")


def _entry(policy: object, purpose: str, source: str) -> dict[str, object]:
    import dataclasses

    return {"purpose": purpose, "source": source, "laws": dataclasses.asdict(policy)}  # type: ignore[call-overload]
