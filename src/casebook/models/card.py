"""Model cards: what is known about a network, as data that a test can assert. Needs no torch, no NumPy."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..preprocessing import Preprocessing


class Paper(NamedTuple):
    """Where a network was first described."""

    title: str
    authors: str
    year: int
    venue: str
    link: str


class Figure(NamedTuple):
    """One published number; `unit` is "%" or "count"."""

    what: str  # parameters, multiply_adds, connections, top1_error, top5_error, test_error
    value: float
    unit: str
    refers_to: str  # the variant, data set and crops that the number was measured with
    source: str


class Departure(NamedTuple):
    """One place where our network is not what its paper describes."""

    what: str
    paper: str
    here: str
    why: str


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """Published weights: a file of a repository on the Hugging Face hub, at an `address`, or, `packaged`, in Casebook.

    `sha256` is the file's, or the beginning of it where no more is published, and `revision` the commit of the hub's
    repository; weights with neither are not `proved`. `prepare` holds the settings of the
    Preprocessing they were measured with, `options` what `create_model` needs for them besides what their layout needs,
    and `top1` and `top5` the published accuracies in [0, 1] on the ImageNet validation set; those of packaged weights
    are on the test pictures of their data set.
    """

    name: str
    repository: str
    layout: str
    licence: str
    source: str
    prepare: Mapping[str, Any]
    file: str = "model.safetensors"
    address: str = ""
    packaged: bool = False
    sha256: str | None = None
    revision: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    top1: float | None = None
    top5: float | None = None

    @property
    def preprocessing(self) -> "Preprocessing":
        return _preprocessing(self.prepare)

    @property
    def proved(self) -> bool:
        """Whether a checksum or a pinned revision tells these weights from any others."""
        return bool(self.sha256 or self.revision)

    @property
    def url(self) -> str:
        """Where the file is; "" for weights that come with Casebook."""
        if self.packaged:
            return ""
        return self.address or f"https://huggingface.co/{self.repository}/resolve/{self.revision or 'main'}/{self.file}"

    def to_dict(self) -> dict[str, Any]:
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del record["prepare"]
        return record | {
            "options": dict(self.options),
            "preprocessing": self.preprocessing.to_dict(),
            "proved": self.proved,
        }


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What a network is, what it costs, what its paper claims, and where it departs from the paper.

    `parameters` and `multiply_adds` are counted, trainable weights and convolutions plus linear layers for
    one picture at `input_size`; a test counts them again. `smallest_input` is the smallest side in pixels
    that the network takes without its small-picture stem, and the only one where `fixed_input` says so.
    `options` names what `create_model` takes besides `num_classes`, `in_channels` and `weights`. The first of
    `weights` is also known as "imagenet". `recipe` is the named recipe with which it learns from random weights.
    """

    name: str
    family: str
    paper: Paper
    parameters: int
    multiply_adds: int
    prepare: Mapping[str, Any]
    published: tuple[Figure, ...] = ()
    departures: tuple[Departure, ...] = ()
    weights: tuple[PublishedWeights, ...] = ()
    options: tuple[str, ...] = ()
    input_size: int = 224
    in_channels: int = 3
    num_classes: int = 1000
    smallest_input: int = 33
    fixed_input: bool = False
    recipe: str = "scratch"

    @property
    def title(self) -> str:
        return self.paper.title

    @property
    def authors(self) -> str:
        return self.paper.authors

    @property
    def year(self) -> int:
        return self.paper.year

    @property
    def venue(self) -> str:
        return self.paper.venue

    @property
    def link(self) -> str:
        return self.paper.link

    @property
    def preprocessing(self) -> "Preprocessing":
        """What the network is fed when its weights say nothing else."""
        return _preprocessing({"size": self.input_size} | dict(self.prepare))

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON-able data, with the paper's fields beside the others."""
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del record["paper"], record["prepare"]
        return (
            record
            | self.paper._asdict()
            | {
                "preprocessing": self.preprocessing.to_dict(),
                "published": [figure._asdict() for figure in self.published],
                "departures": [departure._asdict() for departure in self.departures],
                "weights": [weights.to_dict() for weights in self.weights],
                "options": list(self.options),
            }
        )


def _preprocessing(settings: Mapping[str, Any]) -> "Preprocessing":
    from ..preprocessing import Preprocessing  # brings NumPy and Pillow, which a list of names does without

    return Preprocessing(**settings)
