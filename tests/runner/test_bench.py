"""`bench` times only what answers as it should, and its choice holds for one bundle on one machine."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from casebook.runner import bench as bench_room
from casebook.runner import choice as choice_room
from casebook.runner import engine as engine_room
from casebook.runner.answers import open_answerer
from casebook.runner.bench import bench, combinations, difference_from
from casebook.runner.bundle import Bundle
from casebook.runner.choice import Choice, remember, remembered
from casebook.runner.engine import OnnxRuntime, Outputs


@pytest.fixture
def bundle(small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bench_room, "ENGINES", ("onnxruntime",))
    monkeypatch.setattr(bench_room, "available_cores", lambda: 2)
    return Bundle.open(small_bundle)


def test_combinations(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(combinations(bundle)) == [Choice("onnxruntime", "float32", 1), Choice("onnxruntime", "float32", 2)]
    monkeypatch.setattr(bench_room, "ENGINES", ("onnxruntime", "openvino"))
    monkeypatch.setattr(bench_room, "find_spec", lambda name: name)
    assert Choice("openvino", "float32", 2, exact=False) in set(combinations(bundle))
    monkeypatch.setattr(bench_room, "find_spec", lambda name: name if name == "onnxruntime" else None)
    assert {choice.engine for choice in combinations(bundle)} == {"onnxruntime"}


def test_rows_are_sorted_and_right(bundle: Bundle) -> None:
    rows = bench(bundle, seconds=0.02)
    assert {row.choice.threads for row in rows} == {1, 2}
    speeds = [row.pictures_per_second[16] for row in rows]
    assert speeds == sorted(speeds, reverse=True)
    for row in rows:
        assert set(row.pictures_per_second) == {1, 16}
        assert row.difference is not None
        assert row.difference < 1e-5
        json.dumps(row.to_dict(), allow_nan=False)


def test_what_answers_otherwise_is_not_timed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    class Off(OnnxRuntime):
        def __call__(self, pixels):
            outputs = super().__call__(pixels)
            return outputs._replace(probabilities=outputs.probabilities + np.float32(0.001) * (self.threads == 2))

    monkeypatch.setitem(engine_room.CLASSES, "onnxruntime", Off)
    right, wrong = bench(bundle, seconds=0.02)
    assert (right.choice.threads, right.problem) == (1, "")
    assert wrong.choice.threads == 2
    assert wrong.problem == "answers otherwise: differs by 1.0e-03, allowed 0.0001"
    assert wrong.pictures_per_second == {}


def test_difference_from() -> None:
    class Engine:
        name, threads = "made up", 1

        def __call__(self, pixels):
            found = np.zeros((len(pixels), 2), np.float32)
            found[:, 1] = pixels[:, 0, 0, 0] / 100
            return Outputs(found, found, found)

    pixels = np.array([0, 10, 30, 0], np.uint8).reshape(4, 1, 1, 1)
    expected = np.zeros((4, 2), np.float32)
    assert difference_from(expected, Engine(), pixels, mean=False) == pytest.approx(0.3)
    assert difference_from(expected, Engine(), pixels, mean=True) == pytest.approx(0.1)


def test_a_choice_is_used_until_something_changes(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remembered(bundle) is None
    choice = Choice("onnxruntime", "float32", 2)
    remember(bundle, choice)
    assert remembered(bundle) == choice
    assert open_answerer(bundle.path).engine.threads == 2
    assert open_answerer(bundle.path, threads=1).engine.threads == 1
    other = dataclasses.replace(bundle, sha256="0" * 64)
    assert remembered(other) is None
    monkeypatch.setattr(choice_room, "available_cores", lambda: 64)
    assert remembered(bundle) is None


@pytest.mark.parametrize("content", ["", "[]", '{"choice": {"engine": "x"}}', "[" * 100_000])
def test_a_damaged_choice_is_none(bundle: Bundle, content: str) -> None:
    remember(bundle, Choice()).write_text(content)
    assert remembered(bundle) is None
