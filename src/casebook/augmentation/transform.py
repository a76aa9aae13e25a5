"""`Augment`: a policy as a callable transform for single pictures, for any DataLoader."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import DataError
from ..preprocessing import Preprocessing
from .augment import augment, fill_colour, reduce_pixels
from .policy import Policy, named_policy
from .sampling import described, sample
from .threads import one_opencv_thread


class Augment:
    """A transform that augments a picture as training does and normalises it for a network.

    Each call gives another result. The random numbers come from torch's default generator, which a DataLoader seeds
    differently in each worker: `torch.manual_seed` makes a loop repeat exactly. `seed` selects another sequence.
    Mixup and CutMix need a whole batch, so a policy's are left out.

    Example:
        >>> from PIL import Image
        >>> import casebook, torch
        >>> augment = casebook.Augment("light", casebook.Preprocessing(size=96))
        >>> picture = Image.new("RGB", (320, 240), "orange")
        >>> augment(picture).shape
        torch.Size([3, 96, 96])
        >>> sorted(augment.parameters(picture))[:3]
        ['angle', 'brightness', 'contrast']

    `casebook.augmentation.POLICIES` lists the policies. Raises RecipeError for an unknown one.
    """

    def __init__(self, policy: str | Policy, preprocessing: Preprocessing, seed: int = 0):
        self.policy = named_policy(policy) if isinstance(policy, str) else policy
        self.preprocessing, self.seed = preprocessing, seed

    def __call__(self, picture: Image.Image | NDArray[np.uint8]) -> Tensor:
        """(C, size, size) float32, normalised, from a picture or an (H, W) or (H, W, C) uint8 array of any size."""
        preprocessing = self.preprocessing
        with one_opencv_thread():
            pixels = self._pixels(picture)
            parameters = self._sample(pixels)
            augmented = augment([pixels], parameters, preprocessing.size, fill_colour(preprocessing))
        return preprocessing.normalise_tensor(torch.from_numpy(augmented))[0].contiguous()

    def parameters(self, picture: Image.Image | NDArray[np.uint8]) -> dict[str, Any]:
        """What a call might do to the picture: the window that is cut out, and every value that changes something."""
        with one_opencv_thread():
            return described(self._sample(self._pixels(picture))[0])

    def _pixels(self, picture: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, C): what crops are cut from, or for other policies what evaluation sees."""
        preprocessing = self.preprocessing
        image = picture if isinstance(picture, Image.Image) else _image(picture)
        if not self.policy.crops_source:
            return preprocessing.pixels(image)
        image = image if image.mode == preprocessing.mode else image.convert(preprocessing.mode)
        return reduce_pixels(np.asarray(image, np.uint8), preprocessing.decode_side)

    def _sample(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        key = torch.randint(0, 1 << 62, (1,)).numpy()
        size = np.array([[pixels.shape[1], pixels.shape[0]]])
        return sample(
            self.policy, self.seed, 0, key, size, self.preprocessing.size, resize=self.preprocessing.resize
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"Augment({self.policy}, {self.preprocessing}, seed={self.seed})"


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    shape = np.shape(pixels)
    if np.asarray(pixels).dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))):
        kind = f"{type(pixels).__name__} of {getattr(pixels, 'dtype', '')} {shape}"
        raise DataError(f"expected a PIL picture or a uint8 array (H, W), (H, W, 1) or (H, W, 3), got {kind}")
    return Image.fromarray(pixels[:, :, 0] if len(shape) == 3 and shape[2] == 1 else pixels)
