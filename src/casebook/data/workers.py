"""Processes that read batches ahead of the one that uses them.

Each worker has a pipe to this process. It gets its tasks over the pipe, and answers over it with everything but the
images. Forked workers hand over the images in memory that they share with this process. That memory is anonymous: it
takes no room in /dev/shm, which a container limits to 64 MB by default. Workers that are not forked, as on macOS and
Windows, send the images over the pipe too.
"""

import contextlib
import mmap
import multiprocessing
import pickle
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..augmentation.threads import one_opencv_thread
from ..device import look_at_children, release_memory

PREFETCH = 4  # batches in flight for each worker
ALIVE_SECONDS = 1.0  # between checks that a silent worker is still alive
END_SECONDS = 5.0  # a worker has for ending when it is asked to

Images = NDArray[np.uint8]
Read = Callable[[Any], tuple[Images, Any]]


class WorkerDied(Exception):
    """A worker process is gone."""


class _Answer(NamedTuple):
    """What a worker sends for one key."""

    images: Images | None  # None: they lie in the task's slot
    shape: tuple[int, ...] = ()
    rest: Any = None
    failure: Exception | None = None


class Workers:
    """`count` processes that call `read(key)`, which gives (uint8 images, anything that can be pickled).

    The images of one batch may take up to `batch_bytes` of shared memory; larger ones are sent over the pipe.

    Raises OSError when the system starts no more processes.
    """

    def __init__(self, read: Read, count: int, batch_bytes: int):
        context = multiprocessing.get_context()
        is_forked = context.get_start_method() == "fork"
        self._slots = shared_memory(count, PREFETCH, batch_bytes) if is_forked else None
        self._processes: list[Any] = []
        self._pipes: list[Connection] = []
        self._num_owed = [0] * count  # answers that a worker has not sent yet
        release_memory()  # or each forked worker would begin with what a training step has left
        try:
            for number in range(count):
                self._start(context, read, None if self._slots is None else self._slots[number])
        except BaseException:
            self.close()
            raise

    @property
    def shares_memory(self) -> bool:
        """Whether images come through shared memory."""
        return self._slots is not None

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def _start(self, context: Any, read: Read, slots: Images | None) -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(read, theirs, ours, slots), daemon=True)
        with warnings.catch_warnings(), one_opencv_thread():  # forked workers take over the number of OpenCV's threads
            # Workers only decode: they need no lock that another thread of this process may hold.
            warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
            process.start()
        theirs.close()
        self._processes.append(process)
        self._pipes.append(ours)

    def batches(self, keys: Sequence[Any]) -> Iterator[tuple[Images, Any]]:
        """What `read` gives for each key, in order. The images are valid until the next batch is asked for.

        Raises WorkerDied when a worker is gone, and whatever `read` raises.
        """
        count = len(self._pipes)
        for number in range(count):
            while self._num_owed[number]:  # the rest of an iteration that ended early
                self._receive(number)
            # All keys at once, while the worker waits for them: if both sides sent, each could wait for the other.
            self._send(number, list(keys[number::count]))
        for place in range(min(len(keys), count * PREFETCH)):
            self._order(place)
        for place in range(len(keys)):
            answer = self._receive(place % count)
            if answer.failure is not None:
                raise answer.failure
            images = self._slot(place, answer.shape) if answer.images is None else answer.images
            yield images, answer.rest
            if place + count * PREFETCH < len(keys):
                self._order(place + count * PREFETCH)

    def _slot(self, place: int, shape: tuple[int, ...]) -> Images:
        assert self._slots is not None
        turn, number = divmod(place, len(self._pipes))
        return self._slots[number, turn % PREFETCH, : int(np.prod(shape))].reshape(shape)

    def _order(self, place: int) -> None:
        turn, number = divmod(place, len(self._pipes))
        self._send(number, turn)
        self._num_owed[number] += 1

    def _send(self, number: int, message: Any) -> None:
        try:
            self._pipes[number].send(message)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise WorkerDied(self._cause_of_death(number)) from error

    def _receive(self, number: int) -> _Answer:
        pipe, process = self._pipes[number], self._processes[number]
        try:
            while not pipe.poll(ALIVE_SECONDS):
                if not process.is_alive() and not pipe.poll():
                    raise WorkerDied(self._cause_of_death(number))
            answer = pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise WorkerDied(self._cause_of_death(number)) from error
        self._num_owed[number] -= 1
        return answer

    def _cause_of_death(self, number: int) -> str:
        process = self._processes[number]
        process.join(END_SECONDS)
        code = process.exitcode
        if code is not None and code < 0:
            return f"process {process.pid} was killed by signal {-code} ({signal.strsignal(-code)})"
        return f"process {process.pid} ended with code {code}"

    def close(self) -> None:
        """Ends the processes, whatever they are doing."""
        look_at_children()
        for process in self._processes:
            process.terminate()
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(END_SECONDS)
            if process.is_alive():
                process.kill()
                process.join(END_SECONDS)
        self._processes, self._pipes = [], []


def shared_memory(count: int, prefetch: int, batch_bytes: int) -> Images | None:
    """(count, prefetch, batch_bytes) uint8 that forked processes share; None where the system refuses so much."""
    try:
        memory = mmap.mmap(-1, max(1, count * prefetch * batch_bytes))
    except (OSError, ValueError, OverflowError):
        return None
    return np.frombuffer(memory, np.uint8, count * prefetch * batch_bytes).reshape(count, prefetch, batch_bytes)


def _work(read: Read, pipe: Connection, parents_end: Connection, slots: Images | None) -> None:
    """The life of a worker. It ends with its pipe, which the system closes when the parent dies."""
    parents_end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the parent's handler
    torch.set_num_threads(1)
    if multiprocessing.get_start_method() != "fork":
        cv2.setNumThreads(1)  # after a fork this would wait for threads that are not there
    keys: list[Any] = []
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            message = pipe.recv()
            if isinstance(message, list):
                keys = message
                continue
            try:
                pipe.send(_answer(read, keys[message], None if slots is None else slots[message % PREFETCH]))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                pipe.send(_Answer(None, failure=_portable(error)))


def _answer(read: Read, key: Any, slot: Images | None) -> _Answer:
    images, rest = read(key)
    if slot is None or images.nbytes > len(slot):
        return _Answer(images, images.shape, rest)
    slot[: images.nbytes] = images.ravel()
    return _Answer(None, images.shape, rest)


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note, or one that says the same where it cannot be sent."""
    text = "".join(traceback.format_exception(error))
    error.add_note(f"raised in a worker process:\n{text}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"raised in a worker process:\n{text}")
    return error
