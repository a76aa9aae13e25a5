import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import casebook
from casebook.errors import DataError, ModelError, RunError, WeightsError
from casebook.formatting import size_text
from casebook.models import create_model
from casebook.models.weights import save_weights
from casebook.progress import Event, ScoringStarted
from casebook.training.plan import SMALL_INPUT
from casebook.training.run import Run


@pytest.fixture(scope="module")
def run(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return casebook.train(
        digit_folder, recipe="digits", model="lenet5", epochs=12, batch_size=8, out=tmp_path_factory.mktemp("r") / "run"
    )


def test_a_run_folder_holds_what_is_promised(run: Run) -> None:
    assert {entry.name for entry in run.path.iterdir()} == {
        "recipe.toml", "model.safetensors", "model.json", "last.ckpt", "metrics.jsonl", "environment.json",
        "split.csv", "evaluation.json", "report.html", "judgement.json", "judgement.safetensors",
    }  # fmt: skip
    assert run.classes == ("digit_0", "digit_1", "digit_2", "digit_3")
    assert run.model["options"] == {"num_classes": 4, "in_channels": 1}
    assert len(run.history) == 12
    assert run.recipe.crop == "padded"


def test_the_locked_test_set_is_scored_with_an_interval(run: Run) -> None:
    test = run.test
    low, high = test.top1_interval
    assert test.n == run.evaluation["pictures"]["test"] == 24
    assert 0 <= low <= test.top1 <= high <= 1
    assert test.top1 + test.top1_error == pytest.approx(1)
    assert test.top1 > 0.8
    assert test.top5 is None  # four classes


def test_a_run_tells_how_much_memory_it_took(run: Run) -> None:
    peak, memory = run.evaluation["peak_memory_bytes"], run.environment["memory_bytes"]
    assert 100 << 20 < peak < memory
    report = (run.path / "report.html").read_text(encoding="utf-8")
    assert size_text(peak) in report
    assert size_text(memory) in report


def test_evaluate_gives_the_same_again(run: Run) -> None:
    evaluation = casebook.evaluate(run.path)
    before = run.evaluation["test"]
    assert {key: evaluation.document[key] for key in before} == before
    assert evaluation.top1 == run.test.top1
    assert casebook.evaluate(run.path, split="all").document["seen"]["all"]["n"] == 160


def test_the_test_pictures_are_not_read_before_the_end(
    digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During the epochs only training and validation pictures are opened."""
    from casebook.data.sources import Source

    opened: list[str] = []
    original = Source.open
    monkeypatch.setattr(
        Source, "open", lambda self, i, **k: (opened.append(self.pictures[i].name), original(self, i, **k))[1]
    )
    during: set[str] = set()

    def report(event: Event) -> None:
        if isinstance(event, ScoringStarted):
            during.update(opened)

    done = casebook.train(
        digit_folder, recipe="scratch", model="lenet5", epochs=1, workers=0, out=tmp_path / "r", progress=report
    )
    with (done.path / "split.csv").open() as file:
        parts = {row["name"]: row["split"] for row in csv.DictReader(file)}
    assert {parts[name] for name in during} == {"train", "val"}
    assert {name for name in opened if parts[name] == "test"} == {n for n, part in parts.items() if part == "test"}


def test_the_same_seed_gives_the_same_bits_and_another_another_split(digit_folder: Path, tmp_path: Path) -> None:
    def train(name: str, seed: int) -> Run:
        return casebook.train(digit_folder, recipe="scratch", model="lenet5", epochs=1, seed=seed, out=tmp_path / name)

    first, second, third = train("a", 1), train("b", 1), train("c", 2)
    read = [(r.path / "model.safetensors").read_bytes() for r in (first, second, third)]
    assert read[0] == read[1] != read[2]
    splits = [(r.path / "split.csv").read_text() for r in (first, second, third)]
    assert splits[0] == splits[1] != splits[2]


def test_new_data_is_matched_by_class_name(run: Run, digit_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(digit_folder / "digit_2", tmp_path / "some" / "digit_2")
    shutil.copytree(digit_folder / "digit_0", tmp_path / "some" / "digit_0")
    evaluation = casebook.evaluate(run.path, tmp_path / "some")
    assert evaluation.document["seen"]["all"]["n"] == 80
    assert evaluation.top1 > 0.8  # would be near 0 if folders were numbered anew
    assert "2 of the network's 4 classes" in " ".join(evaluation.document["notes"])
    (tmp_path / "some" / "digit_0").rename(tmp_path / "some" / "zero")
    with pytest.raises(DataError, match=r"1 classes that .* does not know: zero"):
        casebook.evaluate(run.path, tmp_path / "some")


def test_a_named_network_is_scored_against_all_its_outputs(photo_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create_model("resnet20", num_classes=6)
    save_weights(tmp_path / "w.safetensors", network.state_dict(), {"architecture": "resnet20"})
    rows = ["index,id,name"] + [
        f"{i},n{i:03d},{name}" for i, name in enumerate(["a", "b", "c", "stripes", "e", "spots"])
    ]
    (tmp_path / "classes.csv").write_text("\n".join(rows) + "\n")
    named = casebook.load("resnet20", weights=tmp_path / "w.safetensors", classes=tmp_path / "classes.csv")
    by_name = casebook.evaluate(named, photo_folder)
    shutil.copytree(photo_folder / "stripes", tmp_path / "ids" / "n003")
    shutil.copytree(photo_folder / "spots", tmp_path / "ids" / "n005")
    by_id = casebook.evaluate(named, tmp_path / "ids")
    assert by_name.predictions.probabilities.shape == (48, 6)
    assert by_name.top1 == by_id.top1
    assert set(by_name.predictions.labels.tolist()) == {3, 5}
    assert by_name.scores.n == 48
    assert by_name.scores.top5 >= by_name.top1


def test_predictions_are_those_of_evaluate(run: Run, digit_folder: Path) -> None:
    evaluation = casebook.evaluate(run.path)
    answers = list(casebook.predict(run.path, digit_folder, top=4))
    assert len(answers) == 160
    expected = {
        name: dict(zip(run.classes, row, strict=True))
        for name, row in zip(evaluation.predictions.names, evaluation.predictions.probabilities, strict=True)
    }
    compared = 0
    for answer in answers:
        name = Path(answer.picture).relative_to(digit_folder).as_posix()
        probabilities = [probability for _, probability in answer.classes]
        assert probabilities == sorted(probabilities, reverse=True)
        if name in expected:
            compared += 1
            for class_name, probability in answer.classes:
                assert probability == pytest.approx(float(expected[name][class_name]), abs=1e-6)
    assert compared == evaluation.scores.n


def test_a_bad_picture_is_one_error_and_the_others_are_answered(run: Run, digit_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    (tmp_path / "empty").mkdir()
    good = digit_folder / "digit_1" / "000.png"
    named = [tmp_path / "bad.png", good, tmp_path / "none.png", tmp_path / "*.gif", tmp_path / "empty"]
    records = list(casebook.predict(run.path, named))
    assert [record.error is not None for record in records] == [True, False, True, True, True]
    assert len(records[1].classes) == 4


def test_a_network_for_small_pictures_gets_no_note_about_their_size(digit_folder: Path, tmp_path: Path) -> None:
    run = casebook.train(digit_folder, out=tmp_path / "run", model="resnet20", epochs=1, workers=0, warmup_epochs=0)
    assert not any("instead of" in note for note in run.evaluation["notes"])


def test_large_networks_get_a_small_stem_for_small_pictures(digit_folder: Path, tmp_path: Path) -> None:
    run = casebook.train(digit_folder, recipe="scratch", model="resnet18", epochs=1, out=tmp_path / "r", batch_size=32)
    assert run.model["options"]["small_stem"] is True
    assert run.preprocessing.size == 32 <= SMALL_INPUT
    assert any("stem" in departure for departure in run.model["departures"])
    assert "small" in " ".join(run.evaluation["notes"])
    network = run.network()
    assert network.preprocessing == run.preprocessing
    assert network.classes == tuple(run.model["classes"])
    assert network.stages(network.stem(torch.zeros(1, 3, 32, 32))).shape[-1] >= 4


def test_broken_pictures_are_named_and_fatal_only_with_strict(digit_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(digit_folder, tmp_path / "data")
    (tmp_path / "data" / "digit_0" / "broken.png").write_bytes(b"")
    settings = {"recipe": "scratch", "model": "lenet5", "epochs": 1}
    run = casebook.train(tmp_path / "data", out=tmp_path / "r", **settings)
    (skipped,) = run.evaluation["skipped"]
    assert skipped["picture"] == "digit_0/broken.png"
    assert skipped["reason"]
    assert "broken.png" in (run.path / "report.html").read_text()
    with pytest.raises(DataError, match=r"1 of 161 pictures cannot be read: digit_0/broken\.png"):
        casebook.train(tmp_path / "data", out=tmp_path / "s", strict=True, **settings)


def test_a_full_disk_during_training_keeps_what_was_there(
    digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    real, calls = os.fsync, []

    def full_after_a_while(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 12:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("os.fsync", full_after_a_while)
    with pytest.raises(RunError, match=r"cannot write .*No space left on device"):
        casebook.train(
            digit_folder, recipe="scratch", model="lenet5", epochs=20, out=tmp_path / "r", checkpoint_seconds=0
        )
    monkeypatch.undo()
    assert not list((tmp_path / "r").glob(".*.tmp"))
    done = casebook.train(resume=tmp_path / "r")
    assert len(done.history) == 20


def test_a_finished_run_resumed_is_left_as_it_is(run: Run) -> None:
    before = {entry.name: entry.read_bytes() for entry in run.path.iterdir()}
    again = casebook.train(resume=run.path)
    assert again.path == run.path
    after = {entry.name: entry.read_bytes() for entry in run.path.iterdir()}
    assert before == after


def test_mistakes_are_named(run: Run, digit_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="exists already"):
        casebook.train(digit_folder, model="lenet5", out=run.path)
    with pytest.raises(ModelError, match="did you mean 'resnet50'"):
        casebook.train(digit_folder, model="resnet51", out=tmp_path / "x")
    with pytest.raises(WeightsError, match="add --weights"):
        casebook.evaluate("resnet18", digit_folder)
    with pytest.raises(RunError, match="no run folder"):
        casebook.evaluate(tmp_path / "nothing", digit_folder)
    with pytest.raises(RunError, match="no run folder"):
        casebook.train(resume=tmp_path / "nothing")
    with pytest.raises(DataError, match="split"):
        casebook.evaluate(run.path, digit_folder, split="tset")
    assert not (tmp_path / "x").exists()


def test_a_tampered_run_is_noticed(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-10] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    with pytest.raises(WeightsError, match="damaged"):
        casebook.evaluate(copy)
    model = json.loads((run.path / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps(model | {"format": 99}))
    with pytest.raises(RunError, match="format 99"):
        casebook.open_run(copy)


def test_events_for_tensorboard_when_asked(digit_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = casebook.train(digit_folder, recipe="scratch", model="lenet5", epochs=1, tensorboard=True, out=tmp_path / "r")
    assert list((run.path / "tensorboard").glob("events.*"))


def test_16_bit_and_rotated_pictures_train_like_others(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name, level in (("dark", 8_000), ("light", 50_000)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            pixels = (generator.normal(level, 3000, (20, 30)).clip(0, 65_535)).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    run = casebook.train(
        tmp_path / "data", recipe="digits", model="lenet5", epochs=40, batch_size=8, out=tmp_path / "r"
    )
    assert run.test.top1 == 1.0  # both levels would saturate to white if 16 bits were cut


def test_evaluation_answers_by_name(run: Run) -> None:
    evaluation = casebook.evaluate(run.path)
    assert dataclasses.is_dataclass(evaluation)


def test_a_start_that_failed_leaves_the_folder_free(digit_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        casebook.train(tmp_path / "nosuch", model="lenet5", out=tmp_path / "r")
    with pytest.raises(WeightsError):
        casebook.train(digit_folder, model="resnet20", weights=tmp_path / "no.safetensors", out=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    casebook.train(digit_folder, recipe="scratch", model="lenet5", epochs=1, out=tmp_path / "r")


def test_a_named_data_set_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from casebook.training.plan import resolve_model
    from casebook.training.recipe import make_recipe

    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_model(make_recipe(data="digits"))[0].data == "digits"


def test_a_resumed_run_keeps_its_notes_and_its_reason(digit_folder: Path, tmp_path: Path) -> None:
    settings = {"recipe": "scratch", "model": "resnet20", "epochs": 1, "out": tmp_path / "r", "input_size": 32}
    run = casebook.train(digit_folder, **settings, transfer="auto")
    before = run.evaluation
    (run.path / "evaluation.json").unlink()
    (run.path / ".last.ckpt.left.tmp").touch()  # of a writer that was killed
    again = casebook.train(resume=run.path).evaluation
    for key in ("notes", "transfer", "test", "validation"):
        assert again[key] == before[key]
    assert not list(run.path.glob(".*.tmp"))


def test_a_thin_picture_does_not_fill_the_memory(run: Run, digit_folder: Path, tmp_path: Path) -> None:
    Image.new("L", (3_000_000, 1)).save(tmp_path / "thin.png")
    good = digit_folder / "digit_1" / "000.png"
    records = list(casebook.predict(run.path, [tmp_path / "thin.png", good, "~nosuchuser/x.png", "x" * 5000]))
    assert [record.error is not None for record in records] == [True, False, True, True]
    assert "3000000 x 1 pixels" in str(records[0].error)


def badly_trained(data: Path, out: Path) -> Run:
    return casebook.train(data, out=out, model="lenet5", recipe="scratch", epochs=1, workers=0, learning_rate=1e-6,
                          near_duplicates=False, mirror=False)  # fmt: skip


@pytest.mark.usefixtures("explained_mistakes")
def test_the_report_of_a_training_explains_its_mistakes(digit_folder: Path, tmp_path: Path) -> None:
    run = badly_trained(digit_folder, tmp_path / "run")
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "Why these mistakes" in page
    assert "Grad-CAM" in page


@pytest.mark.usefixtures("explained_mistakes")
def test_a_network_that_cannot_be_explained_does_not_cost_a_finished_training(
    digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from casebook.errors import ModelError
    from casebook.explanation import overlays

    asked = []

    def refuse(*_: object, **__: object) -> list:
        asked.append(1)
        raise ModelError("has no stages")

    monkeypatch.setattr(overlays, "overlays", refuse)
    run = badly_trained(digit_folder, tmp_path / "run")
    assert asked  # it made mistakes
    assert run.is_complete
    assert "Why these mistakes" not in (run.path / "report.html").read_text(encoding="utf-8")


def test_whole_pictures_where_a_central_crop_would_lose_what_matters(tmp_path: Path) -> None:
    """The two classes differ at the ends of wide pictures alone."""
    random = np.random.default_rng(0)
    for name, place in (("left", 0), ("right", 48)):
        (tmp_path / "wide" / name).mkdir(parents=True)
        for number in range(40):
            values = random.integers(0, 100, (16, 64), np.uint8)
            values[:, place : place + 16] += 100
            Image.fromarray(values).save(tmp_path / "wide" / name / f"{number}.png")
    top1 = {}
    for resize in ("shorter", "letterbox", "squash"):
        run = casebook.train(
            tmp_path / "wide", recipe="digits", model="lenet5", epochs=8, batch_size=8, crop="none", test_fraction=0.4,
            near_duplicates=False, resize=resize, out=tmp_path / resize,
        )  # fmt: skip
        assert run.preprocessing.resize == run.recipe.resize == resize
        assert casebook.evaluate(run.path).top1 == run.test.top1
        top1[resize] = run.test.top1
    assert top1["shorter"] < 0.8
    assert top1["letterbox"] == top1["squash"] == 1


def test_12_bit_values_are_scaled_by_the_range_of_the_training_pictures(tmp_path: Path) -> None:
    """The pictures at 8 bits and at 12 bits in 16-bit files give the same run, and the same answers."""
    random = np.random.default_rng(0)
    for name, rows in (("top", slice(0, 16)), ("bottom", slice(16, 32))):
        for number in range(30):
            values = random.integers(0, 128, (32, 32), np.uint8)
            values[rows] += 127
            values[0, 0], values[31, 31] = 0, 255
            for kind, levels in (("8", values), ("12", np.rint(values * (4095 / 255)).astype(np.uint16))):
                (tmp_path / kind / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(levels).save(tmp_path / kind / name / f"{number}.png")
    runs = [
        casebook.train(
            tmp_path / kind, recipe="digits", model="lenet5", epochs=2, batch_size=8, crop="resized", test_fraction=0.4,
            near_duplicates=False, out=tmp_path / f"run{kind}",
        )
        for kind in ("8", "12")
    ]  # fmt: skip
    assert [run.preprocessing.value_range for run in runs] == [None, (0, 4095)]
    assert runs[0].evaluation["test"] == runs[1].evaluation["test"]
    weights = [(run.path / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]
    shallow, deep = (
        casebook.predict(run.path, tmp_path / kind / "top") for run, kind in zip(runs, ("8", "12"), strict=True)
    )
    assert [answer.classes for answer in shallow] == [answer.classes for answer in deep]
    assert casebook.evaluate(runs[1].path).top1 == runs[1].test.top1
