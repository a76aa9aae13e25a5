"""Networks side by side: the picture, its labels, and the page."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from casebook.cost.compare import Compared, claim, compare
from casebook.errors import ModelError
from casebook.models import list_models, model_card
from casebook.reports import networks

NAMES = ["resnet18", "resnet50", "mobilenet_v2", "googlenet", "alexnet", "resnet20"]
EIGHTEEN = ["alexnet_owt", "vgg11", "vgg13", "vgg16", "vgg19", "vgg16_bn", "resnet18", "resnet34", "resnet50",
            "resnet101", "resnet152", "resnet50_v1", "densenet121", "densenet201", "mobilenet_v1", "mobilenet_v2",
            "efficientnet_b0", "inception_v3"]  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return compare(NAMES)


def test_circles_lie_at_the_figures_and_their_areas_are_in_proportion_to_the_weights(rows):
    axes = networks.draw(rows).axes[0]
    circles = {
        (round(float(x), 6), round(float(y), 3)): (float(c.get_sizes()[0]), len(c.get_facecolors()))
        for c in axes.collections for x, y in c.get_offsets()
    }  # fmt: skip
    shown = [row for row in rows if row.error("top1", networks.DRAWN) is not None]
    assert [row.name for row in shown] == ["resnet18", "resnet50", "mobilenet_v2"]  # AlexNet has other crops only
    assert len(circles) == len(shown)
    areas = {}
    for row in shown:
        area, filled = circles[(round(row.multiply_adds / 1e9, 6), round(row.error("top1", networks.DRAWN), 3))]
        assert bool(filled) == (row.published.kind == "reference"), row.name
        areas[row.name] = area
    weights = {row.name: row.parameters for row in shown}
    assert areas["resnet50"] / areas["resnet18"] == pytest.approx(weights["resnet50"] / weights["resnet18"])
    assert {text.get_text() for text in axes.texts} >= {row.name for row in shown}


def drawn_circles(axes):
    """(N, 2) centres and (N,) radii in pixels."""
    centres = [axes.transData.transform(c.get_offsets())[0] for c in axes.collections]
    radii = [c.get_sizes()[0] ** 0.5 / 2 * axes.figure.dpi / 72 for c in axes.collections]
    return np.array(centres), np.array(radii)


def from_card(name: str) -> Compared:
    """The row of a network without counting it; test_catalogue.py holds the counts on cards to the networks."""
    card = model_card(name)
    return Compared(
        name, card.family, card.year, card.input_size, card.parameters, card.multiply_adds, 0, claim(card)
    )  # fmt: skip


@pytest.mark.parametrize("num", [18, 60])
def test_labels_cover_neither_circles_nor_each_other(num: int):
    found = list(map(from_card, EIGHTEEN))
    if num == 60:
        found = [row for row in map(from_card, list_models()) if row.error("top1", networks.DRAWN) is not None][:60]
        assert len(found) >= 55
    figure = networks.draw(found)
    axes = figure.axes[0]
    figure.draw_without_rendering()
    centres, radii = drawn_circles(axes)
    frame = axes.get_window_extent()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert set(boxes) == {row.name for row in found if row.error("top1", networks.DRAWN) is not None}
    for name, box in boxes.items():
        near = np.clip(centres, [box.x0, box.y0], [box.x1, box.y1])
        assert (np.hypot(*(near - centres).T) >= radii).all(), f"{name} lies across a circle"
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1, name
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1, name
        for other, its in boxes.items():
            assert other == name or not box.overlaps(its), (name, other)


def test_the_picture_has_a_legend_and_titles(rows):
    figure = networks.draw(rows)
    axes = figure.axes[0]
    assert axes.get_title() == "Published error against multiply-adds"
    assert axes.get_xlabel().startswith("multiply-adds for one picture")
    assert axes.get_ylabel() == "published top-1 error, %"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"resnet", "mobilenet_v2"} <= set(legend)
    assert "10 million weights" in legend
    assert "hollow: weights trained by others" in legend


def test_the_files(rows, tmp_path):
    networks.write_picture(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    networks.write_picture(rows, tmp_path / "a.svg", "top5")
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    networks.write_page(rows, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page == networks.render(rows)  # the same bytes each time
    assert page.count("<tr>") == 1 + len(rows)
    assert '<td data-value="resnet50"><bdi>resnet50</bdi></td>' in page
    assert '<td class="number" data-value="25557032"><bdi>25.6 M</bdi></td>' in page
    assert '<td class="number" data-value="24.70"><bdi>24.70</bdi></td>' in page
    assert "6 networks" in page


def test_what_cannot_be_drawn(rows, tmp_path):
    with pytest.raises(ModelError, match="none of these networks has a published top1 error"):
        networks.draw([row for row in rows if row.name == "resnet20"])
    with pytest.raises(ModelError, match=r"ends in '\.gif', expected \.png or \.svg"):
        networks.write_picture(rows, tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())
