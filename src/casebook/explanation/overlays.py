"""Small pictures for a report that show what led to the network's answer."""

import base64
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..evaluation.classifier import Classifier
from . import drawing
from .deconvnet import class_gradient, project
from .descent import has_switches
from .drawing import BALANCE
from .grad_cam import grad_cam
from .occlusion import default_square, occlusion
from .sheet import NAMES
from .views import look
from .watching import as_leaf, evaluating, last_with_places, run, stages_of

METHODS = ("grad-cam", "occlusion", "guided", "deconvnet")
SIDE = 160
QUALITY = 82


class Overlay(NamedTuple):
    """A small picture as a data URI for <img src>, and a caption."""

    method: str
    caption: str
    uri: str


def overlays(
    classifier: Classifier,
    picture: Image.Image,
    *,
    taken: int | None = None,
    truth: int | None = None,
    methods: Sequence[str] = METHODS,
    side: int = SIDE,
) -> list[Overlay]:
    """What led to the class `taken` (by default the answer), and Grad-CAM for the class `truth` as well.

    "deconvnet" shows the strongest channel of the last stage; in a network without max pooling it is guided
    backpropagation. Each overlay is a JPEG of about 5 KB. Occlusion has the squares of `explain`, but side by side, 49
    forward passes for 224 pixels, since its 169 would be a quarter of a short training; the others cost one or two
    passes each.

    Raises ModelError for a network without stages.
    """
    view = look(classifier, picture, "", taken)
    small = view.picture.resize((side, side), Image.Resampling.LANCZOS)
    found: list[Overlay] = []
    for method in methods:
        if method == "grad-cam":
            for index in dict.fromkeys((view.target, view.target if truth is None else truth)):
                heat = grad_cam(classifier.model, view.image, [index]).maps[0]
                most = float(heat.max())
                shown = drawing.overlay(small, heat / most if most > 0 else heat)
                nothing = "" if most > 0 else ": nothing"
                found.append(_overlay(method, f"Grad-CAM for {view.classes[index]}{nothing}", shown))
        elif method == "occlusion":
            square = default_square(view.image)
            hidden = occlusion(
                classifier.model, view.image, view.target, square=square, stride=square, activation=view.activation
            )
            most = float(np.abs(hidden.drop).max())
            shares = 0.5 + 0.5 * hidden.drop / most if most > 0 else np.full_like(hidden.drop, 0.5)
            caption = f"occlusion for {view.classes[view.target]}: {'; '.join(hidden.said)}"
            found.append(_overlay(method, caption, drawing.overlay(small, shares, BALANCE)))
        elif method == "deconvnet":
            layers = stages_of(classifier.model)
            with evaluating(classifier.model):
                _, kept = run(classifier.model, as_leaf(view.image), layers)
            layer = last_with_places(kept, layers, classifier.model)
            rule = "deconvnet" if has_switches(classifier.model) else "guided"
            first = project(classifier.model, view.image, layer, num_channels=1, rule=rule, whole_map=True)[0]
            shown = drawing.enlarged(drawing.signed_picture(first.pattern), (side, side))
            found.append(_overlay(method, f"{NAMES[rule]} of {layer}, channel {first.channel}", shown))
        else:
            pattern = class_gradient(classifier.model, view.image, [view.target], rule=method)[0]
            shown = drawing.enlarged(drawing.signed_picture(pattern), (side, side))
            found.append(_overlay(method, f"{NAMES[method]} for {view.classes[view.target]}", shown))
    return found


def _overlay(method: str, caption: str, image: Image.Image) -> Overlay:
    content = drawing.encoded(image, "JPEG", quality=QUALITY)
    return Overlay(method, caption, f"data:image/jpeg;base64,{base64.b64encode(content).decode()}")
