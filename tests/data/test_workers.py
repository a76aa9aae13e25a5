import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from casebook.data import workers as module
from casebook.data.workers import PREFETCH, WorkerDied, Workers, one_opencv_thread, shared_memory
from casebook.errors import PictureError

NUMBERS = range(30)
BATCH_BYTES = 2 * 3 * 3


def read(key: int) -> tuple[np.ndarray, Any]:
    """(key % 3, 3, 3) images of the key's value, and the process that made them."""
    if key == 1000:
        raise PictureError("cat.jpg", "not a picture")
    if key == 1001:
        raise ValueError(lambda: "cannot be pickled")
    if key == 1002:
        os.kill(os.getpid(), signal.SIGKILL)
    if key == 1003:
        return np.zeros((1, 3, 3), np.uint8), lambda: "cannot be pickled"
    return np.full((key % 3, 3, 3), key, np.uint8), os.getpid()


@pytest.fixture
def workers() -> Iterator[Workers]:
    started = Workers(read, 2, BATCH_BYTES)
    yield started
    started.close()


def seen(workers: Workers, keys: Any = NUMBERS) -> list[np.ndarray]:
    return [images.copy() for images, _ in workers.batches(keys)]


def assert_right(found: list[np.ndarray], keys: Any = NUMBERS) -> None:
    assert len(found) == len(keys)
    for images, key in zip(found, keys, strict=True):
        assert np.array_equal(images, read(key)[0])


def test_batches_come_in_order_from_all_workers(workers: Workers) -> None:
    for _ in range(2):
        pids = [rest for _, rest in workers.batches(NUMBERS)]
        assert pids == [workers.pids[key % 2] for key in NUMBERS]
        assert_right(seen(workers))
    assert_right(seen(workers, [7]), [7])
    assert seen(workers, []) == []


def test_images_come_through_shared_memory_or_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "shared_memory", lambda *sizes: None)
    piped = Workers(read, 2, BATCH_BYTES)
    assert not piped.shares_memory
    assert_right(seen(piped))
    piped.close()


def test_a_batch_larger_than_its_slot_comes_over_the_pipe() -> None:
    small = Workers(read, 1, 9)
    assert small.shares_memory
    assert_right(seen(small))
    small.close()


def test_images_of_a_batch_are_not_overwritten_while_they_are_used(workers: Workers) -> None:
    for (images, _), key in zip(workers.batches(NUMBERS), NUMBERS, strict=True):
        time.sleep(0.002)  # the workers go on with what was ordered
        assert np.array_equal(images, read(key)[0])


def test_an_iteration_that_ends_early_leaves_nothing_behind(workers: Workers) -> None:
    iterator = workers.batches(NUMBERS)
    for _ in range(3):
        next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert_right(seen(workers, range(5, 25)), range(5, 25))


def test_large_batches_and_many_keys_do_not_lock_up() -> None:
    big = Workers(big_read, 2, 1)
    keys = [np.arange(100_000)] * (PREFETCH * 3)  # far more than a pipe holds, in both directions
    assert [int(rest[-1]) for _, rest in big.batches(keys)] == [99_999] * len(keys)
    big.close()


def big_read(key: np.ndarray) -> tuple[np.ndarray, Any]:
    return np.zeros(500_000, np.uint8), key


def test_errors_of_reading_are_raised_here(workers: Workers) -> None:
    with pytest.raises(PictureError, match="not a picture") as caught:
        seen(workers, [0, 1000, 2])
    assert caught.value.name == "cat.jpg"
    assert_right(seen(workers))  # and the workers go on
    with pytest.raises(RuntimeError, match="ValueError"):
        seen(workers, [1001])


def test_a_worker_that_cannot_send_is_noticed(workers: Workers) -> None:
    with pytest.raises(Exception, match="pickle"):
        seen(workers, [1003])
    assert_right(seen(workers))


def test_a_dead_worker_is_noticed_with_its_cause(workers: Workers) -> None:
    with pytest.raises(WorkerDied, match=r"process \d+ was killed by signal 9"):
        seen(workers, [0, 1002, 3])


def test_a_worker_that_dies_while_it_is_idle_is_noticed(workers: Workers) -> None:
    os.kill(workers.pids[1], signal.SIGKILL)
    with pytest.raises(WorkerDied, match="signal 9"):
        seen(workers)


def test_workers_end_when_they_are_closed_even_if_they_are_stuck() -> None:
    stuck = Workers(sleep, 1, 1)
    iterator = stuck.batches([0])
    process = stuck._processes[0]
    with pytest.raises(ZeroDivisionError):
        interrupted(iterator)
    stuck.close()
    assert not process.is_alive()
    assert stuck.pids == []


def sleep(key: int) -> tuple[np.ndarray, Any]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN) if key else None
    time.sleep(600)
    raise AssertionError


def interrupted(iterator: Iterator[Any]) -> None:
    """Asks for a batch and raises from a signal handler while it waits."""
    before = signal.signal(signal.SIGALRM, lambda *_: 1 // 0)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        next(iterator)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_workers_end_when_their_parent_is_killed() -> None:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe()
    parent = context.Process(target=be_a_parent, args=(sender,))
    parent.start()
    pids = receiver.recv()
    parent.kill()
    parent.join()
    for pid in pids:
        for _ in range(200):
            if not is_running(pid):
                break
            time.sleep(0.05)
        assert not is_running(pid)


def be_a_parent(sender: Any) -> None:
    workers = Workers(read, 3, BATCH_BYTES)
    sender.send(workers.pids)
    time.sleep(60)


def is_running(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/stat").open() as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_do_not_inherit_signal_handlers_or_threads() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        workers = Workers(state, 1, 1)
    finally:
        signal.signal(signal.SIGTERM, before)
    ((_, found),) = workers.batches([0])
    workers.close()
    assert found == (signal.SIG_IGN, signal.SIG_DFL, 1, 1)


def state(key: int) -> tuple[np.ndarray, Any]:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    return np.zeros(1, np.uint8), (*handlers, torch.get_num_threads(), cv2.getNumThreads())


def test_workers_leave_opencvs_threads_as_they_are() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        with one_opencv_thread():
            assert cv2.getNumThreads() == 1
        Workers(read, 1, 1).close()
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_no_process_is_left_when_one_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    process = type(multiprocessing.get_context().Process(target=print))
    original, started = process.start, []

    def start(self: Any) -> None:
        if started:
            raise BlockingIOError("Resource temporarily unavailable")
        started.append(self)
        original(self)

    monkeypatch.setattr(process, "start", start)
    with pytest.raises(OSError, match="temporarily"):
        Workers(read, 2, 1)
    started[0].join(10)
    assert not started[0].is_alive()


def test_shared_memory_that_the_system_refuses_is_none() -> None:
    found = shared_memory(2, 3, 5)
    assert found is not None
    assert found.shape == (2, 3, 5)
    assert shared_memory(1, 1, 1 << 62) is None


def test_workers_start_small_and_are_looked_at_before_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is forked amid a training would else count what the last step has freed as its own."""
    calls = []
    monkeypatch.setattr(module, "release_memory", lambda: calls.append(len(multiprocessing.active_children())))
    monkeypatch.setattr(module, "look_at_children", lambda: calls.append(len(multiprocessing.active_children())))
    before = len(multiprocessing.active_children())
    Workers(read, 1, BATCH_BYTES).close()
    assert calls == [before, before + 1]
