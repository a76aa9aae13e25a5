"""The failures that a user can meet and act on.

Every message says what came, what was expected and what to do. The command line prints one as a single red
line and ends with code 1; any other exception is a defect of ours and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from os.path import commonprefix


class CasebookError(Exception):
    """The root of all errors below: catch it to handle whatever a user can cause."""


class DataError(CasebookError):
    """A folder, list, archive or split from which no training or evaluation can be made."""


class DownloadError(CasebookError):
    """A file that cannot be had from the network, or came damaged."""


class PictureError(CasebookError):
    """One picture that cannot be read; the others can."""

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple:  # raised in worker processes, so it must survive pickling
        return type(self), (self.name, self.reason)


class ModelError(CasebookError):
    """A network that cannot be built as asked: unknown name, impossible option or input."""


class WeightsError(CasebookError):
    """Weights that are missing, damaged, or made for another network."""


class RecipeError(CasebookError):
    """A setting of the training that is unknown, out of range, or contradicts another."""


class RunError(CasebookError):
    """A run folder that is missing or incomplete, or any file of ours that cannot be written."""


class BundleError(CasebookError):
    """A bundle that cannot be made, is damaged, or does not fit what it is asked for."""


class ServerError(CasebookError):
    """A server that cannot be started as asked."""


class Interrupted(CasebookError):
    """The user or the system asked a training to stop; its checkpoint is written."""


class DivergedError(CasebookError):
    """The training loss stopped being a number; the last good checkpoint is kept."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'resnet50'?" when a known name is close to the given one, else nothing."""
    names = list(known)
    close = get_close_matches(name, names, n=5, cutoff=0.6)
    if not close:
        return ""

    def likeness(known: str) -> tuple[float, int]:
        return SequenceMatcher(None, known, name).ratio(), len(commonprefix([known, name]))  # noqa: RUF071 - names, not paths

    return f"; did you mean '{max((n for n in names if n in close), key=likeness)}'?"
