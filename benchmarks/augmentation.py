"""Augmentation on one core: Casebook, torchvision, kornia, Keras and Albumentations with the same operations.

    python benchmarks/augmentation.py --pictures FOLDER --torchvision-python PYTHON --kornia-python PYTHON \
        --albumentations-python PYTHON --keras-python PYTHON [--json FILE]

Pictures a second for 128 photographs of 224x224 in memory, uint8 in and uint8 out. Four cases:

- all: mirror in half of the cases, rotation up to 15 degrees, shear up to 8, resized crop of 25 to 100 %, elastic warp,
  brightness, contrast and saturation up to 40 %, hue up to 15 degrees;
- no warp: the same without the elastic warp, which is most of the others' time;
- geometry: all without colours;
- crop: resized crop and mirror alone, where there is nothing to compose.

All read bilinearly and are told the same ranges. The elastic warps differ in kind: Casebook's is a spline over 8 x 8
control points, the others' are noise for each pixel, smoothed; each library has its own way to do it, and the strengths
are set so that pixels move by about as much. Casebook draws all parameters anew for each pass, as the others do.

- casebook: `data.draws.draw` and `data.augment.augment` (OpenCV, uint8), as the workers of a training call them;
- casebook, tensors: `data.augment_tensors`, which is for GPUs;
- torchvision v2: transforms on uint8 tensors, one picture at a time as in a DataLoader, or the batch at once, all of
  whose pictures then have the same parameters;
- kornia: AugmentationSequential on the float batch, with parameters for each picture;
- albumentations: Compose on uint8 arrays, one picture at a time (2.0.8, the last under MIT);
- keras: preprocessing layers on TensorFlow, on the float batch, in a compiled function. Keras has no resized crop that
  takes any area and ratio; its RandomZoom and RandomTranslation stand in.

Each arm has one thread, is bound to one core, and runs in its own process and interpreter; an arm without one is left
out. See interleave.py for how they take turns.
"""

import argparse
import json
import os
import platform
import sys
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

SIZE, COUNT = 224, 128
COLOURED, WARPED = ("all", "no warp"), ("all", "geometry")
CASES = ("all", "no warp", "geometry", "crop")
ROTATE, SHEAR, AREA, RATIO, JITTER, HUE = 15, 8, (0.25, 1.0), (3 / 4, 4 / 3), 0.4, 15 / 360
WARP = 0.03
# name -> (the worker, its variant, the option that names its interpreter)
ARMS = {
    "casebook": ("casebook", "pixels", ""),
    "casebook, tensors": ("casebook", "tensors", ""),
    "torchvision v2, a picture": ("torchvision", "picture", "torchvision"),
    "torchvision v2, the batch": ("torchvision", "batch", "torchvision"),
    "kornia": ("kornia", "", "kornia"),
    "albumentations": ("albumentations", "", "albumentations"),
    "keras": ("keras", "", "keras"),
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="a folder with at least 128 photographs")
    for name in ("torchvision", "kornia", "albumentations", "keras"):
        parser.add_argument(f"--{name}-python", default="", metavar="PYTHON", help=f"interpreter with {name}")
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        name, variant, case = options.worker
        WORKERS[name](variant, case, options.pictures)
        return
    if options.pictures is None:
        parser.error("--pictures is needed")
    chosen = {}
    for arm, (_, _, option) in ARMS.items():
        python = getattr(options, f"{option}_python") if option else sys.executable
        if found(python, f"--{option}-python", arm):
            chosen[arm] = python
    where = machine()
    results = [result for case in options.cases for result in measure(case, chosen, options)]
    header = ("case", "arm", "images/s", "casebook is")
    print(table(header, [(r["case"], r["arm"], r["shown"], r["shown_ratio"]) for r in results]))
    if options.json:
        document = {
            "benchmark": "augmentation",
            "command": command_line(),
            "machine": where,
            "settings": {"size": SIZE, "pictures": COUNT, "rounds": options.rounds},
            "results": [{k: v for k, v in r.items() if not k.startswith("shown")} for r in results],
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def measure(case: str, chosen: dict[str, str], options: argparse.Namespace) -> list[dict[str, Any]]:
    arms = []
    try:
        for name, python in chosen.items():
            say(f"{case}: starting {name}")
            worker, variant, _ = ARMS[name]
            command = [python, __file__, "--pictures", options.pictures, "--worker", worker, variant, case]
            arms.append(Arm(name, command, ONE_THREAD))
        take_turns(arms, amount=1, rounds=options.rounds, warmup=1)
    finally:
        for arm in arms:
            arm.close()
    results = []
    for arm in arms:
        speeds = [COUNT / answer["seconds"] for answer in arm.answers]
        ratios = times_as_fast(arms[0], arm)
        results.append({
            "case": case, "arm": arm.name, "images_per_second": spread(speeds), "casebook_is": spread(ratios),
            "seconds": [answer["seconds"] for answer in arm.answers], "about": arm.about,
            "shown": spread_text(speeds, 0),
            "shown_ratio": "" if arm is arms[0] else f"{spread_text(ratios, 2)} times as fast",
        })  # fmt: skip
    return results


def photographs(folder: Path) -> Any:
    """(COUNT, SIZE, SIZE, 3) uint8: centre squares of real photographs."""
    import numpy as np
    from PIL import Image, ImageOps

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if len(paths) < COUNT:
        raise SystemExit(f"{folder} holds {len(paths)} pictures, expected at least {COUNT}")
    step = len(paths) // COUNT
    pictures = (Image.open(path).convert("RGB") for path in paths[:: step or 1][:COUNT])
    return np.stack([np.asarray(ImageOps.fit(picture, (SIZE, SIZE))) for picture in pictures])


def work(about: dict[str, Any], one_pass: Callable[[int], Any]) -> None:
    number = 0
    for turn in turns(about | {"python": platform.python_version()}):
        for _ in range(turn.amount):
            one_pass(number)
            number += 1


def casebook_worker(variant: str, case: str, folder: Path) -> None:
    import cv2
    import numpy as np
    import torch

    import casebook
    from casebook.augmentation.augment import augment
    from casebook.augmentation.augment_tensors import augment_tensors
    from casebook.augmentation.policy import Policy
    from casebook.augmentation.sampling import sample

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    laws: dict[str, Any] = {"crop": "resized", "area": AREA, "ratio": RATIO, "mirror": 0.5}
    if case != "crop":
        laws |= {"rotate": ROTATE, "shear": SHEAR, "warp": 0 if case == "no warp" else WARP}
    if case in COLOURED:
        laws |= {"brightness": JITTER, "contrast": JITTER, "saturation": JITTER, "hue": 360 * HUE}
    policy = Policy(**laws)
    pixels = photographs(folder)
    pictures, tensor = list(pixels), torch.from_numpy(pixels)
    indices, sizes = np.arange(COUNT), np.full((COUNT, 2), SIZE)
    fill = np.array([124, 116, 104], np.uint8)

    def one_pass(number: int) -> Any:
        parameters = sample(policy, 0, number, indices, sizes, SIZE)
        if variant == "pixels":
            return augment(pictures, parameters, SIZE, fill)
        return augment_tensors(tensor, parameters, SIZE, fill)

    work({"casebook": casebook.__version__, "opencv": cv2.__version__, "torch": torch.__version__}, one_pass)


def torchvision_worker(variant: str, case: str, folder: Path) -> None:
    import torch

    torchvision = import_torchvision()
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    bilinear = v2.InterpolationMode.BILINEAR
    steps = [v2.RandomResizedCrop(SIZE, AREA, RATIO), v2.RandomHorizontalFlip(0.5)]
    if case != "crop":
        steps.append(v2.RandomAffine(ROTATE, shear=(-SHEAR, SHEAR, -SHEAR, SHEAR), interpolation=bilinear))
    if case in WARPED:
        steps.append(v2.ElasticTransform(alpha=50.0, sigma=8.0, interpolation=bilinear))
    if case in COLOURED:
        steps.append(v2.ColorJitter(JITTER, JITTER, JITTER, HUE))
    transform = v2.Compose(steps)
    batch = torch.from_numpy(photographs(folder)).permute(0, 3, 1, 2).contiguous()

    def one_pass(_: int) -> Any:
        return transform(batch) if variant == "batch" else [transform(picture) for picture in batch]

    work({"torchvision": torchvision.__version__, "torch": torch.__version__}, one_pass)


def kornia_worker(variant: str, case: str, folder: Path) -> None:
    import_torchvision()
    import kornia
    import torch
    from kornia import augmentation

    torch.set_num_threads(1)
    steps: list[Any] = [
        augmentation.RandomResizedCrop((SIZE, SIZE), AREA, RATIO), augmentation.RandomHorizontalFlip(p=0.5),
    ]  # fmt: skip
    if case != "crop":
        steps.append(augmentation.RandomAffine(ROTATE, shear=(-SHEAR, SHEAR, -SHEAR, SHEAR), p=1.0))
    if case in WARPED:
        steps.append(augmentation.RandomElasticTransform((33, 33), (8.0, 8.0), (0.4, 0.4), p=1.0))
    if case in COLOURED:
        steps.append(augmentation.ColorJitter(JITTER, JITTER, JITTER, HUE, p=1.0))
    transform = augmentation.AugmentationSequential(*steps, data_keys=["input"])
    batch = torch.from_numpy(photographs(folder)).permute(0, 3, 1, 2).contiguous()

    def one_pass(_: int) -> Any:
        return (transform(batch.float() / 255) * 255).round().clamp(0, 255).to(torch.uint8)

    work({"kornia": kornia.__version__, "torch": torch.__version__}, one_pass)


def albumentations_worker(variant: str, case: str, folder: Path) -> None:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations
    import cv2

    cv2.setNumThreads(1)
    steps: list[Any] = [
        albumentations.RandomResizedCrop((SIZE, SIZE), scale=AREA, ratio=RATIO), albumentations.HorizontalFlip(p=0.5),
    ]  # fmt: skip
    if case != "crop":
        shear = {"x": (-SHEAR, SHEAR), "y": (-SHEAR, SHEAR)}
        steps.append(albumentations.Affine(rotate=(-ROTATE, ROTATE), shear=shear, scale=1.0, p=1.0))
    if case in WARPED:
        steps.append(albumentations.ElasticTransform(alpha=50, sigma=8, p=1.0))
    if case in COLOURED:
        steps.append(albumentations.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-HUE, HUE), p=1.0))
    transform = albumentations.Compose(steps)
    pictures = list(photographs(folder))

    def one_pass(_: int) -> Any:
        return [transform(image=picture)["image"] for picture in pictures]

    work({"albumentations": albumentations.__version__, "opencv": cv2.__version__}, one_pass)


def keras_worker(variant: str, case: str, folder: Path) -> None:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow
    from keras import layers

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    steps: list[Any] = [
        layers.RandomZoom((-0.5, 0.0), (-0.5, 0.0)), layers.RandomTranslation(0.1, 0.1),
        layers.RandomFlip("horizontal"),
    ]  # fmt: skip
    if case != "crop":
        steps += [layers.RandomRotation(ROTATE / 360), layers.RandomShear(0.14, 0.14)]
    if case in WARPED:
        steps.append(layers.RandomElasticTransform(factor=1.0, scale=1.0, value_range=(0, 255)))
    if case in COLOURED:
        colours = {"brightness_factor": JITTER, "contrast_factor": JITTER, "hue_factor": HUE * 2}
        steps.append(layers.RandomColorJitter(**colours, saturation_factor=(0.3, 0.7)))
    batch = tensorflow.constant(photographs(folder))

    @tensorflow.function
    def augmented(images: Any) -> Any:
        images = tensorflow.cast(images, tensorflow.float32)
        for step in steps:
            images = step(images, training=True)
        return tensorflow.cast(tensorflow.round(tensorflow.clip_by_value(images, 0, 255)), tensorflow.uint8)

    work({"keras": keras.__version__, "tensorflow": tensorflow.__version__}, lambda _: augmented(batch).numpy())


WORKERS = {
    "casebook": casebook_worker, "torchvision": torchvision_worker, "kornia": kornia_worker,
    "albumentations": albumentations_worker, "keras": keras_worker,
}  # fmt: skip

if __name__ == "__main__":
    main()
