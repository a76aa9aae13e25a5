"""A bundle keeps the promise of the run it was made from: the same answers, and "unsure" for the same pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import casebook
from casebook.deployment.export import ExportSettings, export_bundle
from casebook.deployment.judges import find_judges
from casebook.deployment.web.site import site_of
from casebook.errors import BundleError, RunError
from casebook.formatting import percent_text
from casebook.progress import Event, Remark
from casebook.runner.answers import Answerer, bundle_judge, open_answerer
from casebook.runner.bundle import Bundle
from casebook.runner.commands import main as run_bundle
from casebook.runner.server.opening import BundleAnswering

Runs = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def careful(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that promises at most 30 % wrong answers."""
    out = tmp_path_factory.mktemp("bundles") / "careful.casebook"
    return export_bundle(casebook.load(runs[0], device="cpu"), out, ExportSettings(unsure=0.3)).path


@pytest.fixture(scope="module")
def pictures(digit_folder: Path) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    digits = [Image.open(path).copy() for path in sorted(digit_folder.glob("digit_*/00[0-4].png"))]
    return digits + [Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)) for _ in range(10)]


def test_a_bundle_is_unsure_where_its_run_is(careful: Path, runs: Runs, pictures: list[Image.Image]) -> None:
    expected = casebook.load(runs[0]).predict(pictures, unsure=0.3)
    found = open_answerer(careful).predict(pictures)  # it judges without being asked
    assert [answer.label for answer in found] == [answer.label for answer in expected]
    assert [answer.why for answer in found] == [answer.why for answer in expected]
    assert {answer.why for answer in found} >= {"", "unlike"}
    asked = casebook.load(careful).predict(pictures, unsure=0.3)
    assert [answer.unsure is None for answer in asked] == [answer.unsure is None for answer in expected]
    with pytest.raises(RunError, match=r"was exported with 30 %: 'casebook export RUN --unsure 0.01'"):
        open_answerer(careful).predict(pictures, unsure=0.01)


def test_the_runner_prints_it(careful: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)).save(noise)
    assert run_bundle(["predict", str(noise)], bundle=careful) == 0
    assert f"{noise}: unsure, unlike the pictures it was trained on" in capsys.readouterr().out
    assert run_bundle(["predict", str(noise), "--json"], bundle=careful) == 0
    assert json.loads(capsys.readouterr().out)["pictures"][0]["label"] is None


def test_the_server_and_the_page_get_it(careful: Path, pictures: list[Image.Image]) -> None:
    answerer = open_answerer(careful)
    pixels = np.stack([answerer.preprocessing.pixels(one.convert(answerer.preprocessing.mode)) for one in pictures])
    served, expected = BundleAnswering(answerer).answer(pixels), answerer.predict(pictures)
    assert [one.unsure for one in served] == [one.unsure for one in expected]
    assert all(one.possible for one in served)
    site = site_of(Bundle.open(careful))
    judge = answerer.judge
    assert judge is not None
    assert site.manifest["unsure"] == judge.to_dict()
    kept = np.frombuffer(site.files[site.manifest["files"]["kept"]], "<f2")
    assert np.array_equal(kept, judge.unlike.kept.ravel())  # type: ignore[union-attr]


def test_the_card_states_the_promise(careful: Path, runs: Runs, small_bundle: Path) -> None:
    evaluation = casebook.open_run(runs[0]).evaluation["unsure"]
    card = Bundle.open(careful).read("MODEL_CARD.md").decode()
    assert "at most 30 % are wrong. This promise holds with 95 % confidence" in card
    assert "It answers with one of them whatever a picture shows" not in card
    low, high = (percent_text(end) for end in evaluation["sets"]["spread"])
    n = evaluation["sets"]["num_validation"]
    assert f"on {n} validation pictures, so the share is between {low} and {high}" in card
    fared = {one["most_wrong"]: one["here"] for one in evaluation["promises"]}.get(0.3)
    assert (f"test pictures it answered {fared['answered']} (" if fared else "When it says") in card
    other = Bundle.open(small_bundle).read("MODEL_CARD.md").decode()
    assert "It answers with one of them whatever a picture shows" in other
    assert "promise" not in other


def test_another_network_is_judged_by_its_own_answers(careful: Path, runs: Runs) -> None:
    classifier, bundle = casebook.load(runs[0], device="cpu"), Bundle.open(careful)
    same = find_judges(classifier, 0.3, {"int8": bundle.read("model.onnx")}, lambda event: None)
    assert same["int8"].least_margin == pytest.approx(same["float32"].least_margin, abs=1e-3)
    assert same["int8"].unlike.limit == pytest.approx(same["float32"].unlike.limit, abs=1e-3)  # type: ignore[union-attr]
    other = export_bundle(casebook.load(runs[2], device="cpu"), careful.with_name("other.casebook")).path
    events: list[Event] = []
    found = find_judges(classifier, 0.3, {"int8": Bundle.open(other).read("model.onnx")}, events.append)
    assert set(found) == {"float32"}
    assert any(isinstance(event, Remark) and "cannot promise" in event.text for event in events)


def test_a_network_without_the_promise_is_refused(careful: Path) -> None:
    bundle = Bundle.open(careful)
    bundle.networks["int8"] = bundle.networks["float32"] | {"unsure": None}
    with pytest.raises(BundleError, match="its promise does not hold for the 'int8' network"):
        Answerer(bundle, network="int8")
    assert site_of(bundle).manifest["unsure"] is not None  # the page takes the network that keeps the promise
    bundle.networks["float32"]["unsure"]["temperature"] = 0
    with pytest.raises(BundleError, match="damaged"):
        bundle_judge(bundle, "float32")


def test_a_promise_that_the_run_cannot_give(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot promise at most 1 % wrong answers"):
        export_bundle(casebook.load(runs[0]), tmp_path / "a.casebook", ExportSettings(unsure=0.01))
    assert not (tmp_path / "a.casebook").exists()
