"""What a recipe says of augmentation -> the policy that the pictures get."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import casebook
from casebook.augmentation.colour import IMAGENET_COMPONENTS
from casebook.augmentation.policy import POLICIES, Policy
from casebook.data.colours import source_colours
from casebook.errors import RecipeError
from casebook.preprocessing import Preprocessing
from casebook.training.distributed import World
from casebook.training.plan import choose_policy, prepare_data, principal_colours_of
from casebook.training.recipe import make_recipe

LARGE, SMALL = Preprocessing(size=224), Preprocessing(size=32, crop_fraction=1.0)
BASIC, CIFAR = POLICIES["basic"].policy, POLICIES["cifar"].policy


@pytest.mark.parametrize(
    ("preprocessing", "settings", "expected"),
    [
        (LARGE, {}, BASIC),
        (SMALL, {}, CIFAR),
        (LARGE, {"crop": "padded", "padding": 8}, CIFAR.changed({"padding": 8})),
        (SMALL, {"crop": "resized", "crop_area": (0.5, 1.0)}, BASIC.changed({"area": (0.5, 1.0)})),
        (LARGE, {"crop": "none"}, BASIC.changed({"crop": "none"})),
        (LARGE, {"mirror": False}, BASIC.changed({"mirror": 0.0})),
        (LARGE, {"data": "mnist"}, BASIC.changed({"mirror": 0.0})),
        (LARGE, {"policy": "strong", "mirror": False}, POLICIES["strong"].policy.changed({"mirror": 0.0})),
        (SMALL, {"policy": "none"}, Policy()),
        (LARGE, {"augment": {"rotate": 20, "area": [0.3, 0.9]}}, BASIC.changed({"rotate": 20, "area": (0.3, 0.9)})),
        (LARGE, {"policy": "light", "crop": "window"}, POLICIES["light"].policy.changed({"crop": "window"})),
        (LARGE, {"augment": {"crop": "padded"}}, CIFAR),
        (LARGE, {"mirror": False, "augment": {"mirror": 0.5}}, BASIC.changed({"mirror": 0.0})),
        (LARGE, {"policy": "trivial", "augment": {"picks": 2}}, POLICIES["trivial"].policy.changed({"picks": 2})),
    ],
)
def test_settings_lie_over_the_policy(preprocessing: Preprocessing, settings: dict[str, Any], expected: Policy) -> None:
    recipe = make_recipe("scratch", **({"data": "photos"} | settings))
    policy = choose_policy(recipe, preprocessing)
    assert policy == expected
    # The recipe in the run folder has crop and mirror decided, and gives the same policy again.
    resolved = recipe.model_copy(update={"crop": policy.crop, "mirror": policy.mirror > 0})
    assert choose_policy(resolved, preprocessing) == expected


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("recipe", ["scratch", "transfer", "cifar"])
def test_a_policy_that_is_named_wins_over_the_crop_of_a_named_recipe(name: str, recipe: str) -> None:
    for preprocessing in (LARGE, SMALL):
        chosen = make_recipe(recipe, data="photos", policy=name)
        assert choose_policy(chosen, preprocessing) == POLICIES[name].policy
    moved = make_recipe("digits", policy="none", crop="padded", padding=2)
    assert choose_policy(moved, SMALL) == Policy(crop="padded", padding=2)


def test_the_digits_are_moved_but_never_mirrored() -> None:
    policy = choose_policy(make_recipe("digits"), SMALL)
    assert (policy.crop, policy.padding, policy.mirror, policy.border) == ("padded", 3, 0.0, "fill")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"policy": "strng"}, r"policy is 'strng'; did you mean 'strong'\?"),
        ({"augment": {"rotat": 3}}, r"augment.rotat is no law of a policy; did you mean 'rotate'\?"),
        ({"augment": {"rotate": 400}}, "augment.rotate is 400, expected a number from 0 to 180"),
    ],
)
def test_mistakes_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        make_recipe("scratch", data="x", **settings)


def test_laws_of_a_recipe_and_of_a_flag_come_together(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("epochs = 2\nwarmup_epochs = 0\n[augment]\nrotate = 5\nhue = 10\n")
    recipe = make_recipe(tmp_path / "own.toml", augment={"rotate": 9})
    assert recipe.augment == {"rotate": 9, "hue": 10}
    recipe.write(tmp_path / "again.toml")
    assert make_recipe(tmp_path / "again.toml") == recipe


def test_principal_colours_of_the_training_pictures_alone(photo_folder: Path, tmp_path: Path) -> None:
    recipe = make_recipe("scratch", data=str(photo_folder), near_duplicates=False)
    data = prepare_data(recipe, casebook.Run(tmp_path), World(), known_split=False)
    own = Policy(pca=0.1, pca_of="data")
    found = principal_colours_of(own, LARGE, data)
    assert np.array_equal(found.values, source_colours(data.source, data.split.train).values)
    assert not np.allclose(found.values, source_colours(data.source, data.split.test).values)
    assert principal_colours_of(Policy(pca=0.1), LARGE, data) is IMAGENET_COMPONENTS
    grey = Preprocessing(mode="L", mean=(0.5,), std=(0.5,))
    assert principal_colours_of(own, grey, data) is IMAGENET_COMPONENTS


def test_a_training_with_everything_learns(photo_folder: Path, tmp_path: Path) -> None:
    run = casebook.train(
        photo_folder, out=tmp_path / "run", model="lenet5", recipe="scratch", policy="strong", epochs=1, batch_size=8,
        workers=0, near_duplicates=False, augment={"pca_of": "data", "rotate": 5},
    )  # fmt: skip
    assert run.recipe.policy == "strong"
    assert run.recipe.augment == {"pca_of": "data", "rotate": 5}
    assert np.isfinite(run.history[0]["train_loss"])
