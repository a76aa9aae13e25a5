"""Downloads from a server in this process: checksums, interruption, no network, and the formats of the files."""

import gzip
import hashlib
import http.server
import io
import struct
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from casebook.data import downloads
from casebook.data.downloads import DATA_SETS, load, read_idx
from casebook.data.sources import load_source
from casebook.errors import DataError, DownloadError
from casebook.remote import RemoteFile, fetch

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; `cut` breaks the connection after that many bytes of a file, once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"file.bin": CONTENT}
        self.ranges = True
        self.cut: int | None = None
        self.requests: list[str | None] = []  # the Range header of each

    def remote(self, name: str = "file.bin", checksum: str | None = None) -> RemoteFile:
        checksum = checksum or f"sha256:{hashlib.sha256(self.files[name]).hexdigest()}"
        return RemoteFile(name, f"http://127.0.0.1:{self.server_port}/{name}", checksum)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append(asked)
        content = self.server.files.get(self.path[1:])
        if content is None:
            return self.send_error(404)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut, self.server.cut = self.server.cut, None
        self.wfile.write(content[start:cut])
        return None

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    for name in ("CASEBOOK_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_download_and_second_time(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    path = fetch(server.remote(), tmp_path / "new" / "folder", progress=lambda *news: seen.append(news))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("file.bin", len(CONTENT), len(CONTENT))
    assert len(seen) >= 2
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]
    fetch(server.remote(), path.parent)
    assert len(server.requests) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_interrupted_download_goes_on(ranges: bool, server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut = ranges, 2_000_000
    with pytest.raises(DownloadError, match="try again to go on from there"):
        fetch(server.remote(), tmp_path)
    assert not (tmp_path / "file.bin").exists()
    assert 0 < (tmp_path / "file.bin.part").stat().st_size <= 2_000_000
    assert fetch(server.remote(), tmp_path).read_bytes() == CONTENT
    assert server.requests[1] is not None
    assert not (tmp_path / "file.bin.part").exists()


def test_complete_part_file_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(server.remote(), tmp_path).read_bytes() == CONTENT


def test_wrong_checksum_is_not_kept(server: Server, tmp_path: Path) -> None:
    wrong = server.remote(checksum="md5:" + "0" * 32)
    with pytest.raises(DownloadError, match=r"checksum md5:.*, expected md5:000.*; try again, or fetch http"):
        fetch(wrong, tmp_path)
    assert list(tmp_path.glob("file*")) == []


def test_part_of_another_file_does_not_poison(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 100)
    with pytest.raises(DownloadError, match="checksum"):
        fetch(server.remote(), tmp_path)
    assert fetch(server.remote(), tmp_path).read_bytes() == CONTENT


def test_damaged_file_in_the_cache(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match=r"has checksum .* delete it"):
        fetch(server.remote(), tmp_path)
    assert server.requests == []


def test_missing_on_the_server_and_no_server(server: Server, tmp_path: Path) -> None:
    gone = RemoteFile("none.bin", f"http://127.0.0.1:{server.server_port}/none.bin", "md5:0")
    with pytest.raises(DownloadError, match=r"cannot download .*none.bin \(Not Found\).* put it at .*none.bin"):
        fetch(gone, tmp_path)
    with pytest.raises(DownloadError, match="cannot download"):
        fetch(RemoteFile("file.bin", "http://127.0.0.1:1/file.bin", "md5:0"), tmp_path)


@pytest.mark.parametrize("variable", ["CASEBOOK_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(variable: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(DownloadError, match=r"network is switched off; fetch http.* and put it at") as caught:
        fetch(server.remote(), tmp_path)
    assert str(tmp_path / "file.bin") in str(caught.value)
    assert server.requests == []
    (tmp_path / "file.bin").write_bytes(CONTENT)  # as the message says
    assert fetch(server.remote(), tmp_path) == tmp_path / "file.bin"


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def serve(server: Server, monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, bytes]) -> None:
    """Let the data set `name` come from these files."""
    server.files |= files
    remote = tuple(server.remote(file) for file in files)
    monkeypatch.setitem(DATA_SETS, name, DATA_SETS[name]._replace(files=remote))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist(name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    train, test = generator.integers(0, 256, (6, 28, 28)), generator.integers(0, 256, (3, 28, 28))
    arrays = (train, np.arange(6), test, np.array([9, 8, 7]))
    serve(
        server,
        monkeypatch,
        name,
        {file: idx(array) for (file, _), array in zip(downloads.MNIST_FILES, arrays, strict=True)},
    )
    source = load_source(name)
    assert source.arrays is not None
    assert np.array_equal(source.arrays, np.concatenate([train, test]))
    assert [picture.label for picture in source.pictures] == [0, 1, 2, 3, 4, 5, 9, 8, 7]
    assert [picture.split for picture in source.pictures] == ["train"] * 6 + ["test"] * 3
    assert len(source.classes) == 10


def cifar_archive(labels: list[int], **members: bytes) -> bytes:
    """Six batches of two pictures, as in the binary version: a label, then the red, green and blue planes."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
            record = b"".join(
                bytes([labels[2 * number + k]]) + bytes([number]) * 1024 + bytes([k]) * 1024 + bytes([7]) * 1024
                for k in range(2)
            )
            content = members.get(name, record)
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        escaping = tarfile.TarInfo("../../escaped.txt")
        archive.addfile(escaping, io.BytesIO())
    return file.getvalue()


def test_cifar10(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    serve(server, monkeypatch, "cifar10", {downloads.CIFAR10_FILE.name: cifar_archive([*range(10), 3, 4])})
    pictures = load("cifar10")
    assert pictures.images.shape == (12, 32, 32, 3)
    assert pictures.images[9, 0, 0].tolist() == [4, 1, 7]
    assert pictures.labels.tolist() == [*range(10), 3, 4]
    assert pictures.num_train == 10
    assert not list(tmp_path.rglob("escaped.txt"))  # nothing is unpacked at all


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cifar_archive([0] * 12, data_batch_3=b"short"), "cannot be read"),
        (cifar_archive([10] * 12), "the files hold the label 10, but there are 10 classes"),
        (b"no archive", "cannot be read"),
    ],
)
def test_damaged_archive(content: bytes, message: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, monkeypatch, "cifar10", {downloads.CIFAR10_FILE.name: content})
    with pytest.raises(DataError, match=message):
        load("cifar10")


def test_idx_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "floats.gz"
    path.write_bytes(gzip.compress(struct.pack(">HBBI", 0, 0x0D, 1, 1) + b"1234"))
    with pytest.raises(ValueError, match="unsigned bytes"):
        read_idx(path)


def test_the_table_is_complete() -> None:
    for data_set in DATA_SETS.values():
        assert len(data_set.classes) == len(set(data_set.classes)) == 10
        for file in data_set.files:
            algorithm, _, digest = file.checksum.partition(":")
            assert len(digest) == {"md5": 32, "sha256": 64}[algorithm]
            assert file.url.startswith("https://")
            assert file.url.endswith(file.name)
