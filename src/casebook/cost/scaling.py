"""A family of networks and a budget enter; the widths, depths and input sizes within the budget leave.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, equations 2
and 3, https://arxiv.org/abs/1905.11946: depth alpha^phi, width beta^phi, resolution gamma^phi, where alpha beta^2
gamma^2 is about 2, so that each step of phi about doubles the work. The paper scales up; a negative phi scales down.
"""

import dataclasses
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ..errors import ModelError, did_you_mean
from ..models import create_model, model_card
from ..models.efficientnet import ALPHA, BETA, GAMMA, SCALES
from .latency_model import LatencyModel, trace
from .memory import file_bytes

STEP = 4  # pixels between the input sizes to try; the published sizes are multiples of it
SMALL_INPUT = 64  # pixels; up to this size a network gets its small-picture stem, as in training
QUOTED_PHIS = (0.5, 1, 2, 3, 4, 5, 6)  # for B1 to B7, from tutorials; neither paper nor authors' code has any

AXES = ("width", "depth", "resolution")
PATHS: dict[str, tuple[str, ...]] = {
    "compound": AXES,
    "width": ("width",),
    "depth": ("depth",),
    "resolution": ("resolution",),
    "width+depth": ("width", "depth"),
    "width+resolution": ("width", "resolution"),
    "depth+resolution": ("depth", "resolution"),
}
SINGLE = AXES  # the kinds that get the multiply-adds of the compound network


class Factors(NamedTuple):
    """By how much scaling multiplies the depth, the width and the input size of a network."""

    depth: float
    width: float
    resolution: float

    @property
    def work(self) -> float:
        """By how much it multiplies the multiply-adds, before rounding."""
        return self.depth * self.width**2 * self.resolution**2


def compound(alpha: float, beta: float, gamma: float, phi: float) -> Factors:
    """Equation 3. Raises ModelError for a base that is not above 0 or a number that is not finite."""
    for name, base in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not 0 < base < math.inf:
            raise ModelError(f"{name} is {base}, expected above 0")
    if not math.isfinite(phi):
        raise ModelError(f"phi is {phi}, expected a number")
    return Factors(alpha**phi, beta**phi, gamma**phi)


class PublishedScale(NamedTuple):
    """One of B1 to B7 as published, and what the formula gives for the phi that tutorials quote.

    `phi_of_...` is the phi for which the formula gives exactly this width, depth, input size or work.
    """

    name: str
    width: float
    depth: float
    resolution: int
    multiply_adds: int
    phi_of_width: float
    phi_of_depth: float
    phi_of_resolution: float
    phi_of_work: float
    quoted_phi: float
    formula: Factors
    formula_resolution: float
    formula_multiply_adds: float  # B0's times the work of the factors
    doubled_multiply_adds: float  # B0's times 2^phi


def departures() -> tuple[PublishedScale, ...]:
    """Where the published networks differ from equation 3 with the paper's alpha, beta and gamma."""
    first, *others = SCALES
    base, side = model_card(first).multiply_adds, SCALES[first].resolution
    step = Factors(ALPHA, BETA, GAMMA).work
    found = []
    for name, quoted in zip(others, QUOTED_PHIS, strict=True):
        scale, counted = SCALES[name], model_card(name).multiply_adds
        formula = compound(ALPHA, BETA, GAMMA, quoted)
        found.append(
            PublishedScale(
                name=name,
                width=scale.width,
                depth=scale.depth,
                resolution=scale.resolution,
                multiply_adds=counted,
                phi_of_width=math.log(scale.width, BETA),
                phi_of_depth=math.log(scale.depth, ALPHA),
                phi_of_resolution=math.log(scale.resolution / side, GAMMA),
                phi_of_work=math.log(counted / base, step),
                quoted_phi=quoted,
                formula=formula,
                formula_resolution=side * formula.resolution,
                formula_multiply_adds=base * formula.work,
                doubled_multiply_adds=base * 2**quoted,
            )
        )
    return tuple(found)


class Point(NamedTuple):
    """A network of a family: multipliers for its channels and its blocks, and the side of its input in pixels."""

    width: float
    depth: float
    resolution: int

    def __str__(self) -> str:
        return f"width {self.width:g}, depth {self.depth:g}, {self.resolution}x{self.resolution} pixels"


class Family(NamedTuple):
    """The network to scale, its blocks per stage, the ranges, and the bases of the compound coefficient."""

    network: str
    blocks: tuple[int, ...]
    resolution: int
    widths: tuple[float, float]
    depths: tuple[float, float]
    resolutions: tuple[int, int]
    alpha: float = ALPHA
    beta: float = BETA
    gamma: float = GAMMA


# The bases are those that the paper found for B0 and also uses for MobileNets and ResNet-50 (Table 3).
FAMILIES = {
    "mobilenet_v2": Family("mobilenet_v2", (1, 2, 3, 4, 3, 3, 1), 224, (0.1, 3.0), (0.25, 4.0), (72, 600)),
    "efficientnet": Family("efficientnet_b0", (1, 2, 2, 3, 3, 4, 1), 224, (0.1, 3.0), (0.25, 4.0), (72, 720)),
    "resnet": Family("resnet50", (3, 4, 6, 3), 224, (0.1, 3.0), (0.16, 4.0), (72, 600)),
}


def family(name: str) -> Family:
    """Raises ModelError for an unknown name."""
    if name not in FAMILIES:
        suggestion = did_you_mean(name, FAMILIES) or ";"
        raise ModelError(f"unknown family {name!r}{suggestion} expected {', '.join(FAMILIES)}")
    return FAMILIES[name]


class NetworkCosts(NamedTuple):
    """Of one network and one picture. `memory_bytes`: weights, buffers and the peak of the activations."""

    multiply_adds: int
    parameters: int
    size_bytes: int
    memory_bytes: int
    latency_ms: float | None


UNITS = {
    "multiply_adds": "multiply-adds", "parameters": "weights", "size_bytes": "bytes of file",
    "memory_bytes": "bytes of memory", "latency_ms": "ms",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Budget:
    """The most that a network may cost for one picture; None for no limit.

    Raises ModelError for a limit that is not a finite number above 0, and for a budget without any limit.
    """

    multiply_adds: float | None = None
    parameters: float | None = None
    size_bytes: float | None = None
    memory_bytes: float | None = None
    latency_ms: float | None = None

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is not None and (type(value) not in (int, float) or not 0 < value < math.inf):
                raise ModelError(f"{name} is {value!r}, expected a number above 0")
        if not self.limits:
            raise ModelError(f"the budget has no limit; set at least one of {', '.join(UNITS)}")

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def corrected(self, ratios: Mapping[str, float]) -> "Budget":
        """The budget for predicted costs, if measured costs are `ratios` times the predicted ones."""
        return dataclasses.replace(self, **{k: v / ratios[k] for k, v in self.limits.items() if k in ratios})

    def allows(self, costs: NetworkCosts) -> bool:
        """Whether no cost is over its limit."""
        return not self.overruns(costs)

    def overruns(self, costs: NetworkCosts) -> dict[str, float]:
        """The costs over their limit, by name."""
        found = costs._asdict()
        return {
            name: found[name] for name, limit in self.limits.items() if found[name] is not None and found[name] > limit
        }

    def __str__(self) -> str:
        return ", ".join(amount(name, value) for name, value in self.limits.items())


def amount(name: str, value: float) -> str:
    """ "4.9 MB of file", "9.7 ms", "97,131,840 multiply-adds"."""
    if name.endswith("_bytes"):
        return f"{value / 1e6:.2f} MB of {'file' if name == 'size_bytes' else 'memory'}"
    return f"{value:.2f} ms" if name == "latency_ms" else f"{value:,.0f} {UNITS[name]}"


class Proposed(NamedTuple):
    """A network with predicted costs within the budget; `equality`: its multiply-adds over the compound network's."""

    kind: str
    point: Point
    predicted: NetworkCosts
    equality: float


class Proposal(NamedTuple):
    """The proposed networks, and the reason for each kind that has none within the budget."""

    points: tuple[Proposed, ...]
    dropped: dict[str, str]


class Space:
    """The networks of a family and their costs, each counted once.

    `input_size` fixes the input of all; without a latency model there are no latencies.
    """

    def __init__(
        self,
        family: Family,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        input_size: int | None = None,
        latency_model: LatencyModel | None = None,
    ):
        smallest = 9
        if input_size is not None and (type(input_size) is not int or not smallest <= input_size <= 2048):
            raise ModelError(f"input_size is {input_size!r}, expected {smallest} to 2048 pixels")
        if type(num_classes) is not int or num_classes < 1:
            raise ModelError(f"num_classes is {num_classes!r}, expected an integer of at least 1")
        self.family, self.num_classes, self.in_channels = family, num_classes, in_channels
        self.input_size, self.latency_model = input_size, latency_model
        low, high = family.widths
        self.grid: dict[str, tuple[float, ...]] = {
            "width": tuple(round(w / 100, 2) for w in range(round(100 * low), round(100 * high) + 1)),
            "depth": depths(family),
            "resolution": tuple(range(family.resolutions[0], family.resolutions[1] + 1, STEP))
            if input_size is None
            else (input_size,),
        }
        self._costs: dict[Point, NetworkCosts] = {}

    def options(self, point: Point) -> dict[str, Any]:
        """The options with which `create_model` builds the network of a point."""
        options = {"width": point.width, "depth": point.depth, "num_classes": self.num_classes}
        options |= {"in_channels": self.in_channels} if self.in_channels != 3 else {}
        return options | ({"small_stem": True} if point.resolution <= SMALL_INPUT else {})

    def costs(self, point: Point) -> NetworkCosts:
        """Counted on the meta device, with the latency that the latency model predicts."""
        if point not in self._costs:
            with torch.device("meta"):
                network = create_model(self.family.network, **self.options(point))
            found = trace(network, point.resolution, self.in_channels)
            self._costs[point] = NetworkCosts(
                multiply_adds=found.multiply_adds,
                parameters=found.parameters,
                size_bytes=file_bytes(network),
                memory_bytes=found.memory_bytes,
                latency_ms=None if self.latency_model is None else self.latency_model.predict(found.operators),
            )
        return self._costs[point]

    @property
    def smallest(self) -> Point:
        return Point(*(values[0] for values in (self.grid[axis] for axis in AXES)))  # type: ignore[arg-type]

    def at(self, kind: str, phi: float) -> Point:
        """The point of a path at a compound coefficient, on the grid. Depth is rounded up, as in the authors' code."""
        family, axes = self.family, PATHS[kind]
        factors = compound(family.alpha, family.beta, family.gamma, phi)
        side = self.family.resolution * (factors.resolution if "resolution" in axes else 1)
        depth = factors.depth if "depth" in axes else 1.0
        return Point(
            width=_nearest(self.grid["width"], factors.width if "width" in axes else 1.0),
            depth=next((d for d in self.grid["depth"] if d >= depth - 1e-6), self.grid["depth"][-1]),
            resolution=int(_nearest(self.grid["resolution"], side)),
        )

    def along(self, kind: str) -> list[Point]:
        """The distinct points of a path, from the smallest to the largest."""
        return _along(self, kind)

    def largest(self, points: Sequence[Point], fits: Callable[[Point], bool], start: int = 0) -> int:
        """The index of the last of the growing `points` that fits; -1 if none does. The search begins at `start`."""
        low, high, step = -1, len(points), 1
        if fits(points[start]):  # with doubling steps, because large networks take long to count
            low = start
            while low + step < len(points) and fits(points[low + step]):
                low, step = low + step, 2 * step
            high = min(low + step, len(points))
        else:
            high = start
            while high - step >= 0 and not fits(points[high - step]):
                high, step = high - step, 2 * step
            low = max(-1, high - step)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(points[middle]) else (low, middle)
        return low

    def grown(self, point: Point, fits: Callable[[Point], bool]) -> Point:
        """The point grown in width, input and depth until nothing larger fits. Axes without a binding limit stay."""
        for axis in ("width", "resolution", "depth"):
            values = [value for value in self.grid[axis] if value >= getattr(point, axis)]
            points = [point._replace(**{axis: value}) for value in values]
            place = self.largest(points, fits)
            if place < len(points) - 1:
                point = points[max(0, place)]
        return point


def _along(space: Space, kind: str) -> list[Point]:
    reach = max(
        abs(math.log(value / (space.family.resolution if axis == "resolution" else 1), base))
        for axis, base in zip(AXES, (space.family.beta, space.family.alpha, space.family.gamma), strict=True)
        if base > 1
        for value in (space.grid[axis][0], space.grid[axis][-1])
    )
    steps = math.ceil(reach * 50)
    return list(dict.fromkeys(space.at(kind, step / 50) for step in range(-steps, steps + 1)))


def depths(family: Family) -> tuple[float, ...]:
    """Every depth that gives a different network: the largest hundredth before a stage gains a block."""
    low, high = family.depths
    found = {math.floor(100 * b / n + 1e-9) / 100 for n in family.blocks for b in range(1, math.floor(n * high) + 1)}
    by_blocks = {tuple(math.ceil(n * d) for n in family.blocks): d for d in sorted(found) if low <= d <= high}
    return tuple(by_blocks.values())


def _nearest(values: Sequence[float], wanted: float) -> float:
    """The nearest of ascending values."""
    place = bisect_left(values, wanted)
    return min(values[max(0, place - 1) : place + 1], key=lambda value: abs(value - wanted))


def propose(
    space: Space,
    budget: Budget,
    *,
    kinds: Iterable[str] = tuple(PATHS),
    corrections: Mapping[str, Mapping[str, float]] | None = None,
) -> Proposal:
    """The largest network of each kind whose predicted costs are within the budget.

    "compound" and the pairs of axes follow equation 3 with the other axes fixed, and are then grown until no larger
    network fits; an axis without a binding limit, such as the input under a limit on weights, is not grown. Networks
    scaled along one axis get the compound network's multiply-adds, as nearly as their grid and the budget allow.
    `corrections` holds, for each kind, the ratios of measured to predicted costs.

    Raises:
        ModelError: for an unknown kind, or if the family's smallest network is over the budget.
    """
    kinds, corrections = list(dict.fromkeys(kinds)), corrections or {}
    if unknown := [kind for kind in kinds if kind not in PATHS]:
        raise ModelError(
            f"unknown kind {unknown[0]!r}{did_you_mean(unknown[0], PATHS) or ';'} expected {', '.join(PATHS)}"
        )
    if budget.latency_ms is not None and space.latency_model is None:
        raise ModelError("a limit in milliseconds needs a latency model")

    def within(kind: str) -> Callable[[Point], bool]:
        limits = budget.corrected(corrections.get(kind, {}))
        return lambda point: limits.allows(space.costs(point))

    smallest = space.costs(space.smallest)
    if over := budget.overruns(smallest):
        costs = ", ".join(amount(name, value) for name, value in smallest._asdict().items() if value is not None)
        raise ModelError(
            f"no {space.family.network} is within {budget}: the smallest ({space.smallest}) has {costs}; "
            f"allow more {' and '.join(UNITS[name] for name in over)}"
        )
    found: dict[str, Point] = {}
    dropped: dict[str, str] = {}
    for kind in ("compound", *(kind for kind in kinds if kind != "compound")):
        fits, points = within(kind), space.along(kind)
        if len(points) == 1:
            dropped[kind] = f"the input size is fixed at {space.input_size} pixels"
            continue
        place = space.largest(points, fits, points.index(space.at(kind, 0)))
        if place < 0:
            costs = space.costs(points[0])
            ratios = corrections.get(kind, {})
            over = budget.corrected(ratios).overruns(costs)
            most = ", ".join(amount(name, value * ratios.get(name, 1)) for name, value in over.items())
            how = "by corrected prediction" if ratios.keys() & over.keys() else "by prediction"
            dropped[kind] = f"its smallest ({points[0]}) has {most} {how}"
            continue
        if kind not in SINGLE:
            found[kind] = space.grown(points[place], fits)
            if twin := next((k for k in found if k != kind and found[k] == found[kind]), None):
                dropped[kind] = f"the same network as {twin}"
                del found[kind]
            continue
        if "compound" in found:
            place = min(place, _equal(space, points, space.costs(found["compound"]).multiply_adds, place))
        found[kind] = points[place]
    reference = space.costs(found["compound"]).multiply_adds if "compound" in found else None
    return Proposal(
        tuple(
            Proposed(kind, found[kind], costs, costs.multiply_adds / (reference or costs.multiply_adds))
            for kind in kinds
            if kind in found
            for costs in (space.costs(found[kind]),)
        ),
        {kind: dropped[kind] for kind in kinds if kind in dropped},
    )


def _equal(space: Space, points: Sequence[Point], multiply_adds: int, start: int) -> int:
    """The index of the point with the nearest multiply-adds, as a ratio."""
    below = space.largest(points, lambda point: space.costs(point).multiply_adds <= multiply_adds, start)
    near = [place for place in (below, below + 1) if 0 <= place < len(points)]
    return min(near, key=lambda place: abs(math.log(space.costs(points[place]).multiply_adds / multiply_adds)))
