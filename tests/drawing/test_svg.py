"""The SVG writer: integers, words, colours with a fallback, and a geometry that a test can check."""

import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from casebook.drawing.svg import PALETTE, STYLES, VARIABLES, Sheet
from casebook.drawing.text import fitted, text_width, wrapped

SVG = "{http://www.w3.org/2000/svg}"


def sheet() -> Sheet:
    return Sheet(200, 100, "A title", "What one sees.")


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ground", [0, 1], ids=["light", "dark"])
def test_words_and_outlines_stand_out_from_every_fill(ground: int) -> None:
    paper = VARIABLES["paper"][ground]
    for name, colours in PALETTE.items():
        fill, edge = colours[ground]
        assert contrast(VARIABLES["ink"][ground], fill) > 7, name
        assert contrast(VARIABLES["faint"][ground], fill) > 4.5, name
        assert contrast(edge, paper) > 3, name
    assert contrast(VARIABLES["faint"][ground], paper) > 4.5
    assert contrast(VARIABLES["rule"][ground], paper) > 3


def test_a_sheet_is_a_picture_with_words() -> None:
    drawing = sheet()
    drawing.box((10, 10, 80, 40), ["3x3, 64"], "conv")
    drawing.arrow(90, 30, 120, 30)
    root = ElementTree.fromstring(drawing.svg())
    assert root.get("role") == "img"
    assert root.get("viewBox") == "0 0 200 100"
    assert [root[0].tag, root[0].text] == [f"{SVG}title", "A title"]
    assert [root[1].tag, root[1].text] == [f"{SVG}desc", "What one sees."]
    assert [text.text for text in root.iter(f"{SVG}text")] == ["3x3, 64"]
    assert not [element for element in root.iter() if element.get("id")]


def test_only_the_classes_in_use_have_rules_and_each_has_a_plain_colour() -> None:
    drawing = sheet()
    drawing.rect(0, 0, 10, 10, "pool thick clear")
    drawing.line(0, 0, 10, 10)
    style = ElementTree.fromstring(drawing.svg()).findtext(f"{SVG}style") or ""
    plain, _, live = style.partition("@supports")
    assert ".conv" not in style
    assert "var(" not in plain
    assert f".pool{{fill:{PALETTE['pool'][0][0]};stroke:{PALETTE['pool'][0][1]}" in plain
    assert f"stroke:{VARIABLES['rule'][0]}" in plain
    assert ".pool{fill:var(--cb-pool)" in live
    assert f"--cb-pool:{PALETTE['pool'][1][0]}" in live.split("prefers-color-scheme:dark")[1]
    for part in (plain, live):
        assert part.index(".pool{") < part.index(".thick{") < part.index(".clear{fill:none")  # the later one counts


def test_words_of_strangers_are_escaped() -> None:
    drawing = Sheet(300, 100, "<script>", "a & b\x00")
    with drawing.group("conv", tooltip="</title><script>", attributes={"data-name": '"><script>'}):
        drawing.text(5, 50, "</text><script>\x1b")
    root = ElementTree.fromstring(drawing.svg())
    assert "script" not in {element.tag.removeprefix(SVG) for element in root.iter()}
    assert root[1].text == "a & b\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("place", [(1.5, 0, 10, 10), (0, 0, 10, True)])
def test_coordinates_are_integers(place: tuple) -> None:
    with pytest.raises(TypeError, match="whole number"):
        sheet().rect(*place)
    with pytest.raises(ValueError, match="integers"):
        sheet().path("M 0 0 L 1.5 2")


def test_collisions_names_what_overlaps() -> None:
    drawing = sheet()
    drawing.box((10, 10, 60, 30), ["one"])
    drawing.box((70, 10, 60, 30), ["two"])  # touches
    assert drawing.collisions() == []
    drawing.rect(5, 5, 150, 60, "clear line")  # a frame without a name
    assert drawing.collisions() == []
    drawing.rect(60, 20, 20, 10, name="three")
    assert "boxes 'one' and 'three' overlap" in drawing.collisions()
    assert "boxes 'three' and 'two' overlap" in drawing.collisions()
    drawing.text(90, 28, "over two")
    assert "labels 'two' and 'over two' overlap" in drawing.collisions()


def test_collisions_sees_edges_crossed_and_places_beyond_the_sheet() -> None:
    drawing = sheet()
    drawing.rect(10, 10, 30, 30, name="box")
    drawing.text(15, 30, "a long label")
    assert drawing.collisions() == ["label 'a long label' crosses the edge of box 'box'"]
    with (other := sheet()).group(shift=(180, 0)):
        other.rect(10, 10, 20, 10, name="moved")
    assert other.collisions() == ["'moved' is beyond the sheet"]
    assert other.boxes[0][1:] == (190, 10, 210, 20)


def test_a_named_path_is_a_box_around_its_points() -> None:
    drawing = sheet()
    drawing.path("M 10 20 L 30 15 L 40 60 Z", "conv", name="prism")
    assert drawing.boxes[0] == ("prism", 10, 15, 40, 60)


def test_a_sheet_widens_to_its_words() -> None:
    drawing = sheet()
    drawing.text(150, 50, "beyond the edge")
    assert drawing.collisions() == ["'beyond the edge' is beyond the sheet"]
    assert drawing.widen(10).collisions() == []
    assert drawing.width == 150 + text_width("beyond the edge", 14) + 10


def test_a_sheet_is_pasted_with_its_places() -> None:
    drawing, other = sheet(), sheet()
    other.box((10, 10, 60, 30), ["one"], "pool")
    drawing.paste(other, (100, 40))
    assert drawing.boxes[0][1:] == (110, 50, 170, 80)
    assert ".pool" in drawing.svg()


def test_an_arrowhead_points_along_its_line() -> None:
    drawing = sheet()
    drawing.arrow(0, 50, 100, 50)
    assert 'd="M 100 50 L 91 46 L 91 54 Z"' in drawing.svg()


def test_widths_grow_with_the_text_and_bold_is_wider() -> None:
    assert text_width("", 14) == 0
    assert text_width("0000", 100) == 255  # ceil(4 x 63.6)
    assert text_width("0000", 100, bold=True) > 255
    assert text_width("汉", 10) == 10


def test_the_table_is_that_of_the_widest_typeface() -> None:
    from matplotlib import get_data_path
    from PIL import ImageFont

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 1000, layout_engine=ImageFont.Layout.BASIC)
    for code in range(32, 127):
        assert text_width(chr(code), 1000) == pytest.approx(font.getlength(chr(code)), abs=1)


def test_long_words_are_shortened_and_lines_broken() -> None:
    assert fitted("short", 100, 14) == "short"
    long = fitted("a very long name of a layer", 60, 14)
    assert long.endswith("…")
    assert text_width(long, 14) <= 60
    assert wrapped("one two three", text_width("one two", 14), 14) == ["one two", "three"]


def test_every_style_is_known_to_the_sheet() -> None:
    drawing = sheet()
    for name in (*PALETTE, *STYLES):
        drawing.rect(0, 0, 1, 1, name)
    style = drawing.svg()
    assert all(f" .{name}{{" in style for name in (*PALETTE, *STYLES))


def test_bytes_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from casebook.drawing.svg import PALETTE, STYLES, Sheet\n"
        "s = Sheet(9, 9, 't', 'd')\n"
        "for n in (*PALETTE, *STYLES): s.rect(0, 0, 1, 1, n)\n"
        "print(s.svg())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
