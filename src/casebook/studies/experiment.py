"""A study -> its result: the experiment trains the arms and records tables, pictures and verdicts as plain data."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch

from ..device import Stopwatch, environment
from ..errors import RecipeError, did_you_mean
from ..progress import Remark, Reporter, silent
from ..reports import figures
from . import STUDIES
from .costs import NetworkCost
from .pictures import PictureSet, PictureSettings, load_pictures
from .trials import Arm, Build, Learning, Measure, TrainingBudget, TrialSettings, train_arm
from .verdict import Expected, Ratio, Side, Verdict, judge, judge_ratio

QUICK_PICTURES = 600
FORMAT = 2  # of a result
THIS_MACHINE = "on this machine"
TEST_PICTURES, TRAINING_PICTURES = "share of test pictures", "share of training pictures"

Mode = Literal["quick", "full"]


@dataclasses.dataclass(frozen=True)
class Study:
    """One experiment. `run` works on an `Experiment`; the other fields are what the report says in words.

    `claim` is the paper's own result with its table or figure. `paper_setup` is what the paper found it on; a reader
    compares it with what a run used. `design` says what is equal and what differs between the arms, `would_change` what
    could turn a verdict. `quick_data` and `full_data` name the pictures used by default, "" where a study needs none;
    `paper_data` names the paper's own data set where Casebook can load it.
    """

    name: str
    title: str
    question: str
    paper: str
    claim: str
    paper_setup: str
    design: str
    would_change: str
    run: Callable[["Experiment"], None]
    quick_data: str = "digits"
    full_data: str = "cifar10"
    paper_data: str = ""


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """What a user chooses for a study: `data` "" is the study's own; `pretrained` is a network's name and weights for
    it, for the studies that start from a trained network."""

    mode: Mode = "quick"
    data: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    pretrained: tuple[str, str] | None = None


@dataclasses.dataclass
class Findings:
    """What a study found, as plain data: result.json holds it, and the report shows it."""

    tables: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    pictures: list[dict[str, str]] = dataclasses.field(default_factory=list)
    verdicts: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    arms: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


class Experiment:
    """One run of a study: its pictures, its arms, and what it found."""

    def __init__(
        self,
        study: Study,
        settings: StudySettings,
        *,
        folder: Path,
        device: torch.device,
        report: Reporter = silent,
    ):
        self.study, self.settings = study, settings
        self.folder, self.device, self.report = folder, device, report
        self.data = settings.data or (study.quick_data if self.is_quick else study.full_data)
        self.findings = Findings()

    @property
    def is_quick(self) -> bool:
        return self.settings.mode == "quick"

    @property
    def is_digits(self) -> bool:
        return self.data == "digits"

    @property
    def is_own_data(self) -> bool:
        """Whether the user chose the data."""
        return bool(self.settings.data)

    @property
    def data_name(self) -> str:
        return Path(self.data).resolve().name

    @property
    def where(self) -> str:
        """What the outcomes hold for: "on digits"."""
        return f"on {self.data_name}"

    def say(self, text: str) -> None:
        self.report(Remark(text))

    # Trials

    def pictures(self, **settings: Any) -> PictureSet:
        """The study's pictures; `settings` are those of `PictureSettings`.

        The digits are grey unless `mode` says otherwise. In quick mode, other data is limited to about QUICK_PICTURES
        for training, and as many for validation and test each, unless the settings say otherwise.
        """
        defaults: dict[str, Any] = (
            {"mode": "L"} if self.is_digits else {"most": QUICK_PICTURES} if self.is_quick else {}
        )
        found = load_pictures(self.data, PictureSettings(**(defaults | settings)))
        self.note(f"Pictures: {found.described()}.")
        return found

    def arm(
        self,
        name: str,
        build: Build,
        pictures: PictureSet | Callable[[int], PictureSet],
        budget: TrainingBudget,
        *,
        seeds: Sequence[int] = (),
        measure: Measure | None = None,
        learning: Callable[[Any], Learning] | None = None,
    ) -> Arm:
        """Trains one arm once for each seed and records its errors and costs. Options as those of `train_arm`."""
        settings = TrialSettings(
            seeds=tuple(seeds) or self.settings.seeds, folder=self.folder / "runs", device=self.device,
            report=self.report,
        )  # fmt: skip
        arm = train_arm(name, build, pictures, budget, settings, measure=measure, learning=learning)
        shown = pictures(settings.seeds[0]) if callable(pictures) else pictures
        self.findings.arms.append(
            {
                "name": name,
                "learning_rate": arm.learning_rate,
                "epochs": budget.epochs,
                "train_pictures": len({shown.source.pictures[i].name for i in shown.train}),
                "side": shown.preprocessing.size,
                "test_errors": arm.errors,
                "chance_error": arm.chance,
                "train_seconds": round(arm.seconds, 2),
                "diverged": [trial.seed for trial in arm.trials if trial.diverged],
            }
        )
        return arm

    # Verdicts

    def compare(
        self,
        claim: str,
        side: Side,
        reference: Side,
        expected: Expected,
        *,
        margin: float = 0.0,
        measured: str = "test error",
        unit: str = TEST_PICTURES,
    ) -> None:
        """Records the verdict on the claim that the error of `side` less that of `reference` is lower, or higher, than
        `margin`."""
        found, verdict = judge(side, reference, expected, margin=margin)
        text = f"{measured} of {side.name} less that of {reference.name}: {found.text()}"
        if margin:
            text += f"; the claim holds where all of the interval is below {100 * margin:+.2f}"
        self.verdict(claim, verdict, text, self.where, found.difference, (found.low, found.high), unit)

    def compare_times(self, claim: str, ratio: Ratio, what: str, *, below: float = 1.0) -> None:
        """Records the verdict on the claim that a ratio of times is below a bound."""
        interval = (ratio.low, ratio.high)
        text = f"{what}: {ratio.text()}"
        self.verdict(
            claim, judge_ratio(ratio, "lower", below), text, THIS_MACHINE, ratio.ratio, interval, "ratio of times"
        )

    def count(self, claim: str, holds: bool, text: str, ratio: float | None = None, unit: str = "") -> None:
        """Records a claim that counting or comparing bits decides, with no interval."""
        self.verdict(claim, Verdict("exact" if holds else "not exact"), text, difference=ratio, unit=unit)

    def verdict(
        self,
        claim: str,
        verdict: Verdict,
        text: str,
        where: str = "",
        difference: float | None = None,
        interval: tuple[float, float] | None = None,
        unit: str = "",
    ) -> None:
        """Records a verdict. `text` says what was measured, `where` on what, as in "on digits"."""
        outcome = verdict.outcome(where)
        text = "; ".join(filter(None, (text, verdict.detail)))
        self.findings.verdicts.append(
            {
                "claim": claim,
                "kind": verdict.kind,
                "outcome": outcome,
                "text": text,
                "difference": difference,
                "interval": list(interval) if interval else None,
                "unit": unit,
            }
        )
        self.say(f"{outcome}: {claim} ({text})")

    # What the report shows

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], note: str = "") -> None:
        """Cells are text or numbers; numbers are written as they are, so round them first."""
        cells = [[cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows]
        self.findings.tables.append({"title": title, "columns": list(columns), "rows": cells, "note": note})

    def table_of_networks(
        self, title: str, arms: Mapping[str, Arm], costs: Mapping[str, NetworkCost], note: str
    ) -> None:
        """What the networks of the arms cost and how they did."""
        self.table(
            title,
            ("network", "weights", "multiply-adds", "learning rate", "test error in %", "of each seed", "training s"),
            [
                (
                    name, costs[name].parameters, costs[name].multiply_adds, f"{arm.learning_rate:g}",
                    arm.percent, arm.percents, f"{arm.seconds:.0f}",
                )
                for name, arm in arms.items()
            ],
            note,
        )  # fmt: skip

    def picture(self, title: str, figure: Any, alt: str) -> None:
        """`figure` is one of `figures.canvas`; `alt` says in words what it shows."""
        self.findings.pictures.append({"title": title, "svg": figures.svg(figure), "alt": alt})

    def learning_curves(self, title: str, arms: Mapping[str, Arm]) -> None:
        """A picture of the validation error over the epochs."""
        figure, axes = figures.canvas()
        figures.curves(axes, {name: 100 * (1 - arm.curve("val_top1")) for name, arm in arms.items()})
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation error in %")
        names = ", ".join(arms)
        self.picture(title, figure, f"Validation error over the epochs, mean and range of the seeds: {names}.")

    def note(self, text: str) -> None:
        if text not in self.findings.notes:
            self.findings.notes.append(text)


def find_study(name: str) -> Study:
    """Raises RecipeError for an unknown name."""
    if name not in STUDIES:
        raise RecipeError(f"unknown study {name!r}{did_you_mean(name, STUDIES) or ';'} 'casebook study' lists all")
    module = {"1x1": "one_by_one"}.get(name, name.replace("-", "_"))
    return import_module(f".{module}", __package__).STUDY


def run_study(experiment: Experiment) -> dict[str, Any]:
    """Runs the study and gives the whole result as JSON-able data."""
    watch = Stopwatch()
    experiment.study.run(experiment)
    seconds = watch.seconds
    study, settings, findings = experiment.study, experiment.settings, experiment.findings
    words = ("title", "question", "paper", "claim", "paper_setup", "design", "would_change")
    return {
        "format": FORMAT,
        "study": study.name,
        "mode": settings.mode,
        "data": experiment.data,
        "seeds": list(settings.seeds),
        "seconds": round(seconds, 1),
        "caveat": caveat(experiment),
        **{word: getattr(study, word) for word in words},
        "summary": summary_picture(study, findings),
        **dataclasses.asdict(findings),
        "environment": environment(),
    }


def caveat(experiment: Experiment) -> str:
    """What this run used, what the paper used, and what the verdicts can therefore say."""
    study, settings, arms = experiment.study, experiment.settings, experiment.findings.arms
    if not arms:
        return "Nothing is trained here. The figures are counted, or printed in the papers."

    def span(key: str, unit: str) -> str:
        values = [arm[key] for arm in arms]
        low, high = min(values), max(values)
        return f"{low:,} {unit}{'s' * (low != 1)}" if low == high else f"{low:,} to {high:,} {unit}s"

    num_seeds = len(settings.seeds)
    run = (
        f"This run: {experiment.data_name}, {span('train_pictures', 'training picture')}, "
        f"{span('side', 'pixel')} a side, {span('epochs', 'epoch')}, {num_seeds} seed{'s' * (num_seeds > 1)}."
    )
    if num_seeds == 1:
        means = "One seed gives no verdict on trained networks."
    elif settings.mode == "full" and experiment.data == study.paper_data:
        means = "The data is the paper's, so the verdicts speak about its claim, with these seeds."
    else:
        means = "The verdicts hold for this run. They neither confirm nor refute the paper."
    return f"{run} The paper: {study.paper_setup}. {means}"


def summary_picture(study: Study, findings: Findings) -> dict[str, str] | None:
    """One picture of a study: its verdicts with their intervals, or its first picture where none has an interval."""
    shown = [verdict for verdict in findings.verdicts if verdict["interval"]]
    if not shown:
        return dict(findings.pictures[0]) if findings.pictures else None
    alt = "; ".join(f"{verdict['claim']}: {verdict['outcome']}" for verdict in shown)
    return {"title": study.title, "svg": figures.svg(figures.verdicts(shown)), "alt": alt}
