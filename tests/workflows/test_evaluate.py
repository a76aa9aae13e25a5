"""evaluate with protocols, ensembles, soups and saved predictions: the whole way, on small runs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import casebook
from casebook.data.sources import Source
from casebook.errors import DataError, ModelError, RunError
from casebook.evaluation.ensemble import average, fit_weights
from casebook.evaluation.saved import save_predictions

from ..conftest import Runs, parts, train


def test_center_is_always_the_reference_and_unchanged(runs: Runs) -> None:
    plain = casebook.evaluate(runs[0])
    found = casebook.evaluate(runs[0], protocol="10-crop")
    assert [row.protocol for row in found.compared] == ["center", "10-crop"]
    center, ten = found.compared
    assert np.array_equal(center.predictions.probabilities, plain.predictions.probabilities)
    assert found.document["protocol"] == "10-crop"
    assert np.array_equal(found.predictions.probabilities, ten.predictions.probabilities)
    assert found.top1 == found.document["compared"][1]["top1"]
    assert ten.multiply_adds == 10 * center.multiply_adds  # type: ignore[operator]
    assert found.document["compared"][1]["against"][0]["protocol"] == "center"
    assert "compared" not in plain.document
    assert "trained without mirror images" in " ".join(found.document["notes"])
    only = casebook.evaluate(runs[0], protocol="center")
    assert len(only.compared) == 1
    assert only.top1 == plain.top1


def test_a_network_of_fixed_input_cannot_be_dense(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so before any picture is read."""
    monkeypatch.setattr(Source, "open", None)
    with pytest.raises(ModelError, match="lenet5 takes 32x32 pixels alone, so it cannot be dense"):
        casebook.evaluate(runs[0], protocol=["flip", "dense"])


def test_an_ensemble_averages_its_members(runs: Runs) -> None:
    found = casebook.evaluate(runs, combine="ensemble")
    alone = [casebook.evaluate(run).predictions for run in runs]
    rows = found.compared
    assert [row.kind for row in rows] == ["network"] * 3 + ["without"] * 3 + ["ensemble"]
    for row, said in zip(rows, alone, strict=False):
        assert np.array_equal(row.predictions.probabilities, said.probabilities)
    assert np.array_equal(found.predictions.probabilities, average(alone).probabilities)
    assert found.scores.n == 24
    assert rows[-1].multiply_adds == sum(row.multiply_adds for row in rows[:3])  # type: ignore[misc]
    assert {other["kind"] for other in found.document["compared"][-1]["against"]} == {"network", "without"}
    assert "chosen on these very pictures" in found.document["notes"][-1]


def test_ensemble_and_protocol_compose(runs: Runs) -> None:
    found = casebook.evaluate(runs[:2], protocol="10-crop", combine="ensemble")
    assert [(row.kind, row.protocol) for row in found.compared] == [
        ("network", "center"), ("network", "center"), ("ensemble", "center"),
        ("network", "10-crop"), ("network", "10-crop"), ("ensemble", "10-crop"),
    ]  # fmt: skip
    ten = [casebook.evaluate(run, protocol="10-crop").predictions for run in runs[:2]]
    assert np.array_equal(found.predictions.probabilities, average(ten).probabilities)
    assert [(o["kind"], o["protocol"]) for o in found.document["compared"][-1]["against"]] == [
        ("ensemble", "center"), ("network", "10-crop"),
    ]  # fmt: skip


def test_classes_in_another_order_are_the_same_classes(runs: Runs, tmp_path: Path) -> None:
    """A copy of a run whose outputs stand in another order, and whose model.json says so, changes nothing."""
    from safetensors.torch import load_file

    from casebook.models.weights import save_weights

    copy = tmp_path / "turned"
    shutil.copytree(runs[1], copy)
    model = json.loads((copy / "model.json").read_text())
    order = [2, 0, 3, 1]
    model["classes"] = [model["classes"][i] for i in order]
    (copy / "model.json").write_text(json.dumps(model))
    state = load_file(copy / "model.safetensors")
    state = {name: value[order].contiguous() if value.shape[0] == 4 else value for name, value in state.items()}
    save_weights(copy / "model.safetensors", state, {})
    found = casebook.evaluate([runs[0], copy], combine="ensemble")
    expected = casebook.evaluate(runs[:2], combine="ensemble")
    assert found.predictions.probabilities == pytest.approx(expected.predictions.probabilities, abs=1e-6)
    assert found.compared[1].predictions.predicted().tolist() == expected.compared[1].predictions.predicted().tolist()
    model["classes"][0] = "zwei"
    (copy / "model.json").write_text(json.dumps(model))
    with pytest.raises(DataError, match=r"only .*turned knows 'zwei'; only .* knows 'digit_2'"):
        casebook.evaluate([runs[0], copy], combine="ensemble")


def test_weights_are_fitted_on_validation_pictures_alone(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    original = Source.open
    monkeypatch.setattr(
        Source, "open", lambda self, i, **k: (opened.append(self.pictures[i].name), original(self, i, **k))[1]
    )
    from casebook.evaluation import together

    during: list[str] = []

    def spied(members):
        during.extend(opened)
        return fit_weights(members)

    monkeypatch.setattr(together, "fit_weights", spied)
    found = casebook.evaluate(runs, combine="fitted ensemble")
    split = parts(runs[0])
    assert during
    assert {split[name] for name in during} == {"val"}
    assert {split[name] for name in found.predictions.names} == {"test"}
    val = [casebook.evaluate(run, split="val").predictions for run in runs]
    weights = fit_weights(val)
    test = [casebook.evaluate(run).predictions for run in runs]
    assert found.predictions.probabilities == pytest.approx(average(test, weights).probabilities, abs=1e-6)
    assert any(f"weights fitted on {len(val[0].names)} validation pictures" in note for note in found.document["notes"])


def test_without_a_validation_split_nothing_is_fitted(digit_folder: Path, runs: Runs, tmp_path: Path) -> None:
    for run in runs[:2]:
        shutil.copytree(run, tmp_path / run.name)
        path = tmp_path / run.name / "split.csv"
        path.write_text(path.read_text().replace(",val,", ",train,"))
    with pytest.raises(RunError, match="has no validation pictures"):
        casebook.evaluate([tmp_path / "a", tmp_path / "b"], combine="fitted ensemble")
    found = casebook.evaluate([tmp_path / "a", tmp_path / "b"], combine="soup")
    assert [row.name for row in found.compared][2:] == ["soup"]
    assert "no greedy soup" in " ".join(found.document["notes"])


def test_leaks_between_splits_are_left_out_or_refused(runs: Runs, other_split: Path, digit_folder: Path) -> None:
    found = casebook.evaluate([runs[0], other_split], combine="ensemble")
    ours, theirs = parts(runs[0]), parts(other_split)
    assert set(found.predictions.names) == {name for name in ours if ours[name] == theirs[name] == "test"}
    assert "are left out" in " ".join(found.document["notes"])
    with pytest.raises(DataError, match="was seen in train or val"):
        casebook.evaluate(runs[:2], combine="ensemble", split="val")
    whole = casebook.evaluate([runs[0], other_split], digit_folder, combine="ensemble", split="all")
    assert set(whole.predictions.names) == set(found.predictions.names)


def test_a_soup_of_a_run_and_its_copy_is_the_run(runs: Runs, tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / "copy")
    found = casebook.evaluate([runs[0], tmp_path / "copy"], combine="soup")
    assert [row.name for row in found.compared][2:] == ["soup", "greedy soup"]
    one, _, soup, greedy = found.compared
    assert np.array_equal(soup.predictions.probabilities, one.predictions.probabilities)
    assert np.array_equal(greedy.predictions.probabilities, one.predictions.probabilities)
    assert soup.multiply_adds == one.multiply_adds
    assert "greedy soup of 2 of 2 runs" in " ".join(found.document["notes"])
    assert "did not start from the same weights" in " ".join(found.document["notes"])


def test_batch_norms_statistics_are_computed_again(digit_folder: Path, tmp_path: Path) -> None:
    """A copy with somewhat other weights: the soup's statistics are those of its own activations."""
    import torch

    from casebook.models.weights import read_weights, save_weights

    one, two = train(digit_folder, tmp_path / "one", model="resnet20", epochs=1), tmp_path / "two"
    shutil.copytree(one, two)
    state, _ = read_weights(one / "model.safetensors")
    torch.manual_seed(0)
    state = {
        name: value + 0.05 * torch.rand_like(value) if value.is_floating_point() else value
        for name, value in state.items()
    }
    save_weights(two / "model.safetensors", state, {})
    found = casebook.evaluate([one, two], combine="soup", protocol="dense")
    learnt = list(parts(one).values()).count("train")
    assert f"batch norms were computed again from {learnt} training pictures" in " ".join(found.document["notes"])
    assert all(np.isfinite(row.predictions.probabilities).all() for row in found.compared)
    assert [(row.kind, row.protocol) for row in found.compared] == [
        (kind, protocol) for protocol in ("center", "dense") for kind in ("network", "network", "soup", "soup")
    ]


def test_soup_and_ensemble_stand_side_by_side(runs: Runs) -> None:
    found = casebook.evaluate(runs, combine=["soup", "ensemble"], protocol="flip")
    for protocol in ("center", "flip"):
        rows = [row for row in found.compared if row.protocol == protocol]
        assert [row.kind for row in rows] == ["network"] * 3 + ["without"] * 3 + ["soup"] * 2 + ["ensemble"]
    assert found.compared[-1].predictions is found.predictions
    soup = next(row for row in found.document["compared"] if row["kind"] == "soup")
    assert {other["kind"] for other in soup["against"]} == {"network", "ensemble"}


def test_other_networks_make_no_soup(runs: Runs, digit_folder: Path, tmp_path: Path) -> None:
    other = train(digit_folder, tmp_path / "other", model="lenet5_1998", epochs=1)
    with pytest.raises(RunError, match=r"differ in their architecture .* an ensemble takes any"):
        casebook.evaluate([runs[0], other], combine="soup")
    assert casebook.evaluate([runs[0], other], combine="ensemble").scores.n == 24


def test_saved_predictions_are_evaluated_without_torch(runs: Runs, tmp_path: Path) -> None:
    files = []
    for run in runs:
        files.append(tmp_path / f"{run.name}.csv")
        save_predictions(files[-1], casebook.evaluate(run).predictions)
    plain = casebook.evaluate(runs[0])
    again = casebook.evaluate(files[0])
    for key in plain.document.keys() - {"model", "data", "split", "seconds", "images_per_second", "notes"}:
        assert again.document[key] == plain.document[key], key
    together = casebook.evaluate(files, combine="ensemble")
    asked = casebook.evaluate(runs, combine="ensemble")
    assert np.array_equal(together.predictions.probabilities, asked.predictions.probabilities)
    code = "import sys, casebook; print(casebook.evaluate(sys.argv[1]).top1, 'torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code, str(files[0])], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.split() == [str(plain.top1), "False"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": []}, "name at least one run"),
        ({"model": ["RUN"], "combine": "ensemble"}, "an ensemble or a soup needs at least two runs; got one"),
        ({"model": ["RUN", "RUN"], "combine": "ensemble"}, "is named twice"),
        ({"model": "RUN", "combine": "ensembel"}, "did you mean 'ensemble'"),
        ({"model": ["RUN", "p.csv"], "combine": "ensemble"}, "RUN is a run and the others are saved predictions"),
        ({"model": "p.csv", "data": "digits"}, "data needs the run itself"),
        ({"model": "p.csv", "protocol": "flip"}, "a protocol needs the run itself"),
        ({"model": ["p.csv", "q.csv"], "combine": "soup"}, "a soup needs the run itself"),
        ({"model": "p.csv"}, "there is no file of predictions 'p.csv'"),
    ],
)
def test_what_does_not_go_together_says_so(
    settings: dict, expected: str, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"RUN": str(runs[0]), "RUN2": str(runs[1])}
    model = settings["model"]
    model = [names.get(m, m) for m in model] if isinstance(model, list) else names.get(model, model)
    with pytest.raises(DataError) as error:
        casebook.evaluate(**(settings | {"model": model}))
    assert expected.replace("RUN", str(runs[0])) in str(error.value)


def test_several_runs_are_compared_without_being_asked(runs: Runs) -> None:
    """On the same pictures, paired, each against the first."""
    found = casebook.evaluate(runs)
    assert [row.kind for row in found.compared] == ["network"] * 3
    against = [[other["name"] for other in row["against"]] for row in found.document["compared"]]
    assert against == [[], [str(runs[0])], [str(runs[0])]]
    wrong = [row.predictions.predicted() != row.predictions.labels for row in found.compared]
    difference = found.document["compared"][1]["against"][0]["top1_error"]["difference"]
    assert difference == pytest.approx(wrong[1].mean() - wrong[0].mean())


def test_pictures_that_the_run_has_learnt_from_are_counted_and_left_out(
    runs: Runs, digit_folder: Path, tmp_path: Path
) -> None:
    """By name in the same folder, by content in a copy under other names."""
    split = parts(runs[0])
    learnt = {name for name, part in split.items() if part != "test"}
    found = casebook.evaluate(runs[0], digit_folder)
    own = casebook.evaluate(runs[0])
    assert set(found.predictions.names) == set(split) - learnt == set(own.predictions.names)
    assert found.top1 == own.top1
    seen = found.document["seen"]
    assert (seen["pictures"], seen["by_name"], seen["all"]["n"]) == (len(learnt), len(learnt), len(split))
    assert "was trained or validated on" in found.notes[-1]
    copy = tmp_path / "copy"
    for picture in digit_folder.glob("*/*.png"):
        (copy / picture.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, copy / picture.parent.name / f"x{picture.name}")
    again = casebook.evaluate(runs[0], copy)
    assert again.document["seen"] == seen | {"by_name": 0, "by_content": len(learnt)}
    assert again.top1 == own.top1


def test_where_all_pictures_were_learnt_from_the_figures_say_so(runs: Runs) -> None:
    found = casebook.evaluate(runs[0], split="train")
    assert found.scores.n == list(parts(runs[0]).values()).count("train")
    assert "the figures are those of pictures it has learnt from" in found.notes[-1]
    assert casebook.evaluate(runs[0]).document.get("seen") is None


def test_an_evaluation_has_typed_fields(runs: Runs) -> None:
    found = casebook.evaluate(runs[0])
    low, high = found.scores.top1_interval
    assert low <= found.scores.top1 <= high
    assert [one.name for one in found.scores.per_class] == [f"digit_{i}" for i in range(4)]
    assert found.scores.top5 is None
    assert f"{found.scores.n} pictures" in str(found)
    assert "<table>" in found._repr_html_()
    assert casebook.open_run(runs[0]).test == found.scores
