"""A manifest opens only if all that the runner reads is there and of the right kind."""

import copy
import json
from typing import Any

import pytest

from casebook.runner.manifest import read_manifest

FORM = {"file": "model.onnx", "expected": "golden/float32.npy", "tolerance": 1e-4, "unsure": None, "opset": 20}
GOOD: dict[str, Any] = {
    "format": 1, "name": "cats", "casebook": "0.1.0", "classes": ["cat", "dog"], "ids": [],
    "task": "multilabel", "thresholds": [0.4, 0.5],
    "preprocessing": {"size": 224}, "networks": {"float32": FORM, "int8": FORM | {"unsure": {"table": "a.npy"}}},
    "golden": [{"file": "golden/000.jpg", "shows": "a photograph", "pixels_sha256": "00"}],
    "members": {"model.onnx": {"bytes": 3, "sha256": "00"}}, "metrics": {},
}  # fmt: skip
# What is no text, no number...
TEXT = (None, 1, True, [], {})
NUMBER = (None, "1", True, [], {}, 1e16, -(10**400))
LIST = (None, "x", 1, {}, [[]], [None])
MAPPING = (None, "x", 1, [])
FILLED = (*MAPPING, {}, {"a": 1}, {"a": {"b": 1}})


def altered(place: tuple, value: Any) -> bytes:
    changed = copy.deepcopy(GOOD)
    holder = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return json.dumps(changed).encode()


def test_a_good_one_is_read() -> None:
    assert read_manifest(json.dumps(GOOD).encode()) == GOOD
    assert read_manifest(json.dumps(GOOD | {"golden": None, "ids": None}).encode())["golden"] is None


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("name",), TEXT), (("casebook",), TEXT), (("classes",), (*LIST, [])), (("classes", 1), TEXT),
        (("ids",), LIST[1:]), (("task",), TEXT[1:]), (("thresholds",), LIST[1:]),
        (("preprocessing",), MAPPING), (("networks",), FILLED),
        (("networks", "int8"), FILLED), (("networks", "int8", "file"), TEXT),
        (("networks", "int8", "expected"), TEXT), (("networks", "int8", "tolerance"), NUMBER),
        (("networks", "int8", "unsure"), MAPPING[1:]), (("networks", "int8", "unsure", "table"), TEXT[1:]),
        (("golden",), LIST[1:]), (("golden", 0), FILLED), (("golden", 0, "file"), TEXT),
        (("golden", 0, "shows"), TEXT), (("golden", 0, "pixels_sha256"), TEXT), (("members",), MAPPING),
        (("members", "model.onnx"), FILLED), (("members", "model.onnx", "bytes"), (*NUMBER, 1.5)),
        (("members", "model.onnx", "sha256"), TEXT),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused_and_named(place: tuple, wrong: tuple) -> None:
    for value in wrong:
        with pytest.raises(ValueError, match=rf"no usable '{place[0]}"):
            read_manifest(altered(place, value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[]", "format 'None'"),
        (b'{"format": 2}', "format '2', this Casebook reads 1"),
        (altered(("metrics",), float("nan")), "NaN is no finite number"),
        (json.dumps(GOOD).replace("0.0001", "1e999").encode(), "1e999 is no finite number"),
        (altered(("classes",), []), "no usable 'classes'"),
        (altered(("networks",), {}), r"no usable 'networks\.float32'"),
        (altered(("networks", "float32", "tolerance"), "1"), r"no usable 'networks\.float32\.tolerance'"),
    ],
)
def test_what_is_wrong_is_said(text: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_manifest(text)
