"""fastai's `fine_tune` on Casebook's split and weights: the arm `fastai` of default.py.

As fastai's tutorials do it: `Resize(224)` for each picture, `aug_transforms()` for each batch, `vision_learner`, then
`fine_tune`: an epoch of the head, and EPOCHS of everything. The network is timm's MobileNet v2 with TensorFlow's
padding.

The batch norms of the weight file are folded into scale and bias, so training mode would suddenly normalise by
statistics that the weights do not expect. Each norm therefore gets the mean and variance of its inputs on some training
pictures first, with a scale and bias that leave the network's answers as they were.
"""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from interleave import import_torchvision
from torch import Tensor, nn

import casebook
from casebook.data.datasets import SplitSettings
from casebook.device import tune_allocator

EPOCHS = 4  # of everything
BATCH = 64  # fastai's default
STATISTICS_BATCHES = 4


def fastai_answers(settings: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, tuple[int, int]]]:
    """The classes, and for the name of each test picture its label and the answer."""
    tune_allocator()  # as Casebook does; without it, half of the time went into fresh pages
    import_torchvision()
    import fastai.vision.all as vision  # type: ignore[import-not-found]

    data = casebook.load_data(settings["data"], SplitSettings(seed=settings["seed"]))
    folder = Path(settings["data"])
    label_of = {
        name: label for part in (data.train, data.val) for name, label in zip(part.names, part.labels, strict=True)
    }
    validation = set(data.val.names)
    vision.set_seed(settings["seed"], reproducible=True)
    block = vision.DataBlock(
        blocks=(vision.ImageBlock, vision.CategoryBlock(vocab=range(len(data.classes)))),
        get_x=lambda name: folder / name, get_y=lambda name: int(label_of[name]),
        splitter=vision.FuncSplitter(lambda name: name in validation), item_tfms=vision.Resize(224),
        batch_tfms=[*vision.aug_transforms(), vision.Normalize.from_stats((0.5,) * 3, (0.5,) * 3, cuda=False)],
    )  # fmt: skip
    loaders = block.dataloaders(list(label_of), bs=BATCH, num_workers=0, device=torch.device("cpu"))
    backbone = timm_network(settings["weights"])
    give_statistics(backbone, (images for images, _ in islice(loaders.train, STATISTICS_BATCHES)))
    learner = vision.vision_learner(loaders, lambda **_: backbone, normalize=False)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(EPOCHS)
        probabilities, _ = learner.get_preds(dl=loaders.test_dl(list(data.test.names)))
    answers = probabilities.argmax(1).tolist()
    pairs = zip(data.test.labels.tolist(), answers, strict=True)
    return data.classes, dict(zip(data.test.names, pairs, strict=True))


def timm_network(weights: str) -> nn.Module:
    """timm's MobileNet v2 with the weights of Casebook's: the same layers in the same order, under other names."""
    import timm  # type: ignore[import-not-found]

    network = timm.create_model("mobilenetv2_100", pad_type="same")
    ours = casebook.create_model("mobilenet_v2", weights=weights)
    network.load_state_dict(dict(zip(network.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.rand(2, 3, 224, 224)
    torch.testing.assert_close(network.eval()(images), ours.eval()(images), rtol=1e-3, atol=1e-3)
    return network


@torch.inference_mode()
def give_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Gives each batch norm the statistics of its inputs; the answers in evaluation mode stay the same."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    moments = {norm: torch.zeros(2, norm.num_features) for norm in norms}

    def add(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        moments[norm] += torch.stack([(inputs[0] ** power).mean((0, 2, 3)) for power in (1, 2)])  # type: ignore[index]

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    network.eval()
    count = sum(1 for images in batches if network(images) is not None)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, square = moments[norm] / count
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - scale * norm.running_mean
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(square - mean**2)
        norm.weight.copy_(scale * (norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(shift + scale * mean)
