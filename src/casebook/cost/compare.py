"""Networks side by side: what they cost, what their papers or published weights claim, and the well-known picture."""

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ModelError
from ..files import write_atomically
from ..models import model_card
from ..models.card import ModelCard
from .count import count

TITLE = "Error against multiply-adds"
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


def draw(rows: Sequence[Compared], which: str = "top1") -> Any:
    """A matplotlib figure: error against multiply-adds, the area of a circle in proportion to the parameters.

    Circles are filled where the error is of one centre crop on ImageNet and hollow elsewhere.

    Raises ModelError where no network has a published error of this kind.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    shown = [(row, row.published, e) for row in rows if row.published and (e := row.error(which)) is not None]
    if not shown:
        raise ModelError(f"none of these networks has a published {which} error to draw")
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    families = list(dict.fromkeys(row.family for row, _, _ in shown))
    largest = max(row.parameters for row, _, _ in shown)
    colours = {family: colormaps["tab20"](2 * i % 20 + (i // 10) % 2) for i, family in enumerate(families)}
    for row, published, error in sorted(shown, key=lambda item: -item[0].parameters):
        colour = colours[row.family]
        axes.scatter(
            row.multiply_adds / 1e9, error, s=max(12, 1800 * row.parameters / largest), linewidths=1.2,
            facecolors=(*colour[:3], 0.55) if published.one_crop else "none", edgecolors=colour,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("multiply-adds for one picture, in thousands of millions (logarithmic)")
    axes.set_ylabel(f"published top-{which[3:]} error in %")
    axes.set_title(f"{TITLE}; area of a circle: weights, the largest {largest / 1e6:,.1f} million", fontsize=11)
    axes.grid(alpha=0.25, which="both", linewidth=0.5)
    axes.margins(0.12)
    if not all(published.one_crop for _, published, _ in shown):
        axes.text(
            0.99, 0.98, "hollow: not one centre crop on ImageNet, see the table", transform=axes.transAxes,
            ha="right", va="top", fontsize=8,
        )  # fmt: skip
    figure.draw_without_rendering()
    _label(axes, [(row.name, row.multiply_adds / 1e9, error) for row, _, error in shown])
    return figure


def _label(axes: Any, points: list[tuple[str, float, float]]) -> None:
    """Writes each name beside its point, on the side where it covers the fewest of the names and points so far."""
    size, scale = 8, axes.figure.dpi / 72
    places = axes.transData.transform([(x, y) for _, x, y in points])
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    for (name, x, y), (left, bottom) in sorted(zip(points, places, strict=True), key=lambda item: -item[1][1]):
        width, height = 0.6 * size * len(name) * scale, 1.2 * size * scale
        options = [(6, 4), (6, -12), (-6 - width / scale, 4), (-6 - width / scale, -12), (6, 14), (6, -22)]
        boxes = [(left + dx * scale, bottom + dy * scale, left + dx * scale + width, bottom + dy * scale + height)
                 for dx, dy in options]  # fmt: skip
        covered = [sum(a < x1 and c > x0 and b < y1 and d > y0 for x0, y0, x1, y1 in taken) for a, b, c, d in boxes]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        axes.annotate(name, (x, y), xytext=options[best], textcoords="offset points", fontsize=size)


def picture(rows: Sequence[Compared], kind: str, which: str = "top1") -> bytes:
    """The drawing as the content of a "png" or "svg" file, the same bytes each time."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "casebook"}):
        draw(rows, which).savefig(buffer, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def write_picture(rows: Sequence[Compared], path: Path, which: str = "top1") -> None:
    """Writes a .png or .svg file, whole or not at all. Raises ModelError for another ending."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise ModelError(f"the picture {path} ends in '{path.suffix}', expected .png or .svg")
    write_atomically(path, picture(rows, kind, which))


def write_page(rows: Sequence[Compared], path: Path, which: str = "top1") -> None:
    """Writes one self-contained HTML file with the picture and the table."""
    svg = picture(rows, "svg", which).decode()
    head, *body = table(rows)
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body)
    write_atomically(path, PAGE.format(svg=svg[svg.index("<svg") :], head=cells, rows=lines))


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Networks side by side</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; background: #fff }}
svg {{ width: 100%; height: auto }}
div {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }}
td, th {{ padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }}
td:first-child, th:first-child, td:last-child, th:last-child {{ text-align: left }}
</style></head><body>
<h1>Networks side by side</h1>
{svg}
<p>Multiply-adds are those of convolutions and linear layers for one picture at the input size. Errors are published
ones; the last column says what they were measured with.</p>
<div><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>
</body></html>
"""  # noqa: E501
