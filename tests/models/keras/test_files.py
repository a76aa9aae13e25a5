"""Files of Keras, also old, broken and hostile ones, made by hand with h5py."""

import json
import zipfile

import numpy as np
import pytest

from casebook.errors import WeightsError
from casebook.models.keras import files as keras_files
from casebook.models.keras.files import read_keras_weights

pytestmark = pytest.mark.peers


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


KERNEL, BIAS = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4), np.ones(4, np.float32)


def test_the_first_format(h5py, tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"input", b"block1_conv1"], [b"conv2d_4"]
        file.create_group("input").attrs["weight_names"] = np.array([], "S1")
        for layer in ("block1_conv1", "conv2d_4"):
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}_W_1:0".encode(), f"{layer}_b_1:0".encode()]
            group[f"{layer}_W_1:0"], group[f"{layer}_b_1:0"] = KERNEL, BIAS
    found = read_keras_weights(tmp_path / "old.h5")
    assert sorted(found.values) == ["block1_conv1/bias", "block1_conv1/kernel", "conv2d/bias", "conv2d/kernel"]
    assert np.array_equal(found.values["conv2d/kernel"], KERNEL)


def test_a_whole_model_in_the_old_format(h5py, tmp_path):
    """Its configuration tells the epsilon, and a model within it lists its layers' weights."""
    norm = {"class_name": "BatchNormalization", "config": {"name": "bn", "epsilon": 0.5}}
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"config": {"layers": [{"config": {"layers": [norm]}}]}})
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [b"vgg"]
        group = root.create_group("vgg")
        group.attrs["weight_names"] = [b"dw/depthwise_kernel:0", b"bn/gamma:0"]
        group["dw/depthwise_kernel:0"], group["bn/gamma:0"] = KERNEL, BIAS
    found = read_keras_weights(tmp_path / "model.h5")
    assert sorted(found.values) == ["bn/gamma", "dw/kernel"]
    assert found.epsilons == {"bn": 0.5}


def new_format(h5py, path, name: str | None = "conv_a", num_weights: int = 2) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/conv2d_3/vars")
        if name:
            group.attrs["name"] = name
        for i in range(num_weights):
            group[str(i)] = (KERNEL, BIAS, BIAS)[i]
        file["layers/loop"] = file["layers"]  # a hard link into itself


def test_todays_format(h5py, tmp_path):
    new_format(h5py, tmp_path / "a.weights.h5")
    assert sorted(read_keras_weights(tmp_path / "a.weights.h5").values) == ["conv_a/bias", "conv_a/kernel"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": None}, "has 2 weights and no name; load the file into"),
        ({"num_weights": 3}, "has 3 weights and .* 1 or 2"),
    ],
)
def test_todays_format_with_too_little_in_it(settings, message, h5py, tmp_path):
    new_format(h5py, tmp_path / "a.weights.h5", **settings)
    with pytest.raises(WeightsError, match=message):
        read_keras_weights(tmp_path / "a.weights.h5")


def test_a_keras_file_with_more_than_it_should(h5py, tmp_path, monkeypatch):
    new_format(h5py, tmp_path / "model.weights.h5")
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Lambda", "config": {"function": "never run"}}))
        archive.write(tmp_path / "model.weights.h5", "model.weights.h5")
    assert sorted(read_keras_weights(tmp_path / "a.keras").values) == ["conv_a/bias", "conv_a/kernel"]
    monkeypatch.setattr(keras_files, "LARGEST_BYTES", 60)
    with pytest.raises(WeightsError, match=r"its config\.json would unpack to more"):
        read_keras_weights(tmp_path / "a.keras")
    with pytest.raises(WeightsError, match=r"more than .* of weights"):
        read_keras_weights(tmp_path / "model.weights.h5")


def test_values_in_other_files_are_not_fetched(h5py, tmp_path):
    new_format(h5py, tmp_path / "secret.h5")
    for number, link in enumerate([h5py.ExternalLink("secret.h5", "/layers"), h5py.SoftLink("/elsewhere")]):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file["layers"] = link
        with pytest.raises(WeightsError, match="layers is missing, or a link to another place"):
            read_keras_weights(path)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "dense"
        group.create_dataset("0", (4,), "f4", external=[(str(tmp_path / "secret.h5"), 0, 16)])
    with pytest.raises(WeightsError, match="stores its values in another file"):
        read_keras_weights(tmp_path / "external.h5")


@pytest.mark.parametrize("name", ["a.h5", "a.keras", "a.weights.h5"])
def test_files_that_are_none(name, h5py, tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        read_keras_weights(tmp_path / name)
    (tmp_path / name).write_bytes(b"neither HDF5 nor a zip archive")
    with pytest.raises(WeightsError, match="not a complete Keras file"):
        read_keras_weights(tmp_path / name)


def test_files_without_layers(h5py, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["else"] = KERNEL
    with pytest.raises(WeightsError, match="contains no layers"):
        read_keras_weights(tmp_path / "a.h5")
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(WeightsError, match=r"not a complete Keras file .*model.weights.h5"):
        read_keras_weights(tmp_path / "a.keras")
