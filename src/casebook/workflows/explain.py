"""Explain in one call: a run or a named network, and pictures -> sheets and arrays in a folder."""

import dataclasses
import functools
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.decode import open_picture
from ..device import choose_device, tune_allocator
from ..errors import ModelError, PictureError, did_you_mean
from ..explanation import drawing
from ..explanation.descent import check_rule
from ..explanation.layer_sheets import explain_filters
from ..explanation.sanity import cascade
from ..explanation.sheet import Explanation, Settings
from ..explanation.sheets import BY_PICTURE, overview, sanity_sheet, strength
from ..explanation.top_patches import NUM_PATCHES, choose_channels, excitement
from ..explanation.unit_sheets import top_patches_sheet
from ..explanation.views import Subject, View, look
from ..explanation.watching import as_leaf, evaluating, find_layer, last_with_places, run, stages_of
from ..files import write_atomically
from ..progress import Advanced, Reporter, reporter_of
from .predict import _expand, _read, _ready

METHODS = (*BY_PICTURE, "filters", "top9", "all")
OF_A_CLASS = ("grad-cam", "occlusion", "guided", "gradient")
RANDOMISED = (*OF_A_CLASS, "deconvnet")
LONGEST_NAME = 80  # in characters; bytes may be twice as many
BATCH_SIZE = 32


def explain(
    model: str | Path,
    pictures: str | Path | Iterable[str | Path] = (),
    *,
    method: str | Sequence[str] = "all",
    layer: str | None = None,
    channel: int | Sequence[int] | None = None,
    class_name: str | None = None,
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    out: str | Path | None = None,
    square: int | None = None,
    stride: int | None = None,
    rule: str = "deconvnet",
    whole_map: bool = False,
    sanity: bool = False,
    device: str = "auto",
    progress: bool | Reporter = False,
) -> Iterator[dict[str, Any]]:
    """Looks into a run, or a named network with `weights`: a PNG and a NumPy array for each picture and method.

    `pictures` are files, folders and patterns, as in `predict`. `method` is one of METHODS, several of them, or "all",
    which leaves out "top9" where no more than nine pictures are named and adds one page of everything. `layer` is a
    module's dotted name, such as "stages.3"; `class_name` a class's name, id or number, else each picture's answer is
    explained. `square` and `stride` are occlusion's, in pixels of the network's input. `rule` ("deconvnet", "guided"
    or "gradient") is how "deconvnet" and "top9" project down, `whole_map` that the former takes all units of a channel.
    `sanity` also randomises the weights from the head down and reports how the map changes. Files go to `out`, by
    default to explanations/ in the run folder or here, and replace those of the same name.

    Gives a record for each file pair, {"picture", "method", "image", "array", ...}, or {"picture", "error"} for a
    picture that cannot be read. Raises ModelError for an unknown method, layer, channel or class, and what `predict`
    raises.
    """
    methods = _methods(method)
    check_rule(rule)
    tune_allocator()
    ready = _ready(model, weights, classes)
    subject = Subject(
        name=Path(ready.name).name or ready.name,
        network=ready.network.to(choose_device(device)),
        classes=ready.classes,
        preprocessing=ready.preprocessing,
        ids=tuple(entry.id for entry in ready.class_list or ()),
        device=choose_device(device),
    )
    if layer is not None:
        find_layer(subject.network, layer)
    target = None if class_name is None else subject.class_index(class_name)
    channels = () if channel is None else (channel,) if isinstance(channel, int) else tuple(channel)
    settings = Settings(layer, channels, square, stride, whole_map, rule)
    given = [pictures] if isinstance(pictures, str | Path) else list(pictures)
    named = list(_expand(given))
    if not named and set(methods) != {"filters"}:
        raise ModelError(
            "no picture is named; name pictures or a folder, or ask for --method filters, which needs none"
        )
    home = ready.run.path if ready.run else Path()
    folder = Path(out) if out is not None else home / "explanations"
    writer = Writer(folder)
    shared: list[Explanation] = []  # what is made once, whatever the pictures
    if "filters" in methods:
        began = time.monotonic()
        shared.append(explain_filters(subject, settings if methods == ["filters"] else Settings()))
        yield _written(writer, None, shared[0], "filters", began)
    if "top9" in methods or ("all" in methods and len(named) > NUM_PATCHES):
        unreadable: list[dict[str, Any]] = []
        began = time.monotonic()
        found = _top9(subject, settings, named, unreadable, reporter_of(progress))
        yield _written(writer, None, found, f"top9-{found.facts['layer']}", began)
        if methods == ["top9"]:  # other methods say it themselves
            yield from unreadable
    by_picture = [name for name in methods if name in BY_PICTURE]
    for name, error in named if by_picture else []:
        view = error or _look(subject, name, target)
        if isinstance(view, str):
            yield {"picture": name, "error": view}
            continue
        yield from _by_picture(subject, view, by_picture, settings, writer, shared, "all" in methods, sanity)


class Writer:
    """Where the files go; no two pictures of one call share a name."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._taken: set[str] = set()

    def free(self, stem: str) -> str:
        """The name without what a file name cannot hold, with a number where it is taken."""
        stem = re.sub(r"[\x00-\x1f/\\]+", "-", stem)[:LONGEST_NAME] or "picture"
        while len(os.fsencode(stem)) > 2 * LONGEST_NAME:
            stem = stem[:-1]
        free, number = stem, 2
        while free in self._taken:
            free, number = f"{stem}-{number}", number + 1
        self._taken.add(free)
        return free

    def image(self, name: str, image: Any) -> str:
        path = self.folder / f"{name}.png"
        write_atomically(path, drawing.encoded(image))
        return str(path)

    def array(self, name: str, array: np.ndarray) -> str:
        path = self.folder / f"{name}.npy"
        write_atomically(path, lambda file: np.save(file, array, allow_pickle=False))
        return str(path)


def _methods(method: str | Sequence[str]) -> list[str]:
    """In their order, each once. Raises ModelError for an unknown one."""
    given = [method] if isinstance(method, str) else list(method)
    for name in given:
        if name not in METHODS:
            suggestion = did_you_mean(name, METHODS) or ";"
            raise ModelError(f"unknown method {name!r}{suggestion} expected one of {', '.join(METHODS)}")
    if not given:
        raise ModelError(f"no method is named, expected one of {', '.join(METHODS)}")
    if "all" in given:
        given = [*BY_PICTURE, "filters", *given]
    return list(dict.fromkeys(given))


def _look(subject: Subject, name: str, target: int | None) -> View | str:
    """The view, or the reason why not."""
    preprocessing = subject.preprocessing
    try:
        picture = open_picture(Path(name), name=name, **preprocessing.decode_options)
    except PictureError as error:
        return error.reason
    return look(subject, picture, name, target)


def _by_picture(
    subject: Subject, view: View, methods: Sequence[str], settings: Settings, writer: Writer,
    shared: Sequence[Explanation], whole: bool, sanity: bool,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    stem = writer.free(Path(view.name).stem)
    shown = dataclasses.replace(view, name=Path(view.name).name)
    explanations = []
    for method in methods:
        began = time.monotonic()
        found = BY_PICTURE[method](subject, shown, settings)
        record = _written(writer, view, found, f"{stem}-{method}", began)
        if sanity and method in RANDOMISED:
            steps = cascade(subject.network, strength(method, shown, settings, *_deconvnets(subject, shown, settings)))
            record["sanity"] = [{"part": step.part, "correlation": step.correlation} for step in steps[1:]]
            name = f"{Path(record['image']).stem}-sanity"
            record["sanity_image"] = writer.image(name, sanity_sheet(subject, shown, method, steps))
        explanations.append(found)
        yield record
    if whole:
        began = time.monotonic()
        page = overview(subject, shown, [*explanations, *(found for found in shared if found.method == "filters")])
        everything = Explanation("all", page, explanations[0].panel, None, {})
        yield _written(writer, view, everything, f"{stem}-all", began)


def _deconvnets(subject: Subject, view: View, settings: Settings) -> tuple[str, int]:
    """The layer and channel whose projection is compared: those that are named, else the deepest and strongest."""
    layers = [settings.layer] if settings.layer else stages_of(subject.network)
    with evaluating(subject.network):
        _, kept = run(subject.network, as_leaf(view.image), layers)
    layer = last_with_places(kept, layers)
    return layer, settings.channels[0] if settings.channels else int(kept[layer][0].flatten(1).amax(1).argmax())


def _written(writer: Writer, view: View | None, found: Explanation, name: str, began: float) -> dict[str, Any]:
    """Writes the files; gives their record."""
    rule = found.facts.get("rule", "deconvnet")
    name += "" if rule == "deconvnet" else f"-{rule}"
    of_unit = found.method in ("guided", "gradient") and "layer" in found.facts
    of_class = found.method in (*OF_A_CLASS, "all") and not of_unit
    return {
        "picture": view.name if view else None,
        "method": found.method,
        "class": view.classes[view.target] if view and of_class else None,
        "probability": view.probability if view and of_class else None,
        "predicted": view.classes[view.predicted] if view else None,
        "predicted_probability": float(view.probabilities[view.predicted]) if view else None,
        "image": writer.image(name, found.sheet),
        "array": None if found.array is None else writer.array(name, found.array),
        "shape": [] if found.array is None else list(found.array.shape),
        "details": found.facts,
        "sanity": [],
        "sanity_image": None,
        "seconds": round(time.monotonic() - began, 3),
    }


def _top9(
    subject: Subject, settings: Settings, named: Sequence[tuple[str, str | None]], unreadable: list[dict[str, Any]],
    report: Reporter,
) -> Explanation:  # fmt: skip
    """Adds to `unreadable` what cannot be read. Raises ModelError when that is everything."""
    layer = settings.layer or stages_of(subject.network)[-1]
    readable: list[str] = []

    def batches() -> Iterator[Any]:
        waiting: list[Any] = []
        for done, (name, error) in enumerate(named, 1):
            pixels = error or _read(name, subject.preprocessing)
            if isinstance(pixels, str):
                unreadable.append({"picture": name, "error": pixels})
            else:
                waiting.append(pixels)
                readable.append(name)
            if len(waiting) == BATCH_SIZE:
                yield subject.images(waiting)
                waiting = []
            report(Advanced("excite", done, len(named)))
        if waiting:
            yield subject.images(waiting)

    found = excitement(subject.network, layer, batches())
    channels = settings.channels or choose_channels(found, settings.num_channels)

    @functools.lru_cache(maxsize=4 * NUM_PATCHES)
    def view(row: int) -> View:
        seen = _look(subject, readable[row], None)
        if isinstance(seen, str):
            raise ModelError(f"{readable[row]} changed while it was looked at: {seen}")
        return seen

    return top_patches_sheet(subject, found, channels, view, settings.rule)


__all__ = ["METHODS", "explain"]
