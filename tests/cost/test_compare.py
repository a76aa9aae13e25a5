"""Networks side by side: which published error stands for each, and the table."""

import pytest

from casebook.cost.compare import claim, compare, table
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


def test_what_cannot_be_compared():
    with pytest.raises(ModelError, match="no networks to compare"):
        compare([])
    with pytest.raises(ModelError, match="unknown network 'resnet51'"):
        compare(["resnet51"])
