"""Trials of augmentation: does a kind of change help to learn these pictures, or does it show other classes?

A mirrored 2 is no digit, a 6 upside down is a 9, and a green apple in red light may be of another class. A classifier
on small pictures takes a second to tell. It learns with and without the changed pictures, in turns on parts of the
training pictures. A kind of change is left out where it costs right answers beyond chance. Only training pictures are
read.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..augmentation.augment import augment, fill_colour
from ..augmentation.policy import KINDS, UNCHANGED, Policy
from ..augmentation.sampling import sample
from ..augmentation.threads import one_opencv_thread
from ..data.pictures import Source
from ..errors import PictureError
from ..preprocessing import Preprocessing
from .recipe import Recipe

READ_SIDE, SIDE = 32, 16  # pixels of the small pictures: as they are read, and as they are seen
MOST = 1500  # pictures that are read
FOLDS, DRAWS = 5, 3
LEAST = 50  # pictures; fewer say nothing
CHANCE = 0.01  # a change is left out where the difference would be this rare by chance
PENALTY = 0.01  # of the kernel ridge regression, on a kernel that is 1 for equal pictures
GENTLE_AREA = (0.6, 1.0)  # of the crops that take the place of those that hurt

Pixels = NDArray[np.uint8]
Learnt = Callable[[NDArray[np.float32]], NDArray[Any]]  # (M, F) pictures -> (M, K) answers


def seen_pixels(pictures: Pixels) -> NDArray[Any]:
    """(N, S, S, C) uint8 -> (N, S * S * C): every pixel."""
    return pictures.reshape(len(pictures), -1).astype(np.float32) / np.float32(255)


def seen_colours(pictures: Pixels) -> NDArray[Any]:
    """(N, S, S, C) uint8 -> every pixel, and what is left without the places: a histogram, means and deviations."""
    count, _, _, channels = pictures.shape
    pixels = pictures.reshape(count, -1, channels)
    codes = (pixels // 64).astype(np.int64) @ 4 ** np.arange(channels)  # four levels a channel
    shares = np.stack([np.bincount(row, minlength=4**channels) for row in codes]) / pixels.shape[1]
    overall = [np.sqrt(shares), 2 * pixels.mean(1) / 255, 2 * pixels.std(1) / 255]
    return np.concatenate([seen_pixels(pictures), *overall], 1, dtype=np.float32)


def learn_linearly(pictures: NDArray[np.float32], answers: NDArray[np.float32]) -> Learnt:
    """Ridge regression on (N, F) pictures and (N, K) answers: a function from (M, F) to (M, K)."""
    from sklearn.linear_model import Ridge

    found: Any = Ridge(alpha=len(pictures) / 10).fit(pictures, answers)
    return found.predict


def learn_by_likeness(pictures: NDArray[np.float32], answers: NDArray[np.float32]) -> Learnt:
    """The same by kernel ridge regression, which has room for views of any size beside each other."""
    from scipy.linalg import solve

    distances = _distances(pictures, pictures)
    width = max(float(np.median(distances)), 1e-6)
    kernel = np.exp(-2 * distances / width)
    kernel[np.diag_indices_from(kernel)] += PENALTY
    weights = solve(kernel, answers - answers.mean(0), assume_a="pos", overwrite_a=True)
    return lambda asked: np.exp(-2 * _distances(asked, pictures) / width) @ weights


class Operation(NamedTuple):
    """A kind of change, what of a picture the classifier sees and how it learns, and what is done where it hurts."""

    setting: str  # of the recipe; "auto", or not given, has the trial decide
    laws: tuple[str, ...]  # of the policy
    seen: Callable[[Pixels], NDArray[Any]]
    learners: tuple[Callable[..., Learnt], ...]  # it hurts all of them
    alone: bool  # it learns three draws of changed pictures; else one beside the pictures as they are
    instead: Any  # the setting's value where the change hurts
    what: str
    keeping: str  # the value that keeps the change


LINEAR = (learn_linearly,)
OPERATIONS = (
    Operation("mirror", KINDS["mirror"], seen_pixels, LINEAR, False, False, "mirror images", "true"),
    Operation("rotate", KINDS["rotate"], seen_pixels, LINEAR, True, False, "turned pictures", "true"),
    Operation("colour", KINDS["colour"], seen_colours, LINEAR, True, False, "changed colours", "true"),
    Operation("space", KINDS["space"], seen_pixels, LINEAR, True, False,
              "the operations of the augmentation space", "true"),
    Operation("crop_area", ("crop", "area", "ratio"), seen_pixels, (learn_linearly, learn_by_likeness), False,
              GENTLE_AREA, f"crops below {GENTLE_AREA[0]:.0%} of a picture", "[{area[0]:g},{area[1]:g}]"),
)  # fmt: skip


class Trial(NamedTuple):
    """What a classifier got right of `num_pictures` pictures that it had not learnt from."""

    operation: Operation
    policy: Policy
    plain: float  # share right without the changed pictures
    changed: float  # with them
    num_pictures: int
    p_value: float  # that they do no harm: of the paired exact test

    @property
    def hurts(self) -> bool:
        return self.p_value < CHANCE

    @property
    def reason(self) -> str:
        """The sentence that a reader of the run sees."""
        setting, keeping = self.operation.setting, self.operation.keeping.format(area=self.policy.area)
        return (
            f"{self.operation.what} are left out: with them a classifier on small pictures gets {self.changed:.0%} of "
            f"{self.num_pictures} training pictures right, without them {self.plain:.0%}; --set {setting}={keeping} "
            "keeps them"
        )


def open_operations(recipe: Recipe, policy: Policy) -> list[Operation]:
    """The operations of the policy about which the recipe says nothing."""
    small_crops = policy.crop == "resized" and policy.area[0] < GENTLE_AREA[0]
    return [
        operation
        for operation in OPERATIONS
        if getattr(recipe, operation.setting) in ("auto", None)
        and not set(operation.laws) & set(recipe.augment)
        and (policy.has(operation.setting) if operation.setting in KINDS else small_crops)
    ]


def try_operations(
    source: Source, indices: Sequence[int], preprocessing: Preprocessing, policy: Policy, operations: list[Operation]
) -> list[Trial]:
    """A trial of each operation on these training pictures; none where too few can be read."""
    if not operations:
        return []
    pixels, labels = _small_pictures(source, indices, preprocessing)
    if len(labels) < LEAST or len(np.unique(labels)) < 2:
        return []
    return compare_operations(pixels, labels, policy, operations, fill_colour(preprocessing))


def compare_operations(
    pixels: Pixels,
    labels: NDArray[np.int64],
    policy: Policy,
    operations: Sequence[Operation],
    fill: NDArray[np.uint8],
) -> list[Trial]:
    """(N, READ_SIDE, READ_SIDE, C) pixels, (N,) labels -> how a classifier does without and with each operation."""
    from scipy.stats import binomtest

    trials = []
    answers = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    folds = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    plain = _changed(pixels, UNCHANGED, 0, fill)
    for operation in operations:
        laws = {law: getattr(policy, law) for law in (*operation.laws, "border")}
        if policy.mirror and "mirror" in laws:
            laws["mirror"] = 1.0
        draws = range(DRAWS if operation.alone else 1)
        changed = [_changed(pixels, Policy(**laws), draw, fill) for draw in draws]
        found = []
        for learn in operation.learners:
            before, after = (
                _right(learn, operation.seen(plain), [operation.seen(view) for view in views], answers, folds)
                for views in ([plain], changed if operation.alone else [plain, *changed])
            )
            lost, won = int((before & ~after).sum()), int((~before & after).sum())
            p_value = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
            found.append(Trial(operation, policy, before.mean(), after.mean(), len(labels), float(p_value)))
        trials.append(max(found, key=lambda one: one.p_value))
    return trials


def _changed(pixels: Pixels, policy: Policy, draw: int, fill: NDArray[np.uint8]) -> Pixels:
    """(N, SIDE, SIDE, C): what the policy makes of each picture."""
    count, side = len(pixels), pixels.shape[1]
    parameters = sample(policy, 0, draw, np.arange(count), np.full((count, 2), side), SIDE)
    with one_opencv_thread():
        return augment(list(pixels), parameters, SIDE, fill)


def _right(
    learn: Callable[..., Learnt],
    asked: NDArray[np.float32],
    views: Sequence[NDArray[np.float32]],
    answers: NDArray[np.float32],
    folds: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """(N,) whether each picture, as it is `asked`, is told right by what learnt the views of the others.

    Pictures are (N, F), answers (N, K) with a 1 in the column of the label.
    """
    right = np.zeros(len(answers), bool)
    for fold in range(FOLDS):
        known, ask = folds != fold, folds == fold
        classifier = learn(np.concatenate([view[known] for view in views]), np.tile(answers[known], (len(views), 1)))
        right[ask] = classifier(asked[ask]).argmax(1) == answers[ask].argmax(1)
    return right


def _distances(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, M) squared distances of (N, F) and (M, F)."""
    squares = (first * first).sum(1)[:, None] + (second * second).sum(1)
    return np.maximum(0, squares - 2 * first @ second.T)


def _small_pictures(
    source: Source, indices: Sequence[int], preprocessing: Preprocessing
) -> tuple[Pixels, NDArray[np.int64]]:
    """(N, READ_SIDE, READ_SIDE, C) uint8 and (N,) labels of up to MOST pictures, evenly spread."""
    pixels, labels = [], []
    for index in indices[:: max(1, -(-len(indices) // MOST))]:
        with contextlib.suppress(PictureError):
            picture = source.open(
                index, mode=preprocessing.mode, min_side=READ_SIDE, value_range=preprocessing.value_range
            ).resize((READ_SIDE, READ_SIDE), Image.Resampling.BOX)
            pixels.append(np.asarray(picture, np.uint8).reshape(READ_SIDE, READ_SIDE, -1))
            labels.append(source.pictures[index].label)
    if not pixels:
        return np.zeros((0, READ_SIDE, READ_SIDE, preprocessing.channels), np.uint8), np.zeros(0, np.int64)
    return np.stack(pixels), np.array(labels, np.int64)
