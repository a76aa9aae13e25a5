"""Networks asked by protocols: the mean of what they say of each view, counted at the sizes that were run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import casebook
from casebook.data.sources import Source, load_source
from casebook.errors import DataError, ModelError
from casebook.evaluation import views as views_module
from casebook.evaluation.classifier import Classifier
from casebook.evaluation.protocols import CENTER, PROTOCOLS, Protocol, decode_side, find_protocols, pixels, views
from casebook.evaluation.views import Asking, Shown
from casebook.models import create_model
from casebook.preprocessing import Preprocessing

CPU = torch.device("cpu")
SMALL = Preprocessing(size=28)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Twelve pictures of four sizes and two classes."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir()
        for number, (width, height) in enumerate([(60, 45), (45, 60), (50, 50), (90, 33), (60, 45), (60, 45)]):
            pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return load_source(root)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    network = create_model("resnet20", num_classes=2)
    for module in network.modules():  # so that what batch norm does depends on its statistics
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
    return network.eval()


def ask(
    network: nn.Module, source: Source, protocol: Protocol, preprocessing: Preprocessing = SMALL, **options
) -> Shown:
    indices = options.pop("indices", range(len(source)))
    device, dtype = options.pop("device", CPU), options.pop("dtype", torch.float32)
    classifier = Classifier("x", network, preprocessing, source.classes, device=device, dtype=dtype)
    return views_module.ask(classifier, source, indices, protocol, Asking(**({"counted": True} | options)))


@pytest.mark.parametrize("name", ["flip", "10-crop", "144-crop", "dense", "multi-scale"])
def test_probabilities_of_the_views_are_averaged(name: str, photos: Source, network: nn.Module) -> None:
    protocol = PROTOCOLS[name]
    found = ask(network, photos, protocol, indices=(0, 3, 8), batch_size=8)
    assert found.readable == (0, 3, 8)
    for row, index in enumerate(found.readable):
        picture = photos.open(index, min_side=decode_side(protocol, SMALL))
        said = []
        for _, array in pixels(picture, views(protocol, SMALL, picture.size), SMALL):
            images = torch.from_numpy(SMALL.normalise(array).transpose(2, 0, 1).copy())[None]
            with torch.inference_mode():
                said.append(torch.softmax(network(images), 1)[0].numpy())
        assert len(said) == protocol.num_views
        assert found.predictions.probabilities[row] == pytest.approx(np.mean(said, axis=0), abs=2e-6)
    assert np.ptp(found.predictions.probabilities[:, 0]) > 1e-4


def test_center_is_the_preprocessing_itself_to_the_bit(photos: Source, network: nn.Module) -> None:
    found = ask(network, photos, CENTER, batch_size=5)
    assert found.readable == tuple(range(12))
    for first in (0, 5):  # in the batches of 5 that were run
        arrays = [SMALL.pixels(photos.open(i, min_side=SMALL.decode_side)) for i in range(first, first + 5)]
        with torch.inference_mode():
            logits = network(SMALL.normalise_tensor(torch.from_numpy(np.stack(arrays))))
        expected = torch.softmax(logits, 1).numpy()
        assert np.array_equal(found.predictions.probabilities[first : first + 5], expected)
    # The same view by the protocols' own way.
    again = ask(network, photos, Protocol("mine"), batch_size=5)
    assert again.predictions.probabilities == pytest.approx(found.predictions.probabilities, abs=1e-6)


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 7}, {"workers": 3}])
def test_batches_and_threads_change_nothing(photos: Source, network: nn.Module, options: dict) -> None:
    for name in ("flip", "dense"):
        one = ask(network, photos, PROTOCOLS[name])
        other = ask(network, photos, PROTOCOLS[name], **options)
        assert other.predictions.names == one.predictions.names
        assert other.predictions.probabilities == pytest.approx(one.predictions.probabilities, abs=1e-6)
        assert other.multiply_adds == one.multiply_adds


class Constant(nn.Module):
    """Says the same of everything."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.3, 1.2]]).expand(len(images), 2)


def test_a_network_that_always_says_the_same_does_so_in_every_protocol(photos: Source) -> None:
    expected = torch.softmax(torch.tensor([0.3, 1.2]), 0).numpy()
    for protocol in find_protocols(["flip", "10-crop", "144-crop", "scales=256+own;crops=corners"]):
        found = ask(Constant(), photos, protocol).predictions.probabilities
        assert found == pytest.approx(np.broadcast_to(expected, (12, 2)), abs=1e-7)


def test_multiply_adds_are_counted_at_the_sizes_that_were_run(photos: Source, network: nn.Module) -> None:
    one = casebook.count(network, 28, in_channels=3).total.multiply_adds
    assert one is not None
    indices = (0, 2)  # 60x45 and 50x50
    for name, times in (("center", 1), ("flip", 2), ("10-crop", 10)):
        assert ask(network, photos, PROTOCOLS[name], indices=indices).multiply_adds == times * one
    # The three squares of the square picture are one, and run once.
    assert ask(network, photos, PROTOCOLS["144-crop"], indices=indices).multiply_adds == (144 + 48) // 2 * one
    wide = casebook.count(network, (32, 42), in_channels=3).total.multiply_adds
    square = casebook.count(network, 32, in_channels=3).total.multiply_adds
    assert wide is not None
    assert square is not None
    assert ask(network, photos, PROTOCOLS["dense"], indices=indices).multiply_adds == 2 * (wide + square) // 2
    assert ask(network, photos, PROTOCOLS["dense"], indices=indices, counted=False).multiply_adds is None


def test_what_the_meter_does_not_see_is_counted(photos: Source, network: nn.Module) -> None:
    """A product that is no layer's: seen and counted differ, so every size is counted."""

    class More(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images) + 0 * torch.bmm(images[:, 0], images[:, 0]).mean((1, 2))[:, None]

    more = More().eval()
    one = casebook.count(more, 28, in_channels=3).total.multiply_adds
    assert one is not None
    assert one > (casebook.count(network, 28, in_channels=3).total.multiply_adds or 0)
    assert ask(more, photos, PROTOCOLS["flip"], indices=(0,)).multiply_adds == 2 * one


def test_half_precision_is_near(photos: Source, network: nn.Module) -> None:
    full = ask(network, photos, PROTOCOLS["10-crop"]).predictions.probabilities
    half = ask(network, photos, PROTOCOLS["10-crop"], dtype=torch.bfloat16).predictions.probabilities
    assert half == pytest.approx(full, abs=0.03)
    assert not np.array_equal(half, full)


def test_memory_is_bounded(photos: Source, network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch has more pixels than `batch_size` crops, save a single view that is larger by itself."""
    seen: list[torch.Size] = []
    original = type(network).forward
    monkeypatch.setattr(type(network), "forward", lambda self, x: (seen.append(x.shape), original(self, x))[1])
    ask(network, photos, PROTOCOLS["144-crop"], indices=(0, 2), batch_size=10, counted=False)
    ask(network, photos, PROTOCOLS["multi-scale"], indices=(0, 1, 2), batch_size=10, counted=False)
    assert len(seen) > 10
    assert all(b == 1 or b * h * w <= 10 * 28 * 28 for b, _, h, w in seen)


def test_broken_pictures_are_left_out_and_named(photos: Source, network: nn.Module, tmp_path: Path) -> None:
    assert photos.root is not None
    import shutil

    shutil.copytree(photos.root, tmp_path / "p")
    (tmp_path / "p/a/0.png").write_bytes(b"none")
    (tmp_path / "p/b/9.png").write_bytes(b"none")
    for workers in (0, 2):
        found = ask(network, load_source(tmp_path / "p"), PROTOCOLS["10-crop"], workers=workers)
        assert set(found.skipped) == {"a/0.png", "b/9.png"}
        assert len(found.predictions.names) == 11
    bad = load_source(tmp_path / "p")
    with pytest.raises(DataError, match=r"not one of 1 pictures could be read; the first: a/0\.png"):
        ask(network, bad, PROTOCOLS["10-crop"], indices=[0])


def test_a_strip_is_left_out_where_it_would_not_fit(tmp_path: Path, network: nn.Module) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / name / "square.png")
    Image.new("RGB", (9000, 100)).save(tmp_path / "a" / "strip.png")
    large = Preprocessing(size=224)
    huge = Protocol("huge", scales=(320,), crops=(), dense=True)
    import casebook.evaluation.views as module

    found = ask(network, load_source(tmp_path), PROTOCOLS["flip"], SMALL)
    assert not found.skipped
    before, module.MOST_DENSE_PIXELS = module.MOST_DENSE_PIXELS, 1_000_000
    try:
        found = ask(network, load_source(tmp_path), huge, large, counted=False)
    finally:
        module.MOST_DENSE_PIXELS = before
    assert list(found.skipped) == ["a/strip.png"]
    assert "28800 x 320 pixels in the protocol huge" in found.skipped["a/strip.png"]


def test_scales_that_a_network_does_not_take_are_refused(photos: Source, network: nn.Module) -> None:
    tiny = Protocol("tiny", scales=(32,), crops=(), dense=True)
    with pytest.raises(ModelError, match="scale 32 is 4 pixels"):
        ask(network, photos, tiny)
    with pytest.raises(ModelError, match="takes 32x32 pixels alone"):
        ask(
            create_model("lenet5"),
            photos,
            PROTOCOLS["dense"],
            Preprocessing(32, "squash", mean=(0.5,), std=(0.5,), mode="L"),
        )


@pytest.mark.gpu
def test_cuda_says_the_same(photos: Source, network: nn.Module) -> None:
    for name in ("10-crop", "multi-scale"):
        one = ask(network, photos, PROTOCOLS[name]).predictions.probabilities
        cuda = torch.device("cuda")
        other = ask(network, photos, PROTOCOLS[name], device=cuda)
        assert other.predictions.probabilities == pytest.approx(one, abs=1e-3)
    network.to(CPU)
