"""Pictures are prepared once for all trainings, or the reason why not is said."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casebook.augmentation.policy import Policy
from casebook.data import prepared as prepared_module
from casebook.data.datasets import PictureData
from casebook.data.prepared import Layout, StoredFormat, list_prepared
from casebook.data.scan import scan
from casebook.data.sources import load_source
from casebook.data.split import split_source
from casebook.errors import DataError, RecipeError, RunError
from casebook.preprocessing import Preprocessing
from casebook.progress import Advanced, Event, PreparedSize
from casebook.training.distributed import World
from casebook.training.pipeline import choose_crops
from casebook.training.recipe import Recipe
from casebook.workflows import prepare
from casebook.workflows.prepare import prepare_pictures

RESIZED = Policy("resized")


@pytest.fixture(autouse=True)
def _own_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    root = tmp_path / "photographs"
    generator = np.random.default_rng(0)
    for number in range(6):
        folder = root / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8))
        small.resize((800, 600), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
    (root / "a" / "fake.jpg").write_bytes(b"no picture")
    return root


def test_preparing(photographs: Path) -> None:
    events: list[Event] = []
    dry = prepare_pictures(photographs, dry_run=True, report=events.append)
    assert list_prepared() == []
    assert (dry.pictures, dry.already, dry.complete, dry.form) == (6, 0, 0, StoredFormat(512))
    size = next(event for event in events if isinstance(event, PreparedSize))
    assert size.size_bytes == dry.size_bytes
    done = prepare_pictures(photographs, workers=2, report=events.append)
    assert (done.pictures, done.already, done.complete) == (6, 0, 6)
    assert done.size_bytes == dry.size_bytes == done.file.stat().st_size
    assert [*done.skipped] == ["a/fake.jpg"]
    assert done.settings == {}
    assert events[-1] == Advanced("prepare", 6, 6)
    again = prepare_pictures(photographs)
    assert (again.already, again.complete, again.file) == (6, 6, done.file)
    small = prepare_pictures(photographs, side=256, format="jpeg")
    assert small.settings == {"prepared": "jpeg", "prepared_side": 256}
    assert small.size_bytes < done.size_bytes / 4
    assert prepare_pictures(photographs, model="inception_v3").form.side != 512
    assert prepare_pictures(photographs, model="lenet5", side=300).form.mode == "L"


def test_training_finds_the_pictures_prepared_for_its_network(photographs: Path) -> None:
    (photographs / "a" / "fake.jpg").unlink()
    prepare_pictures(photographs, model="resnet18")
    source = load_source(photographs)
    seen = scan(source, workers=1)
    data = PictureData(source, seen, split_source(source, scan=seen, val_fraction=0.3, test_fraction=0))
    kept = choose_crops(Recipe(data="x"), data, Preprocessing(), RESIZED, 5, World(), lambda event: None)
    assert kept.prepared is not None
    assert kept.prepared.num_complete() == 6


def test_prepare_rejects_impossible_settings(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="digits is held in memory"):
        prepare_pictures("digits")
    with pytest.raises(RecipeError, match="side is 100, expected 224 or more"):
        prepare_pictures(photographs, side=100)
    with pytest.raises(RecipeError, match="expected raw or jpeg"):
        prepare_pictures(photographs, format="png")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="there is no folder"):
        prepare_pictures("nowhere")
    for path in photographs.glob("*/*"):
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="not one of the 7 pictures"):
        prepare_pictures(photographs)


def test_preparing_needs_room(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = Layout(scan(load_source(photographs), workers=1).facts, StoredFormat(512)).size_bytes + 1000
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    with pytest.raises(RunError, match="choose a smaller --side or --format jpeg, or set CASEBOOK_CACHE"):
        prepare_pictures(photographs)
    monkeypatch.setattr(prepare, "RESERVE_BYTES", 0)
    monkeypatch.setattr(prepared_module, "RESERVE_BYTES", 0)
    assert prepare_pictures(photographs).complete == 6
