"""Settings enter a worker; a result leaves it. TASKS names every task; a new one is a module and a line here."""

from . import lessons, train
from .task import Field, Task, Work

__all__ = ["TASKS", "Field", "Task", "Work"]

TASKS: dict[str, Task] = {task.name: task for task in (train.TASK, train.PREVIEW, *lessons.TASKS)}
