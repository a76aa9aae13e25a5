"""Which epoch is kept: the higher accuracy, then the lower loss, then the earlier epoch."""

import pytest

from casebook.training.selection import UNUSABLE_LOSS, is_better, kept_epoch


def history(*rows: tuple[float | None, float | None]) -> list[dict]:
    return [{"val_top1": top1, "val_loss": loss} for top1, loss in rows]


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([(0.9, 0.5), (0.95, 0.9), (0.93, 0.1)], 1),
        ([(0.9, 0.5), (0.95, 0.4), (0.95, 0.3), (0.95, 0.3)], 2),
        ([(0.0, UNUSABLE_LOSS), (0.1, 2.0)], 1),
        ([(0.0, UNUSABLE_LOSS)], None),
        ([(None, None), (float("nan"), 1.0), (0.5, 1.0)], 2),
        ([], None),
    ],
)
def test_the_kept_epoch(rows: list, kept: int | None) -> None:
    assert kept_epoch(history(*rows)) == kept


def test_the_first_epoch_beats_nothing() -> None:
    assert is_better(0.0, 3.0, -1.0, float("inf"))
    assert not is_better(0.9, UNUSABLE_LOSS, 0.5, 1.0)
    assert not is_better(0.9, float("nan"), 0.5, 1.0)


def test_mean_average_precision_counts_where_there_is_one() -> None:
    assert kept_epoch([{"val_map": 0.9, "val_loss": 0.5}, {"val_map": 0.8, "val_loss": 0.1}]) == 0
