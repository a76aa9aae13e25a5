"""Writes the pages of the lessons, the wanted one first."""

from collections.abc import Mapping
from typing import Any

from ...files import write_atomically
from ...progress import Advanced
from ..lessons import NAMES, pages_folder
from .task import Field, Task, Work


def run(work: Work) -> Mapping[str, Any]:
    from ...lessons import COMPANIONS
    from ...lessons.pages import companion_page, lesson_page
    from ...lessons.source import read_lesson

    folder, first = pages_folder(work.studio), work.settings["lesson"]
    names = [first, *(name for name in NAMES if name != first)]
    for done, name in enumerate(names, 1):
        path = folder / f"{name}.html"
        if not path.is_file():
            content = companion_page(name) if name in COMPANIONS else lesson_page(read_lesson(name), 0)
            write_atomically(path, content)
        work.report(Advanced("lessons", done, len(names)))
    return {"written": len(names)}


TASKS = (Task("lessons", "writing the lessons", run, {"lesson": Field(str, required=True, choices=NAMES)},
              needs_project=False),)  # fmt: skip
