"""Wrong labels in one call: a data set -> the pictures whose labels are probably wrong, the most doubtful first."""

import csv
import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.datasets import scan_source
from ..data.duplicates import Duplicates, duplicates
from ..data.scan import Scan
from ..data.sources import Source, load_source
from ..data.split import numbers_of_tied
from ..errors import DataError, PictureError, WeightsError
from ..evaluation.suspects import Folds, Suspect, lonely, order_suspects, out_of_fold, wrong_labels
from ..files import write_atomically
from ..progress import Reporter, reporting
from ..runner.bundle import is_bundle
from ..training.default import PACKAGED, SMALL, choose_default
from ..training.ranking import decided
from ..training.recipe import make_recipe
from ..training.run import open_run
from .features import features

GREY_MODES = ("L", "1", "LA", "I;16")  # of pictures without colour
PIXEL_SIDE = 16  # of the squares that stand for grey pictures where no weights are at hand
PIXEL_FEATURES = 600  # random features of a Gaussian kernel over these squares


@dataclasses.dataclass(frozen=True)
class Suspects:
    """What was found. `suspects` come the most doubtful first."""

    source: Source = dataclasses.field(repr=False)
    network: str
    """What the pictures were seen with: a network and its weights, or "pixels"."""
    num_pictures: int
    """Judged; pictures that cannot be read are not."""
    accuracy: float
    """Share of all known labels that the classifiers which had not seen the picture agree with."""
    num_wrong: int
    """An estimate of how many labels are wrong by chance; see `casebook.evaluation.suspects.wrong_labels`."""
    num_wrong_interval: tuple[int, int]
    """Of the estimate, with 95 % confidence."""
    suspects: tuple[Suspect, ...]
    notes: tuple[str, ...]

    @property
    def probably_wrong(self) -> tuple[Suspect, ...]:
        """Those whose labels are more probably wrong than right."""
        return tuple(suspect for suspect in self.suspects if suspect.wrong_probability > 0.5)

    def to_dict(self) -> dict[str, Any]:
        """The document that `casebook data suspects --json` prints."""
        return {
            "source": self.source.name,
            "network": self.network,
            "pictures": self.num_pictures,
            "accuracy": self.accuracy,
            "estimated_wrong": self.num_wrong,
            "estimated_wrong_interval": list(self.num_wrong_interval),
            "probably_wrong": len(self.probably_wrong),
            "suspects": [suspect.to_dict() for suspect in self.suspects],
            "notes": list(self.notes),
        }

    def write_page(self, path: str | Path) -> None:
        """Writes the suspects with their pictures as one HTML file. Raises RunError."""
        from ..reports.suspects import write_suspects_page

        write_suspects_page(path, self.source, self.to_dict())

    def apply(self, path: str | Path, how: Literal["leave-out", "relabel"], top: int | None = None) -> int:
        """Writes a list of all pictures in which the first `top` suspects have their suggested label, or are missing.

        The list is a CSV file with the columns path, label, and split and group where the data has them. With several
        labels a picture it has a column for each class, where a doubted label is turned round, or left empty, which is
        unknown. No picture is moved. Gives the number of suspects it was done to; without `top` it is done to those
        `probably_wrong`.

        Raises DataError for pictures that are no files, a list that exists, a class that would have no pictures left,
        and where the list cannot be written.
        """
        chosen = self.probably_wrong if top is None else self.suspects[:top]
        return write_corrected(Path(path), self.source, chosen, how)


def suspects(
    data: str | Path | Source,
    *,
    model: str | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: bool | Reporter = False,
) -> Suspects:
    """The pictures of a data set, or of a run's, whose labels are probably wrong.

    Every picture is judged by what the other pictures say: their features, from a network with given weights, and a
    logistic regression in folds that keep copies and groups together. Without `model` and `weights` the network is
    that of the run, with the weights it started from, or what `casebook train` would start from. Where that has no
    weights, small squares of grey pictures are compared, and others are seen with the packaged weights of ResNet-20.
    With several labels a picture each class is judged by itself: is it there or not, among the pictures where that is
    known.

    Raises DataError for data that cannot be judged, and what `casebook.load` raises.
    """
    if model is not None and not weights:
        raise WeightsError(f"{model} sees nothing without its weights; add --weights with a file or a published name")
    notes: list[str] = []
    if not isinstance(data, Source) and (Path(data) / "model.json").is_file() and not is_bundle(data):
        recipe = open_run(data).recipe
        if model is None and recipe.weights:
            model, weights = recipe.model, weights or recipe.weights
    else:
        recipe = make_recipe(data="" if isinstance(data, Source) else str(data))
    source = data if isinstance(data, Source) else load_source(
        recipe.data, group_by=recipe.group_by or None, format=recipe.source_format, many_labels=True
    )  # fmt: skip
    if model is None:
        chosen = choose_default(recipe) if recipe.data else None
        model, weights = (chosen.model, weights or chosen.weights) if chosen else ("", None)
    with reporting(progress) as report:
        seen = scan_source(source, report)
        copies = duplicates(seen, source)
        if not weights and any(facts.mode not in GREY_MODES for facts in seen.facts if facts.error is None):
            model, weights = SMALL, PACKAGED
            notes.append(
                f"no better weights are at hand, so pictures were seen with the {PACKAGED} weights of {SMALL}, which "
                "come with Casebook; --model and --weights see more"
            )
        rows, vectors = _vectors(source, seen, model, weights, device, report)
    if not weights:
        model = "pixels"
        notes.append("grey pictures were compared by small squares of their pixels; --model and --weights may see more")
    notes += (
        [f"{len(source) - len(rows)} pictures that cannot be read are not judged"] if len(rows) < len(source) else []
    )
    network = model if model == "pixels" else f"{model} with {weights}"
    seen_pictures = _Seen(rows, vectors, numbers_of_tied(source, copies, rows.tolist()))
    judge = _judge_labels if source.targets is None else _judge_each_class
    judged = judge(source, copies, seen_pictures, seed)
    return Suspects(
        source, network, len(rows), judged.accuracy, judged.num_wrong, judged.interval, judged.suspects,
        (*notes, *judged.notes),
    )  # fmt: skip


class _Seen(NamedTuple):
    """The pictures that can be read: their places in the source, features, and groups that copies share."""

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]


class _Judged(NamedTuple):
    """What is doubted, the most doubtful first, with the figures of `Suspects`."""

    suspects: tuple[Suspect, ...]
    accuracy: float
    num_wrong: int
    interval: tuple[int, int]
    notes: tuple[str, ...]


def _judge_labels(source: Source, copies: Duplicates, seen: _Seen, seed: int) -> _Judged:
    """One label a picture."""
    rows, vectors, groups = seen
    labels = np.array([source.pictures[row].label for row in rows], np.int64)
    present = np.unique(labels)
    ranks = np.searchsorted(present, labels)
    found = out_of_fold(vectors, ranks, groups, seed=seed)
    estimate, wrong = wrong_labels(found.probabilities[found.known], ranks[found.known]), np.zeros(len(rows))
    wrong[found.known] = estimate.probabilities
    probabilities = np.zeros((len(rows), len(source.classes)))
    probabilities[:, present] = found.probabilities
    place = {int(row): position for position, row in enumerate(rows)}
    disagreeing = sorted(
        {
            place[index]
            for group in copies.groups
            if len({source.pictures[index].label for index in group}) > 1
            for index in group
            if index in place
        }
    )
    unknown = int((~found.known).sum())
    note = f"nothing can be said of {unknown} labels, since no other picture has their class, copies aside"
    num_wrong, fewest, most = (round(share * found.known.sum()) for share in (estimate.share, *estimate.interval))
    ordered = order_suspects(probabilities, labels, disagreeing, lonely(vectors, labels, groups))
    suspected = tuple(
        _suspect(source, int(rows[place]), probabilities[place], float(wrong[place]), reasons)
        for place, reasons in ordered
    )
    accuracy = float((probabilities.argmax(axis=1) == labels)[found.known].mean())
    return _Judged(suspected, accuracy, num_wrong, (fewest, most), (note,) if unknown else ())


class _OfClass(NamedTuple):
    """One class: the pictures of which it is known, whether it is there, and what the others say."""

    column: int
    places: NDArray[np.intp]
    labels: NDArray[np.int64]
    folds: Folds
    disagreeing: list[int]


def _judge_each_class(source: Source, copies: Duplicates, seen: _Seen, seed: int) -> _Judged:
    """Several labels a picture; the estimate is of all classes."""
    rows, vectors, groups = seen
    targets = decided(source.truth(rows))
    position = {int(row): place for place, row in enumerate(rows)}
    copied = [[position[index] for index in group if index in position] for group in copies.groups]
    parts, notes = [], []
    for column, name in enumerate(source.classes):
        places = np.flatnonzero(~np.isnan(targets[:, column]))
        if len(np.unique(targets[places, column])) < 2:
            notes.append(f"{name!r} is not judged, since it is in no picture or in all")
            continue
        labels = targets[places, column].astype(np.int64)
        try:
            folds = out_of_fold(vectors[places], labels, groups[places], seed=seed)
        except DataError as error:
            notes.append(f"{name!r} is not judged: {error}")
            continue
        number = {int(place): place_of for place_of, place in enumerate(places)}
        known = [[number[place] for place in group if place in number] for group in copied]
        disagreeing = [one for group in known if len(set(labels[group].tolist())) > 1 for one in group]
        parts.append(_OfClass(column, places, labels, folds, disagreeing))
    if not parts:
        raise DataError(f"{source.name}: no class can be judged: {notes[0]}")
    said = np.concatenate([part.folds.probabilities[part.folds.known] for part in parts])
    labels = np.concatenate([part.labels[part.folds.known] for part in parts])
    estimate = wrong_labels(said, labels)
    ends = np.cumsum([int(part.folds.known.sum()) for part in parts])
    found: list[tuple[bool, float, Suspect]] = []
    for part, wrong_known in zip(parts, np.split(estimate.probabilities, ends[:-1]), strict=True):
        wrong = np.zeros(len(part.labels))
        wrong[part.folds.known] = wrong_known
        name, shares = source.classes[part.column], part.folds.probabilities
        texts = (f"not {name}", name)
        far = lonely(vectors[part.places], part.labels, groups[part.places])
        for one, reasons in order_suspects(shares, part.labels, part.disagreeing, far):
            index, there = int(rows[part.places[one]]), int(part.labels[one])
            shares_of = (shares[one, there], shares[one, 1 - there], wrong[one])
            own, other, doubt = (round(float(share), 6) for share in shares_of)
            picture = source.pictures[index].name
            suspect = Suspect(index, picture, texts[there], texts[1 - there], own, other, doubt, reasons, name)
            found.append((one not in part.disagreeing, suspect.probability, suspect))
    found.sort(key=lambda one: one[:2])
    num_wrong, fewest, most = (round(share * len(labels)) for share in (estimate.share, *estimate.interval))
    accuracy = float((said.argmax(axis=1) == labels).mean())
    return _Judged(tuple(one for *_, one in found), accuracy, num_wrong, (fewest, most), tuple(notes))


def _suspect(source: Source, index: int, said: NDArray[np.float64], wrong: float, reasons: tuple[str, ...]) -> Suspect:
    picture = source.pictures[index]
    others = np.where(np.arange(len(said)) == picture.label, -1.0, said)
    suggested = int(others.argmax())
    return Suspect(
        index, picture.name, source.classes[picture.label], source.classes[suggested],
        round(float(said[picture.label]), 6), round(float(said[suggested]), 6), round(wrong, 6), reasons,
    )  # fmt: skip


def _vectors(
    source: Source, seen: Scan, model: str, weights: str | Path | None, device: str, report: Reporter
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which pictures can be read, and their features."""
    if weights:
        from ..data.datasets import PictureDataset

        readable = [index for index, facts in enumerate(seen.facts) if facts.error is None]
        found = features(model, PictureDataset(source, readable), weights=weights, device=device, progress=report)
        rows = np.array([index for index in readable if source.pictures[index].name not in found.skipped], np.int64)
        values = found.values if found.values.ndim == 2 else found.values.mean(axis=(2, 3))
        return rows, values
    from sklearn.kernel_approximation import RBFSampler

    rows, squares = [], []
    for index, facts in enumerate(seen.facts):
        if facts.error is None:
            try:
                square = source.open(index, mode="L").resize((PIXEL_SIDE, PIXEL_SIDE))
            except PictureError:
                continue
            rows.append(index)
            squares.append(np.asarray(square, np.float32).ravel() / 255)
    if not rows:
        raise DataError(f"{source.name}: not one picture can be read")
    values = np.stack(squares)
    spread = float(values.var(axis=0).sum())
    sampler = RBFSampler(gamma=1 / max(spread, 1e-6), n_components=PIXEL_FEATURES, random_state=0)
    return np.array(rows, np.int64), sampler.fit_transform(values).astype(np.float32)


def root_of_list(path: Path, source: Source) -> Path | None:
    """The folder that the paths of a corrected list are relative to; None where it is the list's own, as usual.

    Paths in a list never lead upwards, so a list beside or above the pictures needs no root, and others do.
    """
    assert source.root is not None
    root = source.root.resolve()
    return None if root.is_relative_to(path.resolve().parent) else root


def write_corrected(path: Path, source: Source, suspected: tuple[Suspect, ...], how: str) -> int:
    """The list that `Suspects.apply` writes."""
    if how not in ("leave-out", "relabel"):
        raise DataError(f"how is {how!r}, expected leave-out or relabel")
    if source.root is None:
        raise DataError(
            f"{source.name} has no file for each picture, so no list of them can be written; expected a folder or list"
        )
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path}: the name of a list ends in .csv")
    if path.exists():
        raise DataError(f"{path} exists, perhaps with corrections of yours; name a new file")
    prefix = Path() if root_of_list(path, source) else Path(os.path.relpath(source.root, path.parent))
    chosen = {suspect.index: suspect for suspect in suspected}
    has = {name: any(getattr(picture, name) for picture in source.pictures) for name in ("split", "group")}
    others = [name for name, used in has.items() if used]
    if source.targets is not None:
        _write_text(path, _corrected_columns(source, suspected, how, prefix, others))
        return len(suspected)
    columns = ["path", "label", *others]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    left: set[str] = set()
    for index, picture in enumerate(source.pictures):
        suspect = chosen.get(index)
        if suspect is not None and how == "leave-out":
            continue
        label = source.classes[picture.label] if suspect is None else suspect.suggested
        left.add(label)
        writer.writerow([(prefix / picture.name).as_posix(), label, *(getattr(picture, name) for name in others)])
    had = {source.classes[picture.label] for picture in source.pictures}
    if gone := sorted(had - left):
        raise DataError(f"no picture of class {gone[0]!r} would be left; correct fewer suspects, or look at each")
    _write_text(path, text.getvalue())
    return len(chosen)


def _corrected_columns(
    source: Source, suspected: tuple[Suspect, ...], how: str, prefix: Path, others: Sequence[str]
) -> str:
    """A list with one column a class, in which the suspects' cells are corrected; `others` are further columns."""
    assert source.targets is not None
    targets = source.targets.astype(np.float64)
    for suspect in suspected:
        mended = np.nan if how == "leave-out" else float(suspect.suggested == suspect.class_name)
        targets[suspect.index, source.classes.index(suspect.class_name or "")] = mended
    for column, name in enumerate(source.classes):
        if (source.targets[:, column] > 0.5).any() and not (targets[:, column] > 0.5).any():
            raise DataError(f"no picture of class {name!r} would be left; correct fewer suspects, or look at each")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", *source.classes, *others])
    for picture, row in zip(source.pictures, targets, strict=True):
        cells = ["" if np.isnan(one) else f"{one:.6g}" for one in row]
        writer.writerow([(prefix / picture.name).as_posix(), *cells, *(getattr(picture, name) for name in others)])
    return text.getvalue()


def _write_text(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error
