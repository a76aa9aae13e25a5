"""How many pictures, and how many bytes of bodies, are inside the server at once."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .refusals import overloaded
from .settings import Limits

LONGEST_RETRY = 60  # seconds


class Admission:
    """Lets requests in while there is room. Used on the event loop only, so it needs no lock."""

    def __init__(self, limits: Limits, seconds_per_picture: Callable[[], float] = lambda: 0.0):
        self._limits, self._seconds_per_picture = limits, seconds_per_picture
        self.pictures = self.num_bytes = 0

    @contextmanager
    def admitted(self) -> Iterator["Share"]:
        """Room for a request with one picture. Raises Refused (503) with the seconds until there should be room."""
        share = Share(self)
        try:
            share.take(pictures=1)
            yield share
        finally:
            self.pictures -= share.pictures
            self.num_bytes -= share.num_bytes

    def take(self, pictures: int, num_bytes: int) -> None:
        retry = min(max(1, math.ceil(self.pictures * self._seconds_per_picture())), LONGEST_RETRY)
        if self.pictures + pictures > self._limits.queue:
            raise overloaded(f"{self.pictures} pictures are waiting; try again in {retry} s", retry)
        if self.num_bytes + num_bytes > self._limits.total_bytes:
            raise overloaded(f"requests hold all the memory they may; try again in {retry} s", retry)
        self.pictures += pictures
        self.num_bytes += num_bytes


class Share:
    """What one request holds; it is given back when the request ends."""

    def __init__(self, admission: Admission):
        self._admission = admission
        self.pictures = self.num_bytes = 0

    def take(self, *, pictures: int = 0, num_bytes: int = 0) -> None:
        """Raises Refused (503) where there is no room."""
        self._admission.take(pictures, num_bytes)
        self.pictures += pictures
        self.num_bytes += num_bytes
