import errno
import hashlib
import io
import os
from pathlib import Path

import pytest
import torch

from casebook.errors import RunError
from casebook.training.checkpoint import MAGIC, read_checkpoint, write_checkpoint


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, {"position": {"step": 3}, "network": {"w": torch.arange(5.0)}})
    return path


def test_what_is_written_is_read(written: Path) -> None:
    state = read_checkpoint(written)
    assert state["position"] == {"step": 3}
    assert torch.equal(state["network"]["w"], torch.arange(5.0))


def test_every_changed_byte_is_noticed(written: Path) -> None:
    content = written.read_bytes()
    for place in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[place] ^= 1
        written.write_bytes(damaged)
        with pytest.raises(RunError, match=r"damaged|not a checkpoint of this Casebook"):
            read_checkpoint(written)


@pytest.mark.parametrize("content", [b"", b"x", MAGIC, b"PK\x03\x04 something else"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(RunError, match="not a checkpoint of this Casebook"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_a_missing_one_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no last\.ckpt to resume from"):
        read_checkpoint(tmp_path / "last.ckpt")


class Evil:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def test_a_hostile_pickle_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save({"network": Evil()}, buffer)
    payload = buffer.getvalue()
    (tmp_path / "last.ckpt").write_bytes(MAGIC + hashlib.sha256(payload).digest() + payload)
    with pytest.raises(RunError, match="holds more than plain data"):
        read_checkpoint(tmp_path / "last.ckpt")
    assert not (tmp_path / "hacked").exists()


def test_a_full_disk_keeps_the_older_checkpoint(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*last\.ckpt: No space left on device"):
        write_checkpoint(written, {"position": {}})
    assert written.read_bytes() == before
    assert [entry.name for entry in written.parent.iterdir()] == ["last.ckpt"]
