"""Scan, copies and split of many pictures: memory, time, and the share of planted copies that is found.

    python benchmarks/million.py --pictures 1000000

Nothing lies on disk: a picture's thumbnail is drawn from its number, so what is measured is what Casebook holds and
computes, and not the decoding of a million files. One picture in a hundred is a copy of an earlier one, changed as
copies are: brighter, noisier, blurred, or cropped by up to 4 %. Each size runs in a process of its own.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections import Counter

import numpy as np

from casebook.data.duplicates import duplicates
from casebook.data.pictures import Picture, Source
from casebook.data.scan import THUMBNAIL, PictureFacts, Scan, perceptual_hashes, release, thumbnail_array
from casebook.data.split import split_source

CLASSES = 10
EVERY = 100  # one picture in so many is a copy
BLOCK = 1000
KINDS = ("brighter", "noisier", "blurred", "cropped")


def drawn(first: int, count: int) -> np.ndarray:
    """(count, 32, 32) uint8: smooth random shapes with fine detail, each fixed by its number's block."""
    generator = np.random.default_rng([7, first])
    result = np.zeros((count, THUMBNAIL, THUMBNAIL), np.float32)
    for cells, strength in ((4, 60), (8, 40), (16, 25), (32, 10)):
        coarse = generator.normal(0, strength, (count, cells, cells)).astype(np.float32)
        result += coarse.repeat(THUMBNAIL // cells, 1).repeat(THUMBNAIL // cells, 2)
    blurred = (np.roll(result, 1, 1) + 2 * result + np.roll(result, -1, 1)) / 4
    blurred = (np.roll(blurred, 1, 2) + 2 * blurred + np.roll(blurred, -1, 2)) / 4
    return np.clip(blurred + 128, 0, 255).astype(np.uint8)


def changed(thumbnail: np.ndarray, kind: str, generator: np.random.Generator) -> np.ndarray:
    pixels = thumbnail.astype(np.float32)
    if kind == "brighter":
        pixels = pixels * 0.9 + 20
    if kind == "noisier":
        pixels += generator.normal(0, 3, pixels.shape)
    if kind == "blurred":
        pixels = (np.roll(pixels, 1, 0) + 4 * pixels + np.roll(pixels, -1, 0)) / 6
    if kind == "cropped":
        places = np.linspace(*generator.uniform(0, 0.02, 2) * (1, -1) * THUMBNAIL + (0, THUMBNAIL - 1), THUMBNAIL)
        low = np.clip(places.astype(int), 0, THUMBNAIL - 2)
        weight = (places - low)[:, None]
        pixels = pixels[low] * (1 - weight) + pixels[low + 1] * weight
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def measure(count: int) -> dict[str, object]:
    def memory_mib() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    seconds, cpu, memory = {}, {}, {"start": memory_mib()}
    start, cpu_start = time.perf_counter(), time.process_time()

    def done(stage: str) -> None:
        nonlocal start, cpu_start
        seconds[stage], memory[stage] = round(time.perf_counter() - start, 1), memory_mib()
        cpu[stage] = round(time.process_time() - cpu_start, 1)
        start, cpu_start = time.perf_counter(), time.process_time()
        print(stage, seconds[stage], cpu[stage], round(memory[stage]), file=sys.stderr, flush=True)

    planted: dict[int, tuple[int, str]] = {}
    thumbnails, facts = thumbnail_array(count), []
    generator = np.random.default_rng(5)
    for first in range(0, count, BLOCK):
        block = drawn(first, min(BLOCK, count - first))
        for place in range(EVERY - 1, len(block), EVERY):
            of = int(generator.integers(0, first + place))
            kind = KINDS[len(planted) % len(KINDS)]
            if of % EVERY == EVERY - 1:
                continue  # no copies of copies
            original = block[of - first] if of >= first else thumbnails[of]
            block[place] = changed(original, kind, generator)
            planted[first + place] = of, kind
        thumbnails[first : first + len(block)] = block
        release(thumbnails)
        hashes = perceptual_hashes(block).tolist()
        facts += [
            PictureFacts(500, 375, "JPEG", "RGB", 100_000, hashlib.sha256(b"%d" % (first + place)).hexdigest(), phash)
            for place, phash in enumerate(hashes)
        ]
    seen = Scan(tuple(facts), thumbnails)
    del facts
    pictures = tuple(Picture(f"class{i % CLASSES}/{i:08d}.jpg", i % CLASSES) for i in range(count))
    source = Source("drawn", None, tuple(f"class{i}" for i in range(CLASSES)), pictures)
    done("records")
    copies = duplicates(seen, source)
    done("copies")
    split = split_source(source, scan=seen, duplicates=copies)
    done("split")
    group = {member: number for number, members in enumerate(copies.groups) for member in members}
    found, all_ = Counter[str](), Counter[str]()
    for copy, (of, kind) in planted.items():
        all_[kind] += 1
        found[kind] += copy in group and group[copy] == group.get(of)
    parts = {index: name for name, part in split.parts().items() for index in part}
    together = sum(parts[copy] == parts[of] for copy, (of, _) in planted.items())
    extra = sum(len(members) - 1 for members in copies.groups) - sum(found.values())
    return {
        "pictures": count, "seconds": seconds, "cpu_seconds": cpu,
        "memory_mib": {name: round(value) for name, value in memory.items()},
        "planted": len(planted), "found": {kind: f"{found[kind]} of {all_[kind]}" for kind in KINDS},
        "recall": round(sum(found.values()) / max(1, len(planted)), 4), "not planted": extra,
        "copies on one side": together,
        "split": {name: len(part) for name, part in split.parts().items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one)))
        return
    for count in given.pictures:
        subprocess.run([sys.executable, __file__, "--one", str(count)], check=True)


if __name__ == "__main__":
    main()
