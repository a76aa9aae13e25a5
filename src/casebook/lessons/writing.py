"""Lessons -> files of a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import DataError
from ..files import write_atomically
from . import COMPANIONS, LESSONS
from .exercises import prepared
from .marking import write_form
from .notebook import notebook
from .pages import companion_page, index_page, lesson_page
from .slides import slides_page
from .source import Lesson, read_lesson

FORMATS: dict[str, tuple[str, Callable[[Lesson, int], str]]] = {
    "html": (".html", lesson_page),
    "slides": (".slides.html", slides_page),
    "ipynb": (".ipynb", notebook),
}
"""Format -> the end of a file's name, and what writes it."""


def write_lessons(
    folder: str | Path, names: Sequence[str] = LESSONS, format: str = "html", seed: int = 0
) -> list[Path]:
    """Writes the lessons and an empty answers.toml for them, and gives the paths of what was written.

    With "html" come the pages that the lessons link to. A file of answers that exists already is left as it is.
    Raises DataError for an unknown lesson or format.
    """
    if format not in FORMATS:
        raise DataError(f"unknown format {format!r}; there are {', '.join(FORMATS)}")
    ending, write = FORMATS[format]
    folder, written = Path(folder), {}
    for name in names:
        written[f"{name}{ending}"] = write(read_lesson(name), seed)
    if format == "html":
        others = [name for name in LESSONS if name not in names]
        written |= {f"{name}.html": lesson_page(read_lesson(name), seed) for name in others}
        written |= {f"{name}.html": companion_page(name) for name in COMPANIONS}
        written["index.html"] = index_page(seed)
    for name, content in written.items():
        write_atomically(folder / name, content)
    paths = [folder / name for name in written]
    form = folder / "answers.toml"
    return [*paths, form] if write_form(form, list(names), seed) else paths


def lesson_text(lesson: Lesson, seed: int) -> str:
    """The lesson as Markdown with this reader's numbers, its answers at the end."""
    pieces, answers = [f"# {lesson.title}", lesson.lead], []
    heading = ""
    for block in prepared(lesson, seed):
        if block.kind == "heading":
            heading = block.text
            text = f"{'#' * int(block.label)} {block.text}"
        elif block.kind == "text":
            text = block.text
        else:
            text = f"```{block.kind}\n{block.text.rstrip()}\n```"
        if block.is_folded:
            answers += [*([f"### {heading}"] if f"### {heading}" not in answers else []), text]
        else:
            pieces.append(text)
    return "\n\n".join([*pieces, *(["## Answers", *answers] if answers else [])]) + "\n"
