"""Settings enter a worker; a result leaves it. TASKS names every task; a new one is a line in its module."""

from . import check, doubt, lessons, look, make, train
from .task import Field, Task, Work

__all__ = ["TASKS", "Field", "Task", "Work"]

ALL = (
    train.TASK,
    train.PREVIEW,
    check.CHECK,
    check.SUSPECTS,
    doubt.DOUBT,
    *look.TASKS,
    *make.TASKS,
    *lessons.TASKS,
)
TASKS: dict[str, Task] = {task.name: task for task in ALL}
