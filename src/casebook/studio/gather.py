"""New pictures of a project: checked like those of a training, written under the name of their content."""

import hashlib
import io
import re
from pathlib import Path

from PIL import Image

from ..data.decode import open_picture
from ..errors import DataError
from ..files import write_atomically
from .labels import check_label
from .pictures import ProjectPictures

BURST = re.compile(r"[a-z0-9]{8,32}")
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}


def gather(pictures: ProjectPictures, content: bytes, label: str, burst: str, name: str) -> dict[str, object]:
    """Writes one picture into its class's folder; a burst is a group, which the split never divides. "" is no burst.

    Raises DataError and PictureError; nothing is written then.
    """
    source = pictures.source
    if pictures.project.kind != "folder" or source.root is None:
        raise DataError("pictures are gathered into a folder; open one, or make a new one on the home page")
    if any(picture.split for picture in source.pictures):
        raise DataError("this data set has a split of its own; gather pictures in a new folder")
    if burst and not BURST.fullmatch(burst):
        raise DataError("the burst's id is 8 to 32 letters and digits")
    folder = source.root / _folder_name(check_label(label))
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise DataError(f"{folder.name!r} is no folder; choose another name for the class")
    shown = name[:200] or "the picture"
    open_picture(content, name=shown)
    with Image.open(io.BytesIO(content)) as image:
        suffix = SUFFIXES.get(image.format or "")
    if suffix is None:
        raise DataError(f"{shown}: pictures come as JPEG, PNG, WebP, GIF, BMP or TIFF; save it as one of them")
    target = folder / f"{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
    relative = target.relative_to(source.root).as_posix()
    if target.exists() or any(folder.glob(f"{target.stem}.*")):
        return {"name": relative, "known": True}
    write_atomically(target, content)
    if burst:
        pictures.add_gathered(relative, burst)
    return {"name": relative, "known": False}


def _folder_name(label: str) -> str:
    if label.startswith(".") or re.search(r'[\\/:*?"<>|]', label) or label != Path(label).name:
        raise DataError(f'{label!r} cannot be a folder; leave out a leading dot and the characters \\ / : * ? " < > |')
    return label
