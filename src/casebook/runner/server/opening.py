"""A bundle's file -> a network that answers requests: opened, loaded, and checked against its golden pictures."""

import functools
import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...device.limits import available_cores
from ...errors import BundleError
from ..answers import Answerer
from ..bench import LOOSE, difference_from
from ..bundle import Bundle
from ..choice import Choice, remembered
from ..signature import check_signature
from ..verify import expected_probabilities, golden_pixels
from .models import Answering, Opener, PictureAnswer, Source
from .settings import ServerSettings

log = logging.getLogger("casebook.server")
VERSION_DIGITS = 12  # of the bundle's SHA-256: another file is another version


class BundleAnswering(Answering):
    """The answers of a bundle."""

    def __init__(self, answerer: Answerer):
        self._answerer, bundle = answerer, answerer.bundle
        preprocessing = bundle.preprocessing
        self.name, self.version, self.classes = bundle.name, bundle.sha256[:VERSION_DIGITS], bundle.classes
        self.many_labels = bool(bundle.thresholds)
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
            return [
                PictureAnswer(shares, logits, None, None, self._answerer.given(shares))
                for shares, logits in zip(outputs.probabilities, outputs.logits, strict=True)
            ]
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
    bundle = Bundle.open(source.path)
    if settings.signed_by is not None:
        check_signature(bundle, settings.signed_by)
    choice, plain = _chosen(bundle, settings), _chosen(bundle, settings, by_bench=False)
    try:
        return _checked(bundle, choice)
    except BundleError as error:
        if choice == plain:
            raise
        log.warning("%s; %s is served instead, and 'bench' finds a faster way again", error, plain)
    return _checked(bundle, plain)


def _checked(bundle: Bundle, choice: Choice) -> Answering:
    answerer = Answerer(bundle, **choice._asdict())
    _check(answerer, choice)
    return BundleAnswering(answerer)


def _chosen(bundle: Bundle, settings: ServerSettings, *, by_bench: bool = True) -> Choice:
    """What the settings say; without them what `bench` chose here, or else the default. Workers share the cores."""
    is_given = settings.engine or settings.network or settings.threads or not by_bench
    choice = (None if is_given else remembered(bundle)) or Choice(
        settings.engine or Choice().engine, settings.network or Choice().network, settings.threads
    )
    share = max(1, available_cores() // settings.workers)
    return choice._replace(threads=min(choice.threads or share, share) if not settings.threads else settings.threads)


def _check(answerer: Answerer, choice: Choice) -> None:
    """Raises BundleError unless golden pictures give the pixels and, by `bench`'s measure, the answers they should."""
    bundle = answerer.bundle
    _, pixels, others = golden_pixels(bundle)
    for name, reason in others.items():
        raise BundleError(f"{bundle.path}: is not served, because golden picture {name}, {reason}")
    is_float32 = choice.network == "float32" and choice.exact
    allowed = float(bundle.networks["float32"]["tolerance"]) if is_float32 else LOOSE
    expected = expected_probabilities(bundle, choice.network)
    difference = difference_from(expected, answerer.engine, pixels, mean=not is_float32)
    if not difference <= allowed:
        raise BundleError(
            f"{bundle.path}: is not served, because {choice} differs by {difference:.1e} from what it gave where the "
            f"bundle was made; {allowed:.0e} is allowed"
        )
