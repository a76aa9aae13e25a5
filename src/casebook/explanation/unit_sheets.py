"""What excites units: the deconvnet of one picture, and the nine pictures of many that excite a channel most."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..evaluation.classifier import Classifier
from ..formatting import short
from . import drawing
from .deconvnet import Projection, project
from .descent import has_switches
from .drawing import Panel
from .sheet import NAMES, TILE, Explanation, Settings, page, pattern_panels, picture_panel, row
from .top_patches import NUM_PATCHES, Excitement, top_patches
from .views import View
from .watching import as_leaf, evaluating, run, stages_of
from .windows import Window

MOST_LAYERS = 5  # of a deconvnet sheet
NUM_OF_A_LAYER = 12  # channels where one layer is named


def explain_deconvnet(classifier: Classifier, view: View, settings: Settings) -> Explanation:
    """One channel in full where it is named, else the strongest channels of a layer or of layers of all depths."""
    layers = [settings.layer] if settings.layer else _spread_layers(classifier, view)
    if settings.layer and len(settings.channels) == 1:
        return _one_channel(classifier, view, settings, settings.layer)
    num_channels = NUM_OF_A_LAYER if settings.layer else settings.num_channels
    rows, patterns, channels = [], [], {}
    for layer in layers:
        found = project(
            classifier.model, view.image, layer, settings.channels or None, num_channels=num_channels,
            rule=settings.rule, whole_map=settings.whole_map,
        )  # fmt: skip
        rows.append(_projections_row(view, layer, found))
        patterns.append([projection.pattern for projection in found])
        channels[layer] = [projection.channel for projection in found]
    most = max(len(row) for row in patterns)
    empty = np.zeros_like(patterns[0][0])
    array = np.stack([np.stack(row + [empty] * (most - len(row))) for row in patterns])
    lead = drawing.panel(picture_panel(view))
    body = drawing.beside([lead, drawing.stacked(rows, gap=16)], gap=24)
    of = "the excited units" if settings.whole_map else "the strongest unit"
    about = f"{NAMES[settings.rule]}: {of} of each channel projected down, beside what it sees; channel: activation"
    sheet = page(classifier, view, about + no_switches(classifier, settings.rule), body)
    deepest = project_panel(view, settings, layers[-1], patterns[-1][0], channels[layers[-1]][0])
    facts = {"rule": settings.rule, "layers": layers, "channels": channels}
    return Explanation("deconvnet", sheet, deepest, array, facts)


def project_panel(view: View, settings: Settings, layer: str, pattern: NDArray[np.float32], channel: int) -> Panel:
    scale = drawing.spread(pattern)
    shown = drawing.enlarged(drawing.signed_picture(pattern, scale), view.picture.size)
    legend = drawing.scale_bar("gray", shown.width, (f"−{short(scale)}", f"+{short(scale)}"), "0")
    of = "its excited units" if settings.whole_map else "its strongest unit"
    return Panel(shown, NAMES[settings.rule], (f"{layer}, channel {channel}, {of}",), legend)


def no_switches(classifier: Classifier, rule: str) -> str:
    """What to know of a deconvnet of a network without max pooling."""
    if rule != "deconvnet" or has_switches(classifier.model):
        return ""
    return ". This network has no max pooling, so no switches tell pictures apart: compare --rule guided"


def _one_channel(classifier: Classifier, view: View, settings: Settings, layer: str) -> Explanation:
    rule, whole_map = settings.rule, settings.whole_map
    found = project(classifier.model, view.image, layer, settings.channels, rule=rule, whole_map=whole_map)[0]
    of = f"{layer}, channel {found.channel}, activation {short(found.activation)}"
    main, strength = pattern_panels(view, found.pattern, NAMES[rule], of)
    first = picture_panel(view)
    if found.window:
        first = first._replace(
            image=drawing.outlined(view.picture, _scaled(found.window, view)), heading="what it sees"
        )
    place = "all excited units" if found.position is None else f"the strongest unit, at {_at(found.position)}"
    sheet = page(
        classifier, view, f"{NAMES[rule]}: {place} of {of}{no_switches(classifier, rule)}", row([first, main, strength])
    )
    facts = {"rule": rule, "layer": layer, "channel": found.channel, "activation": found.activation}
    facts |= {"position": found.position and list(found.position), "window": found.window and list(found.window)}
    return Explanation("deconvnet", sheet, main, found.pattern, facts)


def _spread_layers(classifier: Classifier, view: View) -> list[str]:
    """Stem and stages, thinned out to a few of all depths."""
    names = stages_of(classifier.model)
    with evaluating(classifier.model):
        _, kept = run(classifier.model, as_leaf(view.image), names)
    names = [name for name in names if kept[name].ndim == 4 and kept[name].shape[1] > view.image.shape[1]] or names
    if len(names) <= MOST_LAYERS:
        return names
    return [names[round(place)] for place in np.linspace(0, len(names) - 1, MOST_LAYERS)]


def _projections_row(view: View, layer: str, found: Sequence[Projection]) -> Image.Image:
    tiles = []
    for projection in found:
        title = f"{projection.channel}: {short(projection.activation)}"
        tiles.append(pair(view, projection, title))
    sides = [max(p.window.bottom - p.window.top, p.window.right - p.window.left) for p in found if p.window]
    side = f", sees {max(sides)} pixels" if sides else ""
    return drawing.panel(Panel(drawing.grid(tiles, 4, gap=16), f"{layer}{side}"))


def pair(view: View, projection: Projection, title: str) -> Image.Image:
    """A projection beside the part of the picture that its unit sees, with a line below."""
    window = projection.window or Window(0, 0, *view.image.shape[2:])
    tiles = drawing.beside([projected_tile(projection.pattern, window), picture_tile(view, window)], gap=2)
    return drawing.stacked([tiles, drawing.words([title], tiles.width, drawing.TEXT - 1, colour=drawing.FAINT)], gap=3)


def projected_tile(pattern: NDArray[np.float32], window: Window, side: int = TILE) -> Image.Image:
    top, left, bottom, right = window
    cut = pattern[:, top:bottom, left:right]
    return _square(drawing.signed_picture(cut, drawing.spread(cut)), side, (128, 128, 128))


def picture_tile(view: View, window: Window, side: int = TILE) -> Image.Image:
    left, top, right, bottom = (round(place) for place in _scaled(window, view))
    return _square(view.picture.crop((left, top, max(right, left + 1), max(bottom, top + 1))), side, (255, 255, 255))


def _square(image: Image.Image, side: int, around: tuple[int, int, int]) -> Image.Image:
    """Enlarged or reduced to fit a square, in its middle."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    fitted = drawing.enlarged(image, size) if scale > 1 else image.resize(size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (side, side), around)
    canvas.paste(fitted, ((side - size[0]) // 2, (side - size[1]) // 2))
    return canvas


def _scaled(window: Window, view: View) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) in pixels of the shown picture."""
    y, x = view.picture.height / view.image.shape[2], view.picture.width / view.image.shape[3]
    return window.left * x, window.top * y, window.right * x, window.bottom * y


def _at(position: tuple[int, int]) -> str:
    return f"row {position[0]}, column {position[1]}"


def top_patches_sheet(
    classifier: Classifier,
    found: Excitement,
    channels: Sequence[int],
    view: Callable[[int], View],
    rule: str = "deconvnet",
) -> Explanation:
    """For each channel the projections of its nine pictures, and beside them what its units see of these."""
    patches = top_patches(classifier.model, found, channels, lambda row: view(row).image, rule=rule)
    blocks, names = [], {}
    for channel, nine in zip(channels, patches, strict=True):
        windows = [projection.window or Window(0, 0, *classifier.image_shape[1:]) for _, projection in nine]
        views = [view(row) for row, _ in nine]
        left = [projected_tile(p.pattern, window) for (_, p), window in zip(nine, windows, strict=True)]
        right = [picture_tile(seen, window) for seen, window in zip(views, windows, strict=True)]
        both = drawing.beside([drawing.grid(left, 3, gap=3), drawing.grid(right, 3, gap=3)], gap=10)
        high, low = nine[0][1].activation, nine[-1][1].activation
        line = f"the strongest unit of each gives {short(high)} to {short(low)}"
        blocks.append(drawing.panel(Panel(both, f"channel {channel}", (line,))))
        names[str(channel)] = [seen.name for seen in views]
    array = np.zeros((len(channels), NUM_PATCHES, *classifier.image_shape), np.float32)
    for place, nine in enumerate(patches):
        for rank, (_, projection) in enumerate(nine):
            array[place, rank] = projection.pattern
    total = len(found.largest)
    lines = (
        f"for each channel the {len(patches[0])} of {total} pictures that excite it most: what "
        f"{NAMES[rule].replace('deconvnet', 'the deconvnet')} brings down, and what the unit sees"
        f"{no_switches(classifier, rule)}",
    )
    body = drawing.grid(blocks, min(2, len(blocks)), gap=26)
    sheet = drawing.page(f"{classifier.name}: what excites {found.layer}", lines, body)
    facts = {"rule": rule, "layer": found.layer, "pictures": total, "channels": names}
    return Explanation("top9", sheet, Panel(body), array, facts)
