"""The run folder: what one training leaves behind, and what can be made from it again."""

import contextlib
import dataclasses
import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import casebook

from ..errors import RunError, WeightsError
from ..files import write_atomically, write_json
from ..models import create_model, model_card
from ..models.weights import read_weights
from ..preprocessing import Preprocessing
from ..scores import LabelScores, Scores
from .distributed import whole
from .recipe import Recipe, validated

FORMAT = 1
RIVAL_FILE = "rival.toml"  # the recipe of another network, as long as neither is chosen
ATTEMPT_FILE = ".torchrun"  # names the job of torchrun that made the folder, for its restarts


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder on disk. Its files are read when they are asked for."""

    path: Path

    @property
    def recipe(self) -> Recipe:
        """recipe.toml: every setting, as it was resolved for this run."""
        try:
            return validated(tomllib.loads(self._read("recipe.toml")))
        except tomllib.TOMLDecodeError as error:
            raise RunError(f"{self.path / 'recipe.toml'}: not a TOML file: {error}") from error

    @property
    def model(self) -> dict[str, Any]:
        """model.json: architecture, options, classes, preprocessing, version, departures, source of the weights."""
        document = self._json("model.json")
        if document.get("format") != FORMAT:
            raise RunError(
                f"{self.path / 'model.json'}: format {document.get('format')!r}, this Casebook reads {FORMAT}; "
                "use the version that wrote it"
            )
        if missing := sorted({"architecture", "options", "classes", "preprocessing"} - document.keys()):
            raise RunError(f"{self.path / 'model.json'}: no {', '.join(missing)}; restore the file from a copy")
        return document

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class, in the order of the network's outputs."""
        return tuple(self.model["classes"])

    @property
    def task(self) -> str:
        """ "singlelabel", or "multilabel" where a picture may have several labels."""
        return self.model.get("task", "singlelabel")

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The probability from which each class is given, of a run with several labels a picture; else none."""
        record = self._json("thresholds.json")["thresholds"] if self.task == "multilabel" else []
        return tuple(float(one["threshold"]) for one in record)

    @property
    def preprocessing(self) -> Preprocessing:
        """How a picture becomes the network's input."""
        return Preprocessing.from_dict(self.model["preprocessing"])

    @property
    def choice(self) -> dict[str, Any]:
        """What learned ("strategy"), why ("reason"), the "plan" before the training, and the strategies that were
        "tried", with their validation. Where there are any: "expected_seconds", the forecast; "head", what
        cross-validation said about heads; "inputs", what it said about sizes and ways of resizing; "networks", the two
        that were tried, with their validation."""
        model = self.model
        known = {name: model[name] for name in ("expected_seconds", "head", "inputs", "networks") if name in model}
        return {**model["transfer"], "plan": model.get("plan", ""), "tried": model.get("tried", []), **known}

    @property
    def history(self) -> list[dict[str, Any]]:
        """metrics.jsonl: one record an epoch."""
        try:
            return [json.loads(line) for line in self._read("metrics.jsonl").splitlines() if line]
        except ValueError as error:
            raise RunError(f"{self.path / 'metrics.jsonl'}: a line is no JSON: {error}; remove that line") from error

    @property
    def environment(self) -> dict[str, Any]:
        """environment.json: versions, processor and threads."""
        return self._json("environment.json")

    @property
    def evaluation(self) -> dict[str, Any]:
        """evaluation.json: the locked test set, scored once after training."""
        return self._json("evaluation.json")

    @property
    def test(self) -> Scores:
        """How well the best weights do on the locked test set. Raises RunError for several labels a picture."""
        if self.task == "multilabel":
            raise RunError(f"{self.path}: gives several labels a picture; see label_test")
        return Scores.from_dict(self.evaluation["test"])

    @property
    def label_test(self) -> LabelScores:
        """How well the best weights do on the locked test set, of a run with several labels a picture."""
        if self.task != "multilabel":
            raise RunError(f"{self.path}: gives one label a picture; see test")
        return LabelScores.from_dict(self.evaluation["test"])

    @property
    def _figures(self) -> Scores | LabelScores:
        return self.label_test if self.task == "multilabel" else self.test

    @property
    def is_complete(self) -> bool:
        """Whether the training has ended and the test set is scored."""
        return (self.path / "evaluation.json").is_file()

    def __str__(self) -> str:
        return f"{self.path}: {self._figures}" if self.is_complete else f"{self.path}: not finished"

    def _repr_html_(self) -> str:
        from html import escape

        scores = self._figures._repr_html_() if self.is_complete else "<p>not finished</p>"
        return f"<p><b>{escape(str(self.path))}</b>: {escape(self.model['architecture'])}</p>{scores}"

    def network(self) -> nn.Module:
        """The trained network with its best weights, preprocessing and classes, in evaluation mode."""
        model = self.model
        options = model["options"]
        known = {"num_classes", "in_channels", *model_card(model["architecture"]).options}
        if not set(options) <= known or options.get("num_classes") != len(model["classes"]):
            raise RunError(f"{self.path / 'model.json'}: options {options!r} do not fit {model['architecture']}")
        network = create_model(model["architecture"], **options)
        state, _ = read_weights(self.path / "model.safetensors")
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise WeightsError(
                f"{self.path}: model.safetensors does not fit model.json, which has {model['architecture']}; "
                "restore both from one copy"
            ) from error
        network.preprocessing, network.classes = self.preprocessing, tuple(model["classes"])
        return network.eval()

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError as error:
            raise RunError(
                f"{self.path}: no {name}; is it a run folder, and did its training get that far? "
                f"'casebook train --resume {self.path}' goes on with one that was interrupted"
            ) from error
        except OSError as error:
            raise RunError(f"{self.path / name}: {error.strerror}") from error

    def _json(self, name: str) -> dict[str, Any]:
        try:
            document = json.loads(self._read(name))
        except ValueError as error:
            raise RunError(f"{self.path / name}: not valid JSON: {error}") from error
        if not isinstance(document, dict):
            raise RunError(f"{self.path / name}: holds a {type(document).__name__}, expected an object")
        return document


def open_run(path: str | Path) -> Run:
    """Raises RunError when there is no run folder."""
    run = Run(Path(path))
    if not run.path.is_dir():
        raise RunError(f"no run folder {str(path)!r}; 'casebook train' makes one")
    _ = run.model
    return run


def new_run(out: str | Path | None, recipe: Recipe, *, into_own: bool = False) -> Run:
    """An empty folder for a new run: `out`, else runs/DATA-MODEL with the next free number.

    `into_own`: `out` holds what an earlier attempt of the same job left before it trained, and is used again.

    Raises RunError when `out` holds something already or cannot be written.
    """
    try:
        if out is None:
            path = _numbered_folder(recipe)
        else:
            path = Path(out)
            if path.is_dir() and any(path.iterdir()) and not into_own:
                hint = f"go on with it by 'casebook train --resume {path}', " if (path / "recipe.toml").exists() else ""
                raise RunError(f"{path}: exists already; {hint}choose another --out, or remove it first")
            if path.exists() and not path.is_dir():
                raise RunError(f"{path}: is a file; --out takes a folder")
            path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        folder = "in runs" if out is None else out
        raise RunError(f"cannot write the run folder {folder}: {error.strerror}; choose another --out") from error
    return Run(path)


def _numbered_folder(recipe: Recipe) -> Path:
    """A fresh folder runs/DATA-MODEL-N, also where several trainings start at once."""
    data = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(recipe.data).stem or "data").strip("-.")[:60] or "data"
    for number in itertools.count(1):
        path = Path("runs") / f"{data}-{recipe.model}-{number}"
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise AssertionError


def discard_run(run: Run) -> None:
    """Removes what a training writes before its first checkpoint, and the folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        first_files = ("recipe.toml", "model.json", "metrics.jsonl", "environment.json", "split.csv")
        for name in (ATTEMPT_FILE, RIVAL_FILE, *first_files):
            (run.path / name).unlink(missing_ok=True)
        run.path.rmdir()


def write_model_file(run: Run, record: dict[str, Any]) -> None:
    """model.json: `record` has architecture, options, classes, preprocessing and whatever else should be known."""
    write_json(run.path / "model.json", {"format": FORMAT, "casebook": casebook.__version__, **record})


def append_row(run: Run, row: dict[str, Any]) -> None:
    """One more line of metrics.jsonl."""
    path = run.path / "metrics.jsonl"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error


def keep_rows(run: Run, count: int) -> None:
    """Drops the lines of metrics.jsonl that came after the checkpoint that a resumed training starts from."""
    path = run.path / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    write_atomically(path, "".join(lines[:count]))


@contextlib.contextmanager
def event_log(run: Run, wanted: bool) -> Iterator[Any]:
    """A TensorBoard writer, or None; its package is an extra.

    Raises RunError when it is wanted and not installed.
    """
    if not wanted:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RunError("TensorBoard is not installed; pip install 'casebook[tensorboard]'") from error
    with SummaryWriter(str(run.path / "tensorboard")) as writer:
        yield writer


def portable_state(network: nn.Module, *, keep: bool = True) -> dict[str, torch.Tensor]:
    """The network's state on the CPU, contiguous, as safetensors wants it.

    If its weights are divided, all processes must ask for it; one that does not `keep` it gets nothing.
    """
    state = whole(network.state_dict(), keep=keep)
    return {name: value.contiguous() for name, value in state.items()} if keep else {}
