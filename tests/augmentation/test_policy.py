import dataclasses

import pytest

from casebook.augmentation.policy import CHOICES, LAWS, LIMITS, PAIRS, POLICIES, Policy, named_policy
from casebook.errors import RecipeError


def test_every_law_has_its_limits_and_its_meaning() -> None:
    names = {field.name for field in dataclasses.fields(Policy)}
    assert names == {*LIMITS, *PAIRS, *CHOICES, "central"}
    assert names == set(LAWS)


def test_the_policies_of_the_papers() -> None:
    alexnet, googlenet, resnet = (POLICIES[name].policy for name in ("alexnet", "googlenet", "resnet"))
    assert (alexnet.crop, alexnet.sides, alexnet.mirror, alexnet.pca) == ("window", (256, 256), 0.5, 0.1)
    assert (googlenet.area, googlenet.ratio) == ((0.08, 1.0), (3 / 4, 4 / 3))
    assert resnet.sides == (256, 480)
    assert POLICIES["cifar"].policy == Policy(crop="padded", padding=4, mirror=0.5, border="fill")
    assert all(entry.source for name, entry in POLICIES.items() if name not in ("none", "light", "strong"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rotate": 200}, "augment.rotate is 200, expected a number from 0 to 180"),
        ({"rotate": "much"}, "augment.rotate is 'much', expected a number"),
        ({"rotate": True}, "augment.rotate is True, expected a number"),
        ({"rotate": float("nan")}, "augment.rotate is nan"),
        ({"padding": 1.5}, "augment.padding is 1.5, expected a whole number"),
        ({"area": (0.5, 0.1)}, "augment.area is .*, expected two rising numbers"),
        ({"area": (0, 1)}, "augment.area is .*, expected two rising numbers from 0.0001 to 1"),
        ({"crop": "odd"}, "augment.crop is 'odd', expected one of 'none', 'resized', 'padded', 'window'"),
        ({"central": 1}, "augment.central is 1, expected true or false"),
        ({"blur": (1, 2)}, "both must be above 0 for anything to be blurred"),
        ({"blur_probability": 0.5}, "both must be above 0 for anything to be blurred"),
        ({"area": (False, True)}, "augment.area is .*, expected two rising numbers"),
        ({"rotat": 5}, "augment.rotat is no law of a policy; did you mean 'rotate'?"),
    ],
)
def test_laws_out_of_range_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Policy().changed(changes)


def test_lists_from_a_file_are_pairs() -> None:
    assert Policy().changed({"area": [0.3, 1]}).area == (0.3, 1.0)


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(RecipeError, match="unknown policy 'alexnt'; did you mean 'alexnet'"):
        named_policy("alexnt")
