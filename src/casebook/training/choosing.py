"""What a recipe leaves open -> what this training does: which parts learn, which augmentation stays, how large a
batch is, and on how many threads and in which precision it computes."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..augmentation.policy import KINDS
from ..data.datasets import PictureData
from ..device import Stopwatch, Threads, choose_precision, choose_threads, using_threads
from ..errors import DataError, RecipeError
from ..models import model_card
from ..preprocessing import RESIZES
from ..progress import Remark, Reporter
from .batch_size import choose_batch_size, is_small, step_fits
from .distributed import World, gather_from_all
from .features import Arithmetic, Features
from .feeds import extracted
from .fine_tuning import TIMED_PICTURES, Forecast, adapted, affordable_plan, forecast, rough_time
from .inputs import MOST_COMPARED, InputTrial, prepared_as, try_resizes, try_sizes
from .logistic import HeadTrial, try_heads
from .plan import ModelSetup, Plan, choose_policy, sets_of
from .recipe import Recipe
from .transfer import Choice, choose_transfer
from .trials import open_operations, try_operations

MOST_SOLVED = 100_000_000  # pictures x features; the solver holds some copies of them, each of 0.8 GB in float64


class Decision(NamedTuple):
    """What learns, the recipe and the network's setup with it, and what was found out for it."""

    recipe: Recipe
    choice: Choice
    setup: ModelSetup
    expected_seconds: float = 0.0
    """What the network takes: for trials of its input it took, for the rest by a forecast; 0 where none was made."""
    head: HeadTrial | None = None
    """Where heads were tried in cross-validation."""
    inputs: tuple[InputTrial, ...] = ()
    """Where sizes of the network's input or ways of resizing were tried."""


def decide_transfer(
    recipe: Recipe, data: PictureData, setup: ModelSetup, device: torch.device, world: World, report: Reporter
) -> Decision:
    """What learns; `transfer = "auto"` is decided by measurement."""
    num_train, num_val = len(data.split.train), len(data.split.val)
    pictures_per_class = num_train / len(data.source.classes)
    if recipe.head_fit == "logistic" and not _can_solve(setup, data):
        raise RecipeError(
            "head_fit is logistic, which takes one label a picture and a network whose last layer is linear; "
            "leave it out"
        )
    if recipe.transfer != "auto" or recipe.two_phase or not recipe.weights:
        return Decision(recipe, choose_transfer(recipe, pictures_per_class), setup)
    plan = Plan(recipe, data, setup, Choice("head", ""), device, world)
    solves_head, inputs, watch = _should_solve(recipe, setup, data), list[InputTrial](), Stopwatch()
    if solves_head and (tried := try_sizes(plan, report)):
        inputs.append(tried)
        plan = prepared_as(plan, tried)
        setup = plan.setup
    spent_seconds = max(gather_from_all(watch.seconds, world))  # all processes plan the same epochs
    preprocessing = setup.preprocessing
    arithmetic = Arithmetic(device, choose_precision(recipe.precision, device, preprocessing.size))
    timed = recipe.model_copy(update={"batch_size": TIMED_PICTURES * world.world_size})

    def measure(learn: Callable[[], object]) -> Forecast:
        with using_threads(threads_of(timed, setup, device, world).number):
            mine = forecast(setup.network, preprocessing.size, preprocessing.channels, arithmetic, learn)
        everyones = gather_from_all(mine, world)
        return Forecast(*(max(times) / world.world_size for times in zip(*everyones, strict=True)))

    found = affordable_plan(
        recipe,
        setup.network,
        measure,
        (num_train, num_val),
        folded_norms=setup.folded_norms,
        spent_seconds=spent_seconds if inputs else 0.0,
    )
    # Of the features for the other ways of resizing; those for the network's own are needed anyway.
    trial_seconds = (len(RESIZES) - 1) * found.head_seconds * min(1.0, MOST_COMPARED / (num_train + num_val))
    time_is_left = spent_seconds + found.head_seconds + trial_seconds <= 60 * recipe.time_budget_minutes
    if solves_head and not found.changes and time_is_left:  # the head alone
        watch.restart()
        if tried := try_resizes(plan, report):
            inputs.append(tried)
            plan = prepared_as(plan, tried)
            setup, recipe = plan.setup, recipe.model_copy(update={"resize": tried.taken})
        spent_seconds += max(gather_from_all(watch.seconds, world))
    report(Remark(f"the network takes about {rough_time(found.seconds)} on this machine; --time-budget sets a limit"))
    if data.source.targets is not None:  # the test of the two is one of single answers; the best epoch of both is kept
        found.changes.pop("keep_head", None)
    trial = None
    if solves_head:
        train, _ = extracted(plan, report)
        try:
            trial = cross_validate_heads(plan, train)
        except DataError:
            if recipe.head_fit == "logistic" and not recipe.head_penalty:
                raise
            reason = f"too few pictures for cross-validation; {found.choice.reason}"
            found = found._replace(choice=found.choice._replace(reason=reason))
        else:
            found = adapted(found, trial, pictures_per_class, num_val)
            if recipe.head_penalty:
                found.changes["head_penalty"] = recipe.head_penalty
            if recipe.class_weights == "auto" and trial.balanced:
                found.changes["class_weights"] = "head"
    return Decision(
        recipe.model_copy(update=found.changes),
        found.choice,
        setup,
        spent_seconds + found.seconds,
        trial,
        tuple(inputs),
    )


def _should_solve(recipe: Recipe, setup: ModelSetup, data: PictureData) -> bool:
    """Whether the head of `transfer = "auto"` is a logistic regression."""
    if recipe.head_fit == "steps" or recipe.feature_views > 1 or not _can_solve(setup, data):
        return False
    num_values = len(data.split.train) * setup.network.head.classifier.in_features
    return recipe.head_fit == "logistic" or num_values <= MOST_SOLVED


def _can_solve(setup: ModelSetup, data: PictureData) -> bool:
    """Whether the head can be a logistic regression."""
    return isinstance(setup.network.head.classifier, nn.Linear) and data.source.targets is None


def cross_validate_heads(plan: Plan, train: Features) -> HeadTrial:
    """What cross-validation on the training pictures says; process 0 does the work.

    Raises DataError, in all processes, where the pictures are too few.
    """
    found, problem = None, ""
    if plan.world.is_first:
        source = plan.data.source
        groups = sets_of(plan.data, plan.recipe, train.indices.tolist())
        try:
            found = try_heads(train.values[:, 0], source.truth(train.indices), groups, seed=plan.recipe.seed)
        except DataError as error:
            problem = str(error)
    found, problem = gather_from_all((found, problem), plan.world)[0]
    if found is None:
        raise DataError(
            f"cross-validation finds no penalty for a logistic head: {problem}; give head_penalty, or leave out "
            "head_fit = logistic"
        )
    return found


def choose_augmentation(
    recipe: Recipe, choice: Choice, data: PictureData, setup: ModelSetup, world: World
) -> tuple[Recipe, list[str]]:
    """The recipe without the augmentation of which a trial says that it hurts, and what must be said about it."""
    sees_views = choice.strategy != "head" or recipe.feature_views > 1
    if data.source.targets is not None or not sees_views:  # the trials tell classes apart
        return recipe, []
    policy, changes, reasons = choose_policy(recipe, setup.preprocessing), {}, []
    if world.is_first:
        tried = open_operations(recipe, policy)
        for trial in try_operations(data.source, data.split.train, setup.preprocessing, policy, tried):
            if trial.hurts:
                changes[trial.operation.setting] = trial.operation.instead
                reasons.append(trial.reason)
    changes, reasons = gather_from_all((changes, reasons), world)[0]
    return recipe.model_copy(update=changes), reasons


def resolved(
    recipe: Recipe, choice: Choice, setup: ModelSetup, num_train: int, device: torch.device, world: World
) -> Recipe:
    """The recipe with everything decided that was left open, as it lies in the run folder."""
    dtype = choose_precision(recipe.precision, device, setup.preprocessing.size)
    batch_size = choose_batch_size(
        recipe,
        is_small(setup.preprocessing),
        device.type,
        num_train,
        on_features=choice.strategy == "head",
        fits=lambda size: step_fits(setup.network, setup.preprocessing, size // world.world_size, device, dtype),
    )
    batch_size = min(gather_from_all(batch_size, world))
    least = 2 if any(isinstance(module, _BatchNorm) for module in setup.network.modules()) else 1
    if batch_size < least * world.world_size:
        raise RecipeError(
            f"batch_size is {batch_size}, expected at least {least * world.world_size}: each of {world.world_size} "
            f"processes needs {least} pictures" + (", for batch norm" if least == 2 else "")
        )
    policy = choose_policy(recipe, setup.preprocessing)
    recipe = recipe.model_copy(update={"batch_size": batch_size})
    threads = threads_of(recipe, setup, device, world)
    return recipe.model_copy(
        update={
            "threads": threads.number if threads.is_fixed and device.type == "cpu" else recipe.threads,
            "input_size": setup.preprocessing.size,
            "transfer": choice.strategy,
            "head_fit": "steps" if recipe.head_fit == "auto" else recipe.head_fit,
            "class_weights": "none" if recipe.class_weights == "auto" else recipe.class_weights,
            "crop": policy.crop,
            "crop_area": policy.area if policy.crop == "resized" else recipe.crop_area,
            **{kind: policy.has(kind) for kind in KINDS},
            "precision": "bf16" if dtype == torch.bfloat16 else "fp32",
        }
    )


def threads_of(recipe: Recipe, setup: ModelSetup, device: torch.device, world: World) -> Threads:
    """The threads for the recipe's batches; the work is that of the network's card, at the size of the pictures."""
    card = model_card(recipe.model)
    scale = (setup.preprocessing.size / card.input_size) ** 2
    work = card.multiply_adds * scale * recipe.batch_size / world.world_size
    return choose_threads(recipe.threads, device, int(work), num_processes=world.world_size)
