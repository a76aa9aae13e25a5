"""Our JavaScript in Chromium, and a page whose network is a few lines of JavaScript in place of ONNX Runtime Web."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from casebook.deployment.web import Golden, Runtime, Site
from casebook.deployment.web.write import script
from casebook.preprocessing import Preprocessing

CLASSES = ("red", "green", "blue")
HERE = Path(__file__).parent
MODULE = (HERE / "network.mjs").read_bytes()


def colour_probabilities(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network in network.mjs says of (H, W, 3) uint8."""
    powers = np.exp(pixels.reshape(-1, 3).mean(0) / 64)
    return (powers / powers.sum()).astype(np.float32)


def picture(
    colour: tuple[int, int, int], format: str = "PNG", size: tuple[int, int] = (60, 40), **options: Any
) -> bytes:
    """A file with some noise over one colour."""
    noise = np.random.default_rng(0).integers(-20, 21, (size[1], size[0], 3))
    return encoded(Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)), format, **options)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime(MODULE, b"wasm")


@pytest.fixture(scope="session")
def site() -> Site:
    preprocessing = Preprocessing(size=16)
    golden = []
    for name, content in (("red.png", picture((200, 30, 30))), ("blue.jpg", picture((20, 40, 220), "JPEG"))):
        pixels = preprocessing.pixels(Image.open(io.BytesIO(content)))
        golden.append(
            Golden(name, content, colour_probabilities(pixels).tolist(), hashlib.sha256(pixels.tobytes()).hexdigest())
        )
    manifest = {
        "name": "Colours", "casebook": "1.0", "classes": list(CLASSES), "preprocessing": preprocessing.to_dict(),
        "files": {"network": "model.onnx", "kept": None}, "unsure": None,
    }  # fmt: skip
    return Site(manifest, {"model.onnx": b"network"}, golden)


Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(browser: Any) -> Iterator[Ask]:
    """`ask("x => ...", argument)` runs a function in a page that knows our modules; bytes come and go as base64."""
    page = browser.new_page()
    page.goto("about:blank")
    page.add_script_tag(
        content=script("resize.js", "png16.js", "decode.js", "unsure.js") + (HERE / "helpers.js").read_text()
    )
    yield page.evaluate
    page.close()


def base64_of(array: NDArray[np.uint8]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def pixels_of(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(base64.b64decode(text), np.uint8)
