"""A summary enters, text for a terminal, a Markdown page or CSV leaves."""

import csv
import io
import textwrap
from collections.abc import Iterable
from typing import Any

from .summary import CONVENTIONS, Layer, Order, Summary, ordered

COLUMNS = ("layer", "type", "output", "window", "parameters", "multiply-adds", "additions", "memory", "sees")
LEGEND = (
    "window: kernel, /stride, p padding, g groups; memory: the output, for the batch; sees: side of the receptive "
    "field in pixels; -: arithmetic that is not counted"
)


def text(summary: Summary, order: Order = "CHW", *, width: int = 120) -> str:
    """All of it for people, in lines of at most `width` characters where the numbers leave names that much room."""
    rows = [cells(layer, order, _inside(layer)) for layer in summary.layers]
    widths = [max(len(row[i]) for row in (COLUMNS, *rows)) for i in range(len(COLUMNS))]
    widths[0] = max(12, min(widths[0], width - sum(widths[1:]) - 2 * len(COLUMNS) + 2))
    lines = [_title(summary, order), "", _line(COLUMNS, widths)]
    stage = None
    for layer, row in zip(summary.layers, rows, strict=True):
        if layer.stage != stage:
            stage = layer.stage
            lines.append(f"{stage}:")
        lines.append(_line((_short(row[0], widths[0]), *row[1:]), widths))
    lines += ["", *_stage_lines(summary, order), ""]
    facts = {**_facts(summary), "legend": LEGEND, **CONVENTIONS}
    for name, fact in facts.items():
        lines += textwrap.wrap(f"{name.replace('_', ' ')}: {fact}", width, subsequent_indent="  ")
    return "\n".join(lines)


def markdown(summary: Summary, order: Order = "CHW") -> str:
    """The tables of layers and of stages as a Markdown page."""
    layers = [cells(layer, order, layer.name) for layer in summary.layers]
    stages = [_stage_cells(stage, order) for stage in (*summary.stages, summary.total)]
    facts = {**_facts(summary), "legend": LEGEND, **CONVENTIONS}
    return "\n".join(
        [
            f"# {_title(summary, order)}\n",
            *_markdown_table(COLUMNS, layers),
            "",
            *_markdown_table(("stage", *COLUMNS[2:3], *COLUMNS[4:]), stages),
            "",
            *(f"- {name.replace('_', ' ')}: {fact}" for name, fact in facts.items()),
        ]
    )


def comma_separated(summary: Summary, order: Order = "CHW") -> str:
    """One line a layer, numbers as they are; an empty cell where there is none."""
    stream = io.StringIO()
    records = [layer.to_dict(order) for layer in summary.layers]
    writer = csv.DictWriter(stream, records[0] if records else [], lineterminator="\n")
    writer.writeheader()
    for record in records:
        lists = {key: _joined(value) for key, value in record.items() if isinstance(value, list)}
        writer.writerow(record | lists)
    return stream.getvalue().rstrip("\n")


def cells(layer: Layer, order: Order, name: str) -> tuple[str, ...]:
    numbers = (layer.parameters, layer.multiply_adds, layer.additions)
    return (
        name,
        layer.type,
        _joined(ordered(layer.output_shape, order)) or "-",
        _window(layer),
        *("-" if number is None else f"{number:,}" for number in numbers),
        size(layer.activation_bytes),
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


def _title(summary: Summary, order: Order) -> str:
    shape = " x ".join(map(str, ordered(summary.input_shape, order)))
    return f"{summary.network}: one picture of {shape} ({' x '.join(order)})"


def _facts(summary: Summary) -> dict[str, str]:
    memory, batch = summary.memory, f"batch of {summary.memory.batch_size}"
    weights = f"weights {size(memory.weight_bytes)}, buffers {size(memory.buffer_bytes)}"
    facts = {
        f"inference, {batch}": f"{size(memory.inference_bytes)} ({weights}, activations at most "
        f"{size(memory.peak_activation_bytes)}, in {memory.peak_module or 'the input'})",
        f"training, {batch}": f"{size(memory.training_bytes)} ({weights}, gradients {size(memory.gradient_bytes)}, "
        f"state of {memory.optimiser} {size(memory.optimiser_bytes)}, "
        f"kept activations {size(memory.saved_activation_bytes)})",
        "not counted": "; ".join(
            f"{entry.operator} in {entry.module_type}, {entry.calls:,} x ({entry.results:,} numbers)"
            for entry in summary.not_counted
        )
        or "nothing",
    }
    if summary.agrees is not None:
        verdict = "the same" if summary.agrees else f"not the {summary.total.multiply_adds:,} counted here"
        facts["torch's own counter"] = f"{summary.traced_multiply_adds:,} multiply-adds, {verdict}"
    return facts


def _stage_lines(summary: Summary, order: Order) -> list[str]:
    rows = [_stage_cells(stage, order) for stage in (*summary.stages, summary.total)]
    rows.insert(0, ("stage", *COLUMNS[2:3], *COLUMNS[4:]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [_line(row, widths, left=2) for row in rows]


def _stage_cells(stage: Layer, order: Order) -> tuple[str, ...]:
    row = cells(stage, order, f"{stage.name} (training only)" if stage.training_only else stage.name)
    return (row[0], row[2], *row[4:])


def _line(row: Iterable[str], widths: list[int], left: int = 4) -> str:
    padded = [cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
    return "  ".join(padded).rstrip()


def _markdown_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    rules = ("---" if column in ("layer", "stage", "type", "output", "window") else "---:" for column in header)
    return [f"| {' | '.join(row)} |" for row in (header, tuple(rules), *rows)]


def _inside(layer: Layer) -> str:
    """The name inside its stage, under whose heading it stands."""
    parts = layer.name.split(".")
    return "  " + (".".join(parts[2 if layer.stage.startswith("stage ") else 1 :]) or layer.name)


def _short(name: str, width: int) -> str:
    """With dots for the middle where it is too long: the ends tell most."""
    if len(name) <= width:
        return name
    tail = (width - 2) // 2
    return f"{name[: width - 2 - tail]}..{name[-tail:]}"


def _joined(sides: Iterable[Any]) -> str:
    return "x".join(map(str, sides))


def _sees(layer: Layer) -> str:
    if layer.whole_input:
        return "all"
    if layer.receptive_field is None:
        return "?" if layer.output_shape else "-"
    height, width = layer.receptive_field
    return f"{height}" if height == width else f"{height}x{width}"


def _window(layer: Layer) -> str:
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
