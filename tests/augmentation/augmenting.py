"""Pictures and parameters for the tests of augmentation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from casebook.augmentation.sampling import identity

FILL = np.array([124, 116, 104], np.uint8)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def ramp(height: int, width: int, channels: int = 3) -> NDArray[np.float64]:
    """Levels that rise linearly, so that a picture read between its pixels is known exactly."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([20 + 0.7 * x + 0.4 * y + 5 * channel for channel in range(channels)], 2)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    waves = [127 + 100 * np.sin(x / 17 + channel) * np.cos(y / 23 + channel) for channel in range(3)]
    return np.rint(np.stack(waves, 2)).astype(np.uint8)


def parameters(width: int, height: int, **changes: Any) -> NDArray[Any]:
    """(1,) PARAMETERS for a whole picture of this size, with some changes."""
    record = identity(1)
    record["window"] = (0, 0, width, height)
    for name, value in changes.items():
        record[name] = value
    return record
