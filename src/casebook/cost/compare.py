"""Networks side by side: their costs, and the errors that papers or published weights claim for them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import ModelError
from ..models import model_card
from ..models.card import ModelCard
from .count import count

COLUMNS = ("name", "year", "parameters", "multiply-adds", "input", "peak memory (MB)", "top-1 error", "top-5 error",
           "measured with")  # fmt: skip


class Claim(NamedTuple):
    """Published errors in % from one source; `one_crop`: one centre crop of the ImageNet validation set."""

    top1_error: float | None
    top5_error: float | None
    refers_to: str
    source: str
    one_crop: bool


class Compared(NamedTuple):
    """One network: counts at the input size, bytes of activations at the peak of inference, and published errors."""

    name: str
    family: str
    year: int
    input_size: int
    parameters: int
    multiply_adds: int
    peak_activation_bytes: int
    published: Claim | None

    def error(self, which: str) -> float | None:
        """The published "top1" or "top5" error in %."""
        return None if self.published is None else getattr(self.published, f"{which}_error")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; errors are shares in [0, 1] there, as in all documents."""
        record = self._asdict()
        if self.published is not None:
            shares = {f"{w}_error": None if self.error(w) is None else self.error(w) / 100 for w in ("top1", "top5")}  # type: ignore[operator]
            record["published"] = self.published._asdict() | shares
        return record


def compare(names: Sequence[str], input_size: int | None = None) -> list[Compared]:
    """The networks in the order given, counted at their own input size unless one is given.

    Raises:
        ModelError: for no name, an unknown name, or an input that is too small.
    """
    if not names:
        raise ModelError("no networks to compare; expected names or patterns that 'casebook models' lists")
    rows = []
    for name in dict.fromkeys(names):
        card = model_card(name)
        summary = count(name, card.input_size if card.fixed_input else input_size)
        rows.append(
            Compared(
                name=name,
                family=card.family,
                year=card.year,
                input_size=summary.input_shape[-1],
                parameters=summary.total.parameters,
                multiply_adds=summary.total.multiply_adds or 0,
                peak_activation_bytes=summary.memory.peak_activation_bytes,
                published=claim(card),
            )
        )
    return rows


def claim(card: ModelCard) -> Claim | None:
    """The published errors of a network that compare best with those of others, both from one source.

    One centre crop on ImageNet goes before other crops and data, the paper before published weights, and the earlier
    before the later.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    for figure in card.published:
        if figure.what in ("top1_error", "top5_error"):
            found.setdefault((figure.refers_to, figure.source), {}).setdefault(figure.what, figure.value)
    for weights in card.weights:
        if weights.packaged:  # ours: no published claim, and not of ImageNet
            continue
        errors = {
            f"{w}_error": round(100 * (1 - getattr(weights, w)), 3) for w in ("top1", "top5") if getattr(weights, w)
        }
        if errors:
            found[("ImageNet validation, 1 crop, published weights", weights.name)] = errors
    claims = [
        Claim(errors.get("top1_error"), errors.get("top5_error"), refers_to, source, _is_one_crop(refers_to))
        for (refers_to, source), errors in found.items()
    ]
    return max(claims, key=_worth, default=None)


def _worth(found: Claim) -> tuple[bool, ...]:
    is_papers = "published weights" not in found.refers_to
    return found.one_crop, found.top1_error is not None, is_papers, found.top5_error is not None


def _is_one_crop(refers_to: str) -> bool:
    return "1 crop" in refers_to and ("ImageNet" in refers_to or "ILSVRC" in refers_to)


def table(rows: Sequence[Compared]) -> list[list[str]]:
    """The comparison as text cells, the first row being the heading."""
    lines: list[list[str]] = [list(COLUMNS)]
    for row in rows:
        found = row.published
        lines.append(
            [
                row.name,
                str(row.year),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                str(row.input_size),
                f"{row.peak_activation_bytes / 1e6:.1f}",
                *("" if row.error(which) is None else f"{row.error(which):.2f} %" for which in ("top1", "top5")),
                f"{found.refers_to} ({found.source})" if found else "",
            ]
        )
    return lines
