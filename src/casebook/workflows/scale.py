"""Scale in one call: a family and a budget -> networks that keep it, measured, and with pictures their accuracy."""

import contextlib
import math
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..cost.latency import interleaved
from ..cost.latency_model import DeviceProfile, cached_profile, read_profile
from ..cost.memory import MemoryMeter, Subject, peak_bytes_on_cuda
from ..cost.scaling import PATHS, Budget, Point, Proposal, Space, amount, family, propose
from ..device import choose_device, tune_allocator
from ..errors import ModelError
from ..models import create_model
from ..models.weights import save_weights
from ..progress import Event, Remark
from ..studies.pictures import PictureSet, PictureSettings, load_pictures
from ..studies.trials import Arm, TrainingBudget, TrialSettings, train_arm
from ..studies.verdict import Difference, paired_difference
from .scale_result import Candidate, Finalist, Scaled, Scaling

ROUNDS = 6  # times that networks are proposed and measured before those over the budget are given up
SECONDS = 0.6  # of measuring for each network and round
# What an overrun costs besides, by round: the next proposal is that much smaller again. It grows, for a machine's speed
# wanders by a few per cent between rounds, and a network that just misses would go on missing.
SLACK = (1.01, 1.01, 1.03, 1.06, 1.1)

Report = Callable[[dict[str, Any]], None]


def quiet(_: dict[str, Any]) -> None:
    pass


def scale(
    family_name: str,
    *,
    multiply_adds: float | None = None,
    parameters: float | None = None,
    size_bytes: float | None = None,
    memory_bytes: float | None = None,
    latency_ms: float | None = None,
    input_size: int | None = None,
    num_classes: int | None = None,
    kinds: Sequence[str] = tuple(PATHS),
    device_profile: str | Path | DeviceProfile | None = None,
    device: str = "auto",
    threads: int | None = None,
    data: str | Path | None = None,
    epochs: int = 8,
    seeds: Sequence[int] = (0,),
    most_per_class: int | None = 400,
    grid_search: bool = False,
    out: str | Path | None = None,
    report: Report = quiet,
) -> Scaling:
    """The largest networks of a family ("mobilenet_v2", "efficientnet" or "resnet") that keep a budget, measured here.

    The budget is any of the five limits. Networks are proposed by counting (and, for a latency, from this device's
    profile, which the first call makes in a minute), then built and measured. One that measures over the budget is
    made smaller and measured again, or dropped with the reason: the answer holds none over it. A latency keeps its
    limit if the upper end of the 95 % interval of its median does. With another device's `device_profile` (a file of
    `casebook profile-device`) nothing is measured, and the worst error of the profile is left free.

    With `data` the networks are trained on the same pictures for the same number of epochs, with the same learning
    rates to choose from; `grid_search` also looks for alpha, beta and gamma on these pictures. Checkpoints go to `out`
    or a folder that is removed.

    Raises:
        ModelError: for a budget that is empty, impossible, or kept by no network that was measured.
        RunError: for a file that is no device profile.
        DataError: for data that cannot be read.
    """
    budget = Budget(multiply_adds, parameters, size_bytes, memory_bytes, latency_ms)
    chosen = family(family_name)
    if grid_search and data is None:
        raise ModelError("the grid search trains networks, so it needs data")
    if epochs < 1 or not seeds:
        raise ModelError(f"epochs is {epochs} and seeds are {list(seeds)}, expected at least 1 of each")
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)  # what is wrong with it is said before minutes of work
    tune_allocator()
    place, classes = choose_device(device), num_classes
    if data is not None:
        first = load_pictures(
            data, PictureSettings(side=input_size or chosen.resolution)
        )  # what is wrong with it is said at once
        classes = first.num_classes
        if num_classes not in (None, classes):
            raise ModelError(f"num_classes is {num_classes}, but {data} has {classes} classes; leave it out")
    classes = 1000 if classes is None else classes
    notes: list[str] = []
    profile, is_foreign = _profile(device_profile, budget, place, threads, report)
    space = Space(chosen, num_classes=classes, input_size=input_size, profile=profile)
    if is_foreign:
        assert profile is not None
        notes.append(
            f"nothing was measured: latencies are predicted for {profile.device}, whose profile is off by "
            f"{100 * profile.median_error:.0f} % at the median and {100 * profile.worst_error:.0f} % at worst over "
            f"{len(profile.networks)} networks; {100 * profile.margin:.0f} % is left free. Memory is counted, without "
            "workspaces"
        )
        points, dropped = _predicted(space, budget, kinds, profile)
    else:
        points, dropped = _measured(space, budget, kinds, place, threads, report)
        notes += _busy(points)
    if not points:
        reasons = "; ".join(f"{kind}: {reason}" for kind, reason in dropped.items())
        raise ModelError(f"no {chosen.network} was found that keeps {budget.told()}: {reasons}")
    finalists: tuple[Finalist, ...] = ()
    grid: tuple[Candidate, ...] = ()
    described = None
    if data is not None:
        with _folder(out) as folder:
            terms = Terms(data, TrainingBudget(epochs=epochs), tuple(seeds), most_per_class, folder, place, report)
            finalists, described = _train(space, points, terms)
            if grid_search:
                grid = search_bases(space, terms)
    best = _best(points, finalists)
    return Scaling(
        family=family_name,
        network=chosen.network,
        budget=budget,
        num_classes=classes,
        device=profile.device if is_foreign and profile else (points[0].latency.device if points[0].latency else None),
        measured=not is_foreign,
        profile=profile,
        points=points,
        dropped=dropped,
        best=best.kind,
        command=train_command(space, best.point, str(data) if data is not None else "DATA"),
        data=None if data is None else str(data),
        pictures=described,
        finalists=finalists,
        grid=grid,
        notes=tuple(notes),
    )


def profile_device(device: str = "auto", *, threads: int | None = None, report: Report = quiet) -> DeviceProfile:
    """Measures this device in a minute, for `scale` here, which keeps it, or elsewhere."""
    tune_allocator()
    return cached_profile(choose_device(device), threads=threads, again=True, report=report)


def _profile(
    given: str | Path | DeviceProfile | None, budget: Budget, place: torch.device, threads: int | None, report: Report
) -> tuple[DeviceProfile | None, bool]:
    """The profile to predict with, if one is needed, and whether it is another device's."""
    if isinstance(given, DeviceProfile):
        return given, True
    if given is not None:
        return read_profile(given), True
    if budget.latency_ms is None:
        return None, False
    return cached_profile(place, threads=threads, report=report), False


def _predicted(
    space: Space, budget: Budget, kinds: Sequence[str], profile: DeviceProfile
) -> tuple[tuple[Scaled, ...], dict[str, str]]:
    corrections = {kind: {"latency_ms": 1 + profile.margin} for kind in PATHS}
    proposal = propose(space, budget, kinds=kinds, corrections=corrections)
    points = tuple(Scaled(p.kind, p.point, p.equality, p.predicted, None, None, None) for p in proposal.points)
    return points, proposal.dropped


def _measured(
    space: Space, budget: Budget, kinds: Sequence[str], place: torch.device, threads: int | None, report: Report
) -> tuple[tuple[Scaled, ...], dict[str, str]]:
    """Proposes and measures until all are within the budget; the last round's figures are of one run, in turns."""
    ratios: dict[str, dict[str, float]] = {}
    with MemoryMeter(threads=threads or torch.get_num_threads()) as meter:
        number, wants_memory = 0, budget.memory_bytes is not None
        while True:
            report({"kind": "remark", "text": f"counting networks, round {number + 1}"})
            proposal = propose(space, budget, kinds=kinds, corrections=ratios)
            points = _measure(space, proposal, place, threads, report)
            if wants_memory:
                points = _with_memory(space, points, place, meter, report)
            over = {point.kind: budget.overruns(point.measured) for point in points}
            slack = SLACK[min(number, len(SLACK) - 1)]
            corrected = [correct(ratios, point, budget, may_fall=number < 2, slack=slack) for point in points]
            done = not any(over.values()) and not (number < 2 and any(corrected))
            number += 1
            if done or number == ROUNDS:
                break
        dropped = dict(proposal.dropped)
        for point in points:
            if over[point.kind]:
                most = ", ".join(amount(name, value) for name, value in over[point.kind].items())
                dropped[point.kind] = f"measured over the budget {ROUNDS} times, at last {most} ({point.point.told()})"
        points = [point for point in points if not over[point.kind]]
        if not wants_memory:
            with contextlib.suppress(ModelError):  # nobody asked for it, so it is no failure that it cannot be measured
                points = _with_memory(space, points, place, meter, report)
        return tuple(points), dropped


def correct(
    ratios: dict[str, dict[str, float]], point: Scaled, budget: Budget, *, may_fall: bool, slack: float = SLACK[0]
) -> bool:
    """Takes over how many times the predicted costs were measured; whether that changes what is worth proposing.

    While a ratio may fall, networks that measured well below the budget grow, as after a round on a busy machine; then
    it only rises, or the proposals would go up and down for ever.
    """
    changed = False
    measured, predicted = point.measured._asdict(), point.predicted._asdict()
    mine = ratios.setdefault(point.kind, {})
    for name in ("latency_ms", "memory_bytes"):
        if name not in budget.limits or measured[name] is None:
            continue
        ratio, limit = measured[name] / predicted[name], budget.limits[name]
        if measured[name] > limit:
            ratio *= slack
        before = mine.get(name, 1.0)
        if may_fall or (measured[name] > limit and ratio > before):
            mine[name] = ratio
            changed |= measured[name] > limit or ratio < 0.95 * before
    return changed


def _measure(
    space: Space, proposal: Proposal, place: torch.device, threads: int | None, report: Report
) -> list[Scaled]:
    networks = [create_model(space.family.network, **space.options(p.point)).eval() for p in proposal.points]
    report({"kind": "profile", "what": "latency", "done": len(networks), "total": len(networks)})
    times = interleaved(
        [(network, p.point.resolution) for network, p in zip(networks, proposal.points, strict=True)],
        threads=threads, device=place, seconds=SECONDS, least_runs=15,
    )  # fmt: skip
    return [
        Scaled(p.kind, p.point, p.equality, p.predicted, latency, _saved_bytes(network), None)
        for p, latency, network in zip(proposal.points, times, networks, strict=True)
    ]


def _with_memory(
    space: Space, points: Sequence[Scaled], place: torch.device, meter: MemoryMeter, report: Report
) -> list[Scaled]:
    found = []
    for number, point in enumerate(points):
        report({"kind": "profile", "what": "memory", "done": number, "total": len(points)})
        found.append(point._replace(memory_bytes=_memory(space, point.point, place, meter)))
    return found


def _saved_bytes(network: torch.nn.Module) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_weights(path, network.state_dict(), {})
        return path.stat().st_size


def _memory(space: Space, point: Point, place: torch.device, meter: MemoryMeter) -> int | None:
    options, size = space.options(point), point.resolution
    if place.type == "cuda":
        return peak_bytes_on_cuda(create_model(space.family.network, **options), size, place)
    return meter.peak_bytes(Subject(space.family.network, options, size)) if place.type == "cpu" else None


def _busy(points: Sequence[Scaled]) -> list[str]:
    """A note where other programs took the processor from the runs."""
    shares = [p.latency.median_ms / p.latency.processor_ms for p in points if p.latency and p.latency.processor_ms]
    if not shares or max(shares) < 1.1:
        return []
    return [
        f"the machine was busy: a run took up to {max(shares):.2f} times its processor time, so a quiet machine keeps "
        "this budget with larger networks"
    ]


class Terms(NamedTuple):
    """What trainings share."""

    data: str | Path
    budget: TrainingBudget
    seeds: tuple[int, ...]
    most_per_class: int | None
    folder: Path
    device: torch.device
    report: Report

    def tell(self, event: Event) -> None:
        if isinstance(event, Remark):
            self.report({"kind": "remark", "text": event.text})

    def pictures(self, side: int) -> PictureSet:
        most = self.most_per_class
        # The whole picture at every side, or the sides would differ in what the network sees of it.
        settings = PictureSettings(side=side, most_per_class=most, most_test_per_class=most, crop_fraction=1.0)
        return load_pictures(self.data, settings)

    def train(self, space: Space, name: str, point: Point, pictures: PictureSet) -> Arm:
        build = partial(create_model, space.family.network, **space.options(point))
        settings = TrialSettings(self.seeds, self.folder, self.device, self.tell)
        return train_arm(name, build, pictures, self.budget, settings)


def _train(space: Space, points: Sequence[Scaled], terms: Terms) -> tuple[tuple[Finalist, ...], str]:
    sets: dict[int, PictureSet] = {}
    arms: dict[str, Arm] = {}
    for point in points:
        side = point.point.resolution
        sets[side] = sets.get(side) or terms.pictures(side)
        arms[point.kind] = terms.train(space, point.kind, point.point, sets[side])
    shortest = min(max(trial.seconds for trial in arm.trials) for arm in arms.values())
    reference = arms.get("compound")
    finalists = tuple(
        Finalist(
            kind,
            arm,
            _against(arm, reference),
            top1_within(arm, shortest),
        )
        for kind, arm in arms.items()
    )
    first = sets[points[0].point.resolution].described()
    return finalists, first.rpartition(";")[0]


def _against(arm: Arm, reference: Arm | None) -> Difference | None:
    """None for the reference itself, and where a picture could be read at one input size alone."""
    if reference is None or arm is reference or arm.wrong.shape != reference.wrong.shape:
        return None
    return paired_difference(arm.wrong, reference.wrong)


def top1_within(arm: Arm, seconds: float) -> float | None:
    """The best validation top-1 that each training had by then, mean over the seeds; None where no epoch had ended.

    The learning rate of a longer training had not come down yet, so it is a lower bound of what the time allows.
    """
    reached = []
    for run in arm.trials:
        spent, top1 = 0.0, None
        for row in run.curve:
            spent += row["seconds"]
            if spent > seconds * 1.001:
                break
            top1 = max(top1 or 0.0, row["val_top1"])
        if top1 is None:
            return None
        reached.append(top1)
    return sum(reached) / len(reached)


GRID = (  # alpha, beta, gamma with alpha beta^2 gamma^2 about 2: the paper's, one axis alone, two of them
    (1.2, 1.1, 1.15),
    (2.0, 1.0, 1.0),
    (1.0, 1.41, 1.0),
    (1.0, 1.0, 1.41),
    (1.4, 1.2, 1.0),
    (1.4, 1.0, 1.2),
    (1.0, 1.2, 1.19),
)
GRID_BASES = {  # small enough to be trained many times
    "mobilenet_v2": Point(0.35, 0.5, 72),
    "efficientnet_b0": Point(0.35, 0.5, 72),
    "resnet50": Point(0.15, 0.33, 72),
}


def grid_points(space: Space) -> list[Point]:
    """The small base scaled by each of GRID.

    Blocks come whole and inputs in steps, so the width is not base times beta but the one that brings the counted work
    nearest to twice the base's: candidates of unequal work could not be compared. Channels go in multiples of 8, so it
    is nearest within about 15 %.
    """
    base, points = GRID_BASES[space.family.network], []
    wanted = 2 * space.costs(base).multiply_adds
    widths = sorted(space.grid["width"])
    for alpha, _, gamma in GRID:
        depth = next(d for d in space.grid["depth"] if d >= base.depth * alpha - 1e-6)
        side = int(min(space.grid["resolution"], key=lambda side: abs(side - base.resolution * gamma)))
        tried: list[tuple[float, Point]] = []
        low, high = 0, len(widths)
        while low < high:
            middle = (low + high) // 2
            point = Point(widths[middle], depth, side)
            work = space.costs(point).multiply_adds
            tried.append((abs(math.log(work / wanted)), point))
            low, high = (middle + 1, high) if work < wanted else (low, middle)
        points.append(min(tried)[1])
    return points


def search_bases(space: Space, terms: Terms) -> tuple[Candidate, ...]:
    """The paper's step 1 in small: a small base scaled to twice its work with each of GRID, trained alike.

    Each is set against the paper's own bases, with the same pictures and seeds.
    """
    found: list[Candidate] = []
    free = Space(space.family, num_classes=space.num_classes)
    for (alpha, beta, gamma), point in zip(GRID, grid_points(free), strict=True):
        arm = terms.train(free, f"grid-{alpha}-{beta}-{gamma}", point, terms.pictures(point.resolution))
        difference = _against(arm, found[0].arm if found else None)
        found.append(Candidate(alpha, beta, gamma, point, free.costs(point).multiply_adds, arm, difference))
    return tuple(found)


def _best(points: Sequence[Scaled], finalists: Sequence[Finalist]) -> Scaled:
    """With trainings the best by validation, else the compound one, which the paper found best, or the first there is.

    The test pictures choose nothing, so that the error of the chosen one stays honest.
    """
    if finalists:
        kind = max(finalists, key=lambda finalist: _validated(finalist.arm)).kind
        return next(point for point in points if point.kind == kind)
    return next((point for point in points if point.kind == "compound"), points[0])


def _validated(arm: Arm) -> float:
    """The best validation top-1 of each training, mean over the seeds; 0 for one that diverged."""
    best = [max((row["val_top1"] for row in run.curve), default=0.0) * (not run.diverged) for run in arm.trials]
    return sum(best) / len(best)


def train_command(space: Space, point: Point, data: str) -> str:
    """What trains the network of a point: `casebook train DATA --model ...`."""
    return (
        f"casebook train {shlex.quote(data)} --model {space.family.network} --set network.width={point.width:g} "
        f"--set network.depth={point.depth:g} --input-size {point.resolution}"
    )


@contextlib.contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """Where checkpoints go: `out`, which is there already, or a folder that is removed."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
