"""Modules from elsewhere keep our contract; their code runs only where somebody said so."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import casebook
from casebook.errors import ModelError, WeightsError
from casebook.evaluation.dense import dense_form
from casebook.models import foreign
from casebook.models.foreign_names import TRUST, is_foreign, trust_named

MODULE = """
from torch import nn

def small(num_classes=2, in_channels=3):
    def block(a, b):
        return nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
    return nn.Sequential(block(in_channels, 8), block(8, 16), block(16, 24), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(24, num_classes))

class Said(nn.Module):
    casebook_stages = ("first", "blocks.0", "blocks.1")

    def __init__(self, num_classes):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.blocks = nn.ModuleList([nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)])
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x).relu()
        return self.fc(x.mean((2, 3)))

def said(num_classes):
    return Said(num_classes)

class Listed(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.narrow = nn.ModuleList([nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)])
        self.second = nn.Conv2d(4, 8, 3)
        self.third = nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        x = self.first(x)
        return self.fc(self.third(self.second(self.narrow[0](x) + self.narrow[1](x))).mean((2, 3)))

def listed(num_classes):
    return Listed(num_classes)

def headless(num_classes):
    return nn.Conv2d(3, 4, 3)

def broken(num_classes):
    raise RuntimeError("no luck")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file's path, whose functions nobody has trusted yet."""
    monkeypatch.setattr(foreign, "_trusted", set())
    monkeypatch.delenv(TRUST, raising=False)
    foreign.card.cache_clear()
    path = tmp_path / "net.py"
    path.write_text(MODULE)
    return str(path)


def test_names() -> None:
    for name in ("timm/vit_tiny_patch16_224", "net.py:small", "a/b.py:f", "package.module:function"):
        assert is_foreign(name)
    for name in ("resnet50", "runs/a-1", "https://x.org/a.py:b", "a b:c", "net.py:"):
        assert not is_foreign(name)


def test_code_runs_only_where_it_was_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{module}:small"
    with pytest.raises(ModelError, match="run only if you say so"):
        casebook.create_model(name)
    monkeypatch.setenv(TRUST, "")
    trust_named(["train", "data", "--model", name])
    assert casebook.create_model(name, num_classes=5)(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


def test_a_module_has_stem_stages_and_head(module: str) -> None:
    casebook.trust_code(f"{module}:small")
    casebook.trust_code(f"{module}:said")
    network = casebook.create_model(f"{module}:small", num_classes=4, in_channels=1)
    images = torch.rand(2, 1, 32, 32)
    network.eval()
    features = network.head.features(network.forward_features(images))
    assert features.shape == (2, 24)
    torch.testing.assert_close(network.head.classifier(features), network(images))
    assert network.stage_names() == ["body.0", "body.1", "body.2"]
    with pytest.raises(ModelError, match="cannot be dense; use crops"):
        dense_form(network, 32)
    network.reset_classifier(7)
    assert network(images).shape == (2, 7)
    said = casebook.create_model(f"{module}:said", num_classes=3)
    assert said.stage_names() == ["body.first", "body.blocks.0", "body.blocks.1"]
    views = [*said.stem.parameters(), *said.stages.parameters(), *said.head.parameters()]
    assert {id(weight) for weight in views} == {id(weight) for weight in said.parameters()}


def test_a_list_of_modules_is_trained_as_a_stage_and_not_looked_into(module: str) -> None:
    casebook.trust_code(f"{module}:listed")
    network = casebook.create_model(f"{module}:listed", num_classes=3)
    assert network.stage_names() == ["body.first", "body.second", "body.third"]
    views = [*network.stem.parameters(), *network.stages.parameters(), *network.head.parameters()]
    assert {id(weight) for weight in views} == {id(weight) for weight in network.parameters()}


def test_a_card_is_counted_and_says_that_no_paper_was_read(module: str) -> None:
    casebook.trust_code(f"{module}:small")
    card = casebook.model_card(f"{module}:small")
    weights = (3 * 8 + 8 * 16 + 16 * 24) * 9 + (8 + 16 + 24) * 3 + 24 * 2 + 2
    assert card.parameters == weights
    sides = (112, 56, 28)
    convolutions = sum(side**2 * 9 * a * b for side, a, b in zip(sides, (3, 8, 16), (8, 16, 24), strict=True))
    assert card.multiply_adds == convolutions + 24 * 2
    assert casebook.count(f"{module}:small", 224).total.multiply_adds == card.multiply_adds
    assert "not checked against a paper" in json.dumps(card.to_dict())


def test_what_cannot_be_adapted_says_why(module: str) -> None:
    for function, expected in (
        ("headless", "the last layer has to be a Linear"),
        ("broken", "no luck"),
        ("smal", "did you mean 'small'"),
    ):
        casebook.trust_code(f"{module}:{function}")
        with pytest.raises(ModelError, match=expected):
            casebook.create_model(f"{module}:{function}")
    casebook.trust_code("gone.py:small")
    with pytest.raises(ModelError, match="there is no file"):
        casebook.create_model("gone.py:small")


def test_a_run_of_a_module_trains_by_stages_and_leaves_the_lab(module: str, digit_folder: Path, tmp_path: Path) -> None:
    name = f"{module}:small"
    casebook.trust_code(name)
    quick = {"recipe": "scratch", "epochs": 1, "batch_size": 32, "input_size": 32, "workers": 0}
    run = casebook.train(digit_folder, model=name, out=tmp_path / "run", **quick)
    assert run.model["architecture"] == name
    settings = quick | {"recipe": "transfer", "transfer": "last:1", "weights": str(run.path)}
    stage = casebook.train(digit_folder, model=name, out=tmp_path / "stage", **settings)
    assert stage.choice["strategy"] == "last:1"
    picture = digit_folder / "digit_1" / "000.png"
    record = next(casebook.explain(run.path, [picture], method="grad-cam"))
    assert Path(record["image"]).is_file()
    casebook.export(run.path, tmp_path / "run.casebook", settings=casebook.ExportSettings(int8="off"))
    ours, bundled = (casebook.load(one).probabilities([picture]) for one in (run.path, tmp_path / "run.casebook"))
    np.testing.assert_allclose(ours, bundled, atol=1e-4)


def test_a_run_that_somebody_hands_over_runs_nothing(
    module: str, digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{module}:small"
    casebook.trust_code(name)
    casebook.train(digit_folder, model=name, recipe="scratch", epochs=1, input_size=32, workers=0, out=tmp_path / "run")
    foreign.card.cache_clear()
    monkeypatch.setattr(foreign, "_trusted", set())
    shutil.copy(module, tmp_path / "copy.py")
    Path(module).write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match="run only if you say so"):
        casebook.load(tmp_path / "run")


# Networks of timm


FAMILIES = (
    "convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "regnetx_002", "tf_efficientnetv2_b0",
    "maxvit_pico_rw_256", "mobilenetv4_conv_small", "ghostnet_050", "repvgg_a0", "hrnet_w18_small", "dpn48b",
    "resmlp_12_224",
)  # fmt: skip


@pytest.mark.peers
@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_timm_gives_the_answers_of_timm(name: str) -> None:
    timm = foreign._timm()
    card = casebook.model_card(f"timm/{name}")
    theirs = timm.create_model(name, num_classes=3).eval()
    ours = casebook.create_model(f"timm/{name}", num_classes=3).eval()
    assert sum(w.numel() for w in ours.parameters()) == sum(w.numel() for w in theirs.parameters())
    ours.load_state_dict(dict(foreign.renamed(f"timm/{name}", theirs.state_dict())))
    images = torch.rand(1, 3, card.input_size, card.input_size)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-4)
    views = {id(weight) for part in (ours.stem, ours.stages, ours.head) for weight in part.parameters()}
    inside = {id(weight) for name, weight in ours.named_parameters() if not name.startswith(("body.pos", "body.cls"))}
    assert views == inside


@pytest.mark.peers
@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_timm_is_looked_into_and_drawn(name: str) -> None:
    foreign._timm()
    from casebook.explanation.deconvnet import project
    from casebook.explanation.filters import feature_maps
    from casebook.explanation.grad_cam import grad_cam
    from casebook.explanation.watching import stages_of

    card = casebook.model_card(f"timm/{name}")
    side = card.input_size if card.fixed_input else 64
    network, image = casebook.create_model(f"timm/{name}", num_classes=2), torch.rand(1, 3, side, side)
    layers = stages_of(network)
    assert all(feature_maps(network, image, layer).ndim == 3 for layer in layers)
    assert grad_cam(network, image, [1]).coarse.ndim == 3
    assert all(found.window is not None for found in project(network, image, layers[-1]))
    for level in ("strip", "block"):
        assert casebook.draw(f"timm/{name}", side, level=level).facts


@pytest.mark.peers
def test_grad_cam_puts_the_tokens_of_a_vit_on_their_grid() -> None:
    foreign._timm()
    from casebook.explanation.grad_cam import grad_cam

    network = casebook.create_model("timm/vit_tiny_patch16_224", num_classes=3)
    found = grad_cam(network, torch.rand(1, 3, 224, 224), [1])
    assert found.coarse.shape == (1, 14, 14)
    assert found.layer == "body.blocks.11"


@pytest.mark.peers
def test_weights_of_timm_come_from_a_file(tmp_path: Path) -> None:
    timm = foreign._timm()
    from safetensors.torch import save_file

    theirs = timm.create_model("regnetx_002", num_classes=6).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    network = casebook.create_model("timm/regnetx_002", weights=tmp_path / "model.safetensors").eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), theirs(images), atol=1e-5, rtol=1e-4)
    with pytest.raises(WeightsError, match="unknown weights"):
        casebook.create_model("timm/regnetx_002", weights="gone")
    with pytest.raises(ModelError, match="timm has no network"):
        casebook.create_model("timm/regnetx_0002")
