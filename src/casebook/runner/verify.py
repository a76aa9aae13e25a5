"""Whether a bundle answers here as it did where it was made, and if not, whether decoding or computing differs.

Decoding is compared by the SHA-256 of each golden picture's preprocessed pixels, the networks by their probabilities.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, PictureError
from .bundle import Bundle
from .engine import DEFAULT_ENGINE, Engine, ask, open_engine

BATCH_SIZES = (1, 2, 7, 32)
MAX_GOLDEN_BYTES = 2 * 2**30  # of all golden pictures' pixels


@dataclasses.dataclass(frozen=True)
class NetworkCheck:
    """How far a network's probabilities are from the expected ones, at most, for each number of pictures at a time."""

    network: str
    engine: str
    tolerance: float
    differences: dict[int, float]
    picture: str
    """The golden picture that differs most."""

    @property
    def worst(self) -> float:
        """The largest difference; not a number where an answer is none."""
        return float(np.max(list(self.differences.values())))

    @property
    def is_passed(self) -> bool:
        return self.worst <= self.tolerance  # false for NaN

    def to_dict(self) -> dict[str, Any]:
        differences = {str(size): _number(difference) for size, difference in self.differences.items()}
        return dataclasses.asdict(self) | {"differences": differences, "passed": self.is_passed}


@dataclasses.dataclass(frozen=True)
class Verified:
    """What `verify` found. `decoded` counts the golden pictures; `other_pixels` says which were decoded otherwise."""

    bundle: str
    sha256: str
    decoded: int
    other_pixels: dict[str, str]
    networks: tuple[NetworkCheck, ...]

    @property
    def is_passed(self) -> bool:
        return not self.other_pixels and all(check.is_passed for check in self.networks)

    def to_dict(self) -> dict[str, Any]:
        """The keys that `verify --json` prints."""
        return {
            "bundle": self.bundle,
            "sha256": self.sha256,
            "pictures": self.decoded,
            "other_pixels": self.other_pixels,
            "networks": [check.to_dict() for check in self.networks],
            "passed": self.is_passed,
        }

    def lines(self) -> list[str]:
        """What a person reads."""
        same = self.decoded - len(self.other_pixels)
        lines = [f"members: every byte as it was written (SHA-256 {self.sha256[:16]}...)"]
        lines.append(f"decoding: {same} of {self.decoded} golden pictures give the same pixels")
        lines += [f"  {name}: {reason}" for name, reason in self.other_pixels.items()]
        for check in self.networks:
            verdict = "as expected" if check.is_passed else "OTHER ANSWERS"
            sizes = ", ".join(f"{size}: {difference:.1e}" for size, difference in check.differences.items())
            lines.append(
                f"{check.network} by {check.engine}: {verdict}; largest difference of a probability for pictures at a "
                f"time ({sizes}), allowed {check.tolerance:.0e}"
            )
            if not check.is_passed:
                lines.append(f"  most at {check.picture}")
        lines.append("verified" if self.is_passed else "NOT VERIFIED: do not rely on the answers of this machine")
        return lines


def _number(value: float) -> float | None:
    """For JSON, which knows no NaN."""
    return value if np.isfinite(value) else None


def pixels_digest(pixels: NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def check_network(
    engine: Engine, pixels: NDArray[np.uint8], expected: NDArray[np.float32], sizes: Sequence[int] = BATCH_SIZES
) -> tuple[dict[int, float], int]:
    """The largest difference of a probability for each batch size, and which picture differs most.

    `pixels` are (N, H, W, C) uint8, `expected` (N, K). Batches larger than N hold pictures more than once.
    """
    found: dict[int, float] = {}
    by_picture = np.zeros(len(pixels))
    for size in sizes:
        worst = 0.0
        for first in range(0, len(pixels), size):
            places = np.arange(first, first + size) % len(pixels)
            found_here = ask(engine, pixels[places], expected.shape[1]).probabilities
            differences = np.abs(found_here - expected[places]).max(axis=1)
            np.maximum.at(by_picture, places, differences)
            worst = float(np.maximum(worst, differences.max()))  # a NaN stays
        found[size] = worst
    return found, int(np.argmax(np.nan_to_num(by_picture, nan=np.inf)))


def golden_pixels(bundle: Bundle) -> tuple[list[dict[str, Any]], NDArray[np.uint8], dict[str, str]]:
    """The golden pictures, their pixels (N, H, W, C) as decoded here, and which of them differ, with the reason.

    Pictures that cannot be decoded here have black pixels.
    """
    pictures = bundle.golden
    if not pictures:
        raise BundleError(f"{bundle.path}: has no golden pictures, so nothing can be compared")
    side, channels = bundle.preprocessing.size, bundle.preprocessing.channels
    if len(pictures) * side * side * channels > MAX_GOLDEN_BYTES:
        raise BundleError(f"{bundle.path}: has {len(pictures)} golden pictures of {side} pixels, more than fit")
    pixels, others = np.zeros((len(pictures), side, side, channels), np.uint8), {}
    for place, picture in enumerate(pictures):
        try:
            pixels[place] = bundle.pixels(bundle.read(picture["file"]), name=picture["file"])
        except PictureError as error:
            others[picture["file"]] = f"{picture['shows']}: {error.reason}"
            continue
        if pixels_digest(pixels[place]) != picture["pixels_sha256"]:
            others[picture["file"]] = f"{picture['shows']}: decoded to other pixels than where the bundle was made"
    return pictures, pixels, others


def expected_probabilities(bundle: Bundle, network: str) -> NDArray[np.floating]:
    """(N, K) of the golden pictures. Raises BundleError where the member holds something else."""
    member = bundle.networks[network]["expected"]
    values = bundle.numbers(member)
    if values.shape != (shape := (len(bundle.golden), len(bundle.classes))):
        raise BundleError(f"{bundle.path}: {member} has the shape {values.shape}, expected {shape}; export it again")
    return values


def verify(
    bundle: Bundle, *, engine: str = DEFAULT_ENGINE, threads: int = 0, sizes: Sequence[int] = BATCH_SIZES
) -> Verified:
    """Compares decoding and every network of the bundle with what they gave where the bundle was made.

    Raises BundleError for a damaged member, or where no picture is left to compare the networks with.
    """
    pictures, pixels, others = golden_pixels(bundle)
    same = [place for place, picture in enumerate(pictures) if picture["file"] not in others]
    if not same:
        raise BundleError(f"{bundle.path}: not one golden picture is decoded as it should be; is Pillow damaged?")
    checks = []
    for name, network in bundle.networks.items():
        loaded = open_engine(engine, bundle.read(network["file"]), threads=threads)
        expected = expected_probabilities(bundle, name)
        differences, worst = check_network(loaded, pixels[same], expected[same], sizes)
        tolerance = float(network["tolerance"])
        checks.append(NetworkCheck(name, engine, tolerance, differences, pictures[same[worst]]["file"]))
    return Verified(bundle.name, bundle.sha256, len(pictures), others, tuple(checks))
