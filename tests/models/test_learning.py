"""Every network starts to learn with the recipe that its card names.

On forty real digits of four classes the training loss falls well below that of guessing. A small network of each kind
runs in the suite, a few others with -m slow, the rest with -m full.
"""

import math

import cv2
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from casebook.models import create_model, list_models, model_card
from casebook.training.optimise import make_optimiser, parameter_groups
from casebook.training.recipe import RECIPES, make_recipe
from casebook.training.unit_variance import scale_to_unit_variance

from .golden import catalogue

CLASSES, BATCH, STEPS, WARMUP = 4, 16, 300, 8
CHANCE = math.log(CLASSES)


def pictures(side: int, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(40, channels, side, side) float32 of mean 0 and deviation 1, ten of each of the digits 0 to 3; (40,) int64."""
    digits = load_digits(n_class=CLASSES)
    chosen = [i for label in range(CLASSES) for i in (digits.target == label).nonzero()[0][:10]]
    images = torch.stack([torch.from_numpy(cv2.resize(digits.images[i], (side, side))) for i in chosen]).float()
    images = ((images - images.mean()) / images.std())[:, None].expand(-1, channels, -1, -1)
    return images.contiguous(), torch.from_numpy(digits.target[chosen])


def losses(name: str, recipe_name: str = "") -> list[float]:
    """The training loss of each step until their mean over the last four is under half of chance, or STEPS.

    With the recipe of the card, when none is named.
    """
    torch.manual_seed(0)
    card = model_card(name)
    recipe = make_recipe(recipe_name or card.recipe, model=name, data="digits", batch_size=BATCH)
    network = create_model(name, num_classes=CLASSES, **recipe.network).train()
    parts = [("all", network, 1.0)]
    groups = parameter_groups(parts, weight_decay=recipe.weight_decay, decay_all=recipe.decay_all)
    optimiser = make_optimiser(groups, recipe)
    images, labels = pictures(max(card.smallest_input, 32), card.in_channels)
    if recipe.unit_variance:
        scale_to_unit_variance(network, images)
    found: list[float] = []
    while len(found) < STEPS and not (len(found) >= 4 and sum(found[-4:]) / 4 < CHANCE / 2):
        batch = torch.randperm(len(images))[:BATCH]
        outputs = network(images[batch])
        logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, [])
        loss = functional.cross_entropy(logits, labels[batch])
        total = loss + sum(network.auxiliary_weight * functional.cross_entropy(a, labels[batch]) for a in auxiliary)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * group["scale"] * min(1, (len(found) + 1) / WARMUP)
        optimiser.zero_grad()
        total.backward()
        if recipe.clip_norm:
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip_norm)
        optimiser.step()
        found.append(loss.item())
    return found


QUICK = (
    *("lenet5", "lenet5_1998", "resnet20", "plain20", "squeezenet1_1"),
    *("mobilenet_v1_025", "mobilenet_v2_035", "mobilenet_v3_small"),
)
SLOW = (
    *("alexnet_ungrouped", "zfnet", "vgg11_bn", "googlenet", "resnet18", "plain44", "nasnet_mobile"),
    *("efficientnet_b0", "fractalnet20_column"),
)


@pytest.mark.parametrize("name", catalogue(QUICK, SLOW))
def test_it_starts_to_learn(name, record_property):
    found = losses(name)
    mean = sum(found[-4:]) / 4
    record_property("losses", [found[0], found[-1], mean, len(found)])
    recipe = model_card(name).recipe
    print(f"\n{name} ({recipe}): {found[0]:.3f} -> {found[-1]:.3f}, last four {mean:.3f}, in {len(found)} steps")
    assert mean < CHANCE / 2, found


@pytest.mark.parametrize("name", list_models())
def test_the_card_names_a_recipe(name):
    assert model_card(name).recipe in RECIPES


@pytest.mark.full
def test_as_in_the_paper_110_plain_layers_do_not_start_and_110_residual_ones_do():
    """The degradation that residual networks mend: with the paper's start and recipe the plain one stays at chance."""
    assert sum(losses("resnet110", "cifar")[-4:]) / 4 < CHANCE / 2
    plain = losses("plain110", "cifar")
    assert len(plain) == STEPS
    assert sum(plain[-20:]) / 20 > 0.8 * CHANCE
