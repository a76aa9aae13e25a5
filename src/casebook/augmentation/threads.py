"""OpenCV's threads, which belong to the whole process."""

import contextlib
from collections.abc import Iterator

import cv2


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Inside the block OpenCV works in the calling thread alone.

    Its thread pool spins between calls, and a fork does not copy the pool: a worker would wait for it forever.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
