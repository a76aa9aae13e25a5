"""Reads Keras weights from a model in memory or a .keras, .weights.h5 or .h5 file, by layer and name.

Files may come from a stranger. They are read only as HDF5 and JSON: no configuration is instantiated, nothing is
unpickled, and links to other files are refused.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import count, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import CasebookError, WeightsError

LARGEST_BYTES = 4 * 2**30  # four times the largest model of Keras Applications

# Keras numbers layers without a name through the whole session: conv2d, conv2d_1, ...
AUTOMATIC = re.compile(r"(conv2d|depthwise_conv2d|separable_conv2d|batch_normalization|dense|normalization)(?:_(\d+))?")
# Names of weights in the first release of Keras, which some files still use.
OLD_NAMES = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}
# The weights that Keras 3 stores as 0, 1, ..., by the kind of layer and their number.
CONVOLUTION = {1: ("kernel",), 2: ("kernel", "bias")}
NUMBERED = {
    "conv2d": CONVOLUTION,
    "depthwise_conv2d": CONVOLUTION,
    "dense": CONVOLUTION,
    "separable_conv2d": {
        2: ("depthwise_kernel", "pointwise_kernel"),
        3: ("depthwise_kernel", "pointwise_kernel", "bias"),
    },
    "batch_normalization": {
        3: ("beta", "moving_mean", "moving_variance"),  # no scale; Keras Applications always has the shift
        4: ("gamma", "beta", "moving_mean", "moving_variance"),
    },
    "normalization": {3: ("mean", "variance", "count")},
}


class KerasWeights(NamedTuple):
    """Values by "LAYER/WEIGHT"; automatic layer names count from 0, as in a fresh session.

    `epsilons` holds the epsilon of each batch norm, where the source states it.
    """

    source: str
    values: dict[str, np.ndarray]
    epsilons: dict[str, float]


def read_keras_weights(source: Any) -> KerasWeights:
    """The weights of a Keras model, or of a .keras, .weights.h5 or .h5 file.

    Raises:
        WeightsError: if the file is missing, damaged or of another kind.
        CasebookError: if reading the file needs h5py, which is missing.
    """
    if not isinstance(source, str | Path):
        if not hasattr(source, "layers"):
            raise WeightsError(f"{type(source).__name__} given, expected a Keras model or a .keras or .h5 file")
        return _of_model(source)
    path = Path(source).expanduser()
    if path.suffix.lower() not in (".keras", ".h5", ".hdf5"):
        raise WeightsError(f"{path}: expected a file that ends in .keras, .weights.h5 or .h5")
    try:
        import h5py
    except ImportError as error:
        raise CasebookError(f"{path}: reading this file needs h5py ({error}): pip install 'casebook[keras]'") from error
    try:
        if path.suffix.lower() != ".keras":
            with h5py.File(path, "r") as file:
                return _of_file(h5py, file, str(path))
        with zipfile.ZipFile(path) as archive:
            config, weights = _member(archive, "config.json", path), _member(archive, "model.weights.h5", path)
        with h5py.File(io.BytesIO(weights), "r") as file:
            return _of_file(h5py, file, str(path), config)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file; give the path of the weights, or a Keras model") from error
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: not a complete Keras file ({reason}); copy or download it again") from error


def _of_model(model: Any) -> KerasWeights:
    layers = list(walk_layers(model))
    names = fresh_names(layer.name for layer in layers)
    values, epsilons = {}, {}
    for layer in layers:
        for weight, value in zip(layer.weights, layer.get_weights(), strict=True):
            values[f"{names[layer.name]}/{weight_name(weight.name)}"] = np.asarray(value)
        if type(layer).__name__ == "BatchNormalization":
            epsilons[names[layer.name]] = float(layer.epsilon)
    return KerasWeights(f"the Keras model {model.name}", _today(values), epsilons)


def walk_layers(model: Any) -> Iterator[Any]:
    """The layers that have weights, including those of nested models."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from walk_layers(layer)
        elif layer.weights:
            yield layer


def fresh_names(names: Iterable[str]) -> dict[str, str]:
    """Each layer's name -> its name in a fresh session, where automatic names count from 0 in the same order."""
    fresh, numbered = {}, {}
    for name in names:
        if found := AUTOMATIC.fullmatch(name):
            numbered.setdefault(found[1], set()).add(int(found[2] or 0))
        fresh[name] = name
    for kind, numbers in numbered.items():
        for rank, number in enumerate(sorted(numbers)):
            fresh[f"{kind}_{number}" if number else kind] = f"{kind}_{rank}" if rank else kind
    return fresh


def weight_name(path: str) -> str:
    """The last part of a weight's name, in Keras 3's terms: "Conv1/kernel:0" -> "kernel"."""
    name = path.rpartition("/")[2].partition(":")[0]
    if found := re.fullmatch(r"(?:.*_)?(W|b|gamma|beta|running_mean|running_std)(?:_\d+)?", name):
        return OLD_NAMES.get(found[1], found[1])
    return name


def _today(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keras 3 calls a depthwise kernel just "kernel", unless the layer has a pointwise kernel too."""
    alone = {
        key: f"{layer}/kernel"
        for key in values
        if key.endswith("/depthwise_kernel") and f"{(layer := key.partition('/')[0])}/pointwise_kernel" not in values
    }
    return {alone.get(key, key): value for key, value in values.items()}


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    if archive.getinfo(name).file_size > LARGEST_BYTES:
        raise WeightsError(f"{path}: its {name} would unpack to more than {LARGEST_BYTES >> 30} GiB")
    return archive.read(name)


def _of_file(h5py: Any, file: Any, source: str, config: str | bytes = "") -> KerasWeights:
    root = _item(h5py, file, "model_weights") if "model_weights" in file else file
    config = config or file.attrs.get("model_config", "")
    if any(name.startswith("layer_names") for name in root.attrs):
        found = _of_old_format(h5py, root)
    else:
        found = _of_new_format(h5py, root, source, set())
    values, total = {}, 0
    for layer, name, dataset in found:
        total += dataset.nbytes
        if total > LARGEST_BYTES:
            raise WeightsError(f"{source}: more than {LARGEST_BYTES >> 30} GiB of weights")
        values[(layer, name)] = np.asarray(dataset)
    if not values:
        raise WeightsError(f"{source}: contains no layers; expected weights or a model saved by Keras")
    names = fresh_names(layer for layer, _ in values)
    epsilons: dict[str, float] = {}
    with suppress(ValueError):
        _collect_epsilons(json.loads(config or "{}"), epsilons)
    return KerasWeights(
        source,
        _today({f"{names[layer]}/{name}": value for (layer, name), value in values.items()}),
        {names[layer]: epsilon for layer, epsilon in epsilons.items() if layer in names},
    )


def _of_old_format(h5py: Any, root: Any) -> Iterator[tuple[str, str, Any]]:
    """Layer, weight and dataset in the format before Keras 3, where attributes list the names."""
    for layer in _texts(root.attrs, "layer_names"):
        group = _item(h5py, root, layer)
        paths = _texts(group.attrs, "weight_names")
        owners = {path.rpartition("/")[0] for path in paths}
        for path in paths:
            owner = path.rpartition("/")[0] if len(owners) > 1 else layer  # a nested model lists its own layers
            yield owner.rpartition("/")[2], weight_name(path), _item(h5py, group, path)


def _texts(attributes: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts; Keras splits a long one into name0, name1, ..."""
    numbered = takewhile(attributes.__contains__, (f"{name}{i}" for i in count()))
    chunks = [name] if name in attributes else numbered
    return [text.decode() if isinstance(text, bytes) else str(text) for chunk in chunks for text in attributes[chunk]]


def _of_new_format(h5py: Any, group: Any, source: str, seen: set[int]) -> Iterator[tuple[str, str, Any]]:
    """Layer, weight and dataset in Keras 3's format: layers/conv2d_3/vars/0, with the layer's name as an attribute."""
    for name in group:
        item = _item(h5py, group, name)
        address = h5py.h5o.get_info(item.id).addr
        if not isinstance(item, h5py.Group) or name == "optimizer" or address in seen:
            continue
        seen.add(address)  # a file may link a group into itself
        if name != "vars":
            yield from _of_new_format(h5py, item, source, seen)
            continue
        kind = re.sub(r"_\d+$", "", group.name.rpartition("/")[2])
        if not len(item) or kind not in NUMBERED:
            continue
        weights = NUMBERED[kind].get(len(item))
        if weights is None or "name" not in item.attrs:
            raise WeightsError(
                f"{source}: {group.name} has {len(item)} weights and "
                + ("no name" if weights else f"expected are {' or '.join(map(str, NUMBERED[kind]))}")
                + "; load the file into its Keras model and give that model instead"
            )
        for i, weight in enumerate(weights):
            yield str(item.attrs["name"]), weight, _item(h5py, item, str(i))


def _item(h5py: Any, group: Any, path: str) -> Any:
    """The item at `path`, which must be in this file itself."""
    for part in filter(None, path.split("/")):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{group.name}/{part} is missing, or a link to another place")
        group = group[part]
    if isinstance(group, h5py.Dataset) and (group.external or group.is_virtual):
        raise ValueError(f"{group.name} stores its values in another file")
    return group


def _collect_epsilons(config: Any, found: dict[str, float]) -> None:
    """Collects the epsilon of each batch norm from a model's configuration, including nested models."""
    if isinstance(config, list):
        for entry in config:
            _collect_epsilons(entry, found)
    elif isinstance(config, dict):
        settings = config.get("config")
        if config.get("class_name") == "BatchNormalization" and isinstance(settings, dict):
            found[str(settings.get("name"))] = float(settings.get("epsilon", 1e-3))
            return
        for entry in config.values():
            _collect_epsilons(entry, found)
