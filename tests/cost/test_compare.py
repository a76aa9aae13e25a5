"""Networks side by side: which published error stands for each, and the table."""

import pytest

from casebook.cost.compare import claim, compare, kind_of, table
from casebook.cost.count import count
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


def test_figures_compare_under_one_protocol():
    """Checked against the papers: which pictures, which crop, whose training."""
    found = {name: claim(model_card(name)) for name in list_models()}
    resnet50 = found["resnet50"]
    assert (resnet50.top1_error, resnet50.top5_error, resnet50.kind) == (24.7, 7.8, "reference")
    assert (found["mobilenet_v2"].source, found["mobilenet_v2"].kind) == ("Table 4", "reference")
    assert (found["googlenet"].top5_error, found["googlenet"].kind) == (10.07, "reference")
    assert found["efficientnet_b3"].kind == "reference"  # 300 pixels are its own input
    resnet18 = found["resnet18"]  # the paper has ten crops only
    assert (resnet18.top1_error, resnet18.kind) == (pytest.approx(30.242), "retrained")
    assert found["alexnet"].kind == "other"  # ten crops
    assert found["inception_v4"].kind != "reference"  # without the blacklisted pictures
    assert found["resnet20"] is None


@pytest.mark.parametrize(
    ("refers_to", "side", "kind"),
    [
        ("ImageNet validation, 1 crop", 224, "reference"),
        ("ILSVRC 2012 validation, 1 model, 1 crop", 224, "reference"),
        ("ImageNet validation, 1 crop of 240x240", 240, "reference"),
        ("ImageNet validation, 1 crop of 320x320", 224, "other"),
        ("ImageNet validation, 1 crop, trained longer", 224, "other"),
        ("ImageNet validation, 1 crop, without the blacklisted pictures", 299, "other"),
        ("ImageNet validation, 10 crops", 224, "other"),
        ("ImageNet validation", 224, "other"),
        ("ImageNet 2010 test, one network, 10 crops", 224, "other"),
        ("ILSVRC 2012 validation, 7 models, 1 crop", 224, "other"),
    ],
)
def test_what_a_figure_refers_to_decides_whether_it_compares(refers_to: str, side: int, kind: str):
    assert kind_of(refers_to, side) == kind


@pytest.mark.parametrize(
    "names", [["resnet50", "resnet101", "resnet152"], [f"efficientnet_b{n}" for n in range(8)]], ids=["resnet", "b0-b7"]
)
def test_deeper_networks_of_a_family_do_not_look_worse(names: list[str]):
    for which in ("top1_error", "top5_error"):
        errors = [getattr(claim(model_card(name)), which) for name in names]
        assert errors == sorted(errors, reverse=True)


def test_memory_is_that_of_summary(rows):
    for row in rows:
        memory = count(row.name).memory
        assert row.inference_bytes == memory.inference_bytes
        assert row.inference_bytes == memory.weight_bytes + memory.buffer_bytes + memory.peak_activation_bytes


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
    assert by_name["resnet50"][6:] == ["24.70", "7.80", ""]
    assert by_name["googlenet"][6:] == ["", "10.07", ""]
    assert by_name["resnet18"][6:8] == by_name["alexnet"][6:8] == by_name["resnet20"][6:8] == ["", ""]
    assert by_name["resnet18"][-1].startswith("top-1 30.24, top-5 10.92: ImageNet validation, 1 crop of 224x224")
    assert by_name["alexnet"][-1] == (
        "top-1 40.70, top-5 18.20: ImageNet 2012 validation, one network, 10 crops (Table 2)"
    )
    assert by_name["resnet20"][-1] == ""


def test_what_cannot_be_compared():
    with pytest.raises(ModelError, match="no networks to compare"):
        compare([])
    with pytest.raises(ModelError, match="unknown network 'resnet51'"):
        compare(["resnet51"])
