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
    """A sheet across A4, or across a slide of 1920 x 1080, shows its smallest words at about 6 points, or 12 pixels."""
    for path in FILES:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        width, height = int(root.get("width", "0")), int(root.get("height", "0"))
        smallest = min(int(text.get("font-size", "99")) for text in root.iter(f"{SVG}text"))
        upright, lying = min(190 / width, 277 / height), min(277 / width, 190 / height)  # mm for a pixel
        assert smallest * min(max(upright, lying), 25.4 / 96) * 72 / 25.4 > 5.9, path.name
        assert smallest * min(1920 / width, 1080 / height) >= 12, path.name


def test_the_gallery_stays_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000
