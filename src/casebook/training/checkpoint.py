"""The resume file `last.ckpt`: everything needed to go on as if nothing had happened, checked before use."""

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..errors import RunError
from ..files import write_atomically

MAGIC = b"casebook-checkpoint-2\n"


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Magic line, SHA-256 of the rest, torch.save's bytes; atomically, so a killed writer leaves the older one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()

    def write(file: BinaryIO) -> None:
        file.write(MAGIC)
        file.write(hashlib.sha256(payload).digest())
        file.write(payload)

    write_atomically(path, write)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Raises RunError when there is none, or when its bytes changed; a stranger's file runs no code."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise RunError(f"{path.parent}: no last.ckpt to resume from; start the training again") from error
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    head = len(MAGIC) + 32
    if not content.startswith(MAGIC) or len(content) < head:
        raise RunError(f"{path}: not a checkpoint of this Casebook ({len(content)} bytes); start the training again")
    if hashlib.sha256(memoryview(content)[head:]).digest() != content[len(MAGIC) : head]:
        raise RunError(f"{path}: damaged, its checksum does not fit; restore it from a copy or start again")
    try:
        return torch.load(io.BytesIO(memoryview(content)[head:]), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RunError(f"{path}: holds more than plain data and is not loaded; start the training again") from error
