"""Runs or a named network, pictures and protocols -> what each network, their ensemble and their soup say."""

import copy
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data.batch_plan import BatchPlan
from ..data.crops import CropSettings
from ..data.datasets import PictureData
from ..data.loader import Batches, make_prepare
from ..data.sources import Source
from ..device import Stopwatch
from ..errors import DataError, RunError
from ..training.plan import UNMIRRORED
from .classifier import Classifier
from .comparison import Scored, on_common_pictures, without
from .ensemble import columns_of, fit_weights, with_ensembles
from .labelled import find_pictures, own_data, with_classes_of
from .predictions import Predictions
from .protocols import CENTER, Protocol
from .soup import NORM_PICTURES, blended, check_alike, greedy
from .unseen import seen_among, unseen
from .views import Asking, ask, form_for

NORM_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Combination:
    """What is made of several runs besides setting them side by side."""

    ensemble: bool = False
    fitted: bool = False  # the ensemble's weights are fitted on validation pictures
    soup: bool = False


class SeenPictures(NamedTuple):
    """Pictures of an evaluation that the run was trained or validated on."""

    number: int
    by_name: int
    by_content: int
    all_rows: list[Scored]
    """The rows on all pictures, the seen ones included."""


class Together(NamedTuple):
    """Rows on the same pictures, what was asked about, and what the user should know."""

    rows: list[Scored]
    source: Source
    part: str
    seconds: float
    """In which the pictures were read and classified."""
    skipped: dict[str, str]
    notes: list[str]
    seen: SeenPictures | None
    """Pictures that the one run has learnt from, which `rows` leave out, and the same rows on all pictures."""


class Member(NamedTuple):
    """A network of several, and where its outputs stand in the order of the first one's classes."""

    classifier: Classifier
    columns: NDArray[np.intp]


def score_together(
    classifiers: Sequence[Classifier],
    data: str | Path | Source | None,
    protocols: Sequence[Protocol],
    combination: Combination = Combination(),
    *,
    split: str = "auto",
    asking: Asking = Asking(),  # noqa: B008 - frozen
) -> Together:
    """The rows of all networks for all protocols, and of their ensemble and soups where asked for; see `evaluate`."""
    first, together = classifiers[0], len(classifiers) > 1
    members = [Member(one, columns_of(one.classes, first.classes, one.name, first.name)) for one in classifiers]
    remarks = check_alike(classifiers) if combination.soup else []
    for one, protocol in itertools.product(classifiers, protocols):
        form_for(protocol, one)  # what cannot be shown so is said before anything is asked
    source, indices, part, notes, own = find_pictures(first, data, split)
    notes = [*notes, *remarks]
    runs, seen = [one.run for one in classifiers if one.run], None
    if together:
        indices, more = unseen(runs, source, indices)
        notes += more
    elif runs and (own is None or part != "test"):
        seen = seen_among(runs[0], source, indices)
        notes += seen.notes
    notes += _mirror_notes(classifiers, protocols)
    shares = None
    if combination.fitted:
        shares, note = _fitted_weights(members, own, asking)
        notes.append(note)
    skipped: dict[str, str] = {}

    def rows_of(member: Member, protocol: Protocol, name: str, kind: Any, network: Any = None) -> Scored:
        asked = member.classifier if network is None else member.classifier.with_model(network)
        said, _, bad, cost = ask(asked, source, indices, protocol, asking)
        skipped.update(bad)
        return Scored(name, kind, protocol.name, protocol.num_views, _ordered(said, member, first), cost)

    watch = Stopwatch()
    rows = [
        rows_of(member, protocol, member.classifier.name, "network") for protocol in protocols for member in members
    ]
    seconds = watch.seconds
    rows = on_common_pictures(rows)
    if combination.ensemble:
        rows = with_ensembles(rows, shares)
    if combination.soup:
        blends, more = _soups(members, own, asking)
        notes += more
        soups = [rows_of(members[0], protocol, name, "soup", blend) for protocol in protocols for name, blend in blends]
        # An ensemble stays the last of its protocol: what is reported of a whole evaluation is its last row.
        order = {protocol.name: place for place, protocol in enumerate(protocols)}
        rows = sorted([*rows, *soups], key=lambda row: (order[row.protocol], row.kind == "ensemble"))
    rows, seen_pictures = on_common_pictures(rows), None
    if seen is not None and seen.indices:
        seen_pictures = SeenPictures(len(seen.indices), seen.by_name, seen.by_content, rows)
        names = {source.pictures[index].name for index in seen.indices}
        if len(seen.indices) < len(indices):
            rows = [without(row, names) for row in rows]
    return Together(rows, source, part, seconds, skipped, notes, seen_pictures)


def _ordered(said: Predictions, member: Member, first: Classifier) -> Predictions:
    """Predictions whose labels are the first network's outputs, with the columns in its order too."""
    return Predictions(said.names, said.labels, said.probabilities[:, member.columns], first.classes, said.features)


def _mirror_notes(found: Sequence[Classifier], protocols: Sequence[Protocol]) -> list[str]:
    """A remark where mirror images are shown to runs that were trained without."""
    if not any(protocol.mirror for protocol in protocols):
        return []
    return [
        f"{one.name} was trained without mirror images; if a mirrored picture may be of another class, as a digit is, "
        "take a protocol without them"
        for one in found
        if one.run and (not one.run.recipe.mirror or one.run.recipe.data in UNMIRRORED)
    ]


def _validation(members: Sequence[Member], own: PictureData | None) -> tuple[Source, tuple[int, ...]]:
    """The first run's data with labels as its outputs, and its validation pictures that no member was trained on.

    Raises RunError or DataError where there are none.
    """
    runs = [member.classifier.run for member in members if member.classifier.run]
    data = own if own is not None else own_data(runs[0])
    if not data.split.val:
        raise RunError(f"{runs[0].path} has no validation pictures, and a test set is no place to choose anything")
    indices, _ = unseen(runs, data.source, data.split.val, parts=("train",))
    return with_classes_of(data.source, members[0].classifier)[0], indices


def _fitted_weights(members: Sequence[Member], own: PictureData | None, asking: Asking) -> tuple[list[float], str]:
    """Weights for the members with the least log loss on validation pictures, shown by `center`, and a remark."""
    source, indices = _validation(members, own)
    said = [_ordered(ask(member.classifier, source, indices, CENTER, asking).predictions, member, members[0].classifier)
            for member in members]  # fmt: skip
    weights = fit_weights(said)
    listed = ", ".join(f"{member.classifier.name} {share:.3f}" for member, share in zip(members, weights, strict=True))
    return weights, f"weights fitted on {len(said[0].names)} validation pictures: {listed}"


def _soups(
    members: Sequence[Member], own: PictureData | None, asking: Asking
) -> tuple[list[tuple[str, nn.Module]], list[str]]:
    """(name, network) of the uniform soup, and of the greedy one where there are validation pictures; and remarks."""
    first = members[0].classifier
    assert first.run is not None
    states = [member.classifier.model.state_dict() for member in members]
    reason = ""
    try:
        own = own if own is not None else own_data(first.run)
    except (DataError, RunError) as error:
        reason = str(error)

    def batches() -> Iterator[Tensor]:
        assert own is not None
        prepare = make_prepare(first.preprocessing, first.device, True)
        plan = BatchPlan(NORM_BATCH, shuffle=True)
        found = Batches(own.source, own.split.train, first.preprocessing, plan, crops=CropSettings(memory_share=0))
        for batch in itertools.islice(found.epoch(), NORM_PICTURES // NORM_BATCH):
            if len(batch.labels) > 1:
                yield prepare(batch)

    def blend(places: Sequence[int]) -> tuple[nn.Module, list[str]]:
        network = copy.deepcopy(first.model)
        return blended(network, [states[place] for place in places], None if own is None else batches)

    uniform, notes = blend(range(len(members)))
    soups = [("soup", uniform)]
    try:
        source, indices = _validation(members, own)
    except (DataError, RunError) as error:
        return soups, [*notes, f"no greedy soup, which is chosen on validation pictures: {reason or error}"]

    def score(places: Sequence[int]) -> float:
        said = ask(first.with_model(blend(places)[0]), source, indices, CENTER, asking).predictions
        return float((said.predicted() == said.labels).mean())

    alone = [score([place]) for place in range(len(members))]
    taken, best = greedy(sorted(range(len(members)), key=lambda place: -alone[place]), score)
    listed = ", ".join(members[place].classifier.name for place in taken)
    notes.append(f"greedy soup of {len(taken)} of {len(members)} runs ({listed}), validation top-1 {100 * best:.2f} %")
    return [*soups, ("greedy soup", blend(taken)[0])], notes
