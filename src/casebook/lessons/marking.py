"""A reader's file of answers -> a mark for each, and an empty file to begin with.

    seed = 7                          # the number with which the lessons were written

    [classic-networks.a-first-layer]  # the lesson and the exercise
    output = "28x28x6"
    parameters = 156

Nothing in the file is run, and nothing leaves the machine.
"""

import json
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError, did_you_mean
from ..files import write_atomically
from . import LESSONS
from .exercises import Exercise, exercises
from .source import read_lesson

LARGEST_BYTES = 1_000_000
NEAR = 0.005  # a share that a number may be off where the right one is no whole number


class Mark(NamedTuple):
    """What became of one answer."""

    lesson: str
    exercise: str
    key: str
    given: str
    outcome: str
    """ "right", "wrong" or "open"."""
    remark: str = ""


def mark_file(path: str | Path) -> list[Mark]:
    """The marks of all exercises of each lesson that the file names.

    Raises DataError where the file is missing or is not one of answers.
    """
    return mark(read_answers(Path(path)))


def read_answers(path: Path) -> dict[str, Any]:
    """The file's content as {lesson: {exercise: {key: answer}}} with "seed". Raises DataError."""
    begin = "begin with the answers.toml that 'casebook lesson --out FOLDER' writes"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}, expected a file of answers; {begin}") from error
    if len(content) > LARGEST_BYTES:
        raise DataError(f"{path} has {len(content):,} bytes, expected a file of answers below {LARGEST_BYTES:,}")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8, expected a file of answers in TOML; {begin}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f'{path} is no TOML: {error}; text stands in quotes, as in output = "28x28x6"') from error


def mark(answers: dict[str, Any]) -> list[Mark]:
    """Marks answers of the form that `read_answers` gives.

    Raises DataError for a lesson, an exercise or an answer's name that does not exist, or a seed that is no number.
    """
    seed = answers.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise DataError(f"seed is {seed!r}, expected the whole number with which the lessons were written")
    lessons = {name: given for name, given in answers.items() if name != "seed"}
    if not lessons:
        raise DataError("the file answers nothing, expected tables such as [classic-networks.a-first-layer]")
    marks = []
    for name, given in lessons.items():
        _expect(name, LESSONS, "lesson", "casebook lesson lists all")
        known = {exercise.name: exercise for exercise in exercises(read_lesson(name), seed)}
        if not isinstance(given, dict):
            raise DataError(f"{name} is {given!r}, expected tables such as [{name}.{next(iter(known))}]")
        for exercise in given:
            _expect(exercise, known, f"exercise of {name}", f"it has {', '.join(known)}")
        for exercise in known.values():
            marks += _marks(exercise, given.get(exercise.name, {}))
    return marks


def _marks(exercise: Exercise, given: Any) -> list[Mark]:
    table = f"[{exercise.lesson}.{exercise.name}]"
    if not isinstance(given, dict):
        raise DataError(f"{exercise.name} is {given!r}, expected a table {table} with {', '.join(exercise.asks)}")
    for key in given:
        _expect(key, exercise.asks, f"answer of {table}", f"it asks for {', '.join(exercise.asks)}")
    marks = []
    for key in exercise.asks:
        answer = given.get(key, "")
        if isinstance(answer, str) and not answer.strip():
            outcome, remark = "open", ""
        elif exercise.kind == "run":
            outcome, remark = _ran(str(answer), exercise.right["study"])
        elif same(answer, exercise.right[key]):
            outcome, remark = "right", ""
        else:
            outcome, remark = "wrong", exercise.hint
        marks.append(Mark(exercise.lesson, exercise.name, key, str(answer), outcome, remark))
    return marks


def same(given: Any, right: Any) -> bool:
    """Whether an answer is the right one. Texts may differ in case, spaces and the sign for times."""
    if isinstance(right, str):
        return isinstance(given, str) and _plain(given) == _plain(right)
    if isinstance(given, str):
        try:
            given = Fraction(given.replace(",", "").replace("_", "").strip())
        except (ValueError, ZeroDivisionError):
            return False
    if isinstance(given, bool) or not isinstance(given, int | float | Fraction) or given != given:
        return False
    return given == right if isinstance(right, int) else abs(given - right) <= NEAR * abs(right)


def _plain(text: str) -> str:
    return "".join(text.lower().replace("×", "x").split()).strip("().")


def _ran(folder: str, study: str) -> tuple[str, str]:
    """Whether a folder holds a result of the study with a verdict, which needs more than one seed."""
    path = Path(folder).expanduser() / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        ran, seeds = result["study"], len(result["seeds"])
        outcomes = [f"{verdict['claim']}: {verdict['outcome']}" for verdict in result["verdicts"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "wrong", f"{path} is no result of a study; 'casebook study {study}' says at its end where it wrote one"
    if ran != study:
        return "wrong", f"that is a result of {ran}, expected one of {study}"
    if seeds < 2:
        return "wrong", "one seed gives no verdict; run it with --seeds 3"
    return "right", "; ".join(outcomes)


def _expect(name: str, known: Any, what: str, otherwise: str) -> None:
    if name not in known:
        suggestion = did_you_mean(name, known) or ";"
        raise DataError(f"unknown {what}: {name!r}{suggestion} {otherwise}")


def answer_form(names: list[str], seed: int) -> str:
    """An empty file of answers for these lessons."""
    lines = ["# Fill in between the quotes; then: casebook lesson check answers.toml", f"seed = {seed}"]
    for name in names:
        for exercise in exercises(read_lesson(name), seed):
            lines += ["", f"[{name}.{exercise.name}]"]
            lines += [f'{key} = ""  # {words}' for key, words in exercise.asks.items()]
    return "\n".join(lines) + "\n"


def write_form(path: Path, names: list[str], seed: int) -> bool:
    """Writes the empty file unless there is one already, which may hold answers. Whether it was written."""
    if path.exists():
        return False
    write_atomically(path, answer_form(names, seed))
    return True
