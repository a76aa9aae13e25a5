import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from casebook.augmentation.mixing import mix, mixing_table, partners
from casebook.augmentation.policy import Policy
from casebook.augmentation.sampling import identity, sample


def test_mixup_blends_pictures_and_labels_in_the_same_shares() -> None:
    record = identity(3)
    record["mixup"] = [0.25, 1.0, 0.6]
    images = torch.randn(3, 2, 4, 4)
    mixed, own = mix(images, mixing_table(record))
    assert own.tolist() == pytest.approx([0.25, 1.0, 0.6])
    assert torch.allclose(mixed[0], 0.25 * images[0] + 0.75 * images[1], atol=1e-6)
    assert torch.equal(mixed[1], images[1])
    assert torch.allclose(mixed[2], 0.6 * images[2] + 0.4 * images[0], atol=1e-6)


def test_cutmix_pastes_a_box_and_weighs_labels_by_its_area() -> None:
    record = identity(2)
    record["cutmix"][0] = (1, 2, 3, 4)
    images = torch.randn(2, 3, 8, 8)
    mixed, own = mix(images, mixing_table(record))
    expected = images[0].clone()
    expected[:, 2:6, 1:4] = images[1][:, 2:6, 1:4]
    assert torch.equal(mixed[0], expected)
    assert torch.equal(mixed[1], images[1])
    assert own.tolist() == [1 - 12 / 64, 1.0]
    _, own = mix(torch.randn(2, 3, 8, 12), mixing_table(record))
    assert own.tolist() == [1 - 12 / 96, 1.0]


def test_the_loss_is_that_of_soft_labels() -> None:
    sampled = sample(Policy(mixup=0.5, cutmix=1.0), 0, 0, np.arange(6), np.array([[8, 8]] * 6), 8)
    labels = torch.arange(6) % 4
    _, own = mix(torch.zeros(6, 3, 8, 8), mixing_table(sampled))
    logits = torch.randn(6, 4)
    soft = own[:, None] * functional.one_hot(labels, 4) + (1 - own)[:, None] * functional.one_hot(partners(labels), 4)
    expected = functional.cross_entropy(logits, soft, reduction="none", label_smoothing=0.1)
    each = [
        functional.cross_entropy(logits, y, reduction="none", label_smoothing=0.1) for y in (labels, partners(labels))
    ]
    assert torch.allclose(own * each[0] + (1 - own) * each[1], expected, atol=1e-6)


def test_the_areas_of_cutmix_follow_the_papers_law() -> None:
    """The side is the root of 1 - lambda, the centre is anywhere, and what sticks out is cut off (section 3.1)."""
    sampled = sample(Policy(cutmix=1.0), 0, 0, np.arange(5000), np.array([[224, 224]] * 5000), 224)
    area = sampled["cutmix"][:, 2] * sampled["cutmix"][:, 3] / 224**2
    generator = np.random.default_rng(0)
    side = np.sqrt(1 - generator.beta(1.0, 1.0, 50_000))[:, None]
    middle = generator.random((50_000, 2))
    expected = (np.clip(middle + side / 2, 0, 1) - np.clip(middle - side / 2, 0, 1)).prod(1)
    assert stats.ks_2samp(area, expected).pvalue > 1e-3
    assert area.mean() == pytest.approx(expected.mean(), abs=0.01)


def test_a_lone_picture_is_its_own_partner() -> None:
    record = identity(1)
    record["mixup"] = 0.3
    image = torch.randn(1, 1, 2, 2)
    mixed, _ = mix(image, mixing_table(record))
    assert torch.allclose(mixed, image)
