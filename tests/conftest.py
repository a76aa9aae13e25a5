"""What tests share: small real data sets, folders made of scikit-learn's digits, and runs trained on them."""

import csv
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import casebook
from casebook.training.recipe import Recipe, make_recipe

Runs = tuple[Path, Path, Path]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def pytest_collection_finish() -> None:
    """What thousands of collected tests hold stays to the end, so the garbage collector need not look through it."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's cache, and none goes to the network; subprocesses inherit this."""
    os.environ["CASEBOOK_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["CASEBOOK_OFFLINE"] = "1"
    torch.set_num_threads(1)  # the networks of the tests are too small to share, and the machine may be busy


def explain_no_mistakes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("casebook.workflows.train._explanations", lambda *_: lambda row: ())


@pytest.fixture(autouse=True, scope="session")
def _plain_reports() -> Iterator[pytest.MonkeyPatch]:
    """Reports explain no mistakes: that takes longer than a training of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        explain_no_mistakes(patch)
        yield patch


@pytest.fixture
def explained_mistakes(_plain_reports: pytest.MonkeyPatch) -> Iterator[None]:
    """Reports explain mistakes, as they do outside of the tests."""
    _plain_reports.undo()
    yield
    explain_no_mistakes(_plain_reports)


@pytest.fixture(scope="session")
def digit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROOT/CLASS/NNN.png: 40 pictures of 8x8 for each of the digits 0 to 3."""
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("digit_folder")
    bunch: Any = load_digits()
    for digit in range(4):
        folder = root / f"digit_{digit}"
        folder.mkdir()
        for number, index in enumerate(np.flatnonzero(bunch.target == digit)[:40]):
            pixels = np.rint(bunch.images[index] * (255 / 16)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return root


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROOT/{stripes,spots}/NN.jpg: 24 photograph-like JPEGs of 96x80 for each of two easy classes."""
    root = tmp_path_factory.mktemp("photo_folder")
    generator = np.random.default_rng(0)
    across, down = np.meshgrid(np.arange(96), np.arange(80))
    for name in ("stripes", "spots"):
        (root / name).mkdir()
        for number in range(24):
            noise = generator.normal(0, 25, (80, 96, 3)) + generator.uniform(60, 190, 3)
            period, shift = generator.uniform(8, 16), generator.uniform(0, 16)
            wave = np.sin((across + shift) * (2 * np.pi / period))
            if name == "spots":
                wave = wave * np.sin((down + shift) * (2 * np.pi / period))
            pixels = np.clip(noise + 50 * wave[:, :, None], 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02d}.jpg", quality=90)
    return root


@pytest.fixture
def small_recipe(digit_folder: Path) -> Callable[..., Recipe]:
    """A recipe that trains LeNet-5 on the small digits in a second; keywords change it."""

    def make(**settings: object) -> Recipe:
        defaults: dict = {
            "data": str(digit_folder), "model": "lenet5", "epochs": 2, "batch_size": 16, "mirror": False,
            "learning_rate": 0.05, "warmup_epochs": 0, "near_duplicates": False,
        }  # fmt: skip
        return make_recipe("scratch", **(defaults | settings))

    return make


@pytest.fixture(scope="session")
def made_up_model() -> Callable[..., Any]:
    """`made_up_model(rate=0.05, call_ms=0.0, times=(1.25,))` -> the latency model of a device whose times are known.

    `rate` ms for a million multiply-adds of convolutions, `call_ms` for each operator, and nothing else takes time;
    `times` are what networks measured that it predicts 1 ms for.
    """
    from casebook.cost.latency_model import CONVOLUTIONS, KINDS, LatencyModel, LayerFit, MeasuredNetwork

    def make(rate: float = 0.05, call_ms: float = 0.0, times: tuple[float, ...] = (1.25,)) -> LatencyModel:
        fits = {
            kind: LayerFit(rates={"multiply_adds": rate} if kind in CONVOLUTIONS else {}, measured=1, median_error=0)
            for kind in KINDS
        }
        networks = [
            MeasuredNetwork(model="lenet5", options={}, input_size=32, measured_ms=ms, predicted_ms=1) for ms in times
        ]
        return LatencyModel(
            casebook="0", device="abacus", type="cpu", threads=1, torch="2", made="2026-01-01", seconds=1, layers=fits,
            factors={"products": 1.0, "others": 1.0, "calls": 1000 * call_ms}, networks=networks,
        )  # fmt: skip

    return make


def parts(run: Path) -> dict[str, str]:
    """The part that each picture is in, by name."""
    with (run / "split.csv").open() as file:
        return {row["name"]: row["split"] for row in csv.DictReader(file)}


def train(data: Path, out: Path, **settings: Any) -> Path:
    quick: dict[str, Any] = {"recipe": "scratch", "model": "lenet5", "epochs": 3, "batch_size": 16, "mirror": False,
                             "warmup_epochs": 0, "workers": 0, "learning_rate": 0.05,
                             "near_duplicates": False}  # fmt: skip
    return casebook.train(data, out=out, **(quick | settings)).path


@pytest.fixture(scope="session")
def runs(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Three LeNets of different quality with one split. Not to be changed: copy them."""
    folder = tmp_path_factory.mktemp("runs")
    return (
        train(digit_folder, folder / "a"),
        train(digit_folder, folder / "b", learning_rate=0.02, epochs=2),
        train(digit_folder, folder / "c", batch_size=32, epochs=1),
    )


@pytest.fixture(scope="session")
def other_split(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeNet with another seed, and so with another split."""
    return train(digit_folder, tmp_path_factory.mktemp("runs") / "d", seed=1, epochs=1)


@pytest.fixture(scope="session")
def labels_run(tmp_path_factory: pytest.TempPathFactory) -> casebook.Run:
    """A run on 90 pictures, each with any of the labels red, green and blue, some unknown; list.csv is beside it."""
    folder = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    rows = ["path,red,green,blue"]
    for number in range(90):
        there = rng.random(3) < 0.5
        pixels = rng.integers(0, 60, (16, 16, 3)) + 150 * there
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        rows.append(f"{number}.png," + ",".join("" if rng.random() < 0.1 else str(int(one)) for one in there))
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    return casebook.train(
        folder / "list.csv", out=folder / "run", model="resnet20", epochs=4, batch_size=16, optimiser="adamw",
        learning_rate=3e-3, device="cpu", policy="none", focal_gamma=1.0, class_weights="balanced", input_size=32,
    )  # fmt: skip


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an untrained LeNet-5 for the classes digit_0 to digit_3. Not to be changed: copy it."""
    from casebook.deployment.export import export_bundle

    torch.manual_seed(0)
    network = casebook.create_model("lenet5", num_classes=4)
    card = casebook.model_card("lenet5")
    classifier = casebook.Classifier("small", network, card.preprocessing, tuple(f"digit_{i}" for i in range(4)))
    return export_bundle(classifier, tmp_path_factory.mktemp("bundle") / "small.casebook").path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for the tests that look at pages; they are skipped where it or Playwright is not installed."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keras on PyTorch. It reads its settings when it is first imported, and would write some into the user's home."""
    os.environ.setdefault("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
    os.environ["KERAS_BACKEND"] = "torch"
    return pytest.importorskip("keras")
