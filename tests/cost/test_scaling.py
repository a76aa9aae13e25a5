"""Scaling: the formula, what the published networks make of it, and proposals that keep budgets and waste nothing."""

import dataclasses
import itertools
import math

import pytest

from casebook.cost.count import count
from casebook.cost.scaling import (
    AXES,
    FAMILIES,
    PATHS,
    SINGLE,
    SMALL_INPUT,
    Budget,
    NetworkCosts,
    Point,
    Space,
    compound,
    departures,
    depths,
    family,
    propose,
)
from casebook.errors import ModelError
from casebook.models import list_models
from casebook.training import plan


def test_one_step_of_the_papers_bases_costs_1_92_times() -> None:
    assert compound(1.2, 1.1, 1.15, 1).work == pytest.approx(1.2 * 1.21 * 1.3225)
    two = compound(1.2, 1.1, 1.15, 2)
    assert two == pytest.approx((1.44, 1.21, 1.3225))
    assert compound(1.2, 1.1, 1.15, -2) == pytest.approx([1 / factor for factor in two])
    assert compound(3, 2, 1, 0) == (1, 1, 1)


@pytest.mark.parametrize("bases", [(0, 1, 1, 1), (1, -1, 1, 1), (1, 1, math.inf, 1), (1, 1, 1, math.nan)])
def test_impossible_bases(bases) -> None:
    with pytest.raises(ModelError, match="expected"):
        compound(*bases)


def test_the_published_networks_depart_from_the_formula() -> None:
    """docs/scaling.md says this in words; the factors are those of the authors' code."""
    found = {scale.name.removeprefix("efficientnet_"): scale for scale in departures()}
    assert list(found) == ["b1", "b2", "b3", "b4", "b5", "b6", "b7"]
    implied = {
        name: tuple(round(phi, 1) for phi in (s.phi_of_depth, s.phi_of_width, s.phi_of_resolution, s.phi_of_work))
        for name, s in found.items()
    }
    assert implied == {
        "b1": (0.5, 0.0, 0.5, 0.9),
        "b2": (1.0, 1.0, 1.1, 1.4),
        "b3": (1.8, 1.9, 2.1, 2.4),
        "b4": (3.2, 3.5, 3.8, 3.7),
        "b5": (4.3, 4.9, 5.1, 5.0),
        "b6": (5.2, 6.2, 6.1, 6.0),
        "b7": (6.2, 7.3, 7.0, 7.0),
    }
    # B1 is not wider at all; from B4 on depth lags behind; B5 to B7 are steps 5 to 7 in all else, not 4 to 6.
    assert found["b1"].width == 1.0 < found["b1"].formula.width
    assert all(
        found[b].phi_of_depth < min(found[b].phi_of_width, found[b].phi_of_resolution) for b in ("b4", "b5", "b6", "b7")
    )
    # At the quoted coefficients all are larger than the formula and than doubling allows.
    assert all(s.multiply_adds > s.doubled_multiply_adds > s.formula_multiply_adds for s in found.values())
    b7 = found["b7"]
    assert (b7.quoted_phi, round(b7.formula_resolution), round(b7.formula.depth, 2)) == (6, 518, 2.99)
    assert round(b7.multiply_adds / b7.doubled_multiply_adds, 2) == 1.53


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_what_its_network_is(name: str) -> None:
    """The blocks by which depths are told apart are the network's, and each depth gives another network."""
    found = family(name)
    assert found.network in list_models()
    space = Space(found, num_classes=10)
    sides = depths(found)
    assert list(sides) == sorted(sides)
    assert 1.0 in sides
    seen = [tuple(math.ceil(blocks * depth) for blocks in found.blocks) for depth in sides]
    assert len(set(seen)) == len(sides)
    parameters = [space.costs(Point(0.1, depth, 72)).parameters for depth in sides[:6]]
    assert parameters == sorted(set(parameters))
    beside = space.costs(Point(0.1, round(sides[1] - 0.01, 2), 72))  # the hundredth below has the same blocks
    assert beside.parameters == parameters[1]


def test_costs_are_those_of_count_and_of_the_latency_model(latency_model) -> None:
    space = Space(family("mobilenet_v2"), num_classes=10, latency_model=latency_model)
    costs = space.costs(Point(0.5, 0.66, 100))
    counted = count("mobilenet_v2", 100, num_classes=10, width=0.5, depth=0.66)
    assert (costs.multiply_adds, costs.parameters) == (counted.total.multiply_adds, counted.total.parameters)
    assert costs.memory_bytes == counted.memory.inference_bytes
    assert costs.latency_ms is not None
    assert costs.latency_ms > 0.05 * costs.multiply_adds / 1e6 * 0.99


def test_small_inputs_have_the_small_stem_of_training() -> None:
    assert SMALL_INPUT == plan.SMALL_INPUT
    space = Space(family("resnet"), num_classes=10, input_size=SMALL_INPUT)
    assert space.options(Point(1, 1, SMALL_INPUT))["small_stem"] is True
    assert "small_stem" not in space.options(Point(1, 1, SMALL_INPUT + 1))


BUDGETS = {
    "work": Budget(multiply_adds=60e6),
    "file and time": Budget(size_bytes=4e6, latency_ms=6),
    "everything": Budget(multiply_adds=150e6, parameters=900e3, size_bytes=3.9e6, memory_bytes=12e6, latency_ms=9),
    "weights": Budget(parameters=2e6),
}


@pytest.mark.parametrize(
    ("name", "budget", "kinds"),
    [
        pytest.param("mobilenet_v2", "everything", ("compound", "width+resolution")),
        pytest.param("resnet", "file and time", ("compound", "width")),
        *(
            pytest.param(name, budget, tuple(PATHS), marks=pytest.mark.slow)
            for name in FAMILIES
            for budget in BUDGETS
        ),
    ],
)  # fmt: skip
def test_proposals_keep_the_budget_and_nothing_larger_does(name: str, budget: str, kinds, latency_model) -> None:
    """Held against `count`, and against the next value of each axis, in every direction in which a limit binds."""
    space, limits = Space(family(name), num_classes=10, latency_model=latency_model), BUDGETS[budget]
    proposal = propose(space, limits, kinds=kinds)
    assert {point.kind for point in proposal.points} | set(proposal.dropped) == set(kinds)
    compound_point = proposal.points[0]
    assert (compound_point.kind, compound_point.equality) == ("compound", 1)
    for proposed in proposal.points:
        point = proposed.point
        counted = count(space.family.network, point.resolution, **space.options(point))
        assert proposed.predicted.multiply_adds == counted.total.multiply_adds
        assert limits.allows(proposed.predicted)
        if proposed.kind in SINGLE:
            continue
        for axis in AXES:
            values = space.grid[axis]
            if limits.allows(space.costs(point._replace(**{axis: values[-1]}))):
                continue  # no limit binds here
            place = values.index(getattr(point, axis))
            larger = point._replace(**{axis: values[place + 1]})
            assert not limits.allows(space.costs(larger)), (proposed, larger)


def test_single_axes_have_the_compound_ones_multiply_adds_and_change_nothing_else() -> None:
    space = Space(family("mobilenet_v2"), num_classes=10)
    proposal = propose(space, Budget(multiply_adds=280e6), kinds=("compound", *SINGLE))
    points = {point.kind: point for point in proposal.points}
    assert set(points) == {"compound", *SINGLE}
    for axis in SINGLE:
        point = points[axis].point
        others = [other for other in AXES if other != axis]
        assert [getattr(point, other) for other in others] == [{"resolution": 224}.get(other, 1.0) for other in others]
        assert 0.75 < points[axis].equality < 1.1
        assert (
            points[axis].equality == points[axis].predicted.multiply_adds / points["compound"].predicted.multiply_adds
        )


def test_the_next_value_of_a_single_axis_would_be_further_from_equal_or_over_the_budget() -> None:
    space, budget = Space(family("mobilenet_v2"), num_classes=10), Budget(multiply_adds=100e6)
    points = {point.kind: point for point in propose(space, budget, kinds=("compound", "width")).points}
    target = points["compound"].predicted.multiply_adds
    path = space.along("width")
    place = path.index(points["width"].point)
    for other in (path[place - 1], path[place + 1]):
        costs = space.costs(other)
        further = abs(math.log(costs.multiply_adds / target)) >= abs(math.log(points["width"].equality))
        assert further or not budget.allows(costs)


def test_paths_grow_and_follow_the_formula() -> None:
    space = Space(family("efficientnet"), num_classes=10)
    assert space.at("compound", 0) == Point(1.0, 1.0, 224)
    assert space.at("compound", 2) == Point(1.21, 1.5, 296)  # depth 1.44 is taken up, as the authors' code takes it
    assert space.at("compound", -2) == Point(0.83, 0.75, 168)
    assert space.at("width", 2) == Point(1.21, 1.0, 224)
    assert space.at("depth+resolution", 2) == Point(1.0, 1.5, 296)
    for kind in PATHS:
        points = space.along(kind)
        assert all(all(b >= a for a, b in zip(p, q, strict=True)) for p, q in itertools.pairwise(points))
    assert (space.along("compound")[0], space.along("width")[0]) == (space.smallest, Point(0.1, 1.0, 224))


def test_a_fixed_input_is_not_scaled() -> None:
    space = Space(family("mobilenet_v2"), num_classes=10, input_size=32)
    proposal = propose(space, Budget(multiply_adds=20e6), kinds=("compound", "resolution", "width+depth"))
    assert {point.point.resolution for point in proposal.points} == {32}
    assert proposal.dropped["resolution"] == "the input size is fixed at 32 pixels"
    assert proposal.dropped["width+depth"] == "the same network as compound"


def test_a_correction_makes_room(latency_model) -> None:
    """Where times were measured to be twice the predicted ones, twice the predicted time must be in the budget."""
    space, budget = Space(family("mobilenet_v2"), num_classes=10, latency_model=latency_model), Budget(latency_ms=8)
    (plain,) = propose(space, budget, kinds=["compound"]).points
    (halved,) = propose(space, budget, kinds=["compound"], corrections={"compound": {"latency_ms": 2}}).points
    assert plain.predicted.latency_ms is not None
    assert halved.predicted.latency_ms is not None
    assert 2 * halved.predicted.latency_ms <= 8 < 2 * plain.predicted.latency_ms
    corrections = {"depth": {"latency_ms": 1.5}}
    low = propose(space, Budget(latency_ms=2.5), kinds=["depth"], corrections=corrections).dropped["depth"]
    assert low.endswith("ms by corrected prediction")


def test_what_no_network_keeps_is_reported_with_the_smallest() -> None:
    space = Space(family("resnet"), num_classes=10)
    with pytest.raises(ModelError) as raised:
        propose(space, Budget(size_bytes=1000, multiply_adds=1e9))
    smallest = space.costs(Point(0.1, 0.16, 72))
    assert str(raised.value) == (
        "no resnet50 is within 1,000,000,000 multiply-adds, 0.00 MB of file: the smallest (width 0.1, depth 0.16, 72x72"
        f" pixels) has {smallest.multiply_adds:,} multiply-adds, {smallest.parameters:,} weights, "
        f"{smallest.size_bytes / 1e6:.2f} MB of file, {smallest.memory_bytes / 1e6:.2f} MB of memory; allow more bytes "
        "of file"
    )


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "5", True])
@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Budget)])
def test_impossible_limits(name: str, value) -> None:
    with pytest.raises(ModelError, match=f"{name} is {value!r}, expected a number above 0"):
        Budget(**{name: value})


def test_impossible_questions(latency_model) -> None:
    with pytest.raises(ModelError, match="the budget has no limit"):
        Budget()
    with pytest.raises(ModelError, match="unknown family 'mobilnet_v2'; did you mean 'mobilenet_v2'"):
        family("mobilnet_v2")
    with pytest.raises(ModelError, match="unknown kind 'widht'; did you mean 'width'"):
        propose(Space(family("resnet")), Budget(parameters=1e6), kinds=["widht"])
    with pytest.raises(ModelError, match="needs a latency model"):
        propose(Space(family("resnet")), Budget(latency_ms=5))
    for size in (8, 0, 4096, 32.0, "32"):
        with pytest.raises(ModelError, match="input_size is"):
            Space(family("resnet"), input_size=size)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="num_classes is 0"):
        Space(family("resnet"), num_classes=0)


def test_an_overrun_names_the_exceeded_limits() -> None:
    costs = NetworkCosts(multiply_adds=10, parameters=5, size_bytes=100, memory_bytes=100, latency_ms=None)
    budget = Budget(multiply_adds=10, parameters=4, latency_ms=1)
    assert budget.overruns(costs) == {"parameters": 5}
    assert not budget.allows(costs)
    assert budget.allows(costs._replace(parameters=4))
    assert budget.overruns(costs._replace(latency_ms=1.01)) == {"parameters": 5, "latency_ms": 1.01}
