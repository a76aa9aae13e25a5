"""Training from a folder, from its shards, and from a web server that fails: the same bits, and at what speed.

    python benchmarks/shards.py PHOTOS

PHOTOS has one folder for each class. The web server runs in this process and answers range requests; of its answers,
one in ten is an error 500, one in ten is cut off in the middle and one in ten comes late. The training that is killed
dies by SIGKILL in its second epoch. The second part writes sets of `--sizes` pictures, which repeat those of PHOTOS and
should have 32 pixels a side. It times a training's loader, reading alone, both also with a few pictures of the large
set, and copying the same bytes with nothing of Casebook.
"""

import argparse
import hashlib
import importlib.util
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from casebook.augmentation.policy import named_policy
from casebook.data.batch_plan import BatchPlan
from casebook.data.crops import CropSettings
from casebook.data.loader import AugmentSettings, Batches
from casebook.data.pictures import Picture
from casebook.data.shard_files import LocalFolder
from casebook.data.shard_writer import write_shards
from casebook.data.shards import Shards
from casebook.data.sources import Source, load_source
from casebook.preprocessing import Preprocessing

SETTINGS = ["--model", "resnet20", "--input-size", "48", "--epochs", "2", "--batch-size", "16", "--seed", "3",
            "--set", "threads=1", "--set", "checkpoint_seconds=0"]  # fmt: skip
PER_CLASS = 40
SIDE, BATCH = 32, 64
READS = 14 * BATCH
ROUNDS = 15


def server_module() -> object:
    path = Path(__file__).parents[1] / "tests/data/shard_server.py"
    spec = importlib.util.spec_from_file_location("shard_server", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train(data: str, out: Path, cache: Path, *more: str, kill: bool = False) -> dict[str, object]:
    """The digest of the weights that a training ends with, in a process and a cache of its own."""
    environment = os.environ | {"CASEBOOK_CACHE": str(cache)}
    command = [sys.executable, "-m", "casebook", "train"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, data, *SETTINGS, *more, "--out", str(out)], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if kill:
        rows = out / "metrics.jsonl"
        while process.poll() is None and not (rows.is_file() and rows.read_bytes().count(b"\n") >= 1):
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL, "the training was over before it was killed"
        process = subprocess.Popen(
            [*command, "--resume", str(out)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said)
    digest = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    return {"weights": digest[:16], "seconds": round(time.perf_counter() - start, 1)}


def same_bits(photos: Path, scratch: Path) -> None:
    some = scratch / "photos"
    for of_class in sorted(path for path in photos.iterdir() if path.is_dir()):
        (some / of_class.name).mkdir(parents=True)
        for picture in sorted(of_class.iterdir())[:PER_CLASS]:
            shutil.copy(picture, some / of_class.name)
    write_shards(load_source(some), scratch / "set", shard_mb=1)
    found = {
        "folder": train(str(some), scratch / "a", scratch / "cache-a"),
        "shards": train(str(scratch / "set"), scratch / "b", scratch / "cache-b"),
        "shards, two workers": train(str(scratch / "set"), scratch / "c", scratch / "cache-c", "--workers", "2"),
        "shards, killed": train(str(scratch / "set"), scratch / "d", scratch / "cache-d", kill=True),
    }
    draw = random.Random(0)
    with server_module().serving(scratch / "set") as (address, faults):  # type: ignore[attr-defined]
        faults.faults = {n: draw.choice(["500", "cut", "slow"]) for n in range(100_000) if draw.random() < 0.3}
        found["http with faults"] = train(address, scratch / "e", scratch / "cache-e")
        asked = faults.asked.total()
        os.environ["CASEBOOK_SHARD_CACHE_GIB"] = "0"
        found["http with faults, by ranges"] = train(address, scratch / "f", scratch / "cache-f")
        print(f"requests: {asked} with a cache, {faults.asked.total() - asked} without", flush=True)
    print(json.dumps(found, indent=1))
    print("all the same" if len({one["weights"] for one in found.values()}) == 1 else "DIFFERENT", flush=True)


def speeds(photos: Path, scratch: Path, sizes: list[int]) -> None:
    """Pictures a second at each size of the set; the sizes take turns, so that all meet the same machine."""
    source = load_source(photos)
    loaders: dict[int, tuple[Batches, Batches]] = {}  # of all pictures, and of as many as the smallest set has
    for size in sizes:
        pictures = tuple(Picture(f"{i:08d}.jpg", i % len(source.classes)) for i in range(size))
        out, start = scratch / f"set-{size}", time.perf_counter()
        write_shards(Source(f"{size} pictures", None, source.classes, pictures, shards=Again(source)), out)
        written, start = time.perf_counter() - start, time.perf_counter()
        shards = load_source(out)
        opened, start = time.perf_counter() - start, time.process_time()
        loaders[size] = loader(shards, size), loader(shards, min(sizes))
        set_up, start = time.process_time() - start, time.process_time()
        next(loaders[size][0].epoch())
        began = time.process_time() - start
        print(f"{size:,} pictures: written in {written:.1f} s, index read in {opened:.2f} s; CPU s for the loader "
              f"{set_up:.2f}, until an epoch's first batch {began:.2f}", flush=True)  # fmt: skip
    rates: dict[tuple[str, int], list[float]] = {}
    draw = random.Random(1)
    for epoch in range(ROUNDS + 1):
        for size, (batches, some_batches) in loaders.items():
            everywhere = [draw.randrange(size) for _ in range(READS)]
            some = [draw.randrange(min(sizes)) for _ in range(READS)]
            for arm, work in (
                ("plain pread", plain_reads(batches, everywhere)),
                ("reads", reads(batches, everywhere)),
                (f"reads, {min(sizes):,} of them", reads(batches, some)),
                ("loader", loads(batches, epoch)),
                (f"loader, {min(sizes):,} of them", loads(some_batches, epoch)),
            ):
                start = time.process_time()
                work()
                if epoch:  # the first round fills the page cache
                    rates.setdefault((arm, size), []).append(READS / (time.process_time() - start))
    print("pictures a CPU second: median (range)")
    for (arm, size), found in sorted(rates.items()):
        print(f"{arm}, {size:,}: {statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f})", flush=True)


def loader(source: Source, count: int) -> Batches:
    """A training's batches: read, checked, decoded, cropped and mirrored in this process, and none kept in memory."""
    return Batches(
        source, range(count), Preprocessing(size=SIDE), BatchPlan(BATCH, shuffle=True),
        augmentation=AugmentSettings(named_policy("basic")),
        crops=CropSettings(sizes=[(SIDE, SIDE)] * len(source), memory_share=0),
    )  # fmt: skip


def loads(batches: Batches, epoch: int) -> Callable[[], object]:
    """Loads batches of one epoch; its order, which the first waits for, is told apart."""
    stream = batches.epoch(epoch)
    next(stream)
    return lambda: list(itertools.islice(stream, READS // BATCH))


def reads(batches: Batches, places: list[int]) -> Callable[[], object]:
    """Reads and checks contents, without decoding."""
    return lambda: [batches.pictures.source.content(place) for place in places]


def plain_reads(batches: Batches, places: list[int]) -> Callable[[], object]:
    """Copies the same bytes out of the page cache with nothing of ours: what the machine itself takes."""
    shards = batches.pictures.source.shards
    assert isinstance(shards, Shards)
    assert isinstance(shards.folder, LocalFolder)
    rows = shards.places[places].tolist()
    files = [(shards.folder.path / shard.name).open("rb") for shard in shards.shards]
    return lambda: [os.pread(files[shard].fileno(), size, offset) for shard, offset, size in rows]


class Again:
    """The contents of a source, over and over."""

    def __init__(self, source: Source):
        self.source = source

    def content(self, index: int, name: str) -> bytes:
        return self.source.content(int(name[:8]) * 7919 % len(self.source))  # any few of them have mixed classes

    def sha256(self, index: int, name: str) -> str:
        raise NotImplementedError


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000], help="pictures of the sets")
    parser.add_argument("--only", choices=("bits", "speeds"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.only != "speeds":
            same_bits(given.photos, Path(scratch))
        if given.only != "bits":
            speeds(given.photos, Path(scratch), given.sizes)


if __name__ == "__main__":
    main()
