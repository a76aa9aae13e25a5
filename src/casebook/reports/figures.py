"""Numbers -> matplotlib drawings, as SVG or PNG that is the same each time."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ModelError
from ..files import write_atomically

COLOURS = ("#1f5fa8", "#c8501e", "#2f8a4c", "#7d4aa0", "#8a6d1f", "#4d4d4d", "#c23b78", "#1c8f96")
KINDS = ("png", "svg")


def canvas(width: float = 7.2, height: float = 4.2, columns: int = 1, rows: int = 1, **options: Any) -> tuple[Any, Any]:
    """A matplotlib figure and its axes (one, or an array of them), without any global state."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(rows, columns, **options)
    for part in np.ravel(axes):
        part.grid(alpha=0.25, linewidth=0.5)
        part.spines[["top", "right"]].set_visible(False)
    return figure, axes


def svg(figure: Any, *, outlines: bool = False) -> str:
    """The figure as an <svg> element. With `outlines`, text becomes shapes of the same size in every browser."""
    found = content(figure, "svg", fonts="path" if outlines else "none").decode()
    return found[found.index("<svg") :]


def content(figure: Any, kind: str, *, fonts: str = "path") -> bytes:
    """The figure as the content of a "png" or "svg" file. `fonts` is matplotlib's svg.fonttype."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "casebook", "svg.fonttype": fonts, "font.family": "sans-serif"}):
        metadata = {"Date": None, "Creator": None} if kind == "svg" else None
        figure.savefig(buffer, format=kind, dpi=130, metadata=metadata)
    return buffer.getvalue()


def picture_kind(path: Path) -> str:
    """ "png" or "svg". Raises ModelError for a file name with another ending."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise ModelError(f"the picture {path} ends in '{path.suffix}', expected .png or .svg")
    return kind


def write_picture(figure: Any, path: Path) -> None:
    """Writes a .png or .svg file, as a whole or not at all. Raises ModelError for another ending."""
    write_atomically(path, content(figure, picture_kind(path)))


def curves(
    axes: Any, series: Mapping[str, ArrayLike], *, dashed: Sequence[str] = (), x: ArrayLike | None = None
) -> None:
    """Draws a line for each series, which is (points,) or (seeds, points): the mean, with the seeds' range shaded.

    Series in `dashed` get dashes and the colour of the series before them.
    """
    colour = -1
    for name, values in series.items():
        seeds = np.atleast_2d(np.asarray(values, float))
        colour += name not in dashed
        paint = COLOURS[max(0, colour) % len(COLOURS)]
        # A series is shorter than the others when all its seeds stopped early.
        places = np.arange(1, seeds.shape[1] + 1) if x is None else np.asarray(x)[: seeds.shape[1]]
        seeds = seeds[:, : len(places)]
        shown = ~np.isnan(seeds).all(0)
        kept = seeds[:, shown]
        axes.plot(
            places[shown], np.nanmean(kept, 0), color=paint, linestyle="--" if name in dashed else "-", label=name,
            linewidth=1.6, marker="o" if len(places) <= 8 else None, markersize=4,
        )  # fmt: skip
        if len(seeds) > 1:
            axes.fill_between(
                places[shown], np.nanmin(kept, 0), np.nanmax(kept, 0), color=paint, alpha=0.12, linewidth=0
            )
    axes.legend(fontsize=8, frameon=False)


def bars(axes: Any, values: Mapping[str, float], *, spread: Mapping[str, tuple[float, float]] | None = None) -> None:
    """Draws a horizontal bar for each name, from the top down, with a line over its spread where there is one."""
    names = list(values)[::-1]
    axes.barh(names, [values[name] for name in names], color=COLOURS[0], alpha=0.85, height=0.62)
    for place, name in enumerate(names):
        if spread and name in spread:
            axes.plot(spread[name], [place, place], color="#222", linewidth=1.4)
    axes.grid(axis="y", visible=False)


def points(axes: Any, groups: Mapping[str, Sequence[tuple[str, float, float]]], *, joined: bool = True) -> None:
    """Draws points (name, x, y) with their names, a colour for each group, joined by a line in the order of x."""
    for number, (group, members) in enumerate(groups.items()):
        ordered = sorted(members, key=lambda member: member[1])
        paint = COLOURS[number % len(COLOURS)]
        axes.plot(
            [x for _, x, _ in ordered], [y for _, _, y in ordered], color=paint, label=group, marker="o",
            markersize=5, linewidth=1.3 if joined else 0,
        )  # fmt: skip
        for name, x, y in ordered:
            axes.annotate(name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7.5, color=paint)
    if len(groups) > 1:
        axes.legend(fontsize=8, frameon=False)


KIND_COLOURS = {"reproduced": COLOURS[2], "not reproduced": COLOURS[1]}  # of a verdict; the others are grey
UNDECIDED = "#777777"
RATIO_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def verdicts(shown: Sequence[Mapping[str, Any]]) -> Any:
    """A figure of verdicts with their 95 % intervals: differences of errors in points, and ratios, each with a line
    where the sides are equal. A verdict is a record of a study's result, with an interval."""
    panels = {
        "difference of errors in points": [v for v in shown if v["unit"].startswith("share")],
        "ratio": [v for v in shown if not v["unit"].startswith("share")],
    }
    panels = {name: members for name, members in panels.items() if members}
    heights = [len(members) + 0.8 for members in panels.values()]
    figure, parts = canvas(
        width=8.5, height=0.55 * sum(heights) + 0.5, rows=len(panels), gridspec_kw={"height_ratios": heights}
    )
    for (name, members), axes in zip(panels.items(), np.atleast_1d(parts), strict=True):
        in_points = name != "ratio"
        for place, verdict in enumerate(members[::-1]):
            scale = 100 if in_points else 1
            low, high = (scale * end for end in verdict["interval"])
            paint = KIND_COLOURS.get(verdict["kind"], UNDECIDED)
            axes.plot([low, high], [place, place], color=paint, linewidth=2)
            axes.plot(scale * verdict["difference"], place, marker="o", color=paint, markersize=5)
        labels = [textwrap.fill(verdict["claim"], 62) for verdict in members[::-1]]
        axes.set_yticks(range(len(members)), labels, fontsize=7.5)
        axes.set_ylim(-0.7, len(members) - 0.3)
        axes.axvline(0 if in_points else 1, color="#222", linewidth=0.8)
        if not in_points:
            axes.set_xscale("log")
            ends = [1.0, *(end for verdict in members for end in verdict["interval"])]
            ticks = [tick for tick in RATIO_TICKS if min(ends) / 1.5 <= tick <= max(ends) * 1.5]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.set_xlabel(f"{name}, 95 % interval", fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
    first = np.atleast_1d(parts)[0]
    for kind, paint in (KIND_COLOURS | {"undecided": UNDECIDED}).items():
        first.plot([], [], color=paint, marker="o", markersize=5, linewidth=2, label=kind)
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper right", ncols=3, fontsize=8, frameon=False)
    return figure


def costs_and_times(
    multiply_adds: Mapping[str, float], ms: Mapping[str, tuple[float, float, float]], height: float = 3.4
) -> Any:
    """A figure of two panels: the multiply-adds of one picture, and its time (median, 5 and 95 % quantile) in ms."""
    figure, (left, right) = canvas(width=9.5, height=height, columns=2, sharey=True)
    bars(left, {name: value / 1e6 for name, value in multiply_adds.items()})
    bars(
        right,
        {name: median for name, (median, _, _) in ms.items()},
        spread={name: (low, high) for name, (_, low, high) in ms.items()},
    )
    left.set_xlabel("multiply-adds of one picture, in millions")
    right.set_xlabel("time of one picture in ms (line: 5 to 95 %)")
    return figure
