"""torch.fx and torch.compile take every network as one graph; test_catalogue.py exports them."""

import pytest
import torch

from casebook.errors import ModelError
from casebook.models import create_model, list_models

# One of each structure: TensorFlow's padding, pairs of maps, joins, auxiliary heads, a fixed input, codes as output.
QUICK = ("lenet5", "lenet5_1998", "resnet20", "squeezenet1_1", "fractalnet20_column", "mobilenet_v1_025")
FX_ONLY = ("resnet18", "nasnet_mobile", "googlenet", "inception_v2", "xception", "densenet121", "efficientnet_b0")
REST = [pytest.param(name, marks=pytest.mark.full) for name in list_models() if name not in QUICK]
FX_REST = [pytest.param(name, marks=pytest.mark.full) for name in list_models() if name not in QUICK + FX_ONLY]


def on_meta(name, batch, **options):
    """A network and images without numbers, of the smallest size."""
    with torch.device("meta"):
        network = create_model(name, **options).eval()
        side = network.smallest_input
        return network, torch.empty(batch, network.in_channels, side, side)


@pytest.mark.parametrize("name", [*QUICK, *FX_ONLY, *FX_REST])
def test_fx_traces_it_with_the_check_of_its_input(name):
    network, images = on_meta(name, 3)
    traced = torch.fx.symbolic_trace(network)
    assert traced(images).shape == network(images).shape
    with pytest.raises(ModelError, match="expected"):
        traced(images[:, :, 1:])


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_a_traced_network_gives_the_same_numbers(padding):
    torch.manual_seed(0)
    network = create_model("mobilenet_v2_035", num_classes=5, padding=padding).eval()
    images = torch.randn(2, 3, 41, 40)
    with torch.no_grad():
        assert torch.equal(torch.fx.symbolic_trace(network)(images), network(images))


@pytest.mark.parametrize("name", [*QUICK, *REST])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch.compile itself
def test_it_compiles_as_one_graph(name, training):
    torch.compiler.reset()
    network, images = on_meta(name, 2)
    network.train(training)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    assert compiled(images).shape == network(images).shape


@pytest.mark.parametrize("name", ["googlenet", pytest.param("inception_v3", marks=pytest.mark.full)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_auxiliary_heads_compile_in_training(name):
    torch.compiler.reset()
    network, images = on_meta(name, 2, auxiliary_heads=1)
    logits, auxiliary = torch.compile(network.train(), fullgraph=True, backend="eager")(images)
    assert logits.shape == auxiliary[0].shape == (2, 1000)
