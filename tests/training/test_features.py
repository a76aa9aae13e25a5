"""The feature cache keeps vectors, and the maps of networks whose last layer is a convolution."""

import contextlib

import numpy as np

from casebook.training.features import FeatureCache


def test_the_shape_is_kept(tmp_path):
    features = {"a": np.arange(5, dtype=np.float32), "b": np.random.default_rng(0).random((3, 2, 4), np.float32)}
    with contextlib.closing(FeatureCache({"version": 0}, tmp_path)) as cache:
        cache.put(1, features)
        found = cache.get(["a", "b", "c"], 1)
        assert found.keys() == features.keys()
        assert all(np.array_equal(found[key], value) for key, value in features.items())
        assert cache.get(["a"], 0) == {}
