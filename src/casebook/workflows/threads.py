"""How many threads evaluation, prediction and explanation compute with on the CPU.

The number is chosen once and kept to the end of the call, so all its pictures are treated alike. If the run's recipe
records a number, that number is used and reproduces the bits of the run's own test.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from ..device import available_cores, choose_threads, tuned_threads, using_threads
from ..evaluation.classifier import Classifier
from ..progress import Remark, Reporter, silent

LONG_WORK = 200_000_000_000  # multiply-adds, about a second on two cores; shorter work does not look at the load

Made = TypeVar("Made")


def choose_asking_threads(
    classifiers: Sequence[Classifier], batch_size: int, num_images: int | None = None, report: Reporter = silent
) -> int:
    """The threads for batches of `batch_size` images, `num_images` in all; None means many.

    On a busy machine long work gets fewer threads; `report` gets a Remark then.
    """
    work = max(map(_multiply_adds, classifiers))
    threads = choose_threads(_recorded(classifiers), classifiers[0].device, batch_size * work)
    if threads.is_fixed or (num_images is not None and num_images * work < LONG_WORK):
        return threads.number

    def say(before: int, now: int, others: float) -> None:
        report(Remark(f"other programs keep {others:.1f} cores busy: computing with {now} of {before} threads"))

    with tuned_threads(threads, say):
        return torch.get_num_threads()


def _multiply_adds(classifier: Classifier) -> int:
    """About those for one picture. A module without a card is taken for a large network."""
    card = getattr(classifier.model, "card", None)
    if card is None:
        return LONG_WORK
    return int(card.multiply_adds * (classifier.preprocessing.size / card.input_size) ** 2)


def _recorded(classifiers: Sequence[Classifier]) -> int:
    """The number that the recipes of all the classifiers' runs record, where this machine has as many cores; else 0."""
    numbers = {one.run.recipe.threads if one.run else 0 for one in classifiers}
    number = numbers.pop() if len(numbers) == 1 else 0
    return number if number <= available_cores() else 0


def each_with_threads(number: int, items: Iterable[Made]) -> Iterator[Made]:
    """The items, each made with that many threads; between them the caller has its own number."""
    left = iter(items)
    while True:
        with using_threads(number):
            try:
                item = next(left)
            except StopIteration:
                return
        yield item
