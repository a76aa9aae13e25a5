"""One training from start to end: a recipe -> a run folder with the best weights.

Takes the data and the network from `plan`, chooses the transfer strategy, hands all to the trainer phase by phase,
and does the same again from the run folder when a training goes on.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..augmentation.policy import KINDS
from ..data.batch_plan import BatchPlan
from ..data.crops import CropSettings
from ..data.datasets import PictureData
from ..data.duplicates import duplicates
from ..data.loader import AugmentSettings, Batches, PreparedStream
from ..data.split import tied
from ..device import (
    Stopwatch,
    Threads,
    ThreadTuner,
    choose_device,
    choose_precision,
    choose_threads,
    environment,
    forget_peak,
    peak_memory_bytes,
    tune_allocator,
    tuned_threads,
    using_threads,
)
from ..errors import CasebookError, DataError, RecipeError, RunError
from ..files import write_json
from ..models import model_card
from ..models.weights import read_weights, save_weights
from ..progress import Remark, Reporter, RunOpened, TrainingStarted, silent
from .batch_size import choose_batch_size, is_small, step_fits
from .checkpoint import read_checkpoint
from .distributed import World, gather_from_all, job_id, joined, wait_for_all
from .features import Arithmetic, FeatureBatches, FeatureExtractor, Features, Views
from .fine_tuning import (
    HEAD_FILE,
    TIMED_PICTURES,
    Forecast,
    Machine,
    adapted,
    affordable_plan,
    forecast,
    judge_run,
    rough_time,
)
from .logistic import HeadTrial, fit_logistic, try_heads
from .objective import OBJECTIVES
from .pipeline import choose_crops, choose_format
from .plan import ModelSetup, Plan, choose_policy, prepare_data, resolve_model, set_up_model
from .recipe import Recipe, validated
from .run import (
    ATTEMPT_FILE,
    RIVAL_FILE,
    Run,
    discard_run,
    event_log,
    keep_rows,
    new_run,
    portable_state,
    write_model_file,
)
from .trainer import MACHINE_SETTINGS, Phase, Trainer
from .transfer import Choice, Frozen, choose_transfer, parts
from .trials import open_operations, try_operations

RESUMABLE = {"epochs", *MACHINE_SETTINGS} - {"weights"}


class Feed(NamedTuple):
    """What the trainer gets for one phase."""

    train: PreparedStream
    validation: PreparedStream
    phase: Phase
    features: Features | None = None  # of the training pictures, where those are what is learnt from


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the loop left, for the evaluation that follows."""

    run: Run
    data: PictureData
    world: World
    device: torch.device
    transfer: Choice
    notes: tuple[str, ...]
    skipped: dict[str, str]
    features: dict[str, int] | None
    others_memory_bytes: int
    """The most that the other processes of torchrun held, each at its own peak."""

    @property
    def peak_memory_bytes(self) -> int:
        """The most memory that the run has held until now, with its worker processes."""
        return peak_memory_bytes() + self.others_memory_bytes


def train_run(
    recipe: Recipe, *, out: str | Path | None = None, report: Reporter = silent
) -> "contextlib.AbstractContextManager[Outcome]":
    """Trains by a recipe into a new folder `out` (runs/DATA-MODEL-N when None).

    A context manager: inside it the processes of torchrun are still joined. After a restart by torchrun the
    run in `out` goes on.
    """
    if job_id() and out is None:
        raise RecipeError("under torchrun, name the run folder with --out, so that a restarted process finds it")
    return _session(recipe, out, report)


def resume_run(
    path: str | Path, changes: Mapping[str, Any] | None = None, *, report: Reporter = silent
) -> "contextlib.AbstractContextManager[Outcome]":
    """Continues a training from its last checkpoint.

    `changes` are settings of the recipe that may differ from now on: where the data lies, the machine's settings, and
    `epochs`, which also continues a finished run. Raises RunError when there is no checkpoint, and RecipeError for
    another setting.
    """
    run = Run(Path(path))
    if not run.path.is_dir():
        raise RunError(f"no run folder {str(path)!r} to resume; 'casebook train DATA' makes one")
    if not (run.path / "recipe.toml").is_file():
        raise RunError(f"{path}: no recipe.toml, so it is no run folder to resume; 'casebook train DATA' makes one")
    recipe = run.recipe
    if fixed := [name for name in changes or {} if name not in RESUMABLE]:
        raise RecipeError(
            f"{fixed[0]} decides what the run is, so it cannot change when it is resumed; start a new run, or change "
            f"only {', '.join(sorted(RESUMABLE))}"
        )
    if changes:
        given = {key: str(Path(value).expanduser().resolve()) if key == "data" and Path(value).exists() else value
                 for key, value in changes.items()}  # fmt: skip
        recipe = validated(recipe.model_dump() | given)
        if recipe.epochs < run.recipe.epochs:
            raise RecipeError(f"epochs is {recipe.epochs}, but the run was made for {run.recipe.epochs}; give more")
    if not recipe.data:
        raise RunError(f"{path}: its recipe.toml names no data; restore it from a copy, or start again")
    return _session(recipe, run, report)


@contextlib.contextmanager
def _session(recipe: Recipe, where: Run | str | Path | None, report: Reporter) -> Iterator[Outcome]:
    """`where` is a run to go on with, or where a new one goes."""
    tune_allocator()
    forget_peak()
    device = choose_device(recipe.device)
    with joined(device) as world, contextlib.ExitStack() as stack:
        report = report if world.is_first else silent
        remarks: list[str] = []
        if isinstance(where, Run):
            run, resuming = where, True
        else:
            recipe, remarks, rival = resolve_model(recipe)
            states = gather_from_all(_earlier_attempt(where) if world.is_first else "", world)
            resuming = states[0] == "trained"
            if world.is_first and not resuming:
                run = new_run(where, recipe, into_own=states[0] == "begun")
                if job_id():
                    (run.path / ATTEMPT_FILE).write_text(job_id())
                if rival is not None and world.world_size == 1:
                    rival.write(run.path / RIVAL_FILE)
            else:
                run = Run(Path(where or ""))
            recipe = run.recipe if resuming else recipe
        if world.is_first:
            if resuming and recipe != run.recipe:
                (run.path / "evaluation.json").unlink(missing_ok=True)  # it is of fewer epochs
                recipe.write(run.path / "recipe.toml")
            for leftover in run.path.glob(".*.tmp"):  # of a writer that was killed
                leftover.unlink(missing_ok=True)
            report(RunOpened(str(run.path), resuming))
            write_json(run.path / "environment.json", environment() | {"processes": world.world_size})
        try:
            outcome = _train(recipe, run, resuming, device, world, report, stack, remarks)
        except (CasebookError, KeyboardInterrupt):
            if world.is_first and not resuming and not (run.path / "last.ckpt").exists():
                discard_run(run)  # nothing to go on with: the same --out may be used again
            raise
        yield outcome


def _earlier_attempt(where: str | Path | None) -> str:
    """What an earlier attempt of this very job of torchrun left in the folder: "trained", "begun" or nothing.

    A folder of another job is none of ours, whatever it holds.
    """
    if where is None or not job_id():
        return ""
    marker = Path(where) / ATTEMPT_FILE
    if not marker.is_file() or marker.read_text(encoding="utf-8", errors="replace") != job_id():
        return ""
    return "trained" if (Path(where) / "recipe.toml").is_file() else "begun"


def _train(
    recipe: Recipe,
    run: Run,
    resuming: bool,
    device: torch.device,
    world: World,
    report: Reporter,
    stack: contextlib.ExitStack,
    remarks: Sequence[str],
) -> Outcome:
    data = prepare_data(recipe, run, world, resuming and (run.path / "split.csv").is_file(), report)
    has_checkpoint = resuming and (run.path / "last.ckpt").is_file()
    setup = set_up_model(recipe, data)
    if data.source.targets is None and recipe.focal_gamma:
        raise RecipeError("focal_gamma is for pictures with several labels; leave it out for one label a picture")
    network = setup.network.to(device)
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if has_checkpoint:
        choice, notes, expected_seconds = Choice(**run.model["transfer"]), list(run.model["notes"]), 0.0
    else:
        recipe, choice, expected_seconds = _choose_transfer(recipe, data, setup, device, world, report)
        notes = [*remarks, *data.source.notes, *data.split.notes, *setup.notes]
        if choice.strategy == "head" and recipe.feature_views == 1 and (recipe.policy != "auto" or recipe.augment):
            notes.append("the head learns on one view of each picture, which is not augmented: see feature_views")
        recipe, remark = _choose_augmentation(recipe, choice, data, setup, world)
        notes += remark
        recipe = _resolved(recipe, choice, setup, len(data.split.train), device, world)
    plan = Plan(recipe, data, setup, choice, device, world, expected_seconds)
    if world.is_first and not has_checkpoint:
        _write_start(run, plan, notes)
    report(
        TrainingStarted(
            strategy=choice.strategy,
            reason=choice.reason,
            notes=tuple(notes),
            num_train=len(data.split.train),
            num_val=len(data.split.val),
            num_test=len(data.split.test),
            num_classes=len(data.source.classes),
            batch_size=recipe.batch_size,
            precision=recipe.precision,
            device=str(device),
        )
    )

    def say_threads(before: int, now: int, others: float) -> None:
        if now < before:
            why = f"other programs keep {others:.1f} cores busy"
            report(Remark(f"{why}: threads of this training {before} -> {now}; --set threads={before} keeps {before}"))
        else:
            report(Remark(f"more cores are free: threads of this training {before} -> {now}"))

    tuner = stack.enter_context(tuned_threads(_threads(recipe, setup, device, world), say_threads))
    class_weights = None
    if recipe.class_weights == "balanced":
        objective = OBJECTIVES[data.source.task]
        class_weights = objective.weights(data.source.truth(data.split.train), len(data.source.classes))
    skipped = {data.source.pictures[index].name: reason for index, reason in data.scan.broken.items()}
    features: dict[str, int] | None = None
    with event_log(run, recipe.tensorboard and world.is_first) as events:
        trainer = Trainer(
            recipe, run=run, device=device, world=world, class_weights=class_weights, report=report, events=events
        )
        trainer.threads = tuner
        if has_checkpoint:
            state = read_checkpoint(run.path / "last.ckpt")
            state["recipe"] |= {"epochs": recipe.epochs}  # more may have been asked for
            trainer.resume(network, state)
        if resuming and world.is_first:
            keep_rows(run, trainer.position.rows)
        new_head = {name: value.clone() for name, value in network.head.classifier.state_dict().items()}
        for number, strategy in enumerate(plan.strategies):
            if trainer.position.phase > number:
                continue
            if number and not trainer.is_resumed:
                state, _ = read_weights(run.path / "model.safetensors")  # the second phase starts from the best head
                network.load_state_dict(state)
                if recipe.keep_head and world.is_first:
                    save_weights(run.path / HEAD_FILE, portable_state(network), {})
                if not recipe.head_start:
                    network.head.classifier.load_state_dict(new_head)
            if strategy == "head":
                feed, features = _feed_features(plan, number, report, tuner)
                with using_threads(recipe.threads or 1):  # a head is small work
                    trainer.threads = ThreadTuner()
                    if recipe.head_fit == "logistic":
                        _solve_head(plan, trainer, feed)
                    else:
                        trainer.fit(network, feed.train, feed.validation, feed.phase)
                    trainer.threads = tuner
            else:
                feed = _feed_pictures(plan, strategy, number, report)
                trainer.fit(network, feed.train, feed.validation, feed.phase)
            wait_for_all(world)  # process 0 may still be writing the best weights
            skipped |= feed.train.skipped | feed.validation.skipped
            for weight in network.parameters():
                weight.requires_grad_(True)
    if recipe.keep_head and len(plan.strategies) == 2:
        choice = _judge(plan, run, report)
    for others in gather_from_all(skipped, world):
        skipped |= others
    if recipe.strict and skipped:
        raise DataError(f"{len(skipped)} pictures could not be read, the first: {next(iter(skipped.items()))}")
    memory = gather_from_all(peak_memory_bytes(), world)
    others_memory_bytes = sum(memory) - memory[world.rank]
    return Outcome(run, data, world, device, choice, tuple(notes), skipped, features, others_memory_bytes)


def _choose_transfer(
    recipe: Recipe, data: PictureData, setup: ModelSetup, device: torch.device, world: World, report: Reporter
) -> tuple[Recipe, Choice, float]:
    """What learns, and the recipe with it, and the seconds expected; `transfer = "auto"` is decided by measurement."""
    num_train, num_val = len(data.split.train), len(data.split.val)
    pictures_per_class = num_train / len(data.source.classes)
    if recipe.head_fit == "logistic" and not _can_solve(setup, data):
        raise RecipeError(
            "head_fit is logistic, which takes one label a picture and a network whose last layer is linear; "
            "leave it out"
        )
    if recipe.transfer != "auto" or recipe.two_phase or not recipe.weights:
        return recipe, choose_transfer(recipe, pictures_per_class), 0.0
    preprocessing = setup.preprocessing
    machine = Machine(device, choose_precision(recipe.precision, device, preprocessing.size))
    timed = recipe.model_copy(update={"batch_size": TIMED_PICTURES * world.world_size})

    def measure(learn: Callable[[], object] | None) -> Forecast:
        with using_threads(_threads(timed, setup, device, world).number):
            mine = forecast(setup.network, preprocessing.size, preprocessing.channels, machine, learn)
        everyones = gather_from_all(mine, world)
        return Forecast(*(max(times) / world.world_size for times in zip(*everyones, strict=True)))

    found = affordable_plan(recipe, setup.network, measure, (num_train, num_val))
    report(Remark(f"the network takes about {rough_time(found.seconds)} on this machine; --time-budget sets a limit"))
    if data.source.targets is not None:  # the test of the two is one of single answers; the best epoch of both is kept
        found.changes.pop("keep_head", None)
    if recipe.head_fit != "steps" and recipe.feature_views == 1 and _can_solve(setup, data):
        plan = Plan(recipe, data, setup, Choice("head", ""), device, world)
        trial = _try_heads(plan, extracted(plan, report, ThreadTuner())[0])
        found = adapted(found, trial, pictures_per_class)
        if recipe.class_weights == "auto" and trial.balanced:
            found.changes["class_weights"] = "balanced"
    return recipe.model_copy(update=found.changes), found.choice, found.seconds


def _can_solve(setup: ModelSetup, data: PictureData) -> bool:
    """Whether the head can be a logistic regression."""
    return isinstance(setup.network.head.classifier, nn.Linear) and data.source.targets is None


def _try_heads(plan: Plan, train: Features) -> HeadTrial:
    """What cross-validation on the training pictures says; process 0 does the work."""
    found = None
    if plan.world.is_first:
        source = plan.data.source
        copies = duplicates(plan.data.scan, source, near=plan.recipe.near_duplicates)
        number: dict[int, int] = {}
        for place, members in enumerate(tied(source, copies, train.indices.tolist())):
            number |= dict.fromkeys(members, place)
        groups = np.array([number[index] for index in train.indices.tolist()], np.int64)
        found = try_heads(train.values[:, 0], source.truth(train.indices), groups, seed=plan.recipe.seed)
    return gather_from_all(found, plan.world)[0]


def _solve_head(plan: Plan, trainer: Trainer, feed: Feed) -> None:
    """Puts the best logistic head on the features into the network, and records it as a phase of one epoch."""
    recipe, classifier, watch = plan.recipe, plan.setup.network.head.classifier, Stopwatch()
    found = feed.features
    assert found is not None
    values, labels = found.values.reshape(-1, found.values.shape[-1]), plan.data.source.truth(found.indices)
    labels = np.repeat(labels, found.values.shape[1])
    solved = None
    if plan.world.is_first:
        penalty = recipe.head_penalty or _try_heads(plan, found).penalty
        solved = fit_logistic(
            values, labels, len(plan.data.source.classes), penalty, balanced=recipe.class_weights == "balanced"
        )
    weight, bias = (torch.from_numpy(one) for one in gather_from_all(solved, plan.world)[0])
    with torch.no_grad():
        classifier.weight.copy_(weight)
        classifier.bias.copy_(bias)
        logits = torch.from_numpy(values) @ weight.T + bias
        loss = float(nn.functional.cross_entropy(logits, torch.from_numpy(labels)))
    trainer.take(plan.setup.network, feed.validation, feed.phase, train_loss=loss, seconds=watch.seconds)


def _choose_augmentation(
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


def _judge(plan: Plan, run: Run, report: Reporter) -> Choice:
    """Keeps the head alone where fine-tuning is not better, and says in model.json what was found.

    A training that goes on after this was done finds nothing more to do.
    """
    network, head, strategy = plan.setup.network, run.path / HEAD_FILE, plan.strategies[1]
    if not all(gather_from_all(head.is_file(), plan.world)):
        return Choice(**run.model["transfer"])
    stream = _feed_pictures(plan, strategy, 1, report).validation
    judgement = judge_run(network, run.path, stream, plan.device, plan.dtype, plan.world)
    choice = Choice(strategy if judgement.accepted else "head", judgement.reason)
    wait_for_all(plan.world)
    if plan.world.is_first:
        if not judgement.accepted:
            save_weights(run.path / "model.safetensors", portable_state(network), {})
        write_json(
            run.path / "model.json", run.model | {"transfer": choice._asdict(), "tried": judgement.tried(strategy)}
        )
        head.unlink(missing_ok=True)
    wait_for_all(plan.world)
    report(Remark(choice.reason))
    return choice


def _resolved(
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
    threads = _threads(recipe, setup, device, world)
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


def _threads(recipe: Recipe, setup: ModelSetup, device: torch.device, world: World) -> Threads:
    """The threads for the recipe's batches; the work is that of the network's card, at the size of the pictures."""
    card = model_card(recipe.model)
    scale = (setup.preprocessing.size / card.input_size) ** 2
    work = card.multiply_adds * scale * recipe.batch_size / world.world_size
    return choose_threads(recipe.threads, device, int(work), num_processes=world.world_size)


def _write_start(run: Run, plan: Plan, notes: list[str]) -> None:
    """The files of a run folder that are known before the first step."""
    recipe, setup = plan.recipe, plan.setup
    recipe.write(run.path / "recipe.toml")
    weights = setup.weights
    write_model_file(
        run,
        {
            "architecture": recipe.model,
            "options": setup.options,
            "classes": list(plan.data.source.classes),
            **({} if plan.data.source.targets is None else {"task": plan.data.source.task}),
            "preprocessing": setup.preprocessing.to_dict(),
            "departures": setup.departures,
            "source_weights": None if not weights else {"source": weights.source, "sha256": weights.sha256},
            "transfer": plan.choice._asdict(),
            "plan": plan.choice.reason,
            **({"expected_seconds": round(plan.expected_seconds, 1)} if plan.expected_seconds else {}),
            "notes": notes,
        },
    )
    (run.path / "metrics.jsonl").touch()


def _feed_pictures(plan: Plan, strategy: str, number: int, report: Reporter) -> Feed:
    """Trains on pictures."""
    recipe, data, setup = plan.recipe, plan.data, plan.setup
    split, num_pictures = data.split, len(data.split.train) + len(data.split.val)
    learning = parts(setup.network, strategy, recipe)
    frozen = Frozen(setup.network, learning, folded_norms=bool(setup.weights and setup.weights.folded_norms))
    epochs = plan.epochs_of(number)

    crops = choose_crops(recipe, data, setup.preprocessing, plan.policy, epochs, plan.world, report)

    def stream(indices: Sequence[int], augmentation: AugmentSettings, shuffle: bool) -> PreparedStream:
        batches = Batches(
            data.source, indices, setup.preprocessing,
            BatchPlan(recipe.batch_size, shuffle, recipe.seed, plan.world.rank, plan.world.world_size),
            augmentation=augmentation, workers=plan.workers, device=plan.device,
            crops=dataclasses.replace(crops, memory_share=recipe.memory_share * len(indices) / num_pictures),
        )  # fmt: skip
        batches.report = report
        return PreparedStream(batches, plan.prepare)

    augmentation = AugmentSettings(plan.policy, components=plan.components, on_device=plan.device.type == "cuda")
    train, validation = stream(split.train, augmentation, True), stream(split.val, AugmentSettings(), False)
    name = "train" if strategy == "none" else "tune"
    phase = Phase(epochs, name, parts=learning, start=frozen.train, dtype=plan.dtype, number=number)
    return Feed(train, validation, phase)


def extracted(plan: Plan, report: Reporter, threads: ThreadTuner) -> tuple[Features, Features]:
    """The features of the training and validation pictures; process 0 fills the cache for the others."""
    recipe, data, network = plan.recipe, plan.data, plan.setup.network
    crops = CropSettings(data.sizes, choose_format(recipe, plan.setup.preprocessing), memory_share=0)
    extractor = FeatureExtractor(
        network,
        {"architecture": recipe.model, **plan.setup.options},
        plan.setup.preprocessing,
        plan.prepare,
        Views(
            recipe.feature_views,
            plan.policy,
            plan.components,
            recipe.seed,
            crops,
        ),
        Arithmetic(plan.device, plan.dtype, 32 if plan.device.type == "cpu" else 256, plan.workers),
        report,
        threads,
    )
    contents = [facts.sha256 for facts in data.scan.facts]
    if not plan.world.is_first:
        wait_for_all(plan.world)
    train = extractor(data.source, data.split.train, contents)
    validation = dataclasses.replace(extractor, views=extractor.views._replace(num_views=1))(
        data.source, data.split.val, contents
    )
    if plan.world.is_first:
        wait_for_all(plan.world)
    return train, validation


def _feed_features(plan: Plan, number: int, report: Reporter, threads: ThreadTuner) -> tuple[Feed, dict[str, int]]:
    """Trains the head on features computed once."""
    recipe, data, network = plan.recipe, plan.data, plan.setup.network
    learning = parts(network, "head", recipe)
    Frozen(network, learning)
    train, validation = extracted(plan, report, threads)

    def stream(found: Features, shuffle: bool) -> PreparedStream:
        labels = data.source.truth(found.indices)
        order = BatchPlan(recipe.batch_size, shuffle, recipe.seed, plan.world.rank, plan.world.world_size)
        batches = FeatureBatches(found.values, labels, order)
        batches.skipped |= found.skipped
        return PreparedStream(batches, lambda batch: batch.images.to(plan.device))

    module = nn.Sequential(network.head.dropout, network.head.classifier)
    phase = Phase(plan.epochs_of(number), "head", module, learning, module.train, number=number)
    total = len(train.indices) * recipe.feature_views + len(validation.indices)
    computed = train.num_computed + validation.num_computed
    feed = Feed(stream(train, shuffle=True), stream(validation, shuffle=False), phase, train)
    return feed, {"computed": computed, "cached": total - computed}
