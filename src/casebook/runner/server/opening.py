"""A bundle's file -> a network that answers requests: opened, loaded, and checked against its golden pictures."""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...device.limits import available_cores
from ...errors import BundleError
from ..answers import Answerer
from ..bundle import Bundle
from ..verify import NetworkCheck, check_network, expected_probabilities, golden_pixels
from .models import Answering, Opener, PictureAnswer, Source
from .settings import ServerSettings

VERSION_DIGITS = 12  # of the bundle's SHA-256: another file is another version


class BundleAnswering(Answering):
    """The answers of a bundle."""

    def __init__(self, answerer: Answerer):
        self._answerer, bundle = answerer, answerer.bundle
        preprocessing = bundle.preprocessing
        self.name, self.version, self.classes = bundle.name, bundle.sha256[:VERSION_DIGITS], bundle.classes
        self.input_shape = preprocessing.size, preprocessing.size, preprocessing.channels
        self.about = {
            "casebook": bundle.version,
            "sha256": bundle.sha256,
            "engine": answerer.engine.name,
            "network": answerer.network,
        }

    def pixels(self, content: bytes) -> NDArray[np.uint8]:
        return self._answerer.pixels(content)

    def answer(self, pixels: NDArray[np.uint8]) -> Sequence[PictureAnswer]:
        outputs, judge = self._answerer.infer(pixels), self._answerer.judge
        if judge is None:
            return [PictureAnswer(*row, None, None) for row in zip(outputs.probabilities, outputs.logits, strict=True)]
        return [
            PictureAnswer(said.probabilities, logits, said.reason or None, said.candidates)
            for said, logits in zip(
                judge(outputs.probabilities, outputs.features, self.classes), outputs.logits, strict=True
            )
        ]


def bundle_opener(settings: ServerSettings) -> Opener:
    """What `serve` loads bundles with."""
    return functools.partial(_open, settings)


def _open(settings: ServerSettings, source: Source) -> Answering:
    threads = settings.threads or max(1, available_cores() // settings.workers)
    bundle = Bundle.open(source.path)
    answerer = Answerer(bundle, engine=settings.engine, network=settings.network, threads=threads)
    _check(answerer, sizes=sorted({1, settings.batching.max_pictures}))
    return BundleAnswering(answerer)


def _check(answerer: Answerer, sizes: Sequence[int]) -> None:
    """Raises BundleError unless the golden pictures give the pixels and probabilities that they should."""
    bundle, network = answerer.bundle, answerer.network
    pictures, pixels, others = golden_pixels(bundle)
    for name, reason in others.items():
        raise BundleError(f"{bundle.path}: is not served, because golden picture {name}, {reason}")
    tolerance = float(bundle.networks[network]["tolerance"])
    differences, worst = check_network(answerer.engine, pixels, expected_probabilities(bundle, network), sizes)
    check = NetworkCheck(network, answerer.engine.name, tolerance, differences, pictures[worst]["file"])
    if not check.is_passed:
        raise BundleError(
            f"{bundle.path}: is not served, because {network} by {check.engine} differs by {check.worst:.1e} from what "
            f"it gave where the bundle was made, most at {check.picture}; {tolerance:.0e} is allowed"
        )
