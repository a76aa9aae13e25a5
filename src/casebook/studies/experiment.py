"""What a study is, and the bench it works on: it trains its arms, and writes down figures, pictures and verdicts."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch

from ..device import environment
from ..errors import RecipeError, did_you_mean
from . import STUDIES
from .trials import Arm, Budget, Build, Measure, PictureSet, Say, load_pictures, quiet, train_arm
from .verdict import Difference, Expected, Ratio, paired_difference

QUICK_PICTURES = 600
FORMAT = 1  # of a result

Mode = Literal["quick", "full"]
Outcome = Literal["confirmed", "contradicted", "no detectable difference", "exact", "measured"]


@dataclasses.dataclass(frozen=True)
class Study:
    """One experiment. `run` works on a Lab; everything else is what its report says in words.

    `claim` is the paper's own result with its table or figure; `design` says what is equal and what differs between
    the arms; `would_change` what could turn the verdict. `quick_data` and `full_data` name the pictures used when
    none are given, "" where the study needs none.
    """

    name: str
    title: str
    question: str
    paper: str
    claim: str
    design: str
    would_change: str
    run: Callable[["Lab"], None]
    quick_data: str = "digits"
    full_data: str = "cifar10"


@dataclasses.dataclass
class Findings:
    """What a study found, as plain data: the report is drawn from it, and it is kept as result.json."""

    tables: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    pictures: list[dict[str, str]] = dataclasses.field(default_factory=list)
    verdicts: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    arms: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


class Lab:
    """The bench: pictures, arms, and the pages of the notebook.

    `data` is what the user gave, or the study's own for this mode; `given` whether the user gave it. `model` and
    `weights` are those of studies that start from a trained network, where the user names them.
    """

    def __init__(
        self,
        study: Study,
        mode: Mode,
        *,
        data: str = "",
        seeds: Sequence[int] = (0, 1, 2),
        folder: Path,
        device: torch.device,
        model: str = "",
        weights: str = "",
        say: Say = quiet,
    ):
        self.study, self.mode, self.seeds = study, mode, tuple(seeds)
        self.data = data or (study.quick_data if mode == "quick" else study.full_data)
        self.given = bool(data)
        self.folder, self.device, self.say = folder, device, say
        self.model, self.weights = model, weights
        self.findings = Findings()

    @property
    def quick(self) -> bool:
        return self.mode == "quick"

    @property
    def is_digits(self) -> bool:
        return self.data == "digits"

    def pictures(self, **options: Any) -> PictureSet:
        """The study's pictures by `arena.load_pictures`, whose options these are.

        The digits are grey unless `mode` says otherwise. In quick mode at most about QUICK_PICTURES of other data are
        taken for training, and as many for validation and test each, unless the options say otherwise.
        """
        if self.is_digits:
            options = {"mode": "L"} | options
        elif self.quick:
            options = {"most": QUICK_PICTURES} | options
        found = load_pictures(self.data, **options)
        self.note(f"Pictures: {found.described()}.")
        return found

    def arm(
        self,
        name: str,
        build: Build,
        pictures: PictureSet | Callable[[int], PictureSet],
        budget: Budget,
        *,
        measure: Measure | None = None,
        learning: Callable[..., Any] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Arm:
        """One arm, trained for each seed, and written down with its costs."""
        arm = train_arm(
            name, build, pictures, budget, seeds=seeds or self.seeds, folder=self.folder / "runs", device=self.device,
            measure=measure, learning=learning, say=self.say,
        )  # fmt: skip
        self.findings.arms.append(
            {
                "name": name,
                "learning_rate": arm.learning_rate,
                "epochs": budget.epochs,
                "test_errors": arm.errors,
                "train_seconds": round(arm.seconds, 2),
                "diverged": [run.seed for run in arm.runs if run.diverged],
            }
        )
        return arm

    def compare(self, claim: str, arm: Arm, reference: Arm, expected: Expected) -> Difference:
        """Writes down whether the claim that the arm's error is `expected` ("lower" or "higher") than the reference's
        holds: the verdict of paired seeds and pictures."""
        found = paired_difference(arm.wrong, reference.wrong)
        self.verdict(
            claim,
            found.outcome(expected),
            f"test error of {arm.name} less that of {reference.name}: {found.text()}",
            difference=found.difference,
            interval=(found.low, found.high),
            unit="share of test pictures",
        )
        return found

    def compare_times(self, claim: str, ratio: Ratio, what: str, *, below: float | None = None) -> None:
        """Writes down a ratio of times; with `below`, whether it is below that number."""
        outcome: Outcome = "measured"
        if below is not None:
            held, broken = ratio.high < below, ratio.low > below
            outcome = "confirmed" if held else "contradicted" if broken else "no detectable difference"
        self.verdict(
            claim, outcome, f"{what}: {ratio.text()}", difference=ratio.ratio, interval=(ratio.low, ratio.high),
            unit="ratio of times",
        )  # fmt: skip

    def verdict(
        self,
        claim: str,
        outcome: Outcome,
        text: str,
        *,
        difference: float | None = None,
        interval: tuple[float, float] | None = None,
        unit: str = "",
    ) -> None:
        self.findings.verdicts.append(
            {
                "claim": claim,
                "outcome": outcome,
                "text": text,
                "difference": difference,
                "interval": list(interval) if interval else None,
                "unit": unit,
            }
        )
        self.say(f"{outcome}: {claim} ({text})")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], note: str = "") -> None:
        """Cells are text or numbers; numbers are written as they are, so round them first."""
        cells = [[cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows]
        self.findings.tables.append({"title": title, "columns": list(columns), "rows": cells, "note": note})

    def picture(self, title: str, svg: str, alt: str) -> None:
        """`svg` is what `figures` draws; `alt` says in words what it shows."""
        self.findings.pictures.append({"title": title, "svg": svg, "alt": alt})

    def note(self, text: str) -> None:
        if text not in self.findings.notes:
            self.findings.notes.append(text)


def find_study(name: str) -> Study:
    """Raises RecipeError for an unknown name."""
    if name not in STUDIES:
        raise RecipeError(f"unknown study {name!r}{did_you_mean(name, STUDIES) or ';'} 'casebook study' lists all")
    module = {"1x1": "one_by_one"}.get(name, name.replace("-", "_"))
    return import_module(f".{module}", __package__).STUDY


def run_study(lab: Lab) -> dict[str, Any]:
    """Runs the study on its bench and gives the whole result as JSON-able data."""
    began = time.monotonic()
    lab.study.run(lab)
    seconds = time.monotonic() - began
    study = lab.study
    words = ("title", "question", "paper", "claim", "design", "would_change")
    return {
        "format": FORMAT,
        "study": study.name,
        "mode": lab.mode,
        "data": lab.data,
        "seeds": list(lab.seeds),
        "seconds": round(seconds, 1),
        **{word: getattr(study, word) for word in words},
        **dataclasses.asdict(lab.findings),
        "environment": environment(),
    }
