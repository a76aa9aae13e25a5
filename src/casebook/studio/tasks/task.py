"""What a job does: a name, its settings, and a function that runs in the worker."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import DataError, did_you_mean
from ...progress import Reporter
from ..projects import Project, Projects
from ..settings import StudioSettings


@dataclasses.dataclass(frozen=True)
class Field:
    """One setting as JSON gives it. `kind` is str, int, float, bool or list; a list is of `items`."""

    kind: type
    required: bool = False
    choices: tuple[Any, ...] = ()
    pattern: str = ""
    """The whole of a text."""
    least: float = -math.inf
    most: float = math.inf
    """Limits of a number, of the length of a text, or of the number of items."""
    items: "Field | None" = None

    def check(self, name: str, value: Any) -> Any:
        """Raises DataError."""
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.kind:
            raise DataError(f"{name} is a {type(value).__name__}, expected {self.kind.__name__}")
        if self.choices and value not in self.choices:
            hint = did_you_mean(value, self.choices) if isinstance(value, str) else ""
            shown = ", ".join(map(str, self.choices[:20]))
            raise DataError(f"{name} is {str(value)[:60]!r}{hint or ';'} expected one of {shown}")
        if self.pattern and isinstance(value, str) and not re.fullmatch(self.pattern, value):
            raise DataError(f"{name} is {value[:60]!r}, which is no such name; choose one from the list")
        size = len(value) if isinstance(value, str | list) else value
        if isinstance(size, int | float) and not isinstance(size, bool):
            most = 1000 if math.isinf(self.most) and isinstance(value, str | list) else self.most
            if not (math.isfinite(size) and self.least <= size <= most):
                raise DataError(f"{name} is {size:g}, expected {self.least:g} to {most:g}")
        if isinstance(value, list) and self.items is not None:
            return [self.items.check(f"{name}[{place}]", item) for place, item in enumerate(value)]
        return value


@dataclasses.dataclass(frozen=True)
class Work:
    """What a task gets in its worker. The working folder is the studio's root."""

    folder: Path
    """The job's own folder; files that it leaves there can be offered by an API route."""
    settings: Mapping[str, Any]
    """Checked against the task's fields."""
    project: Project | None
    studio: StudioSettings
    report: Reporter
    """Takes events of casebook.progress; the page shows them as they come."""
    attempt: int
    """1 the first time."""

    @property
    def projects(self) -> Projects:
        return Projects(self.studio)

    @property
    def data(self) -> str:
        """What `casebook train` takes for the job's project. Raises DataError without a project."""
        if self.project is None:
            raise DataError("this job needs a project; open a folder first")
        return self.projects.data(self.project)


@dataclasses.dataclass(frozen=True)
class Task:
    """`run` imports what is heavy itself, and gives what becomes the job's result.json."""

    name: str
    title: str
    """What the page calls the job, such as "training"."""
    run: Callable[[Work], Mapping[str, Any]]
    fields: Mapping[str, Field] = dataclasses.field(default_factory=dict)
    needs_project: bool = True
    is_long: bool = False
    """One long job runs at a time; beside it one short one."""
    can_resume: bool = False
    """Whether another attempt goes on where the last one stopped."""

    def check(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Raises DataError for a setting that is unknown, missing or out of range."""
        for name in settings:
            if name not in self.fields:
                raise DataError(f"{self.title} has no setting {name[:60]!r}{did_you_mean(name, self.fields)}")
        for name, field in self.fields.items():
            if field.required and name not in settings:
                raise DataError(f"{self.title} needs the setting {name!r}")
        return {name: self.fields[name].check(name, value) for name, value in settings.items() if value is not None}
