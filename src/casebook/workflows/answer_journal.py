"""The answers that a long prediction has given so far, on disk: a killed process loses at most the batch under way.

The journal lies beside the file that is asked for and ends in `.part`. Its first line says what was asked and with how
many threads; each further line is the answer to one picture, in order. A resumed prediction begins with a whole batch,
since the size of a batch changes the last bits of its answers.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from ..errors import RunError
from ..files import try_lock
from ..runner.answers import Answer

FORMAT = 1
LONGEST_LINE = 1 << 24  # bytes; a longer one is none of ours


class Journal:
    """The answers given so far. `asked` is everything that decides an answer besides the picture.

    A context manager: `num_answered` is how many answers are there, and `add` writes further ones. Raises RunError
    where another process writes the journal, or where it belongs to another question.
    """

    def __init__(self, path: Path, asked: dict[str, Any], threads: int):
        self.path, self.num_answered, self.threads = path, 0, threads
        self.asked = asked

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = self.path.open("a+b")
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}; choose another place") from error
        try:
            if not try_lock(self._file):
                raise RunError(f"{self.path}: another process answers into it; wait for it, or choose another file")
            self._file.seek(0)
            self._begin(self._file.readline(LONGEST_LINE))
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _begin(self, first: bytes) -> None:
        """Reads the first line, or writes it where a process was killed before it was whole."""
        if not first.endswith(b"\n"):
            if first and not first.startswith(b'{"format":'):
                raise RunError(f"{self.path}: is no journal of predictions; remove it, or choose another file")
            self._file.truncate(0)
            self._write({"format": FORMAT, "threads": self.threads, "asked": self.asked})
            return
        try:
            header = json.loads(first)
            known, threads = header["asked"], header["threads"]
            if header["format"] != FORMAT or type(threads) is not int or not 1 <= threads <= 1024:
                raise ValueError
            differ = [name for name in self.asked | known if self.asked.get(name) != known.get(name)]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(f"{self.path}: is no journal of predictions; remove it, or choose another file") from error
        if differ:
            raise RunError(
                f"{self.path} holds the answers of an earlier call that differs in {', '.join(differ)}; "
                "give the same arguments to go on with it, or remove it to begin anew"
            )
        self.threads = threads

    def resume(self, names: Sequence[str], batch_size: int) -> None:
        """Keeps the whole batches of answers that are there, and drops what a killed process left unfinished.

        Raises RunError where they answer other pictures than `names`.
        """
        ends = [self._after_header()]
        for place, (answer, end) in enumerate(self._read()):
            if place >= len(names) or answer.picture != names[place]:
                now = repr(names[place]) if place < len(names) else "no further picture"
                raise RunError(
                    f"{self.path}: answer {place + 1} is for {answer.picture!r}, but now comes {now}; "
                    "name the same pictures to go on, or remove the file to begin anew"
                )
            if (place + 1) % batch_size == 0:
                ends.append(end)
        self._file.truncate(ends[-1])
        self.num_answered = (len(ends) - 1) * batch_size

    def add(self, answers: Sequence[Answer]) -> None:
        """Writes a batch of answers. Raises RunError when the disk is full."""
        self._write(*map(dataclasses.asdict, answers))
        self.num_answered += len(answers)

    def answers(self) -> Iterator[Answer]:
        """All answers so far, in order."""
        return (answer for answer, _ in self._read())

    def remove(self) -> None:
        """Removes the file, once what was asked for is written."""
        self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _write(self, *records: dict[str, Any]) -> None:
        try:
            self._file.write(b"".join(json.dumps(record, allow_nan=False).encode() + b"\n" for record in records))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunError(
                f"cannot write {self.path}: {error.strerror}; free some space, then give the same command to go on"
            ) from error

    def _after_header(self) -> int:
        self._file.seek(0)
        self._file.readline(LONGEST_LINE)
        return self._file.tell()

    def _read(self) -> Iterator[tuple[Answer, int]]:
        """The answers and where each one ends, up to the first that is not whole."""
        place = self._after_header()
        while True:
            self._file.seek(place)
            line = self._file.readline(LONGEST_LINE)
            if not line.endswith(b"\n"):
                return
            try:
                answer = _answer(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                return
            place += len(line)
            yield answer, place


def _answer(record: dict[str, Any]) -> Answer:
    classes = tuple((str(name), float(probability)) for name, probability in record["classes"])
    candidates = tuple(map(str, record["candidates"]))
    return Answer(**(record | {"picture": str(record["picture"]), "classes": classes, "candidates": candidates}))
