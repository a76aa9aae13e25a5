"""The gallery: every file is a picture with words, is named on the page, and together they stay small.

That the files are fresh, whatever the hash seed, is a test of test_docs.py.
"""

from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "drawings"
FILES = sorted(FOLDER.glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_drawing_says_in_words_what_it_shows(path: Path) -> None:
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == root.get("aria-label")
    assert len(root[1].text or "") > 40
    assert "prefers-color-scheme:dark" in (root.findtext(f"{SVG}style") or "")
    assert f"]({path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_words_are_large_enough_for_paper_and_slides() -> None:
    """A sheet that fills 190 mm of A4 or 1,280 pixels of a slide shows every word at 6 points, or at 11 pixels."""
    for path in FILES:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        width, height = int(root.get("width", "0")), int(root.get("height", "0"))
        smallest = min(int(text.get("font-size", "99")) for text in root.iter(f"{SVG}text"))
        page = min(190 / width, 277 / height) if height > width else max(190 / width, min(277 / width, 190 / height))
        assert smallest * min(page, 25.4 / 96) * 72 / 25.4 >= 6, path.name
        if width > height:
            assert smallest * min(1.0, 1280 / width, 720 / height) >= 11, path.name


def test_the_gallery_stays_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000
