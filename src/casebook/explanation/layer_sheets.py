"""What layers are and do: the first filters, and the feature maps that a layer makes of a picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ModelError
from ..evaluation.classifier import Classifier
from ..formatting import short
from . import drawing
from .drawing import HEAT, Panel
from .filters import feature_maps, first_filters
from .sheet import TILE, Explanation, Settings, page, picture_panel
from .views import View
from .watching import stages_of

MOST_MAPS = 64  # feature maps of a sheet
MOST_FILTERS = 256


def explain_features(classifier: Classifier, view: View, settings: Settings) -> Explanation:
    """The maps of a layer, by default of the first stage: those with the largest values, each on its own scale."""
    layer = settings.layer or stages_of(classifier.model)[:2][-1]
    maps = feature_maps(classifier.model, view.image, layer)
    for channel in settings.channels:
        if not 0 <= channel < len(maps):
            raise ModelError(f"channel {channel} is asked for, but {layer!r} has {len(maps)} channels, from 0")
    order = list(settings.channels) or np.argsort(-maps.max((1, 2)), kind="stable")[:MOST_MAPS].tolist()
    columns = min(8, max(1, round(len(order) ** 0.5)))
    tiles = [
        drawing.stacked([map_tile(maps[i]), drawing.words([f"{i}: {short(maps[i].max())}"], TILE, drawing.TEXT - 1)], 2)
        for i in order
    ]
    shown = "" if len(order) == len(maps) else f"{len(order)} of its "
    lines = (f"{layer}: {shown}{len(maps)} channels of {maps.shape[1]}x{maps.shape[2]}",)
    legend = drawing.scale_bar(
        HEAT, view.picture.width, ("0 or less", "nearly its largest"), "each map on its own scale"
    )
    lead = picture_panel(view)
    lead = lead._replace(legend=legend, lines=(*lead.lines, *lines, "below each map: its number and its largest value"))
    body = drawing.beside([drawing.panel(lead), drawing.grid(tiles, columns, gap=6)], gap=24)
    few = max(n for n in (1, 2, 3, 4) if n * n <= len(order))
    mosaic = drawing.grid([map_tile(maps[i], view.picture.width // few - 2) for i in order[: few * few]], few, gap=2)
    mosaic = mosaic.resize(view.picture.size, Image.Resampling.BILINEAR)
    first = Panel(mosaic, "feature maps", (f"{layer}, {few * few} of {len(maps)} channels",), legend)
    sheet = page(classifier, view, f"feature maps of {layer}", body)
    return Explanation("features", sheet, first, maps, {"layer": layer, "shown": order})


def map_tile(values: NDArray[np.float32], side: int = TILE) -> Image.Image:
    """A map from 0 to its largest value; one that is nowhere above 0 is dark."""
    most = drawing.spread(np.maximum(values, 0))
    tile = Image.fromarray(drawing.colours(values / most if most > 0 else np.zeros_like(values), HEAT))
    scale = side / max(tile.size)
    size = (max(1, round(tile.width * scale)), max(1, round(tile.height * scale)))
    return tile.resize(size, Image.Resampling.NEAREST)


def explain_filters(classifier: Classifier, settings: Settings) -> Explanation:
    """The filters of the first convolution, or of the one that is named; needs no picture."""
    found = first_filters(classifier.model, classifier.image_shape, settings.layer)
    weights = found.weights
    for channel in settings.channels:
        if not 0 <= channel < len(weights):
            raise ModelError(f"channel {channel} is asked for, but {found.layer!r} has {len(weights)} filters, from 0")
    order = list(settings.channels) or list(range(min(len(weights), MOST_FILTERS)))
    side = 64 if len(order) <= 64 else 48
    tiles = [drawing.signed_picture(weights[i], float(np.abs(weights[i]).max())) for i in order]
    tiles = [tile.resize((side, round(side * tile.height / tile.width)), Image.Resampling.NEAREST) for tile in tiles]
    columns = min(16, max(1, round((2 * len(order)) ** 0.5)))
    body = drawing.grid(tiles, columns, gap=6)
    height, width = weights.shape[2:]
    lines = [
        f"{found.layer}: {len(order)} of {len(weights)} filters of {height}x{width}, "
        f"{'in colour' if weights.shape[1] == 3 else 'one channel'}",
        "grey is 0; each filter on its own scale, the largest weight at full strength",
    ]
    sheet = drawing.page(f"{classifier.name}: first filters", lines, body)
    if settings.layer:
        sheet = drawing.page(f"{classifier.name}: filters of {found.layer}", lines, body)
    facts = {"layer": found.layer, "shown": order}
    return Explanation("filters", sheet, Panel(body, "filters", (found.layer,)), weights, facts)
