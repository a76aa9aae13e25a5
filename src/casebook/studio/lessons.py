"""The pages of the lessons: written by a job, since their drawings need torch, and kept until the lessons change."""

import functools
import hashlib
from pathlib import Path

import casebook

from ..lessons import COMPANIONS, LESSONS
from ..lessons.source import docs_folder, markdown, read_lesson
from .settings import StudioSettings

NAMES = (*LESSONS, *COMPANIONS)


def pages_folder(settings: StudioSettings) -> Path:
    """Where the pages of these lessons lie, or will lie."""
    return settings.state / "lessons" / _edition()


def lesson_list() -> list[dict[str, str]]:
    """Name, title and first paragraph of each lesson."""
    found = map(read_lesson, LESSONS)
    return [{"name": lesson.name, "title": lesson.title, "lead": plain(lesson.lead)} for lesson in found]


def written(settings: StudioSettings) -> list[str]:
    """The names whose pages can be shown."""
    folder = pages_folder(settings)
    return [name for name in NAMES if (folder / f"{name}.html").is_file()]


def plain(text: str) -> str:
    """Markdown without its markup."""
    pieces = (child for token in markdown().parse(text) for child in token.children or ())
    return " ".join("".join(" " if one.type == "softbreak" else one.content for one in pieces).split())


@functools.cache
def _edition() -> str:
    """Another one for each version and each text of the lessons."""
    digest = hashlib.sha256(casebook.__version__.encode())
    folder = docs_folder()
    for path in [*(folder / f"{name}.md" for name in COMPANIONS), *sorted((folder / "lessons").glob("*.md"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
