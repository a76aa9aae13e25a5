"""The input pipeline on one core: decode, random resized crop to 224, mirror; Casebook, torchvision and TensorFlow.

    python benchmarks/pipeline.py --pictures FOLDER --torchvision-python PYTHON --tensorflow-python PYTHON [--json FILE]

Pictures a second from JPEG files in the page cache to batches of 32 x 224 x 224 uint8. The files are made of real
photographs of at least 400 pixels, cut to 4:3, with quality 90 and halved chroma:

- 500x375: resized, as the pictures of ImageNet are;
- 4000x3000: resized to twelve megapixels: smooth, about 0.8 MB each;
- 4000x3000 dense: 64 of the first kind tiled, as much detail a pixel as they have, about 3 MB each. Photographs of
  cameras lie between the two. Here all arms spend most of their time on the entropy decoding, which none can avoid.

The arms, all with windows of 8 to 100 % of the area and 3:4 to 4:3, resampled bilinearly:

- casebook: `data.loader.Batches` without a cache: of every picture the crop alone is decoded, which takes
  libjpeg-turbo 3 (`pip install casebook[turbo]`); `OpenCV alone` decodes whole pictures, as without it and as in the
  first epoch of pictures that are kept;
- casebook, prepared: the same from a prepared file: `256` is the usual size, raw or JPEG, and `512` what a training
  prepares by itself, which changes no pixel;
- torchvision: the usual path. Image.open and convert, RandomResizedCrop(224), RandomHorizontalFlip, PILToTensor, stack;
- tensorflow: the usual fast path. sample_distorted_bounding_box, decode_and_crop_jpeg, resize (without anti-aliasing,
  which torchvision and Casebook do), flip, cast, in a tf.data pipeline. `tensorflow, called` leaves tf.data out.

Each arm has one thread and is bound to one core. Each runs in its own process and interpreter, an arm without one is
left out; see interleave.py for how they take turns. PYTHON for Casebook is the one that runs this file. The peers:

    python -m venv peer && peer/bin/pip install torch torchvision
    python -m venv tf && tf/bin/pip install tensorflow-cpu
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interleave import (
    Arm,
    command_line,
    found,
    import_torchvision,
    machine,
    say,
    spread,
    spread_text,
    table,
    take_turns,
    times_as_fast,
    turns,
)

SIZE, BATCH = 224, 32
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)
CASES = {"500x375": 128, "4000x3000": 12, "4000x3000 dense": 12}  # pictures
TURN = {"500x375": 512, "4000x3000": 32, "4000x3000 dense": 32}  # pictures in a round
# name -> (what runs it, its argument, times the work in a round)
ARMS = {
    "casebook": ("casebook", "fresh", 1),
    "casebook, OpenCV alone": ("casebook", "whole", 1),
    "casebook, prepared 512 raw": ("casebook", "512 raw", 8),
    "casebook, prepared 256 raw": ("casebook", "256 raw", 16),
    "casebook, prepared 256 JPEG": ("casebook", "256 jpeg", 8),
    "torchvision": ("torchvision", "", 1),
    "tensorflow": ("tensorflow", "data", 1),
    "tensorflow, called": ("tensorflow", "called", 1),
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="photographs, in folders of any depth")
    parser.add_argument("--torchvision-python", default="", metavar="PYTHON", help="interpreter with torchvision")
    parser.add_argument("--tensorflow-python", default="", metavar="PYTHON", help="interpreter with tensorflow")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, argument, repeat, folder = options.worker
        bind_to_one_core()
        WORKERS[kind](argument, int(repeat), Path(folder))
        return
    if options.pictures is None:
        parser.error("--pictures FOLDER is missing")

    pythons = {"casebook": sys.executable}
    for kind in ("torchvision", "tensorflow"):
        python = getattr(options, f"{kind}_python")
        if found(python, f"--{kind}-python", kind):
            pythons[kind] = python
    where = machine()
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        photographs = Photographs(options.pictures)
        for case in options.cases:
            folder = Path(scratch, case.replace(" ", "-"))
            photographs.make(case, folder)
            results += measure(case, folder, pythons, options.rounds, Path(scratch, "cache"))
    print(table(
        ("pictures", "arm", "pictures/s", "times torchvision", "times tensorflow"),
        [(r["case"], r["arm"], r["shown"], *(r["shown_ratios"].get(peer, "") for peer in ("torchvision", "tensorflow")))
         for r in results],
    ))  # fmt: skip
    if options.json:
        document = {
            "benchmark": "input pipeline",
            "command": command_line(),
            "machine": where,
            "settings": {"size": SIZE, "batch_size": BATCH, "area": AREA, "ratio": RATIO, "rounds": options.rounds,
                         "pictures_per_round": TURN, "files": photographs.about},
            "results": [{k: v for k, v in r.items() if not k.startswith("shown")} for r in results],
        }  # fmt: skip
        options.json.write_text(json.dumps(document, indent=2) + "\n")


class Photographs:
    """Makes the files of each case from a folder of photographs."""

    def __init__(self, root: Path):
        from PIL import Image

        self.image, self.about, self.files = Image, {}, []
        for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")):
            with Image.open(path) as picture:
                if picture.mode == "RGB" and picture.width >= max(400, picture.height):
                    self.files.append(path)
        if len(self.files) < 128:
            sys.exit(f"{root} has {len(self.files)} photographs of at least 400 pixels, expected 128 or more")
        self.files = self.files[:: len(self.files) // 128][:128]

    def make(self, case: str, folder: Path) -> None:
        """folder/{0,1}/NNN.jpg"""
        say(f"{case}: making the files")
        size_bytes = 0
        for number in range(CASES[case]):
            picture = (
                self._dense(number) if "dense" in case else self._resized(number, tuple(map(int, case.split("x"))))
            )
            path = folder / str(number % 2) / f"{number:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=90)
            size_bytes += path.stat().st_size
        self.about[case] = {"count": CASES[case], "quality": 90, "mean_bytes": round(size_bytes / CASES[case])}

    def _resized(self, number: int, size: tuple[int, int]) -> Any:
        with self.image.open(self.files[number]) as picture:
            width, height = picture.size
            wide, high = min(width, round(height * 4 / 3)), min(height, round(width * 3 / 4))
            left, top = (width - wide) // 2, (height - high) // 2
            return picture.convert("RGB").resize(
                size, self.image.Resampling.LANCZOS, box=(left, top, left + wide, top + high)
            )

    def _dense(self, number: int) -> Any:
        whole = self.image.new("RGB", (4000, 3000))
        for tile in range(64):
            small = self._resized((tile + 5 * number) % len(self.files), (500, 375))
            whole.paste(small, (tile % 8 * 500, tile // 8 * 375))
        return whole


def measure(case: str, folder: Path, pythons: dict[str, str], rounds: int, cache: Path) -> list[dict[str, Any]]:
    arms = []
    try:
        for name, (kind, argument, repeat) in ARMS.items():
            if kind in pythons:
                say(f"{case}: starting {name}")
                command = [pythons[kind], __file__, "--worker", kind, argument, str(repeat), str(folder)]
                arms.append(Arm(name, command, dict.fromkeys(THREADS, "1") | {"CASEBOOK_CACHE": str(cache)}))
        take_turns(arms, amount=TURN[case], rounds=rounds, warmup=TURN[case])
    finally:
        for arm in arms:
            arm.close()
    results = []
    for arm in arms:
        speeds = [TURN[case] / answer["seconds"] for answer in arm.answers]
        ratios = {peer.name: times_as_fast(arm, peer) for peer in arms if peer.name in pythons and peer is not arm}
        results.append({
            "case": case, "arm": arm.name, "pictures_per_second": spread(speeds), "about": arm.about,
            "times_as_fast_as": {name: spread(values) for name, values in ratios.items()},
            "seconds": [answer["seconds"] for answer in arm.answers], "shown": spread_text(speeds),
            "shown_ratios": {name: spread_text(values, 2) for name, values in ratios.items()},
        })  # fmt: skip
    return results


def bind_to_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def answer_turns(about: dict[str, Any], read: Callable[[int], None], repeat: int) -> None:
    """`read(count)` reads that many pictures; an arm that is too fast to be timed reads `repeat` times as many."""
    for turn in turns(about | {"python": platform.python_version()}):
        began = time.perf_counter()
        read(turn.amount * repeat)
        turn.note["seconds"] = (time.perf_counter() - began) / repeat


# The arms. Each runs in a process of its own.


def casebook_worker(argument: str, repeat: int, folder: Path) -> None:
    import cv2
    import torch

    import casebook
    from casebook.augmentation.policy import Policy
    from casebook.data import jpeg_window
    from casebook.data.batch_plan import BatchPlan
    from casebook.data.crops import CropSettings
    from casebook.data.jpeg_window import can_decode_windows
    from casebook.data.loader import AugmentSettings, Batches
    from casebook.data.prepared import StoredFormat, fill, open_prepared
    from casebook.data.scan import scan
    from casebook.data.sources import load_source
    from casebook.device import tune_allocator
    from casebook.preprocessing import Preprocessing

    tune_allocator()  # as every training does
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    source, kept = load_source(folder), {}
    facts = scan(source, workers=1).facts
    if argument == "fresh" and not can_decode_windows():
        say("libjpeg-turbo 3 was not found, so whole pictures are decoded; see docs/how-to.md")
    if argument == "whole":
        jpeg_window._library = lambda: None
    elif argument != "fresh":
        side, format = argument.split()
        form = StoredFormat(int(side), "RGB", "jpeg" if format == "jpeg" else "raw")
        kept["format"], kept["prepared"] = (
            form, open_prepared(source, facts, form, budget_bytes=float("inf"), disk_share=1),
        )  # fmt: skip
        fill(source, kept["prepared"], workers=1)
    policy = Policy(crop="resized", area=AREA, ratio=RATIO, mirror=0.5)
    batches = Batches(
        source,
        range(len(source)),
        Preprocessing(),
        BatchPlan(BATCH, shuffle=True),
        augmentation=AugmentSettings(policy),
        crops=CropSettings([(picture.width, picture.height) for picture in facts], memory_share=0, **kept),
    )
    places, epoch = [], 0

    def read(count: int) -> None:
        nonlocal epoch, places
        while count > 0:
            while len(places) < BATCH:  # sets smaller than a batch are gone through again
                epoch += 1
                places = [*places, *(place for _, batch in batches.keys(epoch) for place in batch.tolist())]
            batch = batches.pictures[(epoch, torch.tensor(places[:BATCH]).numpy())]
            places, count = places[BATCH:], count - len(batch.labels)

    about = {"casebook": casebook.__version__, "opencv": cv2.__version__, "torch": torch.__version__,
             "decodes_windows": can_decode_windows()}  # fmt: skip
    if "prepared" in kept:
        about["bytes_per_picture"] = round(kept["prepared"].path.stat().st_blocks * 512 / len(source))
    answer_turns(about, read, repeat)


def torchvision_worker(argument: str, repeat: int, folder: Path) -> None:
    import PIL
    import torch
    from PIL import Image

    torchvision = import_torchvision()
    torch.set_num_threads(1)
    transforms = torchvision.transforms
    transform = transforms.Compose([
        transforms.RandomResizedCrop(SIZE, scale=AREA, ratio=RATIO), transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
    ])  # fmt: skip
    files = sorted(folder.rglob("*.jpg"))
    place = 0

    def read(count: int) -> None:
        nonlocal place
        while count > 0:
            batch = []
            for _ in range(BATCH):
                with files[place % len(files)].open("rb") as file:
                    batch.append(transform(Image.open(file).convert("RGB")))
                place += 1
            torch.stack(batch)
            count -= BATCH

    about = {"torchvision": torchvision.__version__, "pillow": PIL.__version__, "torch": torch.__version__}
    answer_turns(about, read, repeat)


def tensorflow_worker(argument: str, repeat: int, folder: Path) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)

    def load(path: Any) -> Any:
        content = tensorflow.io.read_file(path)
        begin, size, _ = tensorflow.image.sample_distorted_bounding_box(
            tensorflow.image.extract_jpeg_shape(content),
            tensorflow.constant([0.0, 0.0, 1.0, 1.0], shape=[1, 1, 4]),
            min_object_covered=0.0, aspect_ratio_range=RATIO, area_range=AREA, use_image_if_no_bounding_boxes=True,
        )  # fmt: skip
        window = tensorflow.concat([begin[:2], size[:2]], 0)
        picture = tensorflow.io.decode_and_crop_jpeg(content, window, channels=3)
        picture = tensorflow.image.random_flip_left_right(tensorflow.image.resize(picture, [SIZE, SIZE]))
        return tensorflow.cast(picture, tensorflow.uint8)

    files = sorted(map(str, folder.rglob("*.jpg")))
    about = {"tensorflow": tensorflow.__version__}
    if argument == "data":
        options = tensorflow.data.Options()
        options.threading.private_threadpool_size = 1
        options.autotune.enabled = False
        # They would read ahead while other arms have their turn.
        options.experimental_optimization.apply_default_optimizations = False
        options.experimental_optimization.inject_prefetch = False
        stream = iter(
            tensorflow.data.Dataset.from_tensor_slices(files).repeat().map(load).batch(BATCH).with_options(options)
        )

        def read(count: int) -> None:
            for _ in range(-(-count // BATCH)):
                next(stream)

    else:
        called, place = tensorflow.function(load), 0

        def read(count: int) -> None:
            nonlocal place
            while count > 0:
                chosen = [files[(place + step) % len(files)] for step in range(BATCH)]
                tensorflow.stack([called(tensorflow.constant(path)) for path in chosen])
                place, count = place + BATCH, count - BATCH

    answer_turns(about, read, repeat)


WORKERS = {"casebook": casebook_worker, "torchvision": torchvision_worker, "tensorflow": tensorflow_worker}

if __name__ == "__main__":
    main()
