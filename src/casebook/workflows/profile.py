"""Where the time of a training goes: pictures a second of each step from file to weights, measured on this machine.

Every figure comes from the code that trains: `Batches` reads and augments, `Stepper` trains. A figure is the median of
short rounds, with the slowest and the fastest. Files are read from the page cache, so a slow disk is not seen.
"""

import contextlib
import dataclasses
import itertools
import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..augmentation.threads import one_opencv_thread
from ..data.batch_plan import BatchPlan
from ..data.crops import CropSettings
from ..data.jpeg_window import can_decode_windows
from ..data.loader import AugmentSettings, Batch, Batches, Inputs, make_prepare
from ..data.prepared import PreparedFile, StoredFormat, fill, open_prepared, picture_and_payload, stored_format
from ..data.scan import PictureFacts, scan
from ..data.sources import Source, load_source
from ..device import (
    Stopwatch,
    available_cores,
    choose_device,
    choose_precision,
    choose_workers,
    synchronise,
    tune_allocator,
)
from ..errors import DataError, PictureError
from ..files import cache_folder
from ..models import create_model, model_card
from ..preprocessing import Preprocessing
from ..progress import Advanced, Reporter, silent
from ..training.plan import choose_policy
from ..training.recipe import Recipe, make_recipe
from ..training.stepper import Phase, Stepper
from ..training.transfer import Frozen, parts

SAMPLE = 96  # pictures that are read over and over
ROUNDS, ROUND_SECONDS = 5, 0.25
ENOUGH = 1.25  # times as fast as the network is fast enough: beyond that reading is not worth a thought
TOGETHER_SECONDS = 3.0
STEPS = ("decode", "augment", "decode and augment", "prepared", "prepared as JPEG", "the network", "all together")


class Speed(NamedTuple):
    """Pictures a second: the median of the rounds, the slowest and the fastest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> "Speed":
        return cls(statistics.median(rounds), min(rounds), max(rounds))

    def to_dict(self) -> dict[str, float]:
        return {key: round(value, 2) for key, value in self._asdict().items()}


@dataclasses.dataclass(frozen=True)
class Profile:
    """What was measured, and what follows from it. Speeds of reading are those of one core."""

    data: str
    model: str
    device: str
    precision: str
    batch_size: int
    sample: int  # pictures measured with
    mean_width: int
    mean_height: int
    mean_bytes: int
    cores: int
    workers: int  # processes that a training would read with
    speeds: dict[str, Speed]
    with_workers: float  # pictures a second that the workers deliver, from decoding
    with_workers_prepared: float  # and from raw prepared pictures
    limit: str  # "network", "decode" or "augment"
    reading_share: float  # of the processors' time, where the network runs on the same
    advice: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return record | {
            "speeds": {name: speed.to_dict() for name, speed in self.speeds.items()}, "advice": list(self.advice),
            "with_workers": round(self.with_workers, 2), "with_workers_prepared": round(self.with_workers_prepared, 2),
            "reading_share": round(self.reading_share, 4), "seconds": round(self.seconds, 3),
        }  # fmt: skip

    def text(self) -> str:
        lines = [
            f"{self.sample} pictures of {self.data}, {self.mean_width} x {self.mean_height} pixels and "
            f"{self.mean_bytes / 1000:.0f} kB on average; {self.model} in {self.precision} on {self.device}, batches "
            f"of {self.batch_size}; {self.cores} cores, {self.workers} reading",
            "",
            f"{'pictures a second':<52}{'median':>10}   slowest and fastest round",
        ]
        for name, meaning in MEANINGS.items():
            if speed := self.speeds.get(name):
                lines.append(f"{meaning:<52}{speed.median:>10.1f}   {speed.low:.1f} to {speed.high:.1f}")
        return "\n".join([*lines, "", *self.advice])


MEANINGS = {
    "decode": "decode a whole file, on one core",
    "augment": "augment a decoded picture, on one core",
    "read": "both, on one core, of pictures that are not kept",
    "prepared": "read a prepared raw picture and augment, on one core",
    "prepared_jpeg": "read a prepared JPEG and augment, on one core",
    "transfer": "from memory to the GPU",
    "network": "training steps of the network alone",
    "together": "training steps with pictures read meanwhile",
}


def profile_data(
    data: str | Path | Source,
    *,
    model: str = "mobilenet_v2",
    device: str = "auto",
    seed: int = 0,
    report: Reporter = silent,
) -> Profile:
    """Measures for some seconds how fast pictures of `data` can be read and how fast `model` takes them.

    `report` gets Advanced events. Raises DataError and ModelError.
    """
    watch = Stopwatch()
    card = model_card(model)
    tune_allocator()
    source, where = load_source(data), choose_device(device)
    recipe = make_recipe(
        "scratch", data=source.name, model=model, seed=seed, device=device, checkpoint_seconds=1e9
    )  # fmt: skip
    preprocessing = card.preprocessing
    seen = scan(
        source, cache_dir=cache_folder(),
        progress=lambda done, total: report(Advanced("scan", done, total)),
    )  # fmt: skip
    good = [index for index, facts in enumerate(seen.facts) if facts.error is None]
    if not good:
        raise DataError(f"{source.name}: not one of the {len(seen.facts)} pictures can be read")
    chosen = [good[round(place)] for place in np.linspace(0, len(good) - 1, min(SAMPLE, len(good)))]
    facts = [seen.facts[index] for index in chosen]
    part = _part_of(source, chosen)
    workers = choose_workers(-1, where, 1)

    def measuring(number: int) -> None:
        report(Advanced("profile", number, len(STEPS), STEPS[number]))

    with tempfile.TemporaryDirectory() as scratch, one_opencv_thread():  # speeds are those of one core
        speeds = _reading_speeds(recipe, part, facts, preprocessing, Path(scratch), measuring)
        dtype = choose_precision("auto", where, preprocessing.size)
        batch_size = (256 if where.type == "cuda" else 32) if preprocessing.size > 64 else 128
        measuring(5)
        indices = list(range(len(part))) * -(-4 * batch_size // len(part))
        real = Batches(
            part, indices, preprocessing, BatchPlan(batch_size, shuffle=True, seed=seed), workers=workers, device=where,
            augmentation=AugmentSettings(choose_policy(recipe, preprocessing)),
            crops=CropSettings([(f.width, f.height) for f in facts], memory_share=0),
        )  # fmt: skip
        speeds |= _network_speeds(
            recipe.model_copy(update={"batch_size": batch_size}), part, preprocessing, where, dtype, real, report,
        )  # fmt: skip
    cores = available_cores()
    fresh, ready = speeds["read"].median, speeds.get("prepared", speeds["read"]).median
    readers = max(1, min(workers, cores))
    limit, share = _limit(speeds, cores, readers, where)
    network = speeds["network"].median
    has_jpegs = any(picture.name.lower().endswith((".jpg", ".jpeg")) for picture in part.pictures)
    turbo = has_jpegs and "prepared" in speeds and not can_decode_windows()
    return Profile(
        data=source.name, model=model, device=str(where), precision=str(dtype).removeprefix("torch."),
        batch_size=batch_size, sample=len(chosen), mean_width=round(np.mean([f.width for f in facts])),
        mean_height=round(np.mean([f.height for f in facts])), mean_bytes=round(np.mean([f.size_bytes for f in facts])),
        cores=cores, workers=workers, speeds=speeds, with_workers=readers * fresh,
        with_workers_prepared=readers * ready, limit=limit, reading_share=share,
        advice=_advice(limit, share, network, readers * fresh, readers * ready, source.arrays is None, turbo, where),
        seconds=watch.seconds,
    )  # fmt: skip


def _part_of(source: Source, indices: list[int]) -> Source:
    """A source of these pictures alone."""
    arrays = None if source.arrays is None else source.arrays[indices]
    return dataclasses.replace(source, pictures=tuple(source.pictures[i] for i in indices), arrays=arrays)


def _rounds(work: Callable[[], int], seconds: float = ROUND_SECONDS) -> Speed:
    """How many pictures a second `work` does, which does some and says how many; the first call is not counted."""
    work()
    speeds = []
    for _ in range(ROUNDS):
        watch, count = Stopwatch(), 0
        while watch.seconds < seconds or not count:
            count += work()
        speeds.append(count / watch.seconds)
    return Speed.of(speeds)


def _reading_speeds(
    recipe: Recipe,
    source: Source,
    facts: list[PictureFacts],
    preprocessing: Preprocessing,
    scratch: Path,
    measuring: Callable[[int], None],
) -> dict[str, Speed]:
    """decode: file to what crops are cut from. augment: that to the network's pixels. read: both, as an epoch does
    without a cache. prepared, prepared_jpeg: as read, from prepared files."""
    policy = choose_policy(recipe, preprocessing)
    form = stored_format(preprocessing)
    sizes = [(f.width, f.height) for f in facts]
    speeds, place = {}, 0

    def batches(memory_share: float, format: StoredFormat = form, prepared: PreparedFile | None = None) -> Batches:
        return Batches(
            source, range(len(source)), preprocessing, BatchPlan(8, shuffle=True, seed=recipe.seed),
            augmentation=AugmentSettings(policy), crops=CropSettings(sizes, format, prepared, memory_share),
        )  # fmt: skip

    def speed_of(stream: Batches) -> Speed:
        epoch = 0
        keys: list[Any] = []

        def one_batch() -> int:
            nonlocal epoch, keys
            if not keys:
                epoch += 1
                keys = stream.keys(epoch)
            return len(stream.pictures[keys.pop()].labels)

        return _rounds(one_batch)

    def decode_one() -> int:
        nonlocal place
        place = (place + 1) % len(source)
        with contextlib.suppress(PictureError):
            if source.arrays is not None or not policy.crops_source:
                preprocessing.pixels(source.open(place, **preprocessing.decode_options))
            else:
                picture_and_payload(source.content(place), source.pictures[place].name, form)
        return 1

    measuring(0)
    speeds["decode"] = _rounds(decode_one)
    measuring(1)
    cached = batches(0.5)
    for key in cached.keys(0):  # fills the cache
        cached.pictures[key]
    speeds["augment"] = speed_of(cached)
    measuring(2)
    speeds["read"] = speed_of(batches(0))
    if source.arrays is not None or not policy.crops_source:
        return speeds
    for number, format in ((3, "raw"), (4, "jpeg")):
        measuring(number)
        kept = form._replace(format=format)
        prepared = open_prepared(
            source, facts, kept, budget_bytes=math.inf, disk_share=1, folder=scratch / "prepared"
        )  # fmt: skip
        fill(source, prepared, workers=available_cores())
        speeds["prepared" if format == "raw" else "prepared_jpeg"] = speed_of(batches(0, kept, prepared))
        prepared.close()
    return speeds


def _network_speeds(
    recipe: Recipe,
    source: Source,
    preprocessing: Preprocessing,
    device: torch.device,
    dtype: torch.dtype,
    real: Batches,
    report: Reporter,
) -> dict[str, Speed]:
    """network: whole training steps on pictures in memory. together: with the workers reading, nothing cached.
    transfer: pictures from the host's memory to the GPU's, where there is one."""
    torch.manual_seed(recipe.seed)
    options: dict[str, Any] = {"num_classes": len(source.classes), "in_channels": preprocessing.channels}
    network = create_model(recipe.model, **options).to(device)
    if recipe.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    size, count = preprocessing.size, recipe.batch_size
    images = torch.randint(0, 256, (count, size, size, preprocessing.channels), dtype=torch.uint8)
    batch = Batch(images, torch.arange(count) % len(source.classes), torch.arange(count))
    prepare = make_prepare(preprocessing, device, recipe.channels_last)
    learning = parts(network, "none", recipe)
    phase = Phase(recipe.epochs, parts=learning, start=Frozen(network, learning).train, dtype=dtype)
    # The weights are worth nothing, so a rate that cannot lead astray.
    stepper = Stepper(network, phase, recipe.model_copy(update={"learning_rate": 1e-6}), device)
    speeds = {}
    if device.type == "cuda":
        pinned = images.pin_memory()

        def transfer() -> int:
            pinned.to(device, non_blocking=True)
            synchronise(device)
            return count

        speeds["transfer"] = _rounds(transfer)
    with stepper.ready(), contextlib.closing(real):
        stepper.start()

        def step(batch: Batch) -> int:
            stepper.step(iter([Inputs(prepare(batch), batch.labels)]), [len(batch.labels)], 1e-6)
            synchronise(device)
            return len(batch.labels)

        for _ in range(2):  # the first steps choose kernels and fill memory
            step(batch)
        speeds["network"] = _rounds(lambda: step(batch), seconds=2 * ROUND_SECONDS)
        report(Advanced("profile", 6, len(STEPS), STEPS[6]))
        following = (batch for epoch in itertools.count(1) for batch in real.epoch(epoch))
        speeds["together"] = _rounds(lambda: step(next(following)), seconds=TOGETHER_SECONDS / ROUNDS)
    return speeds


def _limit(speeds: dict[str, Speed], cores: int, readers: int, device: torch.device) -> tuple[str, float]:
    """Which step limits, and reading's share of the processors' time where the network computes on them too."""
    network, read = speeds["network"].median, speeds["read"].median
    share = 0.0
    if device.type == "cpu":
        share = (1 / read) / (1 / read + cores / network)
    if readers * read >= network:
        return "network", share
    augment_seconds = 1 / speeds["augment"].median
    decode_seconds = 1 / read - augment_seconds  # of the crop alone, where the whole picture is not needed
    return ("decode" if decode_seconds >= augment_seconds else "augment"), share


def _advice(
    limit: str,
    share: float,
    network: float,
    fresh: float,
    ready: float,
    has_files: bool,
    turbo: bool,
    device: torch.device,
) -> tuple[str, ...]:
    """What to do, in sentences. `turbo`: whether decoding the crop alone would help and cannot be done."""
    times = fresh / network
    if limit == "network" and device.type == "cpu":
        advice = [f"the network limits; reading takes {100 * share:.0f} % of the processors' time"]
        if share < 0.1:
            return (*advice, "nothing is to be gained in reading")
    elif limit == "network":
        advice = [f"the network limits: the workers deliver {times:.1f} times what it takes"]
        if times >= ENOUGH:
            return (*advice, "nothing is to be gained in reading")
    else:
        advice = [f"reading limits: the workers deliver {100 * times:.0f} % of what the network takes ({limit})"]
    if not has_files:
        return (*advice, "the pictures are in memory already; a smaller policy, such as basic, costs less")
    if limit == "augment":
        return (*advice, "augmentation costs more than decoding: choose a lighter policy, or more --workers")
    if limit == "decode" and turbo:
        advice.append(
            "libjpeg-turbo 3 decodes pictures that are not kept a quarter faster: pip install 'casebook[turbo]'"
        )
    gain = ready / fresh
    if gain < 1.2:
        return (*advice, "prepared pictures would not help; more --workers do where there are cores")
    advice.append(
        f"prepared pictures are read {gain:.1f} times as fast: 'casebook data prepare' makes them, and so does a "
        "training by itself where the photographs are large; pictures that fit into memory are decoded in the first "
        "epoch only"
    )
    if limit != "network" and ready < network:
        advice.append(f"even then {100 * ready / network:.0f} % of what the network takes: add --workers")
    return tuple(advice)
