import base64
import gzip
import hashlib
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from casebook.deployment.web import Runtime, Site, write_web
from casebook.errors import RunError

from .conftest import MODULE


def folder_content(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_folder_holds_all_that_the_page_loads(site: Site, runtime: Runtime, tmp_path: Path) -> None:
    written = write_web(site, tmp_path / "page", runtime)
    content = folder_content(written.path)
    assert sum(map(len, content.values())) == written.size_bytes
    assert content["onnxruntime.mjs"] == MODULE
    assert gzip.decompress(content["onnxruntime.wasm.gz"]) == b"wasm"
    assert content["model.onnx"] == b"network"
    expected = json.loads(content["golden.json"])
    assert [(one["name"], content[one["file"]]) for one in expected] == [(one.name, one.content) for one in site.golden]
    facts = json.loads(re.match(r"self\.casebook = (.*);\n", content["sw.js"].decode()).group(1))  # type: ignore[union-attr]
    assert sorted(facts["files"]) == sorted(["./", *(set(content) - {"index.html", "sw.js"})])
    app = json.loads(content["app.webmanifest"])
    assert app["name"] == "Colours"
    for one in app["icons"]:
        assert "{}x{}".format(*Image.open(io.BytesIO(content[one["src"]])).size) == one["sizes"]


def test_the_same_classifier_gives_the_same_bytes_and_another_one_another_version(
    site: Site, runtime: Runtime, tmp_path: Path
) -> None:
    first, second = (folder_content(write_web(site, tmp_path / name, runtime).path) for name in ("a", "b"))
    assert first == second
    other = site._replace(files={"model.onnx": b"changed"})
    assert folder_content(write_web(other, tmp_path / "b", runtime).path)["sw.js"] != first["sw.js"]


def test_a_folder_with_other_files_is_left_alone(site: Site, runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(RunError, match="holds other files"):
        write_web(site, tmp_path, runtime)
    with pytest.raises(RunError, match="is a file"):
        write_web(site, tmp_path / "thesis.txt", runtime)
    assert folder_content(tmp_path) == {"thesis.txt": b"three years of work"}


def test_one_file_holds_everything_and_allows_only_its_own_script(site: Site, runtime: Runtime, tmp_path: Path) -> None:
    written = write_web(site, tmp_path / "page.html", runtime)
    html = written.path.read_text("utf-8")
    assert written.size_bytes == len(html.encode())
    embedded = dict(re.findall(r'id="file:([^"]+)">([^<]*)</script>', html))
    parts = {name: gzip.decompress(base64.b64decode(text)) for name, text in embedded.items()}
    assert parts["model.onnx"] == b"network"
    assert parts["onnxruntime.mjs"] == MODULE
    assert "self.onmessage" in parts["worker.js"].decode()
    code = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(code) == 1
    digest = base64.b64encode(hashlib.sha256(code[0].encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in html
    assert "connect-src" not in html
    assert not re.search(r'(src|href)="(?!data:,|https://onnxruntime\.ai)', html)


def test_a_class_cannot_break_out_of_the_page(site: Site, runtime: Runtime, tmp_path: Path) -> None:
    evil = "</script><script>document.title = 'owned'</script>"
    manifest = site.manifest | {"name": evil, "classes": [evil, "b", "c"]}
    html = write_web(site._replace(manifest=manifest), tmp_path / "page.html", runtime).path.read_text("utf-8")
    assert evil not in html
    assert html.count("<script>") == 1
