"""What tasks on runs and pictures have in common: the run, and the pictures that a page named."""

from pathlib import Path
from typing import Any

from ...data.decode import open_picture
from ...errors import DataError, RunError
from ..pictures import ProjectPictures
from .task import Field, Work

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}"
RUN = Field(str, required=True, pattern=NAME)
UPLOADS = Field(list, least=0, most=64, items=Field(str, pattern=r"[0-9a-f]{32}"))
NUMBERS = Field(list, least=0, most=64, items=Field(int, least=0, most=10**9))


def run_path(work: Work, name: str) -> Path:
    """The run, from the root, which is the worker's folder. Raises RunError for one that is not there."""
    path = work.studio.runs / name
    if not (path / "model.json").is_file() or path.resolve() != path:
        raise RunError(f"there is no run {name!r}; the home page lists those that there are")
    return Path("runs") / name


def files_folder(work: Work) -> Path:
    """Where the job leaves the files that a page may show."""
    folder = work.folder / "files"
    folder.mkdir(exist_ok=True)
    return folder


def pictures_of(work: Work) -> list[Any]:
    """The files or pictures named by "uploads" (dropped on the page) and "pictures" (numbers in the project).

    Raises DataError for one that is not there, and PictureError for one that cannot be decoded.
    """
    found: list[Any] = []
    for id in work.settings.get("uploads", ()):
        path = work.studio.state / "uploads" / id
        if not path.is_file():
            raise DataError("a dropped picture is not here any more; drop it again")
        found.append(open_picture(path, name="the dropped picture"))
    if numbers := work.settings.get("pictures", ()):
        if work.project is None:
            raise DataError("this job needs a project; open a folder first")
        project = ProjectPictures(work.studio, work.projects, work.project, keep=False)
        for number in numbers:
            if (row := project.find_row(number)) is None:
                raise DataError(f"there is no picture {number}; the project has {len(project.source)}")
            path = project.source.path(row)
            found.append(project.source.open(row) if path is None else str(path))
    if not found:
        raise DataError("choose at least one picture")
    return found
