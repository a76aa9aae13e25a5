"""Volumes: sizes from the chain, on a log scale, without overlaps."""

import pytest

from casebook.cost.worked import explain
from casebook.drawing.depth import depth
from casebook.drawing.fold import fold
from casebook.drawing.graph import trace_graph
from casebook.drawing.maps import chain_maps, draw_volumes, network_maps
from casebook.drawing.volume import solid, volumes
from casebook.errors import ModelError

ALEXNET = "conv11-96/4,pool3/2,conv5-256+2,pool3/2,conv3-384+1,conv3-384+1,conv3-256+1,pool3/2,fc4096,fc4096,fc1000"


def test_a_bottleneck_is_drawn_with_its_counts() -> None:
    maps = chain_maps("28x28x192", "conv1-16,conv5-32+same")
    assert [one.label for one in maps] == ["28x28x192", "28x28x16", "28x28x32"]
    assert maps[1].counts == ("16 filters", "3,088 weights")
    assert maps[2].words == ("conv 5x5", "same padding")
    sheet = volumes("bottleneck", maps)
    assert sheet.collisions() == []
    assert "28x28x16" in sheet.svg()
    assert "conv 5x5 same padding gives 28x28x32" in sheet.description


def test_alexnet_has_a_flatten_and_the_worked_number_of_weights() -> None:
    maps = chain_maps("227x227x3", ALEXNET)
    assert [one.label for one in maps][-5:] == ["6x6x256", "9,216", "4,096", "4,096", "1,000"]
    weights = [int(one.counts[1].split()[0].replace(",", "")) for one in maps if one.counts]
    assert sum(weights) == explain("chain", layers=ALEXNET).results["parameters"]
    assert volumes("alexnet", maps).collisions() == []


def test_a_live_network_has_the_maps_of_its_paper() -> None:
    maps = network_maps(trace_graph("lenet5"))
    assert [one.label for one in maps] == [
        "32x32x1", "28x28x6", "14x14x6", "10x10x16", "5x5x16", "1x1x120", "120", "84", "10"
    ]  # fmt: skip
    assert maps[2].words == ("average pool 2x2", "stride 2")
    assert maps[1].counts == ("6 filters", "156 weights")
    assert maps[-1].counts == ("850 weights",)


def test_alexnet_has_groups_and_same_padding() -> None:
    drawn = draw_volumes(fold(trace_graph("alexnet")))
    sheet = drawn.pages[0][1]
    assert sheet.collisions() == []
    assert sum(fact.weights for fact in drawn.facts.values()) == 60_965_224
    assert sheet.svg().count('data-box="') == len(drawn.facts) == 12
    words = [label.name for label in sheet.labels]
    assert words[0] == "alexnet"
    assert "60,965,224 weights, 724,406,816 multiply-adds" in words[1]
    maps = network_maps(trace_graph("alexnet"))
    assert maps[3].words == ("conv 5x5", "same padding", "2 groups")
    assert [one.label for one in maps] == [one.label for one in chain_maps("227x227x3", ALEXNET)]


@pytest.mark.parametrize("name", ["zfnet", "vgg16", "nin_cifar", "mobilenet_v1", "plain20"])
def test_other_chains_have_no_overlaps(name: str) -> None:
    assert draw_volumes(fold(trace_graph(name))).pages[0][1].collisions() == []


def test_a_network_with_branches_is_refused() -> None:
    with pytest.raises(ModelError, match=r"resnet20 branches before stages\.0\.0.*style strip or block"):
        network_maps(trace_graph("resnet20"))


@pytest.mark.parametrize(
    ("name", "layers"),
    [("alexnet", 8), ("zfnet", 8), ("vgg16", 16), ("vgg19", 19), ("googlenet", 22), ("resnet50", 50),
     ("densenet121", 121), ("resnet20", 20), ("lenet5", 5)],
)  # fmt: skip
def test_depth_is_the_one_in_the_paper(name: str, layers: int) -> None:
    assert depth(trace_graph(name)) == layers


def test_larger_maps_are_larger_but_less_than_in_proportion() -> None:
    large, small = solid((96, 224, 224)), solid((96, 7, 7))
    assert small.height < large.height < 32 * small.height
    assert solid((512, 7, 7)).thickness > solid((16, 7, 7)).thickness
    assert solid((4096,)).up == solid((4096,)).back == 0


def test_depthwise_and_pooling_are_named() -> None:
    maps = chain_maps("6x6x3", "dw3,conv1-5,gap,fc10")
    assert [one.kind for one in maps] == ["data", "depthwise", "conv", "pool", "data", "dense"]
    assert [one.words[0] for one in maps[1:]] == [
        "depthwise 3x3", "conv 1x1", "global pool", "flatten", "dense"
    ]  # fmt: skip


@pytest.mark.parametrize("count", [59, 60])
def test_a_chain_that_fits_on_no_page_is_refused(count: int) -> None:
    layers = f"{count}*conv3-8+1"
    if count == 59:
        assert volumes("long", chain_maps("32x32x3", layers)).collisions() == []
    else:
        with pytest.raises(ModelError, match="61 feature maps, at most 60"):
            chain_maps("32x32x3", layers)


def test_a_layer_that_does_not_fit_is_named() -> None:
    with pytest.raises(ModelError, match="conv1, conv11-96"):
        chain_maps("8x8x3", "conv11-96")
