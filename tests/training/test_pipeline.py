"""When pictures are prepared, in which form, and that a training's outcome does not depend on it."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from casebook.augmentation.policy import Policy
from casebook.data.crops import CropSettings
from casebook.data.datasets import PictureData
from casebook.data.prepared import StoredFormat, list_prepared, remove_prepared
from casebook.data.scan import PictureFacts, scan
from casebook.data.sources import load_source
from casebook.data.split import split_source
from casebook.errors import Interrupted, RecipeError
from casebook.models.weights import read_weights
from casebook.preprocessing import Preprocessing
from casebook.progress import Event, StepEnded
from casebook.training.distributed import World
from casebook.training.pipeline import choose_crops, worth_preparing
from casebook.training.recipe import Recipe, make_recipe
from casebook.training.session import resume_run, train_run

SIZE = Preprocessing(size=20, crop_fraction=1.0)  # crops are cut from 40 pixels, so 96x80 is large
RESIZED = Policy("resized")
DEFAULT = StoredFormat(40)


@pytest.fixture(autouse=True)
def _own_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(photo_folder: Path) -> PictureData:
    source = load_source(photo_folder)
    seen = scan(source, workers=1)
    return PictureData(source, seen, split_source(source, scan=seen))


@pytest.fixture
def choose(data: PictureData) -> Callable[..., CropSettings]:
    """What is chosen with these settings; `choose.said` gathers the remarks."""
    said: list[str] = []

    def choose(policy: Policy = RESIZED, epochs: int = 2, data: PictureData = data, **settings: Any) -> CropSettings:
        recipe = Recipe(data="photos", **({"memory_share": 0.0} | settings))
        report = lambda event: said.append(event.text)  # noqa: E731
        return choose_crops(recipe, data, SIZE, policy, epochs, World(), report)

    choose.said = said  # type: ignore[attr-defined]
    return choose


def test_large_pictures_that_do_not_fit_into_memory_are_prepared(choose: Callable[..., CropSettings]) -> None:
    kept = choose()
    assert kept.format == DEFAULT
    assert kept.prepared is not None
    (listed,) = list_prepared()
    assert listed.path == kept.prepared.path
    assert len(choose.said) == 1  # type: ignore[attr-defined]
    assert "0.3 MiB" in choose.said[0]  # type: ignore[attr-defined]
    assert "--set prepared=off" in choose.said[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "settings",
    [
        {"memory_share": 0.9},
        {"epochs": 1},
        {"policy": Policy("padded")},
        {"policy": Policy()},
        {"prepared": "off"},
        {"prepared_side": 41},  # a little less than four times the pixels
    ],
    ids=str,
)
def test_others_are_not(choose: Callable[..., CropSettings], settings: dict) -> None:
    kept = choose(**settings)
    assert kept.prepared is None
    assert kept.format == StoredFormat(settings.get("prepared_side", 40))
    assert list_prepared() == []
    assert choose.said == []  # type: ignore[attr-defined]


def test_worth_is_a_matter_of_sizes() -> None:
    def facts(width: int, height: int) -> tuple[PictureFacts, ...]:
        return (PictureFacts(width, height, "JPEG", "RGB", 1, "x"),) * 10

    form, indices = StoredFormat(512), range(10)
    one = 683 * 512 * 3
    assert worth_preparing(facts(4000, 3000), indices, form, 10 * one - 1, 2)
    assert not worth_preparing(facts(4000, 3000), indices, form, 10 * one, 2)  # fits into memory
    assert not worth_preparing(facts(4000, 3000), indices, form, 0, 1)  # read once
    assert not worth_preparing(facts(500, 375), indices, form, 0, 90)  # small: as quickly decoded as read
    assert worth_preparing(facts(1366, 1024), indices, form, 0, 90)
    assert not worth_preparing(facts(1360, 1020), indices, form, 0, 90)
    assert not worth_preparing((PictureFacts(error="broken"),) * 10, indices, form, 0, 90)


def test_pictures_are_always_prepared_on_request(choose: Callable[..., CropSettings]) -> None:
    assert choose(prepared="raw", memory_share=0.9, epochs=1).prepared is not None
    kept = choose(prepared="jpeg", memory_share=0.9, prepared_side=60)
    assert kept.format == StoredFormat(60, format="jpeg")
    assert kept.prepared is not None


def test_what_is_there_is_used_whatever_the_rule_says(choose: Callable[..., CropSettings], photo_folder: Path) -> None:
    choose(prepared="raw")
    said = len(choose.said)  # type: ignore[attr-defined]
    assert choose(memory_share=0.9, epochs=1, prepared_gib=0).prepared is not None
    assert len(choose.said) == said  # type: ignore[attr-defined]
    assert choose(prepared="off").prepared is None


def test_beyond_the_budget_the_form_stays_and_it_is_reported(choose: Callable[..., CropSettings]) -> None:
    for settings in ({}, {"prepared": "jpeg"}):
        kept = choose(prepared_gib=1e-9, **settings)
        assert kept.prepared is None
        assert kept.format.format == ("jpeg" if settings else "raw")
    assert all("prepared_gib" in text and "decoded anew" in text for text in choose.said)  # type: ignore[attr-defined]
    assert list_prepared() == []


def test_what_has_no_effect_is_reported(choose: Callable[..., CropSettings]) -> None:
    assert choose(prepared="raw", policy=Policy("padded")).prepared is None
    assert "no effect" in choose.said[0]  # type: ignore[attr-defined]


def test_pictures_smaller_than_the_input_are_refused(choose: Callable[..., CropSettings]) -> None:
    with pytest.raises(RecipeError, match="prepared_side is 19, but the network takes 20"):
        choose(prepared_side=19)


# Whole trainings

CROPPED: dict = dict(
    model="lenet5", epochs=2, batch_size=8, crop="resized", mirror=False, learning_rate=0.02, warmup_epochs=0,
    near_duplicates=False, workers=0,
)  # fmt: skip


def weights(path: Path) -> bytes:
    return b"".join(value.numpy().tobytes() for value in read_weights(path / "model.safetensors")[0].values())


def trained(out: Path, data: Path, **settings: Any) -> bytes:
    with train_run(make_recipe("scratch", data=data, **(CROPPED | settings)), out=out):
        return weights(out)


def test_weights_do_not_depend_on_preparing(photo_folder: Path, tmp_path: Path) -> None:
    plain = trained(tmp_path / "off", photo_folder, prepared="off")
    assert list_prepared() == []
    assert trained(tmp_path / "raw", photo_folder, prepared="raw") == plain
    assert [file.complete for file in list_prepared()] == [32]  # of 48: the training part
    assert trained(tmp_path / "again", photo_folder, memory_share=0.0) == plain
    lossy = trained(tmp_path / "jpeg", photo_folder, prepared="jpeg", prepared_side=40)
    assert lossy != plain
    remove_prepared()
    assert trained(tmp_path / "no-room", photo_folder, prepared="jpeg", prepared_side=40, prepared_gib=0) == lossy
    assert list_prepared() == []


def test_an_interrupted_training_resumes_to_the_same_bits_without_its_prepared_file(
    photo_folder: Path, tmp_path: Path
) -> None:
    whole = trained(tmp_path / "whole", photo_folder, prepared="jpeg")
    steps = []

    def interrupt(event: Event) -> None:
        steps.append(isinstance(event, StepEnded))
        if sum(steps) == 6:
            signal.raise_signal(signal.SIGINT)

    recipe = make_recipe("scratch", data=photo_folder, prepared="jpeg", **CROPPED)
    with pytest.raises(Interrupted), train_run(recipe, out=tmp_path / "run", report=interrupt):
        pass
    remove_prepared()
    with resume_run(tmp_path / "run"):
        assert weights(tmp_path / "run") == whole


# The command's function
