"""What works on networks of timm and on a module from a file: a table.

    python benchmarks/any_network.py PHOTOS --rows ROWS.jsonl [--pictures 24] [--side 64]
        [--names convnext_atto ...] [--page FILE.md]

PHOTOS is a folder of class folders. Each network learns from some of its pictures for one epoch, from random weights,
and then goes through everything else that Casebook does with a network. Its pictures have `--side` pixels, or the
network's own size where it takes no other. What raises a `CasebookError` is "no" in the
table, with what was said below it; any other exception is "broken". A row is written to ROWS as soon as its network is
done, and a network that has its row there is not run again. Needs timm and torchvision. Nothing is timed.
"""

import argparse
import datetime
import json
import shutil
import tempfile
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import casebook
from casebook.errors import CasebookError, Interrupted

NAMES = (
    "ghostnet_050", "mobilenetv4_conv_small", "regnetx_002", "repvgg_a0", "tf_efficientnetv2_b0", "convnext_atto",
    "dpn48b", "hrnet_w18_small", "vit_tiny_patch16_224", "resmlp_12_224", "swin_tiny_patch4_window7_224",
    "maxvit_pico_rw_256",
)  # fmt: skip
BY_PICTURE = ("grad-cam", "occlusion", "guided", "gradient", "deconvnet", "features", "filters")
MODULE = """
from torch import nn

def small(num_classes=2, in_channels=3):
    def block(a, b):
        return nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
    blocks = [block(in_channels, 16), block(16, 32), block(32, 64)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))
"""


def some_pictures(folder: Path, count: int, to: Path) -> Path:
    """A folder with the first pictures of each class."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    for path in classes:
        (to / path.name).mkdir(parents=True)
        for picture in sorted(path.iterdir())[: count // len(classes)]:
            shutil.copy(picture, to / path.name)
    return to


def steps_of(name: str, side: int, data: Path, scratch: Path) -> dict[str, Callable[[], object]]:
    """What is done with a network, in this order: the later steps ask the run of the first."""
    picture = next(data.glob("*/*"))
    run, bundle = scratch / "run", scratch / "run.casebook"
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 16, "workers": 0, "input_size": side}

    def learn(what: str) -> None:
        given: dict[str, Any] = settings | {"transfer": what, "weights": str(run)}
        casebook.train(str(data), model=name, recipe="transfer", out=scratch / what.replace(":", "-"), **given)

    def explain(method: str) -> None:
        quick: dict[str, Any] = {"square": side // 4, "stride": side // 4} if method == "occlusion" else {}
        if not list(casebook.explain(run, [picture], method=method, out=scratch / method, **quick)):
            raise CasebookError("no file was written")

    def protocol(name: str) -> None:
        casebook.evaluate(run, protocol=name)

    def verify() -> None:
        ours, bundled = (casebook.load(one).probabilities([picture]) for one in (run, bundle))
        if not casebook.verify(bundle).is_passed or abs(ours - bundled).max() > 1e-4:
            raise CasebookError("the bundle answers otherwise")

    fresh: dict[str, Any] = {"recipe": "scratch", "out": run, **settings}
    return {
        "train": lambda: casebook.train(str(data), model=name, **fresh),
        "head": lambda: learn("head"),
        "last:1": lambda: learn("last:1"),
        "count": lambda: casebook.count(name, side),
        **{
            level: lambda level=level: casebook.draw(name, side, level=level, out=scratch / f"{level}.svg")
            for level in ("strip", "block", "layers")
        },
        **{method: lambda method=method: explain(method) for method in BY_PICTURE},
        "vectors": lambda: casebook.features(run, [picture]),
        "10-crop": lambda: protocol("10-crop"),
        "dense": lambda: protocol("dense"),
        "compare": lambda: casebook.evaluate([run, scratch / "last-1"]),
        "export": lambda: casebook.export(run, bundle, settings=casebook.ExportSettings(int8="off")),
        "verify": verify,
    }


def row(name: str, shown: str, side: int, data: Path, scratch: Path) -> dict[str, Any]:
    """The network's sizes, and what each step said: "yes", "no: ..." or "broken: ..."."""
    card, said = casebook.model_card(name), {}
    side = card.input_size if card.fixed_input else side
    for step, do in steps_of(name, side, data, scratch).items():
        try:
            do()
            said[step] = "yes"
        except Interrupted:
            raise
        except CasebookError as error:
            said[step] = f"no: {error}".replace(name, shown).replace(f"{scratch}/", "")
        except Exception as error:  # the table says so, and the other steps are still tried
            traceback.print_exc()
            said[step] = f"broken: {type(error).__name__}: {error}"
        print(f"{shown}: {step}: {said[step]}", flush=True)
    counted = casebook.count(name, side).total
    return {
        "name": shown,
        "date": datetime.date.today().isoformat(),
        "pictures": len(list(data.glob("*/*"))),
        "input_size": side,
        "parameters": counted.parameters,
        "multiply_adds": counted.multiply_adds,
        "stages": len(casebook.create_model(name).stages),
        "said": said,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows, with a column for each step that does not work everywhere, and below it what was said there."""
    steps = list(rows[0]["said"])
    everywhere = [step for step in steps if all(row["said"][step] == "yes" for row in rows)]
    columns = [step for step in steps if step not in everywhere]
    head = ["network", "pixels", "weights", "multiply-adds", "stages", *(f"`{step}`" for step in columns)]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        cells = [f"`{row['name']}`", str(row["input_size"]), f"{row['parameters']:,}", f"{row['multiply_adds']:,}"]
        cells += [str(row["stages"]), *(row["said"][step].partition(":")[0] for step in columns)]
        lines.append("| " + " | ".join(cells) + " |")
        for step in columns:
            if row["said"][step] != "yes":
                said = row["said"][step].replace(row["name"], "NETWORK")
                reasons.setdefault(f"`{step}`, {said}", []).append(f"`{row['name']}`")
    dates, pictures = sorted({row["date"] for row in rows}), rows[0]["pictures"]
    works = f"Made by `benchmarks/any_network.py` on {pictures} pictures, {dates[0]}"
    works += f" to {dates[-1]}." if len(dates) > 1 else "."
    works += " On every one of these networks work: " + ", ".join(f"`{step}`" for step in everywhere) + "."
    said = [f"- {said} ({', '.join(names)})" for said, names in reasons.items()]
    wrapped = [textwrap.fill(text, 120, subsequent_indent="  " * text.startswith("- ")) for text in (works, *said)]
    return "\n".join([wrapped[0], "", *lines, "", *wrapped[1:]]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.rows.read_text().splitlines()] if given.rows.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        data = some_pictures(given.photos, given.pictures, Path(folder) / "data")
        module = Path(folder) / "net.py"
        module.write_text(MODULE)
        casebook.trust_code(f"{module}:small")
        for shown in ("net.py:small", *(f"timm/{name}" for name in given.names)):
            if shown in [row["name"] for row in rows]:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                name = shown if shown.startswith("timm/") else f"{module}:small"
                rows.append(row(name, shown, given.side, data, Path(scratch)))
            with given.rows.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))
    if given.page:
        given.page.write_text(table(rows))


if __name__ == "__main__":
    main()
