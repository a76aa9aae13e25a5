from pathlib import Path

import pytest

from casebook.errors import RecipeError
from casebook.training.recipe import RECIPES, Recipe, choose_recipe, make_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_are_valid(name: str) -> None:
    recipe = make_recipe(name)
    for setting, value in RECIPES[name].settings.items():
        assert getattr(recipe, setting) == value


def test_a_recipe_written_and_read_is_the_same(tmp_path: Path) -> None:
    recipe = make_recipe("cifar", seed=3, dropout=0.1, crop_area=(0.5, 1.0))
    recipe.write(tmp_path / "recipe.toml")
    assert make_recipe(tmp_path / "recipe.toml") == recipe


def test_overrides_win_and_none_means_not_given() -> None:
    recipe = make_recipe("cifar", epochs=3, batch_size=None)
    assert (recipe.epochs, recipe.batch_size) == (3, 128)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (("digits", "", ""), "digits"),
        (("digits", "resnet18", ""), "scratch"),
        (("photos", "mobilenet_v2", "w.safetensors"), "transfer"),
        (("cifar10", "plain44", ""), "cifar"),
        (("photos", "resnet20", ""), "small"),
        (("cifar10", "lenet5", ""), "small"),
        (("cifar10", "plain110", ""), "plain"),
        (("cifar10", "", ""), "cifar"),
        (("mnist", "", ""), "mnist"),
    ],
)
def test_the_recipe_follows_from_the_job(given: tuple[str, str, str], name: str) -> None:
    assert choose_recipe(*given) == name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rte": 0.1}, ["unknown setting 'learning_rte'", "learning_rate"]),
        ({"learning_rate": -1.0}, ["learning_rate", "greater than 0", "-1.0"]),
        ({"learning_rate": "fast"}, ["learning_rate", "number", "'fast'"]),
        ({"epochs": 0}, ["epochs", "0"]),
        ({"transfer": "last:0", "weights": "w"}, ["transfer", "last:K"]),
        ({"transfer": "head"}, ["no weights", "--weights"]),
        ({"two_phase": True}, ["two_phase", "--weights"]),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, ["nothing to train on"]),
        ({"milestones": (0.75, 0.5)}, ["milestones", "rising"]),
        ({"crop_area": (0.0, 1.0)}, ["crop_area"]),
        ({"warmup_epochs": 10.0, "epochs": 5}, ["warmup_epochs", "5 epochs"]),
        ({"optimiser": "adam"}, ["optimiser", "'adam'", "'adamw'"]),
        ({"momentum": 0.0, "nesterov": True, "optimiser": "sgd"}, ["nesterov", "momentum"]),
    ],
)
def test_wrong_settings_say_what_came_and_what_was_expected(settings: dict, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        make_recipe("scratch", data="x", **settings)
    for word in words:
        assert word in str(caught.value)


def test_unknown_recipe_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'digit'; did you mean 'digits'\?"):
        make_recipe("digit")
    (tmp_path / "broken.toml").write_text("epochs = = 3")
    with pytest.raises(RecipeError, match="not a TOML file"):
        make_recipe(tmp_path / "broken.toml")


def test_a_shorter_training_warms_up_in_proportion() -> None:
    assert make_recipe("scratch").warmup_epochs == 3
    assert make_recipe("scratch", epochs=5).warmup_epochs == 1


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        Recipe().epochs = 3  # type: ignore[misc]
