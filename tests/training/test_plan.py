"""What a recipe says of augmentation -> the policy that the pictures get."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import casebook
from casebook.augmentation.colour import IMAGENET_COMPONENTS
from casebook.augmentation.policy import KINDS, POLICIES, Policy
from casebook.data.batch_plan import BatchPlan
from casebook.data.colours import source_colours
from casebook.data.crops import CropSettings
from casebook.data.loader import AugmentSettings, Batches, make_prepare
from casebook.errors import RecipeError
from casebook.preprocessing import Preprocessing
from casebook.training.distributed import World
from casebook.training.plan import choose_policy, prepare_data, principal_colours_of, set_up_model
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
        (LARGE, {"policy": "strong", "rotate": False}, POLICIES["strong"].policy.changed({"rotate": 0.0})),
        (LARGE, {"policy": "googlenet", "colour": False}, BASIC.changed({"area": (0.08, 1.0)})),
        (LARGE, {"policy": "trivial", "space": False}, BASIC.changed({"border": "fill"})),
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
    # The recipe in the run folder has crop and kinds of change decided, and gives the same policy again.
    decided = {"crop": policy.crop, "crop_area": policy.area} | {kind: policy.has(kind) for kind in KINDS}
    assert choose_policy(recipe.model_copy(update=decided), preprocessing) == expected


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


def test_grey_pictures_feed_weights_for_colour_with_their_grey_in_every_channel(tmp_path: Path) -> None:
    """Eight and sixteen bits, as evaluation sees them and as training crops them."""
    noise = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "grey" / label).mkdir(parents=True)
        for number in range(8):
            grey = noise.integers(0, 256, (6, 8)).repeat(8, 0).repeat(8, 1)
            picture = Image.fromarray((grey * 257).astype(np.uint16) if number % 2 else grey.astype(np.uint8))
            picture.save(tmp_path / "grey" / label / f"{number}.png")
    (tmp_path / "run").mkdir()
    recipe = make_recipe("scratch", data=str(tmp_path / "grey"), model="mobilenet_v2", input_size=32,
                         near_duplicates=False)  # fmt: skip
    data = prepare_data(recipe, casebook.Run(tmp_path / "run"), World(), known_split=False)
    setup = set_up_model(recipe, data)
    preprocessing = setup.preprocessing
    assert (preprocessing.mode, setup.options["in_channels"]) == ("RGB", 3)
    augmentation = AugmentSettings(Policy("resized", area=(0.5, 1.0), mirror=0.5))
    for settings in (AugmentSettings(), augmentation):
        batches = Batches(data.source, data.split.train, preprocessing, BatchPlan(4, False, 0),
                          augmentation=settings, crops=CropSettings(data.sizes))  # fmt: skip
        for batch in batches.epoch():
            pixels = make_prepare(preprocessing, torch.device("cpu"), False)(batch)
            levels = pixels * torch.tensor(preprocessing.std)[:, None, None]
            levels += torch.tensor(preprocessing.mean)[:, None, None]
            assert torch.allclose(levels, levels[:, :1].expand_as(levels), atol=1e-5)  # one grey, three channels
            assert levels.amax() > 0.8
            assert levels.amin() < 0.2


def test_a_training_with_everything_learns(photo_folder: Path, tmp_path: Path) -> None:
    run = casebook.train(
        photo_folder, out=tmp_path / "run", model="lenet5", recipe="scratch", policy="strong", epochs=1, batch_size=8,
        workers=0, near_duplicates=False, augment={"pca_of": "data", "rotate": 5},
    )  # fmt: skip
    assert run.recipe.policy == "strong"
    assert run.recipe.augment == {"pca_of": "data", "rotate": 5}
    assert np.isfinite(run.history[0]["train_loss"])
