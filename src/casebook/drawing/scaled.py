"""A network and its scaled versions -> the same network wider, deeper, at a higher resolution, and all three at once.

Source of the picture's subject: Tan and Le, "EfficientNet", ICML 2019, Figure 2, https://arxiv.org/abs/1905.11946. The
blocks and channels here are counted from networks that `casebook scale` finds.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import ModelError
from .svg import Sheet

if TYPE_CHECKING:
    from ..cost.scaling import Family, NetworkCosts, Point

COLUMN, MARGIN = 190, 20
WORD_SIZE = 13
BAR, BAR_GAP, STAGE_GAP = 7, 2, 7
WIDEST = 176  # pixels of the block with the most channels
ORDER = {"width": 0, "depth": 1, "resolution": 2}  # then what scales several at once
PIXELS = 3  # of the input for one of the drawing


class Scaled(NamedTuple):
    """A network of a family: its factors, and what was counted."""

    kind: str
    width: float
    depth: float
    resolution: int
    blocks: tuple[int, ...]
    """Of each stage."""
    channels: tuple[int, ...]
    """That leave each stage."""
    multiply_adds: int
    parameters: int


class Found(Protocol):
    """What `scale` and `propose` find for a kind of scaling."""

    @property
    def kind(self) -> str: ...
    @property
    def point(self) -> "Point": ...
    @property
    def predicted(self) -> "NetworkCosts": ...


def doubled(family_name: str = "efficientnet", work: float = 2.0) -> list[Scaled]:
    """The family's network, and the networks of each kind of scaling with at most `work` times its multiply-adds.

    Raises ModelError for an unknown family, and where no network is within the budget.
    """
    from ..cost.scaling import Budget, Point, Space, family, propose

    chosen = family(family_name)
    space = Space(chosen)
    base = Point(1.0, 1.0, chosen.resolution)
    budget = Budget(multiply_adds=work * space.costs(base).multiply_adds)
    proposal = propose(space, budget, kinds=("width", "depth", "resolution", "compound"))
    return [baseline(chosen), *measured(chosen.network, proposal.points)]


def baseline(family: "Family") -> Scaled:
    """The network of a family as it is."""
    from ..cost.scaling import Point

    return counted(family.network, "baseline", Point(1.0, 1.0, family.resolution))


def from_result(path: Path) -> tuple[str, list[Scaled]]:
    """The network of what `casebook scale --json` printed, and its scaled networks, after the network itself.

    Raises ModelError for a file that cannot be read or is no such result.
    """
    from ..cost.scaling import Point, family

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        chosen = family(record["family"])
        points = [(str(p["kind"]), Point(float(p["width"]), float(p["depth"]), int(p["resolution"])))
                  for p in record["points"]]  # fmt: skip
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise ModelError(f"{path} is not what 'casebook scale --json' prints; it has no {error}") from error
    if not points:
        raise ModelError(f"{path} has no networks; allow 'casebook scale' a larger budget")
    return chosen.network, [baseline(chosen), *(counted(chosen.network, *one) for one in points)]


def measured(network: str, found: Iterable[Found]) -> list[Scaled]:
    """The networks of a `casebook.scale` result, counted."""
    return [counted(network, one.kind, one.point) for one in found]


def counted(network: str, kind: str, point: "Point") -> Scaled:
    """The network at a point of its family, built and counted."""
    from ..cost.count import count

    summary = count(network, point.resolution, width=point.width, depth=point.depth)
    blocks: dict[str, int] = {}
    for name, output in summary.outputs.items():
        stage, _, number = name.rpartition(".")
        if stage.startswith("stages.") and stage.count(".") == 1 and not output.type.startswith("Conv"):
            blocks[stage] = blocks.get(stage, 0) + number.isdecimal()
    return Scaled(
        kind, point.width, point.depth, point.resolution, tuple(blocks.values()),
        tuple(summary.outputs[stage].shape[0] for stage in blocks),
        summary.total.multiply_adds or 0, summary.total.parameters,
    )  # fmt: skip


def scaled(name: str, networks: Sequence[Scaled]) -> Sheet:
    """The drawing; the first network is the one that the others scale."""
    networks = [networks[0], *sorted(networks[1:], key=lambda one: ORDER.get(one.kind, len(ORDER)))]
    most = max(channel for one in networks for channel in one.channels)
    square = max(one.resolution for one in networks) // PIXELS
    first = MARGIN + 30
    stacks = first + 30 + square + 40
    bottom = stacks + max(_stack_height(one) for one in networks)
    words = "; ".join(
        f"{one.kind}: width {one.width:g}, depth {one.depth:g}, {one.resolution} pixels, {sum(one.blocks)} blocks, "
        f"{one.multiply_adds:,} multiply-adds"
        for one in networks
    )
    sheet = Sheet(COLUMN * len(networks) + 2 * MARGIN, bottom + 160, f"{name} and how it can be scaled", f"{words}.")
    sheet.text(MARGIN, MARGIN + 6, name, "strong", size=18)
    for place, one in enumerate(networks):
        left = MARGIN + place * COLUMN
        middle = left + COLUMN // 2
        sheet.text(middle, first + 14, one.kind, "strong", size=15, anchor="middle")
        side = one.resolution // PIXELS
        top = first + 30 + square - side
        sheet.rect(middle - side // 2, top, side, side, "data", name=f"input of {one.kind}", corner=0)
        sheet.text(middle, top + side // 2 + 5, f"{one.resolution}x{one.resolution}", size=WORD_SIZE, anchor="middle")
        sheet.arrow(middle, first + 34 + square, middle, stacks - 8)
        _draw_stack(sheet, one, (middle, stacks), most)
        sheet.arrow(middle, stacks + _stack_height(one), middle, bottom + 22)
        _draw_words(sheet, one, networks[0], (middle, bottom + 44))
    note = "A bar is a block; its length is the number of its channels. The square is the input."
    sheet.text(MARGIN, sheet.height - 14, note, "faint", size=12)
    return sheet.widen(MARGIN)


def _stack_height(one: Scaled) -> int:
    return sum(one.blocks) * (BAR + BAR_GAP) + (len(one.blocks) - 1) * STAGE_GAP


def _draw_stack(sheet: Sheet, one: Scaled, where: tuple[int, int], most: int) -> None:
    middle, y = where
    for stage, (blocks, channels) in enumerate(zip(one.blocks, one.channels, strict=True), 1):
        length = max(6, round(WIDEST * channels / most))
        for block in range(blocks):
            name = f"{one.kind} stage {stage} block {block + 1}"
            sheet.rect(middle - length // 2, y, length, BAR, "conv", name=name, corner=1)
            y += BAR + BAR_GAP
        y += STAGE_GAP


def _draw_words(sheet: Sheet, one: Scaled, base: Scaled, where: tuple[int, int]) -> None:
    """The factors, bold where they differ from the baseline's, and what they cost."""
    x, y = where
    ratio = one.resolution / base.resolution
    for word, changed in (
        (f"width x {one.width:g}", one.width != base.width),
        (f"depth x {one.depth:g}", one.depth != base.depth),
        (f"resolution x {ratio:.3g}", one.resolution != base.resolution),
    ):
        sheet.text(x, y, word, "strong" if changed else "faint", size=WORD_SIZE, anchor="middle")
        y += 18
    for count, unit in ((one.multiply_adds, "multiply-adds"), (one.parameters, "weights")):
        sheet.text(x, y + 4, f"{count / 1e6:,.1f} M {unit}", size=WORD_SIZE, anchor="middle")
        y += 18
