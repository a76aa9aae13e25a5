from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import casebook
from casebook.device import (
    accumulation_dtype,
    available_cores,
    choose_device,
    choose_precision,
    choose_workers,
    has_fast_bf16,
)
from casebook.errors import RecipeError
from casebook.training.recipe import Recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "tpu", "meta"])
def test_devices_that_are_not_there_are_named(device: str) -> None:
    with pytest.raises(RecipeError, match=f"device is '{device}'"):
        choose_device(device)


def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casebook.device.choice.has_fast_bf16", lambda device: True)
    assert choose_precision("auto", CPU, 224) == torch.bfloat16
    assert choose_precision("auto", CPU, 32) == torch.float32
    assert choose_precision("bf16", CPU, 32) == torch.bfloat16
    monkeypatch.setattr("casebook.device.choice.has_fast_bf16", lambda device: False)
    assert choose_precision("auto", CPU, 224) == torch.float32
    assert choose_precision("fp32", CPU, 224) == torch.float32


def test_bf16_is_fast_where_the_processor_says_so() -> None:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "avx512_bf16" in flags or "amx_bf16" in flags:
        assert has_fast_bf16(CPU)
    elif "avx512f" not in flags:
        assert not has_fast_bf16(CPU)


def test_workers() -> None:
    assert choose_workers(3, CPU, 1) == 3
    assert choose_workers(-1, CPU, 1) in (0, 1)
    assert 1 <= choose_workers(-1, torch.device("cuda"), 2) <= max(1, available_cores() // 2)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(False, False, "cpu"), (False, True, "mps"), (True, False, "cuda:0"), (True, True, "cuda:0")],
)
def test_auto_takes_cuda_then_an_apple_gpu_then_the_cpu(
    cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert str(choose_device("auto")) == expected


def test_sums_avoid_float64_only_on_apple_gpus() -> None:
    assert accumulation_dtype(torch.device("mps")) == torch.float32
    assert accumulation_dtype(torch.device("cuda")) == accumulation_dtype(CPU) == torch.float64


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # torch's own
def test_a_compiled_training_ends_near_an_eager_one(small_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    settings = small_recipe().model_dump(exclude={"data", "compile"})
    data = small_recipe().data
    eager = casebook.train(data, recipe="scratch", out=tmp_path / "eager", **settings)
    compiled = casebook.train(data, recipe="scratch", out=tmp_path / "compiled", compile=True, **settings)
    for ours, theirs in zip(compiled.history, eager.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_trains_and_finds_its_batch_size(photo_folder: Path, tmp_path: Path) -> None:
    run = casebook.train(photo_folder, recipe="scratch", model="resnet18", epochs=2, device="cuda", out=tmp_path / "r")
    assert run.environment["gpu"]
    assert run.recipe.batch_size >= 2
    assert len(run.history) == 2
