"""Networks from elsewhere under our contract: any of timm, and your own module.

"timm/NAME" is a network of the package timm. "FILE.py:FUNCTION" or "PACKAGE.MODULE:FUNCTION" is a function of yours
that gives a `torch.nn.Module`: `FUNCTION(num_classes=10)` -> logits (B, num_classes) for images (B, 3, H, W). It may
take `in_channels` as well. Its code is run only where its user named it: on the command line, by
`casebook.trust_code`, or in the environment variable CASEBOOK_TRUST_CODE; never because a run folder names it.

Stages are found in the order of the module's children: the first with weights is the stem; where one child holds more
than half of all weights and is a list of blocks, its blocks are the stages. A module can say it itself:
`casebook_stages = ("stem", "layer1", "layer2")`, names of submodules from shallow to deep.
"""

import functools
import importlib
import importlib.util
import inspect
import itertools
import os
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError, WeightsError, did_you_mean
from ..preprocessing import Preprocessing
from .card import Departure, ModelCard, Paper
from .foreign_names import TIMM, TRUST
from .layers import Head, Network

TIMM_OPTIONS = ("img_size", "drop_rate", "drop_path_rate")
TRUNKS = ("stages", "blocks", "layers", "features", "trunk", "encoder", "net")
FEW_CHILDREN = 3  # with weights: then the largest list of blocks is what the network is made of
LISTS = (nn.Sequential, nn.ModuleList)
UNCHECKED = Departure("all of it", "not compared", "as its package builds it", "not checked against a paper")
_trusted: set[str] = set()


def trust_code(name: str) -> None:
    """Lets this process run the code that "FILE.py:FUNCTION" names, also where a run folder asks for it."""
    _trusted.add(_spelled(name))


class BodyHead(Head):
    """The last layer of a network from elsewhere; what comes before it is done by the body."""

    def __init__(self, num_features: int, num_classes: int, pooling: Any = None):
        super().__init__(num_features, num_classes, pool=nn.Identity())
        # In a tuple, so that the body is not registered a second time below the head.
        self._pooling = (pooling,)

    @property
    def has_pooling(self) -> bool:
        """Whether the body has a part between its features and the last layer."""
        return self._pooling[0] is not None

    def features(self, x: Tensor) -> Tensor:
        """What the body gives -> (B, num_features)."""
        pooling = self._pooling[0]
        return x if pooling is None else pooling(x)


class Foreign(Network):
    """A module from elsewhere without its last layer, `body`, and a last layer of ours."""

    def __init__(self, body: nn.Module, head: BodyHead, stages: list[str], *, in_channels: int, smallest_input: int):
        super().__init__(in_channels=in_channels, smallest_input=smallest_input)
        self.body, self.head = body, head
        self._names = stages

    @property
    def stem(self) -> nn.Module:  # type: ignore[override]
        """The first part, as a view: its weights belong to `body`."""
        return nn.Sequential(*(self.body.get_submodule(name) for name in self._before()))

    @property
    def stages(self) -> nn.Sequential:  # type: ignore[override]
        """The stages, as a view; each brings what follows it in the body before the next, such as a norm."""
        groups = [[name] for name in self._names]
        if not any("." in name for name in self._names):
            tops = [*self._children(), None]
            places = [tops.index(name) for name in self._names] + [tops.index(None)]
            groups = [tops[first:last] for first, last in itertools.pairwise(places)]
        elif after := self._after():
            groups[-1] += after
        modules = [[self.body.get_submodule(str(name)) for name in group] for group in groups]
        return nn.Sequential(*(part[0] if len(part) == 1 else nn.Sequential(*part) for part in modules))

    def stage_names(self) -> list[str]:
        """The names of the stem's modules and of the stages among all submodules, shallow to deep.

        A list of modules, which does not run itself, is left out.
        """
        names = [*self._before(), *self._names]
        running = [name for name in names if not isinstance(self.body.get_submodule(name), nn.ModuleList)]
        return [f"body.{name}" for name in running or names]

    def forward_features(self, images: Tensor) -> Tensor:
        """Normalised images -> what the head takes: a map, tokens (B, N, C), or features (B, F)."""
        whole = getattr(self.body, "forward_features", None)
        is_pooled = isinstance(self.head, BodyHead) and self.head.has_pooling
        return self.body(images) if whole is None or not is_pooled else whole(images)

    def as_map(self, output: Tensor) -> Tensor:
        """A stage's output as (B, C, h, w): tokens without the class token on their grid, channels first.

        Raises ModelError for an output without places.
        """
        if output.ndim == 3:
            for prefix in (int(getattr(self.body, "num_prefix_tokens", 0)), 0):  # there is none yet in the stem
                side = round((output.shape[1] - prefix) ** 0.5)
                if side * side == output.shape[1] - prefix:
                    return output[:, prefix:].transpose(1, 2).unflatten(2, (side, side))
        if output.ndim == 4 and getattr(self.body, "output_fmt", "NCHW") == "NHWC":
            return output.permute(0, 3, 1, 2)
        return output

    def _children(self) -> list[str]:
        return [name for name, child in self.body.named_children() if any(True for _ in child.parameters())]

    def _before(self) -> list[str]:
        tops = self._children()
        return tops[: tops.index(self._names[0].split(".")[0])]

    def _after(self) -> list[str]:
        tops = self._children()
        return tops[tops.index(self._names[-1].split(".")[0]) + 1 :]


def build(name: str, options: Mapping[str, Any]) -> Network:
    """The network of a name, freshly initialised. Raises ModelError."""
    options = dict(options)
    num_classes = options.pop("num_classes", 1000 if name.startswith(TIMM) else 2)
    in_channels = options.pop("in_channels", 3)
    for option, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if type(value) is not int or value < 1:
            raise ModelError(f"{option} is {value!r}, expected an integer of at least 1")
    make = _of_timm if name.startswith(TIMM) else _of_user
    network = make(name, num_classes, in_channels, options)
    network.name = name
    network.options = (
        options | {"num_classes": num_classes} | ({"in_channels": in_channels} if in_channels != 3 else {})
    )
    return network


@functools.lru_cache(maxsize=64)
def card(name: str) -> ModelCard:
    """What is known of a network from elsewhere: counted figures, and nothing from a paper. Raises ModelError."""
    with torch.device("meta"):
        network = build(name, {})
    prepare = _timm_preprocessing(network.body) if name.startswith(TIMM) else {}  # type: ignore[arg-type]
    size = int(prepare.get("size", 224))
    title = f"{name.removeprefix(TIMM)} of timm" if name.startswith(TIMM) else f"a module of yours, {name}"
    return ModelCard(
        name=name,
        family="timm" if name.startswith(TIMM) else "yours",
        paper=Paper(title, "not checked against a paper", 0, "", "https://github.com/huggingface/pytorch-image-models"
                    if name.startswith(TIMM) else ""),
        parameters=sum(weight.numel() for weight in network.parameters()),
        multiply_adds=_multiply_adds(network, size),
        prepare=prepare,
        departures=(UNCHECKED,),
        options=TIMM_OPTIONS if name.startswith(TIMM) else (),
        input_size=size,
        num_classes=1000 if name.startswith(TIMM) else 2,
        smallest_input=network.smallest_input,
        fixed_input=network.fixed_input,
    )  # fmt: skip


def list_timm(pattern: str) -> list[str]:
    """The networks of timm whose names fit a glob, as create_model takes them. Raises ModelError without timm."""
    found = _timm().list_models(pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*")
    return [TIMM + name for name in found]


# timm


def _timm() -> Any:
    try:
        if importlib.util.find_spec("torchvision") is not None:
            _declare_operators()
        return importlib.import_module("timm")
    except ImportError as error:
        raise ModelError(
            f"{error.name or 'timm'} is not installed, and networks of timm need it; pip install 'casebook[timm]'"
        ) from error


@functools.cache
def _declare_operators() -> Any:
    """torchvision's import fails beside a torch of another build, for want of two operators that nobody calls here."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _of_timm(name: str, num_classes: int, in_channels: int, options: dict[str, Any]) -> Foreign:
    timm, plain = _timm(), name.removeprefix(TIMM)
    if not timm.is_model(plain):
        suggestion = did_you_mean(plain.split(".")[0], timm.list_models()) or ";"
        raise ModelError(f"timm has no network {plain!r}{suggestion} 'casebook models --timm PATTERN' lists them")
    if unknown := [option for option in options if option not in TIMM_OPTIONS]:
        raise ModelError(f"{name} has no option {unknown[0]!r}; it takes {', '.join(TIMM_OPTIONS)}")
    try:
        body = timm.create_model(plain, pretrained=False, num_classes=0, in_chans=in_channels, **options)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise ModelError(f"timm cannot build {plain} so: {error}") from error
    if not hasattr(body, "forward_head") or not hasattr(body, "forward_features"):
        raise ModelError(f"{plain} has no features apart from its head, so it cannot be adapted")
    head = BodyHead(_num_features(body, plain), num_classes, functools.partial(body.forward_head, pre_logits=True))
    prepare, fixed = _timm_preprocessing(body), bool(body.pretrained_cfg.get("fixed_input_size", False))
    size = options.get("img_size", prepare["size"])
    network = Foreign(body, head, _stages(body), in_channels=in_channels, smallest_input=size if fixed else 32)
    network.fixed_input = fixed
    network.preprocessing = Preprocessing(**prepare | {"size": size}) if in_channels == 3 else None
    return network


def _num_features(body: Any, name: str) -> int:
    """Of what the head gives before the classifier; some heads widen the features of the body."""
    features = getattr(body, "head_hidden_size", None) or getattr(body, "num_features", None)
    if not isinstance(features, int):
        raise ModelError(f"{name} does not say how many features its last layer takes, so it cannot be adapted")
    return features


def _timm_preprocessing(body: Any) -> dict[str, Any]:
    known = body.pretrained_cfg
    interpolation = known.get("interpolation", "bilinear")
    return {
        "size": int(known["input_size"][1]),
        "crop_fraction": float(known.get("crop_pct", 0.875)),
        "interpolation": interpolation if interpolation in ("bilinear", "bicubic", "nearest") else "bicubic",
        "mean": tuple(map(float, known["mean"])),
        "std": tuple(map(float, known["std"])),
    }


# A module of the user's


def _spelled(name: str) -> str:
    """One spelling for each function: a file's path in full."""
    place, _, function = name.rpartition(":")
    return f"{Path(place).expanduser().resolve()}:{function}" if place.endswith(".py") else name


def _check_trust(name: str) -> None:
    allowed = {_spelled(one) for one in os.environ.get(TRUST, "").split(",") if one}
    if _spelled(name) not in _trusted | allowed:
        raise ModelError(
            f"the network is the code of {name}, which is run only if you say so: set {TRUST}={name}, or call "
            "casebook.trust_code(...) first. Do that for code that you have read"
        )


def _of_user(name: str, num_classes: int, in_channels: int, options: dict[str, Any]) -> Foreign:
    _check_trust(name)
    function = _function(name)
    taken = inspect.signature(function).parameters
    given: dict[str, Any] = {"num_classes": num_classes}
    if "in_channels" in taken:
        given["in_channels"] = in_channels
    elif in_channels != 3:
        raise ModelError(f"{name} takes no in_channels, so it sees colour pictures only; got {in_channels} channels")
    if options:
        raise ModelError(f"{name} has no option {next(iter(options))!r}; it takes num_classes and in_channels")
    try:
        module = function(**given)
    except Exception as error:  # whatever the user's code raises
        raise ModelError(f"{name}({', '.join(given)}) failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{name} gave a {type(module).__name__}, expected a torch.nn.Module")
    last = next((key for key, part in reversed(list(module.named_modules())) if isinstance(part, nn.Linear)), None)
    if last is None or module.get_submodule(last).out_features != num_classes:  # type: ignore[union-attr]
        found = "no linear layer" if last is None else f"{last} with {module.get_submodule(last).out_features} outputs"  # type: ignore[union-attr]
        raise ModelError(f"{name}: the last layer has to be a Linear with {num_classes} outputs; found {found}")
    classifier = module.get_submodule(last)
    head = BodyHead(classifier.in_features, num_classes)  # type: ignore[arg-type]
    head.classifier = classifier
    module.set_submodule(last, nn.Identity())
    return Foreign(module, head, _stages(module), in_channels=in_channels, smallest_input=1)


def _function(name: str) -> Any:
    """Raises ModelError where there is none of that name."""
    place, _, wanted = name.rpartition(":")
    try:
        if place.endswith(".py"):
            path = Path(place).expanduser()
            if not path.is_file():
                raise ModelError(f"there is no file {place}; a network of yours is FILE.py:FUNCTION")
            spec = importlib.util.spec_from_file_location(f"casebook_user_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    except ModelError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise ModelError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, wanted, None)
    if not callable(found):
        names = [key for key, value in vars(module).items() if inspect.isfunction(value) or inspect.isclass(value)]
        raise ModelError(f"{place} has no function {wanted!r}{did_you_mean(wanted, names) or '; it names a function'}")
    return found


# Both


def _stages(body: nn.Module) -> list[str]:
    """The names of the stages among the body's submodules, shallow to deep."""
    said = getattr(body, "casebook_stages", None)
    if said:
        names = {name for name, _ in body.named_modules()}
        if missing := [name for name in said if name not in names]:
            raise ModelError(f"casebook_stages names {missing[0]!r}, which the module does not have")
        return list(said)[1:] or list(said)
    children = OrderedDict((name, _weights(child)) for name, child in body.named_children() if _weights(child))
    if not children:
        raise ModelError("the module has no weights before its last layer, so there is nothing to learn from")
    largest = max(children, key=lambda name: children[name])
    part = body.get_submodule(largest)
    is_trunk = largest in TRUNKS or (len(children) <= FEW_CHILDREN and not isinstance(body, nn.Sequential))
    if isinstance(part, LISTS) and is_trunk and children[largest] > sum(children.values()) / 2:
        inside = [f"{largest}.{name}" for name, block in part.named_children() if _weights(block)]
        if len(inside) > 1:
            return inside
    names = [name for name in children if not isinstance(body.get_submodule(name), nn.modules.batchnorm._BatchNorm)]
    # The first part is the stem; small parts at the end, such as a last norm, go with the last stage.
    stages = names[1:] or names
    while len(stages) > 1 and children[stages[-1]] < 0.001 * sum(children.values()):
        stages = stages[:-1]
    return stages


def _weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _multiply_adds(network: Network, size: int) -> int:
    """Of convolutions and linear layers, for one picture; attention's own products are not among them."""
    total = 0

    def add(module: Any, _: Any, output: Any) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            inputs = module.weight[0].numel()
            total += output.numel() * inputs

    handles = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    try:
        with torch.device("meta"), torch.no_grad():
            network.eval()(torch.zeros(1, network.in_channels, size, size, device="meta"))
    except Exception as error:  # whatever a module from elsewhere raises
        raise ModelError(f"{network.name} does not run on pictures of {size} pixels: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    return total


def renamed(name: str, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Weights under the names of the package or module -> under ours; those of ours stay as they are."""
    if any(key.startswith("head.classifier.") for key in state) and any(key.startswith("body.") for key in state):
        yield from state.items()
        return
    last = _last_layer(name)
    for key, value in state.items():
        if key in (f"{last}.weight", f"{last}.bias"):
            # Some last layers are 1x1 convolutions on a pooled map.
            yield f"head.classifier.{key.rpartition('.')[2]}", value.flatten(1) if value.ndim > 1 else value
        else:
            yield f"body.{key}", value


def _last_layer(name: str) -> str:
    """What the last layer is called where the network comes from."""
    if name.startswith(TIMM):
        found = _timm().get_pretrained_cfg(name.removeprefix(TIMM))
        last = getattr(found, "classifier", None)
        if not isinstance(last, str):
            raise WeightsError(f"{name}: its weights do not say which layer is the last; give a run folder")
        return last
    with torch.device("meta"):
        module = _function(name)(num_classes=2)
    return [key for key, part in module.named_modules() if isinstance(part, nn.Linear)][-1]


def hub_state(name: str) -> dict[str, Tensor]:
    """timm's own weights of a network, fetched from the hub unless they are in its cache. Raises WeightsError."""
    try:
        return _timm().create_model(name.removeprefix(TIMM), pretrained=True).state_dict()
    except ModelError:
        raise
    except Exception as error:  # the hub's libraries raise what they like
        raise WeightsError(
            f"the weights of {name} cannot be fetched ({error}); download model.safetensors from timm's page on the "
            "Hugging Face hub where there is a network, and give that file"
        ) from error
