"""Which engine, network and number of threads answer fastest here, among those whose answers are right.

Every combination first answers for the golden pictures. Those that pass are timed in turns, so that a busy moment slows
all of them alike.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..device.limits import available_cores, free_memory_bytes
from ..device.timing import timed_in_turns
from ..errors import BundleError
from .answers import bundle_judge
from .bundle import Bundle
from .choice import Choice
from .engine import ENGINES, Engine, ask, open_engine
from .verify import expected_probabilities, golden_pixels

BATCH_SIZES = (1, 16)  # pictures; the last one decides
LOOSE = 0.05  # what 8 bits or bfloat16 may differ from the expected answers, see `difference_from`
SECONDS = 1.0  # for each combination
MEMORY_FACTOR = 4  # times a network's file, roughly, are in memory while it runs


@dataclasses.dataclass(frozen=True)
class Row:
    """One combination: how far its answers are from the expected ones, and pictures a second for each batch size.

    `problem` says why it was not timed.
    """

    choice: Choice
    difference: float | None = None
    pictures_per_second: dict[int, float] = dataclasses.field(default_factory=dict)
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        speeds = {str(size): round(speed, 2) for size, speed in self.pictures_per_second.items()}
        return {
            **self.choice._asdict(), "difference": self.difference, "pictures_per_second": speeds,
            "problem": self.problem or None,
        }  # fmt: skip

    def __str__(self) -> str:
        if self.problem:
            return f"{self.choice}: {self.problem}"
        one, many = (self.pictures_per_second[size] for size in BATCH_SIZES)
        return (
            f"{self.choice}: {one:.1f} pictures/s one by one, {many:.1f} pictures/s {BATCH_SIZES[-1]} at a time; "
            f"differs by {self.difference:.1e}"
        )


def combinations(bundle: Bundle) -> Iterator[Choice]:
    """All that could be faster than another on some machine."""
    threads = sorted({1, available_cores()})
    for engine in ENGINES:
        if find_spec(engine) is None:
            continue
        for network, number in itertools.product(bundle.networks, threads):
            yield Choice(engine, network, number)
            if engine == "openvino" and network == "float32":
                yield Choice(engine, network, number, exact=False)


def bench(bundle: Bundle, *, seconds: float = SECONDS) -> list[Row]:
    """A row for each combination, the fastest first, those that may not be used last.

    Raises BundleError where no golden picture is decoded as it should be.
    """
    pictures, pixels, others = golden_pixels(bundle)
    same = [place for place, picture in enumerate(pictures) if picture["file"] not in others]
    if not same:
        raise BundleError(f"{bundle.path}: not one golden picture is decoded as it should be; 'verify' says more")
    rows = [_checked(bundle, choice, pixels[same], same) for choice in combinations(bundle)]
    passed = [row for row in rows if not row.problem]
    size = max(len(bundle.read(network["file"])) for network in bundle.networks.values())
    together = MEMORY_FACTOR * size * len(passed) < free_memory_bytes()
    timed: list[Row] = []
    for group in [passed] if together else [[row] for row in passed]:
        timed += _timed(bundle, group, np.resize(pixels[same], (max(BATCH_SIZES), *pixels.shape[1:])), seconds)
    timed.sort(key=lambda row: -row.pictures_per_second[BATCH_SIZES[-1]])
    return timed + [row for row in rows if row.problem]


def _opened(bundle: Bundle, choice: Choice) -> Engine:
    content = bundle.read(bundle.networks[choice.network]["file"])
    return open_engine(choice.engine, content, threads=choice.threads, exact=choice.exact)


def _checked(bundle: Bundle, choice: Choice, pixels: NDArray[np.uint8], places: Sequence[int]) -> Row:
    """The row without times: whether the combination loads, and answers as it should."""
    try:
        bundle_judge(bundle, choice.network)  # a network that would break the bundle's promise must not answer
        engine = _opened(bundle, choice)
    except BundleError as error:
        return Row(choice, problem=str(error))
    expected = expected_probabilities(bundle, choice.network)[places]
    is_float32 = choice.network == "float32" and choice.exact
    difference = difference_from(expected, engine, pixels, mean=not is_float32)
    allowed = bundle.networks["float32"]["tolerance"] if is_float32 else LOOSE
    if not difference <= allowed:
        return Row(choice, problem=f"answers otherwise: differs by {difference:.1e}, allowed {allowed:g}")
    return Row(choice, difference)


def difference_from(expected: NDArray[np.float32], engine: Engine, pixels: NDArray[np.uint8], *, mean: bool) -> float:
    """Of each golden picture the largest difference of a probability; of these the largest, or the `mean`.

    The mean is for 8 bits and bfloat16: a picture on the edge between two classes may move far, but most must stay.
    """
    size = BATCH_SIZES[-1]
    batches = [pixels[first : first + size] for first in range(0, len(pixels), size)]
    parts = [ask(engine, batch, expected.shape[1]).probabilities for batch in batches]
    differences = np.abs(np.concatenate(parts) - expected).max(axis=1)
    return float(differences.mean() if mean else differences.max())


def _timed(bundle: Bundle, rows: Sequence[Row], pixels: NDArray[np.uint8], seconds: float) -> list[Row]:
    engines = [_opened(bundle, row.choice) for row in rows]
    pairs = [(engine, size) for engine in engines for size in BATCH_SIZES]

    def call(engine: Engine, size: int) -> None:
        engine(pixels[:size])

    calls = [lambda engine=engine, size=size: call(engine, size) for engine, size in pairs]
    for warm_up in calls:
        warm_up()
    found = timed_in_turns(calls, seconds=seconds / len(BATCH_SIZES), least_runs=3)
    medians = iter(statistics.median(timing.wall for timing in timings) for timings in found)
    return [
        dataclasses.replace(row, pictures_per_second={size: size / max(next(medians), 1e-9) for size in BATCH_SIZES})
        for row in rows
    ]
