"""Scaled networks, transfer, crops, receptive fields and results: counted numbers, no overlaps."""

import json
from pathlib import Path

import pytest

from casebook.cost.count import count
from casebook.cost.scaling import Budget, Point, Space, family, propose
from casebook.drawing.bars import Result, bars
from casebook.drawing.boxes import Crop, Panel, Photo, boxes
from casebook.drawing.field import field
from casebook.drawing.freeze import Choice, Part, freeze, parts_of
from casebook.drawing.scaled import counted, from_result, measured, scaled
from casebook.errors import ModelError


def words(sheet) -> list[str]:
    return [label.name for label in sheet.labels]


def test_three_3x3_see_what_one_7x7_sees() -> None:
    sheet = field()
    assert sheet.collisions() == []
    assert "(3x3 + 3x3 + 3x3) x 64 x 64 = 110,592 weights, without biases" in words(sheet)
    assert "7x7 x 64 x 64 = 200,704 weights, without biases" in words(sheet)
    assert any("55.1 %" in line for line in words(sheet))
    assert [box.name for box in sheet.boxes] == [
        "input 7x7", "after layer 1 5x5", "after layer 2 3x3", "output 1x1", "input 7x7", "output 1x1"
    ]  # fmt: skip


@pytest.mark.parametrize("windows", [((5, 1),), ((3, 1), (3, 1)), ((7, 2), (3, 2), (3, 1)), ((2, 2),) * 5])
def test_other_windows_have_no_overlaps(windows: tuple) -> None:
    assert field(windows).collisions() == []


def test_a_field_without_room_is_refused() -> None:
    with pytest.raises(ModelError, match="sees 63x63 pixels, at most 40"):
        field(((3, 2),) * 4 + ((3, 1),))


def test_what_learns_is_counted() -> None:
    parts = parts_of(count("mobilenet_v2", num_classes=1))
    assert [parts[0].name, parts[-1]] == ["stem", Part("last layer", 1281)]
    choices = [Choice("head", "few pictures", {"last layer": 1.0}), Choice("full", "", {p.name: 0.1 for p in parts})]
    sheet = freeze("mobilenet_v2", parts, choices)
    assert sheet.collisions() == []
    assert "1,281 of 2,225,153 weights learn" in words(sheet)
    assert "2,225,153 of 2,225,153 weights learn" in words(sheet)
    assert words(sheet).count("frozen") == len(parts) - 1
    assert words(sheet).count("x 0.1") == len(parts)


def test_a_scaled_network_has_the_blocks_of_the_live_one() -> None:
    base = counted("efficientnet_b0", "baseline", Point(1.0, 1.0, 224))
    assert base.blocks == (1, 2, 2, 3, 3, 4, 1)
    assert base.channels == (16, 24, 40, 80, 112, 192, 320)
    deep = counted("efficientnet_b0", "depth", Point(1.0, 2.0, 224))
    assert base.multiply_adds == 385_814_752
    sheet = scaled("efficientnet_b0", [base, deep])
    assert sheet.collisions() == []
    assert sum("baseline" in box.name for box in sheet.boxes) == sum(base.blocks) + 1
    assert sum("depth stage" in box.name for box in sheet.boxes) == sum(deep.blocks)


def test_found_networks_are_drawn() -> None:
    space = Space(family("mobilenet_v2"), input_size=96)
    found = propose(space, Budget(multiply_adds=30_000_000), kinds=("width",)).points
    (one,) = measured("mobilenet_v2", found)
    assert (one.width, one.multiply_adds) == (found[0].point.width, found[0].predicted.multiply_adds)


def test_a_result_of_scale_is_drawn(tmp_path: Path) -> None:
    point = {"kind": "width", "width": 0.5, "depth": 1.0, "resolution": 96, "equality": 1.0}
    (tmp_path / "scale.json").write_text(json.dumps({"family": "mobilenet_v2", "points": [point]}))
    network, (base, narrow) = from_result(tmp_path / "scale.json")
    assert (network, base.kind, base.width, narrow.width) == ("mobilenet_v2", "baseline", 1.0, 0.5)
    assert narrow.multiply_adds < base.multiply_adds


@pytest.mark.parametrize("text", ["", "[]", '{"family": "mobilenet_v2"}', '{"family": "resnet", "points": [{}]}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ModelError, match="casebook scale --json"):
        from_result(tmp_path / "a.json")
    with pytest.raises(ModelError, match="cannot read"):
        from_result(tmp_path / "b.json")


def test_crops_are_where_they_were_given() -> None:
    crop = Crop("top-left", (0, 0, 224, 224))
    panel = Panel("shorter side 256", (341, 256), None, [crop])
    sheet = boxes("one crop", [panel], ["1 view"])
    assert sheet.collisions() == []
    assert "top-left" in words(sheet)
    scale = 546 / 341
    assert f'width="{round(scale * 224)}" height="{round(scale * 224)}" class="edge clear"' in sheet.svg()


def test_a_photo_stands_in_the_drawing() -> None:
    panel = Panel("", (341, 256), (0, 0, 256, 256), [])
    sheet = boxes("a photo", [panel], photo=Photo(b"\xff\xd8", "image/jpeg", "a <dog>"))
    assert 'href="data:image/jpeg;base64,/9g="' in sheet.svg()
    assert "a &lt;dog&gt;" in sheet.svg()


def test_bars_are_as_long_as_their_numbers() -> None:
    results = [Result(2012, "AlexNet", 20.0, "8 layers", "test", "Table 2"), Result(2015, "ResNet", 5.0, "", "", "")]
    sheet = bars("Errors", results)
    assert sheet.collisions() == []
    long, short = (box.right - box.left for box in sheet.boxes)
    assert long == pytest.approx(4 * short, abs=3)
    assert {"20 %", "5 %", "8 layers", "test (Table 2)"} <= set(words(sheet))
