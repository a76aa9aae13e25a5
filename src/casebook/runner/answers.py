"""Pictures -> answers. `PictureClassifier` is what a trained network and a bundle have in common; `Answerer` is the
bundle's.
"""

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, DataError, ModelError, PictureError, RunError, WeightsError, did_you_mean
from ..formatting import share_text
from ..preprocessing import Preprocessing
from .bundle import Bundle
from .choice import Choice, remembered
from .engine import DEFAULT_ENGINE, Outputs, ask, open_engine
from .reading import Pictures, Reading, named_pictures, read_ahead
from .unsure import Judge

BATCH_SIZE = 32  # pictures on a CPU
NO_LABEL = "none of the classes"  # of several labels none reaches its threshold


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a classifier says of one picture: classes with their probabilities, the most probable first.

    `error` says why a picture could not be read; it has no classes then. Where a judge was asked for, the probabilities
    are calibrated, `candidates` are the classes of its prediction set, and `unsure` says why the picture gets no
    answer: `why` is "unlike" or "close". `labels` are the classes that reach their thresholds, where a picture may have
    several; else None.
    """

    picture: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    unsure: str | None = None
    why: str = ""
    candidates: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None

    @property
    def label(self) -> str | None:
        """The answer: the most probable class, None for "unsure" or a picture that could not be read."""
        return None if self.unsure else self.best

    @property
    def best(self) -> str | None:
        """The most probable class; None where the picture could not be read."""
        return self.classes[0][0] if self.classes else None

    @property
    def probability(self) -> float:
        """Of the most probable class; 0 where the picture could not be read."""
        return self.classes[0][1] if self.classes else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The keys that `predict --json` prints."""
        if self.error is not None:
            return {"picture": self.picture, "error": self.error}
        named = [{"class": name, "probability": probability} for name, probability in self.classes]
        record: dict[str, Any] = {"picture": self.picture, "predictions": named}
        if self.labels is not None:
            record["labels"] = list(self.labels)
        if self.candidates:
            judged = {"label": self.label, "unsure": self.unsure, "why": self.why, "candidates": list(self.candidates)}
            return record | judged
        return record

    @property
    def said(self) -> str:
        """The answer on a line: the classes, why there is none, or of several labels those that are given."""
        named = ", ".join(f"{name} {100 * share:.2f} %" for name, share in self.classes)
        if self.unsure is not None:
            return f"unsure, {self.unsure}"
        return named if self.labels is None else f"{', '.join(self.labels) or NO_LABEL}  ({named})"

    def __str__(self) -> str:
        return f"{self.picture}: {self.error or self.said}"


class PictureClassifier(abc.ABC):
    """What answers for pictures: a subclass says how pixels become probabilities."""

    name: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    judge: Judge | None = None
    """Says "unsure" in place of an answer; None answers always."""
    thresholds: tuple[float, ...] = ()
    """From which probability each class is given, where a picture may have several; else nothing."""

    def judge_for(self, most_wrong: float) -> Judge:
        """The judge whose answers are wrong in at most this share. Raises RunError where there is none."""
        if self.judge is None or self.judge.most_wrong > most_wrong:
            raise RunError(
                f"{self.name} cannot promise at most {share_text(most_wrong)} wrong answers; it was exported "
                + ("without a promise" if self.judge is None else f"with {share_text(self.judge.most_wrong)}")
                + f": 'casebook export RUN --unsure {most_wrong:g}' makes another"
            )
        return self.judge

    @property
    def ids(self) -> tuple[str, ...]:
        """The other name of each output, such as WordNet's; empty where there are none."""
        return ()

    @property
    def batch_size(self) -> int:
        """How many pictures go through the network at a time, unless someone says otherwise."""
        return BATCH_SIZE

    @abc.abstractmethod
    def infer(self, pixels: NDArray[np.uint8]) -> Outputs:
        """(B, H, W, C) uint8, of the network's own size -> what it gives for them."""

    def answers_of(
        self, names: Sequence[str], outputs: Outputs, *, top: int = 5, judge: Judge | None = None
    ) -> list[Answer]:
        """What the network's outputs say of the pictures so named, with the `top` most probable classes of each.

        `judge` stands for the classifier's own. Raises WeightsError where the network gives no numbers.
        """
        for name, row in zip(names, outputs.probabilities, strict=True):
            if not np.isfinite(row).all():
                raise WeightsError(f"{self.name} gives no numbers for {name}; its weights are damaged")
        judge = judge or self.judge
        if judge is None:
            return [
                Answer(name, self._named(row, top), labels=self._labels(row))
                for name, row in zip(names, outputs.probabilities, strict=True)
            ]
        judged = judge(outputs.probabilities, outputs.features, self.classes)
        return [
            Answer(
                name,
                self._named(found.probabilities, top),
                unsure=found.reason or None,
                why=found.why,
                candidates=tuple(self.classes[place] for place in found.candidates),
            )
            for name, found in zip(names, judged, strict=True)
        ]

    def given(self, row: NDArray[np.floating]) -> tuple[int, ...] | None:
        """Of (K,) probabilities the classes that reach their thresholds, the most probable first.

        None where a picture has one label.
        """
        if not self.thresholds:
            return None
        return tuple(int(i) for i in np.argsort(-row, kind="stable") if row[i] >= self.thresholds[i])

    def _labels(self, row: NDArray[np.float32]) -> tuple[str, ...] | None:
        given = self.given(row)
        return None if given is None else tuple(self.classes[i] for i in given)

    def _named(self, row: NDArray[np.float32], top: int) -> tuple[tuple[str, float], ...]:
        return tuple((self.classes[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:top])

    def probabilities(self, pictures: Pictures) -> NDArray[np.float32]:
        """(N, num_classes) of N pictures: files, folders, patterns, PIL images, or one of these.

        Raises PictureError for the first picture that cannot be read.
        """
        rows = []
        for readings in self._batches(pictures, 0):
            good = []
            for reading in readings:
                if reading.pixels is None:
                    raise PictureError(reading.name, reading.error)
                good.append(reading.pixels)
            rows.append(self.infer(np.stack(good)).probabilities)
        return np.concatenate(rows) if rows else np.zeros((0, len(self.classes)), np.float32)

    def predict(self, pictures: Pictures, *, top: int = 5, unsure: float | None = None) -> list[Answer]:
        """One answer for each picture, in order; see `stream` for pictures that do not fit into a list."""
        return list(self.stream(pictures, top=top, unsure=unsure))

    def stream(
        self, pictures: Pictures, *, top: int = 5, batch_size: int = 0, unsure: float | None = None
    ) -> Iterator[Answer]:
        """One answer after the other, while later pictures are being read.

        Pictures that cannot be read are answered with the reason. With `unsure`, such as 0.01, a picture is answered
        "unsure" wherever needed so that of the answers at most this share is wrong. Raises DataError at once for an
        impossible `top`, and RunError for a share that cannot be promised.
        """
        if unsure is not None and self.thresholds:
            raise RunError(
                f"{self.name} gives several labels a picture, so it cannot be unsure of one; leave out unsure"
            )
        if top < 1:
            raise DataError(f"top is {top}, expected 1 or more classes")
        return self._stream(pictures, top, batch_size, self.judge if unsure is None else self.judge_for(unsure))

    def _stream(self, pictures: Pictures, top: int, batch_size: int, judge: Judge | None) -> Iterator[Answer]:
        for readings in self._batches(pictures, batch_size):
            yield from self.answered(readings, top=top, judge=judge)

    def answered(self, readings: Sequence[Reading], *, top: int = 5, judge: Judge | None = None) -> list[Answer]:
        """One answer for each picture of a batch that has been read, in order; `judge` stands for the classifier's."""
        good = [reading for reading in readings if reading.pixels is not None]
        answers = iter(())
        if good:
            outputs = self.infer(np.stack([reading.pixels for reading in good if reading.pixels is not None]))
            answers = iter(self.answers_of([reading.name for reading in good], outputs, top=top, judge=judge))
        return [
            Answer(reading.name, error=reading.error) if reading.pixels is None else next(answers)
            for reading in readings
        ]

    def _batches(self, pictures: Pictures, batch_size: int) -> Iterator[list[Reading]]:
        waiting: list[Reading] = []
        for reading in read_ahead(named_pictures(pictures), self.preprocessing):
            waiting.append(reading)
            if len(waiting) == (batch_size or self.batch_size):
                yield waiting
                waiting = []
        if waiting:
            yield waiting

    def class_index(self, name: str) -> int:
        """The output of a class given by its name, its id or its number. Raises ModelError for an unknown one."""
        for names in (self.classes, self.ids):
            if names.count(name) == 1:
                return names.index(name)
        if name.isascii() and name.isdigit() and int(name) < len(self.classes):
            return int(name)
        if name in self.classes:
            raise ModelError(f"{self.classes.count(name)} classes are called {name!r}; give the number of one, from 0")
        shown = f"{', '.join(self.classes[:10])}{' ...' if len(self.classes) > 10 else ''}"
        raise ModelError(f"unknown class {name!r}{did_you_mean(name, self.classes) or ';'} {self.name} knows {shown}")


class Answerer(PictureClassifier):
    """A bundle that answers. `network` is "float32" or, where the bundle has it, "int8"."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: str = DEFAULT_ENGINE,
        network: str = "float32",
        threads: int = 0,
        exact: bool = True,
    ):
        if network not in bundle.networks:
            raise BundleError(f"{bundle.path}: has no {network!r} network; it has {', '.join(bundle.networks)}")
        self.bundle, self.network = bundle, network
        self.name, self.classes, self.preprocessing = bundle.name, bundle.classes, bundle.preprocessing
        self.judge, self.thresholds = bundle_judge(bundle, network), bundle.thresholds
        self.engine = open_engine(engine, bundle.read(bundle.networks[network]["file"]), threads=threads, exact=exact)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.bundle.manifest.get("ids") or ())

    def pixels(self, source: bytes | str | Path, *, name: str = "") -> NDArray[np.uint8]:
        """(H, W, C) uint8 of a picture's file or its content. Raises PictureError."""
        return self.bundle.pixels(source, name=name)

    def infer(self, pixels: NDArray[np.uint8]) -> Outputs:
        return ask(self.engine, pixels, len(self.classes))

    def answer(self, source: bytes | str | Path, *, name: str = "", top: int = 5) -> Answer:
        """What is in one picture. Raises PictureError where it cannot be read."""
        name = name or ("picture" if isinstance(source, bytes) else str(source))
        outputs = self.infer(self.pixels(source, name=name)[None])
        return self.answers_of([name], outputs, top=top)[0]


def bundle_judge(bundle: Bundle, network: str) -> Judge | None:
    """The judge of one of the bundle's networks; None where the bundle always answers.

    Raises BundleError for a network without one in a bundle that promises something: it would break the promise.
    """
    record = bundle.networks[network].get("unsure")
    if record is None:
        if any(form.get("unsure") for form in bundle.networks.values()):
            raise BundleError(f"{bundle.path}: its promise does not hold for the {network!r} network; take float32")
        return None
    record = dict(record)
    table = record.pop("table", None)
    try:
        kept = None if table is None else bundle.numbers(table)
        return Judge.from_dict(record, kept)
    except (ValueError, RunError) as error:
        raise BundleError(f"{bundle.path}: {error}; export the run again") from error


def open_answerer(
    path: str | Path, *, engine: str | None = None, network: str | None = None, threads: int = 0
) -> Answerer:
    """The bundle in a file, ready to answer. What is not given is what `bench` chose here, or else the default.

    Where an engine or a network is given, `bench`'s choice counts for nothing.

    Raises BundleError.
    """
    bundle = Bundle.open(path)
    choice = (remembered(bundle) if not (engine or network) else None) or Choice()
    return Answerer(
        bundle, engine=engine or choice.engine, network=network or choice.network, threads=threads or choice.threads,
        exact=choice.exact,
    )  # fmt: skip
