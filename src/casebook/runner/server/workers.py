"""Several processes that accept from one socket. Needs fork, so it works on Linux and macOS."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

from ...errors import CasebookError, ServerError

FAILED = 3  # exit code of a worker that cannot serve its bundles: starting it again would not help
RESTART_SECONDS = 1.0
FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP")


def supervise(work: Callable[[int], None], workers: int) -> None:
    """Runs `work(number)` in each of the workers, starts a crashed one again, and passes signals on.

    Returns when all have ended after SIGTERM or SIGINT. Raises ServerError where a worker cannot serve.
    """
    if not hasattr(os, "fork"):
        raise ServerError("several workers need Linux or macOS; start one server for each port instead")
    running: dict[int, int] = {}  # process id -> number of the worker
    stopping = failed = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        _send(running, signal.SIGTERM)

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: lambda *_: _send(running, signal.SIGHUP)}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        for number in range(workers):
            running[_start(work, number)] = number
        while running:
            pid, status = os.wait()
            number = running.pop(pid, None)
            if number is None or stopping:
                continue
            if os.waitstatus_to_exitcode(status) == FAILED:
                failed = True
                stop()
                continue
            print(f"worker {number} ended unexpectedly; starting it again", file=sys.stderr, flush=True)
            time.sleep(RESTART_SECONDS)
            if not stopping:
                running[_start(work, number)] = number
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if failed:
        raise ServerError("a worker could not serve the bundles; its message is above")


def _send(running: dict[int, int], number: int) -> None:
    for pid in running:
        os.kill(pid, number)


def _start(work: Callable[[int], None], number: int) -> int:
    """The process id of a new worker. Signals wait until it has handlers of its own."""
    ours = [getattr(signal, name) for name in FORWARDED]
    signal.pthread_sigmask(signal.SIG_BLOCK, ours)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
        return pid
    code = 1
    try:
        for one in ours:
            # A reload that comes before the worker can hear it has nothing to do: the worker reads the bundles now.
            signal.signal(one, signal.SIG_IGN if one == signal.SIGHUP else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
        work(number)
        code = 0
    except CasebookError as error:
        print(f"Error: {error}", file=sys.stderr)
        code = FAILED
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
