"""Features in one call: a network and pictures -> one vector a picture, computed once and kept on disk."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.datasets import PictureData, PictureDataset, scan_source
from ..data.loader import make_prepare
from ..data.pictures import Picture, Source
from ..device import choose_device, choose_precision, tune_allocator
from ..errors import DataError, ModelError, PictureError
from ..evaluation.classifier import Classifier, load
from ..models import model_card
from ..models.layers import Network
from ..preprocessing import Preprocessing
from ..progress import Reporter, reporting
from ..runner.reading import Pictures, named_pictures
from ..training.features import Arithmetic, FeatureExtractor, Views


class PictureFeatures(NamedTuple):
    """`values` (N, F) float32, or (N, C, H, W) of networks without global pooling, for the N pictures in `names`.

    `labels` (N,) are those of a data set, else None. `skipped` has the pictures that could not be read, with the
    reason.
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    labels: NDArray[np.int64] | None
    skipped: dict[str, str]
    num_computed: int
    """The others were in the cache."""


def features(
    model: str | Path | Classifier | Network,
    pictures: Pictures | PictureData | PictureDataset,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    progress: bool | Reporter = False,
) -> PictureFeatures:
    """What the last layer of a network sees of each picture: the vector before its classifier.

    `model` is a run folder, a name with `weights`, a classifier, or a network of `create_model`. `pictures` are files,
    folders and patterns, or a data set. Each picture is seen as evaluation sees it; what was computed before, with the
    same weights and the same content of the picture, comes from the cache.

    Raises ModelError for a module that is no network of ours, and DataError when no picture can be read.
    """
    tune_allocator()
    network, preprocessing = _network(model, weights, device)
    source, indices, labelled = _source(pictures)
    chosen = choose_device(device)
    network.to(chosen)
    dtype = choose_precision("auto", chosen, preprocessing.size)
    with reporting(progress) as report:
        extractor = FeatureExtractor(
            network,
            {"architecture": network.name, **network.options},
            preprocessing,
            make_prepare(preprocessing, chosen, True),
            Views(),
            Arithmetic(chosen, dtype),
            report,
        )
        found = extractor(source, indices, _contents(source, labelled))
    labels = np.array([source.pictures[int(i)].label for i in found.indices], np.int64) if labelled else None
    names = tuple(source.pictures[int(i)].name for i in found.indices)
    return PictureFeatures(found.values[:, 0], names, labels, found.skipped, found.num_computed)


def _network(model: Any, weights: str | Path | None, device: str) -> tuple[Network, Preprocessing]:
    if isinstance(model, Network):
        return model, getattr(model, "preprocessing", None) or model_card(model.name).preprocessing
    classifier = load(model, weights=weights, device=device)
    if not isinstance(classifier.model, Network):
        raise ModelError(
            f"{classifier.name} is a {type(classifier.model).__name__}, expected a network of create_model"
        )
    return classifier.model, classifier.preprocessing


def _source(pictures: Any) -> tuple[Source, tuple[int, ...], bool]:
    """The pictures as a source, which of them are wanted, and whether they have labels."""
    if isinstance(pictures, PictureData):
        split = pictures.split
        return pictures.source, tuple(sorted((*split.train, *split.val, *split.test))), True
    if isinstance(pictures, PictureDataset):
        return pictures.source, pictures.indices, True
    named = list(named_pictures(pictures))
    files = [picture for picture in named if picture.image is None and not picture.error]
    if not files:
        reason = next((f": {one.name}: {one.error}" for one in named if one.error), "")
        raise DataError(f"features need the files of pictures, a folder or a data set; none came{reason}")
    listed = tuple(Picture(str(Path(picture.name).resolve()), 0) for picture in files)
    return Source("pictures", Path("/"), ("",), listed), tuple(range(len(listed))), False


def _contents(source: Source, labelled: bool) -> list[str]:
    """The digest of each picture of the source, as the scan of a data set has it."""
    if labelled:
        return scan_source(source).contents
    found = []
    for index in range(len(source)):
        try:
            found.append(hashlib.sha256(source.content(index)).hexdigest())
        except PictureError:
            found.append(f"unreadable {index}")
    return found
