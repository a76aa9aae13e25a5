"""The exercises of a lesson: their questions with the reader's own numbers, and the right answers from live code.

An exercise is a heading such as "### Compute: a first layer" with what stands under it. The kinds:

- predict: a question; its folded answer begins with the answer in bold, a letter or a number.
- compute: a block of TOML names a worked computation (`casebook explain-cost`), the sizes to draw for each reader, and
  the results to ask for.
- run: a study to run; its folder is the answer.
- defend: a block of TOML with a claim; a difference with its interval is drawn, and the reader says what it shows.
"""

import random
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ..cost.worked import explain
from ..errors import DataError
from ..studies.verdict import Expected, outcome_kind
from .source import Block, Lesson, slug

HEADING = re.compile(r"(Predict|Compute|Run|Defend): (.+)")
SAYINGS = {
    "reproduced": "the interval excludes zero on the claim's side: the claim is reproduced on this data",
    "not reproduced": "the interval excludes zero on the other side: the claim is not reproduced on this data",
    "no detectable difference": "the interval contains zero: no detectable difference on this data",
    "equal": "the two are equally good",  # never what a study shows
}


class Exercise(NamedTuple):
    """An exercise as one reader sees it."""

    lesson: str
    name: str
    kind: str
    title: str
    question: str
    """Markdown, with this reader's numbers; "" where the lesson's own text asks."""
    asks: dict[str, str]
    """What to answer: key in the file of answers -> words."""
    right: dict[str, Any]
    hint: str
    """What to do after a wrong answer."""
    sizes: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """The drawn sizes of a computation."""


def exercises(lesson: Lesson, seed: int) -> list[Exercise]:
    """In the order of the lesson. The same seed gives the same numbers everywhere.

    Raises DataError where an exercise is incomplete.
    """
    found = []
    for kind, title, blocks in exercise_sections(lesson):
        try:
            found.append(MAKERS[kind](lesson, title, blocks, seed))
        except (KeyError, ValueError, StopIteration, tomllib.TOMLDecodeError) as error:
            raise DataError(f"{lesson.name}.md: the exercise {kind}: {title} is incomplete ({error!r})") from error
    return found


def exercise_sections(lesson: Lesson) -> Iterator[tuple[str, str, list[Block]]]:
    """(kind, title, blocks below the heading) of each exercise."""
    current: tuple[str, str, list[Block]] | None = None
    for block in lesson.blocks:
        if block.kind == "heading":
            if current:
                yield current
            heading = HEADING.fullmatch(block.text)
            current = (heading[1].lower(), heading[2], []) if heading else None
        elif current:
            current[2].append(block)
    if current:
        yield current


def prepared(lesson: Lesson, seed: int) -> list[Block]:
    """The lesson's blocks with each exercise's own block replaced by its question, for this reader."""
    questions = iter(exercises(lesson, seed))
    blocks: list[Block] = []
    exercise: Exercise | None = None
    for block in lesson.blocks:
        if block.kind == "heading":
            exercise = next(questions) if HEADING.fullmatch(block.text) else None
        if exercise and block.kind == exercise.kind:
            block = block._replace(kind="text", text=asked(exercise), label="")
        blocks.append(block)
    return blocks


def asked(exercise: Exercise) -> str:
    """The question of an exercise as Markdown."""
    if exercise.kind != "compute":
        return exercise.question
    return exercise.question + "\n\n" + "\n".join(f"- `{key}`: {words}" for key, words in exercise.asks.items())


def _predict(lesson: Lesson, title: str, blocks: Sequence[Block], seed: int) -> Exercise:
    answer = next(block.text for block in blocks if block.is_folded and block.kind == "text")
    bold = re.match(r"\*\*(?:\((?P<letter>[a-z])\)|(?P<number>[0-9.,]+?))\.?\*\*", answer)
    if not bold:
        raise ValueError("the folded answer begins with **(b)** or **17**")
    right = bold["letter"] or _number(bold["number"].replace(",", ""))
    return Exercise(
        lesson.name, slug(title), "predict", title, "", {"answer": "the answer"}, {"answer": right},
        "open the answer in the lesson",
    )  # fmt: skip


def _compute(lesson: Lesson, title: str, blocks: Sequence[Block], seed: int) -> Exercise:
    given = tomllib.loads(next(block.text for block in blocks if block.kind == "compute"))
    numbers = _randomness(lesson, title, seed)
    sizes = {name: _draw(choice, numbers) for name, choice in given["draw"].items()}
    computation = explain(given["explain"], **sizes)
    flags = " ".join(
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(str(value))}")
        for name, value in sizes.items() if value is not False
    )  # fmt: skip
    return Exercise(
        lesson.name, slug(title), "compute", title, " ".join(given["question"].split()).format(**sizes), given["asks"],
        {key: computation.results[key] for key in given["asks"]},
        f"casebook explain-cost {given['explain']} {flags}", sizes,
    )  # fmt: skip


def _run(lesson: Lesson, title: str, blocks: Sequence[Block], seed: int) -> Exercise:
    command = next(block.text for block in blocks if block.kind == "run").strip()
    study = shlex.split(command)[2]
    question = (
        f"    {command}\n\nThe answer is the folder of the result, below `runs/studies`; "
        "its verdicts are marked as they are, whichever they are."
    )
    return Exercise(
        lesson.name, slug(title), "run", title, question, {"folder": "the folder of the result"}, {"study": study},
        command,
    )  # fmt: skip


def _defend(lesson: Lesson, title: str, blocks: Sequence[Block], seed: int) -> Exercise:
    given = tomllib.loads(next(block.text for block in blocks if block.kind == "defend"))
    numbers = _randomness(lesson, title, seed)
    expected: Expected = given["expected"]
    # The middle lies up to two reaches from zero, so that each of the three outcomes comes up often.
    reach = numbers.randint(50, 400) / 100
    middle = round(reach * numbers.choice((-2, -1.5, -0.5, 0.3, 0.6, 1.4, 2)), 2)
    low, high = round(middle - reach, 2), round(middle + reach, 2)
    sayings = list(SAYINGS)
    numbers.shuffle(sayings)
    letters = dict(zip("abcd", sayings, strict=True))
    choices = "\n".join(f"- ({letter}) {SAYINGS[saying]}" for letter, saying in letters.items())
    question = (
        f"{given['question'].strip()}\n\nThe claim: {given['claim']}. Found: {middle:+.2f} points of test error (95 % "
        f"interval {low:+.2f} to {high:+.2f}). Which sentence can you defend?\n\n{choices}"
    )
    kind = outcome_kind(low, high, expected, 0.0)
    right = next(letter for letter, saying in letters.items() if saying == kind)
    hint = f"look where zero lies; the claim expects a {expected} error"
    return Exercise(
        lesson.name, slug(title), "defend", title, question, {"answer": "a letter"}, {"answer": right}, hint,
        {"low": low, "high": high, "expected": expected, "letters": letters},
    )  # fmt: skip


MAKERS: dict[str, Callable[[Lesson, str, Sequence[Block], int], Exercise]] = {
    "predict": _predict, "compute": _compute, "run": _run, "defend": _defend,
}  # fmt: skip


def _randomness(lesson: Lesson, title: str, seed: int) -> random.Random:
    return random.Random(f"{seed} {lesson.name} {slug(title)}")


def _draw(choice: Any, numbers: random.Random) -> Any:
    """One of a list, a whole number of a range such as "16..64", or the value itself."""
    if isinstance(choice, list):
        return numbers.choice(choice)
    if isinstance(choice, str) and (span := re.fullmatch(r"(\d+)\.\.(\d+)", choice)):
        return numbers.randint(int(span[1]), int(span[2]))
    return choice


def _number(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text)
