"""A classifier's parts -> a folder for a web server, or one HTML file that opens without one."""

import base64
import gzip
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image, ImageDraw

from ...errors import RunError
from ...files import write_atomically
from .runtime import VERSION, Runtime

WORKER = ("resize.js", "png16.js", "decode.js", "unsure.js", "worker.js")  # in the order of their imports
ICON_SIDES = (192, 512)  # what phones ask for
MARK = "app.webmanifest"  # a folder with this file is one of ours


class Golden(NamedTuple):
    """A picture's file with what Python made of it."""

    name: str
    content: bytes
    probabilities: Sequence[float]
    pixels_sha256: str
    """Of the pixels that the network saw."""


class Site(NamedTuple):
    """What a page knows: `manifest` is what its scripts read, `files` are the parts that it loads by name."""

    manifest: dict[str, Any]
    files: Mapping[str, bytes]
    golden: Sequence[Golden] = ()


class Written(NamedTuple):
    """A page that was written."""

    path: Path
    size_bytes: int


def write_web(site: Site, out: str | Path, runtime: Runtime) -> Written:
    """Writes the page: one file where `out` ends in .html, else a folder. Raises RunError where that cannot be.

    A folder is written into only where it is new, empty or an earlier page; what else lies in it stays.
    """
    out = Path(out).expanduser()
    files = {
        "worker.js": script(*WORKER).encode(),
        "onnxruntime.mjs": runtime.module,
        "onnxruntime.wasm.gz": _packed(runtime.wasm),
        "notices.txt.gz": _packed(_text("licences", "onnxruntime-third-party.txt").encode()),
        **site.files,
        **_golden_files(site.golden),
    }
    manifest = {**site.manifest, "num_golden": len(site.golden)}
    if out.suffix.lower() in (".html", ".htm"):
        page = single_file(manifest, files)
        write_atomically(out, page)
        return Written(out, len(page.encode()))
    return _write_folder(manifest, files, out)


def _golden_files(golden: Sequence[Golden]) -> dict[str, bytes]:
    files, records = {}, []
    for number, one in enumerate(golden):
        file = f"golden/{number:02d}"
        files[file] = one.content
        shares = [float(share) for share in one.probabilities]
        records.append({"name": one.name, "file": file, "probabilities": shares, "pixels_sha256": one.pixels_sha256})
    return {**files, "golden.json": json.dumps(records).encode()}


def _write_folder(manifest: dict[str, Any], files: Mapping[str, bytes], out: Path) -> Written:
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).exists():
        raise RunError(f"{out} holds other files; name a new folder, or a file that ends in .html")
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; name a folder, or a file that ends in .html")
    whole = {
        **files,
        "page.js": _text("static", "page.js").encode(),
        "style.css": _text("static", "style.css").encode(),
        **{f"icon-{side}.png": icon(side) for side in ICON_SIDES},
        MARK: json.dumps(app_manifest(manifest["name"]), indent=1).encode(),
        "index.html": _page(manifest, FOLDER_POLICY, {}).encode("utf-8", "replace"),
    }
    whole["sw.js"] = _service_worker(whole).encode()
    for name, content in whole.items():
        write_atomically(out / name, content)
    return Written(out, sum(map(len, whole.values())))


def single_file(manifest: dict[str, Any], files: Mapping[str, bytes]) -> str:
    """The page with everything inside it."""
    packed = {name: content if name.endswith(".gz") else _packed(content) for name, content in files.items()}
    embedded = {name: base64.b64encode(content).decode("ascii") for name, content in packed.items()}
    code, style = _text("static", "page.js"), _text("static", "style.css")
    policy = {
        "default-src": "'none'",
        "script-src": f"'{_digest(code)}' blob: 'wasm-unsafe-eval'",
        "style-src": f"'{_digest(style)}'",
        "img-src": "data: blob:",
        "worker-src": "blob:",
        **LOCKED,
    }
    return _page(manifest, policy, embedded, style=Markup(style), script=Markup(code))


LOCKED = {"base-uri": "'none'", "form-action": "'none'"}
FOLDER_POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "style-src": "'self'",
    "img-src": "'self' blob:",
    "connect-src": "'self'",
    "worker-src": "'self'",
    "manifest-src": "'self'",
    **LOCKED,
}


def script(*names: str) -> str:
    """Our modules as one script: in the order given, each after those that it imports."""
    text = "\n".join(_text("static", name) for name in names)
    return re.sub(r"^import .*;\n|^export (?=(async )?function )", "", text, flags=re.MULTILINE)


def app_manifest(name: str) -> dict[str, Any]:
    """What a phone reads to install the page as an app."""
    icons = [
        {"src": f"icon-{side}.png", "sizes": f"{side}x{side}", "type": "image/png", "purpose": "any maskable"}
        for side in ICON_SIDES
    ]
    return {
        "name": name, "short_name": name[:12], "start_url": "./", "scope": "./", "display": "standalone",
        "background_color": "#fbfaf7", "theme_color": "#1d6286", "icons": icons,
    }  # fmt: skip


def icon(side: int) -> bytes:
    """A PNG of a network as it is drawn on a board: ever smaller squares."""
    large = 4 * side  # drawn four times as large, for smooth edges
    picture = Image.new("RGB", (large, large), "#1d6286")
    draw = ImageDraw.Draw(picture)
    for step, share in enumerate((0.42, 0.3, 0.18)):
        centre = large * (0.41 + 0.1 * step)
        half = large * share / 2
        box = (centre - half, large - centre - half, centre + half, large - centre + half)
        draw.rounded_rectangle(box, large * 0.03, fill="#1d6286", outline="white", width=large // 36)
    out = io.BytesIO()
    picture.resize((side, side), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
    return out.getvalue()


def _page(manifest: dict[str, Any], policy: Mapping[str, str], embedded: Mapping[str, str], **parts: Markup) -> str:
    environment = Environment(
        loader=PackageLoader("casebook.deployment.web", "static"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        manifest=manifest,
        policy="; ".join(f"{key} {value}" for key, value in policy.items()),
        embedded=embedded,
        runtime_version=VERSION,
        runtime_licence=_text("licences", "onnxruntime.txt"),
        **parts,
    )


def _service_worker(files: Mapping[str, bytes]) -> str:
    """The service worker that keeps these files; another version of any of them makes another cache."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    kept: Sequence[str] = ["./", *sorted(set(files) - {"index.html"})]
    facts = json.dumps({"version": digest.hexdigest()[:16], "files": kept})
    return f"self.casebook = {facts};\n{_text('static', 'sw.js')}"


def _packed(content: bytes) -> bytes:
    """gzip, the same bytes each time."""
    return gzip.compress(content, 9, mtime=0)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _text(folder: str, name: str) -> str:
    return resources.files("casebook.deployment.web").joinpath(folder, name).read_text("utf-8")
