"""The recipe: everything that decides the outcome of a training, frozen and validated.

A TOML file or a named recipe gives the start, flags override it, and the resolved copy lies in the run folder.
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..augmentation.policy import POLICIES
from ..data.datasets import PictureData, SplitSettings
from ..data.pictures import SourceFormat
from ..errors import RecipeError, did_you_mean
from ..files import write_atomically
from ..models import list_models, model_card

Transfer = str  # "none", "head", "last:K", "full", "auto"


class Recipe(BaseModel):
    """One training. Times are in epochs unless the name says otherwise; shares and rates are plain numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    # What is trained, on what
    data: str = Field("", description="folder, CSV file or built-in name")
    model: str = Field("", description="a name that 'casebook models' lists; empty: chosen from the data")
    weights: str = Field("", description="where to start: file, run folder or published name; empty: from scratch")
    input_size: int = Field(0, ge=0, le=2048, description="side of the network's input in pixels; 0: the model's")
    resize: Literal["auto", "shorter", "squash", "letterbox"] = Field(
        "auto",
        description="how pictures become square: shorter crops the centre, letterbox pads, squash stretches; auto: as "
        "the weights', unless transfer = auto finds a better way for a head that learns alone",
    )
    network: dict[str, bool | int | float | str] = Field(
        {}, description="options of the network, such as network.auxiliary_heads = 2; 'casebook models NAME' lists them"
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="before the classifier; default: the model's")
    seed: int = Field(0, ge=0, lt=2**31, description="split, weights, order and augmentation all follow from it")

    # How the data is laid out
    label_from: str = Field(
        "auto",
        description="the class in a path: auto, top, parent, or a pattern whose group is read from the file name",
    )
    list_root: str = Field("", description="folder that the paths of a list are relative to; default: the list's own")
    list_suffix: str = Field("", description="added to the paths of a list that do not end in it, such as .jpg")
    list_columns: str = Field("", description="columns of path and label, as in 'id,breed'; default: the common names")
    class_list: str = Field("", description="CSV of index,id,name, or a name per line: names for ids or indices")

    # Splitting an unsplit data set
    val_fraction: float = Field(0.15, gt=0, lt=1, description="share of an unsplit data set for validation")
    test_fraction: float = Field(0.15, gt=0, lt=1, description="share of an unsplit data set locked away for the test")
    group_by: str = Field("", description="CSV column, or a pattern whose first group is read from the file name")
    near_duplicates: bool = Field(True, description="keep near-duplicate pictures on one side of the split")
    strict: bool = Field(False, description="a picture that cannot be read ends the training")

    # Transfer learning
    transfer: Transfer = Field("auto", description="none, head, last:K, full or auto")
    time_budget_minutes: float = Field(
        10, gt=0, description="with transfer = auto, fine-tuning gets what the head leaves of these minutes"
    )
    two_phase: bool = Field(False, description="train the head on frozen features first, then fine-tune")
    head_epochs: int = Field(10, ge=1, description="epochs of the first of two phases")
    head_start: bool = Field(
        True, description="fine-tuning starts from the head of the first phase; false: from a new one, as without it"
    )
    keep_head: bool = Field(
        False, description="of two phases, keep the fine-tuned weights only where validation is clearly better"
    )
    head_fit: Literal["auto", "steps", "logistic"] = Field(
        "auto",
        description="how a head on frozen features is learnt: steps of the optimiser, or logistic regression, which "
        "has one best answer; auto: logistic with transfer = auto, where the last layer is linear and the pictures are "
        "neither too few for cross-validation nor too many for the memory",
    )
    head_penalty: float = Field(
        0, ge=0, description="L2 penalty of a logistic head, for each picture; 0: found by cross-validation"
    )
    feature_views: int = Field(1, ge=1, le=64, description="cached views of each picture; above 1 they are augmented")
    backbone_scale: float = Field(0.1, gt=0, le=1, description="learning rate of the last stage / the head's")
    stage_decay: float = Field(1.0, gt=0, le=1, description="learning rate of a stage / that of the stage above")

    # Augmentation
    policy: str = Field(
        "auto", description="what may happen to a training picture; auto: basic, or cifar for small pictures"
    )
    augment: dict[str, bool | int | float | str | list[float]] = Field(
        {}, description="laws laid over those of the policy, such as augment.rotate = 15 (degrees)"
    )
    crop: Literal["auto", "none", "resized", "padded", "window"] = Field(
        "auto", description="in place of the policy's: random resized crops, or shifted ones for small pictures"
    )
    crop_area: tuple[float, float] | None = Field(
        None,
        description="share of the picture that a resized crop takes; default: the policy's, or larger after a trial",
    )
    padding: int | None = Field(None, ge=0, le=64, description="pixels that a padded crop may move; default: 4")
    mirror: Literal["auto", True, False] = Field(
        "auto", description="false: no mirror images, as for digits; auto: the policy's, unless a quick trial says no"
    )
    rotate: Literal["auto", True, False] = Field("auto", description="as mirror, for turned pictures")
    colour: Literal["auto", True, False] = Field("auto", description="as mirror, for changed colours and brightness")
    space: Literal["auto", True, False] = Field("auto", description="as mirror, for an augmentation space's operations")

    # Optimisation
    optimiser: Literal["sgd", "adamw"] = Field("sgd", description="stochastic gradient descent, or AdamW")
    learning_rate: float = Field(0.05, gt=0, description="the largest of the schedule, for the head")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(True, description="whether the momentum of sgd looks one step ahead")
    weight_decay: float = Field(1e-4, ge=0, description="of weights; never of norms and biases unless decay_all")
    decay_all: bool = Field(False, description="decay norms and biases too, as the ResNet paper did")
    schedule: Literal["cosine", "step", "one-cycle", "constant"] = Field(
        "cosine", description="how the learning rate goes over the epochs"
    )
    warmup_epochs: float = Field(0, ge=0, description="epochs in which the learning rate rises from near 0")
    milestones: tuple[float, ...] = Field((0.5, 0.75), description="shares of the epochs after which the rate falls")
    gamma: float = Field(0.1, gt=0, lt=1, description="what a step multiplies the learning rate by")
    epochs: int = Field(30, ge=1, le=100_000, description="times through the training pictures")
    batch_size: int = Field(0, ge=0, le=65536, description="all processes together; 0: found for this machine")
    accumulate: int = Field(1, ge=1, le=1024, description="batches whose gradients make one step")
    clip_norm: float = Field(0, ge=0, description="largest norm of the gradient; 0: no limit")
    label_smoothing: float = Field(0, ge=0, lt=1, description="share of each label spread over all classes")
    class_weights: Literal["auto", "none", "head", "balanced"] = Field(
        "auto",
        description="balanced: the loss of a class weighs as its pictures are rare; head: only for a head on frozen "
        "features; auto: head where a logistic head gains by it in cross-validation, else none",
    )
    focal_gamma: float = Field(
        0, ge=0, le=10, description="with several labels a picture: above 0, easy ones weigh less (focal loss)"
    )
    ema_decay: float = Field(0, ge=0, lt=1, description="of the running average of the weights; 0: none")
    unit_variance: bool = Field(
        False,
        description="from random weights without batch norm: before the first step, weights are scaled so that each "
        "layer's outputs have a variance of 1, and biases set to 0",
    )
    patience: int = Field(0, ge=0, description="epochs without a better validation before stopping; 0: never")

    # The machine
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the hardware has it")
    channels_last: bool = Field(True, description="keep the channels of a pixel together in memory, which is faster")
    compile: bool = Field(False, description="compile the network with torch.compile")
    shard_weights: Literal["auto", "on", "off"] = Field(
        "auto",
        description="divide weights and optimiser state among the processes of torchrun (FSDP); auto: on GPUs, where "
        "one cannot hold them",
    )
    threads: int = Field(
        0, ge=0, le=1024, description="threads of the CPU; 0: chosen, and fewer while other programs need the cores"
    )
    workers: int = Field(-1, ge=-1, le=256, description="processes that read pictures; -1: chosen for this machine")
    memory_share: float = Field(0.25, ge=0, le=0.9, description="of the free memory, for decoded pictures")
    prepared: Literal["auto", "off", "raw", "jpeg"] = Field(
        "auto", description="keep reduced pictures on disk: auto where it pays, raw always, jpeg smaller and lossy"
    )
    prepared_side: int = Field(
        0, ge=0, le=8192, description="shorter side of the pictures that crops are cut from; 0: twice evaluation's"
    )
    prepared_gib: float = Field(20, ge=0, description="disk space in GiB that prepared pictures may take in all")
    checkpoint_seconds: float = Field(60, ge=0, description="at most this much work is lost by a killed process")
    tensorboard: bool = Field(False, description="also write TensorBoard events into the run folder")

    @field_validator("transfer")
    @classmethod
    def _known_transfer(cls, value: str) -> str:
        kind, _, count = value.partition(":")
        if value not in ("none", "head", "full", "auto") and not (kind == "last" and count.isdigit() and int(count)):
            raise ValueError(f"is {value!r}, expected none, head, last:K (K = 1, 2, ...), full or auto")
        return value

    @field_validator("milestones")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)) or not all(0 < share < 1 for share in value):
            raise ValueError(f"are {list(value)}, expected rising shares of the epochs between 0 and 1")
        return value

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, value: str) -> str:
        if value != "auto" and value not in POLICIES:
            suggestion = did_you_mean(value, POLICIES) or ";"
            raise ValueError(f"is {value!r}{suggestion} expected auto or one of {', '.join(POLICIES)}")
        return value

    @field_validator("crop_area")
    @classmethod
    def _share(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] <= value[1] <= 1:
            raise ValueError(f"is {list(value)}, expected two rising shares above 0 and at most 1")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        try:
            POLICIES["basic" if self.policy == "auto" else self.policy].policy.changed(self.augment)
        except RecipeError as error:
            raise ValueError(str(error)) from error
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"val_fraction {self.val_fraction} and test_fraction {self.test_fraction} leave nothing to train on"
            )
        if not self.weights and self.transfer not in ("none", "auto"):
            raise ValueError(f"transfer is {self.transfer!r}, but no weights to transfer are given; add --weights")
        if not self.weights and self.two_phase:
            raise ValueError("two_phase fine-tunes given weights; add --weights")
        if self.two_phase and self.transfer == "head":
            raise ValueError("two_phase fine-tunes after the head; set transfer to last:K, full or auto")
        if self.nesterov and self.momentum == 0 and self.optimiser == "sgd":
            raise ValueError("nesterov needs a momentum above 0")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}, expected less than the {self.epochs} epochs")
        return self

    @property
    def source_format(self) -> SourceFormat:
        """How the folder or the list is to be read."""
        return SourceFormat(self.label_from, self.list_root, self.list_suffix, self.list_columns, self.class_list)

    @staticmethod
    def settings_of(data: PictureData) -> dict[str, Any]:
        """The settings of a recipe that mean this data set with this split."""
        layout = data.format
        return {
            "data": data.source.name,
            **dataclasses.asdict(data.settings),
            "label_from": layout.label_from,
            "list_root": layout.root,
            "list_suffix": layout.suffix,
            "list_columns": layout.columns,
            "class_list": layout.class_list,
        }

    @property
    def split_settings(self) -> SplitSettings:
        """How a data set without a split of its own is divided."""
        return SplitSettings(self.val_fraction, self.test_fraction, self.seed, self.group_by, self.near_duplicates)

    def write(self, path: Path) -> None:
        """Writes the recipe as TOML, which `make_recipe` reads."""
        record = {key: list(v) if isinstance(v, tuple) else v for key, v in self.model_dump().items()}
        write_atomically(path, tomli_w.dumps({key: v for key, v in record.items() if v is not None}))


class NamedRecipe(NamedTuple):
    """A recipe that is known to work: its settings, and what it gave where."""

    settings: dict[str, Any]
    purpose: str
    expected: str


RECIPES = {
    "digits": NamedRecipe(
        dict(
            data="digits", model="lenet5", epochs=40, batch_size=32, optimiser="adamw", learning_rate=3e-3,
            weight_decay=0.05, warmup_epochs=2, crop="padded", padding=3, mirror=False, ema_decay=0.99,
            label_smoothing=0.05,
        ),
        "LeNet-5 on the 1,797 handwritten digits that come with scikit-learn",
        "test top-1 about 0.99 (270 pictures)",
    ),
    "mnist": NamedRecipe(
        dict(
            model="lenet5", epochs=20, batch_size=128, optimiser="adamw", learning_rate=2e-3,
            weight_decay=0.05, warmup_epochs=1, crop="padded", padding=2, mirror=False, ema_decay=0.999,
        ),
        "LeNet-5 on MNIST or Fashion-MNIST",
        "not run here: the files must be downloaded (paper: 0.95 % error on MNIST)",
    ),
    "cifar": NamedRecipe(
        dict(
            data="cifar10", model="resnet20", epochs=182, batch_size=128, optimiser="sgd", learning_rate=0.1,
            momentum=0.9, nesterov=False, weight_decay=1e-4, decay_all=True, schedule="step",
            milestones=(0.5, 0.75), gamma=0.1, crop="padded", padding=4, mirror=True,
            val_fraction=0.1,
        ),
        "ResNet-20 to 110 and their plain twins on CIFAR-10 as in He et al., section 4.2: 64,000 steps",
        "ResNet-20: 8.75 % error in the paper",
    ),
    "cifar-short": NamedRecipe(
        dict(
            data="cifar10", model="resnet20", epochs=80, batch_size=128, optimiser="sgd", learning_rate=0.1,
            momentum=0.9, nesterov=True, weight_decay=5e-4, schedule="cosine", warmup_epochs=2, crop="padded",
            padding=4, mirror=True, val_fraction=0.04,
        ),
        "small networks on CIFAR-10 in less than half of the paper's steps: the weights 'cifar10' of resnet20",
        "ResNet-20 on CIFAR-10 as JPEG files (quality about 75, halved chroma): 12.02 % error (11.40 to 12.67; 10,000 "
        "test pictures), 100 minutes on a busy core",
    ),
    "small": NamedRecipe(
        dict(
            epochs=60, batch_size=32, optimiser="adamw", learning_rate=3e-3, weight_decay=0.05, warmup_epochs=2,
            label_smoothing=0.05, clip_norm=1.0, ema_decay=0.99, transfer="none",
        ),
        "LeNet-5 and other networks of less than a million weights without batch norm, from random weights",
        "LeNet-5 on 1,200 digits of MNIST: 96 % of 300 others; on 1,050 photos of signed digits: 97 % of 220 others",
    ),
    "transfer": NamedRecipe(
        dict(
            epochs=20, batch_size=64, optimiser="adamw", learning_rate=2e-3, weight_decay=0.05,
            warmup_epochs=1, label_smoothing=0.05, transfer="auto", crop="resized",
        ),
        "given weights on one's own pictures",
        "MobileNet v2 on 1,050 cats and dogs: see docs/benchmarks.md",
    ),
    "scratch": NamedRecipe(
        dict(
            epochs=60, optimiser="sgd", learning_rate=0.05, weight_decay=1e-4, warmup_epochs=3,
            label_smoothing=0.1, clip_norm=5.0, transfer="none",
        ),
        "any network with batch norm on one's own pictures from random weights",
        "depends on the data",
    ),
    "classic": NamedRecipe(
        dict(
            epochs=60, optimiser="adamw", learning_rate=3e-4, weight_decay=0.01, warmup_epochs=3,
            label_smoothing=0.1, clip_norm=1.0, transfer="none", unit_variance=True,
        ),
        "networks from before batch norm, from random weights: they do not start with sgd's usual rates",
        "on 1,050 photos of signed digits, of 220 others: AlexNet, 100 pixels, 15 epochs, 99 %; SqueezeNet 1.1, 80 "
        "pixels, 20 epochs, 92 %",
    ),
    "plain": NamedRecipe(
        dict(
            epochs=60, optimiser="adamw", learning_rate=1e-3, weight_decay=0.01, warmup_epochs=3,
            label_smoothing=0.1, clip_norm=1.0, transfer="none", network={"linear_start": True},
        ),
        "the deepest plain networks, plain56 and plain110, from random weights: from the paper's start they hardly "
        "learn or not at all, which is the paper's point and recipe cifar's outcome",
        "plain110 on the digits, 8 epochs with batches of 32: test top-1 0.76 (0.70 to 0.81)",
    ),
}  # fmt: skip

# The networks that learn CIFAR-10 by the recipe of their papers, which is too long and starts too fast for small sets.
CIFAR_MODELS = (
    "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "plain20", "plain32", "plain44", "wrn28_10",
)  # fmt: skip


def choose_recipe(data: str, model: str, weights: str) -> str:
    """The name of the recipe that fits, when the user names none."""
    if weights:
        return "transfer"
    if data == "digits" and model in ("", "lenet5", "lenet5_1998"):
        return "digits"
    if data in ("mnist", "fashion_mnist") and model in ("", "lenet5", "lenet5_1998"):
        return "mnist"
    if data == "cifar10" and (not model or model in CIFAR_MODELS):
        return "cifar"
    return model_card(model).recipe if model in list_models() else "scratch"


def make_recipe(recipe: str | Path | None = None, **overrides: Any) -> Recipe:
    """A recipe from a name or a TOML file, with other settings laid over it; None as a setting means not given.

    Raises RecipeError naming the setting, what came and what was expected.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    given = {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}
    if recipe is None:
        recipe = choose_recipe(given.get("data", ""), given.get("model", ""), given.get("weights", ""))
    if str(recipe) in RECIPES:
        settings: dict[str, Any] = dict(RECIPES[str(recipe)].settings)
        if given.get("policy", "auto") != "auto":  # a policy that is named decides about the crop itself
            for name in ("crop", "crop_area", "padding"):
                settings.pop(name, None)
    else:
        settings = read_settings(Path(recipe))
    epochs = given.get("epochs")
    if isinstance(epochs, int) and epochs > 0 and "warmup_epochs" not in given and "warmup_epochs" in settings:
        settings["warmup_epochs"] = min(settings["warmup_epochs"], epochs / 5)  # a shorter training, in proportion
    for table in ("network", "augment"):
        if isinstance(given.get(table), dict):
            given[table] = settings.get(table, {}) | given[table]
    return validated(settings | given)


def read_settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RecipeError(
            f"no recipe {str(path)!r}{did_you_mean(str(path), RECIPES) or ';'} "
            f"expected a TOML file or one of {', '.join(RECIPES)}"
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a TOML file: {error}") from error


def validated(settings: dict[str, Any]) -> Recipe:
    try:
        return Recipe(**settings)
    except ValidationError as error:
        raise RecipeError("; ".join(_explain(detail) for detail in error.errors())) from error


def _explain(detail: Any) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        suggestion = did_you_mean(name, Recipe.model_fields) or ";"
        return f"unknown setting {name!r}{suggestion} 'casebook recipes' lists all"
    message = detail["msg"].removeprefix("Value error, ")
    if not name:
        return message
    if detail["type"] == "value_error":
        return f"{name} {message}"
    return f"{name}: {message[0].lower()}{message[1:]}, but {detail['input']!r} came"
