"""The feature cache keeps vectors, and the maps of networks whose last layer is a convolution."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch

from casebook.data.datasets import load_data
from casebook.models import create_model
from casebook.preprocessing import Preprocessing
from casebook.progress import Advanced, Event
from casebook.training.features import Arithmetic, FeatureCache, FeatureExtractor, Views
from casebook.training.plan import make_prepare


def test_the_shape_is_kept(tmp_path):
    features = {"a": np.arange(5, dtype=np.float32), "b": np.random.default_rng(0).random((3, 2, 4), np.float32)}
    with contextlib.closing(FeatureCache({"version": 0}, tmp_path)) as cache:
        cache.put(1, features)
        found = cache.get(["a", "b", "c"], 1)
        assert found.keys() == features.keys()
        assert all(np.array_equal(found[key], value) for key, value in features.items())
        assert cache.get(["a"], 0) == {}


def test_features_are_those_of_the_network_which_stays_as_it_was(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where something goes wrong half-way."""
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path))
    torch.manual_seed(0)
    network = create_model("resnet20", num_classes=2)
    network(torch.randn(32, 3, 32, 32))  # running statistics of its own
    network.eval()
    before = list(network.modules())
    data, preprocessing = load_data(photo_folder), Preprocessing(size=32)
    prepare = make_prepare(preprocessing, torch.device("cpu"), True)

    def failing(event: Event) -> None:
        if isinstance(event, Advanced) and event.done:
            assert any(one is not other for one, other in zip(network.modules(), before, strict=True))
            raise RuntimeError("half-way")

    def extractor(report) -> FeatureExtractor:
        return FeatureExtractor(network, {}, preprocessing, prepare, Views(), Arithmetic(torch.device("cpu")), report)

    indices = data.split.train[:20]
    with pytest.raises(RuntimeError, match="half-way") as caught:
        extractor(failing)(data.source, indices, data.scan.contents)
    assert caught.tb is not None  # which keeps the frames alive
    assert all(one is other for one, other in zip(network.modules(), before, strict=True))
    found = extractor(lambda event: None)(data.source, indices, data.scan.contents)
    assert found.num_computed < len(indices)  # the first batch was kept
    with torch.no_grad():
        images = [preprocessing(data.source.open(i, **preprocessing.decode_options)) for i in indices]
        features = network.forward_features(torch.from_numpy(np.stack(images)))
        expected = network.head.features(features)
    np.testing.assert_allclose(found.values[:, 0], expected.numpy(), rtol=1e-4, atol=1e-5)
