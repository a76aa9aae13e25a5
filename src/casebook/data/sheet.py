"""Contact sheets: what a policy makes of a picture or of a data set, with the parameters under each result."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..errors import DataError
from ..files import write_atomically
from ..preprocessing import Preprocessing
from .augment import augment, fill_colour
from .colour import IMAGENET_COMPONENTS, source_colours
from .decode import open_picture
from .draws import described, draw, identity
from .policy import Policy
from .sources import Source, load_source

GAP, MARGIN, FONT_PIXELS, LINE_PIXELS = 14, 18, 12, 16
INK, PAPER = (34, 34, 34), (255, 255, 255)
MOST_PICTURES = 200
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}

# One of each operation, at a strength that shows.
OPERATIONS: dict[str, dict[str, Any]] = {
    "mirror": {"mirror": True},
    "rotate": {"angle": 20.0},
    "shear": {"shear": (18.0, 0.0)},
    "scale": {"scale": 0.7},
    "shift": {"shift": (0.2, -0.1)},
    "warp": {"warp": np.random.default_rng(4).uniform(-0.09, 0.09, (2, 8, 8))},
    "brightness": {"brightness": 1.5},
    "contrast": {"contrast": 0.4},
    "saturation": {"saturation": 2.0},
    "hue": {"hue": 60.0},
    "channels": {"channels": (30.0, -10.0, -30.0)},
    "pca": {"pca": tuple(255 * 0.3 * IMAGENET_COMPONENTS.vectors[:, 0] * -IMAGENET_COMPONENTS.values[0])},
    "equalize": {"equalize": True},
    "autocontrast": {"autocontrast": True},
    "solarize": {"solarize": 128.0},
    "posterize": {"posterize": 2},
    "sharpness": {"sharpness": 3.0},
    "blur": {"blur": 2.5},
    "noise": {"noise": 25.0},
    "hole": {"hole": (60, 70, 90, 70)},
}


def draw_sheet(
    data: str | Path,
    policy: Policy,
    out: str | Path,
    *,
    count: int = 12,
    size: int = 224,
    seed: int = 0,
    columns: int = 4,
    crop_fraction: float = 0.875,
) -> list[dict[str, Any]]:
    """Writes a PNG or JPEG of `count` augmented pictures and gives the parameters of each as plain data.

    `data` is one picture, of which every epoch from 0 on is shown, or a data set, of which some pictures are shown as
    they are in epoch 0. The pictures are prepared as for a network with inputs of `size` pixels.

    Raises DataError where there is nothing to show or `out` is of another kind, PictureError for a picture that cannot
    be read.
    """
    _check_name(out)
    if not 1 <= count <= MOST_PICTURES:
        raise DataError(f"{count} pictures are asked for, expected 1 to {MOST_PICTURES}")
    preprocessing = Preprocessing(size=size, crop_fraction=crop_fraction)
    components = IMAGENET_COMPONENTS
    path = Path(data).expanduser()
    if path.is_file() and path.suffix.lower() not in (".csv", ".tsv"):
        opened = open_picture(path, name=path.name, min_side=preprocessing.decode_side)
        images, epochs, names = [opened] * count, list(range(count)), [f"epoch {epoch}" for epoch in range(count)]
        indices = np.zeros(count, np.int64)
    else:
        source = load_source(data)
        chosen = _spread(len(source), count)
        images = [source.open(index, min_side=preprocessing.decode_side) for index in chosen]
        names, epochs, indices = [_name(source, i) for i in chosen], [0] * len(chosen), np.array(chosen)
        if policy.pca and policy.pca_of == "data":
            components = source_colours(source, range(len(source)))
    pictures = [np.asarray(image) if policy.crops_source else preprocessing.pixels(image) for image in images]
    sizes = np.array([(picture.shape[1], picture.shape[0]) for picture in pictures])
    parameters = np.concatenate(
        [
            draw(policy, seed, epoch, indices[row : row + 1], sizes[row : row + 1], size, components)
            for row, epoch in enumerate(epochs)
        ]
    )
    results = augment(pictures, parameters, size, fill_colour(preprocessing))
    if policy.mixes:
        results = _mixed(results, parameters)
    captions = [[name, *told(row)] for name, row in zip(names, parameters, strict=True)]
    save_sheet(results, captions, out, columns=columns)
    return [{"picture": name, "parameters": described(row)} for name, row in zip(names, parameters, strict=True)]


def draw_operations(picture: str | Path, out: str | Path, *, size: int = 224, columns: int = 5) -> list[dict[str, Any]]:
    """Writes a PNG or JPEG of one picture under one operation after the other."""
    _check_name(out)
    path = Path(picture).expanduser()
    preprocessing = Preprocessing(size=size)
    pixels = preprocessing.pixels(open_picture(path, name=path.name, min_side=preprocessing.decode_side))
    parameters = identity(len(OPERATIONS))
    parameters["window"] = (0, 0, size, size)
    for row, changes in zip(parameters, OPERATIONS.values(), strict=True):
        for name, value in changes.items():
            row[name] = np.array(value) * size // 224 if name == "hole" else value
    results = augment([pixels] * len(parameters), parameters, size, fill_colour(preprocessing))
    captions = [[name, *told(row)] for name, row in zip(OPERATIONS, parameters, strict=True)]
    save_sheet(results, captions, out, columns=columns)
    return [{"picture": name, "parameters": described(row)} for name, row in zip(OPERATIONS, parameters, strict=True)]


def _check_name(out: str | Path) -> None:
    if Path(out).suffix.lower() not in FORMATS:
        raise DataError(f"the sheet is to be {str(out)!r}, expected a name that ends in {', '.join(FORMATS)}")


def _spread(total: int, count: int) -> list[int]:
    return sorted({int(place) for place in np.linspace(0, total - 1, min(count, total))})


def _name(source: Source, index: int) -> str:
    return f"{source.classes[source.pictures[index].label]}: {source.pictures[index].name.rpartition('/')[2]}"


def _mixed(results: NDArray[np.uint8], parameters: NDArray[Any]) -> NDArray[np.uint8]:
    import torch

    from .mixing import mix, mixing_table

    images, _ = mix(torch.from_numpy(results).permute(0, 3, 1, 2).float(), mixing_table(parameters))
    return images.permute(0, 2, 3, 1).round().byte().numpy()


def told(row: Any) -> list[str]:
    """One picture's parameters as short lines."""
    left, top, width, height = row["window"]
    lines = [f"window {width:.0f} x {height:.0f} at {left:.0f}, {top:.0f}"]
    across, down = row["shear"]
    right, below = 100 * row["shift"]
    geometry = [
        "mirrored" if row["mirror"] else "",
        f"turned {_signed(row['angle'])}°" if row["angle"] else "",
        f"sheared {_signed(across)}°, {_signed(down)}°" if across or down else "",
        f"scaled {row['scale']:.2f}" if row["scale"] != 1 else "",
        f"shifted {_signed(right)} %, {_signed(below)} %" if right or below else "",
        f"warped up to {100 * np.abs(row['warp']).max():.1f} %" if row["warp"].any() else "",
    ]
    colour = [f"{name} {row[name]:.2f}" for name in ("brightness", "contrast", "saturation") if row[name] != 1]
    colour += [f"hue {_signed(row['hue'])}°"] if row["hue"] else []
    colour += [
        f"{name} {', '.join(_signed(level) for level in row[name])}" for name in ("channels", "pca") if row[name].any()
    ]
    tones = [
        "equalized" if row["equalize"] else "",
        "autocontrast" if row["autocontrast"] else "",
        f"solarized from {row['solarize']:.0f}" if row["solarize"] < 256 else "",
        f"{row['posterize']} bits" if row["posterize"] < 8 else "",
        f"sharpness {row['sharpness']:.2f}" if row["sharpness"] != 1 else "",
        f"blur {row['blur']:.1f} px" if row["blur"] else "",
        f"noise {row['noise']:.0f}" if row["noise"] else "",
        f"hole {row['hole'][2]} x {row['hole'][3]}" if row["hole"].any() else "",
        f"mixup, own share {row['mixup']:.2f}" if row["mixup"] < 1 else "",
        f"cutmix {row['cutmix'][2]} x {row['cutmix'][3]}" if row["cutmix"].any() else "",
    ]
    return lines + [", ".join(part for part in parts if part) for parts in (geometry, colour, tones) if any(parts)]


def _signed(value: float) -> str:
    """A whole number with its sign; 0 has none."""
    return f"{round(value):+d}" if round(value) else "0"


def save_sheet(results: NDArray[np.uint8], captions: Sequence[Sequence[str]], out: str | Path, *, columns: int) -> None:
    """Writes (N, S, S, 3) pictures with their captions, the first line of each in bold, as a PNG or a JPEG."""
    size = results.shape[1]
    font = ImageFont.load_default(FONT_PIXELS)
    letters = max(12, int(size / (FONT_PIXELS * 0.52)))
    texts = [[line for part in caption for line in textwrap.wrap(part, letters)] for caption in captions]
    columns = max(1, min(columns, len(results)))
    rows = [texts[start : start + columns] for start in range(0, len(texts), columns)]
    heights = [size + 6 + LINE_PIXELS * max(map(len, row)) + GAP for row in rows]
    sheet = Image.new("RGB", (2 * MARGIN + columns * (size + GAP) - GAP, 2 * MARGIN + sum(heights) - GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    top = MARGIN
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, lines in enumerate(row):
            left = MARGIN + column * (size + GAP)
            sheet.paste(Image.fromarray(results[number * columns + column]), (left, top))
            for line, text in enumerate(lines):
                weight = 0.4 if line == 0 else 0  # the built-in font has no bold cut
                place = (left, top + size + 6 + line * LINE_PIXELS)
                pen.text(place, text, fill=INK, font=font, stroke_width=weight, stroke_fill=INK)
        top += height
    content = io.BytesIO()
    sheet.save(content, FORMATS[Path(out).suffix.lower()], optimize=True, quality=88)
    path = Path(out).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())
