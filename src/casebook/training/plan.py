"""The plan of a training: a recipe -> checked and split data, a network for it, and how pictures are fed.

The test set is put aside here; nothing in this room reads it.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..augmentation.colour import IMAGENET_COMPONENTS, Components
from ..augmentation.policy import KINDS, POLICIES, Policy
from ..data.check import lost_ends
from ..data.colours import source_colours
from ..data.datasets import PictureData, scan_source, split_data
from ..data.duplicates import duplicates
from ..data.loader import Batch, make_prepare
from ..data.scan import PictureFacts, choose_value_range
from ..data.sources import NAMED, load_source
from ..data.split import numbers_of_tied, read_split, write_split
from ..device import choose_precision, choose_workers
from ..errors import DataError, RecipeError
from ..models import create_model, model_card
from ..models.weights import Weights, load_into, resolve
from ..preprocessing import Preprocessing
from ..progress import Reporter, silent
from .default import PHOTOGRAPHS, choose_default
from .distributed import World, wait_for_all
from .recipe import RECIPES, Recipe
from .run import Run
from .transfer import Choice

UNMIRRORED = ("digits", "mnist")  # a mirrored digit is another sign
SMALL_INPUT = 64  # pixels; a network made for large pictures gets its small-picture stem up to this size


class ResolvedModel(NamedTuple):
    """The recipe with the network named and paths absolute, and what must be said about the choice of the network.

    `rival` is a recipe with another network, where only a training can tell which is better.
    """

    recipe: Recipe
    notes: list[str]
    rival: Recipe | None = None


def resolve_model(recipe: Recipe) -> ResolvedModel:
    """Names the network that the recipe leaves open."""
    model, notes, rival = recipe.model, [], None
    changes: dict[str, Any] = {}
    if not model:
        found = choose_default(recipe)
        model, changes["weights"] = found.model, recipe.weights or found.weights
        if found.weights and not recipe.weights:
            changes |= _transfer_settings(recipe)
        notes += [found.reason] if found.reason else []
        if found.rival_weights and not recipe.weights:
            changed = {"model": PHOTOGRAPHS, "weights": found.rival_weights} | _transfer_settings(recipe)
            rival = resolve_model(recipe.model_copy(update=changed)).recipe
    changes["model"] = model
    model_card(model)
    for field in ("data", "weights", "list_root", "class_list"):
        value = changes.get(field, getattr(recipe, field))
        named = field == "data" and value in NAMED
        if value and not named and Path(value).expanduser().exists():
            changes[field] = str(Path(value).expanduser().resolve())
    return ResolvedModel(recipe.model_copy(update=changes), notes, rival)


def _transfer_settings(recipe: Recipe) -> dict[str, Any]:
    """The settings of recipe "transfer", except for those that differ from "scratch", since the user gave them."""
    scratch, transfer = RECIPES["scratch"].settings, RECIPES["transfer"].settings
    fields = Recipe.model_fields
    return {
        name: transfer.get(name, fields[name].default)
        for name in scratch | transfer
        if getattr(recipe, name) == scratch.get(name, fields[name].default)
    }


def prepare_data(recipe: Recipe, run: Run, world: World, known_split: bool, report: Reporter = silent) -> PictureData:
    """Reads the source, looks at every picture once, and splits, or takes the split that the run has already.

    Process 0 goes first, so that the others find the results on disk.
    """
    source = load_source(recipe.data, group_by=recipe.group_by or None, format=recipe.source_format, many_labels=True)
    path = run.path / "split.csv"
    if not world.is_first:
        wait_for_all(world)
        seen = scan_source(source)
        return PictureData(source, seen, read_split(path, source, seen.contents))

    seen = scan_source(source, report)
    broken = list(seen.broken.items())
    if broken and recipe.strict:
        first = ", ".join(f"{source.pictures[index].name} ({reason})" for index, reason in broken[:5])
        raise DataError(
            f"{recipe.data}: {len(broken)} of {len(source.pictures)} pictures cannot be read: {first}"
            f"{' ...' if len(broken) > 5 else ''}; repair or remove them, or leave out --strict to skip them"
        )
    if known_split:
        data = PictureData(source, seen, read_split(path, source, seen.contents))
    else:
        data = split_data(source, seen, recipe.split_settings)
        write_split(path, source, data.split, seen.contents)
    wait_for_all(world)
    return data


@dataclasses.dataclass(frozen=True)
class ModelSetup:
    """A network for a data set, how its pictures are prepared, and what must be said about it."""

    network: Any
    options: dict[str, Any]
    preprocessing: Preprocessing
    weights: Weights | None
    departures: list[str]
    notes: list[str]

    @property
    def folded_norms(self) -> bool:
        """Whether the starting weights carry no batch-norm statistics: see `Frozen`."""
        return self.weights is not None and self.weights.folded_norms


def sets_of(data: PictureData, recipe: Recipe, indices: Sequence[int]) -> NDArray[np.int64]:
    """(N,) the number of each picture's set of copies, near-copies or a group, which a split keeps whole."""
    copies = duplicates(data.scan, data.source, near=recipe.near_duplicates)
    return numbers_of_tied(data.source, copies, indices)


def median_side_of(data: PictureData) -> int:
    """The median shorter side of the training pictures in pixels."""
    return int(np.median([min(data.sizes[index]) for index in data.split.train]))


def lost_end_notes(data: PictureData, preprocessing: Preprocessing) -> list[str]:
    """What a central crop costs, where it leaves out much of many training pictures."""
    note = lost_ends(data.scan.facts[index] for index in data.split.train)
    return [note] if note and preprocessing.resize == "shorter" else []


def set_up_model(recipe: Recipe, data: PictureData) -> ModelSetup:
    """The recipe's network for the data's classes, with its starting weights."""
    card = model_card(recipe.model)
    source, notes = data.source, []
    weights = resolve(recipe.weights, recipe.model) if recipe.weights else None
    given = weights.preprocessing if weights and weights.preprocessing else card.preprocessing
    median_side = median_side_of(data)
    size = recipe.input_size or given.size
    if not recipe.input_size and not weights and not card.fixed_input and median_side <= given.size // 2:
        size = max(32, median_side, 0 if "small_stem" in card.options else card.smallest_input)
        if size != given.size:
            notes.append(
                f"the pictures are small (median shorter side {median_side} pixels), so {recipe.model} is fed "
                f"{size}x{size} instead of {given.size}x{given.size}; --input-size changes that"
            )
    if card.fixed_input and size != card.input_size:
        raise RecipeError(f"input_size is {size}, but {recipe.model} takes exactly {card.input_size}")
    preprocessing = given
    if size != given.size:
        fraction = 1.0 if size <= SMALL_INPUT else given.crop_fraction
        preprocessing = dataclasses.replace(given, size=size, crop_fraction=fraction)
    if recipe.resize != "auto":
        preprocessing = dataclasses.replace(preprocessing, resize=recipe.resize)
    trained = [data.scan.facts[index] for index in data.split.train]
    if value_range := choose_value_range(trained):
        preprocessing = dataclasses.replace(preprocessing, value_range=value_range)
    notes += _deep_notes(trained, value_range)
    options: dict[str, Any] = dict(weights.options) if weights else {}
    options |= {"num_classes": len(source.classes), "in_channels": preprocessing.channels}
    if not weights and size <= SMALL_INPUT and "small_stem" in card.options and card.input_size > SMALL_INPUT:
        options["small_stem"] = True
    if unknown := [option for option in recipe.network if option not in card.options]:
        expected = f"one of {', '.join(card.options)}" if card.options else "none, for it has no options"
        raise RecipeError(f"network.{unknown[0]} is no option of {recipe.model}; expected {expected}")
    options |= recipe.network
    torch.manual_seed(recipe.seed)
    network = create_model(recipe.model, **options)
    if recipe.dropout is not None:
        network.head.dropout = nn.Dropout(recipe.dropout)
    if weights:
        notes += load_into(network, weights, replace_head=True)
    grey = ("1", "L", "LA", "La", "I", "F")  # with or without bits, as in "I;16"
    coloured = sum(facts.error is None and facts.mode.partition(";")[0] not in grey for facts in data.scan.facts)
    if preprocessing.mode == "L" and coloured:
        notes.append(f"{recipe.model} sees grey pictures: the colours of {coloured} pictures are dropped")
    departures = [f"{d.what}: {d.here} (paper: {d.paper})" for d in network.departures]
    return ModelSetup(network, options, preprocessing, weights, departures, notes)


def _deep_notes(facts: Sequence[PictureFacts], value_range: tuple[float, float] | None) -> list[str]:
    """What happens to training pictures of more than 8 bits, if there are any."""
    deep = [(one.low, one.high) for one in facts if one.low is not None and one.high is not None]
    if not deep:
        return []
    if value_range is None:
        return [
            f"{len(deep)} pictures hold more than 8 bits, and no range suits all; each is scaled by its file's type"
        ]
    least, greatest = value_range
    note = f"{len(deep)} pictures hold more than 8 bits; values from {least:g} to {greatest:g} become 0 to 255"
    clipped = sum(low < least or high > greatest for low, high in deep)
    return [f"{note}; {clipped} pictures have values beyond, which are clipped" if clipped else note]


def choose_policy(recipe: Recipe, preprocessing: Preprocessing) -> Policy:
    """The recipe's policy with its other settings laid over it."""
    changes: dict[str, Any] = {}
    if recipe.policy == "auto":
        small = preprocessing.size <= SMALL_INPUT
        crop = recipe.augment.get("crop", recipe.crop)
        crop = ("padded" if small else "resized") if crop == "auto" else crop
        policy = POLICIES["cifar" if crop == "padded" else "basic"].policy
    else:
        policy = POLICIES[recipe.policy].policy
    if recipe.crop != "auto":
        changes["crop"] = recipe.crop
    if recipe.crop_area is not None:
        changes["area"] = recipe.crop_area
    if recipe.padding is not None:
        changes["padding"] = recipe.padding
    changes |= recipe.augment
    policy = policy.changed(changes)
    for kind in KINDS:
        if getattr(recipe, kind) is False or (kind == "mirror" and recipe.data in UNMIRRORED):
            policy = policy.without(kind)
    return policy


def principal_colours_of(policy: Policy, preprocessing: Preprocessing, data: PictureData) -> Components:
    """The principal colours that the policy's "pca" goes along: ImageNet's, or those of the training pictures."""
    if not policy.pca or policy.pca_of == "imagenet" or preprocessing.mode != "RGB":
        return IMAGENET_COMPONENTS
    return source_colours(data.source, data.split.train, preprocessing.value_range)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that a training is made of. Nothing is open any more: `recipe` is the resolved one."""

    recipe: Recipe
    data: PictureData
    setup: ModelSetup
    choice: Choice
    device: torch.device
    world: World

    @functools.cached_property
    def policy(self) -> Policy:
        """How training pictures are augmented."""
        return choose_policy(self.recipe, self.setup.preprocessing)

    @functools.cached_property
    def components(self) -> Components:
        """The principal colours that the policy's "pca" goes along."""
        return principal_colours_of(self.policy, self.setup.preprocessing, self.data)

    @functools.cached_property
    def prepare(self) -> Callable[[Batch], Tensor]:
        """Makes the network's input of a batch of pictures."""
        return make_prepare(self.setup.preprocessing, self.device, self.recipe.channels_last)

    @property
    def dtype(self) -> torch.dtype:
        """The arithmetic of the network."""
        return choose_precision(self.recipe.precision, self.device, self.setup.preprocessing.size)

    @property
    def workers(self) -> int:
        """Processes that read pictures for this one."""
        return choose_workers(self.recipe.workers, self.device, self.world.world_size)

    @property
    def strategies(self) -> list[str]:
        """What learns in each phase."""
        two = self.recipe.two_phase and self.choice.strategy != "head"
        return ["head", self.choice.strategy] if two else [self.choice.strategy]

    def epochs_of(self, number: int) -> int:
        """The epochs of phase `number`, from 0."""
        if self.strategies[number] == "head" and self.recipe.head_fit == "logistic":
            return 1
        return self.recipe.head_epochs if number == 0 and len(self.strategies) == 2 else self.recipe.epochs
