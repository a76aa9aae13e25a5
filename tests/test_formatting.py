"""Numbers and names as people read them."""

import pytest

from casebook.formatting import clock_text, giga, one_line, percent_text, short, size_text


def test_one_line_keeps_what_can_be_shown() -> None:
    assert one_line("ünïcødé 猫, a b") == "ünïcødé 猫, a b"
    assert one_line("a\nb\t\udcff") == "a\\nb\\t\\udcff"


@pytest.mark.parametrize(("seconds", "expected"), [(0.4, "0:00"), (61, "1:01"), (3723, "1:02:03")])
def test_clock(seconds: float, expected: str) -> None:
    assert clock_text(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(None, "not counted"), (3_010_000_000, "3.01 G"), (416_520, "0.417 M")]
)
def test_operations(count: int | None, expected: str) -> None:
    assert giga(count) == expected


def test_sizes_and_shares() -> None:
    assert size_text(3 * 2**29) == "1.50 GiB"
    assert size_text(2**19) == "0.5 MiB"
    assert percent_text(0.9999).startswith(">")
    assert percent_text(1.0) == "100.0\u00a0%"
    assert short(0.012345) == "0.0123"
