"""Keras on PyTorch, if it is there, with a home of its own."""

import os

import pytest


@pytest.fixture(scope="session")
def keras(tmp_path_factory):
    """It reads its settings when it is first imported, and would write some into the user's home."""
    os.environ.setdefault("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
    os.environ["KERAS_BACKEND"] = "torch"
    return pytest.importorskip("keras")
