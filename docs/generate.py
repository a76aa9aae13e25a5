"""Writes docs/reference/{cli,networks,python,recipes}.md, docs/python.ipynb and docs/drawings/; `--check` fails where
they are stale.

Nothing here depends on the width of the terminal, the version of typer or that of Python: the pages come from the
signatures of the commands, the model cards, the fields of the recipe and the source of the public names; the notebook
from docs/python.md.
"""

import ast
import dataclasses
import doctest
import inspect
import json
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gallery
import tomli_w
import typer

import casebook
from casebook.augmentation.policy import LAWS, POLICIES, Policy
from casebook.cli import app
from casebook.cli.train import train
from casebook.drawing.draw import draw_network
from casebook.lessons.notebook import notebook_text
from casebook.models import FAMILIES, model_card
from casebook.models.card import PublishedWeights
from casebook.reports.strips import without_numbers
from casebook.training.recipe import RECIPES, Recipe

DOCS = Path(__file__).parent
NOTICE = "<!-- Written by docs/generate.py; edit what it reads, then run it again. -->\n"
TYPES = {
    str: "text", int: "integer", float: "number", bool: "flag",
    list[str]: "text, repeatable", list[int]: "integer, repeatable", tuple[float, float]: "two numbers",
}  # fmt: skip


def cli_page() -> str:
    lines = [
        NOTICE,
        "# The command line\n",
        "`casebook COMMAND --help` shows the same. Results go to stdout, progress and remarks to stderr. The exit code "
        "is 0 for success, 1 for an error that is said in one line, 2 for wrong usage, and 130 after Ctrl-C. What "
        "`--json` prints is described in [json.md](json.md).\n",
    ]
    for name, command in sorted(commands(app, "casebook")):
        arguments, options = [], []
        for parameter, value in inspect.signature(command).parameters.items():
            info, kind = value.default, value.annotation
            row = [TYPES[kind], default_of(info, kind), info.help or ""]
            if isinstance(info, typer.models.ArgumentInfo):
                arguments.append([f"`{parameter.upper()}`", *row])
            else:
                names = info.param_decls or [f"--{parameter.replace('_', '-')}"]
                options.append([", ".join(f"`{name}`" for name in names), *row])
        usage = " ".join(
            a.strip("`") if default == "required" else f"[{a.strip('`')}]" for a, _, default, _ in arguments
        )
        lines += [f"## {name}\n", f"{command.__doc__}\n", f"    {name} [OPTIONS] {usage}".rstrip() + "\n"]
        for title, rows in (("argument", arguments), ("option", options)):
            if rows:
                lines.append(table([[title, "type", "default", "meaning"], *rows]))
    return "\n".join(lines)


def commands(group: typer.Typer, prefix: str) -> Iterator[tuple[str, Callable]]:
    """(full name, function) of every command below a group."""
    for command in group.registered_commands:
        if command.callback is not None:
            yield f"{prefix} {command.name}", command.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from commands(inner.typer_instance, f"{prefix} {inner.name}")


def default_of(info: Any, kind: type) -> str:
    if info.default is ...:
        return "required"
    return "" if info.default in (None, "", False) or kind is bool else f"`{info.default}`"


def networks_page() -> str:
    lines = [
        NOTICE,
        "# The networks\n",
        "Parameters are trainable weights; multiply-adds are those of convolutions and linear layers for one picture "
        "at the input size, one multiplication with its addition counted once. Both are counted by a test on every "
        "network. A published figure stands beside ours with what it refers to; where they differ, a departure or "
        "the rounding of the source is the reason. Each family shows the strip of one network; `casebook draw NAME` "
        "draws any.\n",
    ]
    for family, names in FAMILIES.items():
        cards = [model_card(name) for name in names]
        papers = {card.paper: None for card in cards}
        lines.append(f"## {family}\n")
        for paper in papers:
            lines.append(f"{paper.authors}: *{paper.title}*, {paper.venue} ({paper.year}), <{paper.link}>\n")
        drawn = DRAWN.get(family, names[0])
        lines.append(f"![{drawn} as a strip, from its input to its output](strips/{family}.svg)\n")
        rows = [["network", "parameters", "multiply-adds", "input", "classes", "smallest input", "options"]]
        for card in cards:
            shape = f"{card.in_channels} x {card.input_size} x {card.input_size}"
            smallest = f"only {card.smallest_input}" if card.fixed_input else f"{card.smallest_input}"
            options = ", ".join(f"`{option}`" for option in card.options)
            rows.append(
                [f"`{card.name}`", f"{card.parameters:,}", f"{card.multiply_adds:,}", shape, str(card.num_classes),
                 smallest, options]
            )  # fmt: skip
        lines += [table(rows, right=(1, 2, 4, 5)), "Published figures:\n"]
        rows = [["networks", "figure", "value", "refers to", "source"]]
        for figure, having in shared([(card.name, card.published) for card in cards]):
            value = f"{figure.value:,.0f}" if figure.unit == "count" else f"{figure.value:g} {figure.unit}"
            rows.append([having, figure.what.replace("_", " "), value, figure.refers_to, figure.source])
        lines += [table(rows, right=(2,)), "Departures from the paper:\n"]
        rows = [["networks", "what", "paper", "here", "why"]]
        for departure, having in shared([(card.name, card.departures) for card in cards]):
            rows.append([having, departure.what, departure.paper, departure.here, departure.why])
        lines.append(table(rows))
        rows = [
            ["network", "`--weights`", "file on the Hugging Face hub", "proof", "licence", "top-1", "top-5", "source"]
        ]
        for card in cards:
            for number, weights in enumerate(card.weights):
                name = f"`{weights.name}`" + (" or `imagenet`" if number == 0 and not weights.packaged else "")
                accuracies = ["" if share is None else f"{100 * share:.2f} %" for share in (weights.top1, weights.top5)]
                rows.append(
                    [f"`{card.name}`", name,
                     "none: they come with Casebook" if weights.packaged else f"{weights.repository}/{weights.file}",
                     proof_of(weights), weights.licence, *accuracies, weights.source]
                )  # fmt: skip
        if len(rows) > 1:
            lines += ["Published weights, with the accuracy that their source states:\n", table(rows, right=(5, 6))]
    return "\n".join(lines)


def proof_of(weights: PublishedWeights) -> str:
    """What tells the published file from any other."""
    if weights.sha256:
        return f"SHA-256 {weights.sha256[:8]}..."
    return f"revision {weights.revision[:8]}" if weights.revision else "not proved"


def shared(known: list[tuple[str, tuple]]) -> list[tuple[Any, str]]:
    """Each figure or departure of a family once, with the networks that have it."""
    having: dict[Any, list[str]] = {}
    for name, records in known:
        for record in records:
            having.setdefault(record, []).append(f"`{name}`")
    return [(record, "all" if len(names) == len(known) else ", ".join(names)) for record, names in having.items()]


def recipes_page() -> str:
    lines = [
        NOTICE,
        "# Recipes and their settings\n",
        "A recipe is everything that decides the outcome of a training. `--recipe` takes one of the names below or a "
        "TOML file with any of the settings; flags and `--set NAME=VALUE` lie over it, and the resolved copy is "
        "`recipe.toml` in the run folder.\n",
        "## Named recipes\n",
    ]
    for name, recipe in RECIPES.items():
        settings = {key: list(value) if isinstance(value, tuple) else value for key, value in recipe.settings.items()}
        lines += [
            f"### {name}\n",
            f"{recipe.purpose[:1].upper()}{recipe.purpose[1:]}. Expected: {recipe.expected}.\n",
            f"```toml\n{tomli_w.dumps(settings)}```\n",
        ]
    rows = [["setting", "type", "default", "meaning"]]
    flags = inspect.signature(train).parameters
    for name, info in Recipe.model_fields.items():
        default = "" if info.default is None else f"`{json.dumps(info.default)}`"
        flag = flags.get(name) or flags.get(f"{name}_")
        meaning = info.description or (flag.default.help if flag else "")
        rows.append([f"`{name}`", setting_type(info), default, meaning])
    lines += ["## Settings\n", table(rows), *policies()]
    return "\n".join(lines)


def policies() -> list[str]:
    """The augmentation policies, and the laws that they are made of."""
    rows = [["policy", "what it does", "laws that differ from none", "source"]]
    plain = dataclasses.asdict(Policy())
    for name, (policy, purpose, source) in POLICIES.items():
        laws = {law: value for law, value in dataclasses.asdict(policy).items() if value != plain[law]}
        rows.append(
            [f"`{name}`", purpose, ", ".join(f"{law} {plain_value(value)}" for law, value in laws.items()), source]
        )
    laws = [["law", "without the policy", "meaning"]]
    laws += [[f"`{law}`", plain_value(plain[law]), meaning] for law, meaning in LAWS.items()]
    return [
        "## Augmentation policies\n",
        "`policy` names one of these; `casebook augment` draws them. A law is changed by `--set augment.NAME=VALUE`.\n",
        table(rows),
        "### Laws\n",
        table(laws),
    ]


def plain_value(value: Any) -> str:
    if isinstance(value, tuple):
        return " to ".join(f"{end:.3g}" for end in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else "" if value is None else f"{value}"


def setting_type(info: Any) -> str:
    """The allowed values in words: "integer, 1 to 1024", "sgd or adamw"."""
    kind = info.annotation
    if typing.get_origin(kind) is typing.Literal:
        *others, last = (str(value).lower() if isinstance(value, bool) else value for value in typing.get_args(kind))
        return f"{', '.join(others)} or {last}"
    if typing.get_origin(kind) is dict:
        return "table"
    inner = [part for part in typing.get_args(kind) if part is not type(None)]
    if typing.get_origin(kind) is tuple:
        return f"list of {len(inner)} numbers" if Ellipsis not in inner else "list of numbers"
    word = {bool: "true or false"}.get(inner[0] if inner else kind) or TYPES[inner[0] if inner else kind]
    bounds = []
    for rule in info.metadata:
        for sign, meaning in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
            if (limit := getattr(rule, sign, None)) is not None:
                bounds.append(f"{meaning} {limit}")
    return ", ".join([word, *bounds])


def table(rows: list[list[str]], right: tuple[int, ...] = ()) -> str:
    """A Markdown table whose first row is the head."""
    head, *body = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    rule = ["---:" if i in right else "---" for i in range(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, rule, *body])


def python_page() -> str:
    lines = [
        NOTICE,
        "# The Python API\n",
        "The public names of `casebook`; `import casebook` is instant, and each name loads on first use. "
        "[Casebook from Python](../python.md) shows them at work.\n",
    ]
    for name in casebook.__all__:
        if name != "__version__":
            thing = getattr(casebook, name)
            lines += class_entry(name, thing) if inspect.isclass(thing) else function_entry(name, thing)
    return "\n".join(line for line in lines if line)


def function_entry(name: str, function: Callable) -> Iterator[str]:
    node = parsed(function)
    assert isinstance(node, ast.FunctionDef)
    yield f"## {name}\n"
    yield f"```python\n{signature(f'casebook.{name}', node)}\n```\n"
    yield docstring(node)


def class_entry(name: str, cls: type) -> Iterator[str]:
    """The class with its docstring, its fields, and its public properties and methods."""
    node = parsed(cls)
    assert isinstance(node, ast.ClassDef)
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    constructor = [part for part in methods if part.name == "__init__"]
    own = [part for part in methods if not part.name.startswith("_")]
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
    yield f"## {name}\n"
    if constructor:
        yield f"```python\n{signature(f'casebook.{name}', constructor[0], bound=True)}\n```\n"
    yield docstring(node)
    if cls is Recipe:
        yield "The fields are the settings in [recipes.md](recipes.md).\n"
    elif fields and not issubclass(cls, Exception):
        rows = [["field", "type", "default"]]
        for field in fields:
            assert isinstance(field.target, ast.Name)
            default = "" if field.value is None else f"`{ast.unparse(field.value)}`"
            rows.append([f"`{field.target.id}`", f"`{written(field.annotation)}`", default])
        yield table(rows)
    for method in own:
        decorators = [ast.unparse(decorator) for decorator in method.decorator_list]
        if any(decorator.endswith("property") for decorator in decorators):
            assert method.returns is not None
            yield f"### {name}.{method.name}\n"
            yield f"`{written(method.returns)}`\n"
        else:
            bound = "staticmethod" not in decorators
            yield f"### {name}.{method.name}()\n"
            yield f"```python\n{signature(method.name, method, bound=bound)}\n```\n"
        yield docstring(method)


def parsed(thing: Any) -> ast.stmt:
    """The definition in the source: annotations and defaults as they are written, in every version of Python."""
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def written(annotation: ast.expr) -> str:
    """An annotation as text; one that is quoted in the source loses its quotes."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return ast.unparse(annotation)


def signature(name: str, node: ast.FunctionDef, *, bound: bool = False) -> str:
    """`name(first: type, *, second: type = default) -> type`, on one line if it fits into 100 characters."""
    arguments = node.args
    places = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(places) - len(arguments.defaults)) + list(arguments.defaults)
    parts = [parameter(argument, default) for argument, default in zip(places, defaults, strict=True)][int(bound) :]
    if arguments.vararg:
        parts.append("*" + parameter(arguments.vararg))
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [parameter(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        parts.append("**" + parameter(arguments.kwarg))
    result = "" if node.returns is None or node.name == "__init__" else f" -> {written(node.returns)}"
    line = f"{name}({', '.join(parts)}){result}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def parameter(argument: ast.arg, default: ast.expr | None = None) -> str:
    kind = "" if argument.annotation is None else f": {written(argument.annotation)}"
    if default is None:
        return f"{argument.arg}{kind}"
    return f"{argument.arg}{kind} = {ast.unparse(default)}" if kind else f"{argument.arg}={ast.unparse(default)}"


def docstring(node: ast.FunctionDef | ast.ClassDef) -> str:
    """As Markdown: an indented example becomes a block of Python, an indented list of errors a list."""
    lines: list[str] = []
    fence = False
    for line in (ast.get_docstring(node) or "").splitlines():
        indented = line.startswith("    ")
        if fence and not indented:
            lines.append("```")
            fence = False
        if indented and not fence and line.lstrip().startswith(">>>"):
            lines += ["", "```python"]
            fence = True
        if fence:
            lines.append(line[4:])
        elif indented and lines and re.match(r" {4}\w+: ", line):
            lines += ["", f"- {line.strip()}"] if lines[-1].endswith(":") else [f"- {line.strip()}"]
        elif indented:
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n".join([*lines, "```"] if fence else lines) + "\n" if lines else ""


def notebook() -> str:
    """docs/python.md as a notebook: text becomes Markdown cells, blocks of Python become code cells."""
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    cells: list[dict[str, Any]] = []
    for number, piece in enumerate(re.split(r"^```python\n(.*?)^```\n", page, flags=re.MULTILINE | re.DOTALL)):
        is_code = number % 2 == 1
        text = "".join(example.source for example in doctest.DocTestParser().get_examples(piece)) if is_code else piece
        if not text.strip():
            continue
        cell: dict[str, Any] = {"metadata": {}, "source": text.strip("\n").splitlines(True)}
        code = {"cell_type": "code", "execution_count": None, "outputs": []}
        cells.append(cell | (code if is_code else {"cell_type": "markdown"}))
    return notebook_text(cells)


# The network of a family whose strip stands in the table; default: the first.
DRAWN = {"vgg": "vgg16", "resnet": "resnet34", "inception": "inception_v3"}


def strip(name: str) -> str:
    return without_numbers(draw_network(name).svg())


PAGES = {
    "reference/cli.md": cli_page,
    "reference/networks.md": networks_page,
    "reference/python.md": python_page,
    "reference/recipes.md": recipes_page,
    "python.ipynb": notebook,
    **{f"reference/strips/{name}.svg": partial(strip, DRAWN.get(name, nets[0])) for name, nets in FAMILIES.items()},
    **gallery.PAGES,
}


def stale() -> list[str]:
    """The pages that differ from what the program would write now."""
    return [
        name
        for name, page in PAGES.items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text(encoding="utf-8") != page()
    ]


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(f"usage: python docs/generate.py [--check], got {' '.join(arguments)}", file=sys.stderr)
        return 2
    if arguments:
        names = stale()
        for name in names:
            print(f"docs/{name} is stale; run: python docs/generate.py", file=sys.stderr)
        return 1 if names else 0
    for name, page in PAGES.items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
