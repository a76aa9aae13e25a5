"""Helpers for cards of several families: published errors, and weights on the Hugging Face hub."""

from collections.abc import Mapping
from typing import Any

from ..card import Figure, PublishedWeights

# Revision of the hub's repository and SHA-256 of its model.safetensors, where two independent public records agree, or
# one record that agrees with the others wherever they overlap. A missing revision means that only the file is known.
PINNED = {
    "resnet18.tv_in1k": (
        "bbd144b3e5565108aad885f145491d11bc6ce807",
        "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
    ),
    "resnet34.tv_in1k": (
        "1b7b21cca82ff974d341713f777bf740c2db38c4",
        "0bb82595a564991a9d424708b33f5d843f5aaed7f6c0886ff10849ff97022235",
    ),
    "resnet50.tv_in1k": (
        "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa",
        "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
    ),
    "resnet18.a1_in1k": (
        "491b427b45c94c7fb0e78b5474cc919aff584bbf",
        "80c49dee3da4822c009c5a7fe591e9223c5a2cfcf95a4067ca4dfb5a7b89c612",
    ),
    "resnet34.a1_in1k": ("", "829a220f9529d2b1ffdc8719d3273463001e0daf411eaf1916865d9db62c0ed2"),
    "resnet50.a1_in1k": (
        "767268603ca0cb0bfe326fa87277f19c419566ef",
        "773525d5821de224f8f30c33377b7a795d7863e08522698200d3217d3f2a41bb",
    ),
    "vgg11.tv_in1k": ("", "682c023808812148d4e60c76d80ad83dbeaf5d50eb1a952a0b836895003151e5"),
    "vgg16.tv_in1k": (
        "b8d8aa2dd860af9233c8c67385a8097fd6c35d3f",
        "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
    ),
    "inception_v3.tv_in1k": ("", "9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb"),
    "densenet121.tv_in1k": (
        "f0d0f2698a02cb133b09d48396db6e1e46fe9f3b",
        "c894c6d9caa317a8ca1942986dee7a16a86c77734a4d691d2abe05389cfef358",
    ),
    "mobilenetv2_100.ra_in1k": ("", "55ea4fb3a96010b933710ebf44fc965b070d5cd054d3f35e44f2d1320b4a714e"),
    "wide_resnet50_2.tv_in1k": (
        "343c5fa59ca8a131e0cdf42144a641b36a0387c2",
        "df6fb6c4824769769de18e14088475fd6ee94236849aa4e5d8022ba9d9a9a16c",
    ),
    "wide_resnet50_2.racm_in1k": (
        "30f73aceaaa1911830a9795b83ab1908dba18719",
        "03b71d65fb2c73bb0de079a1781009f27a782ec481d2f64ab3bde9b1cdec3000",
    ),
}


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
    """Weights in timm's layout from `timm/REPOSITORY` on the hub; `name` defaults to the repository."""
    revision, sha256 = PINNED.get(repository, ("", None))
    known = {"revision": revision, "sha256": sha256} | known
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
