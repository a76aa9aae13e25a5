"""How a picture is shown to a network at test time: which views of it, at which sizes, and where that comes from.

A protocol is data. From it and a picture's size follow the views, each a box of the resized picture; the network's
class probabilities of all views are averaged. Nothing here needs torch.
"""

import dataclasses
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ModelError, did_you_mean
from ..preprocessing import RESAMPLING, Preprocessing

PAPERS_SIZE = 224  # pixels: what the scales below refer to; they grow and shrink with the network's own size
MARGIN = 256 / PAPERS_SIZE  # of the corners' picture, where a network's own preprocessing leaves none
MOST_SIDE = 4096
MOST_VIEWS = 1000
OWN = "own"
SQUARES = ("left", "centre", "right")  # of an upright picture: top, centre, bottom
CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")
CROPS = ("centre", *CORNERS, "whole")

Size = tuple[int, int]
Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The views of a picture.

    `scales` are shorter sides in pixels for a network that takes 224 pixels, or "own", the one of the network's
    preprocessing. From each resized picture `squares` cuts the squares at its two ends and in the middle; without
    them, what follows cuts from the whole. `crops` are boxes of the network's size, or "whole": the square shrunk to
    that size. With `dense` there are no crops: the network runs over the whole resized picture. `mirror` adds the
    mirror image of every view. `averages` says what the source averages, where that is more than probabilities.
    """

    name: str
    scales: tuple[int | str, ...] = (OWN,)
    squares: tuple[str, ...] = ()
    crops: tuple[str, ...] = ("centre",)
    mirror: bool = False
    dense: bool = False
    source: str = ""
    averages: str = ""

    @property
    def num_views(self) -> int:
        places = 1 if self.dense else max(1, len(self.squares)) * len(self.crops)
        return len(self.scales) * places * (1 + self.mirror)

    def to_dict(self) -> dict[str, Any]:
        record = dataclasses.asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in record.items()}


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("center", source="one centre crop, the usual single view of the ImageNet literature"),
        Protocol(
            "flip",
            mirror=True,
            source="the centre crop and its mirror image, as in Simonyan, Zisserman, ICLR 2015, section 3.2",
        ),
        Protocol(
            "10-crop",
            crops=(*CORNERS, "centre"),
            mirror=True,
            source="Krizhevsky, Sutskever, Hinton, NIPS 2012, section 4.1: four corners and the centre of the resized "
            "picture, and their mirror images",
            averages="the outputs of the softmax, as here",
        ),
        Protocol(
            "144-crop",
            scales=(256, 288, 320, 352),
            squares=SQUARES,
            crops=(*CORNERS, "centre", "whole"),
            mirror=True,
            source="Szegedy et al., CVPR 2015, section 7: 4 scales x 3 squares x 6 crops x 2",
            averages="softmax probabilities over crops, as here, and over seven networks",
        ),
        Protocol(
            "dense",
            crops=(),
            mirror=True,
            dense=True,
            source="Simonyan, Zisserman, ICLR 2015, section 3.2: fully connected layers as convolutions over the whole "
            "picture, and its mirror image",
            averages="class scores over the map, then the softmax posteriors of the mirror images, as here",
        ),
        Protocol(
            "multi-scale",
            scales=(224, 256, 384, 480, 640),
            crops=(),
            dense=True,
            source="He et al., CVPR 2016, section 3.4: fully convolutional, shorter side in {224, 256, 384, 480, 640}",
            averages="scores over the scales, without saying whether before the softmax; here probabilities",
        ),
    )
}
CENTER = PROTOCOLS["center"]

FIELDS = {"name": str, "scales": list, "squares": list, "crops": list, "mirror": bool, "dense": bool, "source": str}
EXPECTED = (
    f"one of {', '.join(PROTOCOLS)}, a .toml file, or text such as 'scales=256+288;crops=centre+corners;mirror=yes'"
)


def find_protocols(given: "str | Path | Protocol | Iterable[str | Path | Protocol]") -> list[Protocol]:
    """The protocols that the given names, files and texts mean, `center` first and each once.

    A text may name several, parted by commas. Raises ModelError for what is no protocol.
    """
    found = {CENTER.name: CENTER}
    for protocol in _each(given):
        if found.setdefault(protocol.name, protocol) != protocol:
            raise ModelError(f"two protocols are called {protocol.name!r} and differ; give one another name")
    return list(found.values())


def _each(given: "str | Path | Protocol | Iterable[str | Path | Protocol]") -> Iterable[Protocol]:
    if isinstance(given, Protocol):
        yield checked(given)
    elif isinstance(given, str | Path):
        for text in [str(given)] if isinstance(given, Path) else given.split(","):
            yield _named(text.strip())
    else:
        for one in given:
            yield from _each(one)


def _named(text: str) -> Protocol:
    if text in PROTOCOLS:
        return PROTOCOLS[text]
    if text.lower().endswith(".toml"):
        return read_protocol(Path(text))
    if "=" in text:
        return _from_text(text)
    raise ModelError(f"unknown protocol {text!r}{did_you_mean(text, PROTOCOLS) or ';'} expected {EXPECTED}")


def read_protocol(path: Path) -> Protocol:
    """A protocol from a TOML file with the fields of `Protocol`; its name is the file's unless it says another.

    Raises ModelError for a file that cannot be read, or says what no protocol has.
    """
    try:
        record = tomllib.loads(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"cannot read the protocol {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is no TOML file: {error}; expected lines such as mirror = true") from error
    return _from_record({"name": path.stem} | record, str(path))


def _from_text(text: str) -> Protocol:
    """A protocol from "scales=256+own;crops=corners;mirror=yes"."""
    record: dict[str, Any] = {"name": text}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, sign, value = (word.strip() for word in part.partition("="))
        kind = FIELDS.get(key)
        if not sign or kind is None:
            raise ModelError(_unknown_field(key, f"protocol {text!r}"))
        if kind is list:
            words = [word.strip() for word in value.split("+") if word.strip()]
            record[key] = [int(word) if word.isdecimal() else word for word in words]
        elif kind is bool:
            known = {"yes": True, "true": True, "no": False, "false": False}
            if value.lower() not in known:
                raise ModelError(f"protocol {text!r}: {key} is {value!r}, expected yes or no")
            record[key] = known[value.lower()]
        else:
            record[key] = value
    return _from_record(record, f"protocol {text!r}")


def _unknown_field(key: str, where: str) -> str:
    return f"{where} has {key!r}{did_you_mean(key, FIELDS) or ';'} expected {', '.join(FIELDS)}"


def _from_record(record: dict[str, Any], where: str) -> Protocol:
    settings: dict[str, Any] = {}
    for key, value in record.items():
        if key not in FIELDS:
            raise ModelError(_unknown_field(key, where))
        if not isinstance(value, FIELDS[key]):
            kinds = {str: "text", list: "a list", bool: "true or false"}
            raise ModelError(f"{where}: {key} is {value!r}, expected {kinds[FIELDS[key]]}")
        settings[key] = value
    for key in ("squares", "crops"):
        if key in settings:
            settings[key] = _expanded(settings[key], {"corners": CORNERS, "all": SQUARES})
    if settings.get("dense") and "crops" not in settings:
        settings["crops"] = ()
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return checked(Protocol(**settings), where)


def _expanded(words: Sequence[Any], short: dict[str, tuple[str, ...]]) -> list[Any]:
    """The words with short ones written out: "corners" for all four, "all" for the three squares."""
    spelled = {"center": "centre", "top": "left", "bottom": "right"}
    chosen: list[Any] = []
    for word in words:
        if isinstance(word, str):
            chosen += short.get(word, (spelled.get(word, word),))
        else:
            chosen.append(word)
    return chosen


def checked(protocol: Protocol, where: str = "") -> Protocol:
    """The protocol itself. Raises ModelError for views that cannot be, or too many of them."""
    where = where or f"protocol {protocol.name!r}"
    if not protocol.name.strip():
        raise ModelError(f"{where}: its name is empty; give it one")
    if not protocol.scales:
        raise ModelError(f"{where} has no scales; expected shorter sides in pixels, or {OWN!r}")
    for scale in protocol.scales:
        if scale != OWN and (type(scale) is not int or not 1 <= scale <= MOST_SIDE):
            raise ModelError(f"{where}: a scale is {scale!r}, expected {OWN!r} or 1 to {MOST_SIDE} pixels")
    for kind, words, known, short in (
        ("square", protocol.squares, SQUARES, "all"),
        ("crop", protocol.crops, CROPS, "corners"),
    ):
        for word in words:
            if word not in known:
                suggestion = did_you_mean(str(word), (*known, short)) or ";"
                raise ModelError(f"{where}: unknown {kind} {word!r}{suggestion} expected {', '.join(known)} or {short}")
    for kind, words in (("scale", protocol.scales), ("square", protocol.squares), ("crop", protocol.crops)):
        if len(set(words)) < len(words):
            raise ModelError(f"{where} names a {kind} twice: {', '.join(map(str, words))}; a view counts once")
    if protocol.dense and (protocol.crops or protocol.squares):
        raise ModelError(f"{where} is dense, so it sees whole pictures; leave out its crops and squares")
    if not protocol.dense and not protocol.crops:
        raise ModelError(f"{where} has no crops; expected some of {', '.join(CROPS)}, or dense")
    if "whole" in protocol.crops and not protocol.squares:
        raise ModelError(f"{where} shrinks a whole that is no square; add squares, such as squares=centre")
    if protocol.num_views > MOST_VIEWS:
        raise ModelError(f"{where} has {protocol.num_views} views, at most {MOST_VIEWS} are made")
    return protocol


class View(NamedTuple):
    """What a network sees once: `box` (left, top, right, bottom) of the picture resized to `target`, brought to
    `output`, and mirrored or not; sizes are (width, height)."""

    target: Size
    box: Box
    output: Size
    mirrored: bool


def sides(protocol: Protocol, preprocessing: Preprocessing) -> list[int]:
    """The shorter side in pixels for each of the protocol's scales.

    A network's own side serves corners too, unless it leaves no margin around the crop, as with 32-pixel pictures:
    there the corners' picture is 256/224 of the network's size.
    """
    size = preprocessing.size
    own = preprocessing.resize_side
    if own == size and any(crop in CORNERS for crop in protocol.crops):
        own = max(size + 1, round(size * MARGIN))
    return [own if scale == OWN else round(int(scale) * size / PAPERS_SIZE) for scale in protocol.scales]


def check_sides(protocol: Protocol, preprocessing: Preprocessing, smallest: int) -> None:
    """Raises ModelError where a scale gives a picture smaller than a view, which is `smallest` pixels at least."""
    least = smallest if protocol.dense else preprocessing.size
    for scale, side in zip(protocol.scales, sides(protocol, preprocessing), strict=True):
        if side < least:
            raise ModelError(
                f"protocol {protocol.name!r}: scale {scale} is {side} pixels for this network of "
                f"{preprocessing.size}, smaller than the {least} that it needs; leave that scale out"
            )
        if side > MOST_SIDE:
            raise ModelError(
                f"protocol {protocol.name!r}: scale {scale} is {side} pixels for this network of "
                f"{preprocessing.size}, at most {MOST_SIDE} are made; leave that scale out"
            )


def views(protocol: Protocol, preprocessing: Preprocessing, picture_size: Size) -> list[View]:
    """The views of a picture of (width, height), as many as `protocol.num_views`; equal ones come as often as due.

    Where the network's preprocessing makes a square of the whole picture, every scale does.
    """
    found: list[View] = []
    for side in sides(protocol, preprocessing):
        target = preprocessing.resized_size(picture_size, side)
        whole: Box = (0, 0, *target)
        square: Size = (preprocessing.size, preprocessing.size)
        if protocol.dense:
            boxes = [(whole, target)]
        else:
            outer = [_square(place, target) for place in protocol.squares] or [whole]
            boxes = [(_crop(crop, box, preprocessing.size), square) for box in outer for crop in protocol.crops]
        for box, output in boxes:
            found.append(View(target, box, output, False))
            if protocol.mirror:
                found.append(View(target, box, output, True))
    return found


def _square(place: str, target: Size) -> Box:
    """The square at the left (or top), in the middle, or at the right (or bottom) of the picture."""
    width, height = target
    side = min(target)
    shift = {"left": 0, "centre": round((max(target) - side) / 2), "right": max(target) - side}[place]
    left, top = (shift, 0) if width >= height else (0, shift)
    return left, top, left + side, top + side


def _crop(crop: str, outer: Box, size: int) -> Box:
    """The box of a crop inside another box; the whole of it for "whole"."""
    left, top, right, bottom = outer
    if crop == "whole":
        return outer
    if crop == "centre":
        left, top = left + round((right - left - size) / 2), top + round((bottom - top - size) / 2)
    else:
        down, across = crop.split("-")
        left = left if across == "left" else right - size
        top = top if down == "top" else bottom - size
    return left, top, left + size, top + size


def decode_side(protocol: Protocol, preprocessing: Preprocessing) -> int:
    """The shorter side down to which a decoder may shrink a picture: twice the largest scale, as for one view."""
    return 2 * max(sides(protocol, preprocessing))


def pixels(
    picture: Image.Image, wanted: Iterable[View], preprocessing: Preprocessing
) -> Iterable[tuple[View, NDArray[np.uint8]]]:
    """(view, (height, width, channels) uint8) for each view of an upright picture, by the network's preprocessing."""
    method = RESAMPLING[preprocessing.interpolation]
    target, large = None, picture
    for view in wanted:
        if view.target != target:  # views of one scale stand together
            target, large = view.target, preprocessing.resized(picture, min(view.target))
        shown = large if view.box == (0, 0, *large.size) else large.crop(view.box)
        shown = shown if shown.size == view.output else shown.resize(view.output, method)
        array = np.asarray(shown, np.uint8).reshape(view.output[1], view.output[0], preprocessing.channels)
        yield view, np.ascontiguousarray(array[:, ::-1]) if view.mirrored else array
