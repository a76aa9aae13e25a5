"""Draw in one call: a network by name, a run or any module -> a drawing, and its file."""

from pathlib import Path
from typing import Any

from torch import nn

from ..drawing.beside import beside as side_by_side
from ..drawing.draw import Drawing, draw_network
from ..errors import ModelError
from ..models import list_models
from ..training.run import Run, open_run


def draw(
    network: str | Path | Run | nn.Module,
    input_size: int | tuple[int, int] | None = None,
    *,
    level: str | None = None,
    style: str | None = None,
    stage: str | int | None = None,
    beside: str | Path | Run | nn.Module | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> Drawing:
    """Draws a network: "resnet50", a run, or any module that takes images. In a notebook the drawing shows itself.

    `level` is "strip" (rows, the default), "block" (each distinct block with its branches) or "layers" (every call, a
    page for each stage). `style` is a row of `casebook.drawing.draw.STYLES` and sets the level. `stage` is a stage's
    number or name. `beside` is a second network, drawn at the right of the first. A module from elsewhere needs
    `input_size`; `options` are those of a network by name, such as num_classes=10. `out` is an .svg file, or an .html
    file in which each box shows its numbers.

    Raises:
        ModelError: for an unknown network, level, style or stage, or a module that does not run without numbers.
        RunError: for a path that is no run folder.
    """
    if out is not None and Path(out).suffix.lower() not in (".svg", ".html"):
        raise ModelError(f"out is {str(out)!r}, expected a file that ends in .svg or .html")
    if isinstance(network, Path | Run) or (isinstance(network, str) and _is_run(network)):
        run = network if isinstance(network, Run) else open_run(network)
        record = run.model
        network, options = str(record["architecture"]), {**record["options"], **options}
        input_size = input_size if input_size is not None else run.preprocessing.size
    drawing = draw_network(network, input_size, level=level, style=style, stage=stage, **options)
    if beside is not None:
        other = draw(beside, input_size, level=level, style=style, stage=stage, **options)
        drawing = side_by_side(drawing, other)
    if out is not None:
        write_drawing(out, drawing)
    return drawing


def write_drawing(path: str | Path, drawing: Drawing) -> list[Path]:
    """Writes a drawing as .svg, one file a page, or as one .html file; gives the files."""
    if Path(path).suffix.lower() == ".html":
        if not drawing.facts:
            raise ModelError(f"{drawing.network} is a picture without pages; expected a file that ends in .svg")
        from ..reports.drawings import write_page

        write_page(path, drawing)
        return [Path(path)]
    return drawing.write(path)


def _is_run(name: str) -> bool:
    return name not in list_models() and (Path(name) / "model.json").is_file()
