import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import casebook
from casebook.deployment.web import Runtime, onnxruntime_web, site_of, write_web
from casebook.errors import BundleError, DownloadError
from casebook.preprocessing import Preprocessing
from casebook.runner.answers import Answerer
from casebook.runner.bundle import Bundle

RUNTIME = "CASEBOOK_ONNXRUNTIME_WEB"  # the folder dist/ of the npm package; with it the real engine is tested, too


def test_a_page_gets_the_network_and_the_golden_pictures_of_a_bundle(small_bundle: Path) -> None:
    bundle = Bundle.open(small_bundle)
    site, answerer = site_of(bundle), Answerer(bundle)
    assert site.files == {"model.onnx": bundle.read("model.onnx")}
    assert site.manifest["classes"] == list(bundle.classes)
    assert Preprocessing.from_dict(site.manifest["preprocessing"]) == bundle.preprocessing
    tiff = [one for one in bundle.manifest["golden"] if one["file"].endswith(".tif")]
    assert len(tiff) == 1
    assert len(site.golden) == len(bundle.manifest["golden"]) - 1
    for one in site.golden[:3]:
        pixels = bundle.pixels(one.content, name=one.name)
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == one.pixels_sha256
        assert np.allclose(answerer.infer(pixels[None]).probabilities[0], one.probabilities, atol=1e-5)


def test_a_network_that_the_bundle_has_not_is_refused(small_bundle: Path) -> None:
    with pytest.raises(BundleError, match="no 'int4' network; it has float32"):
        site_of(Bundle.open(small_bundle), "int4")


def test_a_runtime_of_another_version_writes_nothing(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "ort.wasm.bundle.min.mjs").write_bytes(b"")
    (tmp_path / "ort-wasm-simd-threaded.wasm").write_bytes(b"")
    with pytest.raises(DownloadError, match="SHA-256"):
        casebook.export_web(small_bundle, tmp_path / "page.html", runtime=tmp_path)
    assert not (tmp_path / "page.html").exists()


def test_the_real_engine_answers_as_python_does(browser: Any, small_bundle: Path, tmp_path: Path) -> None:
    if RUNTIME not in os.environ:
        pytest.skip(f"{RUNTIME} names no folder with onnxruntime-web")
    runtime: Runtime = onnxruntime_web(os.environ[RUNTIME])
    page = browser.new_page()
    page.goto(write_web(site_of(Bundle.open(small_bundle)), tmp_path / "page.html", runtime).path.as_uri())
    page.wait_for_selector("body[data-ready]", timeout=60_000)
    page.get_by_text("Does this browser answer as Python does?").click()
    page.get_by_role("button", name="Check").click()
    page.wait_for_selector("#check-table:not([hidden])", timeout=60_000)
    cells = [row.split("\t") for row in page.inner_text("#check-rows").splitlines()]
    assert len(cells) >= 16
    for shows, answer, difference, pixels, _ in cells:
        assert answer == "same", shows
        assert pixels == "equal" or "JPEG" in shows, shows  # at 32 pixels, Python reduces these JPEGs while decoding
        assert float(difference) <= 1e-3, shows
