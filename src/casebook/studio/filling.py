"""Makes the small pictures of the grid before somebody scrolls to them, while nothing else wants the machine."""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from ..errors import CasebookError
from ..files import write_json
from .documents import read_json
from .jobs import ACTIVE
from .pictures import ProjectPictures

if TYPE_CHECKING:
    from .app import Studio

SIDE = 128  # what the grid asks for
QUIET_SECONDS = 3.0  # since a page asked for a picture
LOOK_SECONDS = 1.0  # between two looks whether there is something to do
MOST_PICTURES = 200_000  # of a project; the rest would push others out of the store
KEPT_EVERY = 500  # pictures
FILE = "filled.json"


class Filling:
    """Goes through the pictures of the projects that were opened since the start, in the order of their numbers.

    It uses at most half of one core, pauses while a job runs or a page looks at pictures, and goes on where it stopped,
    also after a restart.
    """

    def __init__(self, studio: "Studio"):
        self._studio = studio
        self._next: dict[str, int] = {}
        """Project -> the number of the next picture."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began = time.monotonic()
            has_made = self.is_quiet() and await self.step()
            await asyncio.sleep(time.monotonic() - began if has_made else LOOK_SECONDS)

    def is_quiet(self) -> bool:
        studio = self._studio
        is_looked_at = time.monotonic() - studio.last_look < QUIET_SECONDS
        return not is_looked_at and not any(job.state.state in ACTIVE for job in studio.jobs.all())

    async def step(self) -> bool:
        """Makes one picture; False where there is none to make."""
        found = next((one for one in self._studio.opened() if self._number(one) < self._end(one)), None)
        if found is None or self._studio.thumbnails.is_full:
            return False
        await asyncio.get_running_loop().run_in_executor(self._studio.thumbnails.pool, self._make, found)
        return True

    def _make(self, pictures: ProjectPictures) -> None:
        number, source = self._number(pictures), pictures.source
        row = pictures.find_row(number)
        if row is not None:
            with contextlib.suppress(CasebookError, OSError, IndexError):  # a page that asks for it says what is wrong
                self._studio.thumbnails.get(source, row, SIDE)
        self._next[pictures.project.id] = number + 1
        if (number + 1) % KEPT_EVERY == 0 or number + 1 == self._end(pictures):
            with contextlib.suppress(CasebookError):
                write_json(self._studio.projects.path(pictures.project.id) / FILE, {"pictures": number + 1})

    def _number(self, pictures: ProjectPictures) -> int:
        id = pictures.project.id
        if id not in self._next:
            kept = read_json(self._studio.projects.path(id) / FILE)
            known = kept.get("pictures") if isinstance(kept, dict) else 0
            self._next[id] = known if isinstance(known, int) else 0
        return self._next[id]

    def _end(self, pictures: ProjectPictures) -> int:
        return min(len(pictures.names), MOST_PICTURES)
