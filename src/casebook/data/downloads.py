"""Names of public data sets -> arrays of pictures and labels, from the official files.

Sources: CIFAR-10, https://www.cs.toronto.edu/~kriz/cifar.html (the binary version: the Python version is a
pickle, which could run code); MNIST, LeCun et al. 1998, from a mirror of the original files; Fashion-MNIST,
Xiao et al. 2017, https://github.com/zalandoresearch/fashion-mnist.
"""

import gzip
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..files import cache_folder
from ..remote import Progress, RemoteFile, fetch


class DataSet(NamedTuple):
    classes: tuple[str, ...]
    files: tuple[RemoteFile, ...]
    read: Callable[[dict[str, Path]], "Pictures"]


class Pictures(NamedTuple):
    """The training pictures first, then the official test set."""

    images: NDArray[np.uint8]  # (N, H, W) or (N, H, W, 3)
    labels: NDArray[np.int64]  # (N,)
    num_train: int


def load(name: str, *, progress: Progress | None = None) -> Pictures:
    """The data set `name` of DATA_SETS. The first call downloads it to the cache folder.

    Raises DownloadError without a network or for a wrong checksum, and DataError for a damaged file.
    """
    data_set = DATA_SETS[name]
    folder = cache_folder() / "data" / name
    paths = {file.name: fetch(file, folder, progress=progress) for file in data_set.files}
    try:
        pictures = data_set.read(paths)
    except (OSError, EOFError, KeyError, ValueError, struct.error, tarfile.TarError) as error:
        raise DataError(f"{name}: the files in {folder} cannot be read ({error}); delete them and try again") from error
    if int(pictures.labels.max(initial=-1)) >= len(data_set.classes):
        raise DataError(
            f"{name}: the files hold the label {pictures.labels.max()}, but there are {len(data_set.classes)} classes"
        )
    return pictures


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in a gzipped IDX file of unsigned bytes, the format of MNIST. Raises ValueError."""
    with gzip.open(path) as file:
        content = file.read()
    zeros, kind, dimensions = struct.unpack_from(">HBB", content)
    if zeros or kind != 8:
        raise ValueError(f"{path.name} is not an IDX file of unsigned bytes")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _read_mnist(paths: dict[str, Path]) -> Pictures:
    train, train_labels, test, test_labels = (read_idx(paths[name]) for name, _ in MNIST_FILES)
    if len(train) != len(train_labels) or len(test) != len(test_labels):
        raise ValueError("not as many labels as pictures")
    labels = np.concatenate([train_labels, test_labels]).astype(np.int64)
    return Pictures(np.concatenate([train, test]), labels, len(train))


def _read_cifar10(paths: dict[str, Path]) -> Pictures:
    """Records of one label byte and 3 x 32 x 32 pixel bytes, read from the archive without unpacking it."""
    members = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    with tarfile.open(paths[CIFAR10_FILE.name]) as archive:
        batches = []
        for member in members:
            file = archive.extractfile(f"cifar-10-batches-bin/{member}.bin")
            if file is None:
                raise ValueError(f"{member} is not a file")
            batches.append(np.frombuffer(file.read(), np.uint8).reshape(-1, 1 + 3 * 32 * 32))
    records = np.concatenate(batches)
    images = np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Pictures(images, records[:, 0].astype(np.int64), len(records) - len(batches[-1]))


CIFAR10_FILE = RemoteFile(
    "cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
MNIST_FILES = (  # name, checksum of MNIST's file
    ("train-images-idx3-ubyte.gz", "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1-ubyte.gz", "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3-ubyte.gz", "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1-ubyte.gz", "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
FASHION_MNIST_CHECKSUMS = (  # as its authors publish them
    "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "md5:25c81989df183df01b3e8a0aad5dffbe",
    "md5:bef4ecab320f06d8554ea6380940ec79",
    "md5:bb300cfdad3c16e7a12a480ee83cd310",
)
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
FASHION_MNIST_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"

DATA_SETS = {
    "cifar10": DataSet(
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        (CIFAR10_FILE,),
        _read_cifar10,
    ),
    "mnist": DataSet(
        tuple("0123456789"),
        tuple(RemoteFile(name, f"{MNIST_URL}/{name}", checksum) for name, checksum in MNIST_FILES),
        _read_mnist,
    ),
    "fashion_mnist": DataSet(
        (
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        tuple(
            RemoteFile(name, f"{FASHION_MNIST_URL}/{name}", checksum)
            for (name, _), checksum in zip(MNIST_FILES, FASHION_MNIST_CHECKSUMS, strict=True)
        ),
        _read_mnist,
    ),
}  # fmt: skip
