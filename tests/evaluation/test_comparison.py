"""What stands beside what, and the tables."""

import numpy as np
import pytest

from casebook.evaluation.comparison import (
    Scored,
    compare,
    difference_rows,
    giga,
    on_common_pictures,
    table_rows,
    verdict,
)
from casebook.evaluation.metrics import evaluate_probabilities, headline
from casebook.evaluation.predictions import Predictions


def said(errors: int, n: int = 40, num_classes: int = 7, seed: int = 0) -> Predictions:
    """Predictions with the first `errors` pictures wrong."""
    labels = np.arange(n) % num_classes
    taken = np.where(np.arange(n) < errors, (labels + 1) % num_classes, labels)
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(num_classes), n) * 0.3
    probabilities[np.arange(n), taken] += 0.7
    names = tuple(f"p{i}" for i in range(n))
    return Predictions(names, labels, probabilities.astype(np.float32), tuple("abcdefghij"[:num_classes]))


def rows() -> list[Scored]:
    found = []
    for protocol, better in (("center", 0), ("10-crop", 2)):
        found += [
            Scored("one", "network", protocol, 1, said(12 - better), 2_000_000),
            Scored("two", "network", protocol, 1, said(10 - better, seed=1), 3_000_000),
            Scored("three", "network", protocol, 1, said(11 - better, seed=2), 5_500_000_000),
            Scored("without one", "without", protocol, 2, said(7 - better, seed=3), None),
            Scored("ensemble", "ensemble", protocol, 3, said(6 - better, seed=4), 12_345),
            Scored("soup", "soup", protocol, 1, said(30, seed=5), 2_000_000),
        ]
    return found


def test_each_stands_against_what_it_should_beat() -> None:
    against = {(row["name"], row["protocol"]): [(o["name"], o["protocol"]) for o in row["against"]]
               for row in compare(rows())}  # fmt: skip
    assert against["one", "center"] == against["without one", "center"] == []
    assert against["one", "10-crop"] == [("one", "center")]
    assert against["ensemble", "center"] == [("two", "center"), ("without one", "center")]
    assert against["ensemble", "10-crop"] == [("ensemble", "center"), ("two", "10-crop"), ("without one", "10-crop")]
    assert against["soup", "center"] == [("two", "center"), ("ensemble", "center")]


def test_the_numbers_are_those_of_the_metrics() -> None:
    compared = compare(rows())
    errors = {(row["name"], row["protocol"]): row["top1_error"] for row in compared}
    for row, scored in zip(compared, rows(), strict=True):
        full = evaluate_probabilities(
            scored.predictions.probabilities, scored.predictions.labels, scored.predictions.classes, resamples=5
        )
        for name in ("n", "top1", "top1_interval", "top1_error", "top5", "top5_interval", "top5_error", "log_loss"):
            assert row[name] == full[name], name
        for other in row["against"]:
            expected = row["top1_error"] - errors[other["name"], other["protocol"]]
            assert other["top1_error"]["difference"] == pytest.approx(expected)
    few = said(3, num_classes=4)
    assert "top5" not in headline(few.probabilities, few.labels)


def test_only_common_pictures_are_compared() -> None:
    whole, part = said(3), said(3)
    part = Predictions(part.names[1:], part.labels[1:], part.probabilities[1:], part.classes)
    first, second = on_common_pictures(
        [Scored(n, "network", "center", 1, p, 1) for n, p in (("a", whole), ("b", part))]
    )
    assert first.predictions.names == second.predictions.names == part.names
    assert np.array_equal(first.predictions.probabilities, part.probabilities)


def test_verdicts() -> None:
    assert verdict([-0.2, -0.1]) == "better"
    assert verdict([0.01, 0.1]) == "worse"
    assert verdict([-0.1, 0.0]) == verdict([0.0, 0.1]) == "no detectable difference"


def test_the_table_has_what_tells_the_rows_apart() -> None:
    compared = compare(rows())
    cells = table_rows(compared)
    assert cells[0] == ["network", "protocol", "views", "top-1 error", "95 % interval", "top-5 error", "95 % interval",
                        "multiply-adds"]  # fmt: skip
    assert cells[1][:4] == ["one", "center", "1", "30.00 %"]
    assert [row[-1] for row in cells[1:6]] == ["2 M", "3 M", "5.5 G", "not counted", "0.0123 M"]
    single = compare([Scored("one", "network", p, 1, said(4, num_classes=4), 1) for p in ("center", "flip")])
    assert table_rows(single)[0] == ["protocol", "views", "top-1 error", "95 % interval", "multiply-adds"]
    assert difference_rows(single)[1][:2] == ["flip", "center"]
    assert difference_rows(compare(rows()))[1][:3] == ["ensemble", "two", "-10.00"]
    assert giga(None) == "not counted"
