"""Contact sheets of augmented pictures, with the parameters below each."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..augmentation.augment import augment, fill_colour, reduce_pixels
from ..augmentation.colour import IMAGENET_COMPONENTS
from ..augmentation.policy import Policy
from ..augmentation.sampling import described, identity, sample
from ..data.colours import source_colours
from ..data.decode import open_picture
from ..data.reduced import decode_reduced, read_file
from ..data.sources import Source, load_source
from ..errors import DataError, PictureError
from ..files import write_atomically
from ..preprocessing import Preprocessing

GAP, MARGIN, FONT_PIXELS, LINE_PIXELS = 14, 18, 12, 16
INK, PAPER = (34, 34, 34), (255, 255, 255)
MOST_PICTURES = 200
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}

# One of each operation, strong enough to see.
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
    data: str | Path | Source,
    policy: Policy,
    out: str | Path,
    *,
    count: int = 12,
    size: int = 224,
    seed: int = 0,
    columns: int = 4,
    crop_fraction: float = 0.875,
) -> list[dict[str, Any]]:
    """Writes a PNG or JPEG of `count` augmented pictures and returns the parameters of each as plain data.

    If `data` is one picture, the sheet shows it in epochs 0, 1, 2 and so on. If it is a data set, the sheet shows some
    of its pictures as in epoch 0 of a training with this seed and inputs of `size` pixels. One thing differs: without a
    split, principal colours "of the data" are those of all its pictures.

    Raises DataError if there is nothing to show or `out` has another suffix, PictureError for an unreadable picture.
    """
    _check_name(out)
    if not 1 <= count <= MOST_PICTURES or seed < 0 or columns < 1:
        raise DataError(
            f"got {count} pictures, {columns} columns and seed {seed}; expected 1 to {MOST_PICTURES} pictures, "
            "at least one column and a seed of at least 0"
        )
    preprocessing = Preprocessing(size=size, crop_fraction=crop_fraction)
    components = IMAGENET_COMPONENTS
    path = None if isinstance(data, Source) else Path(data).expanduser()
    if path and path.is_file() and path.suffix.lower() not in (".csv", ".tsv"):
        if policy.pca and policy.pca_of == "data":
            raise DataError(f"{data} is a single picture, and pca_of=data needs a data set; give the data set instead")
        pictures = [_picture(read_file(path, name=path.name), path.name, policy, preprocessing)] * count
        epochs, names = list(range(count)), [f"epoch {epoch}" for epoch in range(count)]
        indices = np.zeros(count, np.int64)
    else:
        source = load_source(data)
        shown = [(i, _of_source(source, i, policy, preprocessing)) for i in _spread(len(source), count)]
        readable = [(i, picture) for i, picture in shown if picture is not None]
        if not readable:
            raise DataError(
                f"{source.name}: not one of {len(shown)} pictures could be read; 'casebook data check' tells why"
            )
        indices, pictures = np.array([i for i, _ in readable]), [picture for _, picture in readable]
        names, epochs = [_name(source, int(i)) for i in indices], [0] * len(readable)
        if policy.pca and policy.pca_of == "data":
            components = source_colours(source, range(len(source)))
    sizes = np.array([(picture.shape[1], picture.shape[0]) for picture in pictures])
    parameters = np.concatenate(
        [
            sample(policy, seed, epoch, indices[row : row + 1], sizes[row : row + 1], size, components)
            for row, epoch in enumerate(epochs)
        ]
    )
    results = augment(pictures, parameters, size, fill_colour(preprocessing))
    if policy.mixes:
        results = _mixed(results, parameters)
    captions = [[name, *caption(row)] for name, row in zip(names, parameters, strict=True)]
    save_sheet(results, captions, out, columns=columns)
    return [{"picture": name, "parameters": described(row)} for name, row in zip(names, parameters, strict=True)]


def draw_operations(picture: str | Path, out: str | Path, *, size: int = 224, columns: int = 5) -> list[dict[str, Any]]:
    """Writes a PNG or JPEG that shows each operation on one picture."""
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
    captions = [[name, *caption(row)] for name, row in zip(OPERATIONS, parameters, strict=True)]
    save_sheet(results, captions, out, columns=columns)
    return [{"picture": name, "parameters": described(row)} for name, row in zip(OPERATIONS, parameters, strict=True)]


def _check_name(out: str | Path) -> None:
    if Path(out).suffix.lower() not in FORMATS:
        raise DataError(f"out is {str(out)!r}, expected a name that ends in {', '.join(FORMATS)}")


def _picture(content: bytes, name: str, policy: Policy, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """A file's picture before augmentation, as training loads it. Raises PictureError."""
    if policy.crops_source:
        return decode_reduced(content, name=name, mode="RGB", side=preprocessing.decode_side)
    return preprocessing.pixels(open_picture(content, name=name, min_side=preprocessing.decode_side))


def _of_source(source: Source, index: int, policy: Policy, preprocessing: Preprocessing) -> NDArray[np.uint8] | None:
    """The same for a picture of a data set; None if it cannot be read."""
    try:
        if source.arrays is None:
            return _picture(source.content(index), source.pictures[index].name, policy, preprocessing)
        opened = source.open(index)
    except PictureError:
        return None
    if policy.crops_source:
        return reduce_pixels(np.asarray(opened, np.uint8), preprocessing.decode_side)
    return preprocessing.pixels(opened)


def _spread(total: int, count: int) -> list[int]:
    return sorted({int(place) for place in np.linspace(0, total - 1, min(count, total))})


def _name(source: Source, index: int) -> str:
    return f"{source.classes[source.pictures[index].label]}: {source.pictures[index].name.rpartition('/')[2]}"


def _mixed(results: NDArray[np.uint8], parameters: NDArray[Any]) -> NDArray[np.uint8]:
    import torch

    from ..augmentation.mixing import mix, mixing_table

    images, _ = mix(torch.from_numpy(results).permute(0, 3, 1, 2).float(), mixing_table(parameters))
    return images.permute(0, 2, 3, 1).round().byte().numpy()


def caption(row: Any) -> list[str]:
    """One picture's parameters in short lines."""
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
    """A whole number with its sign; no sign for 0."""
    return f"{round(value):+d}" if round(value) else "0"


def save_sheet(results: NDArray[np.uint8], captions: Sequence[Sequence[str]], out: str | Path, *, columns: int) -> None:
    """Writes (N, S, S, 3) pictures with captions to a PNG or JPEG; the first line of each caption is bold."""
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
    sheet.save(content, FORMATS[Path(out).suffix.lower()], quality=88)
    path = Path(out).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    write_atomically(path, content.getvalue())
