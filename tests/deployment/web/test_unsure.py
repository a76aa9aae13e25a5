"""unsure.js judges as `runner/unsure.py` does."""

import numpy as np
import pytest

from casebook.formatting import percent_text
from casebook.runner.unsure import Judge, PredictionSets, Unlike, unit_vectors

from .conftest import Ask, base64_of

CLASSES = ("cat", "dog", "a <b> name", "Zürich")
JUDGE = """([answers, classes, numbers, kept]) => {
  const table = kept && fromHalf(bytes(kept));
  return answers.map(([probabilities, features]) => {
    const found = judge(Float32Array.from(probabilities), Float32Array.from(features), classes, numbers, table);
    return { ...found, probabilities: [...found.probabilities] };
  });
}"""


def answers(number: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) probabilities from sure to torn, and (N, 6) features."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1, (number, 4)) * generator.uniform(0.2, 40, (number, 1))
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32), generator.normal(1, 1, (number, 6)).astype(
        np.float32
    )


def judge(temperature: float, neighbour: int | None) -> Judge:
    kept = unit_vectors(np.random.default_rng(1).normal(1, 1, (20, 6))).astype(np.float16)
    unlike = None if neighbour is None else Unlike(kept, limit=0.12, refused=0.05, neighbour=neighbour)
    return Judge(0.005, 0.9, 0.8, temperature, PredictionSets(0.9, 0.15), unlike)


@pytest.mark.parametrize(("temperature", "neighbour"), [(1.0, None), (1.7, 1), (0.6, 3)])
def test_every_judgement_is_the_same(ask: Ask, temperature: float, neighbour: int | None) -> None:
    probabilities, features = answers(300)
    python = judge(temperature, neighbour)
    kept = None if python.unlike is None else base64_of(python.unlike.kept.view(np.uint8))
    rows = [[p.tolist(), f.tolist()] for p, f in zip(probabilities, features, strict=True)]
    found = ask(JUDGE, [rows, CLASSES, python.to_dict(), kept])
    expected = python(probabilities, features, CLASSES)
    whys = {one.why for one in expected}
    assert whys == ({"", "close"} if neighbour is None else {"", "close", "unlike"})
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours["label"], ours["why"], ours["reason"]) == (theirs.label, theirs.why, theirs.reason)
        assert tuple(ours["candidates"]) == theirs.candidates
        assert np.abs(np.array(ours["probabilities"]) - theirs.probabilities).max() < 1e-6


def test_features_that_are_no_numbers_are_unlike_anything(ask: Ask) -> None:
    python = judge(1.0, 1)
    assert python.unlike is not None
    kept = base64_of(python.unlike.kept.view(np.uint8))
    rows = [[[0.97, 0.01, 0.01, 0.01], [1e300, 0, 0, 0, 0, 0]]]  # infinite in float32; JSON has no infinity
    assert ask(JUDGE, [rows, CLASSES, python.to_dict(), kept])[0]["why"] == "unlike"


def test_half_precision_is_read_whole(ask: Ask) -> None:
    values = np.array([0, 1, -1, 0.333, 65504, 6e-8, -6e-5, 1e-4], np.float16)
    found = ask("(text) => [...fromHalf(bytes(text))]", base64_of(values.view(np.uint8)))
    assert found == values.astype(np.float64).tolist()


def test_shares_are_written_as_in_python(ask: Ask) -> None:
    shares = [0.0, 1.0, 0.978, 0.5, 0.0004, 0.0006, 0.9996, 0.123456, 1e-9, 0.05]
    assert ask("(shares) => shares.map((one) => percentText(one))", shares) == [percent_text(one) for one in shares]
    assert ask("(shares) => shares.map((one) => percentText(one, 0))", shares) == [
        percent_text(one, 0) for one in shares
    ]
