"""What `--json` prints is what docs/reference/json.md says: the same keys, of the stated types, and no others."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import casebook
from casebook.cost.worked import COMPUTATIONS

from .conftest import Command

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"
CHECKS = {
    "text": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "object": lambda v: isinstance(v, dict),
    "integers": lambda v: isinstance(v, list) and all(isinstance(side, int) for side in v),
    "numbers": lambda v: isinstance(v, list) and all(isinstance(number, int | float) for number in v),
    "texts": lambda v: isinstance(v, list) and all(isinstance(text, str) for text in v),
    "rows": lambda v: isinstance(v, list) and all(CHECKS["texts"](row) for row in v),
    "[low, high]": lambda v: isinstance(v, list) and len(v) == 2 and v[0] <= v[1],
}


def documented() -> dict[str, dict[str, str]]:
    """Section -> key -> type."""
    sections: dict[str, dict[str, str]] = {}
    keys: dict[str, str] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            keys = sections.setdefault(line.removeprefix("## "), {})
        elif found := re.match(r"\| `([^`]+)` \| ([^|]+) \|", line):
            assert found[1] not in keys, found[1]
            keys[found[1]] = found[2].strip()
    return sections


def leaves(value: Any, path: str, known: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """(key as the page writes it, value) of everything in a document; does not enter what the page leaves open."""
    inside = {key for key in known if key.startswith((f"{path}.", f"{path}["))}
    if isinstance(value, dict) and (inside or not path):
        if path in known:
            yield path, value
        for key, inner in value.items():
            place = f"{path}.{key}" if path else key
            starred = f"{path}.*"
            is_open = not any(k == place or k.startswith((f"{place}.", f"{place}[")) for k in known)
            yield from leaves(inner, starred if is_open and path else place, known)
    elif isinstance(value, list) and inside:
        for inner in value:
            yield from leaves(inner, f"{path}[]", known)
    else:
        yield path, value


def check(document: Any, known: dict[str, str]) -> set[str]:
    """Fails on an undocumented key, a wrong type or a missing key; gives the keys seen."""
    seen = set()
    for key, value in leaves(document, "", known):
        assert key in known, f"{key} = {value!r} is printed and not documented"
        kinds = set(known[key].split(" or ")) - {"missing"}
        assert any(CHECKS[kind](value) for kind in kinds), f"{key} = {value!r}, documented as {known[key]}"
        seen.add(key)
    return seen


def must(known: dict[str, str]) -> set[str]:
    """Keys that no document lacks: not those of list elements, which may be none, nor those that may be missing."""
    return {key for key, kind in known.items() if "[" not in key and "*" not in key and "missing" not in kind}


@pytest.fixture(scope="module")
def sections() -> dict[str, dict[str, str]]:
    return documented()


@pytest.fixture(scope="module")
def ten_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over the ten digits, so that there is a top-5."""
    out = tmp_path_factory.mktemp("runs") / "ten"
    casebook.train("digits", out=out, epochs=1, warmup_epochs=0, near_duplicates=False)
    return out


def all_keys(known: dict[str, str], *seen: set[str]) -> None:
    """Every documented key was printed by one of the runs: none is a left-over."""
    assert set(known) - set().union(*seen) == set()


def unsure_keys(sections: dict[str, dict[str, str]]) -> dict[str, str]:
    """The keys below `unsure`, which is missing or null where nothing is promised."""
    return {f"unsure.{key}": f"{kind} or missing" for key, kind in sections["Unsure"].items()}


def test_train(command: Command, sections, digit_folder: Path, ten_classes: Path, small_run: Path) -> None:
    shutil.copytree(digit_folder, "data")
    Path("data/digit_0/fake.png").write_text("no picture")
    Path("data/digit_0/notes.txt").write_text("no picture either")
    shutil.copytree(ten_classes, "start")
    known = sections["casebook train"] | {f"test.{key}": kind for key, kind in sections["Metrics"].items()}
    known |= unsure_keys(sections)
    quick = ("--model", "lenet5", "--epochs", "1", "--set", "warmup_epochs=0", "--workers", "0", "--json")
    scratch = command("train", "data", *quick, "--out", "scratch").json
    head = command("train", "data", *quick, "--weights", "start", "--transfer", "head", "--out", "head").json
    ten, small = casebook.open_run(ten_classes).evaluation, casebook.open_run(small_run).evaluation
    seen = [check(document, known) for document in (scratch, head, ten, small)]
    for keys in seen:
        assert must(known) <= keys
    all_keys(known, *seen)
    assert "top5" not in scratch["test"]
    assert head["features"]["computed"] > 0


def test_evaluate(command: Command, sections, digit_folder: Path, small_run: Path, ten_classes: Path) -> None:
    shutil.copytree(digit_folder, "data")
    Path("data/digit_0/fake.png").write_text("no picture")
    shutil.rmtree("data/digit_3")
    known = sections["casebook evaluate"] | sections["Metrics"] | unsure_keys(sections)
    del known["shift"]  # test_evaluate_shift
    documents = (
        command("evaluate", small_run, "--unsure", "0.3", "--json").json,
        command("evaluate", small_run, "data", "--json").json,
        command("evaluate", ten_classes, "--json").json,
        command("evaluate", ten_classes, "digits", "--json").json,
    )
    seen = [check(document, known) for document in documents]
    for keys in seen:
        assert must(known) <= keys
    all_keys(known, *seen)


def test_evaluate_shift(command: Command, sections, small_run: Path, ten_classes: Path) -> None:
    for name, run in (("ten", ten_classes), ("small", small_run)):
        shutil.copytree(run, name)
    for name in ("judgement.json", "judgement.safetensors"):  # without them it is never unsure
        Path("small", name).unlink(missing_ok=True)
    judged = command("evaluate", "ten", "--unsure", "0.3", "--shift", "--json").json["shift"]
    plain = command("evaluate", "small", "--shift", "--json").json["shift"]
    assert plain["most_wrong"] is None
    assert command("evaluate", "small", "ten", "--shift").code == 2
    assert command("evaluate", "small", "--protocol", "flip", "--shift").code == 2
    known = sections["Shift"]
    all_keys(known, *(check(document, known) for document in (judged, plain)))


def test_predict(command: Command, sections, digit_folder: Path, small_run: Path) -> None:
    known = sections["casebook predict"]
    given = (digit_folder / "digit_0" / "000.png", "gone.png", "--json")
    seen = check(command("predict", small_run, *given, "--unsure", "0.3").json, known)
    several = casebook.Answer("a.png", (("cat", 0.9), ("dog", 0.8)), labels=("cat", "dog")).to_dict()
    labels = check({"model": "run", "pictures": [several], "errors": 0}, known)
    all_keys(known, seen, labels, check(command("predict", small_run, *given).json, known))


def test_predict_into_files(command: Command, sections, digit_folder: Path, small_run: Path) -> None:
    known = sections["Answers in files"]
    given = (digit_folder / "digit_0", "gone.png", "--json")
    table = command("predict", small_run, *given, "--out", "answers.csv")
    others = command("predict", small_run, *given, "--sort-into", "sorted", "--contact-sheet", "sheet.html")
    all_keys(known, *(check(result.json, known) for result in (table, others)))


def test_export(command: Command, sections, small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from casebook.deployment.web import Runtime
    from casebook.workflows import export_web

    monkeypatch.setattr(export_web, "onnxruntime_web", lambda folder: Runtime(b"module", b"wasm"))
    monkeypatch.setattr("casebook.deployment.litert.write_litert", lambda classifier, out: 1e-6)
    monkeypatch.setattr("casebook.deployment.coreml.write_coreml", lambda classifier, out: None)
    monkeypatch.setattr("casebook.deployment.keras_file.write_keras", lambda classifier, out: 1e-6)
    known = sections["casebook export"]
    others = ("--litert", "a.tflite", "--coreml", "a.mlpackage", "--keras", "a.keras")
    web = ("--web", "page.html", *others, "--unsure", "0.3")
    auto = command("export", small_run, "--out", "small.casebook", *web, "--max-drop", "20", "--json").json
    off = command("export", small_run, "--out", "small.casebook", "--int8", "off", "--json").json
    assert command("export", "small.casebook", "--web", "again.html", "--json").json["web"]["path"] == "again.html"
    seen = [check(document, known) for document in (auto, off)]
    for keys in seen:
        assert must(known) <= keys
    all_keys(known, *seen)
    assert set(auto["networks"]) == {"float32", "int8"}


@pytest.mark.parametrize("arguments", [["verify"], ["bench", "--seconds", "0.01"]], ids=["verify", "bench"])
def test_commands_of_a_bundle(
    arguments: list[str], sections, small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from casebook.runner.commands import main

    known = sections[f"python NAME.casebook {arguments[0]}"]
    assert main([*arguments, "--json"], bundle=small_bundle) == 0
    all_keys(known, check(json.loads(capsys.readouterr().out), known))


def test_models(command: Command, sections) -> None:
    known = sections["casebook models"]
    all_keys(known, check(command("models", "--json").json, known))


def test_recipes(command: Command, sections) -> None:
    known = sections["casebook recipes"]
    all_keys(known, check(command("recipes", "--json").json, known))
    one = command("recipes", "cifar", "--json").json
    assert list(one["recipes"]) == ["cifar"]


def test_explain_cost(command: Command, sections) -> None:
    known = sections["casebook explain-cost"]
    seen = [check(command("explain-cost", name, "--json").json, known) for name in COMPUTATIONS]
    for keys in seen:
        assert must(known) <= keys
    all_keys(known, *seen)


def test_summary(command: Command, sections) -> None:
    known = sections["casebook summary"]
    seen = [check(command("summary", "lenet5", *flags, "--json").json, known) for flags in ([], ["--traced"])]
    for keys in seen:
        assert must(known) <= keys
    all_keys(known, *seen)


def test_compare(command: Command, sections) -> None:
    known = sections["casebook compare"]
    document = command("compare", "resnet18", "lenet5", "googlenet", "--json").json
    seen = check(document, known)
    assert [row["name"] for row in document["networks"]] == ["resnet18", "lenet5", "googlenet"]
    assert document["networks"][1]["published"] is None
    all_keys(known, seen)


def test_scale(command: Command, sections, digit_folder: Path, made_up_model, monkeypatch) -> None:
    from casebook.cost.scaling import Point
    from casebook.workflows import scale as scale_job
    from casebook.workflows import scale_training

    monkeypatch.setattr(scale_job, "cached_latency_model", lambda *_, **__: made_up_model())
    monkeypatch.setattr(scale_job, "SECONDS", 0.02)
    monkeypatch.setattr(scale_job.Bench, "peak_bytes", lambda *_: 7_000_000)  # a process of its own for each network
    monkeypatch.setattr(scale_training, "GRID", scale_training.GRID[:2])
    monkeypatch.setattr(scale_training, "GRID_BASES", {"mobilenet_v2": Point(0.1, 0.25, 72)})
    known = sections["casebook scale"]
    flags = ("--family", "mobilenet_v2", "--input-size", "16", "--device", "cpu", "--threads", "1", "--json")
    trained = command(
        "scale", *flags, "--latency-ms", "1000", "--multiply-adds", "3M", "--data", digit_folder, "--epochs", "1",
        "--most-per-class", "4", "--kind", "compound", "--kind", "width", "--kind", "resolution", "--grid-search",
    ).json  # fmt: skip
    Path("pi.json").write_text(json.dumps(made_up_model().to_dict()))
    predicted = command(
        "scale", *flags, "--size-mb", "0.6", "--num-classes", "4", "--kind", "compound", "--latency-model", "pi.json"
    ).json  # fmt: skip
    seen = [check(document, known) for document in (trained, predicted)]
    for keys in seen:
        assert must(known) <= keys
    all_keys(known, *seen)
    assert predicted["points"][0]["measured"] is None
    assert predicted["points"][0]["predicted"]["latency_ms"] is not None


def test_profile_device(command: Command, sections, made_up_model, monkeypatch) -> None:
    from casebook.workflows import scale as scale_job

    monkeypatch.setattr(scale_job, "cached_latency_model", lambda *_, **__: made_up_model())
    known = sections["casebook profile-device"]
    all_keys(known, check(command("profile-device", "--json").json, known))


def test_data_check(command: Command, sections, digit_folder: Path) -> None:
    known = sections["casebook data check"]
    shutil.copytree(digit_folder, "data")
    shutil.copy("data/digit_0/000.png", "data/digit_0/copy.png")
    Path("data/digit_0/fake.png").write_text("no picture")
    for name in ("left", "right"):
        Path("broken", name).mkdir(parents=True)
        Path("broken", name, "fake.png").write_text("no picture")
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save("data/digit_0/deep.png")
    seen = check(command("data", "check", "data", "--json").json, known)
    assert must(known) <= seen | {"values"}
    broken = command("data", "check", "broken", "--json").json
    assert broken["split"] is None
    all_keys(known, seen, check(broken, known))


def test_augment(command: Command, sections, photo_folder: Path) -> None:
    known = sections["casebook augment"]
    listed = command("augment", "--json").json
    drawn = command("augment", photo_folder, "-p", "strong", "-n", "3", "--size", "32", "-o", "a.png", "--json").json
    each = command("augment", photo_folder / "spots" / "00.jpg", "--operations", "-o", "a.png", "--json").json
    all_keys(known, *(check(document, known) for document in (listed, drawn, each)))
    assert (drawn["policy"], each["policy"]) == ("strong", None)


def test_data_suspects(command: Command, sections, digit_folder: Path) -> None:
    known = sections["casebook data suspects"]
    shutil.copytree(digit_folder, "data")
    shutil.copy("data/digit_0/000.png", "data/digit_1/copy.png")
    plain = command("data", "suspects", "data", "--json").json
    applied = command("data", "suspects", "data", "--apply", "a.csv", "--top", "1", "--html", "a.html", "--json").json
    assert applied["applied"] == {"list": "a.csv", "pictures": 1}
    all_keys(known, *(check(document, known) for document in (plain, applied)))
    assert "copy.png" in Path("a.html").read_text()


def test_data_shard(command: Command, sections, photo_folder: Path) -> None:
    shutil.copytree(photo_folder, "photos")
    Path("photos/spots/gone.jpg").symlink_to("nowhere")
    known = sections["casebook data shard"]
    all_keys(known, check(command("data", "shard", "photos", "--out", "set", "--json").json, known))


def test_data_prepare_and_prepared(command: Command, sections, photo_folder: Path, monkeypatch) -> None:
    shutil.copytree(photo_folder, "photos")
    Path("photos/spots/fake.jpg").write_text("no picture")
    monkeypatch.setenv("CASEBOOK_CACHE", "cache")
    known = sections["casebook data prepare"]
    raw = command("data", "prepare", "photos", "--dry-run", "--json").json
    lossy = command("data", "prepare", "photos", "--format", "jpeg", "--side", "300", "--json").json
    seen = [check(document, known) for document in (raw, lossy)]
    for keys in seen:
        assert must(known) <= keys
    all_keys(known, *seen)
    Path("cache/prepared/damaged.pictures").write_text("nothing")
    known = sections["casebook data prepared"]
    listed = command("data", "prepared", "--json").json
    all_keys(known, check(listed, known))
    removed = command("data", "prepared", "--remove-all", "--json").json
    assert removed["files"] == listed["files"]
    assert command("data", "prepared", "--json").json["files"] == []


def test_data_profile(command: Command, sections, photo_folder: Path, monkeypatch) -> None:
    from casebook.workflows import profile

    monkeypatch.setattr(profile, "ROUNDS", 2)
    monkeypatch.setattr(profile, "ROUND_SECONDS", 0.01)
    monkeypatch.setattr(profile, "TOGETHER_SECONDS", 0.05)
    known = sections["casebook data profile"]
    document = command("data", "profile", photo_folder, "--model", "lenet5", "--json").json
    all_keys(known, check(document, known))
