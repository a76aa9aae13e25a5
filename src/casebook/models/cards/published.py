"""What cards of several families say in the same words: published errors, and weights on the Hugging Face hub."""

from collections.abc import Mapping
from typing import Any

from ..card import Figure, PublishedWeights


def errors(
    how: str, top1: float, top5: float | None, source: str, *, split: str = "ImageNet validation"
) -> tuple[Figure, ...]:
    """The top-1 error and, where it is published, the top-5 error in percent; `how` names networks and crops."""
    found = Figure("top1_error", top1, "%", f"{split}, {how}", source)
    return (found,) if top5 is None else (found, found._replace(what="top5_error", value=top5))


def on_hub(
    repository: str,
    source: str,
    top1: float | None,
    top5: float | None,
    *,
    prepare: Mapping[str, Any],
    name: str = "",
    licence: str = "Apache-2.0",
    **known: Any,
) -> PublishedWeights:
    """Weights in timm's layout in the hub's `timm/REPOSITORY`, which is their `name` too unless they have another."""
    return PublishedWeights(
        name=name or f"timm/{repository}",
        repository=f"timm/{repository}",
        layout="timm",
        licence=licence,
        source=source,
        prepare=prepare,
        top1=top1,
        top5=top5,
        **known,
    )


def of_torchvision(
    name: str,
    source: str,
    top1: float,
    top5: float,
    *,
    prepare: Mapping[str, Any],
    licence: str = "BSD-3-Clause",
) -> PublishedWeights:
    """timm's copy of the first weights that torchvision has for the network `name`."""
    version = "torchvision/IMAGENET1K_V1"
    return on_hub(f"{name}.tv_in1k", source, top1, top5, prepare=prepare, name=version, licence=licence)
