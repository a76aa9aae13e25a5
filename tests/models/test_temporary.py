import pytest
import torch
from torch import nn

from casebook.models import create_model, layers
from casebook.models.temporary import folding_norms, overwriting_activations


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "plain18", "resnet20", "mobilenet_v2_035", "lenet5"])
def test_overwriting_activations_changes_no_bit_and_is_taken_back(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=5).train()
    size = network.smallest_input if network.fixed_input else max(network.smallest_input, 40)
    images = torch.randn(3, network.in_channels, size, size)
    labels = torch.tensor([0, 1, 2])

    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(1)  # dropout
        network.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        return [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]

    before = gradients()
    with overwriting_activations(network):
        inside = gradients()
    assert len(inside) == len(list(network.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(before, inside, strict=True))
    assert not any(getattr(module, "inplace", False) for module in network.modules())


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "resnet20", "resnet18_v2", "efficientnet_b0", "googlenet_bn", "inception_v3", "xception"]
)
def test_folded_norms_give_the_same_outputs_and_are_taken_back(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=3).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after a training
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, 0, 0.1)
    network.eval()
    kept, modules = dict(network.state_dict(keep_vars=True)), list(network.modules())
    images = torch.randn(2, 3, network.smallest_input, network.smallest_input, dtype=torch.float64)
    with torch.no_grad():
        expected = network(images)
        with folding_norms(network):
            num_norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
            torch.testing.assert_close(network(images), expected, rtol=1e-9, atol=1e-9)
    assert num_norms < sum(isinstance(module, nn.BatchNorm2d) for module in modules)
    assert all(one is other for one, other in zip(network.modules(), modules, strict=True))
    assert all(value is kept[name] for name, value in network.state_dict(keep_vars=True).items())


def test_an_overwriting_relu6_keeps_one_tensor_and_gives_the_same_gradients() -> None:
    torch.manual_seed(0)
    block = layers.ConvNormReLU6(3, 8, 3).train()
    nn.init.constant_(block.norm.bias, 3.0)
    nn.init.constant_(block.norm.weight, 4.0)  # many values on both sides of 0 and of 6
    images, kept = torch.randn(4, 3, 16, 16), dict[int, torch.Size]()

    def gradients() -> list[torch.Tensor]:
        block.zero_grad()
        kept.clear()

        def keep(value: torch.Tensor) -> torch.Tensor:
            kept[value.untyped_storage().data_ptr()] = value.shape
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            output = block(images)
            loss = (output * output).sum()
        assert (output == 0).any()
        assert (output == 6).any()
        loss.backward()
        return [weight.grad.clone() for weight in block.parameters() if weight.grad is not None]

    before = gradients()
    assert list(kept.values()).count(torch.Size([4, 8, 16, 16])) == 3  # the norm's input and output, the block's
    with overwriting_activations(block):
        inside = gradients()
        assert list(kept.values()).count(torch.Size([4, 8, 16, 16])) == 2  # the norm's input, the block's output
    assert all(torch.equal(a, b) for a, b in zip(before, inside, strict=True))
    assert "forward" not in vars(block.activation)
