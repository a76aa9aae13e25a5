"""The libraries that the pages use are the published files, with their licences."""

import hashlib
import json

import pytest

from casebook.studio.vendor import FILES, PACKAGES, VENDOR, adapted

DOCUMENT = json.loads((VENDOR / "vendor.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_the_one_that_was_vendored(name: str) -> None:
    content = (VENDOR / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == DOCUMENT["files"][name]["sha256"]


def test_nothing_else_lies_there() -> None:
    assert {path.name for path in VENDOR.iterdir()} == {*FILES, "vendor.json"}
    assert {name: about["version"] for name, about in DOCUMENT["packages"].items()} == PACKAGES
    assert {about["licence"] for about in DOCUMENT["packages"].values()} == {"MIT", "Apache-2.0"}


def test_only_the_imports_and_the_pointer_to_a_source_map_change() -> None:
    given = b'import{options as n}from"preact";var t;\n//# sourceMappingURL=hooks.module.js.map\n'
    assert adapted("hooks.module.js", given) == b'import{options as n}from"./preact.module.js";var t;\n'
    assert adapted("htm.module.js", b'export default"preact";') == b'export default"preact";\n'


def test_no_static_file_has_the_marks_of_a_merge() -> None:
    for path in VENDOR.parent.rglob("*.*s"):
        assert "\n<<<<<<<" not in path.read_text(encoding="utf-8"), path
        assert "\n>>>>>>>" not in path.read_text(encoding="utf-8"), path
