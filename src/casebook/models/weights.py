"""Weights: give a file, a run folder or a published name, and get checked values under our names.

The key maps of `layouts/` translate the names of other libraries. We write safetensors files with a checksum over
everything in them, because nothing else would notice a flipped bit in a weight.

The metadata of a safetensors file says what its weights need: `architecture`; `layout` ("casebook", "torchvision",
"timm"); `padding` (anything with "SAME", or "symmetric"); `input` ("224x224 RGB, x/127.5-1"); `dataset`; and, as JSON,
`options` for `create_model`, `preprocessing` and `classes`.
"""

import argparse
import dataclasses
import hashlib
import json
import logging
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..errors import DownloadError, ModelError, WeightsError, did_you_mean
from ..files import cache_folder, offline, write_atomically
from ..preprocessing import Preprocessing
from ..remote import CONNECT_SECONDS, RemoteFile, fetch, reason_of
from . import create_model, list_models, model_card
from .card import PublishedWeights
from .checkpoints import find_state, strip_wrappers
from .foreign_names import TIMM, is_foreign
from .imagenet import NUM_CLASSES, imagenet_class_names
from .layers import Network
from .layouts import count_matches, detect_layout, from_layout, peers, to_layout

__all__ = ["Weights", "load_into", "read_weights", "resolve", "save_weights", "to_layout"]

CHECKSUM = "payload_sha256"
SAFETENSORS, PICKLES = (".safetensors",), (".pt", ".pth", ".bin", ".ckpt", ".tar")  # also .pth.tar
EMA = ":ema"  # behind a checkpoint's name: its averaged weights
PACKAGED = "packaged"  # the folder of the weights that come with Casebook
HEAD = "head.classifier."
LAST = re.compile(r"(head|auxiliary\.[^.]+)\.classifier\.")  # the last layers, which go with the classes
NEW_LAST_LAYER = "is new and untrained"
NEW_AUXILIARY_HEADS = "the auxiliary heads are new and untrained"

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Weights:
    """Values for one network, and what is known about them.

    `state` has our names. `options` is what `create_model` needs for them besides the number of classes;
    `preprocessing` and `classes` are None when unknown. With `folded_norms` every batch norm has mean 0 and variance 1:
    its statistics do not describe the data, and fine-tuning must keep them frozen.
    """

    state: dict[str, Tensor]
    source: str
    sha256: str
    num_classes: int
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] | None = None
    folded_norms: bool = False
    notes: tuple[str, ...] = ()


def resolve(spec: str | Path, name: str) -> Weights:
    """The weights that `spec` means for the network `name`.

    `spec` is a .safetensors or PyTorch file, a run folder, or a published name: one on the network's card, its
    repository on the Hugging Face hub, or "imagenet" for the first. Checkpoints of Lightning and of training scripts
    load, too; ":ema" behind the name chooses the averaged weights. Published weights come through the hub's cache or
    ours; HF_HUB_OFFLINE=1 or CASEBOOK_OFFLINE=1 forbids the network. A downloaded file that keeps its published name is
    recognised by it and verified.

    Raises:
        WeightsError: for weights that are missing, damaged, not finite, or made for another network.
    """
    if is_foreign(name):
        return _foreign(spec, name)
    card, path = model_card(name), Path(spec).expanduser()
    for published in card.weights:  # before a folder of that name, which may well hold the pictures
        if published.packaged and spec == published.name:
            return _from_package(published, name)
    if path.is_dir():
        return _from_run(path, name)
    if path.is_file():
        return _from_file(path, name)
    if path.name.endswith(EMA) and (plain := path.with_name(path.name.removesuffix(EMA))).is_file():
        return _from_file(plain, name, averaged=True)
    if path.suffix.lower() in SAFETENSORS + PICKLES or isinstance(spec, Path):
        raise WeightsError(f"{path}: no such file; give the weights' path, a run folder or a published name")
    for published in card.weights:
        if spec in (published.name, published.repository):
            return _from_address(published, name) if published.address else _from_hub(published, name)
    of_imagenet = [published.name for published in card.weights if not published.packaged]
    if spec == "imagenet" and of_imagenet:
        return resolve(of_imagenet[0], name)
    names = ["imagenet"] * bool(of_imagenet) + [published.name for published in card.weights]
    raise WeightsError(
        f"unknown weights '{spec}' for {name}{did_you_mean(str(spec), names) or ';'} expected a file, a run folder "
        + (f"or one of {', '.join(names)}" if names else "(no published weights are known)")
    )


def _foreign(spec: str | Path, name: str) -> Weights:
    """Weights of a network from elsewhere: a run folder, a file with its own names or ours, or "timm" for its hub."""
    from .foreign import hub_state, renamed

    path, record = Path(spec).expanduser(), {}
    if path.is_dir():
        try:
            record = json.loads((path / "model.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(f"{path}: no run folder: model.json cannot be read ({error})") from error
        if record.get("architecture") != name:
            raise WeightsError(f"{path}: weights of {record.get('architecture')}, expected weights of {name}")
        state, _ = read_weights(path / "model.safetensors")
        sha256 = _sha256(path / "model.safetensors")
    elif path.is_file():
        state = _read_pickle(path) if path.suffix.lower() in PICKLES else read_weights(path)[0]
        sha256 = _sha256(path)
    elif spec in ("timm", "imagenet") and name.startswith(TIMM):
        state, sha256 = hub_state(name), ""
    else:
        expected = "a file, a run folder" + (' or "timm" for those of the hub' if name.startswith(TIMM) else "")
        raise WeightsError(f"unknown weights {str(spec)!r} for {name}; expected {expected}")
    state = dict(renamed(name, state))
    last = state.get(f"{HEAD}weight")
    if last is None:
        raise WeightsError(f"{spec}: has no last layer of {name}, so its number of classes is unknown")
    options = {key: value for key, value in record.get("options", {}).items() if key != "num_classes"}
    told = record.get("preprocessing")
    return Weights(
        state, str(spec), sha256, len(last), options, Preprocessing.from_dict(told) if told else None,
        tuple(record["classes"]) if "classes" in record else None,
    )  # fmt: skip


def load_into(network: Network, weights: Weights, *, replace_head: bool = False) -> list[str]:
    """Copies the weights into the network and gives notes on what was not copied.

    Every weight of the network must be there, except that auxiliary heads may be missing and that with `replace_head`
    the last layer stays as it is. The network takes the preprocessing of the weights and, unless its last layer stays,
    their classes.

    Raises:
        WeightsError: with missing and unexpected names and differing shapes; the network is unchanged.
    """
    notes = list(weights.notes)
    expected = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {k: v for k, v in weights.state.items() if k in expected or not k.endswith("num_batches_tracked")}
    if replace_head:
        expected = {k: v for k, v in expected.items() if not LAST.match(k)}
        given = {k: v for k, v in given.items() if not LAST.match(k)}
        notes.append(f"the last layer ({weights.num_classes} classes in the weights) {NEW_LAST_LAYER}")
    if new := [key for key in expected if key.startswith("auxiliary.") and key not in given]:
        expected = {k: v for k, v in expected.items() if k not in new}
        notes.append(NEW_AUXILIARY_HEADS)
    missing, unexpected = expected.keys() - given.keys(), given.keys() - expected.keys()
    reshaped = {key for key in expected.keys() & given.keys() if given[key].shape != expected[key].shape}
    if differing := missing | unexpected | reshaped:
        shapes = (f"{key} {(*given[key].shape,)} instead of {(*expected[key].shape,)}" for key in reshaped)
        listed = _listed("missing", missing) + _listed("unexpected", unexpected) + _listed("reshaped", shapes)
        if all(key.startswith(HEAD) for key in differing):
            advice = "they have other classes: give the same number, or ask for a new last layer"
        else:
            advice = "they were made for another network or with other options"
        raise WeightsError(f"{weights.source}: weights do not fit: {listed}{advice}")
    network.load_state_dict(given, strict=False)
    network.preprocessing = weights.preprocessing or network.preprocessing
    network.classes = None if replace_head else weights.classes
    return notes


def save_weights(path: str | Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file that proves itself: its metadata has a SHA-256 over the rest of the file.

    The file appears whole or not at all. The tensors may be on any device, in any memory format.

    Raises:
        RunError: when the file cannot be written; a file that was there before is then untouched.
    """
    state = {key: _plain(tensor) for key, tensor in state.items()}
    proved = dict(metadata) | {CHECKSUM: _checksum(state, metadata)}
    write_atomically(Path(path), safetensors.torch.save(state, proved))


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, on the CPU, and the metadata of a safetensors file; verifies its checksum if it has one.

    Raises:
        WeightsError: for a file that is missing, empty, damaged, of another kind, or with values that are not finite.
    """
    path = Path(path)
    try:
        if not path.stat().st_size:
            raise WeightsError(f"{path}: the file is empty (0 bytes); copy or download it again")
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path}: no whole safetensors file ({error}); copy or download it again") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    if (checksum := metadata.pop(CHECKSUM, None)) and checksum != _checksum(state, metadata):
        raise WeightsError(f"{path}: damaged: its checksum does not fit its weights; copy or download it again")
    _check_finite(state, path)
    return state, metadata


def _check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Raises WeightsError for a weight that is not a number or infinite: every answer would be meaningless."""
    for key, value in state.items():
        if value.is_floating_point() and (
            broken := int((~torch.isfinite(value if value.itemsize > 1 else value.float())).sum())
        ):
            raise WeightsError(
                f"{path}: {broken:,} of the {value.numel():,} values of the weight '{key}' are not finite (NaN or "
                "infinity), so the network cannot be used; take an earlier checkpoint, or copy or download it again"
            )


def _from_file(path: Path, name: str, averaged: bool = False) -> Weights:
    for published in model_card(name).weights:
        if published.address and path.name == published.file:  # fetched by hand
            return _published(path, published, name, str(path))
    if path.suffix.lower() in PICKLES:
        state, metadata = _read_pickle(path, averaged), {}
    elif path.suffix.lower() in SAFETENSORS and averaged:
        raise WeightsError(f"{path}: a safetensors file holds one set of weights; leave out ':ema'")
    elif path.suffix.lower() in SAFETENSORS:
        state, metadata = read_weights(path)
    else:
        raise WeightsError(f"{path}: weights end in '{path.suffix}', expected {', '.join(SAFETENSORS + PICKLES)}")
    return _assemble(state, metadata, name, source=str(path), sha256=_sha256(path))


def _from_run(folder: Path, name: str) -> Weights:
    record_path, weights_path = folder / "model.json", folder / "model.safetensors"
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        told = {"architecture": record["architecture"]}
        told |= {key: json.dumps(record[key]) for key in ("options", "preprocessing", "classes") if key in record}
    except OSError as error:
        raise WeightsError(f"{folder}: no run folder: {record_path.name} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{record_path}: not a run's description ({error})") from error
    state, metadata = read_weights(weights_path)
    return _assemble(state, metadata | told, name, source=str(folder), sha256=_sha256(weights_path))


def _from_hub(published: PublishedWeights, name: str) -> Weights:
    source = f"{published.repository}/{published.file}"
    try:
        path = _cached(published) or _download(published)
    except Exception as error:  # the hub's releases raise those of changing network libraries
        revision = f"--revision {published.revision} " if published.revision else ""
        raise WeightsError(
            f"{source} is not in the Hugging Face cache and cannot be fetched ({reason_of(error)}); download "
            f"{published.url} where there is a network and give that file instead of '{published.name}', or "
            f"fill the cache ($HF_HOME/hub, else ~/.cache/huggingface/hub) with "
            f"'hf download {revision}{published.repository} {published.file}'"
        ) from error
    return _published(path, published, name, source)


def _cached(published: PublishedWeights) -> Path | None:
    """The file in the hub's cache, of the pinned revision or else of the newest one that is there."""
    from huggingface_hub import try_to_load_from_cache

    for revision in (published.revision, None) if published.revision else (None,):
        found = try_to_load_from_cache(published.repository, published.file, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def _download(published: PublishedWeights) -> Path:
    """The file from the hub. Asks once first: without a network the hub would retry for half a minute."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    if offline():
        raise DownloadError("offline mode")
    revision = published.revision or None
    get_hf_file_metadata(hf_hub_url(published.repository, published.file, revision=revision), timeout=CONNECT_SECONDS)
    return Path(hf_hub_download(published.repository, published.file, revision=revision))


def _from_address(published: PublishedWeights, name: str) -> Weights:
    file = RemoteFile(published.file, published.url, f"sha256:{published.sha256}")
    try:
        path = fetch(file, cache_folder() / "weights")
    except DownloadError as error:
        raise WeightsError(f"{published.name}: {error}") from error
    return _published(path, published, name, published.url)


def _from_package(published: PublishedWeights, name: str) -> Weights:
    """Weights that ship with Casebook, in half precision; their metadata has all that is needed."""
    with as_file(files("casebook.models").joinpath(PACKAGED, published.file)) as path:
        state, metadata = read_weights(path)
        sha256 = _sha256(path)
    if sha256 != published.sha256:
        raise WeightsError(
            f"{published.file}: SHA-256 is {sha256}, expected {published.sha256}; install Casebook again"
        )
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return _assemble(state, metadata, name, source=f"Casebook's own {published.name}", sha256=sha256)


def _published(path: Path, published: PublishedWeights, name: str, source: str) -> Weights:
    """The published weights in the file `path`, verified, with what the card knows about them."""
    sha256 = _sha256(path)
    if published.sha256 and not sha256.startswith(published.sha256):
        raise WeightsError(f"{path}: damaged or changed: SHA-256 is {sha256}, expected {published.sha256}")
    if not published.proved:
        logger.warning("%s: not proved: no checksum or revision of %s is known", source, published.name)
    state, metadata = (_read_pickle(path), {}) if path.suffix in PICKLES else read_weights(path)
    told = {"architecture": name, "layout": published.layout, "options": json.dumps(dict(published.options))}
    told |= {"dataset": "ImageNet-1k"}  # all weights on the cards but the packaged ones
    told |= {key: value for key, value in metadata.items() if key == CHECKSUM}
    weights = _assemble(state, told, name, source=source, sha256=sha256)
    return dataclasses.replace(weights, preprocessing=published.preprocessing)


def _assemble(state: dict[str, Tensor], metadata: Mapping[str, str], name: str, *, source: str, sha256: str) -> Weights:
    """Weights under our names, with what the metadata says turned into options and preprocessing."""
    architecture = metadata.get("architecture", name)
    if architecture != name:
        advice = f"; use {architecture}" if architecture in list_models() else ""
        raise WeightsError(f"{source}: weights of {architecture}, expected weights of {name}{advice}")
    try:
        options: dict[str, Any] = json.loads(metadata.get("options", "{}"))
        options = {**options, **_padding_option(metadata)}
        preprocessing, notes = _preprocessing(metadata)
        options.pop("num_classes", None)
        with torch.device("meta"):
            keys = create_model(name, **options).state_dict().keys()
    except (ValueError, TypeError, ModelError, WeightsError) as error:
        raise WeightsError(f"{source}: its description cannot be used: {error}") from error

    def count_known(names: Iterable[str]) -> int:
        return max(count_matches(names, name, keys).values())

    state, prefix = strip_wrappers(state, count_known)
    if prefix:
        notes = (*notes, f"the weights are those below '{prefix}'")
    try:
        layout = metadata.get("layout") or detect_layout(state, name, keys)
        assumed = {key: value for key, value in _peer_options(name, layout).items() if key not in options}
        options = {**assumed, **options}
        if assumed and "layout" not in metadata:
            told = ", ".join(f"{key}={value!r}" for key, value in assumed.items())
            notes = (*notes, f"taken for weights of {layout}'s {peers(name)[layout].name}, which need {told}")
        state = from_layout(state, name, layout, keys)
    except WeightsError as error:
        raise WeightsError(f"{source}: {error}") from error
    last = next((value for key, value in state.items() if key.startswith(HEAD)), None)
    if last is None:
        raise WeightsError(f"{source}: no last layer in the weights, expected {HEAD}weight in the layout {layout}")
    return Weights(
        state=state,
        source=source,
        sha256=sha256,
        num_classes=len(last),
        options=options,
        preprocessing=preprocessing,
        classes=_classes(metadata, len(last)),
        folded_norms=_are_norms_folded(state),
        notes=notes,
    )


def _peer_options(name: str, layout: str) -> dict[str, Any]:
    """The options that make our network compute the same as that of the library with this layout."""
    return dict(peers(name)[layout].options) if layout in peers(name) else {}


def _padding_option(metadata: Mapping[str, str]) -> dict[str, str]:
    padding = metadata.get("padding", "")
    if re.search(r"\bsame\b", padding, re.IGNORECASE):
        return {"padding": "same"}
    if padding and padding != "symmetric":
        raise WeightsError(f"padding is '{padding}', expected 'same' or 'symmetric'")
    return {"padding": padding} if padding else {}


def _preprocessing(metadata: Mapping[str, str]) -> tuple[Preprocessing | None, tuple[str, ...]]:
    if "preprocessing" in metadata:
        return Preprocessing.from_dict(json.loads(metadata["preprocessing"])), ()
    if "input" not in metadata:
        return None, ()
    if found := re.fullmatch(r"(\d+)x\1 (RGB|L), x/127\.5-1", metadata["input"]):
        half = (0.5,) * (3 if found[2] == "RGB" else 1)
        return Preprocessing(size=int(found[1]), mean=half, std=half, mode=found[2]), ()  # pyright: ignore[reportArgumentType]
    return None, (f"the weights' input is '{metadata['input']}', which is not understood and not used",)


def _classes(metadata: Mapping[str, str], num_classes: int) -> tuple[str, ...] | None:
    """The class names in the metadata: a JSON list, or ImageNet's if it is named and there are 1,000 outputs."""
    text = metadata.get("classes", "null")
    try:
        classes = json.loads(text)
    except ValueError:  # a sentence about the classes, not a list of them
        classes = None
    if isinstance(classes, list):
        return tuple(map(str, classes))
    named = "imagenet" in (text + metadata.get("dataset", "")).lower()
    return imagenet_class_names() if named and num_classes == NUM_CLASSES else None


def _are_norms_folded(state: Mapping[str, Tensor]) -> bool:
    means = [value for key, value in state.items() if key.endswith("running_mean")]
    variances = [value for key, value in state.items() if key.endswith("running_var")]
    return bool(means) and all(
        bool((mean == 0).all()) and bool(((variance - 1).abs() < 1e-3).all())
        for mean, variance in zip(means, variances, strict=True)
    )


def _read_pickle(path: Path, averaged: bool = False) -> dict[str, Tensor]:
    """The state in a file of `torch.save`, also one inside a checkpoint, without running its code."""
    try:
        if not path.stat().st_size:
            raise WeightsError(f"{path}: the file is empty (0 bytes); copy or download it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other programs, which are refused below
            # Training scripts keep their arguments in one; it holds values and runs nothing.
            with torch.serialization.safe_globals([argparse.Namespace]):
                found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: no PyTorch weights, or weights among Python objects, which are not opened because they can run "
            "code; save the state dict alone, best as safetensors: "
            "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
        ) from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path}: no whole PyTorch file ({_first_line(error)}); copy or download it again"
        ) from error
    state, remark = find_state(found, str(path), averaged=averaged)
    if remark:
        logger.warning("%s: %s", path, remark)
    _check_finite(state, path)
    return state


def _plain(tensor: Tensor) -> Tensor:
    """The tensor on the CPU, contiguous, with a storage of its own, as safetensors wants it."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor.clone() if tensor.untyped_storage().nbytes() != tensor.nbytes else tensor


def _checksum(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over metadata, names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for key in sorted(state):
        tensor = _plain(state[key])
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(what: str, keys: Iterable[str]) -> str:
    keys = sorted(keys)
    more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
    return f"{len(keys)} {what} ({', '.join(keys[:4])}{more}); " if keys else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
