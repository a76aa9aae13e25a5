"""Networks side by side: their costs, and the errors that papers or published weights claim for them.

Errors compare only under one protocol: the ILSVRC 2012 validation pictures, one centre crop at the network's own
input size, weights trained by the paper's authors. Only figures under this protocol stand in the columns of errors; the
others are set apart, with what they refer to.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from ..errors import ModelError
from ..models import model_card
from ..models.card import ModelCard
from .count import count

PROTOCOL = "ILSVRC 2012 validation, one centre crop at the network's input size, the paper's own training"
COLUMNS = ("name", "year", "parameters", "multiply-adds", "input (px)", "inference (MiB)", "top-1 error (%)",
           "top-5 error (%)", "not comparable")  # fmt: skip

# reference: under PROTOCOL; retrained: the same but for weights that others trained; other: other pictures or crops.
Kind = Literal["reference", "retrained", "other"]
RANKS: tuple[Kind, ...] = ("other", "retrained", "reference")  # the last compares best
SAME_PICTURES_AND_CROP = re.compile(
    r"(?:ImageNet|ILSVRC 2012) validation,(?: 1 model,)? 1 crop(?: of (?P<side>\d+)x(?P=side))?"
)


class Claim(NamedTuple):
    """Published errors in % from one source, and how they compare with those of other networks."""

    top1_error: float | None
    top5_error: float | None
    refers_to: str
    source: str
    kind: Kind


class Compared(NamedTuple):
    """One network: counts at the input size, inference memory as `casebook summary` has it, and published errors."""

    name: str
    family: str
    year: int
    input_size: int
    parameters: int
    multiply_adds: int
    inference_bytes: int
    published: Claim | None

    def error(self, which: str, kinds: Sequence[Kind] = ("reference",)) -> float | None:
        """The published "top1" or "top5" error in %, if it is of one of these kinds."""
        if self.published is None or self.published.kind not in kinds:
            return None
        return getattr(self.published, f"{which}_error")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; errors are shares in [0, 1], as in all documents."""
        record = self._asdict()
        if self.published is not None:
            errors = {f"{which}_error": self.error(which, RANKS) for which in ("top1", "top5")}
            shares = {name: None if error is None else error / 100 for name, error in errors.items()}
            record["published"] = self.published._asdict() | shares
        return record


def compare(names: Sequence[str], input_size: int | None = None) -> list[Compared]:
    """The networks in the given order, counted at `input_size` or else at their own.

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
                inference_bytes=summary.memory.inference_bytes,
                published=claim(card),
            )
        )
    return rows


def claim(card: ModelCard) -> Claim | None:
    """The published errors of a network that compare best with those of others, both from one source.

    Of two that compare equally well, one on the pictures of 2012 wins, then one with a top-1 error, then one with a
    top-5 error, then the first.
    """
    found: dict[tuple[str, str, Kind], dict[str, float]] = {}
    for figure in card.published:
        if figure.what in ("top1_error", "top5_error"):
            key = (figure.refers_to, figure.source, kind_of(figure.refers_to, card.input_size))
            found.setdefault(key, {}).setdefault(figure.what, figure.value)
    for weights in card.weights:
        if weights.packaged:  # measured on another data set
            continue
        errors = {
            f"{w}_error": round(100 * (1 - getattr(weights, w)), 3) for w in ("top1", "top5") if getattr(weights, w)
        }
        side = dict(weights.prepare).get("size", card.input_size)
        if errors:
            refers_to = f"ImageNet validation, 1 crop of {side}x{side}, published weights"
            found[(refers_to, weights.name, "retrained" if side == card.input_size else "other")] = errors
    claims = [
        Claim(errors.get("top1_error"), errors.get("top5_error"), refers_to, source, kind)
        for (refers_to, source, kind), errors in found.items()
    ]
    return max(claims, key=_worth, default=None)


def kind_of(refers_to: str, input_size: int) -> Kind:
    """Whether a paper's figure is under PROTOCOL."""
    match = SAME_PICTURES_AND_CROP.fullmatch(refers_to)
    return "reference" if match and int(match["side"] or input_size) == input_size else "other"


def _worth(found: Claim) -> tuple[int, bool, bool, bool]:
    return (
        RANKS.index(found.kind),
        "2010" not in found.refers_to,
        found.top1_error is not None,
        found.top5_error is not None,
    )


def table(rows: Sequence[Compared]) -> list[list[str]]:
    """The comparison as text cells; the first row names the columns."""
    lines: list[list[str]] = [list(COLUMNS)]
    for row in rows:
        errors = (row.error(which) for which in ("top1", "top5"))
        lines.append(
            [
                row.name,
                str(row.year),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                str(row.input_size),
                f"{row.inference_bytes / 2**20:.1f}",
                *("" if error is None else f"{error:.2f}" for error in errors),
                set_apart(row.published),
            ]
        )
    return lines


def set_apart(found: Claim | None) -> str:
    """A figure that does not compare, with the reason; "" for one under PROTOCOL, or none at all."""
    if found is None or found.kind == "reference":
        return ""
    errors = {"top-1": found.top1_error, "top-5": found.top5_error}
    numbers = ", ".join(f"{name} {error:.2f}" for name, error in errors.items() if error is not None)
    return f"{numbers}: {found.refers_to} ({found.source})"
