"""Scaling in one call: what measures over the budget is made smaller or dropped; finalists are trained alike."""

import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import casebook
from casebook.cost import latency_model
from casebook.cost.latency import Latency
from casebook.cost.latency_model import write_latency_model
from casebook.cost.scaling import Budget, NetworkCosts, Point, Space, family
from casebook.errors import ModelError, RunError
from casebook.models import create_model
from casebook.models.weights import save_weights
from casebook.studies.trials import Arm, Trial
from casebook.workflows import scale as scale_job
from casebook.workflows import scale_result, scale_training
from casebook.workflows.scale import TargetDevice, correct, scale
from casebook.workflows.scale_result import ScaledNetwork
from casebook.workflows.scale_training import FinalistTraining, top1_within

HERE = TargetDevice("cpu", threads=1)
SMALL = {"input_size": 24, "num_classes": 4, "target": HERE}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale_job, "SECONDS", 0.05)


def test_what_is_found_is_within_the_budget_by_measurement(tmp_path: Path) -> None:
    found = scale("mobilenet_v2", Budget(multiply_adds=5e6, size_bytes=900_000), kinds=("compound", "width"), **SMALL)
    assert [point.kind for point in found.points] == ["compound", "width"]
    for point in found.points:
        options = {"width": point.point.width, "depth": point.point.depth, "num_classes": 4, "small_stem": True}
        network = create_model("mobilenet_v2", **options)
        counted = casebook.count("mobilenet_v2", 24, **options)
        assert counted.total.multiply_adds == point.predicted.multiply_adds <= 5e6
        save_weights(tmp_path / "model.safetensors", network.state_dict(), {})
        assert point.size_bytes == (tmp_path / "model.safetensors").stat().st_size <= 900_000
        assert point.size_bytes == point.predicted.size_bytes
        assert point.memory_bytes is not None
        assert point.memory_bytes > 0.9 * counted.memory.inference_bytes
        assert point.latency is not None
        assert point.latency.median_ms > 0
        assert point.predicted.latency_ms is None
    assert found.latency_model is None
    best = found.point("compound").point
    assert found.command == (
        f"casebook train DATA --model mobilenet_v2 --set network.width={best.width:g} "
        f"--set network.depth={best.depth:g} --input-size 24"
    )


class Clock:
    """Takes the place of the measured latency: `rate` ms for a million multiply-adds, and `start_ms` for each run."""

    def __init__(self, rate: float, start_ms: float = 0.0):
        self.rate, self.start_ms, self.rounds = rate, start_ms, []

    def __call__(self, networks, **_) -> list[Latency]:
        found = []
        for network, side in networks:
            multiply_adds = casebook.count(network, side).total.multiply_adds or 0
            ms = self.start_ms + self.rate * multiply_adds / 1e6
            found.append(LATENCY._replace(median_ms=0.9 * ms, median_high_ms=ms))
        self.rounds.append([latency.median_high_ms for latency in found])
        return found


@pytest.fixture
def on_clock(made_up_model, monkeypatch: pytest.MonkeyPatch):
    """`on_clock(predicted_rate, clock)`: a device that is predicted and measured at given speeds, memory left out."""

    def use(predicted_rate: float, clock: Clock) -> Clock:
        monkeypatch.setattr(scale_job, "cached_latency_model", lambda *_, **__: made_up_model(rate=predicted_rate))
        monkeypatch.setattr(scale_job, "interleaved", clock)
        monkeypatch.setattr(scale_job.Bench, "peak_bytes", lambda *_: None)
        return clock

    return use


@pytest.mark.parametrize("predicted_rate", [0.05, 0.2], ids=["too fast", "too slow"])
def test_a_wrong_prediction_is_corrected(on_clock, predicted_rate: float) -> None:
    """Measured at 0.1: proposals that are over the budget shrink, and those far below it grow, to the same network."""
    clock = on_clock(predicted_rate, Clock(0.1))
    (point,) = scale("mobilenet_v2", Budget(latency_ms=2), kinds=["compound"], **SMALL).points
    assert len(clock.rounds) == 2
    assert (clock.rounds[0][0] > 2) == (predicted_rate < 0.1)
    assert 0.9 * 2 < clock.rounds[1][0] <= 2
    assert point.latency is not None
    assert point.latency.median_high_ms == clock.rounds[1][0]
    assert point.latency.median_high_ms == pytest.approx(0.1 * point.predicted.multiply_adds / 1e6)


def test_a_disturbed_first_round_does_not_make_networks_small(on_clock) -> None:
    clock = on_clock(0.1, Clock(0.3))

    def calmer(*given, **settings):
        found = clock(*given, **settings)
        clock.rate = 0.1
        return found

    scale_job.interleaved = calmer  # on_clock puts the real one back
    (point,) = scale("mobilenet_v2", Budget(latency_ms=2), kinds=["compound"], **SMALL).points
    assert clock.rounds[0][0] > 2
    assert clock.rounds[1][0] < 0.5 * 2
    assert point.latency is not None
    assert 0.9 * 2 < point.latency.median_high_ms <= 2


def test_a_good_prediction_is_measured_once(on_clock) -> None:
    clock = on_clock(0.1, Clock(0.1))
    scale("mobilenet_v2", Budget(latency_ms=2), kinds=["compound", "width"], **SMALL)
    assert len(clock.rounds) == 1


def test_a_network_over_the_budget_is_dropped_with_the_reason(on_clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that no multiply-add explains: corrections shrink the networks, and none is ever small enough."""
    clock = on_clock(0.1, Clock(0.1, start_ms=1.9))
    with pytest.raises(ModelError) as raised:
        scale("mobilenet_v2", Budget(latency_ms=2), kinds=["compound"], **SMALL)
    assert all(rounds[0] > 2 for rounds in clock.rounds)
    assert "found no mobilenet_v2 within 2.00 ms: compound: " in str(raised.value)
    clock = on_clock(0.1, Clock(0.1, start_ms=1.0))
    monkeypatch.setattr(scale_job, "ROUNDS", 1)
    with pytest.raises(ModelError, match=r"compound: over the budget in all 1 rounds, at last 2\.9\d ms \(width"):
        scale("mobilenet_v2", Budget(latency_ms=2), kinds=["compound"], **SMALL)


LATENCY = Latency(10.0, 9.0, 12.0, 11.0, 10.0, 50, 1, 1, "abacus")


def scaled(latency_ms: float, predicted_ms: float) -> ScaledNetwork:
    costs = NetworkCosts(multiply_adds=1, parameters=1, size_bytes=1, memory_bytes=10, latency_ms=predicted_ms)
    latency = LATENCY._replace(median_high_ms=latency_ms)
    return ScaledNetwork("compound", Point(1, 1, 224), 1.0, costs, latency, 1, 30)


def test_the_budget_is_held_against_the_upper_bound_of_the_median() -> None:
    point = scaled(11.0, 5.0)
    assert point.measured.latency_ms == 11.0
    assert (point.measured.memory_bytes, point.measured.size_bytes) == (30, 1)
    assert Budget(latency_ms=11).allows(point.measured)
    assert not Budget(latency_ms=10.9).allows(point.measured)  # though the median is 10


def test_corrections_fall_for_a_while_and_then_only_rise() -> None:
    budget, ratios = Budget(latency_ms=20, memory_bytes=50), {}
    assert correct(
        ratios, scaled(8.0, 10.0), budget, may_fall=True
    )  # faster than predicted: larger networks are possible
    assert ratios == {"compound": {"latency_ms": 0.8, "memory_bytes": 3.0}}
    assert not correct(ratios, scaled(5.0, 10.0), budget, may_fall=False)
    assert ratios["compound"]["latency_ms"] == 0.8
    assert correct(ratios, scaled(22.0, 20.0), budget, may_fall=False)
    assert ratios["compound"]["latency_ms"] == pytest.approx(1.1 * 1.01)
    ratios = {}
    assert not correct(ratios, scaled(10.0, 10.0), Budget(parameters=5), may_fall=True)
    assert ratios == {"compound": {}}


def test_another_devices_profile_is_predicted_with_its_error_left_free(made_up_model, tmp_path: Path) -> None:
    write_latency_model(made_up_model(), tmp_path / "pi.json")
    pi = TargetDevice(latency_model=tmp_path / "pi.json")
    found = scale("mobilenet_v2", Budget(latency_ms=4), num_classes=10, kinds=("compound", "width"), target=pi)
    assert (found.device, found.measured) == ("abacus", False)
    compound = found.point("compound")
    assert compound.latency is None
    for point in found.points:
        assert point.predicted.latency_ms is not None
        assert 1.25 * point.predicted.latency_ms <= 4
    assert 1.25 * (compound.predicted.latency_ms or 0) > 0.9 * 4
    assert (
        "nothing was measured: latencies are predictions for abacus, whose latency model has an error of 20 %"
        in found.notes[0]
    )
    assert found.to_dict()["points"][0]["measured"] is None
    (tmp_path / "pi.json").write_text("{")
    with pytest.raises(RunError, match="not a JSON document"):
        scale("mobilenet_v2", Budget(latency_ms=4), target=pi)


def test_a_busy_machine_is_reported() -> None:
    quiet = scaled(10.0, 10.0)
    assert scale_job._busy([quiet]) == []
    assert quiet.latency is not None
    busy = quiet._replace(latency=quiet.latency._replace(processor_ms=5.0))
    assert "up to 2.00 times its processor time" in scale_job._busy([quiet, busy])[0]


def trained(seconds: list[float], top1: list[float]) -> Trial:
    curve = tuple({"seconds": s, "val_top1": t} for s, t in zip(seconds, top1, strict=True))
    return Trial(0, 0.1, np.zeros(4, bool), curve, "", Path())


def test_accuracy_within_a_time_is_the_best_of_the_epochs_that_ended() -> None:
    arm = Arm("slow", (trained([2, 2, 2], [0.1, 0.5, 0.9]), trained([1, 1, 1], [0.2, 0.4, 0.3])), 0.5)
    assert top1_within(arm, 4) == pytest.approx((0.5 + 0.4) / 2)
    assert top1_within(arm, 6) == pytest.approx((0.9 + 0.4) / 2)
    assert top1_within(arm, 1.5) is None


@pytest.fixture(scope="module")
def frontier(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> scale_result.Scaling:
    out = tmp_path_factory.mktemp("frontier")
    training = FinalistTraining(digit_folder, epochs=1, most_per_class=8, out=out)
    kinds = ("compound", "width")
    return scale("mobilenet_v2", Budget(multiply_adds=3e6), kinds=kinds, input_size=16, target=HERE, training=training)


def test_finalists_are_trained_on_the_same_pictures(frontier: scale_result.Scaling) -> None:
    assert frontier.num_classes == 4
    assert [finalist.kind for finalist in frontier.finalists] == ["compound", "width"]
    compound, width = frontier.finalists
    assert compound.arm.wrong.shape == width.arm.wrong.shape
    assert (compound.difference, compound.arm.error) == (None, compound.arm.wrong.mean())
    assert width.difference is not None
    assert width.difference.difference == pytest.approx(width.arm.error - compound.arm.error)
    validated = {finalist.kind: finalist.arm.curve("val_top1").max() for finalist in frontier.finalists}
    assert validated[frontier.best] == max(validated.values())  # the test pictures choose nothing
    assert frontier.pictures is not None
    assert "32 for training" in frontier.pictures
    json.dumps(frontier.to_dict(), allow_nan=False)


def test_the_frontier_is_drawn(frontier: scale_result.Scaling, tmp_path: Path) -> None:
    scale_result.draw_frontier(frontier, tmp_path / "f.png")
    pixels = np.asarray(Image.open(tmp_path / "f.png").convert("RGB"))
    assert pixels.shape[1] == 1170
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    marks, axis = scale_result.marks(frontier)
    assert axis.startswith("milliseconds for one picture on ")
    for mark, finalist in zip(marks, frontier.finalists, strict=True):
        assert mark.error == pytest.approx(100 * finalist.arm.error)
        assert mark.low <= mark.error <= mark.high
    scale_result.draw_frontier(frontier, tmp_path / "f.svg")
    ElementTree.parse(tmp_path / "f.svg")
    with pytest.raises(ModelError, match=r"ends in '.jpg', expected .png or .svg"):
        scale_result.draw_frontier(frontier, tmp_path / "f.jpg")
    scale_result.write_frontier_page(frontier, tmp_path / "f.html")
    page = (tmp_path / "f.html").read_text()
    assert page.count("<table") == 2
    assert "data:image/svg+xml" in page
    assert frontier.command in page
    untrained = dataclasses.replace(frontier, finalists=())
    with pytest.raises(ModelError, match="nothing was trained"):
        scale_result.draw_frontier(untrained, tmp_path / "g.png")
    scale_result.write_frontier_page(untrained, tmp_path / "g.html")
    assert "data:image/svg+xml" not in (tmp_path / "g.html").read_text()


def test_the_command_trains_just_that_network(
    frontier: scale_result.Scaling, digit_folder: Path, tmp_path: Path
) -> None:
    """As the command line reads it, with what else a quick training needs."""
    import shlex

    from casebook.cli.train import parsed_settings

    words = shlex.split(frontier.command)
    settings = parsed_settings([words[i + 1] for i, word in enumerate(words) if word == "--set"])
    assert words[:5] == ["casebook", "train", str(digit_folder), "--model", "mobilenet_v2"]
    run = casebook.train(
        words[2], model=words[4], input_size=int(words[-1]), out=tmp_path / "run", epochs=1, workers=0, batch_size=32,
        **settings,
    )  # fmt: skip
    weights = sum(weight.numel() for weight in run.network().parameters())
    assert weights == frontier.point(frontier.best).predicted.parameters


@pytest.mark.slow  # tests/cli/test_json.py runs one as well
def test_the_grid_search_sets_each_candidate_against_the_papers(digit_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(scale_training, "GRID", scale_training.GRID[:2])
    monkeypatch.setattr(scale_training, "GRID_BASES", {"mobilenet_v2": Point(0.1, 0.25, 72)})
    training = FinalistTraining(digit_folder, epochs=1, most_per_class=4, grid_search=True)
    budget = Budget(multiply_adds=3e6)
    found = scale("mobilenet_v2", budget, kinds=["compound"], input_size=16, target=HERE, training=training)
    papers, other = found.grid
    assert (papers.alpha, papers.beta, papers.gamma, papers.difference) == (1.2, 1.1, 1.15, None)
    assert papers.point == Point(0.27, 0.33, 84)
    assert other.point == Point(0.27, 0.5, 72)
    assert other.difference is not None
    assert other.difference.difference == pytest.approx(other.arm.error - papers.arm.error)
    rows = scale_result.grid_table(found)
    assert len(rows) == 3
    assert ("no detectable difference" in rows[2][-1]) != other.difference.is_detectable


def test_every_candidate_of_the_grid_about_doubles_the_work() -> None:
    for alpha, beta, gamma in scale_training.GRID:
        assert 1.9 < alpha * beta**2 * gamma**2 < 2.1


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet"])
def test_candidates_of_the_grid_are_built_with_equal_work(name: str) -> None:
    space = Space(family(name), num_classes=4)
    base = space.costs(scale_training.GRID_BASES[space.family.network]).multiply_adds
    points = scale_training.grid_points(space)
    assert len(set(points)) == len(scale_training.GRID)
    assert all(1.7 < space.costs(point).multiply_adds / base < 2.3 for point in points)


def test_impossible_jobs(digit_folder: Path) -> None:
    training = FinalistTraining(digit_folder)
    with pytest.raises(ModelError, match=r"num_classes is 5, but .* has 4 classes"):
        scale("mobilenet_v2", Budget(multiply_adds=1e7), num_classes=5, input_size=16, training=training)
    with pytest.raises(ModelError, match="epochs is 0"):
        FinalistTraining(digit_folder, epochs=0)
    with pytest.raises(ModelError, match=r"seeds is \(\)"):
        FinalistTraining(digit_folder, seeds=())


def test_profiling_is_one_call(made_up_model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path))
    monkeypatch.setattr(latency_model, "measure_latency_model", lambda *_, **__: made_up_model())
    assert scale_job.profile_device("cpu", threads=1).device == "abacus"
    monkeypatch.setattr(latency_model, "measure_latency_model", None)  # the profile is found again, not measured again
    assert latency_model.cached_latency_model("cpu", threads=1).device == "abacus"
