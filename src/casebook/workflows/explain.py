"""Explain in one call: a run or a named network, and pictures -> sheets and arrays in a folder."""

import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.decode import open_picture
from ..device import Stopwatch
from ..errors import ModelError, PictureError, did_you_mean
from ..evaluation.classifier import Classifier, load
from ..explanation import drawing
from ..explanation.descent import check_rule
from ..explanation.layer_sheets import explain_filters
from ..explanation.sanity import cascade
from ..explanation.sheet import Explanation, Settings
from ..explanation.sheets import BY_PICTURE, overview, sanity_sheet, strength
from ..explanation.top_patches import NUM_PATCHES, choose_channels, excitement
from ..explanation.unit_sheets import top_patches_sheet
from ..explanation.views import View, look
from ..explanation.watching import as_leaf, evaluating, find_layer, last_with_places, run, stages_of
from ..files import write_atomically
from ..progress import Advanced, Reporter, reporting
from ..runner.bundle import is_bundle
from ..runner.reading import NamedPicture, Pictures, named_pictures, read_ahead
from .threads import choose_asking_threads, each_with_threads

METHODS = (*BY_PICTURE, "filters", "top9", "all")
OF_A_CLASS = ("grad-cam", "occlusion", "guided", "gradient")
RANDOMISED = (*OF_A_CLASS, "deconvnet")
LONGEST_NAME = 80  # in characters; bytes may be twice as many
BATCH_SIZE = 32
MANY_IMAGES = {"occlusion", "top9", "all"}  # methods that show a network many images at a time
OCCLUSION_PASSES = 100  # of the network for a picture, about


def explain(
    model: str | Path | Classifier,
    pictures: Pictures = (),
    *,
    method: str | Sequence[str] = "all",
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    progress: bool | Reporter = False,
    **settings: Any,
) -> Iterator[dict[str, Any]]:
    """Looks into a run, or a named network with `weights`: a PNG and a NumPy array for each picture and method.

    `pictures` are files, folders and patterns, as in `predict`. `method` is one of METHODS, several of them, or "all",
    which leaves out "top9" for nine pictures or fewer and adds one page of everything. `settings` are fields of
    `Settings`, such as layer="stages.3", class_name="tabby" or sanity=True. Files go to `out`, by default to
    explanations/ in the run folder or here, and replace those of the same name.

    Of a run with several labels a picture each label that is given is explained in turn, in files that name it; where
    none is, the most probable class.

    Gives a record for each file pair, {"picture", "method", "image", "array", ...}, or {"picture", "error"} for a
    picture that cannot be read. The arguments are checked now; the work is done when the records are asked for.

    Raises ModelError for an unknown method, setting, layer, channel or class, and what `predict` raises.
    """
    methods, chosen = _methods(method), _settings(settings)
    check_rule(chosen.rule)
    if is_bundle(model):
        raise ModelError(f"{model} is a bundle, without layers to look into; explain the run that it was made from")
    classifier = load(model, weights=weights, classes=classes, device=device, many_labels=True)
    if chosen.layer is not None:
        find_layer(classifier.model, chosen.layer)
    target = None if chosen.class_name is None else classifier.class_index(chosen.class_name)
    named = list(named_pictures(pictures))
    if not named and set(methods) != {"filters"}:
        raise ModelError("name pictures or a folder, or ask for --method filters, which needs none")
    home = classifier.run.path if classifier.run else Path()
    job = _Job(classifier, methods, chosen, target, Writer(Path(out) if out is not None else home / "explanations"))
    return job.reported(named, progress)


def _settings(given: dict[str, Any]) -> Settings:
    """Raises ModelError for an unknown one. `channel` may be one number or several."""
    known = [field.name for field in dataclasses.fields(Settings)]
    if "channel" in given:
        channel = given.pop("channel")
        given["channels"] = () if channel is None else (channel,) if isinstance(channel, int) else tuple(channel)
    if unknown := [name for name in given if name not in known]:
        suggestion = did_you_mean(unknown[0], known) or ";"
        raise ModelError(f"unknown setting {unknown[0]!r}{suggestion} expected one of {', '.join(known)}")
    return Settings(**given)


class _Job:
    """One call of `explain`, with everything checked."""

    def __init__(
        self, classifier: Classifier, methods: Sequence[str], settings: Settings, target: int | None, writer: "Writer"
    ):
        self.classifier, self.methods, self.settings = classifier, methods, settings
        self.target, self.writer = target, writer
        self.shared: list[Explanation] = []  # what is made once, whatever the pictures

    def reported(self, named: Sequence[NamedPicture], progress: bool | Reporter) -> Iterator[dict[str, Any]]:
        with reporting(progress) as report:
            threads = self._threads(len(named), report)
            yield from each_with_threads(threads, self.records(named, report))

    def _threads(self, num_pictures: int, report: Reporter) -> int:
        many = MANY_IMAGES.intersection(self.methods)
        batch_size, passes = (BATCH_SIZE, OCCLUSION_PASSES) if many or self.settings.sanity else (1, len(self.methods))
        return choose_asking_threads([self.classifier], batch_size, num_pictures * passes, report)

    def records(self, named: Sequence[NamedPicture], report: Reporter) -> Iterator[dict[str, Any]]:
        methods, settings = self.methods, self.settings
        if "filters" in methods:
            watch = Stopwatch()
            self.shared.append(explain_filters(self.classifier, settings if methods == ["filters"] else Settings()))
            yield _written(self.writer, None, self.shared[0], "filters", watch)
        if "top9" in methods or ("all" in methods and len(named) > NUM_PATCHES):
            unreadable: list[dict[str, Any]] = []
            watch = Stopwatch()
            found = _top9(self.classifier, settings, named, unreadable, report)
            yield _written(self.writer, None, found, f"top9-{found.facts['layer']}", watch)
            if methods == ["top9"]:  # other methods say it themselves
                yield from unreadable
        by_picture = [name for name in methods if name in BY_PICTURE]
        for picture in named if by_picture else []:
            view = picture.error or _look(self.classifier, picture, self.target)
            if isinstance(view, str):
                yield {"picture": picture.name, "error": view}
                continue
            yield from self._of_picture(view, by_picture)

    def _of_picture(self, view: View, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
        stem = self.writer.free(Path(view.name).stem)
        made: dict[str, Explanation] = {}
        if view.given is None or self.target is not None:
            yield from self._of_class(view, methods, (stem, stem), made)
            return
        for target in view.given or (view.predicted,):
            label = self.writer.free(f"{stem}-{view.classes[target]}")
            yield from self._of_class(dataclasses.replace(view, target=target), methods, (stem, label), made)

    def _of_class(
        self, view: View, methods: Sequence[str], stems: tuple[str, str], made: dict[str, Explanation]
    ) -> Iterator[dict[str, Any]]:
        """`stems` begin the names of files: of what is the same for every class, kept in `made`, and of the rest."""
        classifier, settings, writer = self.classifier, self.settings, self.writer
        shown = dataclasses.replace(view, name=Path(view.name).name)
        explanations = []
        for method in methods:
            if method in made:
                explanations.append(made[method])
                continue
            watch = Stopwatch()
            found = BY_PICTURE[method](classifier, shown, settings)
            if not _is_of_class(found):
                made[method] = found
            record = _written(writer, view, found, f"{stems[_is_of_class(found)]}-{method}", watch)
            if settings.sanity and method in RANDOMISED:
                strengths = strength(method, shown, settings, *_deconvnets(classifier, shown, settings))
                steps = cascade(classifier.model, strengths)
                record["sanity"] = [{"part": step.part, "correlation": step.correlation} for step in steps[1:]]
                name = f"{Path(record['image']).stem}-sanity"
                record["sanity_image"] = writer.image(name, sanity_sheet(classifier, shown, method, steps))
            explanations.append(found)
            yield record
        if "all" in self.methods:
            watch = Stopwatch()
            filters = (found for found in self.shared if found.method == "filters")
            page = overview(classifier, shown, [*explanations, *filters])
            everything = Explanation("all", page, explanations[0].panel, None, {})
            yield _written(writer, view, everything, f"{stems[1]}-all", watch)


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


def _look(classifier: Classifier, picture: NamedPicture, target: int | None) -> View | str:
    """The view, or the reason why there is none."""
    preprocessing = classifier.preprocessing
    try:
        opened = picture.image or open_picture(Path(picture.name), name=picture.name, **preprocessing.decode_options)
    except PictureError as error:
        return error.reason
    return look(classifier, opened, picture.name, target)


def _deconvnets(classifier: Classifier, view: View, settings: Settings) -> tuple[str, int]:
    """The layer and channel whose projection is compared: those that are named, else the deepest and strongest."""
    layers = [settings.layer] if settings.layer else stages_of(classifier.model)
    with evaluating(classifier.model):
        _, kept = run(classifier.model, as_leaf(view.image), layers)
    layer = last_with_places(kept, layers)
    return layer, settings.channels[0] if settings.channels else int(kept[layer][0].flatten(1).amax(1).argmax())


def _is_of_class(found: Explanation) -> bool:
    """Whether it explains a class, not a layer; the gradients of a layer's unit do not."""
    of_unit = found.method in ("guided", "gradient") and "layer" in found.facts
    return found.method in (*OF_A_CLASS, "all") and not of_unit


def _written(writer: Writer, view: View | None, found: Explanation, name: str, watch: Stopwatch) -> dict[str, Any]:
    """Writes the files; gives their record."""
    rule = found.facts.get("rule", "deconvnet")
    name += "" if rule == "deconvnet" else f"-{rule}"
    of_class = _is_of_class(found)
    return {
        "picture": view.name if view else None,
        "method": found.method,
        "class": view.classes[view.target] if view and of_class else None,
        "probability": view.probability if view and of_class else None,
        "labels": [view.classes[index] for index in view.given] if view and view.given is not None else None,
        "predicted": view.classes[view.predicted] if view else None,
        "predicted_probability": float(view.probabilities[view.predicted]) if view else None,
        "image": writer.image(name, found.sheet),
        "array": None if found.array is None else writer.array(name, found.array),
        "shape": [] if found.array is None else list(found.array.shape),
        "details": found.facts,
        "sanity": [],
        "sanity_image": None,
        "seconds": round(watch.seconds, 3),
    }


def _top9(
    classifier: Classifier, settings: Settings, named: Sequence[NamedPicture], unreadable: list[dict[str, Any]],
    report: Reporter,
) -> Explanation:  # fmt: skip
    """Adds to `unreadable` what cannot be read. Raises ModelError when that is everything."""
    layer = settings.layer or stages_of(classifier.model)[-1]
    readable: list[NamedPicture] = []

    def batches() -> Iterator[Any]:
        waiting: list[Any] = []
        for done, (picture, reading) in enumerate(
            zip(named, read_ahead(named, classifier.preprocessing), strict=True), 1
        ):
            if reading.pixels is None:
                unreadable.append({"picture": reading.name, "error": reading.error})
            else:
                waiting.append(reading.pixels)
                readable.append(picture)
            if len(waiting) == BATCH_SIZE:
                yield classifier.images(waiting)
                waiting = []
            report(Advanced("excite", done, len(named)))
        if waiting:
            yield classifier.images(waiting)

    found = excitement(classifier.model, layer, batches())
    channels = settings.channels or choose_channels(found, settings.num_channels)

    @functools.lru_cache(maxsize=4 * NUM_PATCHES)
    def view(row: int) -> View:
        seen = _look(classifier, readable[row], None)
        if isinstance(seen, str):
            raise ModelError(f"{readable[row].name} changed while it was looked at: {seen}")
        return seen

    return top_patches_sheet(classifier, found, channels, view, settings.rule)


__all__ = ["METHODS", "explain"]
