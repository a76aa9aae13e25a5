"""Runs or a named network, pictures and protocols -> what each network, their ensemble and their soup say."""

import copy
import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data.loader import Batches
from ..data.sources import Source
from ..device import choose_device, choose_precision, tune_allocator
from ..errors import DataError, RunError
from ..progress import Advanced, Reporter
from ..training.plan import UNMIRRORED, Data, make_prepare
from .comparison import Scored, on_common_pictures
from .ensemble import columns_of, fit_weights, with_ensembles
from .predictions import Predictions
from .protocols import CENTER, Protocol
from .ready import Ready, find_pictures, get_ready, own_data, with_classes_of
from .soup import NORM_PICTURES, blended, check_alike, greedy
from .unseen import unseen
from .views import Shown, form_for, predict_views

NORM_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Asking:
    """How networks are asked; `counted` says whether their multiply-adds are wanted."""

    device: str
    precision: str
    batch_size: int
    workers: int
    report: Reporter
    counted: bool

    def __call__(
        self, ready: Ready, source: Source, indices: Sequence[int], protocol: Protocol, network: Any = None
    ) -> Shown:
        """What the network, or another one (`network`) that is fed as it is, says of pictures."""
        chosen = choose_device(self.device)
        return predict_views(
            ready.network if network is None else network, source, indices, ready.preprocessing, ready.classes,
            protocol, device=chosen, dtype=choose_precision(self.precision, chosen, ready.preprocessing.size),
            batch_size=self.batch_size, workers=self.workers, counted=self.counted,
            progress=lambda done, total: self.report(Advanced("evaluate", done, total)),
        )  # fmt: skip


class Answer(NamedTuple):
    """Rows on the same pictures, what was asked about, and what is to be said."""

    rows: list[Scored]
    source: str
    part: str
    seconds: float
    """In which the pictures were read and classified."""
    skipped: dict[str, str]
    notes: list[str]


class Member(NamedTuple):
    """A network of several, and where its outputs stand in the order of the first one's classes."""

    ready: Ready
    columns: NDArray[np.intp]


def score_together(
    ask: Asking,
    names: Sequence[str],
    data: str | Path | Source | None,
    protocols: Sequence[Protocol],
    *,
    split: str = "auto",
    weights: str | Path | None = None,
    classes: str | Path | None = None,
    ensemble: bool = False,
    fit: bool = False,
    soup: bool = False,
) -> Answer:
    """The rows of all networks for all protocols, and of their ensemble and soups where asked for; see `evaluate`."""
    tune_allocator()
    together = len(names) > 1
    if together and (weights or classes):
        raise DataError("weights and a class list go with one network; an ensemble or a soup is made of run folders")
    found = [get_ready(name, weights, classes) for name in names]
    first = found[0]
    members = [Member(one, columns_of(one.classes, first.classes, one.name, first.name)) for one in found]
    remarks = check_alike(found) if soup else []
    for one, protocol in itertools.product(found, protocols):
        form_for(protocol, one.network, one.preprocessing)  # what cannot be shown so is said before anything is asked
    source, indices, part, notes, own = find_pictures(first, data, split)
    notes = [*source.notes, *notes, *remarks]
    if together:
        indices, more = unseen([one.run for one in found if one.run], source, indices)
        notes += more
    notes += _mirror_notes(found, protocols)
    shares = None
    if fit:
        shares, note = _fitted_weights(members, ask, own)
        notes.append(note)
    skipped: dict[str, str] = {}

    def rows_of(member: Member, protocol: Protocol, name: str, kind: Any, network: Any = None) -> Scored:
        said, _, bad, cost = ask(member.ready, source, indices, protocol, network)
        skipped.update(bad)
        return Scored(name, kind, protocol.name, protocol.num_views, _ordered(said, member, first), cost)

    began = time.monotonic()
    rows = [rows_of(member, protocol, member.ready.name, "network") for protocol in protocols for member in members]
    seconds = time.monotonic() - began
    rows = on_common_pictures(rows)
    if ensemble:
        rows = with_ensembles(rows, shares)
    if soup:
        blends, more = _soups(members, ask, own)
        notes += more
        soups = [rows_of(members[0], protocol, name, "soup", blend) for protocol in protocols for name, blend in blends]
        # An ensemble stays the last of its protocol: what is reported of a whole evaluation is its last row.
        order = {protocol.name: place for place, protocol in enumerate(protocols)}
        rows = sorted([*rows, *soups], key=lambda row: (order[row.protocol], row.kind == "ensemble"))
    return Answer(on_common_pictures(rows), source.name, part, seconds, skipped, notes)


def _ordered(said: Predictions, member: Member, first: Ready) -> Predictions:
    """Predictions whose labels are the first network's outputs, with the columns in its order too."""
    return Predictions(said.names, said.labels, said.probabilities[:, member.columns], first.classes)


def _mirror_notes(found: Sequence[Ready], protocols: Sequence[Protocol]) -> list[str]:
    """A remark where mirror images are shown to runs that were trained without."""
    if not any(protocol.mirror for protocol in protocols):
        return []
    return [
        f"{one.name} was trained without mirror images; if a mirrored picture may be of another class, as a digit is, "
        "take a protocol without them"
        for one in found
        if one.run and (not one.run.recipe.mirror or one.run.recipe.data in UNMIRRORED)
    ]


def _validation(members: Sequence[Member], own: Data | None) -> tuple[Source, tuple[int, ...]]:
    """The first run's data with labels as its outputs, and its validation pictures that no member was trained on.

    Raises RunError or DataError where there are none.
    """
    runs = [member.ready.run for member in members if member.ready.run]
    data = own if own is not None else own_data(runs[0])
    if not data.split.val:
        raise RunError(f"{runs[0].path} has no validation pictures, and a test set is no place to choose anything")
    indices, _ = unseen(runs, data.source, data.split.val, parts=("train",))
    return with_classes_of(data.source, members[0].ready)[0], indices


def _fitted_weights(members: Sequence[Member], ask: Asking, own: Data | None) -> tuple[list[float], str]:
    """Weights for the members with the least log loss on validation pictures, shown by `center`, and a remark."""
    source, indices = _validation(members, own)
    said = [_ordered(ask(member.ready, source, indices, CENTER).predictions, member, members[0].ready)
            for member in members]  # fmt: skip
    weights = fit_weights(said)
    listed = ", ".join(f"{member.ready.name} {share:.3f}" for member, share in zip(members, weights, strict=True))
    return weights, f"weights fitted on {len(said[0].names)} validation pictures: {listed}"


def _soups(members: Sequence[Member], ask: Asking, own: Data | None) -> tuple[list[tuple[str, nn.Module]], list[str]]:
    """(name, network) of the uniform soup, and of the greedy one where there are validation pictures; and remarks."""
    first = members[0].ready
    assert first.run is not None
    states = [member.ready.network.state_dict() for member in members]
    device = choose_device(ask.device)
    reason = ""
    try:
        own = own if own is not None else own_data(first.run)
    except (DataError, RunError) as error:
        reason = str(error)

    def batches() -> Iterator[Tensor]:
        assert own is not None
        prepare = make_prepare(first.preprocessing, device, True)
        found = Batches(
            own.source, own.split.train, first.preprocessing, batch_size=NORM_BATCH, shuffle=True,
            memory_share=0,
        )  # fmt: skip
        for batch in itertools.islice(found.epoch(), NORM_PICTURES // NORM_BATCH):
            if len(batch.labels) > 1:
                yield prepare(batch)

    def blend(places: Sequence[int]) -> tuple[nn.Module, list[str]]:
        network = copy.deepcopy(first.network).to(device)
        return blended(network, [states[place] for place in places], None if own is None else batches)

    uniform, notes = blend(range(len(members)))
    soups = [("soup", uniform)]
    try:
        source, indices = _validation(members, own)
    except (DataError, RunError) as error:
        return soups, [*notes, f"no greedy soup, which is chosen on validation pictures: {reason or error}"]

    def score(places: Sequence[int]) -> float:
        said = ask(first, source, indices, CENTER, blend(places)[0]).predictions
        return float((said.predicted() == said.labels).mean())

    alone = [score([place]) for place in range(len(members))]
    taken, best = greedy(sorted(range(len(members)), key=lambda place: -alone[place]), score)
    listed = ", ".join(members[place].ready.name for place in taken)
    notes.append(f"greedy soup of {len(taken)} of {len(members)} runs ({listed}), validation top-1 {100 * best:.2f} %")
    return [*soups, ("greedy soup", blend(taken)[0])], notes
