"""A name of `ILLUSTRATIONS` and its settings -> the drawing: what the lectures show beside the networks themselves."""

import inspect
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, did_you_mean
from ..files import write_atomically

if TYPE_CHECKING:
    from ..drawing.boxes import Panel, Photo
    from ..drawing.svg import Sheet
    from ..evaluation.protocols import Protocol
    from ..preprocessing import Preprocessing
    from .scale_result import Scaling

PHOTO_SIDE = 360  # pixels of a picture inside a drawing, the longer side
PICTURE_SIZE = (500, 375)  # width and height where there is no picture: the usual size in ImageNet


def illustrate(name: str, **settings: Any) -> "Sheet":
    """A drawing of `ILLUSTRATIONS`; in a notebook it shows itself, and `.svg()` is the text of a file.

    `illustrate("sliding", kind="depthwise", step=6)`, `illustrate("field", windows="5,5")`. The settings are the
    parameters of each function below; None means the default.

    Raises ModelError for an unknown name or setting, and for settings that cannot be drawn.
    """
    if name not in ILLUSTRATIONS:
        suggestion = did_you_mean(name, ILLUSTRATIONS) or ";"
        raise ModelError(f"unknown illustration {name!r}{suggestion} there are {', '.join(ILLUSTRATIONS)}")
    function = ILLUSTRATIONS[name]
    known = inspect.signature(function).parameters
    for setting in () if "settings" in known else settings:
        if setting not in known:
            suggestion = did_you_mean(setting, known) or ";"
            raise ModelError(f"{name} has no setting {setting!r}{suggestion} it takes {', '.join(known) or 'none'}")
    return function(**{key: value for key, value in settings.items() if value is not None})


def write_illustration(path: str | Path, name: str, **settings: Any) -> None:
    """Writes an illustration as .svg or, of "sliding" alone, as an .html page with a button for each step.

    Raises ModelError for another ending, RunError when the file cannot be written, and what `illustrate` raises.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".svg", ".html"):
        raise ModelError(f"{path.name} ends in {ending or 'nothing'!r}, expected .svg, or .html for sliding")
    if ending == ".svg":
        write_atomically(path, illustrate(name, **settings).svg())
        return
    if name != "sliding":
        raise ModelError(f"{name} is one drawing; expected a name that ends in .svg, got {path.name}")
    from ..drawing.convolution import sliding
    from ..drawing.sliding import frames
    from ..reports.steps import Step, write_steps

    spec = sliding(**{key: value for key, value in settings.items() if value is not None and key != "step"})
    steps = [Step(sheet.svg(), sheet.description) for sheet in frames(spec)]
    write_steps(path, spec.title, "Each step moves the window and fills one output of each filter.", steps)


def _sliding(*, step: int | None = None, **settings: Any) -> "Sheet":
    """A filter that moves over numbers; `step` is the position to draw, else several are drawn."""
    from ..drawing.convolution import sliding
    from ..drawing.sliding import film, frame

    spec = sliding(**settings)
    return film(spec) if step is None else frame(spec, step)


def _field(*, windows: str | Sequence[tuple[int, int]] = "3,3,3", channels: int = 64) -> "Sheet":
    from ..cost.parameters import Windows, read
    from ..drawing.field import field

    return field(read("windows", Windows, windows), channels)


def _volume(*, input: str = "28x28x192", layers: str = "conv1-16,conv5-32+same") -> "Sheet":
    from ..cost.worked import explain
    from ..drawing.maps import chain_maps
    from ..drawing.volume import volumes

    maps = chain_maps(input, layers)
    results = explain("chain", input=input, layers=layers).results
    sums = f"{results['parameters']:,} weights, {results['multiplications']:,} multiplications"
    return volumes(f"{maps[0].label} to {maps[-1].label}", maps, [sums])


def _scaled(
    *, family: str = "efficientnet", work: float = 2.0, result: "str | Path | Scaling | None" = None
) -> "Sheet":  # fmt: skip
    """A family at `work` times its multiply-adds, or the `result` of `casebook.scale` or `casebook scale --json`."""
    from ..cost.scaling import family as named_family
    from ..drawing.scaled import baseline, doubled, from_result, measured, scaled

    if isinstance(result, str | Path):
        return scaled(*from_result(Path(result)))
    if result is not None:
        return scaled(result.network, [baseline(named_family(result.family)), *measured(result.network, result.points)])
    return scaled(named_family(family).network, doubled(family, work))


def _freeze(
    *, network: str = "mobilenet_v2", num_classes: int = 2, pictures_per_class: Sequence[int] = (100, 1000, 5000)
) -> "Sheet":
    """What the rule of thumb chooses for so many training pictures of each class, and what learns then."""
    import torch

    from ..cost.count import count
    from ..drawing.freeze import Choice, freeze, parts_of
    from ..models import create_model
    from ..training.recipe import make_recipe
    from ..training.transfer import choose_transfer, parts

    recipe = make_recipe("transfer", model=network, weights="imagenet")
    with torch.device("meta"):
        module = create_model(network, num_classes=num_classes)
    columns = parts_of(count(network, num_classes=num_classes))
    choices = []
    for pictures in pictures_per_class:
        strategy, reason = choose_transfer(recipe.model_copy(update={"transfer": "auto"}), pictures)
        rates = {name: scale for name, _, scale in parts(module, strategy, recipe)}
        rates["last layer"] = rates["head"]
        if strategy == "head":
            del rates["head"]  # what comes before the last layer belongs to the frozen features
        choices.append(Choice(strategy, reason, rates))
    return freeze(network, columns, choices)


def _boxes(
    *, protocol: str = "10-crop", picture: str | Path | None = None, picture_size: tuple[int, int] = PICTURE_SIZE,
    size: int = 224,
) -> "Sheet":  # fmt: skip
    """The views of an evaluation protocol, for a network that takes `size` pixels."""
    from ..drawing.boxes import boxes
    from ..evaluation.protocols import check_sides, find_protocols
    from ..preprocessing import Preprocessing

    chosen = find_protocols(protocol)[-1]
    preprocessing = Preprocessing(size=size)
    check_sides(chosen, preprocessing, size)
    photo, shown_size = (None, picture_size) if picture is None else _photo(Path(picture))
    panels = panels_of(chosen, preprocessing, shown_size)
    num_boxes = sum(len(panel.crops) for panel in panels)
    mirrored = f"{num_boxes} boxes, each as it is and mirrored: " if chosen.mirror else ""
    views = f"{mirrored}{chosen.num_views} views of a picture of {shown_size[0]}x{shown_size[1]}"
    return boxes(f"Protocol {chosen.name}", panels, [views], photo)


def panels_of(protocol: "Protocol", preprocessing: "Preprocessing", size: tuple[int, int]) -> "list[Panel]":
    """The views of `evaluation.protocols`, one panel for each scale and square."""
    from ..drawing.boxes import Crop, Panel
    from ..evaluation.protocols import sides, views

    shown = iter([view for view in views(protocol, preprocessing, size) if not view.mirrored])
    crops = ("whole picture",) if protocol.dense else protocol.crops
    panels = []
    for side in sides(protocol, preprocessing):
        for square in protocol.squares or ("",):
            found = [next(shown) for _ in crops]
            width, height = found[0].target
            words = f"{width}x{height}, shorter side {side}" + (f", {square} square" if square else "")
            named = [Crop(crop, view.box) for crop, view in zip(crops, found, strict=True)]
            panels.append(Panel(words, (width, height), None, named))
    return panels


def _photo(path: Path) -> "tuple[Photo, tuple[int, int]]":
    """The picture, small enough to stand inside a drawing, and its own (width, height)."""
    from ..data.decode import open_picture
    from ..drawing.boxes import Photo

    picture = open_picture(path, name=path.name)
    size = picture.size
    picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=80)
    return Photo(buffer.getvalue(), "image/jpeg", path.name), size


def _bars() -> "Sheet":
    """The entries of ILSVRC that the study `history` lists, with the depth counted from each network."""
    from ..drawing.bars import Result, bars
    from ..drawing.depth import depth
    from ..drawing.graph import trace_graph
    from ..studies.history import ENTRIES

    depths = {name: depth(trace_graph(name)) for name in dict.fromkeys(e.network for e in ENTRIES if e.network)}
    results = [
        Result(e.year, e.entry, e.top5_error, f"{e.network}: {depths[e.network]} layers" if e.network else "",
               e.refers_to, e.source)
        for e in ENTRIES
    ]  # fmt: skip
    return bars("Top-5 error at ILSVRC", results)


ILLUSTRATIONS: dict[str, Callable[..., "Sheet"]] = {
    "bars": _bars,
    "boxes": _boxes,
    "field": _field,
    "freeze": _freeze,
    "scaled": _scaled,
    "sliding": _sliding,
    "volume": _volume,
}
