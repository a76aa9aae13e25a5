"""Networks side by side: which published figure is taken, the table, and the picture."""

import xml.etree.ElementTree as ET

import pytest

from casebook.cost.compare import claim, compare, draw, picture, table, write_page, write_picture
from casebook.errors import ModelError
from casebook.models import list_models, model_card

NAMES = ["resnet18", "resnet50", "mobilenet_v2", "googlenet", "alexnet", "resnet20"]


@pytest.fixture(scope="module")
def rows():
    return compare(NAMES)


def test_counts_are_the_cards(rows):
    for row in rows:
        card = model_card(row.name)
        assert (row.parameters, row.multiply_adds) == (card.parameters, card.multiply_adds)
        assert (row.year, row.input_size) == (card.year, card.input_size)
        assert row.peak_activation_bytes >= 4 * card.in_channels * card.input_size**2


def test_one_crop_goes_before_ten_and_the_paper_before_weights():
    resnet50 = claim(model_card("resnet50"))
    assert (resnet50.top1_error, resnet50.top5_error, resnet50.one_crop) == (24.7, 7.8, True)
    assert claim(model_card("mobilenet_v2")).source == "Table 4"
    assert claim(model_card("resnet18")).top1_error == pytest.approx(30.242)  # the paper has ten crops only
    alexnet = claim(model_card("alexnet"))
    assert not alexnet.one_crop
    assert "crop" in alexnet.refers_to or "2010" in alexnet.refers_to
    assert claim(model_card("resnet20")) is None


def test_both_errors_of_a_claim_have_one_source():
    for name in list_models():
        card, found = model_card(name), claim(model_card(name))
        if found is None:
            continue
        for which in ("top1", "top5"):
            value = getattr(found, f"{which}_error")
            figures = {
                (f.value, f.source) for f in card.published
                if f.what == f"{which}_error" and f.refers_to == found.refers_to
            }  # fmt: skip
            accuracies = {(round(100 * (1 - getattr(w, which)), 3), w.name) for w in card.weights if getattr(w, which)}
            assert value is None or (value, found.source) in figures | accuracies, name


def test_another_input_changes_the_counts_but_not_those_of_a_fixed_one():
    small, lenet = compare(["resnet18", "lenet5"], 112)
    assert small.input_size == 112
    assert small.multiply_adds < model_card("resnet18").multiply_adds / 3
    assert lenet.input_size == 32


def test_the_table_has_a_row_for_each_and_says_what_errors_refer_to(rows):
    head, *body = table(rows)
    assert [row[0] for row in body] == NAMES
    assert all(len(row) == len(head) for row in body)
    by_name = {row[0]: row for row in body}
    assert by_name["resnet50"][6] == "24.70 %"
    assert by_name["googlenet"][6] == ""
    assert by_name["resnet20"][-1] == ""


def test_circles_lie_at_the_figures_and_their_areas_are_in_proportion_to_the_weights(rows):
    axes = draw(rows).axes[0]
    circles = {
        (round(float(x), 6), round(float(y), 3)): (float(c.get_sizes()[0]), len(c.get_facecolors()))
        for c in axes.collections for x, y in c.get_offsets()
    }  # fmt: skip
    shown = [row for row in rows if row.error("top1") is not None]
    assert len(circles) == len(shown) == 4
    areas = {}
    for row in shown:
        area, filled = circles[(round(row.multiply_adds / 1e9, 6), round(row.error("top1"), 3))]
        assert bool(filled) == row.published.one_crop, row.name
        areas[row.name] = area
    weights = {row.name: row.parameters for row in shown}
    assert areas["resnet50"] / areas["alexnet"] == pytest.approx(weights["resnet50"] / weights["alexnet"])
    assert {text.get_text() for text in axes.texts} >= {row.name for row in shown}


def test_the_files(rows, tmp_path):
    write_picture(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    write_picture(rows, tmp_path / "a.svg", "top5")
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert picture(rows, "svg") == picture(rows, "svg")
    write_page(rows, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<tr>") == 1 + len(rows)
    assert "<svg" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def test_what_cannot_be_compared(rows, tmp_path):
    with pytest.raises(ModelError, match="no networks to compare"):
        compare([])
    with pytest.raises(ModelError, match="unknown network 'resnet51'"):
        compare(["resnet51"])
    with pytest.raises(ModelError, match="none of these networks has a published top1 error"):
        draw([row for row in rows if row.name == "resnet20"])
    with pytest.raises(ModelError, match=r"ends in '\.gif', expected \.png or \.svg"):
        write_picture(rows, tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())
