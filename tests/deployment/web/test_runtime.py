import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from casebook.deployment.web import runtime
from casebook.errors import DownloadError
from casebook.files import cache_folder
from casebook.remote import RemoteFile

FILES = {runtime.MODULE: b"module", runtime.WASM: b"wasm"}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runtime, "SHA256", {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()})
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))


def folder(path: Path, **changed: bytes) -> Path:
    path.mkdir()
    for name, content in FILES.items():
        (path / name).write_bytes(changed.get(Path(name).suffix[1:], content))
    return path


def test_the_files_come_from_a_folder(tmp_path: Path) -> None:
    assert runtime.onnxruntime_web(folder(tmp_path / "dist")) == (b"module", b"wasm")


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DownloadError, match=r"ort-wasm-simd-threaded\.wasm of .* has SHA-256 .*npm pack onnxruntime-web@"
    ):
        runtime.onnxruntime_web(folder(tmp_path / "dist", wasm=b"other"))


def test_a_folder_without_the_files_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="node_modules/onnxruntime-web/dist"):
        runtime.onnxruntime_web(tmp_path)


def test_the_files_come_from_the_package_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    checksum = f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}"
    monkeypatch.setattr(runtime, "PACKAGE", RemoteFile("web.tgz", "https://example.invalid/web.tgz", checksum))
    with pytest.raises(DownloadError, match="the network is switched off"):
        runtime.onnxruntime_web()
    place = cache_folder() / "downloads" / "web.tgz"
    place.parent.mkdir(parents=True)
    place.write_bytes(out.getvalue())
    assert runtime.onnxruntime_web() == (b"module", b"wasm")
