"""A network, pictures and a protocol -> the mean of the class probabilities of each picture's views."""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..cost.count import count
from ..data.decode import max_pixels
from ..data.sources import Source
from ..errors import DataError, ModelError, PictureError
from ..preprocessing import Preprocessing
from ..progress import Advanced, Reporter, silent
from ..runner.reading import ahead
from ..training.distributed import ALONE, World, gather_from_all
from .classifier import Classifier
from .dense import dense_form
from .predictions import Predictions
from .protocols import CENTER, Protocol, Size, View, check_sides, decode_side, pixels, views

MOST_DENSE_PIXELS = 8_000_000  # of a picture that a network runs over at once


class Shown(NamedTuple):
    """What a protocol gave."""

    predictions: Predictions
    readable: tuple[int, ...]
    skipped: dict[str, str]
    multiply_adds: int | None
    """For one picture, all its views together, counted at the sizes that were run; the mean where these differ."""


@dataclasses.dataclass(frozen=True)
class Asking:
    """How a classifier is asked about many pictures.

    `batch_size` 0 means the classifier's own. `workers` are threads that read pictures, -1 one for each core.
    `counted` asks for the multiply-adds, `features` for what the last layer sees, which goes with the protocol "center"
    alone. With several processes (`world`) each asks about its share.
    """

    batch_size: int = 0
    workers: int = -1
    counted: bool = False
    features: bool = False
    world: World = ALONE
    report: Reporter = silent


def ask(
    classifier: Classifier,
    source: Source,
    indices: Sequence[int],
    protocol: Protocol = CENTER,
    asking: Asking = Asking(),
) -> Shown:
    """The mean of the probabilities over a protocol's views, for each picture that can be read.

    Views of one size go through the network together, about as many pixels at a time as `batch_size` views of the
    network's own size have.

    Raises ModelError for a network that cannot be shown its pictures so, DataError when no picture can be read.
    """
    module, preprocessing = form_for(protocol, classifier), classifier.preprocessing
    runner = _Runner(classifier, module, asking, with_features=asking.features and protocol == CENTER)
    mine = indices[asking.world.rank :: asking.world.world_size]
    skipped: dict[str, str] = {}
    for done, (index, shown) in enumerate(_read(source, mine, preprocessing, protocol, asking.workers), 1):
        if isinstance(shown, str):
            skipped[source.pictures[index].name] = shown
        else:
            for array, weight in shown:
                runner.add(index, weight, array)
        asking.report(Advanced("evaluate", done * asking.world.world_size, len(indices)))
    runner.finish()
    sums: dict[int, NDArray[np.float64]] = {}
    features: dict[int, NDArray[np.float32]] = {}
    for part, seen, bad in gather_from_all((runner.sums, runner.features, skipped), asking.world):
        sums |= part
        features |= seen
        skipped |= bad
    readable = tuple(index for index in indices if index in sums)
    if not readable:
        reason = next(iter(skipped.items()), ("", "none given"))
        raise DataError(
            f"{source.name}: not one of {len(indices)} pictures could be read; the first: {': '.join(reason)}"
        )
    probabilities = np.stack([sums[index] for index in readable]) / protocol.num_views
    predictions = Predictions(
        tuple(source.pictures[i].name for i in readable),
        source.truth(readable),
        probabilities.astype(np.float32),
        classifier.classes,
        np.stack([features[index] for index in readable]) if runner.with_features else None,
    )
    cost = None
    if asking.counted:
        cost = multiply_adds(module, preprocessing.channels, runner.sizes, runner.seen, len(readable))
    return Shown(predictions, readable, skipped, cost)


def form_for(protocol: Protocol, classifier: Classifier) -> nn.Module:
    """The classifier's network, or its dense form where the protocol asks for it.

    Raises ModelError for a network that has none, or takes no views of the protocol's sizes.
    """
    network: Any = classifier.model
    size = classifier.preprocessing.size
    module, smallest = dense_form(network, size) if protocol.dense else (network, size)
    if protocol != CENTER:
        check_sides(protocol, classifier.preprocessing, smallest)
    return module


def multiply_adds(
    module: nn.Module, in_channels: int, sizes: Counter[Size], seen: dict[Size, int], num_pictures: int
) -> int | None:
    """Of one picture, when views of these (width, height) were run for all; None where they cannot be counted.

    `seen` is what `_Meter` saw of each size. Where it agrees with `count` at the smallest size, it is taken for the
    others, of which there may be hundreds; else each is counted.
    """

    def counted(size: Size) -> int | None:
        return count(module, (size[1], size[0]), in_channels=in_channels).total.multiply_adds

    try:
        smallest = min(sizes, key=lambda size: size[0] * size[1])
        each: dict[Size, int | None] = {smallest: counted(smallest)}
        agrees = each[smallest] == seen.get(smallest)
        for size in sizes:
            each[size] = seen[size] if agrees else counted(size)
    except ModelError:
        return None
    if any(cost is None for cost in each.values()):
        return None
    return round(sum((each[size] or 0) * number for size, number in sizes.items()) / num_pictures)


class _Meter:
    """Inside, sums the multiply-adds of convolutions and linear layers for one picture of each batch."""

    def __init__(self, module: nn.Module):
        self.total = 0
        self._layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]

    def _add(self, layer: nn.Module, _: Any, output: Tensor) -> None:
        self.total += output[0].numel() * layer.weight[0].numel()  # type: ignore[index, operator]

    def __enter__(self) -> "_Meter":
        self._hooks = [layer.register_forward_hook(self._add) for layer in self._layers]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()


class _Runner:
    """Gathers views of equal size into batches, runs them, and sums the probabilities of each picture."""

    def __init__(self, classifier: Classifier, module: nn.Module, asking: Asking, with_features: bool):
        self.classifier, self.module, self.counted = classifier, module, asking.counted
        self.with_features = with_features
        self.features: dict[int, NDArray[np.float32]] = {}
        self.most_pixels = (asking.batch_size or classifier.batch_size) * classifier.preprocessing.size**2
        self.waiting: dict[Size, list[tuple[int, int, NDArray[np.uint8]]]] = {}
        self.waiting_pixels: Counter[Size] = Counter()
        self.sums: dict[int, NDArray[np.float64]] = {}
        self.sizes: Counter[Size] = Counter()
        self.seen: dict[Size, int] = {}  # multiply-adds of a view of each size

    def add(self, index: int, weight: int, array: NDArray[np.uint8]) -> None:
        """One view, (height, width, channels), of the picture `index`, that counts `weight` times."""
        size = array.shape[1], array.shape[0]
        if self.waiting_pixels[size] + size[0] * size[1] > self.most_pixels:
            self._run(size)
        self.waiting.setdefault(size, []).append((index, weight, array))
        self.waiting_pixels[size] += size[0] * size[1]
        if self.waiting_pixels.total() > 4 * self.most_pixels:  # many sizes, few views of each
            self._run(max(self.waiting_pixels, key=lambda size: self.waiting_pixels[size]))

    def finish(self) -> None:
        for size in list(self.waiting):
            self._run(size)

    def _run(self, size: Size) -> None:
        entries = self.waiting.pop(size, [])
        del self.waiting_pixels[size]
        if not entries:
            return
        self.sizes[size] += len(entries)
        pixels = np.stack([array for _, _, array in entries])
        with contextlib.ExitStack() as stack:
            meter = stack.enter_context(_Meter(self.module)) if self.counted and size not in self.seen else None
            if self.with_features:
                outputs = self.classifier.infer(pixels)
                probabilities = outputs.probabilities.astype(np.float64)
                self.features |= {index: row for (index, _, _), row in zip(entries, outputs.features, strict=True)}
            else:
                images = self.classifier.images(pixels)
                probabilities = self.classifier.answers(images, self.module).astype(np.float64)
        if meter is not None:
            self.seen[size] = meter.total
        for (index, weight, _), row in zip(entries, probabilities, strict=True):
            self.sums[index] = self.sums.get(index, 0) + weight * row


Rendered = list[tuple[NDArray[np.uint8], int]]


def _read(
    source: Source, indices: Sequence[int], preprocessing: Preprocessing, protocol: Protocol, workers: int
) -> Iterator[tuple[int, Rendered | str]]:
    """(index, its distinct views with how often each counts) in order, or the reason why there are none."""

    def render(index: int) -> tuple[int, Rendered | str]:
        try:
            options = preprocessing.decode_options
            options["min_side"] = decode_side(protocol, preprocessing)
            picture = source.open(index, **options)
            if protocol == CENTER:
                return index, [(preprocessing.pixels(picture), 1)]
            wanted = Counter(views(protocol, preprocessing, picture.size))
            _check_pixels(source.pictures[index].name, wanted, protocol)
            return index, [(array, wanted[view]) for view, array in pixels(picture, wanted, preprocessing)]
        except PictureError as error:
            return index, error.reason

    return map(render, indices) if workers == 0 else ahead(render, indices, max(0, workers))


def _check_pixels(name: str, wanted: Counter[View], protocol: Protocol) -> None:
    """Raises PictureError for a picture so much longer than wide that it does not fit into memory at this scale."""
    most = MOST_DENSE_PIXELS if protocol.dense else max_pixels()
    for width, height in {view.target for view in wanted}:
        if width * height > most:
            raise PictureError(
                name, f"would be {width} x {height} pixels in the protocol {protocol.name}, at most {most // 10**6} "
                "megapixels are shown; cut it up",
            )  # fmt: skip
