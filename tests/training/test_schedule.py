import math

import pytest

from casebook.training.recipe import make_recipe
from casebook.training.schedule import rate_factor


def factors(epochs: int = 10, steps: int = 10, **settings: object) -> list[float]:
    recipe = make_recipe("scratch", **({"warmup_epochs": 0, "epochs": epochs} | settings))
    return [rate_factor(recipe, step, steps, epochs) for step in range(epochs * steps)]


def test_cosine_is_the_closed_form() -> None:
    assert factors(schedule="cosine") == pytest.approx([0.5 * (1 + math.cos(math.pi * t / 100)) for t in range(100)])


def test_step_falls_at_the_milestones_of_the_paper() -> None:
    recipe = make_recipe("cifar")
    steps = 352  # batches of 128 in 45,000 pictures
    rates = [0.1 * rate_factor(recipe, step, steps, recipe.epochs) for step in range(steps * recipe.epochs)]
    assert len(rates) == 64_064
    assert [rates[s] for s in (0, 32_031, 32_032, 48_047, 48_048, 64_063)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_warm_up_rises_linearly_to_the_full_rate() -> None:
    values = factors(schedule="constant", warmup_epochs=2)
    assert values[:20] == pytest.approx([(s + 1) / 21 for s in range(20)])
    assert values[20:] == [1.0] * 80


def test_one_cycle_peaks_at_three_tenths_and_ends_near_zero() -> None:
    values = factors(schedule="one-cycle")
    assert max(values) == pytest.approx(1.0)
    assert values.index(max(values)) == 30
    assert values[0] == pytest.approx(0.04)
    assert values[-1] < 0.001


def test_constant() -> None:
    assert set(factors(schedule="constant")) == {1.0}
