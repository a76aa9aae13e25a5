"""The report: complete, safe against hostile names, small, written as a whole."""

import base64
import hashlib
import io
import json
import re
import stat
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from casebook.data.pictures import Picture, Source
from casebook.errors import PictureError, RunError
from casebook.evaluation.metrics import evaluate_probabilities
from casebook.evaluation.predictions import Predictions
from casebook.reports import album
from casebook.reports import page as pages
from casebook.reports import run as report

from .samples import HISTORY

HOSTILE = "</script><script>alert(1)</script>"


class Page(HTMLParser):
    """What a browser would make of the page: its elements, its text, and the data for the script."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._raw: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self._raw:
            self._raw[tag].append("")
            self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self._raw[self._open][-1] += data
        else:
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self._raw["script"][0])

    @property
    def scripts(self) -> list[str]:
        return self._raw["script"]

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.elements if t == tag and attributes.items() <= a.items()]


def predict(num_classes: int, per_class: int, *, wrong: float = 0.2, seed: int = 0, **changes: Any) -> Predictions:
    """Predictions of which about a share of `wrong` are mistakes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    leading = np.where(rng.random(len(labels)) < wrong, rng.integers(num_classes, size=len(labels)), labels)
    probabilities = rng.dirichlet(np.ones(num_classes), size=len(labels)) * 0.4
    probabilities[np.arange(len(labels)), leading] += 0.6
    predictions = Predictions(
        tuple(f"class {label}/picture {row}.jpg" for row, label in enumerate(labels)),
        labels,
        probabilities,
        tuple(f"class {index}" for index in range(num_classes)),
    )
    return predictions._replace(**changes)


def noise(row: int, side: tuple[int, int] = (200, 150)) -> Image.Image:
    """The least compressible picture there is."""
    pixels = np.random.default_rng(row).integers(0, 256, (side[1], side[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def grey(row: int) -> Image.Image:
    return Image.new("L", (28, 28), row % 256)


def settings(predictions: Predictions, **changes: Any) -> dict[str, Any]:
    evaluation = evaluate_probabilities(
        predictions.probabilities, predictions.labels, predictions.classes, resamples=20
    )
    return {
        "title": "A run",
        "model": {
            "format": 1,
            "architecture": "resnet18",
            "options": {"num_classes": 3, "small_stem": False},
            "classes": list(predictions.classes),
            "casebook": "0.1.0",
        },
        "recipe": {"epochs": 6, "optimiser": {"name": "sgd", "learning_rate": 0.1}, "ema": None},
        "environment": {"python": "3.12.3", "cores": 2},
        "history": HISTORY,
        "evaluation": evaluation,
        "predictions": predictions,
        "thumbnails": grey,
        "notes": ["2 pictures were left out."],
    } | changes


def write(path: Path, predictions: Predictions, **changes: Any) -> tuple[Page, str]:
    report.write_report(path, report.ReportData(**settings(predictions, **changes)))
    html = path.read_text("utf-8")
    return Page(html), html


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_most_confident_mistakes_are_explained(tmp_path: Path) -> None:
    predictions, asked = predict(3, 20), []

    def explanations(row: int) -> list[tuple[str, str]]:
        asked.append(row)
        return [] if len(asked) == 2 else [(f"map {HOSTILE} of {row}", f"data:image/jpeg;base64,{row}")]

    page, html = write(tmp_path / "report.html", predictions, explanations=explanations)
    assert asked == report.most_confident_mistakes(predictions, 4)
    assert "explained" in [attributes["id"] for attributes in page.all("section")]
    shown = [image["src"] for image in page.all("img") if str(image["src"]).startswith("data:image/jpeg;base64,")]
    assert [uri for uri in shown if uri == f"data:image/jpeg;base64,{asked[0]}"]
    assert f"data:image/jpeg;base64,{asked[1]}" not in shown
    assert f"map {HOSTILE} of {asked[0]}" in page.text
    assert HOSTILE not in html
    page, _ = write(tmp_path / "report.html", predictions)
    assert "explained" not in [attributes["id"] for attributes in page.all("section")]


@pytest.mark.parametrize("num_classes", [2, 10, 300])
def test_every_part_is_there(tmp_path: Path, num_classes: int) -> None:
    predictions = predict(num_classes, 6)
    page, html = write(tmp_path / "report.html", predictions)
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == ["confusion", "mistakes", "classes", "calibration", "training", "network", "environment"]
    assert len(html) < 4_000_000
    text = words(page.text)
    for expected in ("A run", "Top-1 accuracy", "Macro F1", "Log loss", "2 pictures were left out.", "optimiser.name"):
        assert expected in text
    assert ("Top-5 accuracy" in text) == (num_classes > 5)
    assert len(page.all("svg", **{"class": "chart"})) == 4
    right = round(float((predictions.predicted() == predictions.labels).mean()) * len(predictions.labels))
    assert f"{right:,} of {6 * num_classes:,} pictures recognised by resnet18" in text
    references = {attributes["href"] for attributes in page.all("a")}
    assert references == {f"#{section}" for section in sections}


def test_every_number_of_the_matrix_opens_its_pictures(tmp_path: Path) -> None:
    predictions = predict(3, 12)
    page, _ = write(tmp_path / "report.html", predictions)
    cells = page.data["cells"]
    shown = 0
    for button in page.all("button"):
        if "data-cell" not in button:
            continue
        truth, taken = map(int, (button["data-cell"] or "").split("-"))
        rows = np.flatnonzero((predictions.labels == truth) & (predictions.predicted() == taken))
        cell = cells[button["data-cell"]]
        assert cell["total"] == len(rows)
        assert (cell["truth"], cell["taken"]) == (f"class {truth}", f"class {taken}")
        assert {name for name, *_ in cell["shown"]} <= {predictions.names[row] for row in rows}
        assert len(cell["shown"]) == min(len(rows), 12 if truth == taken else 24)
        probabilities = [probability for _, _, _, probability, _ in cell["shown"]]
        assert probabilities == sorted(probabilities, reverse=truth != taken)
        for name, source, small, _, _ in cell["shown"]:
            kind, _, encoded = source.partition(",")
            assert kind == "data:image/jpeg;base64"
            assert small is True
            with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
                row = predictions.names.index(name)
                assert abs(np.asarray(picture.convert("L"), float).mean() - row % 256) < 2
            shown += 1
    assert shown >= 20


def test_left_out_pictures_are_reported(tmp_path: Path) -> None:
    predictions = predict(2, 60, wrong=1.0, seed=3)
    page, _ = write(tmp_path / "report.html", predictions)
    wrong = page.data["cells"]["0-1"]
    assert wrong["total"] > 24
    assert wrong["said"] == f"24 of {wrong['total']} shown, the most confident first."
    assert page.data["cells"]["0-0"]["said"].startswith("12 of ")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    classes = (HOSTILE, '"><img src=x onerror=alert(2)>', "<!--", "&lt;b&gt;\u202e")
    predictions = predict(4, 8, wrong=0.6, classes=classes)
    predictions = predictions._replace(names=tuple(f"{HOSTILE}/{row}'\"<svg onload=x>.jpg" for row in range(32)))
    page, html = write(
        tmp_path / "report.html",
        predictions,
        title=HOSTILE,
        notes=[HOSTILE],
        recipe={HOSTILE: {HOSTILE: HOSTILE}},
        environment={"command": [HOSTILE, {"x": HOSTILE}]},
        model={"architecture": HOSTILE, "casebook": HOSTILE, "departures": [{HOSTILE: 1}], "classes": list(classes)},
        history=[row | {"phase": HOSTILE if row["epoch"] > 3 else "head", HOSTILE: HOSTILE} for row in HISTORY],
    )
    assert len(page.scripts) == 2  # the data and ours
    assert page.scripts[1] == "\n".join(['"use strict";', *map(pages.inlined, report.SCRIPTS)])
    assert not re.search(r"(?m)^(import|export) ", page.scripts[1])
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"iframe", "object", "embed", "form", "base"}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        if tag == "img":
            assert (attributes["src"] or "").startswith("data:image/jpeg;base64,")
    assert page.text.count(HOSTILE) > 20
    assert {cell["truth"] for cell in page.data["cells"].values()} == set(classes)
    assert "<script>alert" not in html


def test_names_that_no_encoding_can_write(tmp_path: Path) -> None:
    predictions = predict(2, 5, wrong=0.7)
    names = tuple(f"b\udcff{row}" + "long " * 100 + f"/{row}.jpg" for row in range(10))
    page, _ = write(tmp_path / "report.html", predictions._replace(names=names))
    shown = [name for cell in page.data["cells"].values() for name, *_ in cell["shown"]]
    assert max(map(len, shown)) == pages.LONGEST_NAME
    assert all(name.startswith("…") and name.endswith(".jpg") for name in shown)


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    page, html = write(tmp_path / "report.html", predict(10, 6))
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"] or ""
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    for tag, attributes in page.elements:
        assert tag not in ("link", "img") or (attributes.get("href") or attributes.get("src") or "").startswith("data:")


def test_the_size_is_capped(tmp_path: Path) -> None:
    asked: list[int] = []

    def thumbnails(row: int) -> Image.Image:
        asked.append(row)
        return noise(row)

    predictions = predict(30, 60, wrong=0.9)
    page, html = write(tmp_path / "report.html", predictions, thumbnails=thumbnails)
    assert len(html) < album.MOST_PICTURE_BYTES + 1_500_000
    assert len(asked) == len(set(asked)) <= album.MOST_PICTURES
    cells = page.data["cells"].values()
    # Fair: no cell has two pictures while another has none, as far as they have them.
    fewest = min(len(cell["shown"]) for cell in cells if cell["total"] >= 2)
    most = max(len(cell["shown"]) for cell in cells)
    assert most - fewest <= 1
    assert any("shown" in cell["said"] for cell in cells)


def test_the_number_of_pictures_is_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(album, "MOST_PICTURES", 20)
    asked: list[int] = []

    def thumbnails(row: int) -> Image.Image:
        asked.append(row)
        return grey(row)

    page, _ = write(tmp_path / "report.html", predict(3, 30), thumbnails=thumbnails)
    assert len(asked) == 20
    cell = page.data["cells"]["0-0"]
    assert cell["said"] == f"{len(cell['shown'])} of {cell['total']} shown, the least certain first."


def test_thumbnails_are_small_and_pixels_stay_visible() -> None:
    for picture, size, is_small in (
        (noise(0, (1200, 300)), (144, 36), False),
        (noise(0, (100, 200)), (72, 144), False),
        (grey(0), (28, 28), True),
        (Image.new("RGBA", (100, 100)), (100, 100), False),
    ):
        before = picture.size
        source, small = album.encode_thumbnail(picture)
        assert small == is_small
        assert picture.size == before
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as decoded:
            assert decoded.size == size


@pytest.mark.parametrize("error", [None, PictureError("x.jpg", "truncated"), FileNotFoundError("x.jpg")])
def test_pictures_that_vanished_are_reported(tmp_path: Path, error: Exception | None) -> None:
    def thumbnails(row: int) -> Image.Image | None:
        if error is not None:
            raise error
        return None

    page, _ = write(tmp_path / "report.html", predict(2, 10), thumbnails=thumbnails)
    assert "no picture" in page.text
    assert [picture for picture in page.all("img") if not picture["alt"].startswith("From input to output.")] == []
    assert all(source == "" for cell in page.data["cells"].values() for _, source, *_ in cell["shown"])


def test_a_defect_in_the_caller_is_not_swallowed(tmp_path: Path) -> None:
    def thumbnails(row: int) -> Image.Image:
        raise KeyError(row)

    with pytest.raises(KeyError):
        write(tmp_path / "report.html", predict(2, 10), thumbnails=thumbnails)


def test_without_any_mistake(tmp_path: Path) -> None:
    page, _ = write(tmp_path / "report.html", predict(3, 20, wrong=0))
    text = words(page.text)
    assert "None: all 60 pictures were recognised" in text
    assert "consistent with any accuracy above 94.0 %" in text.replace("\u00a0", " ")
    assert set(page.data["cells"]) == {"0-0", "1-1", "2-2"}
    assert "Most common confusions" not in text


def test_many_classes_without_any_mistake(tmp_path: Path) -> None:
    page, _ = write(tmp_path / "report.html", predict(50, 2, wrong=0))
    assert "50 classes occur and none was confused with another" in words(page.text)
    assert page.all("table", **{"class": "matrix"}) == []


def test_a_class_without_pictures_is_reported(tmp_path: Path) -> None:
    predictions = predict(4, 10, wrong=0)
    kept = np.flatnonzero(predictions.labels != 2)
    predictions = Predictions(
        tuple(predictions.names[row] for row in kept),
        predictions.labels[kept],
        predictions.probabilities[kept],
        predictions.classes,
    )
    page, _ = write(tmp_path / "report.html", predictions)
    assert "One class has no picture in this set, so nothing is known about it: class 2." in words(page.text)
    predictions.probabilities[0] = [0.1, 0.1, 0.7, 0.1]  # now it is predicted, and so has a row
    page, _ = write(tmp_path / "report.html", predictions)
    assert "One class has no picture in this set" in page.text
    assert page.data["cells"]["0-2"]["total"] == 1


def test_of_many_classes_the_confused_ones_are_shown(tmp_path: Path) -> None:
    predictions = predict(300, 4, wrong=0)
    for row in (4 * 17, 4 * 17 + 1, 4 * 17 + 2):
        predictions.probabilities[row] = 0
        predictions.probabilities[row, 230] = 1
    page, _ = write(tmp_path / "report.html", predictions)
    text = words(page.text)
    assert "300 classes occur. The matrix shows the 2 that are most often confused with each other" in text
    assert "3 of the 3 mistakes" in text
    assert {"17-17", "17-230", "230-230"} == set(page.data["cells"])
    assert "class 17, taken for class 230" in text


def test_without_training_there_are_no_curves(tmp_path: Path) -> None:
    page, _ = write(tmp_path / "report.html", predict(3, 5), history=[], recipe={}, environment={}, notes=[])
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == ["confusion", "mistakes", "classes", "calibration", "network"]


def test_many_notes_unfold(tmp_path: Path) -> None:
    page, html = write(tmp_path / "report.html", predict(2, 5), notes=[f"left out: {row}.jpg" for row in range(50)])
    assert "<summary>38 more</summary>" in html
    assert page.text.count("left out:") == 50


def test_a_history_with_holes(tmp_path: Path) -> None:
    history = [
        {"epoch": 1, "phase": "train", "train_loss": 2.0, "val_loss": None},
        {"epoch": 2, "phase": "train", "train_loss": float("nan")},
        {"epoch": 3, "phase": "train", "train_loss": float("inf"), "val_top1": float("nan")},
    ]
    page, _ = write(tmp_path / "report.html", predict(3, 5), history=history)
    figures = re.findall(r"<figcaption>([^<]*)</figcaption>", (tmp_path / "report.html").read_text("utf-8"))
    assert "Loss" in figures
    assert "Validation accuracy" not in figures
    assert "3 epochs" in page.text


def test_the_old_report_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(RunError, match=r"cannot write .*report.html: No space left on device"):
        write(path, predict(2, 5))
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_report_replaces_the_old_one_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write(path, predict(2, 5))
    assert path.read_text("utf-8").startswith("<!doctype html>")
    (tmp_path / "other").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)
    with pytest.raises(RunError, match="cannot write"):
        write(tmp_path / "other" / "report.html", predict(2, 5))


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(tmp_path / f"{turn}.html", predict(5, 8))[1] for turn in range(2))
    assert first == second


@pytest.mark.parametrize("order", [sorted, lambda rows: sorted(rows, reverse=True)])
def test_most_confident_mistakes(order: Callable[[list[int]], list[int]]) -> None:
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    labels = np.array([1, 1, 0, 0, 1])
    rows = order(list(range(5)))
    predictions = Predictions(tuple(map(str, rows)), labels[rows], probabilities[rows], ("a", "b"))
    assert [predictions.names[row] for row in report.most_confident_mistakes(predictions, 2)] == ["0", "2"]


def test_three_thousand_classes_stay_small(tmp_path: Path) -> None:
    """With 9,000 pictures: the evaluation as JSON and the report, which once were 89 MB and more."""
    num_classes, per_class = 3000, 3
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_classes), per_class)
    leading = np.where(rng.random(len(labels)) < 0.4, rng.integers(num_classes, size=len(labels)), labels)
    probabilities = np.zeros((len(labels), num_classes), np.float32)
    probabilities[np.arange(len(labels)), labels] = 0.2
    probabilities[np.arange(len(labels)), leading] += rng.uniform(0.5, 0.8, len(labels)).astype(np.float32)
    probabilities[:, 0] += 1 - probabilities.sum(1)
    names = tuple(f"class {label}/picture {row}.jpg" for row, label in enumerate(labels))
    predictions = Predictions(names, labels, probabilities, tuple(f"class number {i}" for i in range(num_classes)))
    evaluation = evaluate_probabilities(probabilities, labels, predictions.classes, resamples=2)
    data = report.ReportData("Many classes", evaluation, predictions, thumbnails=noise)
    assert len(json.dumps(evaluation)) < 2_500_000
    assert sum(count for _, _, count in evaluation["confusion"]) == len(labels)
    html = report.render(data)
    assert 1_000_000 < len(html.encode()) < 5_000_000


def test_a_report_of_an_evaluation_on_new_data(tmp_path: Path) -> None:
    """As after `evaluate RUN DATA`: everything but the training, with the pictures of the data."""
    predictions = predict(3, 10)
    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    pictures = tuple(
        Picture(name, int(label)) for name, label in zip(predictions.names, predictions.labels, strict=True)
    )
    source = Source("new", None, predictions.classes, pictures[:-1], arrays=images[:-1])
    metrics = settings(predictions)["evaluation"] | {
        "model": "runs/first", "data": "new", "split": "all", "notes": ["a note"],
        "skipped": [{"picture": "broken.jpg", "reason": "truncated"}],
    }  # fmt: skip
    thumbnails = album.source_thumbnails(source, predictions.names)
    report.write_evaluation_report(tmp_path / "new.html", metrics, predictions, thumbnails)
    page = Page((tmp_path / "new.html").read_text("utf-8"))
    sections = [attributes["id"] for attributes in page.all("section")]
    assert sections == ["confusion", "mistakes", "classes", "calibration", "network"]
    for expected in ("runs/first on new", "a note", "left out: broken.jpg (truncated)"):
        assert expected in page.text
    assert thumbnails(29) is None  # not in the source
    mistakes = int((predictions.predicted() != predictions.labels).sum())
    assert len([image for image in page.all("img") if image.get("class") == "small"]) >= min(12, mistakes) - 1
