"""Each operation is alone in its policy, digits are not mirrored, and arms differ in their policy alone."""

import dataclasses
from pathlib import Path

import pytest
import torch

from casebook.augmentation.policy import Policy
from casebook.cost.count import count
from casebook.studies import augmentation
from casebook.studies.augmentation import NOTHING, STUDY, TOGETHER, AugmentationPlan, SmallNet, policies_of
from casebook.studies.experiment import Experiment, find_study, run_study
from casebook.studies.trials import TrainingBudget

from .conftest import make_experiment

SHORT = AugmentationPlan((2,), 1, 16, {"most_per_class": 4, "most_test_per_class": 3}, 0.1, 2)


def changed(policy: Policy) -> dict[str, object]:
    plain = Policy()
    return {
        field.name: getattr(policy, field.name)
        for field in dataclasses.fields(policy)
        if getattr(policy, field.name) != getattr(plain, field.name)
    }


def test_operations_are_alone_and_all_are_in_all_together() -> None:
    policies = policies_of(32, in_colour=True, may_mirror=True)
    assert not changed(policies[NOTHING])
    alone = {name: changed(policy) for name, policy in policies.items() if name not in (NOTHING, TOGETHER)}
    assert len(alone) == 14
    laws = [law for changes in alone.values() for law in changes]
    assert len(laws) == len(set(laws))  # no law is in two operations
    everything = changed(policies[TOGETHER])
    assert {law: value for changes in alone.values() for law, value in changes.items()}.items() <= everything.items()


def test_digits_are_mirrored_in_the_harmful_example_alone() -> None:
    policies = policies_of(16, in_colour=False, may_mirror=False)
    assert [name for name, policy in policies.items() if policy.mirror] == ["mirrored"]
    assert not any(policy.hue or policy.saturation or policy.pca for policy in policies.values())
    assert policies["moved"].padding == 2


def test_the_small_network_has_the_weights_of_the_formula() -> None:
    network = SmallNet(num_classes=10, in_channels=1)
    found = count(network, 16, in_channels=1).total
    assert found.parameters == 9 * (16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64) + 64 * 10 + 10
    assert found.multiply_adds == 9 * (16 * 256 + 16 * 32 * 64 + 32 * 64 * 16) + 64 * 10
    assert network(torch.zeros(2, 1, 16, 16)).shape == (2, 10)  # type: ignore[union-attr]


def test_the_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(augmentation, "QUICK", SHORT)
    asked = []
    arm = Experiment.arm

    def spy(self: Experiment, name: str, build, pictures, budget: TrainingBudget, **options):
        asked.append((name, build, pictures(0), budget))
        return arm(self, name, build, pictures, budget, **options)

    monkeypatch.setattr(Experiment, "arm", spy)
    result = run_study(make_experiment(STUDY, tmp_path))
    _, build, of_first, budget = asked[0]
    for name, other, pictures, spent in asked[:14]:
        assert name.endswith("2 a class")
        assert (other, spent) == (build, budget)
        assert [p.name for p in pictures.source.pictures] == [p.name for p in of_first.source.pictures]
        assert (pictures.train, pictures.test) == (of_first.train, of_first.test)
    assert len({pictures.policy for _, _, pictures, _ in asked[:14]}) == 14
    assert [spent.epochs for _, _, _, spent in asked] == [1] * 28 + [2] * 2
    assert [len(table["rows"]) for table in result["tables"]] == [14, 13, 2]
    assert result["verdicts"][0]["claim"].startswith("with 2 pictures a class, all together")
    assert any("mirror images help digits" in verdict["claim"] for verdict in result["verdicts"])
    assert result["pictures"][0]["svg"].startswith("<svg")


@pytest.mark.slow
def test_the_full_study_of_photographs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo_folder: Path) -> None:
    monkeypatch.setattr(augmentation, "FULL", SHORT)
    operations = {"LIGHT": {}, "MIXED": {}, "REGIONS": {}, "COLOUR": {}, "GEOMETRY": {"turned": {"rotate": 15}}}
    for name, value in operations.items():
        monkeypatch.setattr(augmentation, name, value)
    result = run_study(make_experiment(STUDY, tmp_path, mode="full", data=str(photo_folder)))
    assert {arm["name"].partition(",")[0] for arm in result["arms"]} == {
        NOTHING, "mirrored", "moved", "turned", TOGETHER
    }  # fmt: skip
    assert not any("mirror images help digits" in verdict["claim"] for verdict in result["verdicts"])


def test_it_is_found_by_name() -> None:
    assert find_study("augmentation") is STUDY
