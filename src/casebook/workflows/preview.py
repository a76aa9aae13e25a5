"""Before a training: which network it would take, what would learn, and about how long that would take here."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data.datasets import load_data
from ..device import choose_device, choose_precision, choose_threads, using_threads
from ..errors import DataError
from ..models import model_card
from ..preprocessing import Preprocessing
from ..progress import Reporter, silent
from ..training.features import Arithmetic
from ..training.fine_tuning import TIMED_PICTURES, Forecast, affordable_plan, forecast
from ..training.inputs import sizes_to_try
from ..training.plan import lost_end_notes, median_side_of, resolve_model, set_up_model
from ..training.recipe import Recipe, make_recipe
from ..training.transfer import choose_transfer


@dataclasses.dataclass(frozen=True)
class Preview:
    """What a training would do."""

    model: str
    weights: str
    """"" for random ones."""
    input_size: int
    reasons: tuple[str, ...]
    """Why this network, and what must be said about it."""
    strategy: str
    """What learns: "none" (everything, from random weights), "head", "last:K" or "full"."""
    strategy_reason: str
    num_classes: int
    num_train: int
    num_val: int
    num_test: int
    epochs: int
    seconds: float
    """What the network takes on this machine. Reading the pictures comes on top where it is slower."""
    notes: tuple[str, ...]
    """About the pictures and their split."""

    def to_dict(self) -> dict[str, Any]:
        record = dataclasses.asdict(self)
        return record | {"reasons": list(self.reasons), "notes": list(self.notes), "seconds": round(self.seconds, 1)}


def preview(
    data: str | Path, *, recipe: str | Path | None = None, progress: Reporter = silent, **settings: Any
) -> Preview:
    """Looks at the pictures once and times some steps of the network; trains nothing and writes no run.

    `recipe` and `settings` are those of `casebook.train`. A download of weights that are not at hand takes place.
    Raises a CasebookError for what `casebook.train` would refuse, too.
    """
    chosen = make_recipe(recipe, data=str(data), **settings)
    if not chosen.data:
        raise DataError("name the data: a folder, a CSV file or a built-in name such as digits")
    chosen, reasons, _ = resolve_model(chosen)
    pictures = load_data(chosen.data, chosen.split_settings, format=chosen.source_format, progress=progress)
    setup = set_up_model(chosen, pictures)
    split, classes = pictures.split, pictures.source.classes
    num_train, num_val = len(split.train), len(split.val)

    def measure(learn: Callable[[], object] | None = None) -> Forecast:
        return _forecast(chosen, setup.network, setup.preprocessing, learn)

    notes = [*pictures.source.notes, *split.notes, *lost_end_notes(pictures, setup.preprocessing)]
    if chosen.transfer == "auto" and not chosen.two_phase and chosen.weights:
        counts = (num_train, num_val)
        found = affordable_plan(chosen, setup.network, measure, counts, folded_norms=setup.folded_norms)
        smaller = sizes_to_try(chosen, setup.preprocessing, median_side_of(pictures))[:-1]
        if smaller:
            listed = " and ".join(str(size) for size in smaller)
            notes.append(f"the pictures are small, so {listed} pixels are tried too; with these it takes less time")
        chosen, choice, seconds = chosen.model_copy(update=found.changes), found.choice, found.seconds
    else:
        choice = choose_transfer(chosen, num_train / len(classes))
        seconds = _seconds(chosen, choice.strategy, measure(), num_train, num_val)
    return Preview(
        model=chosen.model,
        weights=chosen.weights,
        input_size=setup.preprocessing.size,
        reasons=(*reasons, *setup.notes),
        strategy=choice.strategy,
        strategy_reason=choice.reason,
        num_classes=len(classes),
        num_train=num_train,
        num_val=num_val,
        num_test=len(split.test),
        epochs=chosen.epochs,
        seconds=seconds,
        notes=tuple(notes),
    )


def _forecast(
    recipe: Recipe, network: Any, preprocessing: Preprocessing, learn: Callable[[], object] | None
) -> Forecast:
    device, size = choose_device(recipe.device), preprocessing.size
    card = model_card(recipe.model)
    work = int(card.multiply_adds * (size / card.input_size) ** 2 * TIMED_PICTURES)
    arithmetic = Arithmetic(device, choose_precision(recipe.precision, device, size))
    with using_threads(choose_threads(recipe.threads, device, work).number):
        return forecast(network.to(device), size, preprocessing.channels, arithmetic, learn)


def _seconds(recipe: Recipe, strategy: str, found: Forecast, num_train: int, num_val: int) -> float:
    head, epoch = found.head_seconds(num_train, num_val), found.epoch_seconds(num_train, num_val)
    if strategy == "head":
        return head
    return recipe.epochs * epoch + (head if recipe.two_phase else 0.0)
