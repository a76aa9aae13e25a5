"""Illustrations by name: real protocols, real transfer choices, files that are written or refused."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import casebook
from casebook.cost.scaling import NetworkCosts, Point
from casebook.errors import ModelError, PictureError
from casebook.evaluation.protocols import PROTOCOLS, views
from casebook.preprocessing import Preprocessing
from casebook.workflows.illustrate import ILLUSTRATIONS, illustrate, panels_of, write_illustration


def words(sheet) -> list[str]:
    return [label.name for label in sheet.labels]


@pytest.mark.parametrize("name", ["boxes", "field", "freeze", "sliding", "volume"])
def test_every_illustration_has_defaults_and_no_overlaps(name: str) -> None:
    sheet = casebook.illustrate(name)
    assert sheet.collisions() == []
    assert sheet.title
    assert len(sheet.description) > 40


def test_the_depths_of_the_winners_are_counted() -> None:
    sheet = illustrate("bars")
    assert sheet.collisions() == []
    assert {"alexnet: 8 layers", "googlenet: 22 layers", "resnet152_v1: 152 layers"} <= set(words(sheet))


def test_a_result_of_scale_is_drawn() -> None:
    point = Point(0.5, 1.0, 96)
    cost = NetworkCosts(0, 0, 0, 0, None)
    found = SimpleNamespace(
        family="mobilenet_v2",
        network="mobilenet_v2",
        points=[SimpleNamespace(kind="width", point=point, predicted=cost)],
    )
    sheet = illustrate("scaled", result=found)
    assert [name for name in words(sheet) if name in ("baseline", "width")] == ["baseline", "width"]
    assert "width x 0.5" in words(sheet)


@pytest.mark.slow
def test_the_record_in_the_gallery_is_what_scale_finds() -> None:
    record = Path(__file__).parents[2] / "docs" / "drawings" / "scale.json"
    assert illustrate("scaled").svg() == illustrate("scaled", result=record).svg()


@pytest.mark.parametrize("name", [name for name, protocol in PROTOCOLS.items()])
def test_the_crops_are_those_of_the_evaluation(name: str) -> None:
    protocol, preprocessing = PROTOCOLS[name], Preprocessing()
    panels = panels_of(protocol, preprocessing, (500, 375))
    drawn = [(panel.size, crop.box) for panel in panels for crop in panel.crops]
    shown = [(v.target, v.box) for v in views(protocol, preprocessing, (500, 375)) if not v.mirrored]
    assert drawn == shown
    assert illustrate("boxes", protocol=name).collisions() == []


def test_the_boxes_of_10_crop_lie_in_the_corners_and_the_centre() -> None:
    (panel,) = panels_of(PROTOCOLS["10-crop"], Preprocessing(), (500, 375))
    width = panel.size[0]
    assert {crop.name: crop.box for crop in panel.crops}["bottom-right"] == (width - 224, 32, width, 256)
    assert "5 boxes, each as it is and mirrored: 10 views of a picture of 500x375" in words(illustrate("boxes"))


@pytest.mark.parametrize("protocol", ["10-crop", "144-crop", "scales=256+288;crops=corners+centre;mirror=yes"])
def test_crops_for_small_pictures_and_own_protocols_have_no_overlaps(protocol: str) -> None:
    for size in (32, 299):
        assert illustrate("boxes", protocol=protocol, size=size, picture_size=(300, 800)).collisions() == []


def test_a_picture_of_ones_own_stands_in_the_drawing(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "red").save(tmp_path / "red.png")
    sheet = illustrate("boxes", picture=tmp_path / "red.png")
    assert "<title>red.png</title>" in sheet.svg()
    assert any("80x60" in line for line in words(sheet))
    (tmp_path / "no.png").write_bytes(b"not a picture")
    with pytest.raises(PictureError, match=r"no\.png"):
        illustrate("boxes", picture=tmp_path / "no.png")


def test_the_rows_of_freeze_are_what_auto_chooses() -> None:
    sheet = illustrate("freeze", network="resnet18", pictures_per_class=(100, 1000, 5000))
    assert [name for name in words(sheet) if name in ("head", "last:2", "full")] == ["head", "last:2", "full"]
    assert "1,026 of 11,177,538 weights learn" in words(sheet)
    assert "11,177,538 of 11,177,538 weights learn" in words(sheet)


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(ModelError, match="did you mean 'sliding'"):
        illustrate("slidng")
    with pytest.raises(ModelError, match="field has no setting 'window'; did you mean 'windows'"):
        illustrate("field", window="3")
    with pytest.raises(ModelError, match="sliding has no setting 'strid'; did you mean 'stride'"):
        illustrate("sliding", strid=2)
    with pytest.raises(ModelError, match="windows is '3,x'"):
        illustrate("field", windows="3,x")


def test_files(tmp_path: Path) -> None:
    write_illustration(tmp_path / "a.svg", "field")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == illustrate("field").svg()
    write_illustration(tmp_path / "a.html", "sliding", kind="1x1", size=3)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count('type="radio"') == page.count("data:image/svg+xml") == 9
    for path, name in (("a.pdf", "field"), ("b.html", "field"), ("a", "bars")):
        with pytest.raises(ModelError, match=r"\.svg"):
            write_illustration(tmp_path / path, name)
        assert not (tmp_path / path).exists()


def test_the_command_has_an_illustration_for_each_name() -> None:
    from casebook.cli.draw import app

    assert {command.name for command in app.registered_commands} >= set(ILLUSTRATIONS)
