"""Counted layers enter; tables as text, Markdown and CSV leave."""

import csv
import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from ..tables import TextColumn, TextTable, layout
from .records import LayerCost, MemoryEstimate, NotCounted, Order, ordered

# The columns with the highest rank are left out first.
COLUMNS = (
    TextColumn("layer"),
    TextColumn("type", rank=1),
    TextColumn("output"),
    TextColumn("window", rank=2),
    TextColumn("parameters", right=True),
    TextColumn("multiply-adds", right=True),
    TextColumn("additions", right=True, rank=5),
    TextColumn("output (KiB)", right=True, rank=4),
    TextColumn("sees (px)", right=True, rank=3),
)
STAGE_COLUMNS = (TextColumn("stage"), *COLUMNS[2:3], *COLUMNS[4:])
LEGEND = (
    "window: kernel, /stride, p padding, g groups; output (KiB): memory of the output, for the batch; sees (px): side "
    "of the receptive field; -: arithmetic that is not counted"
)


def layer_table(layers: Sequence[LayerCost], order: Order, width: int | None) -> TextTable:
    """The layers as a tree of modules under the heading of each stage."""
    rows: list[Sequence[str] | str] = []
    for stage, inside in groupby(layers, key=lambda layer: layer.stage):
        rows.append(f"{stage}:")
        rows += _tree([(_path(layer), layer) for layer in inside], order, depth=1)
    return layout(COLUMNS, rows, width)


def stage_table(stages: Sequence[LayerCost], order: Order, width: int | None) -> TextTable:
    return layout(STAGE_COLUMNS, [_stage_cells(stage, order) for stage in stages], width)


def layer_markdown(layers: Sequence[LayerCost], order: Order) -> list[str]:
    return _markdown_table(COLUMNS, [cells(layer, order, layer.name) for layer in layers])


def stage_markdown(stages: Sequence[LayerCost], order: Order) -> list[str]:
    return _markdown_table(STAGE_COLUMNS, [_stage_cells(stage, order) for stage in stages])


def comma_separated(layers: Sequence[LayerCost], order: Order) -> str:
    """One line a layer, numbers as they are; an empty cell where there is none."""
    stream = io.StringIO()
    records = [layer.to_dict(order) for layer in layers]
    writer = csv.DictWriter(stream, records[0] if records else [], lineterminator="\n")
    writer.writeheader()
    for record in records:
        lists = {key: _joined(value) for key, value in record.items() if isinstance(value, list)}
        writer.writerow(record | lists)
    return stream.getvalue().rstrip("\n")


def memory_facts(memory: MemoryEstimate) -> dict[str, str]:
    batch = f"batch of {memory.batch_size}"
    weights = f"weights {size(memory.weight_bytes)}, buffers {size(memory.buffer_bytes)}"
    return {
        f"inference, {batch}": f"{size(memory.inference_bytes)} ({weights}, activations at most "
        f"{size(memory.peak_activation_bytes)}, in {memory.peak_module or 'the input'})",
        f"training, {batch}": f"{size(memory.training_bytes)} ({weights}, gradients {size(memory.gradient_bytes)}, "
        f"state of {memory.optimiser} {size(memory.optimiser_bytes)}, "
        f"saved activations {size(memory.saved_activation_bytes)})",
    }


def not_counted_facts(entries: Sequence[NotCounted]) -> dict[str, str]:
    operators = (
        f"{entry.operator} in {entry.module_type}, {entry.calls:,} x ({entry.results:,} numbers)" for entry in entries
    )
    return {"not counted": "; ".join(operators) or "nothing"}


def fact_lines(facts: Mapping[str, str], width: int) -> Iterator[str]:
    for name, fact in facts.items():
        yield from textwrap.wrap(f"{name.replace('_', ' ')}: {fact}", width, subsequent_indent="  ")


def cells(layer: LayerCost, order: Order, name: str) -> tuple[str, ...]:
    numbers = (layer.parameters, layer.multiply_adds, layer.additions)
    return (
        name,
        layer.type,
        _joined(ordered(layer.output_shape, order)) or "-",
        _window(layer),
        *("-" if number is None else f"{number:,}" for number in numbers),
        f"{layer.activation_bytes / 1024:,.1f}",
        _sees(layer),
    )


def size(num_bytes: int) -> str:
    """In binary units: 3.1 MiB."""
    if num_bytes < 1024:
        return f"{num_bytes} B"
    number, unit = num_bytes / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f"{number:,.1f} {unit}"


Path = tuple[str, ...]  # the parts of a layer's name inside its stage


def _path(layer: LayerCost) -> Path:
    parts = layer.name.split(".")
    return tuple(parts[2 if layer.stage.startswith("stage ") else 1 :]) or (layer.name,)


def _tree(layers: Sequence[tuple[Path, LayerCost]], order: Order, depth: int) -> Iterator[Sequence[str] | str]:
    """One row a layer, indented below the modules that hold it; a module with a single layer shares its line."""
    indent = "  " * depth
    for _, group in groupby(layers, key=lambda item: item[0][0]):
        members = list(group)
        if len(members) == 1:
            path, layer = members[0]
            yield cells(layer, order, indent + ".".join(path))
            continue
        shared = _shared([path for path, _ in members])
        own = [layer for path, layer in members if path == shared]  # a module with weights beside its submodules
        yield cells(own[0], order, indent + ".".join(shared)) if own else indent + ".".join(shared)
        yield from (cells(layer, order, f"{indent}{'.'.join(shared)} (again)") for layer in own[1:])
        inner = [(path[len(shared) :], layer) for path, layer in members if path != shared]
        yield from _tree(inner, order, depth + 1)


def _shared(paths: Sequence[Path]) -> Path:
    """The longest beginning that all paths share, as long as the shortest at most."""
    shared = min(paths, key=len)
    while any(path[: len(shared)] != shared for path in paths):
        shared = shared[:-1]
    return shared


def _stage_cells(stage: LayerCost, order: Order) -> tuple[str, ...]:
    row = cells(stage, order, f"{stage.name} (training only)" if stage.training_only else stage.name)
    return (row[0], row[2], *row[4:])


def _markdown_table(columns: Sequence[TextColumn], rows: Sequence[Sequence[str]]) -> list[str]:
    rules = ("---:" if column.right else "---" for column in columns)
    names = (column.name for column in columns)
    return [f"| {' | '.join(row)} |" for row in (names, rules, *rows)]


def _joined(sides: Iterable[int]) -> str:
    return "x".join(map(str, sides))


def _sees(layer: LayerCost) -> str:
    if layer.whole_input:
        return "all"
    if layer.receptive_field is None:
        return "?" if layer.output_shape else "-"
    height, width = layer.receptive_field
    return f"{height}" if height == width else f"{height}x{width}"


def _window(layer: LayerCost) -> str:
    if not layer.kernel_size or not layer.stride or not layer.padding:
        return "-"
    vertical, horizontal = layer.stride
    top, bottom, left, right = layer.padding
    text = _joined(layer.kernel_size)
    if layer.stride != (1, 1):
        text += f"/{vertical}" if vertical == horizontal else f"/{vertical}x{horizontal}"
    if (top, left) != (bottom, right):
        text += f" p{top}+{bottom}" if (top, bottom) == (left, right) else f" p{top}+{bottom}x{left}+{right}"
    elif top or left:
        text += f" p{top}" if top == left else f" p{top}x{left}"
    return text + (f" g{layer.groups}" if (layer.groups or 1) > 1 else "")
