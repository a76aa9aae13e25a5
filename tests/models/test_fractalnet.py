"""FractalNets: counts by closed form, which columns meet where, drop-path, the deepest column, and each departure."""

import copy

import pytest
import torch
from torch import nn

from casebook.errors import ModelError
from casebook.models import create_model
from casebook.models.fractalnet import DropPathDraw, FractalBlock, Join, deepest_column
from casebook.models.temporary import overwriting_activations

from .golden import GOLDEN
from .networks import on_meta

FRACTAL = {"fractalnet20": 3, "fractalnet40": 4}
COLUMNS = {"fractalnet20_column": 4, "fractalnet40_column": 8}


def closed_form(firsts: int, others: int) -> tuple[int, int]:
    """Parameters and multiply-adds of five blocks, each of so many 3x3 convolutions with bias, scale and shift that
    see the block's input, and so many that see its own channels; then a linear layer to 10 classes."""
    parameters, multiply_adds, in_channels, side = 512 * 10 + 10, 512 * 10, 3, 32
    for channels in (64, 128, 256, 512, 512):
        weights = 9 * channels * (firsts * in_channels + others * channels)
        parameters += weights + (firsts + others) * 3 * channels
        multiply_adds += weights * side * side
        in_channels, side = channels, side // 2
    return parameters, multiply_adds


@pytest.mark.parametrize(("name", "columns"), FRACTAL.items())
def test_counts_by_closed_form(name, columns):
    golden = GOLDEN[name]
    assert closed_form(columns, 2**columns - 1 - columns) == (golden.parameters, golden.multiply_adds)


@pytest.mark.parametrize(("name", "depth"), COLUMNS.items())
def test_counts_of_a_column_by_closed_form(name, depth):
    golden = GOLDEN[name]
    assert closed_form(1, depth - 1) == (golden.parameters, golden.multiply_adds)


@pytest.mark.parametrize("name", [*FRACTAL, *COLUMNS])
def test_blocks_halve_the_picture(name):
    network = on_meta(name)
    x = network.stem(torch.empty(1, 3, 32, 32, device="meta"))
    for stage, (channels, side) in zip(network.stages, [(64, 16), (128, 8), (256, 4), (512, 2), (512, 1)], strict=True):
        x = stage(x)
        assert x.shape == (1, channels, side, side)
    with pytest.raises(ModelError, match="at least 32x32"):
        network(torch.empty(1, 3, 31, 31, device="meta"))


@pytest.mark.parametrize("name", [*FRACTAL, *COLUMNS])
def test_a_name_counts_the_convolutions_of_the_deepest_path(name):
    depth = int(name.removeprefix("fractalnet").removesuffix("_column"))
    rows = [row for stage in on_meta(name).stages for row in stage[0].rows]
    assert len(rows) == depth


def test_columns_meet_as_in_figure_1():
    """C = 4: the expansion f(C) = f(C-1) after f(C-1), beside one convolution, with joins of all that end together."""

    def ends(columns: int) -> list[int]:
        if columns == 1:
            return [1]
        half = ends(columns - 1)
        return [*half, *half[:-1], half[-1] + 1]

    for name, columns in FRACTAL.items():
        for stage in on_meta(name).stages:
            assert [len(row) for row in stage[0].rows] == ends(columns)


def numbered(block: FractalBlock) -> None:
    """Makes each unit add its number, so that the block's output tells the paths."""

    class Add(nn.Module):
        def __init__(self, number: float):
            super().__init__()
            self.number = number

        def forward(self, x):
            return x + self.number

    number = 1.0
    for row in block.rows:
        for i in range(len(row)):
            row[i] = Add(number)
            number *= 10


def test_a_join_averages_the_columns_that_end_there():
    block = on_meta("fractalnet20").stages[0][0]
    numbered(block)  # rows: 1 | 10, 100 | 1,000 | 10,000, 100,000, 1,000,000
    x = torch.zeros(1, 1, 1, 1)
    middle = ((1 + 10) + 100) / 2
    assert block(x).item() == pytest.approx((middle + 1_000 + 10_000 + middle + 100_000 + 1_000_000) / 3)


def test_every_column_is_pooled_before_the_last_join():
    for stage in on_meta("fractalnet20").stages:
        *earlier, last = stage[0].rows
        assert all(isinstance(unit.pool, nn.MaxPool2d) for unit in last)
        assert all(isinstance(unit.pool, nn.Identity) for row in earlier for unit in row)


def dropout_rates(network) -> list[set[float]]:
    """Of each block."""
    return [
        {unit.dropout.p if isinstance(unit.dropout, nn.Dropout) else 0.0 for row in stage[0].rows for unit in row}
        for stage in network.stages
    ]


def test_dropout_rises_over_the_blocks_and_comes_before_the_norm():
    assert dropout_rates(on_meta("fractalnet20")) == [{0.0}, {0.1}, {0.2}, {0.3}, {0.4}]
    unit = on_meta("fractalnet20").stages[1][0].rows[0][0]
    assert [name for name, _ in unit.named_children()] == ["conv", "dropout", "norm", "activation", "pool"]


@pytest.mark.parametrize("name", [*FRACTAL, *COLUMNS])
def test_only_a_column_of_its_own_departs_from_the_papers_dropout(name):
    some, none = [{0.0}, {0.1}, {0.2}, {0.3}, {0.4}], [{0.0}] * 5
    for options, has_dropout in (({}, name in FRACTAL), ({"dropout": True}, True), ({"dropout": False}, False)):
        network = on_meta(name, **options)
        assert dropout_rates(network) == (some if has_dropout else none)
        told = "dropout" in [departure.what for departure in network.departures]
        assert told == (name in COLUMNS and not has_dropout)


# Drop-path


def draws(p: float, seeds: range, num_columns: int = 3) -> list[DropPathDraw]:
    found = []
    for seed in seeds:
        draw = DropPathDraw(num_columns, p).train()
        torch.manual_seed(seed)
        draw(torch.zeros(1))
        found.append(draw)
    return found


def test_half_of_the_mini_batches_keep_one_column():
    drawn = draws(0.15, range(400))
    share = sum(bool(draw.is_global) for draw in drawn) / len(drawn)
    assert 0.43 < share < 0.57
    kept = [int(draw.column) for draw in drawn if draw.is_global]
    assert all(kept.count(column) / len(kept) == pytest.approx(1 / 3, abs=0.1) for column in range(3))
    for draw in drawn:
        if draw.is_global:
            for num_paths in (2, 3):
                kept = [i for i, keep in enumerate(draw.kept(num_paths)) if keep]
                # a join above the column that counts feeds nothing
                assert kept == ([int(draw.column)] if draw.column < num_paths else list(range(num_paths)))


@pytest.mark.parametrize(("p", "all_kept"), [(0.15, 0.85**3), (0.9, 0.1**3)])
def test_local_drop_path_keeps_at_least_one_and_otherwise_each_with_its_chance(p, all_kept):
    drawn = [draw for draw in draws(p, range(1200)) if not draw.is_global]
    kept = torch.stack([draw.kept(3) for draw in drawn])
    assert kept.any(1).all()
    assert kept.all(1).float().mean().item() == pytest.approx(all_kept, abs=0.06)
    one = 3 * (1 - p) * p**2 + p**3  # drawn, or saved where none was left
    assert (kept.sum(1) == 1).float().mean().item() == pytest.approx(one, abs=0.06)
    assert kept.float().mean(0).tolist() == pytest.approx([1 - p + p**3 / 3] * 3, abs=0.06)


def test_a_join_averages_the_kept_paths():
    paths = [torch.full((2, 1, 1, 1), value) for value in (1.0, 10.0, 100.0)]
    seen = set()
    for seed, draw in enumerate(draws(0.4, range(60))):
        torch.manual_seed(seed)
        kept = draw.kept(3)
        torch.manual_seed(seed)
        joined = Join(draw)(paths)
        values = [path for path, keep in zip(paths, kept, strict=True) if keep]
        torch.testing.assert_close(joined, torch.stack(values).mean(0))
        assert torch.equal(Join(draw.eval())(paths), torch.full((2, 1, 1, 1), 37.0))
        seen.add(tuple(kept.tolist()))
    assert len(seen) >= 5


def test_training_with_drop_path_follows_from_the_seed_and_evaluation_has_none():
    torch.manual_seed(0)
    network = create_model("fractalnet20", num_classes=3, drop_path=0.15)
    plain = create_model("fractalnet20", num_classes=3)
    plain.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network.eval()(x), plain.eval()(x))
        outputs = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            outputs.append(copy.deepcopy(network).train()(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_a_dropped_column_learns_nothing():
    network = create_model("fractalnet20", num_classes=3, drop_path=0.15).train()
    x = torch.randn(2, 3, 32, 32)
    for seed in range(100):
        torch.manual_seed(seed)
        network.stem(x)
        if network.stem.is_global and network.stem.column == 2:
            break
    network.head(network.stages(x)).square().sum().backward()
    for stage in network.stages:
        *earlier, last = stage[0].rows
        assert last[2].conv.weight.grad.abs().sum() > 0
        for unit in [*(unit for row in earlier for unit in row), *last[:2]]:
            assert unit.conv.weight.grad.abs().sum() == 0


def test_drop_path_is_a_departure_until_it_is_asked_for():
    assert [departure.what for departure in on_meta("fractalnet20").departures] == ["batch norm", "drop-path"]
    assert [departure.what for departure in on_meta("fractalnet20", drop_path=0.15).departures] == ["batch norm"]
    assert on_meta("fractalnet20").stem.p == 0
    assert on_meta("fractalnet20", drop_path=0.15).stem.p == 0.15
    assert on_meta("fractalnet20_column").stem.p == 0
    with pytest.raises(ModelError, match="drop_path is 1, expected at least 0 and below 1"):
        create_model("fractalnet20", drop_path=1)
    with pytest.raises(ModelError, match="no option 'drop_path'"):
        create_model("fractalnet20_column", drop_path=0.1)


# The deepest column


def test_the_deepest_column_is_the_network_with_only_that_active():
    torch.manual_seed(0)
    network = create_model("fractalnet20", num_classes=7, in_channels=2, drop_path=0.15)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    network.eval()
    column = deepest_column(network)
    assert not column.training
    assert column.name == "fractalnet20_column"
    assert column.options == {"num_classes": 7, "in_channels": 2, "dropout": True}
    x = torch.randn(3, 2, 32, 32)
    with torch.no_grad():
        whole = network(x)
        network.stem.train()
        network.stem.is_global, network.stem.column = torch.tensor(True), torch.tensor(0)
        alone = network.head(network.stages(x))
        assert torch.equal(column(x), alone)
        assert not torch.allclose(whole, alone)
        network.stem.column = torch.tensor(1)
        assert not torch.allclose(network.head(network.stages(x)), alone)


@pytest.mark.slow
def test_the_deepest_column_of_40_layers():
    network = create_model("fractalnet40", num_classes=3).double()
    column = deepest_column(network)
    assert column.training
    assert column.name == "fractalnet40_column"
    assert sum(isinstance(module, nn.Conv2d) for module in column.modules()) == 40
    assert next(column.parameters()).dtype == torch.float64
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in column.state_dict().items())
    next(column.parameters()).data.zero_()
    assert next(network.parameters()).abs().sum() > 0  # copies
    assert dropout_rates(column) == dropout_rates(network) == [{0.0}, {0.1}, {0.2}, {0.3}, {0.4}]
    assert dropout_rates(deepest_column(create_model("fractalnet40", num_classes=3, dropout=False))) == [{0.0}] * 5


# Departures and initial weights


@pytest.mark.parametrize("name", [*FRACTAL, *COLUMNS])
def test_convolutions_have_a_bias_and_batch_norms_learn(name):
    network = on_meta(name)
    assert all(module.bias is not None for module in network.modules() if isinstance(module, nn.Conv2d))
    assert all(module.affine for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    assert "batch norm" in [departure.what for departure in network.departures]
    assert ("channels" in [departure.what for departure in network.departures]) == ("40" in name)


def test_40_layers_have_the_channels_of_20():
    for stages in zip(on_meta("fractalnet20").stages, on_meta("fractalnet40").stages, strict=True):
        assert len({stage[0].rows[0][0].conv.out_channels for stage in stages}) == 1


def test_weights_start_uniform_with_variance_1_over_fan_in():
    network = create_model("fractalnet20_column")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = (3 / module.weight[0].numel()) ** 0.5
            assert 0.99 * bound < module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
            assert module.bias.abs().sum() == 0


def test_overwriting_its_relus_changes_nothing():
    network, x = create_model("fractalnet20", num_classes=3, drop_path=0.15).train(), torch.randn(2, 3, 32, 32)
    gradients = []
    for overwrite in (False, True):
        network.zero_grad()
        torch.manual_seed(3)
        if overwrite:
            with overwriting_activations(network):
                network(x).square().sum().backward()
        else:
            network(x).square().sum().backward()
        gradients.append([weight.grad.clone() for weight in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
