"""Each way of looking inside by its name, all of them on one page, and whether they depend on what was learned."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..evaluation.classifier import Classifier
from . import drawing
from .class_sheets import explain_grad_cam, explain_gradient, explain_guided, explain_occlusion
from .deconvnet import class_gradient, project
from .drawing import BALANCE, HEAT, Panel
from .grad_cam import grad_cam
from .layer_sheets import explain_features
from .occlusion import occlusion
from .sanity import Step
from .sheet import Explanation, Settings, page, picture_panel
from .unit_sheets import explain_deconvnet
from .views import View

BY_PICTURE: dict[str, Callable[[Classifier, View, Settings], Explanation]] = {
    "grad-cam": explain_grad_cam,
    "occlusion": explain_occlusion,
    "deconvnet": explain_deconvnet,
    "guided": explain_guided,
    "gradient": explain_gradient,
    "features": explain_features,
}


def overview(classifier: Classifier, view: View, explanations: Sequence[Explanation]) -> Image.Image:
    """One panel of each, on one page."""
    parts = [picture_panel(view)]
    for found in explanations:
        image = found.panel.image
        scale = view.picture.width / image.width
        if scale != 1:
            image = image.resize((view.picture.width, round(scale * image.height)), Image.Resampling.NEAREST)
        parts.append(found.panel._replace(image=image))
    panels = [drawing.panel(part) for part in parts]
    return page(classifier, view, "one picture, several ways of looking", drawing.grid(panels, 3, gap=18))


def strength(method: str, view: View, settings: Settings, layer: str, channel: int) -> Callable[[Any], NDArray[Any]]:
    """A function from a network to its map (H, W) by a method; `layer` and `channel` are the deconvnet's."""

    def explain(network: Any) -> NDArray[Any]:
        if method == "grad-cam":
            return grad_cam(network, view.image, [view.target], layer=settings.layer).maps[0]
        if method == "occlusion":
            square, stride = settings.square, settings.stride
            return occlusion(
                network, view.image, view.target, square=square, stride=stride, activation=view.activation
            ).drop
        if settings.layer and method != "deconvnet":
            pattern = project(network, view.image, layer, [channel], rule=method)[0].pattern
        elif method == "deconvnet":
            rule, whole_map = settings.rule, settings.whole_map
            pattern = project(network, view.image, layer, [channel], rule=rule, whole_map=whole_map)[0].pattern
        else:
            pattern = class_gradient(network, view.image, [view.target], rule=method)[0]
        return np.abs(pattern).max(0)

    return explain


def sanity_sheet(classifier: Classifier, view: View, method: str, steps: Sequence[Step]) -> Image.Image:
    """The maps from the trained network to the wholly random one, with their rank correlations."""
    panels = []
    for place, step in enumerate(steps):
        least, most = float(step.map.min()), drawing.spread(step.map)
        if method == "occlusion":
            shares, colours = 0.5 + 0.5 * step.map / most if most > 0 else np.full_like(step.map, 0.5), BALANCE
        else:
            shares, colours = step.map / most if most > 0 else step.map, HEAT
        side = 200
        shown = drawing.overlay(view.picture.resize((side, side), Image.Resampling.LANCZOS), shares, colours)
        heading = "trained" if not step.part else "head" if place == 1 else f"and {step.part}"
        number = "empty map" if step.correlation is None and least == most else "no correlation"
        number = number if step.correlation is None else f"{step.correlation:+.2f}"
        panels.append(drawing.panel(Panel(shown, heading, (number,))))
    subtitle = f"{method}: all from the head down to the part above each map is random; rank correlation below"
    return page(classifier, view, subtitle, drawing.grid(panels, 5))
