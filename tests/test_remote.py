"""Downloads: the reason of a failure in words."""

import socket
import urllib.error

import pytest

from casebook.errors import DownloadError
from casebook.remote import RemoteFile, fetch, reason_of


def wrapped(cause: BaseException) -> BaseException:
    try:
        raise RuntimeError("[Errno -2] something") from cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(-2, "Name or service not known"), "no network: the name of the server cannot be looked up"),
        (urllib.error.URLError(socket.gaierror(-3, "Temporary failure")), "no network: the name of the server"),
        (wrapped(socket.gaierror(-2, "Name")), "no network: the name of the server"),
        (urllib.error.URLError(TimeoutError("timed out")), "the server does not answer"),
        (urllib.error.URLError("unknown url type: x"), "unknown url type: x"),
        (OSError("the connection ended\nafter 3 bytes"), "the connection ended"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_the_reason_is_in_words(error, reason):
    assert reason_of(error).startswith(reason)
    assert "Errno" not in reason_of(error)


def test_an_unreachable_server_is_one_message(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("CASEBOOK_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    file = RemoteFile("w.pth", "https://example.org/w.pth", "sha256:00")
    with pytest.raises(DownloadError, match=r"cannot download https://example.org/w.pth \(no network: .*put it at"):
        fetch(file, tmp_path)
