"""The pictures of a source -> their principal colours."""

import contextlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..augmentation.colour import Components, principal_colours
from ..errors import DataError, PictureError
from .pictures import Source

COLOUR_SAMPLE = 1000  # pictures to read at most
COLOUR_SIDE = 64  # pixels; each picture is resized to a square of this side


def source_colours(
    source: Source, indices: Sequence[int], value_range: tuple[float, float] | None = None
) -> Components:
    """The principal colours of up to COLOUR_SAMPLE of these pictures, spread evenly and with equal weight.

    Raises DataError if none of them can be read.
    """
    step = max(1, -(-len(indices) // COLOUR_SAMPLE))
    samples = []
    for index in indices[::step]:
        with contextlib.suppress(PictureError):
            picture = source.open(index, min_side=COLOUR_SIDE, value_range=value_range)
            samples.append(np.asarray(picture.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.NEAREST)))
    if not samples:
        raise DataError(f"{source.name}: no picture could be read, so there are no principal colours")
    return principal_colours(samples)
