"""The parts of a network and what learns of them -> rows of boxes, one row for each choice of transfer learning."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..cost.summary import Summary
from .svg import Sheet
from .text import fitted, wrapped

MARGIN, WORDS_WIDTH, GAP, BOX_HEIGHT = 20, 210, 8, 62
WIDTH, WORD_SIZE = 1000, 13
ROW = 96


class Part(NamedTuple):
    """A part of the network, shallow to deep, and its trainable weights."""

    name: str
    weights: int


class Choice(NamedTuple):
    """One way to transfer: the rate scale of each part that learns; the others are frozen."""

    name: str
    reason: str
    rates: Mapping[str, float]


def parts_of(summary: Summary) -> list[Part]:
    """Stem, stages, the head up to its last layer, and the last layer, each with the weights that `count` found."""
    weights: dict[str, int] = {}
    for layer in summary.layers:
        if not layer.training_only:
            last = layer.name.startswith("head.classifier")
            name = "last layer" if last else layer.stage
            weights[name] = weights.get(name, 0) + layer.parameters
    return [Part(name, number) for name, number in weights.items() if number]


def freeze(network: str, parts: Sequence[Part], choices: Sequence[Choice]) -> Sheet:
    """The drawing. The last part is new: it answers for the new classes."""
    total = sum(part.weights for part in parts)
    sentences = [f"{choice.name}: {_learning(parts, choice):,} of {total:,} weights learn" for choice in choices]
    height = MARGIN + 62 + ROW * len(choices) + 16
    sheet = Sheet(WIDTH, height, f"What learns when {network} is transferred", f"{'; '.join(sentences)}.")
    sheet.text(MARGIN, MARGIN + 8, f"{network}: what learns", "strong", size=18)
    x = MARGIN + WORDS_WIDTH
    column = (WIDTH - MARGIN - x) // len(parts)
    for place, part in enumerate(parts):
        middle = x + place * column + (column - GAP) // 2
        sheet.text(middle, MARGIN + 36, fitted(part.name, column - 2, WORD_SIZE), size=WORD_SIZE, anchor="middle")
        sheet.text(middle, MARGIN + 53, _short(part.weights), "faint", size=12, anchor="middle")
    sheet.text(MARGIN, MARGIN + 53, "weights", "faint", size=12)
    y = MARGIN + 66
    for choice in choices:
        sheet.text(MARGIN, y + 14, fitted(choice.name, WORDS_WIDTH - 10, 14, bold=True), "strong")
        lines = wrapped(choice.reason, WORDS_WIDTH - 14, 12)[:4]
        sheet.lines(MARGIN, y + 31, [fitted(line, WORDS_WIDTH - 10, 12) for line in lines], "faint", size=12)
        for place, part in enumerate(parts):
            _draw_part(sheet, (x + place * column, y, column - GAP), part, choice)
        words = f"{_learning(parts, choice):,} of {total:,} weights learn"
        sheet.text(WIDTH - MARGIN - GAP, y + BOX_HEIGHT + 17, words, size=WORD_SIZE, anchor="end")
        y += ROW
    return sheet.widen(MARGIN)


def _draw_part(sheet: Sheet, where: tuple[int, int, int], part: Part, choice: Choice) -> None:
    x, y, width = where
    rate = choice.rates.get(part.name)
    css_class = "frozen dashed" if rate is None else "learns thick"
    sheet.rect(x, y, width, BOX_HEIGHT, css_class, name=f"{choice.name}: {part.name}")
    words = ["frozen"] if rate is None else ["learns", f"x {_factor(rate)}"]
    first = y + BOX_HEIGHT // 2 + (5 if rate is None else -4)
    sheet.lines(x + width // 2, first, words, size=WORD_SIZE, anchor="middle")


def _learning(parts: Sequence[Part], choice: Choice) -> int:
    return sum(part.weights for part in parts if part.name in choice.rates)


def _factor(rate: float) -> str:
    return f"{rate:.2g}" if rate >= 0.01 else f"{rate:.1g}"


def _short(number: int) -> str:
    return f"{number / 1e6:.3g} M" if number >= 999_500 else f"{number / 1e3:.3g} k" if number >= 1000 else f"{number}"
