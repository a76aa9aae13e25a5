"""Fetches Preact and htm from the npm registry into static/vendor: `python -m casebook.studio.vendor`.

A browser resolves no package names, so the two imports of "preact" become "./preact.module.js"; nothing else changes.
vendor.json holds versions, licences and the SHA-256 of each file before and after; a test checks what lies there.
Preact stays at 10: htm 3.1.1 and both files' behaviour in Chromium are tested with it.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from ..files import write_atomically, write_json

VENDOR = Path(__file__).parent / "static" / "vendor"
PACKAGES = {"preact": "10.29.8", "htm": "3.1.1"}
FILES = {
    "preact.module.js": ("preact", "dist/preact.module.js"),
    "hooks.module.js": ("preact", "hooks/dist/hooks.module.js"),
    "htm.module.js": ("htm", "dist/htm.module.js"),
    "LICENSE-preact": ("preact", "LICENSE"),
    "LICENSE-htm": ("htm", "LICENSE"),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        archives = {name: _archive(name, version, Path(folder)) for name, version in PACKAGES.items()}
        document = {"packages": {}, "files": {}}
        for name, path in archives.items():
            about = json.loads(_member(path, "package.json"))
            document["packages"][name] = {
                "version": about["version"], "licence": about["license"], "archive_sha256": _sha256(path.read_bytes())
            }  # fmt: skip
        for target, (package, member) in FILES.items():
            original = _member(archives[package], member)
            content = adapted(target, original)
            write_atomically(VENDOR / target, content)
            document["files"][target] = {
                "package": package, "member": member, "original_sha256": _sha256(original), "sha256": _sha256(content)
            }  # fmt: skip
    write_json(VENDOR / "vendor.json", document)


def adapted(name: str, content: bytes) -> bytes:
    """The file as it is served: relative imports, and no pointer to a source map that is not there."""
    lines = [line for line in content.split(b"\n") if not line.startswith(b"//# sourceMappingURL=")]
    content = b"\n".join(lines)
    if name == "hooks.module.js":
        content = content.replace(b'from"preact"', b'from"./preact.module.js"')
    return content.rstrip(b"\n") + b"\n"


def _archive(name: str, version: str, folder: Path) -> Path:
    done = subprocess.run(
        ["npm", "pack", f"{name}@{version}", "--silent"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"npm pack {name}@{version} failed: {done.stderr.strip()}")
    return folder / done.stdout.strip().splitlines()[-1]


def _member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"package/{name}")
        assert file is not None
        return file.read()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    main()
