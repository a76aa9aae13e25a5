"""Projects: a folder, a list or the digits, under an id. Clients send the id and never a path."""

import dataclasses
import json
import re
import secrets
import time
from pathlib import Path
from typing import Any

from ..data.sources import LISTS
from ..errors import DataError
from ..files import write_json
from ..runner.server.refusals import Refused
from .folders import confined
from .settings import StudioSettings

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
ID = re.compile(r"[a-z0-9]{8}")


@dataclasses.dataclass(frozen=True)
class Project:
    """What is worked on."""

    id: str
    name: str
    kind: str
    """ "folder", "list" or "digits"."""
    folder: str
    """The folder or list, below the studio's root; "" for the digits."""
    created: float
    """Seconds since 1970."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Projects:
    """The projects of one studio, on disk."""

    def __init__(self, settings: StudioSettings):
        self._settings = settings

    def all(self) -> list[Project]:
        """The newest first. A folder that is no project is left out."""
        found = [self._read(path) for path in (self._settings.state / "projects").glob("*/project.json")]
        return sorted((one for one in found if one is not None), key=lambda one: -one.created)

    def get(self, id: str) -> Project:
        """Raises Refused (404)."""
        found = self._read(self.path(id) / "project.json") if ID.fullmatch(id) else None
        if found is None:
            raise Refused(404, "no_project", f"there is no project {id[:40]!r}; choose one on the home page")
        return found

    def path(self, id: str) -> Path:
        """The folder in which the studio keeps what belongs to a project."""
        return self._settings.state / "projects" / id

    def open_folder(self, relative: str) -> Project:
        """The project of a folder or list, made where there is none. Raises DataError."""
        target = confined(self._settings.root, relative)
        is_list = target.is_file() and target.suffix.lower() in LISTS
        if not target.is_dir() and not is_list:
            raise DataError(f"{relative!r} is neither a folder nor a list; choose a folder, or a .csv or .tsv file")
        here = target.relative_to(self._settings.root).as_posix()
        name = target.name if here != "." else self._settings.root.name
        return self._open(name or "pictures", "list" if is_list else "folder", here)

    def open_digits(self) -> Project:
        """The project of the built-in digits."""
        return self._open("digits", "digits", "")

    def data(self, project: Project) -> str:
        """What `casebook train` takes for this project: the studio's list of labels where there is one."""
        if project.kind == "digits":
            return "digits"
        labels = self.labels(project)
        return str(labels if labels.is_file() else self.folder(project))

    def folder(self, project: Project) -> Path:
        """The project's folder or list of pictures; not for the digits. Raises DataError where it is gone."""
        return confined(self._settings.root, project.folder)

    def labels(self, project: Project) -> Path:
        """Where the project's list of labels is written, beside its data; it may not exist yet."""
        target = self.folder(project)
        if target == self._settings.root:  # what lies beside the root is outside
            return target / f"{target.name}-labels.csv"
        return target.with_name(f"{target.stem if project.kind == 'list' else target.name}-labels.csv")

    def _open(self, name: str, kind: str, folder: str) -> Project:
        for known in self.all():
            if (known.kind, known.folder) == (kind, folder):
                return known
        id = "".join(secrets.choice(ALPHABET) for _ in range(8))
        project = Project(id, name, kind, folder, time.time())
        write_json(self.path(id) / "project.json", project.to_dict())
        return project

    def _read(self, path: Path) -> Project | None:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            project = Project(**{field.name: document[field.name] for field in dataclasses.fields(Project)})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return project if project.id == path.parent.name and ID.fullmatch(project.id) else None
