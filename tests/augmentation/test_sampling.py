"""Parameters follow the stated laws and depend on (seed, epoch, picture) alone."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from casebook.augmentation.colour import IMAGENET_COMPONENTS
from casebook.augmentation.policy import POLICIES, Policy
from casebook.augmentation.sampling import (
    FIELDS,
    NOISE_TABLE,
    PARAMETERS,
    SLOTS,
    Uniforms,
    described,
    identity,
    replayed,
    sample,
)
from casebook.errors import DataError
from casebook.preprocessing import Resize

COUNT, SIZE = 4000, 224
SMALLEST_P = 1e-3  # with fixed seeds a failure means a wrong law


def sampled(
    policy: Policy, *, count: int = COUNT, seed: int = 0, epoch: int = 0, side: tuple[int, int] = (500, 375)
) -> NDArray:
    return sample(policy, seed, epoch, np.arange(count), np.array([side] * count), SIZE)


def follows(values: NDArray, law: Any) -> bool:
    return stats.kstest(values, law.cdf).pvalue > SMALLEST_P


def uniform(low: float, high: float) -> Any:
    return stats.uniform(low, high - low)


def test_numbers_depend_on_seed_epoch_and_picture_alone() -> None:
    together = Uniforms(1, 2, np.arange(100))("picks")
    assert together.shape == (100, 24)
    assert np.array_equal(Uniforms(1, 2, np.array([42, 7]))("picks"), together[[42, 7]])
    for other in (Uniforms(2, 2, np.arange(100)), Uniforms(1, 3, np.arange(100)), Uniforms(1, 2, np.arange(100, 200))):
        assert not np.isin(other("picks"), together).any()


def test_no_two_laws_share_a_number() -> None:
    uniforms = Uniforms(0, 0, np.arange(3))
    numbers = np.concatenate([uniforms(law).reshape(3, -1) for law in SLOTS], 1)
    assert len(np.unique(numbers)) == numbers.size == 3 * sum(count for _, count in SLOTS.values())


def test_numbers_are_uniform_and_unrelated() -> None:
    numbers = Uniforms(0, 0, np.arange(20_000))("picks")
    assert all(follows(column, uniform(0, 1)) for column in numbers.T)
    correlations = np.corrcoef(numbers.T) - np.eye(numbers.shape[1])
    assert np.abs(correlations).max() < 0.03
    later = Uniforms(0, 1, np.arange(20_000))("picks")
    assert abs(np.corrcoef(numbers[:, 0], later[:, 0])[0, 1]) < 0.03


@pytest.mark.parametrize("name", POLICIES)
def test_a_picture_has_the_same_parameters_in_any_batch(name: str) -> None:
    policy = POLICIES[name].policy
    sizes = np.stack([np.arange(100) + 200, 400 - np.arange(100)], 1)
    whole = sample(policy, 3, 5, np.arange(100), sizes, SIZE)
    some = np.array([71, 4, 20])
    assert np.array_equal(sample(policy, 3, 5, some, sizes[some], SIZE), whole[some])
    if name != "none":
        assert not np.array_equal(sample(policy, 3, 6, np.arange(100), sizes, SIZE), whole)
        assert not np.array_equal(sample(policy, 4, 5, np.arange(100), sizes, SIZE), whole)


def test_a_law_that_is_taken_away_changes_no_other() -> None:
    strong = POLICIES["strong"].policy
    whole, less = sampled(strong, count=50), sampled(strong.changed({"rotate": 0.0, "erase": 0.0}), count=50)
    for name in PARAMETERS.names or ():
        assert np.array_equal(whole[name], less[name]) == (name not in ("angle", "hole")), name


@pytest.mark.parametrize(
    ("law", "value", "field", "expected"),
    [
        ("rotate", 15.0, "angle", uniform(-15, 15)),
        ("shear", 8.0, "shear", uniform(-8, 8)),
        ("shift", 0.1, "shift", uniform(-0.1, 0.1)),
        ("warp", 0.03, "warp", uniform(-0.03, 0.03)),
        ("brightness", 0.4, "brightness", uniform(0.6, 1.4)),
        ("contrast", 0.5, "contrast", uniform(0.5, 1.5)),
        ("saturation", 1.0, "saturation", uniform(0, 2)),
        ("hue", 20.0, "hue", uniform(-20, 20)),
        ("channels", 0.1, "channels", uniform(-25.5, 25.5)),
        ("noise", 8.0, "noise", uniform(0, 8)),
        ("scale", (0.5, 2.0), "scale", stats.loguniform(0.5, 2)),
        ("mixup", 1.0, "mixup", uniform(0.5, 1)),
    ],
)
def test_parameters_follow_their_laws(law: str, value: Any, field: str, expected: Any) -> None:
    parameters = sampled(Policy().changed({law: value}))
    values = parameters[field].reshape(COUNT, -1)
    for column in values.T[:4]:
        assert follows(column.astype(np.float64), expected)
    if values.shape[1] > 1:
        assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.06


def test_the_larger_share_of_mixup_is_the_pictures_own() -> None:
    own = sampled(Policy(mixup=0.2))["mixup"]
    assert stats.kstest(own, lambda share: 2 * stats.beta(0.2, 0.2).cdf(share) - 1).pvalue > SMALLEST_P
    assert own.min() >= 0.5


def test_principal_colours_have_normal_factors() -> None:
    shifts = sampled(Policy(pca=0.1))["pca"]
    values, vectors = IMAGENET_COMPONENTS
    factors = np.linalg.solve(vectors, shifts.T).T / (255 * values)
    for column in factors.T:
        assert follows(column, stats.norm(0, 0.1))
    by_hand = 255 * vectors @ (factors[7] * values)
    assert np.allclose(shifts[7], by_hand)


def test_what_happens_with_a_probability_happens_that_often() -> None:
    policy = Policy(
        mirror=0.3, blur=(1, 2), blur_probability=0.2, erase=0.6, mixup=1.0, cutmix=1.0, mix_probability=0.8
    )
    parameters = sampled(policy)
    cut = parameters["cutmix"].any(1)
    for happened, probability in (
        (parameters["mirror"], 0.3), (parameters["blur"] > 0, 0.2), (parameters["hole"].any(1), 0.6),
        (cut, 0.4), (parameters["mixup"] < 1, 0.4),
    ):  # fmt: skip
        assert stats.binomtest(int(happened.sum()), COUNT, probability).pvalue > SMALLEST_P
    assert not (cut & (parameters["mixup"] < 1)).any()
    assert follows(parameters["blur"][parameters["blur"] > 0], uniform(1, 2))


def test_resized_crops_have_the_stated_areas_and_ratios() -> None:
    window = sampled(Policy("resized", area=(0.1, 0.4)), side=(4000, 4000))["window"]
    assert follows(window[:, 2] * window[:, 3] / 4000**2, uniform(0.1, 0.4))
    assert follows(window[:, 2] / window[:, 3], stats.loguniform(3 / 4, 4 / 3))
    free = window[:, 0] / (4000 - window[:, 2])
    assert follows(free, uniform(0, 1))


@pytest.mark.parametrize("side", [(500, 375), (375, 500), (640, 640), (3000, 500)])
def test_resized_crops_keep_their_ratio_and_the_area_that_fits(side: tuple[int, int]) -> None:
    window = sampled(POLICIES["googlenet"].policy, side=(side[0] * 8, side[1] * 8))["window"]
    ratio = window[:, 2] / window[:, 3]
    assert follows(ratio, stats.loguniform(3 / 4, 4 / 3))
    picture = side[0] / side[1]
    most = np.minimum(picture / ratio, ratio / picture)
    area = window[:, 2] * window[:, 3] / (64 * side[0] * side[1])
    assert follows((area - 0.08) / (most - 0.08), uniform(0, 1))
    for axis in (0, 1):
        free = side[axis] * 8 - window[:, 2 + axis] + 1
        assert follows((window[:, axis] + 0.5) / free, uniform(0, 1))


def test_windows_are_as_large_as_after_resizing_the_shorter_side() -> None:
    alexnet = sampled(POLICIES["alexnet"].policy, side=(1000, 512))["window"]
    assert (alexnet[:, 2:] == 448).all()  # 224 of 256
    assert (alexnet[:, 0] >= 244).all()  # within the central square, which begins there
    assert (alexnet[:, 0] + 448 <= 244 + 512).all()
    resnet = sampled(POLICIES["resnet"].policy, side=(4000, 4000))["window"]
    assert (resnet[:, 2] == resnet[:, 3]).all()
    assert follows(4000 * 224 / resnet[:, 2], uniform(256, 480))


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 10_000), st.sampled_from(sorted(POLICIES)))
def test_windows_lie_in_the_picture(width: int, height: int, index: int, name: str) -> None:
    policy = POLICIES[name].policy
    left, top, across, down = sample(policy, 0, 0, np.array([index]), np.array([[width, height]]), 32)["window"][0]
    slack = policy.padding if policy.crop == "padded" else 0
    assert across >= 1
    assert down >= 1
    assert left >= -slack
    assert top >= -slack
    assert left + across <= width + slack
    assert top + down <= height + slack


def test_padded_crops_reach_every_place_as_often() -> None:
    window = sampled(Policy("padded", padding=2), side=(32, 32))["window"]
    assert (window[:, 2:] == 32).all()
    for column in window[:, :2].T:
        counts = np.bincount((column + 2).astype(int))
        assert len(counts) == 5
        assert stats.chisquare(counts).pvalue > SMALLEST_P


def test_holes_follow_their_laws_and_lie_in_the_result() -> None:
    policy = Policy(erase=1.0, erase_area=(0.1, 0.2), erase_ratio=(0.5, 2.0))
    hole = sample(policy, 0, 0, np.arange(COUNT), np.array([[5000, 5000]] * COUNT), 5000)["hole"]
    assert (hole >= 0).all()
    assert (hole[:, :2] + hole[:, 2:] <= 5000).all()
    assert follows(hole[:, 2] * hole[:, 3] / 5000**2, uniform(0.1, 0.2))
    assert follows(hole[:, 2] / hole[:, 3], stats.loguniform(0.5, 2.0))
    for axis in (0, 1):
        assert follows((hole[:, axis] + 0.5) / (5001 - hole[:, 2 + axis]), uniform(0, 1))
    pasted = sampled(Policy(cutmix=1.0))["cutmix"]
    assert (pasted >= 0).all()
    assert (pasted[:, :2] + pasted[:, 2:] <= SIZE).all()


def test_whether_pictures_are_pasted_does_not_tell_how_much() -> None:
    both, alone = sampled(Policy(mixup=0.2, cutmix=1.0))["cutmix"], sampled(Policy(cutmix=1.0))["cutmix"]
    happened = both.any(1)
    assert np.array_equal(both[happened], alone[happened])
    area, whole = (box[:, 2] * box[:, 3] for box in (both[happened], alone))
    assert stats.ks_2samp(area, whole).pvalue > SMALLEST_P


def test_noise_begins_anywhere_in_its_table() -> None:
    assert follows(sampled(Policy(noise=5.0))["noise_place"] / NOISE_TABLE, uniform(0, 1))


def test_trivialaugment_picks_each_operation_as_often_and_in_31_strengths() -> None:
    parameters = sampled(POLICIES["trivial"].policy, count=14_000)
    changed = {
        "shear_x": parameters["shear"][:, 0] != 0, "shift_y": parameters["shift"][:, 1] != 0,
        "rotate": parameters["angle"] != 0, "brightness": parameters["brightness"] != 1,
        "sharpness": parameters["sharpness"] != 1,
    }  # fmt: skip
    for name, rows in changed.items():  # one strength of 31 is none
        assert stats.binomtest(int(rows.sum()), 14_000, 30 / 31 / 14).pvalue > SMALLEST_P, name
    assert stats.binomtest(int(parameters["equalize"].sum()), 14_000, 1 / 14).pvalue > SMALLEST_P
    assert len(np.unique(parameters["angle"])) == 61
    assert set(parameters["posterize"]) == {2, 3, 4, 5, 6, 7, 8}
    happened = np.stack([*changed.values(), parameters["equalize"], parameters["autocontrast"]])
    assert happened.sum(0).max() == 1


def test_randaugment_picks_two_operations_at_one_strength() -> None:
    parameters = sampled(POLICIES["randaugment"].policy)
    once = parameters["angle"][np.abs(parameters["angle"]) < 10]
    assert set(np.round(once, 9)) == {-9.0, 0.0, 9.0}
    assert set(np.round(np.abs(parameters["angle"]), 9)) == {0.0, 9.0, 18.0}


@pytest.mark.parametrize(
    ("space", "shear_slope", "shift", "angle", "colour", "bits"),
    [("trivial", 0.99, 32 / 224, 135.0, 0.99, 2), ("randaugment", 0.3, 150 / 331, 30.0, 0.9, 4)],
)
def test_the_largest_strengths_are_those_of_the_papers(
    space: Any, shear_slope: float, shift: float, angle: float, colour: float, bits: int
) -> None:
    parameters = sampled(Policy(space=space, strength=1.0))
    assert np.abs(np.tan(np.radians(parameters["shear"]))).max(0) == pytest.approx([shear_slope] * 2)
    assert np.abs(parameters["shift"]).max(0) == pytest.approx([shift] * 2)
    assert set(parameters["angle"]) == {0.0, angle, -angle}
    for name in ("brightness", "saturation", "contrast", "sharpness"):
        assert sorted(set(parameters[name])) == pytest.approx([1 - colour, 1, 1 + colour])
    assert set(parameters["posterize"]) == {bits, 8}
    assert set(parameters["solarize"]) == {0.0, 256.0}
    assert set(sampled(Policy(space=space, strength=0.25))["solarize"]) == {192.0, 256.0}


def test_operations_picked_twice_come_together() -> None:
    parameters = sampled(Policy(space="trivial", picks=8, strength=1.0))
    slopes = np.tan(np.radians(parameters["shear"])) / 0.99
    assert np.allclose(slopes, np.rint(slopes), atol=1e-6)  # slopes add up, not degrees
    assert np.abs(slopes).max() >= 2
    assert np.abs(parameters["angle"]).max() >= 270
    assert np.isin(parameters["posterize"], [2, 8]).all()


def test_parameters_can_be_printed_and_replayed() -> None:
    parameters = sampled(POLICIES["strong"].policy, count=30)
    told = json.loads(json.dumps([described(row) for row in parameters]))
    assert np.array_equal(replayed(told), parameters)
    plain = described(identity(1)[0])
    assert plain == {"window": [0, 0, 0, 0]}
    assert set(FIELDS) == set(PARAMETERS.names or ())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"foo": 1}, "parameters 1: unknown field 'foo'"),
        ({"scale": 0}, "scale is 0, expected a number from 0.01 to 100"),
        ({"angle": float("nan")}, "angle is nan, expected a number"),
        ({"posterize": -3}, "posterize is -3"),
        ({"posterize": 99}, "posterize is 99, expected a number from 0 to 8"),
        ({"noise_place": -4}, "noise_place is -4"),
        ({"window": 5}, r"window is 5, expected \(4,\) numbers"),
        ({"window": [0, 0, 0, 4]}, "has a side below 1 pixel"),
        ({"mixup": 7}, "mixup is 7, expected a number from 0 to 1"),
        ({"hole": [-5, -5, 10, 10]}, "hole is .*, expected"),
        ({"warp": [[1, 2], [3]]}, "warp is"),
        ({"mirror": "perhaps not"}, None),
        ({"angle": "much"}, "angle is 'much'"),
    ],
)
def test_records_from_outside_are_checked(changes: dict, said: str | None) -> None:
    good = {"window": [0, 0, 4, 4]}
    if said is None:  # any text is true in Python; it is a flag all the same
        assert replayed([good, good | changes])["mirror"][1]
        return
    with pytest.raises(DataError, match=said):
        replayed([good, good | changes])
    for row in ([1, 2], None, {}):
        with pytest.raises(DataError, match="expected an object with a window"):
            replayed([row])  # type: ignore[list-item]


WIDE = np.array([[500, 100]] * COUNT)
WHOLE = Policy(crop="resized", area=(1.0, 1.0), ratio=(1.0, 1.0))


def windows(policy: Policy, sizes: NDArray, resize: Resize) -> NDArray:
    return sample(policy, 0, 0, np.arange(len(sizes)), sizes, SIZE, resize=resize)["window"]


def test_crops_of_squashed_pictures_have_their_proportions() -> None:
    assert (windows(WHOLE, WIDE, "squash") == (0, 0, 500, 100)).all()
    found = windows(WHOLE.changed({"area": (0.25, 0.25)}), WIDE, "squash")
    assert set(found[:, 2]) == {250}
    assert set(found[:, 3]) == {50, 51}  # whole pixels
    assert (found[:, :2] >= 0).all()
    assert (found[:, :2] + found[:, 2:] <= (500, 100)).all()
    assert follows(found[:, 0], uniform(-0.5, 250.5))


def test_crops_of_letterboxed_pictures_hold_all_that_fits() -> None:
    whole = windows(WHOLE, WIDE, "letterbox")
    assert (whole[:, [0, 2, 3]] == (0, 500, 500)).all()
    assert follows(whole[:, 1], uniform(-400.5, 0.5))  # anywhere between the two ends of the square
    quarter = windows(WHOLE.changed({"area": (0.25, 0.25)}), WIDE, "letterbox")
    assert (quarter[:, 2:] == 250).all()
    assert ((quarter[:, 0] >= 0) & (quarter[:, 0] <= 250)).all()
    assert ((quarter[:, 1] <= 0) & (quarter[:, 1] >= -150)).all()  # the whole height of the picture
    small = windows(WHOLE.changed({"area": (0.01, 0.01)}), WIDE, "letterbox")
    assert ((small[:, 1] >= 0) & (small[:, 1] <= 50)).all()  # inside the picture


@pytest.mark.parametrize("resize", ["squash", "letterbox"])
@pytest.mark.parametrize("name", ["basic", "resnet", "alexnet"])
def test_crops_of_square_pictures_do_not_depend_on_the_resizing(resize: Resize, name: str) -> None:
    sizes = np.array([[300, 300]] * 200)
    assert np.array_equal(
        windows(POLICIES[name].policy, sizes, resize), windows(POLICIES[name].policy, sizes, "shorter")
    )


def test_nothing_is_mirrored_beyond_the_ends_of_a_letterboxed_picture() -> None:
    policy = Policy(crop="resized", border="reflect")
    for resize, expected in (("letterbox", False), ("squash", True), ("shorter", True)):
        found = sample(policy, 0, 0, np.arange(5), np.array([[50, 40]] * 5), SIZE, resize=resize)
        assert (found["reflect"] == expected).all()
