import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from casebook.deployment.web import runtime
from casebook.errors import DownloadError
from casebook.files import cache_folder

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


def package() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def place() -> Path:
    return cache_folder() / "downloads" / runtime.PACKAGE


def test_the_files_come_from_the_package_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    content = package()
    monkeypatch.setattr(runtime, "PACKAGE_SHA256", hashlib.sha256(content).hexdigest())
    with pytest.raises(DownloadError, match=r"the network is switched off; run 'npm pack"):
        runtime.onnxruntime_web()
    place().parent.mkdir(parents=True)
    place().write_bytes(content)
    assert runtime.onnxruntime_web() == (b"module", b"wasm")
    place().write_bytes(content + b"x")
    with pytest.raises(DownloadError, match="delete it and try again"):
        runtime.onnxruntime_web()


NPM = """#!/bin/sh
# npm pack onnxruntime-web@VERSION --ignore-scripts --pack-destination FOLDER
[ "$1" = pack ] && [ "$4" = --pack-destination ] || exit 2
{body}
"""


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """`npm(body)` puts a program of that name first on the path, and switches the network on."""
    monkeypatch.setattr(runtime, "offline", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "bin").mkdir()
    (tmp_path / "package.tgz").write_bytes(package())
    monkeypatch.setattr(runtime, "PACKAGE_SHA256", hashlib.sha256(package()).hexdigest())

    def write(body: str) -> None:
        program = tmp_path / "bin" / "npm"
        program.write_text(NPM.format(body=body.format(here=tmp_path, name=runtime.PACKAGE)))
        program.chmod(0o755)

    return write


def test_npm_fetches_the_package_once(npm: Callable[[str], None]) -> None:
    npm('cp {here}/package.tgz "$5/{name}"')
    assert runtime.onnxruntime_web() == (b"module", b"wasm")
    npm("exit 1")
    assert runtime.onnxruntime_web() == (b"module", b"wasm")
    assert [path.name for path in place().parent.iterdir()] == [runtime.PACKAGE]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'npm error code ENOTFOUND' >&2; exit 1", "npm cannot fetch .*: npm error code ENOTFOUND; run"),
        ("exit 0", "it gave no file"),
        ('echo other > "$5/{name}"', "with SHA-256 .* expected"),
    ],
)
def test_what_npm_cannot_give_leaves_nothing(npm: Callable[[str], None], body: str, message: str) -> None:
    npm(body)
    with pytest.raises(DownloadError, match=message):
        runtime.onnxruntime_web()
    assert not list(place().parent.iterdir())


def test_without_npm_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "offline", lambda: False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DownloadError, match=r"npm, which would fetch it, is not installed; run .*--onnxruntime-web"):
        runtime.onnxruntime_web()
