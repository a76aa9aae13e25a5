"""One training from start to end: a recipe -> a run folder with the best weights.

Takes the data and the network from `plan` and what was left open from `choosing`, hands the batches of `feeds` to the
trainer phase by phase, and does the same again from the run folder when a training goes on.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.datasets import PictureData
from ..device import (
    Stopwatch,
    ThreadTuner,
    choose_device,
    environment,
    forget_peak,
    peak_memory_bytes,
    tune_allocator,
    tuned_threads,
    using_threads,
)
from ..errors import CasebookError, DataError, RecipeError, RunError
from ..files import write_json
from ..models.weights import read_weights, save_weights
from ..progress import Remark, Reporter, RunOpened, TrainingStarted, silent
from .checkpoint import read_checkpoint
from .choosing import Decision, choose_augmentation, cross_validate_heads, decide_transfer, resolved, threads_of
from .distributed import World, gather_from_all, has_divided, job_id, joined, wait_for_all
from .divided_weights import divide, divides_weights
from .feeds import Feed, feed_features, feed_pictures
from .fine_tuning import HEAD_FILE, judge_run
from .logistic import fit_logistic
from .objective import OBJECTIVES
from .plan import Plan, lost_end_notes, prepare_data, resolve_model, set_up_model, sets_of
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
from .trainer import MACHINE_SETTINGS, Trainer
from .transfer import Choice
from .unit_variance import start_with_unit_variance

RESUMABLE = {"epochs", *MACHINE_SETTINGS} - {"weights"}


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
        choice, notes = Choice(**run.model["transfer"]), list(run.model["notes"])
        decision = Decision(recipe, choice, setup)
    else:
        decision = decide_transfer(recipe, data, setup, device, world, report)
        recipe, choice, setup = decision.recipe, decision.choice, decision.setup
        notes = [*remarks, *data.source.notes, *data.split.notes, *setup.notes]
        notes += [trial.reason for trial in decision.inputs]
        notes += lost_end_notes(data, setup.preprocessing)
        if choice.strategy == "head" and recipe.feature_views == 1 and (recipe.policy != "auto" or recipe.augment):
            notes.append("the head learns on one view of each picture, which is not augmented: see feature_views")
        recipe, remark = choose_augmentation(recipe, choice, data, setup, world)
        notes += remark
        recipe = resolved(recipe, choice, setup, len(data.split.train), device, world)
    plan = Plan(recipe, data, setup, choice, device, world)
    if world.is_first and not has_checkpoint:
        _write_start(run, plan, decision, notes)
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

    tuner = stack.enter_context(tuned_threads(threads_of(recipe, setup, device, world), say_threads))
    skipped = {data.source.pictures[index].name: reason for index, reason in data.scan.broken.items()}
    features: dict[str, int] | None = None
    with event_log(run, recipe.tensorboard and world.is_first) as events:
        trainer = Trainer(recipe, run=run, device=device, world=world, report=report, events=events)
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
            trainer.class_weights = class_weights_of(plan, strategy)
            if strategy == "head":
                feed, features = feed_features(plan, number, report)
                with using_threads(recipe.threads or 1):  # a head is small work
                    trainer.threads = ThreadTuner()
                    if recipe.head_fit == "logistic":
                        _solve_head(plan, run, trainer, feed)
                    else:
                        trainer.fit(network, feed.train, feed.validation, feed.phase)
                    trainer.threads = tuner
            else:
                if recipe.unit_variance and not recipe.weights and not trainer.is_resumed:
                    start_with_unit_variance(plan)
                feed = feed_pictures(plan, strategy, number, report)
                if divides_weights(recipe, network, device, world):
                    divide(network, setup.preprocessing, device, world)
                    report(Remark(f"the weights are divided among {world.world_size} processes (shard_weights)"))
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


def class_weights_of(plan: Plan, strategy: str) -> Tensor | None:
    """The weight of each class in the loss of a phase, or none."""
    wanted = plan.recipe.class_weights
    if wanted != "balanced" and not (wanted == "head" and strategy == "head"):
        return None
    source = plan.data.source
    weights = OBJECTIVES[source.task].weights(source.truth(plan.data.split.train), len(source.classes))
    return weights.to(plan.device)


def _solve_head(plan: Plan, run: Run, trainer: Trainer, feed: Feed) -> None:
    """Puts the best logistic head on the features into the network, and records it as a phase of one epoch."""
    recipe, classifier, watch = plan.recipe, plan.setup.network.head.classifier, Stopwatch()
    found = feed.features
    assert found is not None
    values, labels = found.values.reshape(-1, found.values.shape[-1]), plan.data.source.truth(found.indices)
    labels = np.repeat(labels, found.values.shape[1])
    penalty, solved = recipe.head_penalty, None
    if not penalty:
        trial = cross_validate_heads(plan, found)
        penalty = trial.penalty
        if plan.world.is_first:
            write_json(run.path / "model.json", run.model | {"head": trial.to_dict()})
    if plan.world.is_first:
        solved = fit_logistic(
            values,
            labels,
            len(plan.data.source.classes),
            penalty,
            balanced=recipe.class_weights in ("head", "balanced"),
        )
    weight, bias = (torch.from_numpy(one) for one in gather_from_all(solved, plan.world)[0])
    with torch.no_grad():
        classifier.weight.copy_(weight)
        classifier.bias.copy_(bias)
        logits = torch.from_numpy(values) @ weight.T + bias
        loss = float(nn.functional.cross_entropy(logits, torch.from_numpy(labels)))
    trainer.take(plan.setup.network, feed.validation, feed.phase, train_loss=loss, seconds=watch.seconds)


def _judge(plan: Plan, run: Run, report: Reporter) -> Choice:
    """Keeps the head alone where fine-tuning is not better, and says in model.json what was found.

    A training that goes on after this was done finds nothing more to do.
    """
    network, head, strategy = plan.setup.network, run.path / HEAD_FILE, plan.strategies[1]
    if not all(gather_from_all(head.is_file(), plan.world)):
        return Choice(**run.model["transfer"])
    if has_divided(network):  # this needs a whole one
        network = set_up_model(plan.recipe, plan.data).network.to(plan.device)
    stream = feed_pictures(plan, strategy, 1, report).validation
    numbered = functools.partial(sets_of, plan.data, plan.recipe)
    judgement = judge_run(network, run.path, stream, plan.device, plan.dtype, plan.world, numbered)
    choice = Choice(strategy if judgement.accepted else "head", judgement.reason)
    wait_for_all(plan.world)
    if plan.world.is_first:
        if not judgement.accepted:
            save_weights(run.path / "model.safetensors", portable_state(network), {})
        write_json(
            run.path / "model.json",
            run.model | {"transfer": choice._asdict(), "tried": judgement.tried("strategy", plan.strategies)},
        )
        head.unlink(missing_ok=True)
    wait_for_all(plan.world)
    report(Remark(choice.reason))
    return choice


def _write_start(run: Run, plan: Plan, decision: Decision, notes: list[str]) -> None:
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
            **({"expected_seconds": round(decision.expected_seconds, 1)} if decision.expected_seconds else {}),
            **({"head": decision.head.to_dict()} if decision.head else {}),
            **({"inputs": [trial.to_dict() for trial in decision.inputs]} if decision.inputs else {}),
            "notes": notes,
        },
    )
    (run.path / "metrics.jsonl").touch()
