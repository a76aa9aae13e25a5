"""What a network costs: against figures from outside, torch's own counter, closed formulas and counts by hand."""

import gc
import json
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as torch_modules

import casebook
from casebook.cost import formulas
from casebook.cost.count import count
from casebook.errors import ModelError
from casebook.models import FAMILIES, create_model, list_models

from ..models.golden import GOLDEN


class Small(nn.Module):
    """Two convolutions beside each other, a sum, a pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3, padding=1)
        self.right = nn.Conv2d(3, 4, (1, 5), padding=(0, 2), bias=False)
        self.relu = nn.ReLU()
        self.head = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 4 * 4, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.left(x) + self.right(x)))


# The first and the last of each family; tests/models/test_catalogue.py counts all networks in a third way.
ENDS = {names[place] for names in FAMILIES.values() for place in (0, -1)}


@pytest.mark.parametrize(
    "name", [name if name in ENDS else pytest.param(name, marks=pytest.mark.slow) for name in list_models()]
)
def test_golden_counts_closed_form_and_traced(name: str) -> None:
    golden, found = GOLDEN[name], count(name, traced=True)
    assert (found.total.parameters, found.total.multiply_adds) == (golden.parameters, golden.multiply_adds)
    assert found.traced_multiply_adds == found.total.multiply_adds
    assert found.agrees
    stages = [stage for stage in found.stages if stage.name.startswith("stage ")]
    assert stages[-1].output_shape == golden.feature_map
    assert [stage.name for stage in found.stages] == ["stem", *(f"stage {n + 1}" for n in range(len(stages))), "head"]
    for key in ("parameters", "multiplications", "additions", "activation_bytes"):
        expected = getattr(found.total, key)
        for rows in (found.layers, found.stages, found.at_depth(1).layers, found.at_depth(3).layers):
            assert sum(getattr(row, key) or 0 for row in rows) == expected
    assert all(len(line) <= 120 for line in str(found).splitlines())


def test_by_hand() -> None:
    found = count(Small(), 8, batch_size=10, optimiser="adamw")
    rows = {layer.name: layer for layer in found.layers}
    assert list(rows) == ["left", "right", "relu", "head.0", "head.1", "head.2"]

    left, right, linear = rows["left"], rows["right"], rows["head.2"]
    assert (left.type, left.output_shape) == ("Conv2d", (4, 8, 8))
    assert (left.kernel_size, left.stride, left.padding, left.groups) == ((3, 3), (1, 1), (1, 1, 1, 1), 1)
    assert (left.parameters, left.multiplications, left.additions) == (112, 256 * 27, 256 * 27)
    assert (right.padding, right.parameters) == ((0, 0, 2, 2), 60)
    assert (right.multiplications, right.additions) == (256 * 15, 256 * 14)
    assert (linear.parameters, linear.multiplications, linear.additions) == (650, 640, 640)
    assert (rows["relu"].multiplications, rows["relu"].additions, rows["relu"].parameters) == (None, None, 0)
    assert (rows["head.1"].multiplications, rows["head.1"].activation_bytes) == (0, 0)
    assert [layer.activation_bytes for layer in found.layers] == [10240, 10240, 10240, 2560, 0, 400]
    assert [layer.receptive_field for layer in found.layers] == [(3, 3), (1, 5), (3, 5), (4, 6), (4, 6), (8, 8)]
    assert [layer.whole_input for layer in found.layers] == [False] * 5 + [True]

    total = found.total
    assert (total.parameters, total.multiply_adds, total.additions) == (822, 11392, 6912 + 3584 + 640)
    assert {(entry.module_type, entry.operator, entry.calls, entry.results) for entry in found.not_counted} == {
        ("Small", "add", 1, 256),
        ("ReLU", "relu", 1, 256),
        ("MaxPool2d", "max_pool2d", 1, 64),
    }
    memory = found.memory
    # Most is alive when the sum is made: left, right, and the sum itself; the picture was last used by `right`.
    assert (memory.peak_activation_bytes, memory.peak_module) == (10 * 3 * 1024, "")
    # Kept: the picture, the output of the ReLU, the places of the maxima (int64) and the pooled numbers.
    assert memory.saved_activation_bytes == 10 * (768 + 1024 + 64 * 8 + 64 * 4)
    assert (memory.weight_bytes, memory.gradient_bytes, memory.optimiser_bytes) == (822 * 4, 822 * 4, 822 * 8)
    assert memory.inference_bytes == 822 * 4 + 30720
    assert memory.training_bytes == 822 * 16 + memory.saved_activation_bytes


@pytest.mark.parametrize("name", ["lenet5", "lenet5_1998", "resnet20", "mobilenet_v2_035", "resnet18"])
def test_saved_activations_are_those_of_a_real_run(name: str) -> None:
    found, kept = count(name, batch_size=2), {}
    network = create_model(name).train()
    weights = {tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.randn(2, *found.input_shape))
    assert found.memory.saved_activation_bytes == sum(storage.nbytes() for storage in kept.values())


def test_receptive_fields_follow_the_closed_formula() -> None:
    vgg, depths = [], (2, 2, 3, 3, 3)
    for depth in depths:
        vgg += [(3, 1)] * depth + [(2, 2)]
    found = count("vgg16")
    seen = [layer.receptive_field for layer in found.layers if layer.kernel_size]
    expected = [formulas.receptive_field(vgg[: n + 1])[0] for n in range(len(vgg))]
    assert seen == [(size, size) for size in expected]
    assert expected[-1] == 212
    bottleneck = [(1, 1), (3, 2), (1, 1)], [(1, 1), (3, 1), (1, 1)]
    resnet = [(7, 2), (3, 2), *bottleneck[1] * 3]
    for depth in (4, 6, 3):
        resnet += bottleneck[0] + bottleneck[1] * (depth - 1)
    size = formulas.receptive_field(resnet)[0]
    assert count("resnet50").stages[-2].receptive_field == (size, size)


def test_receptive_fields_through_slices_dilation_gates_and_what_is_not_known() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dilated = nn.Conv2d(1, 2, 3, dilation=2, padding=2)
            self.after_slice = nn.Conv2d(2, 2, 3)
            self.gated = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            x = self.after_slice(self.dilated(x)[:, :, ::2, ::2])
            return self.gated(x * x.mean((2, 3), keepdim=True))

    rows = {layer.name: layer for layer in count(Odd(), 16).layers}
    assert rows["dilated"].receptive_field == (5, 5)
    assert rows["after_slice"].receptive_field == (9, 9)
    assert rows["gated"].whole_input
    assert rows["gated"].receptive_field == (16, 16)

    class Shuffled(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](functional.pixel_shuffle(self[0](x), 2))

    last = count(Shuffled(nn.Conv2d(1, 4, 3), nn.ReLU()), 16).layers[-1]
    assert (last.receptive_field, last.whole_input) == (None, False)


def test_weights_that_layers_share_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(self.first(x)))

    found = count(Tied(), 16)
    assert [(layer.name, layer.parameters) for layer in found.layers] == [("first", 84), ("first", 0), ("second", 3)]
    assert found.total.parameters == sum(weight.numel() for weight in Tied().parameters())
    assert found.total.multiplications == 81 * (14**2 + 12**2 + 10**2)
    assert [layer.name for layer in found.at_depth(1).layers] == ["first", "second"]


def test_products_by_functions_are_counted() -> None:
    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(6, 3, 3, 3))
            self.up = nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2)
            self.mix = nn.MultiheadAttention(4, 2, batch_first=True)
            self.idle = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.up(functional.conv2d(x, self.kernel, groups=1))
            tokens = x.flatten(2).transpose(1, 2)
            return self.mix(tokens, tokens, tokens)[0] @ x.flatten(2)

    network = Functions()
    found = count(network, 10, in_channels=3, traced=True)
    assert found.agrees
    assert found.total.parameters == sum(weight.numel() for weight in network.parameters())
    rows = {layer.name: layer for layer in found.layers}
    assert rows["up"].multiplications == 6 * 8 * 8 * 2 * 4
    assert rows["up"].additions == 6 * 8 * 8 * 2 * 4
    assert (rows["idle"].parameters, rows["idle"].output_shape, rows["idle"].multiplications) == (30, (), 0)
    assert ("MultiheadAttention", "softmax") in {(e.module_type, e.operator) for e in found.not_counted}


def test_padding_on_one_side_shows() -> None:
    first = count("mobilenet_v2", padding="same").layers[0]
    assert (first.type, first.stride, first.padding) == ("SameConv2d", (2, 2), (0, 1, 0, 1))
    with pytest.warns(UserWarning, match="even kernel lengths"):
        even = count(nn.Conv2d(3, 3, 4, padding="same"), 8).layers[0]
    assert (even.name, even.padding, even.output_shape) == ("Conv2d", (1, 2, 1, 2), (3, 8, 8))


def test_auxiliary_heads_are_told_apart() -> None:
    plain, found = count("googlenet"), count("googlenet", auxiliary_heads=2)
    assert found.total == plain.total
    assert found.layers[: len(plain.layers)] == plain.layers
    heads = found.stages[-1]
    assert (heads.name, heads.training_only) == ("auxiliary", True)
    network = create_model("googlenet", auxiliary_heads=2)
    assert heads.parameters == sum(weight.numel() for weight in network.auxiliary.parameters())
    assert heads.multiplications > 0
    assert found.memory.gradient_bytes == 4 * (plain.total.parameters + heads.parameters)
    assert found.memory.saved_activation_bytes > plain.memory.saved_activation_bytes
    assert found.memory.peak_activation_bytes == plain.memory.peak_activation_bytes


def test_depth() -> None:
    found = count("resnet18")
    assert [layer.name for layer in found.at_depth(1).layers] == [
        "stem", "stages.0", "stages.1", "stages.2", "stages.3", "head",
    ]  # fmt: skip
    block = next(layer for layer in found.at_depth(2).layers if layer.name == "stages.1.0")
    assert (block.output_shape, block.parameters) == ((128, 28, 28), 230_144)
    assert found.at_depth(99) == found
    assert found.at_depth(1).stages == found.stages
    with pytest.raises(ModelError, match="depth is 0, expected at least 1"):
        found.at_depth(0)


def test_a_module_is_left_as_it_is() -> None:
    network, calls = Small().train(), []
    network.left.register_forward_hook(lambda *_: calls.append("hook"))
    before = {key: (value.data_ptr(), value.clone()) for key, value in network.state_dict().items()}
    hooks = [dict(part._forward_hooks) for part in network.modules()]
    found = count(network, 8)
    assert found.total.parameters == 822
    assert calls == []
    assert [dict(part._forward_hooks) for part in network.modules()] == hooks
    assert all(part.training for part in network.modules())
    for key, value in network.state_dict().items():
        assert value.data_ptr() == before[key][0]
        assert torch.equal(value, before[key][1])


def test_no_hook_outlives_a_failure() -> None:
    class Fails(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            if super().forward(input).sum() > 0:
                return input
            return -input

    with pytest.raises(ModelError, match=r"Fails does not run on the meta device with images of \(3, 8, 8\)"):
        count(Fails(3, 3, 3), 8)
    assert not torch_modules._global_forward_hooks
    assert not torch_modules._global_forward_pre_hooks
    assert (torch.ones(2) + 1).sum() == 4


def test_a_network_of_ours_may_come_as_a_module_on_any_device() -> None:
    for device in ("cpu", "meta"):
        with torch.device(device):
            network = create_model("resnet20", num_classes=7)
        found = count(network, 32)
        assert found.network == type(network).__name__
        assert found.layers == count("resnet20", num_classes=7).layers


def test_weights_of_half_the_size() -> None:
    whole, half = count(Small(), 8), count(Small().bfloat16(), 8)
    assert half.memory.weight_bytes * 2 == whole.memory.weight_bytes
    assert half.memory.peak_activation_bytes * 2 == whole.memory.peak_activation_bytes


def test_size_and_batch() -> None:
    square, wide = count("resnet18"), count("resnet18", (224, 448), batch_size=8)
    assert wide.input_shape == (3, 224, 448)
    assert wide.stages[0].output_shape == (64, 56, 112)
    assert wide.total.multiplications == 2 * (square.total.multiplications - 512_000) + 512_000
    assert wide.memory.peak_activation_bytes == 16 * square.memory.peak_activation_bytes
    assert wide.memory.weight_bytes == square.memory.weight_bytes


def test_shapes_as_the_slides_write_them() -> None:
    document = count("lenet5").to_dict("HWC")
    assert (document["shape_order"], document["input_shape"]) == ("HWC", [32, 32, 1])
    assert document["layers"][0]["output_shape"] == [28, 28, 6]
    assert document["layers"][-1]["output_shape"] == [10]
    assert json.loads(json.dumps(document)) == document


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "resnet51"}, "unknown network 'resnet51'; did you mean"),
        ({"network": "resnet18", "input_size": 20}, "images are 20x20, expected at least 33x33"),
        ({"network": "lenet5", "input_size": 224}, "expected exactly 32x32"),
        ({"network": "resnet18", "input_size": 0}, "input_size is 0, expected a side in pixels or"),
        ({"network": "resnet18", "input_size": (3, 224, 224)}, "input_size is .*, expected a side"),
        ({"network": "resnet18", "input_size": 224.0}, "input_size is 224.0, expected a side"),
        ({"network": "resnet18", "input_size": 10**12}, "input_size is 1000000000000, expected a side"),
        ({"network": "resnet18", "batch_size": 0}, "batch_size is 0, expected an integer of at least 1"),
        ({"network": "resnet18", "optimiser": "adam"}, "unknown optimiser 'adam'; did you mean 'adamw'"),
        ({"network": "resnet18", "dilation": 3}, "resnet18 has no option 'dilation'"),
        ({"network": Small()}, "input_size is missing; a module needs"),
        ({"network": Small(), "input_size": 8, "num_classes": 3}, "num_classes needs the name of a network"),
        ({"network": Small(), "input_size": 8, "in_channels": 4}, "Small does not run on the meta device with images"),
        ({"network": nn.Linear(3, 3), "input_size": 8}, "Linear has no convolution to read in_channels from"),
        ({"network": nn.LazyConv2d(3, 3), "input_size": 8}, "LazyConv2d has no weights yet"),
        ({"network": nn.Conv2d(3, 3, 9), "input_size": 8}, "a window of 9 does not fit"),
    ],
)
def test_what_cannot_be_counted(arguments: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        count(**arguments)


def test_the_public_name() -> None:
    assert casebook.count is count


def test_the_compiler_stays_out_and_memory_is_small() -> None:
    """Half of the time, and more memory than the engine itself, would go into sympy and torch's compiler."""
    program = (
        "import sys; from pathlib import Path;"
        "from casebook.cost.count import count; from casebook.models import FAMILIES;"
        "from torch import nn; count(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()), 9);"
        "[count(names[-1]) for names in FAMILIES.values()];"
        "print([name for name in ('sympy', 'torch._dynamo', 'torch._inductor') if name in sys.modules]);"
        "status = Path('/proc/self/status');"  # getrusage would count what the parent had before the fork
        "print(int(status.read_text().split('VmHWM:')[1].split()[0]) // 1024 if status.exists() else 0)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    modules, megabytes = answer.stdout.splitlines()
    assert modules == "[]"
    assert int(megabytes) < 600


def test_nothing_is_kept_between_counts() -> None:
    """autograd's graph and the hooks that watch it must not hold each other."""
    count("resnet20")
    gc.collect()
    before = sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())
    count("resnet20")
    gc.collect()
    assert sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()) == before
