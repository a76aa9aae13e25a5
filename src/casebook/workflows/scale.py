"""A family and a budget enter; the networks within the budget leave, measured and, with data, trained."""

import contextlib
import dataclasses
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from ..cost.latency import interleaved
from ..cost.latency_model import LatencyModel, cached_latency_model, read_latency_model
from ..cost.memory import MemoryMeter, NetworkSpec, peak_bytes_on_cuda
from ..cost.scaling import PATHS, Budget, Point, Proposal, Space, amount, family, propose
from ..device import choose_device, tune_allocator
from ..errors import ModelError
from ..models import create_model
from ..models.weights import save_weights
from ..progress import Advanced, Remark, Reporter, reporting
from .scale_result import Finalist, GridCandidate, ScaledNetwork, Scaling
from .scale_training import FinalistTraining, check_data, search_bases, train_finalists, training_folder, validated

ROUNDS = 6  # of proposing and measuring; networks that are still over the budget then are dropped
SECONDS = 0.6  # of measuring for each network and round
# After an overrun the next proposal is smaller by this factor again, for each round. It grows because a machine's speed
# drifts by a few per cent between rounds, and a network that just misses the budget would go on missing it.
SLACK = (1.01, 1.01, 1.03, 1.06, 1.1)


@dataclasses.dataclass(frozen=True)
class TargetDevice:
    """The device on which the networks must be within the budget.

    `threads` defaults to torch's own number. `latency_model` describes another device: a file of `casebook
    profile-device`, or what `profile_device` returns; then costs are predicted and nothing is measured.
    """

    device: str = "auto"
    threads: int | None = None
    latency_model: str | Path | LatencyModel | None = None


def scale(
    family_name: str,
    budget: Budget,
    *,
    kinds: Sequence[str] = tuple(PATHS),
    input_size: int | None = None,
    num_classes: int | None = None,
    target: TargetDevice = TargetDevice(),
    training: FinalistTraining | None = None,
    progress: bool | Reporter = False,
) -> Scaling:
    """Finds the largest networks of a family ("mobilenet_v2", "efficientnet" or "resnet") within a budget.

    Networks are proposed by counting and, for a latency, by this device's latency model, which the first call measures
    in a minute. Then they are built and measured. A network that measures over the budget is made smaller and measured
    again, or dropped with the reason, so every network in the result is within the budget. A limit on latency applies
    to the upper 95 % bound of the median. For another device's `target.latency_model` nothing is measured, and the
    model's worst error is left as headroom.

    `training` also trains the networks on data, all under equal conditions. `input_size` fixes the input. `num_classes`
    defaults to the number of classes of the data, else 1000. `progress` is True for a display, or a function that takes
    events.

    Raises:
        ModelError: for a kind or family that does not exist, and if no network is within the budget.
        RunError: for a file that is not a latency model.
        DataError: for data that cannot be read.
    """
    chosen = family(family_name)
    if training is not None and training.out is not None:
        Path(training.out).mkdir(parents=True, exist_ok=True)  # fails now rather than after minutes of work
    tune_allocator()
    device = choose_device(target.device)
    if training is not None:
        num_classes = check_data(training.data, input_size or chosen.resolution, num_classes)
    num_classes = 1000 if num_classes is None else num_classes
    with reporting(progress) as report:
        latency_model, is_foreign = _latency_model(target, budget, device, report)
        space = Space(chosen, num_classes=num_classes, input_size=input_size, latency_model=latency_model)
        if is_foreign:
            assert latency_model is not None
            networks, dropped = _predicted(space, budget, kinds, latency_model)
            notes = [_foreign_note(latency_model)]
        else:
            bench = Bench(space, device, target.threads, report)
            networks, dropped = _measured(bench, budget, kinds)
            notes = _busy(networks)
        if not networks:
            reasons = "; ".join(f"{kind}: {reason}" for kind, reason in dropped.items())
            raise ModelError(f"found no {chosen.network} within {budget}: {reasons}")
        finalists: tuple[Finalist, ...] = ()
        grid: tuple[GridCandidate, ...] = ()
        pictures = None
        if training is not None:
            with training_folder(training.out) as folder:
                finalists, pictures = train_finalists(space, networks, training, folder, device, report)
                if training.grid_search:
                    grid = search_bases(space, training, folder, device, report)
    best, latency = _best(networks, finalists), networks[0].latency
    return Scaling(
        family=family_name,
        network=chosen.network,
        budget=budget,
        num_classes=num_classes,
        device=latency_model.device if is_foreign and latency_model else latency.device if latency else None,
        measured=not is_foreign,
        latency_model=latency_model,
        points=networks,
        dropped=dropped,
        best=best.kind,
        command=train_command(space, best.point, "DATA" if training is None else str(training.data)),
        data=None if training is None else str(training.data),
        pictures=pictures,
        finalists=finalists,
        grid=grid,
        notes=tuple(notes),
    )


def profile_device(
    device: str = "auto", *, threads: int | None = None, progress: bool | Reporter = False
) -> LatencyModel:
    """Measures this device in a minute. `scale` uses the result here, or elsewhere from a file."""
    tune_allocator()
    with reporting(progress) as report:
        return cached_latency_model(choose_device(device), threads=threads, again=True, report=report)


def _latency_model(
    target: TargetDevice, budget: Budget, device: torch.device, report: Reporter
) -> tuple[LatencyModel | None, bool]:
    """The latency model, if the budget needs one, and whether it describes another device."""
    given = target.latency_model
    if given is not None:
        return given if isinstance(given, LatencyModel) else read_latency_model(given), True
    if budget.latency_ms is None:
        return None, False
    return cached_latency_model(device, threads=target.threads, report=report), False


def _foreign_note(model: LatencyModel) -> str:
    return (
        f"nothing was measured: latencies are predictions for {model.device}, whose latency model has an error of "
        f"{100 * model.median_error:.0f} % at the median and {100 * model.worst_error:.0f} % at worst over "
        f"{len(model.networks)} networks; {100 * model.margin:.0f} % is left as headroom. Memory is counted, without "
        "workspaces"
    )


def _predicted(
    space: Space, budget: Budget, kinds: Sequence[str], model: LatencyModel
) -> tuple[tuple[ScaledNetwork, ...], dict[str, str]]:
    corrections = {kind: {"latency_ms": 1 + model.margin} for kind in PATHS}
    proposal = propose(space, budget, kinds=kinds, corrections=corrections)
    networks = (ScaledNetwork(p.kind, p.point, p.equality, p.predicted, None, None, None) for p in proposal.points)
    return tuple(networks), proposal.dropped


@dataclasses.dataclass(frozen=True)
class Bench:
    """Builds and measures networks of a space on one device."""

    space: Space
    device: torch.device
    threads: int | None
    report: Reporter

    def measure(self, proposal: Proposal) -> list[ScaledNetwork]:
        """Latencies, which take turns, and file sizes."""
        built = [create_model(self.space.family.network, **self.space.options(p.point)).eval() for p in proposal.points]
        self.report(Advanced("profile", len(built), len(built), "latency"))
        latencies = interleaved(
            [(network, p.point.resolution) for network, p in zip(built, proposal.points, strict=True)],
            threads=self.threads, device=self.device, seconds=SECONDS, least_runs=15,
        )  # fmt: skip
        return [
            ScaledNetwork(p.kind, p.point, p.equality, p.predicted, latency, _saved_bytes(network), None)
            for p, latency, network in zip(proposal.points, latencies, built, strict=True)
        ]

    def with_memory(self, networks: Sequence[ScaledNetwork], meter: MemoryMeter) -> list[ScaledNetwork]:
        found = []
        for number, network in enumerate(networks):
            self.report(Advanced("profile", number, len(networks), "memory"))
            found.append(network._replace(memory_bytes=self.peak_bytes(network.point, meter)))
        return found

    def peak_bytes(self, point: Point, meter: MemoryMeter) -> int | None:
        """Peak memory of a forward pass; None on Apple GPUs, where it cannot be measured."""
        name, options, size = self.space.family.network, self.space.options(point), point.resolution
        if self.device.type == "cuda":
            return peak_bytes_on_cuda(create_model(name, **options), size, self.device)
        return meter.peak_bytes(NetworkSpec(name, options, size)) if self.device.type == "cpu" else None


def _measured(bench: Bench, budget: Budget, kinds: Sequence[str]) -> tuple[tuple[ScaledNetwork, ...], dict[str, str]]:
    """Proposes and measures until all networks are within the budget. The latencies come from the last round."""
    ratios: dict[str, dict[str, float]] = {}
    with MemoryMeter(threads=bench.threads or torch.get_num_threads()) as meter:
        number, needs_memory = 0, budget.memory_bytes is not None
        while True:
            bench.report(Remark(f"counting networks, round {number + 1}"))
            proposal = propose(bench.space, budget, kinds=kinds, corrections=ratios)
            networks = bench.measure(proposal)
            if needs_memory:
                networks = bench.with_memory(networks, meter)
            over = {network.kind: budget.overruns(network.measured) for network in networks}
            slack = SLACK[min(number, len(SLACK) - 1)]
            corrected = [correct(ratios, network, budget, may_fall=number < 2, slack=slack) for network in networks]
            done = not any(over.values()) and not (number < 2 and any(corrected))
            number += 1
            if done or number == ROUNDS:
                break
        dropped = dict(proposal.dropped)
        for network in networks:
            if over[network.kind]:
                most = ", ".join(amount(name, value) for name, value in over[network.kind].items())
                dropped[network.kind] = f"over the budget in all {ROUNDS} rounds, at last {most} ({network.point})"
        networks = [network for network in networks if not over[network.kind]]
        if not needs_memory:
            # The budget does not limit memory, so the result stands without it.
            with contextlib.suppress(ModelError):
                networks = bench.with_memory(networks, meter)
        return tuple(networks), dropped


def correct(
    ratios: dict[str, dict[str, float]],
    network: ScaledNetwork,
    budget: Budget,
    *,
    may_fall: bool,
    slack: float = SLACK[0],
) -> bool:
    """Updates the ratios of measured to predicted costs; returns whether that makes a new proposal worthwhile.

    While a ratio may fall, networks that measured well below the budget can grow, as after a round on a busy machine.
    Later ratios only rise, or the proposals would oscillate for ever.
    """
    changed = False
    measured, predicted = network.measured._asdict(), network.predicted._asdict()
    mine = ratios.setdefault(network.kind, {})
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


def _saved_bytes(network: torch.nn.Module) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_weights(path, network.state_dict(), {})
        return path.stat().st_size


def _busy(networks: Sequence[ScaledNetwork]) -> list[str]:
    """A note if other programs slowed the runs."""
    latencies = [network.latency for network in networks if network.latency]
    ratios = [latency.median_ms / latency.processor_ms for latency in latencies if latency.processor_ms]
    if not ratios or max(ratios) < 1.1:
        return []
    return [
        f"the machine was busy: a run took up to {max(ratios):.2f} times its processor time; on an idle machine larger "
        "networks are within this budget"
    ]


def _best(networks: Sequence[ScaledNetwork], finalists: Sequence[Finalist]) -> ScaledNetwork:
    """The best finalist by validation; without training the compound network, which the paper found best, or the first.

    The test pictures choose nothing, so the test error of the best network is unbiased.
    """
    if finalists:
        kind = max(finalists, key=lambda finalist: validated(finalist.arm)).kind
        return next(network for network in networks if network.kind == kind)
    return next((network for network in networks if network.kind == "compound"), networks[0])


def train_command(space: Space, point: Point, data: str) -> str:
    """The command that trains the network of a point: `casebook train DATA --model ...`."""
    return (
        f"casebook train {shlex.quote(data)} --model {space.family.network} --set network.width={point.width:g} "
        f"--set network.depth={point.depth:g} --input-size {point.resolution}"
    )
