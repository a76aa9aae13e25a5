"""What speaks for a class in a picture: Grad-CAM, occlusion, guided backpropagation and the gradient."""

from typing import Any

import numpy as np
from PIL import Image

from ..evaluation.classifier import Classifier
from ..formatting import short
from . import drawing
from .deconvnet import class_gradient, project
from .drawing import BALANCE, HEAT, Panel
from .grad_cam import grad_cam
from .occlusion import Occlusion, occlusion
from .sheet import NAMES, Explanation, Settings, page, pattern_panels, picture_panel, row
from .views import View

MOST_KEYED = 5  # classes that an occlusion's key names


def explain_grad_cam(classifier: Classifier, view: View, settings: Settings) -> Explanation:
    found = grad_cam(classifier.model, view.image, [view.target], layer=settings.layer)
    heat, most = found.maps[0], float(found.maps[0].max())
    rows, columns = found.coarse.shape[1:]
    shown = drawing.overlay(view.picture, heat / most if most > 0 else heat)
    lines = [f"layer {found.layer}, {rows}x{columns} places"]
    if most <= 0:
        lines.append("nothing in this layer speaks for the class")
    legend = drawing.scale_bar(HEAT, shown.width, ("0", short(most)), "share in the logit")
    main = Panel(shown, "Grad-CAM", tuple(lines), legend)
    coarse = found.coarse[0] / most if most > 0 else found.coarse[0]
    blocks = Image.fromarray(drawing.colours(coarse, HEAT)).resize(shown.size, Image.Resampling.NEAREST)
    body = row([picture_panel(view), main, Panel(blocks, "as the layer has it", legend=legend)])
    facts = {"layer": found.layer, "largest": most}
    return Explanation(
        "grad-cam", page(classifier, view, "where the layer speaks for the class", body), main, heat, facts
    )


def explain_occlusion(classifier: Classifier, view: View, settings: Settings) -> Explanation:
    found = occlusion(
        classifier.model, view.image, view.target, square=settings.square, stride=settings.stride,
        activation=view.activation,
    )  # fmt: skip
    most = float(np.abs(found.drop).max())
    shares = 0.5 + 0.5 * found.drop / most if most > 0 else np.full_like(found.drop, 0.5)
    shown = drawing.overlay(view.picture, shares, BALANCE)
    ends = f"+{_points(most)}", f"−{_points(most)} points"
    legend = drawing.scale_bar(BALANCE, shown.width, ends, "what hiding it does to the probability")
    main = Panel(shown, "occlusion", found.said, legend)
    body = row([picture_panel(view), main, _winners_panel(view, found)])
    facts = {
        "square": found.square, "stride": found.stride, "largest": float(found.drop.max()),
        "least_probability": float(found.probabilities.min()),
    }  # fmt: skip
    sheet = page(classifier, view, "what hiding a part does to the class", body)
    return Explanation("occlusion", sheet, main, found.drop, facts)


def _winners_panel(view: View, found: Occlusion) -> Panel:
    """Figure 7(e) of Zeiler and Fergus: the most probable class, at the middle of each place of the square."""
    winners, size = found.winners, view.picture.size
    classes, counts = np.unique(winners, return_counts=True)
    order = [int(index) for index in classes[np.argsort(-counts, kind="stable")]]
    keyed, rest = order[:MOST_KEYED], order[MOST_KEYED:]
    palette = drawing.colours(np.arange(MOST_KEYED) / 10 + 0.05, drawing.CLASS_COLOURS)
    pixels = np.full((*winners.shape, 3), 190, np.uint8)
    for colour, index in zip(palette, keyed, strict=False):
        pixels[winners == index] = colour
    rows, columns = (
        np.abs((np.arange(shown) + 0.5)[:, None] * side / shown - np.array(starts) - found.square / 2).argmin(1)
        for shown, side, starts in zip(size[::-1], view.image.shape[2:], (found.tops, found.lefts), strict=True)
    )
    entries = [
        (tuple(map(int, colour)), f"{view.classes[index]} ({counts[classes == index][0]} of {winners.size})")
        for colour, index in zip(palette, keyed, strict=False)
    ]
    entries += [((190, 190, 190), f"{len(rest)} other class{'es' * (len(rest) > 1)}")] if rest else []
    key = drawing.colour_key(entries, size[0])  # type: ignore[arg-type]
    grey = view.picture.convert("L").convert("RGB")
    heading = "the answer by place" if view.given is None else "the most probable class by place"
    return Panel(Image.blend(grey, Image.fromarray(pixels[rows][:, columns]), 0.6), heading, (), key)


def explain_guided(classifier: Classifier, view: View, settings: Settings) -> Explanation:
    return _gradient(classifier, view, settings, "guided")


def explain_gradient(classifier: Classifier, view: View, settings: Settings) -> Explanation:
    return _gradient(classifier, view, settings, "gradient")


ABOUT = {
    "guided": "guided backpropagation: the positive signals, down to the pixels,",
    "gradient": "gradient: what small changes of the pixels would do to",
}


def _gradient(classifier: Classifier, view: View, settings: Settings, rule: str) -> Explanation:
    """Of the class's logit, or of a channel's strongest unit where a layer is named."""
    facts: dict[str, Any] = {}
    if settings.layer is None:
        pattern, of = class_gradient(classifier.model, view.image, [view.target], rule=rule)[0], "the class's logit"
    else:
        channels = settings.channels[:1] or None
        found = project(classifier.model, view.image, settings.layer, channels, num_channels=1, rule=rule)[0]
        pattern, of = found.pattern, f"{found.layer}, channel {found.channel}"
        facts = {"layer": found.layer, "channel": found.channel, "activation": found.activation}
    main, strength = pattern_panels(view, pattern, NAMES[rule], f"of {of}")
    body = row([picture_panel(view), main, strength])
    facts |= {"largest": float(np.abs(pattern).max())}
    sheet = page(classifier, view, f"{ABOUT[rule]}{' of' if rule == 'guided' else ''} {of}", body)
    return Explanation(rule, sheet, main, pattern, facts)


def _points(share: float) -> str:
    """A difference of probabilities, in hundredths."""
    return f"{100 * share:.1f}"
