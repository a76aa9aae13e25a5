"""One training from start to end: a recipe -> a run folder with the best weights.

Takes the data and the network from `preparation`, chooses the transfer strategy, hands all to the loop phase by phase,
and does the same again from the run folder when a training goes on.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.loader import Batches
from ..device import (
    autocast,
    choose_device,
    choose_precision,
    choose_workers,
    environment,
    tune_allocator,
)
from ..errors import CasebookError, DataError, RecipeError, RunError
from ..files import write_json
from ..models.weights import read_weights
from ..preprocessing import Preprocessing
from .checkpoint import read_checkpoint
from .distributed import Place, gather_from_all, job_id, joined, wait_for_all
from .features import FeatureBatches, compute_features
from .pipeline import choose_form, choose_prepared
from .preparation import (
    SMALL_INPUT,
    Built,
    Data,
    build,
    choose_policy,
    make_prepare,
    prepare_data,
    principal_colours_of,
    resolve_model,
)
from .recipe import Recipe
from .run import ATTEMPT_FILE, Run, discard_run, event_log, keep_rows, new_run, write_model_file
from .trainer import Loop, Phase, Report
from .transfer import Choice, Frozen, choose_transfer, parts


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the loop left, for the evaluation that follows."""

    run: Run
    data: Data
    place: Place
    device: torch.device
    transfer: Choice
    notes: tuple[str, ...]
    skipped: dict[str, str]
    features: dict[str, int] | None


def train_run(
    recipe: Recipe, *, out: str | Path | None = None, report: Report = lambda event: None
) -> "contextlib.AbstractContextManager[Outcome]":
    """Trains by a recipe into a new folder `out` (runs/DATA-MODEL-N when None).

    A context manager: inside it the processes of torchrun are still joined. After a restart by torchrun the
    run in `out` goes on.
    """
    if job_id() and out is None:
        raise RecipeError("under torchrun, name the run folder with --out, so that a restarted process finds it")
    return _session(recipe, out, report)


def resume_run(
    path: str | Path, *, report: Report = lambda event: None
) -> "contextlib.AbstractContextManager[Outcome]":
    """Goes on with an interrupted training from its last checkpoint. Raises RunError when there is none."""
    run = Run(Path(path))
    if not run.path.is_dir():
        raise RunError(f"no run folder {str(path)!r} to resume; 'casebook train DATA' makes one")
    if not (run.path / "recipe.toml").is_file():
        raise RunError(f"{path}: no recipe.toml, so it is no run folder to resume; 'casebook train DATA' makes one")
    if not run.recipe.data:
        raise RunError(f"{path}: its recipe.toml names no data; restore it from a copy, or start again")
    return _session(run.recipe, run, report)


@contextlib.contextmanager
def _session(recipe: Recipe, where: Run | str | Path | None, report: Report) -> Iterator[Outcome]:
    """`where` is a run to go on with, or where a new one goes."""
    tune_allocator()
    device = choose_device(recipe.device)
    with joined(device) as place:
        report = report if place.is_first else _silent
        if isinstance(where, Run):
            run, resuming = where, True
        else:
            recipe = resolve_model(recipe)
            states = gather_from_all(_earlier_attempt(where) if place.is_first else "", place)
            resuming = states[0] == "trained"
            if place.is_first and not resuming:
                run = new_run(where, recipe, into_own=states[0] == "begun")
                if job_id():
                    (run.path / ATTEMPT_FILE).write_text(job_id())
            else:
                run = Run(Path(where or ""))
            recipe = run.recipe if resuming else recipe
        if place.is_first:
            for leftover in run.path.glob(".*.tmp"):  # of a writer that was killed
                leftover.unlink(missing_ok=True)
            report({"kind": "run", "path": str(run.path), "resumed": resuming})
            write_json(run.path / "environment.json", environment() | {"processes": place.world_size})
        try:
            outcome = _train(recipe, run, resuming, device, place, report)
        except (CasebookError, KeyboardInterrupt):
            if place.is_first and not resuming and not (run.path / "last.ckpt").exists():
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


def _silent(_: dict[str, Any]) -> None:
    pass


def balanced_weights(labels: Sequence[int], num_classes: int) -> Tensor:
    """(num_classes,) loss weights inverse to the class counts, whose mean over the pictures is 1."""
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    return torch.tensor(len(labels) / (num_classes * np.maximum(counts, 1)), dtype=torch.float32)


def choose_batch_size(
    recipe: Recipe, network: nn.Module, preprocessing: Preprocessing, device: torch.device, dtype: torch.dtype,
    num_pictures: int, on_features: bool, world_size: int,
) -> int:  # fmt: skip
    """The recipe's batch size, or one that suits the machine: on a GPU the largest power of two up to 256 whose step
    fits into its memory; on a CPU 32 large or 128 small pictures; always at least eight batches an epoch."""
    if recipe.batch_size:
        return recipe.batch_size
    small = preprocessing.size <= SMALL_INPUT
    if on_features:
        size = 64
    elif device.type == "cuda":
        size = (4 if small else 1) * 256
        while size > 8 and not _step_fits(network, preprocessing, device, dtype, size // world_size):
            size //= 2
    else:
        size = 128 if small else 32
    while size > 8 and num_pictures < 8 * size:
        size //= 2
    return size


def _step_fits(
    network: nn.Module, preprocessing: Preprocessing, device: torch.device, dtype: torch.dtype, batch_size: int
) -> bool:
    side = preprocessing.size
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    try:
        images = torch.randn(max(2, batch_size), preprocessing.channels, side, side, device=device)
        with autocast(device, dtype):
            network(images.contiguous(memory_format=torch.channels_last)).float().sum().backward()
        # Momentum and gradients of all weights, and room for fragmentation.
        return torch.cuda.max_memory_allocated(device) < 0.8 * torch.cuda.get_device_properties(device).total_memory
    except torch.OutOfMemoryError:
        return False
    finally:
        network.zero_grad(set_to_none=True)
        network.load_state_dict(state)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _train(recipe: Recipe, run: Run, resuming: bool, device: torch.device, place: Place, report: Report) -> Outcome:
    data = prepare_data(recipe, run, place, resuming and (run.path / "split.csv").is_file(), report)
    has_checkpoint = resuming and (run.path / "last.ckpt").is_file()
    built = build(recipe, data)
    network = built.network.to(device)
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if has_checkpoint:
        choice, notes = Choice(**run.model["transfer"]), list(run.model["notes"])
    else:
        choice = choose_transfer(recipe, len(data.split.train) / len(data.source.classes))
        notes = [*data.source.notes, *data.split.notes, *built.notes]
        if choice.strategy == "head" and recipe.feature_views == 1 and (recipe.policy != "auto" or recipe.augment):
            notes.append("the head learns on one view of each picture, which is not augmented: see feature_views")
        recipe = _resolved(recipe, choice, built, len(data.split.train), device, place)
        if place.is_first:
            _write_start(run, recipe, data, built, choice, notes)
    report({"kind": "start", "transfer": choice.strategy, "reason": choice.reason, "notes": notes,
            "train": len(data.split.train), "val": len(data.split.val), "test": len(data.split.test),
            "classes": len(data.source.classes), "batch_size": recipe.batch_size, "precision": recipe.precision,
            "device": str(device)})  # fmt: skip
    class_weights = None
    if recipe.class_weights == "balanced":
        labels = [data.source.pictures[i].label for i in data.split.train]
        class_weights = balanced_weights(labels, len(data.source.classes))
    skipped = {data.source.pictures[index].name: reason for index, reason in data.scan.broken.items()}
    features: dict[str, int] | None = None
    with event_log(run, recipe.tensorboard and place.is_first) as events:
        loop = Loop(
            run, recipe, network, device=device, place=place, class_weights=class_weights, report=report,
            events=events,
        )  # fmt: skip
        if has_checkpoint:
            loop.resume(read_checkpoint(run.path / "last.ckpt"))
        if resuming and place.is_first:
            keep_rows(run, loop.position.rows)
        strategies = ["head", choice.strategy] if recipe.two_phase and choice.strategy != "head" else [choice.strategy]
        for number, strategy in enumerate(strategies):
            if loop.position.phase > number:
                continue
            if number and loop.resumed is None:
                state, _ = read_weights(run.path / "model.safetensors")  # the second phase starts from the best head
                network.load_state_dict(state)
            epochs = recipe.head_epochs if number == 0 and len(strategies) == 2 else recipe.epochs
            learning = parts(network, strategy, recipe)
            frozen = Frozen(network, learning, folded_norms=bool(built.weights and built.weights.folded_norms))
            if strategy == "head":
                phase, features = _head_phase(recipe, built, data, learning, epochs, device, place, report)
            else:
                phase = _picture_phase(recipe, built, data, frozen, learning, strategy, epochs, device, place, report)
            loop.fit(phase, number)
            wait_for_all(place)  # process 0 may still be writing the best weights
            skipped |= phase.train.skipped | phase.validation.skipped
            for weight in network.parameters():
                weight.requires_grad_(True)
    for others in gather_from_all(skipped, place):
        skipped |= others
    if recipe.strict and skipped:
        raise DataError(f"{len(skipped)} pictures could not be read, the first: {next(iter(skipped.items()))}")
    return Outcome(run, data, place, device, choice, tuple(notes), skipped, features)


def _resolved(
    recipe: Recipe, choice: Choice, built: Built, num_train: int, device: torch.device, place: Place
) -> Recipe:
    """The recipe with everything decided that was left open, as it lies in the run folder."""
    dtype = choose_precision(recipe.precision, device, built.preprocessing.size)
    on_features = choice.strategy == "head"
    batch_size = choose_batch_size(
        recipe, built.network, built.preprocessing, device, dtype, num_train, on_features, place.world_size
    )
    batch_size = min(gather_from_all(batch_size, place))
    if batch_size < 2 * place.world_size:
        raise RecipeError(
            f"batch_size is {batch_size}, too few for {place.world_size} processes: each needs at least two pictures"
        )
    policy = choose_policy(recipe, built.preprocessing)
    return recipe.model_copy(
        update={
            "batch_size": batch_size,
            "input_size": built.preprocessing.size,
            "transfer": choice.strategy,
            "crop": policy.crop,
            "mirror": policy.mirror > 0,
            "precision": "bf16" if dtype == torch.bfloat16 else "fp32",
        }
    )


def _write_start(run: Run, recipe: Recipe, data: Data, built: Built, choice: Choice, notes: list[str]) -> None:
    """The files of a run folder that are known before the first step."""
    recipe.write(run.path / "recipe.toml")
    source = None if not built.weights else {"source": built.weights.source, "sha256": built.weights.sha256}
    write_model_file(
        run,
        architecture=recipe.model,
        options=built.options,
        classes=data.source.classes,
        preprocessing=built.preprocessing,
        departures=built.departures,
        source_weights=source,
        transfer=choice._asdict(),
        notes=notes,
    )
    (run.path / "metrics.jsonl").touch()


def _picture_phase(
    recipe: Recipe, built: Built, data: Data, frozen: Frozen, learning: list, strategy: str, epochs: int,
    device: torch.device, place: Place, report: Report,
) -> Phase:  # fmt: skip
    """The phase that trains on pictures."""
    split, num_pictures = data.split, len(data.split.train) + len(data.split.val)

    def batches(indices: Sequence[int], **options: Any) -> Batches:
        return Batches(
            data.source, indices, built.preprocessing, batch_size=recipe.batch_size, seed=recipe.seed,
            rank=place.rank, world_size=place.world_size, sizes=data.sizes,
            memory_share=recipe.memory_share * len(indices) / num_pictures,
            workers=choose_workers(recipe.workers, device, place.world_size), **options,
        )  # fmt: skip

    policy = choose_policy(recipe, built.preprocessing)
    kept = choose_prepared(recipe, data, built.preprocessing, policy, epochs, place, report)
    return Phase(
        "train" if strategy == "none" else "tune",
        built.network,
        frozen.train,
        learning,
        batches(
            split.train,
            policy=policy,
            shuffle=True,
            on_device=device.type == "cuda",
            components=principal_colours_of(policy, built.preprocessing, data),
            **kept._asdict(),
        ),
        batches(split.val),
        make_prepare(built.preprocessing, device, recipe.channels_last),
        epochs,
        choose_precision(recipe.precision, device, built.preprocessing.size),
    )


def _head_phase(
    recipe: Recipe, built: Built, data: Data, learning: list, epochs: int, device: torch.device, place: Place,
    report: Report,
) -> tuple[Phase, dict[str, int]]:  # fmt: skip
    """The phase that trains the head on features computed once; process 0 fills the cache for the others."""
    source, network, preprocessing = data.source, built.network, built.preprocessing
    contents = [facts.sha256 for facts in data.scan.facts]
    policy = choose_policy(recipe, preprocessing)
    components, form = principal_colours_of(policy, preprocessing, data), choose_form(recipe, preprocessing)

    def progress(done: int, total: int) -> None:
        report({"kind": "features", "done": done, "total": total})

    def features_of(indices: Sequence[int], views: int) -> tuple:
        return compute_features(
            network, {"architecture": recipe.model, **built.options}, source, indices, contents, preprocessing,
            make_prepare(preprocessing, device, recipe.channels_last), views=views,
            policy=policy, components=components, form=form, seed=recipe.seed, device=device,
            dtype=choose_precision(recipe.precision, device, preprocessing.size),
            batch_size=32 if device.type == "cpu" else 256,
            workers=choose_workers(recipe.workers, device, place.world_size), progress=progress,
        )  # fmt: skip

    if not place.is_first:
        wait_for_all(place)
    train_values, train_indices, train_skipped, computed = features_of(data.split.train, recipe.feature_views)
    val_values, val_indices, val_skipped, more = features_of(data.split.val, 1)
    if place.is_first:
        wait_for_all(place)

    def labels(indices: Any) -> Any:
        return np.array([source.pictures[int(i)].label for i in indices], np.int64)

    common: dict[str, Any] = {
        "batch_size": recipe.batch_size, "seed": recipe.seed, "rank": place.rank, "world_size": place.world_size,
    }  # fmt: skip
    train = FeatureBatches(train_values, labels(train_indices), shuffle=True, **common)
    validation = FeatureBatches(val_values, labels(val_indices), shuffle=False, **common)
    train.skipped |= train_skipped
    validation.skipped |= val_skipped
    module = nn.Sequential(network.head.dropout, network.head.classifier)
    phase = Phase(
        "head", module, module.train, learning, train, validation,
        lambda batch: batch.images.to(device), epochs, torch.float32,
    )  # fmt: skip
    total = len(train_indices) * recipe.feature_views + len(val_indices)
    return phase, {"computed": computed + more, "cached": total - computed - more}
