"""A network, pictures and a protocol -> the mean of the class probabilities of each picture's views."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..cost.count import count
from ..data.decode import MAX_PIXELS
from ..data.sources import Source
from ..device import autocast
from ..errors import DataError, ModelError, PictureError
from ..models.layers import Network
from ..preprocessing import Preprocessing
from .dense import dense_form
from .inference import predict_probabilities
from .predictions import Predictions
from .protocols import CENTER, Protocol, Size, View, check_sides, decode_side, pixels, views

MOST_DENSE_PIXELS = 8_000_000  # of a picture that a network runs over at once
READ_AHEAD = 2  # pictures for each thread that reads

Progress = Callable[[int, int], None]


class Shown(NamedTuple):
    """What a protocol gave."""

    predictions: Predictions
    readable: tuple[int, ...]
    skipped: dict[str, str]
    multiply_adds: int | None
    """For one picture, all its views together, counted at the sizes that were run; the mean where these differ."""


def predict_views(
    network: Network,
    source: Source,
    indices: Sequence[int],
    preprocessing: Preprocessing,
    classes: Sequence[str],
    protocol: Protocol = CENTER,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    batch_size: int = 0,
    workers: int = 0,
    counted: bool = True,
    progress: Progress = lambda done, total: None,
) -> Shown:
    """The mean of the probabilities over a protocol's views, for each picture that can be read.

    `center` is `predict_probabilities` itself. Views of one size go through the network together, about as many
    pixels at a time as `batch_size` views of the network's own size have. `counted` asks for the multiply-adds.

    Raises ModelError for a network that cannot be shown its pictures so, DataError when no picture can be read.
    """
    network = network.to(device).eval()
    if protocol == CENTER:
        answer = predict_probabilities(
            network, source, indices, preprocessing, classes, device=device, dtype=dtype, batch_size=batch_size,
            workers=workers, progress=progress,
        )  # fmt: skip
        size = (preprocessing.size, preprocessing.size)
        cost = multiply_adds(network, preprocessing.channels, Counter({size: 1}), {}, 1) if counted else None
        return Shown(*answer, cost)
    module = form_for(protocol, network, preprocessing)
    runner = _Runner(module, preprocessing, device, dtype, batch_size or (32 if device.type == "cpu" else 256))
    skipped: dict[str, str] = {}
    readable: list[int] = []
    with torch.inference_mode():
        for index, shown in _read(source, indices, preprocessing, protocol, workers):
            if isinstance(shown, str):
                skipped[source.pictures[index].name] = shown
            else:
                readable.append(index)
                for array, weight in shown:
                    runner.add(index, weight, array)
            progress(len(readable) + len(skipped), len(indices))
        runner.finish()
    if not readable:
        reason = next(iter(skipped.items()), ("", "none given"))
        raise DataError(
            f"{source.name}: not one of {len(indices)} pictures could be shown; the first: {': '.join(reason)}"
        )
    probabilities = np.stack([runner.sums[index] for index in readable]) / protocol.num_views
    predictions = Predictions(
        tuple(source.pictures[i].name for i in readable),
        np.array([source.pictures[i].label for i in readable], np.int64),
        probabilities.astype(np.float32),
        tuple(classes),
    )
    cost = None
    if counted:
        cost = multiply_adds(module, preprocessing.channels, runner.sizes, runner.seen, len(readable))
    return Shown(predictions, tuple(readable), skipped, cost)


def form_for(protocol: Protocol, network: Network, preprocessing: Preprocessing) -> nn.Module:
    """The network, or its dense form where the protocol asks for it.

    Raises ModelError for a network that has none, or takes no views of the protocol's sizes.
    """
    module, smallest = dense_form(network, preprocessing.size) if protocol.dense else (network, preprocessing.size)
    check_sides(protocol, preprocessing, smallest)
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

    def __init__(
        self, module: nn.Module, preprocessing: Preprocessing, device: torch.device, dtype: torch.dtype, batch_size: int
    ):
        self.module, self.preprocessing, self.device, self.dtype = module, preprocessing, device, dtype
        self.most_pixels = batch_size * preprocessing.size**2
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
        pixels = torch.from_numpy(np.stack([array for _, _, array in entries]))
        images = self.preprocessing.normalise_tensor(pixels.to(self.device))
        with autocast(self.device, self.dtype), contextlib.ExitStack() as stack:
            meter = stack.enter_context(_Meter(self.module)) if size not in self.seen else None
            logits = self.module(images)
        if meter is not None:
            self.seen[size] = meter.total
        probabilities = torch.softmax(logits.float(), 1).cpu().numpy().astype(np.float64)
        for (index, weight, _), row in zip(entries, probabilities, strict=True):
            self.sums[index] = self.sums.get(index, 0) + weight * row


Rendered = list[tuple[NDArray[np.uint8], int]]


def _read(
    source: Source, indices: Sequence[int], preprocessing: Preprocessing, protocol: Protocol, workers: int
) -> Iterator[tuple[int, Rendered | str]]:
    """(index, its distinct views with how often each counts) in order, or the reason why there are none."""

    def render(index: int) -> Rendered | str:
        try:
            options = preprocessing.decode_options
            options["min_side"] = decode_side(protocol, preprocessing)
            picture = source.open(index, **options)
            wanted = Counter(views(protocol, preprocessing, picture.size))
            _check_pixels(source.pictures[index].name, wanted, protocol)
            return [(array, wanted[view]) for view, array in pixels(picture, wanted, preprocessing)]
        except PictureError as error:
            return error.reason

    if workers < 1:
        yield from ((index, render(index)) for index in indices)
        return
    with ThreadPoolExecutor(workers) as pool:  # Pillow frees the interpreter while it decodes and resizes
        left = iter(indices)
        ahead: list[tuple[int, Future[Rendered | str]]] = [
            (index, pool.submit(render, index)) for index in itertools.islice(left, READ_AHEAD * workers)
        ]
        while ahead:
            index, future = ahead.pop(0)
            shown = future.result()
            ahead += [(following, pool.submit(render, following)) for following in itertools.islice(left, 1)]
            yield index, shown


def _check_pixels(name: str, wanted: Counter[View], protocol: Protocol) -> None:
    """Raises PictureError for a picture so much longer than wide that it does not fit into memory at this scale."""
    most = MOST_DENSE_PIXELS if protocol.dense else MAX_PIXELS
    for width, height in {view.target for view in wanted}:
        if width * height > most:
            raise PictureError(
                name, f"would be {width} x {height} pixels in the protocol {protocol.name}, at most {most // 10**6} "
                "megapixels are shown; cut it up",
            )  # fmt: skip
