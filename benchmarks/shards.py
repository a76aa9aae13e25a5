"""Training from a folder, from its shards, and from a web server that fails: the same bits, and at what speed.

    python benchmarks/shards.py PHOTOS

PHOTOS has one folder for each class. The web server runs in this process and answers range requests; of its answers,
one in ten is an error 500, one in ten is cut off in the middle and one in ten comes late. The training that is killed
dies by SIGKILL in its second epoch. The second part writes sets of `--sizes` pictures, which repeat those of
PHOTOS, and times reading pictures at random, folder and shards in turn, so that both meet the same machine.
"""

import argparse
import hashlib
import importlib.util
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
from pathlib import Path

from casebook.data.pictures import Picture
from casebook.data.shard_writer import write_shards
from casebook.data.sources import Source, load_source

SETTINGS = ["--model", "resnet20", "--input-size", "48", "--epochs", "2", "--batch-size", "16", "--seed", "3",
            "--set", "threads=1", "--set", "checkpoint_seconds=0"]  # fmt: skip
PER_CLASS = 40
READS = 1500


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
    """Reading and checking at random, in pictures a second, at each size of the set."""
    source = load_source(photos)
    for size in sizes:
        pictures = tuple(Picture(f"{i:08d}.jpg", i % len(source.classes)) for i in range(size))
        repeated = Source(f"{size} pictures", None, source.classes, pictures, shards=Again(source))
        start = time.perf_counter()
        out = scratch / f"set-{size}"
        write_shards(repeated, out, shard_mb=256)
        written = size / (time.perf_counter() - start)
        start = time.perf_counter()
        shards = load_source(out)
        opened = time.perf_counter() - start
        draw, rounds = random.Random(1), {"folder": [], "shards": []}
        for _ in range(3):
            for name, one in (("folder", source), ("shards", shards)):
                places = [draw.randrange(len(one)) for _ in range(READS)]
                start = time.process_time()
                for place in places:
                    one.content(place)
                rounds[name].append(READS / (time.process_time() - start))
        figures = {name: [round(statistics.median(some)), round(min(some)), round(max(some))]
                   for name, some in rounds.items()}  # fmt: skip
        print(json.dumps({"pictures": size, "written a second": round(written), "opened in s": round(opened, 2),
                          "read a CPU second: median, least, most": figures}), flush=True)  # fmt: skip
        shutil.rmtree(out)


class Again:
    """The contents of a source, over and over."""

    def __init__(self, source: Source):
        self.source = source

    def content(self, index: int, name: str) -> bytes:
        return self.source.content(int(name[:8]) % len(self.source))

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
