"""What decoders written in C print to stderr, kept out of the terminal and kept with the name of the picture.

libjpeg and libpng inside OpenCV print warnings about odd files and go on. They have no other way to report them.
"""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2
WORDS = re.compile(  # how these libraries begin a line; other lines come from other threads and are passed on
    rb"(?:Corrupt JPEG|Premature end|Invalid SOS|Inconsistent progression|Unknown Adobe|Unsupported marker|"
    rb"Application transferred|Warning: |libpng |\[ ?(?:WARN|ERROR):)[^\n]*\n"
)

_lock = threading.Lock()
_decoding: list[str] = []  # names of the pictures that are being decoded
_file = -1  # what stands in for stderr meanwhile
_terminal = -1  # where stderr really goes
_messages: dict[str, str] = {}


@contextmanager
def caught(name: str) -> Iterator[None]:
    """Catches what is printed while the picture `name` is decoded; `take` gives it. Works in several threads."""
    global _file, _terminal
    with _lock:
        if not _decoding:
            try:
                if _file < 0:
                    with tempfile.TemporaryFile() as file:
                        _file = os.dup(file.fileno())  # kept for the next picture
                _terminal = os.dup(STDERR)
                os.dup2(_file, STDERR)
            except OSError:  # there is no stderr, so nothing can land there
                _terminal = -1
        _decoding.append(name)
    try:
        yield
    finally:
        with _lock:
            if _terminal >= 0:
                _collect()
            _decoding.remove(name)
            if not _decoding and _terminal >= 0:
                os.dup2(_terminal, STDERR)
                os.close(_terminal)
                _terminal = -1


def _collect() -> None:
    """Sorts what has been printed so far: warnings go to the pictures under way, anything else to the terminal."""
    if not (count := os.lseek(_file, 0, os.SEEK_CUR)):
        return
    os.lseek(_file, 0, os.SEEK_SET)
    text = os.read(_file, count)
    os.lseek(_file, 0, os.SEEK_SET)
    os.ftruncate(_file, 0)
    if found := WORDS.findall(text):
        line = found[0].decode(errors="replace").strip()
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        _messages.setdefault(" or ".join(sorted(set(_decoding))), line + more)
    if rest := WORDS.sub(b"", text):
        os.write(_terminal, rest)


def take() -> tuple[tuple[str, str], ...]:
    """(name of the picture, first line) of what decoders have printed in this process since the last call."""
    with _lock:
        taken = tuple(_messages.items())
        _messages.clear()
    return taken


def _forget() -> None:
    """A forked process decodes nothing yet, and must not share the file with its parent."""
    global _lock, _file, _terminal
    if _terminal >= 0:
        os.dup2(_terminal, STDERR)
        os.close(_terminal)
    if _file >= 0:
        os.close(_file)
    _lock, _file, _terminal = threading.Lock(), -1, -1
    _decoding.clear()
    _messages.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
