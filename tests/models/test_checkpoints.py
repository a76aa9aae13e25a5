"""Checkpoints as Lightning, torch.compile, DDP and training scripts write them."""

import argparse
import logging
from pathlib import Path

import pytest
import torch

from casebook.errors import WeightsError
from casebook.models import create_model
from casebook.models.layouts import to_layout
from casebook.models.weights import resolve


@pytest.fixture
def network():
    torch.manual_seed(0)
    return create_model("resnet20")


def averaged(state):
    return {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "net.", "model._orig_mod.", "a.b.", "_orig_mod.module."]
)
def test_prefixes_are_taken_off(tmp_path, network, prefix):
    state = {prefix + key: value for key, value in network.state_dict().items()}
    torch.save(state, tmp_path / "w.bin")
    assert equal(resolve(tmp_path / "w.bin", "resnet20").state, network.state_dict())


def test_a_checkpoint_of_lightning(tmp_path, network):
    state = {f"model.{key}": value for key, value in network.state_dict().items()}
    state |= {"loss.weight": torch.ones(10), "accuracy.total": torch.tensor(3)}
    torch.save(
        {"state_dict": state, "epoch": 2, "pytorch-lightning_version": "2.5.0", "optimizer_states": [{}]},
        tmp_path / "last.ckpt",
    )
    weights = resolve(tmp_path / "last.ckpt", "resnet20")
    assert equal(weights.state, network.state_dict())
    assert "the weights are those below 'model.'" in weights.notes


def test_a_compiled_part_inside(tmp_path, network):
    state = {key.replace("stages.", "stages._orig_mod."): value for key, value in network.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    assert equal(resolve(tmp_path / "w.pt", "resnet20").state, network.state_dict())


def test_a_checkpoint_of_a_training_script_with_its_arguments(tmp_path, network):
    torch.save(
        {"arch": "resnet20", "state_dict": network.state_dict(), "args": argparse.Namespace(lr=0.1)},
        tmp_path / "model_best.pth.tar",
    )
    assert equal(resolve(tmp_path / "model_best.pth.tar", "resnet20").state, network.state_dict())


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "ema"])
def test_averaged_weights_are_used_when_asked_for_and_the_choice_is_reported(tmp_path, network, key, caplog):
    state, ema = network.state_dict(), averaged(network.state_dict())
    torch.save({"state_dict": state, key: ema}, tmp_path / "w.ckpt")
    assert equal(resolve(tmp_path / "w.ckpt", "resnet20").state, state)
    assert (
        f"uses the weights 'state_dict' of the checkpoint; ':ema' behind the file's name chooses '{key}'" in caplog.text
    )
    caplog.clear()
    assert equal(resolve(f"{tmp_path}/w.ckpt:ema", "resnet20").state, ema)
    assert f"uses the weights '{key}' of the checkpoint" in caplog.text


def test_averaged_weights_alone_are_used_and_reported(tmp_path, network, caplog):
    ema = {f"module.{key}": value for key, value in network.state_dict().items()} | {"n_averaged": torch.tensor(5)}
    torch.save({"model_ema": ema, "epoch": 3}, tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING):
        assert equal(resolve(tmp_path / "w.pth", "resnet20").state, network.state_dict())
    assert "uses the weights 'model_ema' of the checkpoint" in caplog.text


@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_averaged_weights_that_are_not_there(tmp_path, network, wrapper):
    state = network.state_dict()
    torch.save({wrapper: state} if wrapper else state, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"no averaged \(EMA\) weights.* leave out ':ema'"):
        resolve(f"{tmp_path}/w.pt:ema", "resnet20")


def test_other_libraries_names_behind_a_prefix(tmp_path):
    network = create_model("resnet18", num_classes=3)
    theirs = to_layout(network.state_dict(), "resnet18", "torchvision")
    torch.save({"state_dict": {f"backbone.{key}": value for key, value in theirs.items()}}, tmp_path / "w.ckpt")
    assert equal(resolve(tmp_path / "w.ckpt", "resnet18").state, network.state_dict())


def test_objects_are_refused_without_a_word_of_unsafe_loading(tmp_path, network):
    torch.save({"state_dict": network.state_dict(), "config": Path("x")}, tmp_path / "w.ckpt")
    with pytest.raises(WeightsError, match="not opened because they can run code; save the state dict alone") as caught:
        resolve(tmp_path / "w.ckpt", "resnet20")
    assert "weights_only" not in str(caught.value)
