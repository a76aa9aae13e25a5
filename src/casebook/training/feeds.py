"""A plan -> what the trainer gets for one phase: batches of pictures, or of features that were computed once."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from ..data.batch_plan import BatchPlan
from ..data.crops import CropSettings
from ..data.loader import AugmentSettings, Batches, PreparedStream
from ..progress import Reporter
from .distributed import wait_for_all
from .features import Arithmetic, FeatureBatches, FeatureExtractor, Features, Views
from .pipeline import choose_crops, choose_format
from .plan import Plan
from .stepper import Phase
from .transfer import Frozen, parts


class Feed(NamedTuple):
    """What the trainer gets for one phase."""

    train: PreparedStream
    validation: PreparedStream
    phase: Phase
    features: Features | None = None  # of the training pictures, where those are what is learnt from


def feed_pictures(plan: Plan, strategy: str, number: int, report: Reporter) -> Feed:
    """Batches of pictures, for a phase in which the stages of `strategy` learn."""
    recipe, data, setup = plan.recipe, plan.data, plan.setup
    split, num_pictures = data.split, len(data.split.train) + len(data.split.val)
    learning = parts(setup.network, strategy, recipe)
    frozen = Frozen(setup.network, learning, setup.folded_norms)
    epochs = plan.epochs_of(number)

    crops = choose_crops(recipe, data, setup.preprocessing, plan.policy, epochs, plan.world, report)

    def stream(indices: Sequence[int], augmentation: AugmentSettings, shuffle: bool) -> PreparedStream:
        batches = Batches(
            data.source, indices, setup.preprocessing,
            BatchPlan(recipe.batch_size, shuffle, recipe.seed, plan.world.rank, plan.world.world_size),
            augmentation=augmentation, workers=plan.workers, device=plan.device,
            crops=dataclasses.replace(crops, memory_share=recipe.memory_share * len(indices) / num_pictures),
        )  # fmt: skip
        batches.report = report
        return PreparedStream(batches, plan.prepare)

    augmentation = AugmentSettings(plan.policy, components=plan.components, on_device=plan.device.type == "cuda")
    train, validation = stream(split.train, augmentation, True), stream(split.val, AugmentSettings(), False)
    name = "train" if strategy == "none" else "tune"
    phase = Phase(epochs, name, parts=learning, start=frozen.train, dtype=plan.dtype, number=number)
    return Feed(train, validation, phase)


def feed_features(plan: Plan, number: int, report: Reporter) -> tuple[Feed, dict[str, int]]:
    """Batches of features computed once, for the head; and how many were "computed" now or "cached" before."""
    recipe, data, network = plan.recipe, plan.data, plan.setup.network
    learning = parts(network, "head", recipe)
    Frozen(network, learning)
    train, validation = extracted(plan, report)

    def stream(found: Features, shuffle: bool) -> PreparedStream:
        labels = data.source.truth(found.indices)
        order = BatchPlan(recipe.batch_size, shuffle, recipe.seed, plan.world.rank, plan.world.world_size)
        batches = FeatureBatches(found.values, labels, order)
        batches.skipped |= found.skipped
        return PreparedStream(batches, lambda batch: batch.images.to(plan.device))

    module = nn.Sequential(network.head.dropout, network.head.classifier)
    phase = Phase(plan.epochs_of(number), "head", module, learning, module.train, number=number)
    total = len(train.indices) * recipe.feature_views + len(validation.indices)
    computed = train.num_computed + validation.num_computed
    feed = Feed(stream(train, shuffle=True), stream(validation, shuffle=False), phase, train)
    return feed, {"computed": computed, "cached": total - computed}


def extractor_of(plan: Plan, report: Reporter) -> FeatureExtractor:
    """Computes or finds the features of training pictures, as the plan prepares them."""
    recipe, data, setup = plan.recipe, plan.data, plan.setup
    crops = CropSettings(data.sizes, choose_format(recipe, setup.preprocessing), memory_share=0)
    return FeatureExtractor(
        setup.network,
        {"architecture": recipe.model, **setup.options},
        setup.preprocessing,
        plan.prepare,
        Views(recipe.feature_views, plan.policy, plan.components, recipe.seed, crops),
        Arithmetic(plan.device, plan.dtype, plan.workers),
        report,
    )


def extracted(plan: Plan, report: Reporter) -> tuple[Features, Features]:
    """The features of the training and validation pictures; process 0 fills the cache for the others.

    Those of the validation pictures are in float32, in which a finished classifier answers: so the head is judged by
    what it will say, and the evidence of a run finds them in the cache.
    """
    data, extractor = plan.data, extractor_of(plan, report)
    if not plan.world.is_first:
        wait_for_all(plan.world)
    train = extractor(data.source, data.split.train, data.scan.contents)
    validation = dataclasses.replace(
        extractor,
        views=extractor.views._replace(num_views=1),
        arithmetic=extractor.arithmetic._replace(dtype=torch.float32),
    )(data.source, data.split.val, data.scan.contents)
    if plan.world.is_first:
        wait_for_all(plan.world)
    return train, validation
