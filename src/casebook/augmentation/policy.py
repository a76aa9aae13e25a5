"""Augmentation policies: what may happen to a training picture, and how likely it is, as plain data.

A policy is a set of laws. `sampling` draws the parameters of each picture from it, `augment` (OpenCV, uint8) or
`augment_tensors` (torch, any device) applies them, and `mixing` blends the pictures of a batch.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

from ..errors import RecipeError, did_you_mean

Pair = tuple[float, float]
MOST_PICKS = 8


@dataclasses.dataclass(frozen=True)
class Policy:
    """The laws from which each picture's parameters are drawn; LAWS says what each one means.

    Where the order of operations matters it is this one, whatever the policy: crop, mirror, scale and shear, rotation,
    shift, warp; brightness, contrast, saturation, hue, colour shifts; equalize, autocontrast, solarize, posterize;
    sharpness, blur, noise, erasing; mixing.
    """

    crop: Literal["none", "resized", "padded", "window"] = "none"
    area: Pair = (0.25, 1.0)
    ratio: Pair = (3 / 4, 4 / 3)
    padding: int = 4
    sides: Pair = (256, 256)
    central: bool = False

    mirror: float = 0.0
    rotate: float = 0.0
    shear: float = 0.0
    scale: Pair = (1.0, 1.0)
    shift: float = 0.0
    warp: float = 0.0
    border: Literal["reflect", "fill"] = "reflect"

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    channels: float = 0.0
    pca: float = 0.0
    pca_of: Literal["imagenet", "data"] = "imagenet"

    blur: Pair = (0.0, 0.0)
    blur_probability: float = 0.0
    noise: float = 0.0
    erase: float = 0.0
    erase_area: Pair = (0.02, 0.33)
    erase_ratio: Pair = (0.3, 3.3)

    space: Literal["", "trivial", "randaugment"] = ""
    picks: int = 1
    strength: float | None = None

    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in PAIRS:
                object.__setattr__(self, field.name, _pair(field.name, value))
            elif field.name in CHOICES:
                if value not in CHOICES[field.name]:
                    expected = ", ".join(repr(choice) for choice in CHOICES[field.name])
                    raise RecipeError(f"augment.{field.name} is {value!r}, expected one of {expected}")
            elif field.name == "central":
                if not isinstance(value, bool):
                    raise RecipeError(f"augment.central is {value!r}, expected true or false")
            elif field.name == "strength" and value is None:
                continue
            else:
                low, high = LIMITS[field.name]
                whole = field.name in ("padding", "picks")
                number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
                if not number or not low <= value <= high:
                    kind = "a whole number" if whole else "a number"
                    raise RecipeError(f"augment.{field.name} is {value!r}, expected {kind} from {low:g} to {high:g}")
                object.__setattr__(self, field.name, int(value) if whole else float(value))
        if (self.blur[1] > 0) != (self.blur_probability > 0):
            raise RecipeError(
                f"augment.blur is {list(self.blur)} and augment.blur_probability {self.blur_probability:g}; "
                "both must be above 0 for anything to be blurred, or neither"
            )

    @property
    def crops_source(self) -> bool:
        """Whether the crop is cut out of the picture as it was taken, not out of what evaluation sees."""
        return self.crop in ("resized", "window")

    @property
    def mixes(self) -> bool:
        return bool(self.mixup or self.cutmix) and self.mix_probability > 0

    def changed(self, changes: dict[str, Any]) -> "Policy":
        """The policy with some laws replaced. Raises RecipeError for an unknown name or a value out of range."""
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                suggestion = did_you_mean(name, names) or ";"
                raise RecipeError(f"augment.{name} is no law of a policy{suggestion} the laws are {', '.join(names)}")
        return dataclasses.replace(self, **changes)

    def has(self, kind: str) -> bool:
        """Whether the policy makes changes of a kind that KINDS names."""
        return any(getattr(self, law) != getattr(UNCHANGED, law) for law in KINDS[kind])

    def without(self, kind: str) -> "Policy":
        """The policy without the changes of that kind."""
        return self.changed({law: getattr(UNCHANGED, law) for law in KINDS[kind]})


# Kinds of change that a recipe can leave out of any policy, and the laws that make them.
KINDS = {
    "mirror": ("mirror",),
    "rotate": ("rotate",),
    "colour": ("brightness", "contrast", "saturation", "hue", "channels", "pca"),
    "space": ("space", "picks", "strength"),
}
LAWS = {
    "crop": "none: what evaluation sees; resized: a box of any area and ratio (Szegedy et al., CVPR 2015, section 6); "
    "padded: what evaluation sees, moved by up to padding (He et al., CVPR 2016, section 4.2); window: a square as "
    "large as the network's input, after the shorter side was brought to one of sides",
    "area": "of a resized crop: share of the picture, uniform up to the largest box of its ratio that fits",
    "ratio": "of a resized crop: width / height, log-uniform",
    "padding": "pixels that a padded crop may move",
    "sides": "shorter side for windows of 224 pixels, uniform; in proportion for other inputs",
    "central": "windows stay within the central square",
    "mirror": "probability of the left-right mirror image",
    "rotate": "± degrees, uniform, as all that is ±",
    "shear": "± degrees, along both axes",
    "scale": "factor, log-uniform",
    "shift": "± share of the side, along both axes",
    "warp": "± share of the side, at each of 8 x 8 control points of a cubic B-spline",
    "border": "what lies outside the picture: its mirror image, or the mean colour",
    "brightness": "factor 1 ± x",
    "contrast": "factor 1 ± x, about the picture's mean grey",
    "saturation": "factor 1 ± x",
    "hue": "± degrees, a rotation of the chroma plane of YIQ",
    "channels": "± share of 255, each channel on its own",
    "pca": "deviation of the normal factors along the principal colours (Krizhevsky et al., NIPS 2012, section 4.1)",
    "pca_of": "whose principal colours: ImageNet's or those of the training pictures",
    "blur": "deviation in pixels, uniform",
    "blur_probability": "how often",
    "noise": "largest deviation in levels of 255, uniform from 0",
    "erase": "probability of a hole of mean colour (after Zhong et al., AAAI 2020)",
    "erase_area": "share of the input, uniform",
    "erase_ratio": "width / height, log-uniform",
    "space": "an augmentation space: fourteen operations from which some are picked, each as likely",
    "picks": "how many of the space",
    "strength": "share of the space's largest strength; not given: one of 31 steps",
    "mixup": "alpha of the Beta law of the share that blends a picture with its neighbour, the larger share being its "
    "own (Zhang et al., ICLR 2018); 0: none",
    "cutmix": "alpha of the law of the box that the neighbour fills (Yun et al., ICCV 2019); 0: none",
    "mix_probability": "how often one of the two happens; where both are there, each has half of it",
}
PAIRS = {  # the least and the largest value of each end
    "area": (1e-4, 1.0), "ratio": (0.01, 100.0), "sides": (224.0, 4096.0), "scale": (0.1, 10.0), "blur": (0.0, 20.0),
    "erase_area": (0.0, 1.0), "erase_ratio": (0.01, 100.0),
}  # fmt: skip
CHOICES = {
    "crop": ("none", "resized", "padded", "window"), "border": ("reflect", "fill"), "pca_of": ("imagenet", "data"),
    "space": ("", "trivial", "randaugment"),
}  # fmt: skip
LIMITS = {
    "padding": (0, 64), "mirror": (0, 1), "rotate": (0, 180), "shear": (0, 60), "shift": (0, 1), "warp": (0, 0.2),
    "brightness": (0, 1), "contrast": (0, 1), "saturation": (0, 1), "hue": (0, 180), "channels": (0, 1), "pca": (0, 10),
    "blur_probability": (0, 1), "noise": (0, 255), "erase": (0, 1), "picks": (1, MOST_PICKS), "strength": (0, 1),
    "mixup": (0, 100), "cutmix": (0, 100), "mix_probability": (0, 1),
}  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _pair(name: str, value: Any) -> Pair:
    low, high = PAIRS[name]
    numbers = isinstance(value, (tuple, list)) and len(value) == 2 and all(_is_number(v) for v in value)
    if not numbers or not low <= value[0] <= value[1] <= high:
        raise RecipeError(f"augment.{name} is {value!r}, expected two rising numbers from {low:g} to {high:g}")
    return float(value[0]), float(value[1])


UNCHANGED = Policy()


class NamedPolicy(NamedTuple):
    policy: Policy
    purpose: str
    source: str


POLICIES = {
    "none": NamedPolicy(UNCHANGED, "what evaluation sees, unchanged", ""),
    "basic": NamedPolicy(
        Policy(crop="resized", mirror=0.5),
        "resized crops of a quarter to all of the picture, mirrored; the default for pictures above 64 pixels",
        "the crop of Szegedy et al., CVPR 2015, section 6, with a larger least area, for small data sets",
    ),
    "cifar": NamedPolicy(
        Policy(crop="padded", padding=4, mirror=0.5, border="fill"),
        "moved by up to 4 pixels and mirrored; the default for small pictures",
        "He et al., CVPR 2016, section 4.2",
    ),
    "alexnet": NamedPolicy(
        Policy(crop="window", sides=(256, 256), central=True, mirror=0.5, pca=0.1),
        "224-pixel windows of the central 256-pixel square, mirrored, with shifts along the principal colours",
        "Krizhevsky et al., NIPS 2012, section 4.1",
    ),
    "googlenet": NamedPolicy(
        Policy(crop="resized", area=(0.08, 1.0), mirror=0.5, brightness=0.5, contrast=0.5, saturation=0.5),
        "resized crops from 8 % of the picture on, mirrored, with brightness, contrast and saturation from half to one "
        "and a half",
        "Szegedy et al., CVPR 2015, section 6, with the colours of Howard, arXiv 1312.5402, section 2.2",
    ),
    "resnet": NamedPolicy(
        Policy(crop="window", sides=(256, 480), mirror=0.5, pca=0.1),
        "224-pixel windows after the shorter side was brought to 256 to 480, mirrored, with principal colours",
        "He et al., CVPR 2016, section 3.4",
    ),
    "light": NamedPolicy(
        Policy(
            crop="resized", area=(0.5, 1.0), mirror=0.5, rotate=5, brightness=0.15, contrast=0.15, saturation=0.15,
        ),
        "half to all of the picture, mirrored, turned by up to 5 degrees, with slight changes of colour",
        "",
    ),
    "strong": NamedPolicy(
        Policy(
            crop="resized", area=(0.2, 1.0), mirror=0.5, rotate=15, shear=8, warp=0.03, brightness=0.4, contrast=0.4,
            saturation=0.4, hue=15, pca=0.1, blur=(0.1, 1.5), blur_probability=0.1, noise=8, erase=0.25, mixup=0.2,
            cutmix=1.0, mix_probability=0.5,
        ),
        "everything at once, for long trainings on little data",
        "",
    ),
    "trivial": NamedPolicy(
        Policy(crop="resized", mirror=0.5, border="fill", space="trivial", picks=1),
        "basic, and one of fourteen operations at a strength from nothing to very much",
        "Müller and Hutter, ICCV 2021, the wide space of table 1",
    ),
    "randaugment": NamedPolicy(
        Policy(crop="resized", mirror=0.5, border="fill", space="randaugment", picks=2, strength=0.3),
        "basic, and two of fourteen operations at three tenths of their full strength",
        "Cubuk et al., NeurIPS 2020: N = 2 and M = 9 for ResNet-50, on a scale of 30 as torchvision has it",
    ),
}  # fmt: skip


def named_policy(name: str) -> Policy:
    """Raises RecipeError for a name that POLICIES does not have."""
    if name not in POLICIES:
        suggestion = did_you_mean(name, POLICIES) or ";"
        raise RecipeError(f"unknown policy {name!r}{suggestion} expected one of {', '.join(POLICIES)}")
    return POLICIES[name].policy
