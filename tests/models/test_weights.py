"""Weights: files that prove themselves, strict loading, key maps, run folders and the hub's cache."""

import dataclasses
import hashlib
import io
import json
import logging
import pickle
import re
import socket
from importlib.resources import files
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import casebook.models.weights as weights_module
from casebook.data.downloads import DATA_SETS
from casebook.errors import RunError, WeightsError
from casebook.models import create_model, list_models, model_card
from casebook.models.layouts import detect_layout, from_layout, layouts, peers, to_layout
from casebook.models.weights import Weights, load_into, read_weights, resolve, save_weights
from casebook.preprocessing import Preprocessing


def small(**options) -> nn.Module:
    torch.manual_seed(0)
    return create_model("resnet20", **options)


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# Files


def test_every_type_and_memory_format_comes_back(tmp_path):
    state = {
        "float": torch.randn(3, 4),
        "half": torch.randn(5).to(torch.bfloat16),
        "count": torch.tensor(7),
        "last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "view": torch.randn(100)[10:20],
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.randn(2)),
    }
    save_weights(tmp_path / "w.safetensors", state, {"architecture": "x", "note": "a\nb \N{SNOWMAN}"})
    found, metadata = read_weights(tmp_path / "w.safetensors")
    assert equal(found, {key: value.detach() for key, value in state.items()})
    assert metadata == {"architecture": "x", "note": "a\nb \N{SNOWMAN}"}
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_no_damaged_byte_goes_unnoticed(tmp_path):
    """Whatever byte is changed, the file is refused; or its name for the checksum is hit and all weights are right."""
    path = tmp_path / "w.safetensors"
    state = {"a": torch.randn(4, 3), "b": torch.arange(5)}
    save_weights(path, state, {"architecture": "x"})
    content = path.read_bytes()
    refused = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            found, _ = read_weights(path)
        except WeightsError:
            refused += 1
        else:
            assert equal(found, state)
    assert refused >= len(content) - len("payload_sha256")


@pytest.mark.parametrize("kept", [1, 7, 8, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = tmp_path / "w.safetensors"
    save_weights(path, small().state_dict(), {})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(WeightsError, match=r"w\.safetensors: no whole safetensors file .*again"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize(("content", "message"), [(b"", "empty \\(0 bytes\\)"), (b"<html>404</html>", "no")])
def test_files_that_are_no_weights(tmp_path, suffix, content, message):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        resolve(path, "resnet20")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.ones(1)}, {})
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(RunError, match="No space left"):
        save_weights(path, {"a": torch.zeros(1)}, {})
    assert read_weights(path)[0]["a"].item() == 1
    assert len(list(tmp_path.iterdir())) == 1


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def test_a_pickle_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Bomb()}, "bomb.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Bomb()))
    for name in ("bomb.pt", "plain.pt"):
        with pytest.raises(WeightsError, match="run code"):
            resolve(name, "resnet20")
    assert not Path("exploded").exists()


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_pytorch_files(tmp_path, wrapper):
    network = small()
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "w.pth")
    assert equal(create_model("resnet20", weights=tmp_path / "w.pth").state_dict(), network.state_dict())


def test_a_pytorch_file_without_a_state(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        resolve(tmp_path / "w.pt", "resnet20")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere/w.safetensors", "nowhere/w.safetensors: no such file"),
        ("w.pt", "no such file"),
        (Path("nowhere"), "no such file"),
        ("imagnet", "unknown weights 'imagnet' for resnet20; .*or one of cifar10"),
    ],
)
def test_weights_that_are_not_there(spec, message):
    with pytest.raises(WeightsError, match=message):
        resolve(spec, "resnet20")


def test_other_kinds_of_file(tmp_path):
    (tmp_path / "w.h5").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"end in '\.h5', expected \.safetensors"):
        resolve(tmp_path / "w.h5", "resnet20")


# Descriptions


def test_what_the_metadata_says_is_used(tmp_path):
    """The description of the MobileNet v2 weights this project is developed with, word for word."""
    path = tmp_path / "w.safetensors"
    network = create_model("mobilenet_v2_035", num_classes=3)
    described = {
        "layout": "torchvision",
        "padding": "tensorflow SAME at stride 2",
        "classes": "1000 ImageNet, sorted WordNet ids",
        "architecture": "mobilenet_v2_035",
        "input": "224x224 RGB, x/127.5-1",
    }
    save_weights(path, to_layout(network.state_dict(), "mobilenet_v2_035", "torchvision"), described)
    weights = resolve(path, "mobilenet_v2_035")
    assert weights.options == {"padding": "same"}
    assert weights.preprocessing == Preprocessing(size=224, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert (weights.num_classes, weights.classes, weights.notes) == (3, None, ())
    assert weights.folded_norms
    found = create_model("mobilenet_v2_035", weights=path)
    assert equal(found.state_dict(), network.state_dict())
    assert found.departures[-1].what == "padding"
    given = create_model("mobilenet_v2_035", weights=path, padding="symmetric")
    assert "padding" not in [departure.what for departure in given.departures]


def test_our_own_description(tmp_path):
    path = tmp_path / "w.safetensors"
    network = create_model("resnet18", num_classes=3, in_channels=1, small_stem=True)
    network.stem.norm.running_mean.fill_(0.25)
    preprocessing = Preprocessing(size=32, resize="squash", mean=(0.5,), std=(0.25,), mode="L")
    described = {
        "architecture": "resnet18",
        "options": json.dumps({"small_stem": True, "in_channels": 1, "num_classes": 3}),
        "preprocessing": json.dumps(preprocessing.to_dict()),
        "classes": json.dumps(["a", "b", "c"]),
    }
    save_weights(path, network.state_dict(), described)
    weights = resolve(str(path), "resnet18")
    assert weights.options == {"small_stem": True, "in_channels": 1}
    assert weights.preprocessing == preprocessing
    assert weights.classes == ("a", "b", "c")
    assert not weights.folded_norms
    assert equal(create_model("resnet18", weights=path).state_dict(), network.state_dict())


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"architecture": "resnet32"}, "weights of resnet32, expected weights of resnet20; use resnet32"),
        ({"architecture": "unheard_of"}, "weights of unheard_of, expected weights of resnet20$"),
        ({"padding": "reflected"}, "padding is 'reflected'"),
        ({"options": "{"}, "cannot be used"),
        ({"options": '{"small_stem": true}'}, "no option 'small_stem'"),
        ({"preprocessing": '{"mode": "XYZ"}'}, "cannot be used: preprocessing: mode is 'XYZ'"),
        ({"layout": "timm"}, "layout is 'timm', expected casebook"),
    ],
)
def test_descriptions_that_do_not_fit(tmp_path, described, message):
    save_weights(tmp_path / "w.safetensors", small().state_dict(), described)
    with pytest.raises(WeightsError, match=message):
        resolve(tmp_path / "w.safetensors", "resnet20")


def test_an_input_that_is_not_understood_is_reported(tmp_path):
    save_weights(tmp_path / "w.safetensors", small().state_dict(), {"input": "whatever"})
    weights = resolve(tmp_path / "w.safetensors", "resnet20")
    assert weights.preprocessing is None
    assert load_into(small(), weights) == ["the weights' input is 'whatever', which is not understood and not used"]


# Run folders


def test_a_run_folder(tmp_path):
    network = create_model("resnet18", num_classes=3, small_stem=True)
    preprocessing = Preprocessing(size=32)
    record = {
        "format": 1,
        "architecture": "resnet18",
        "options": {"num_classes": 3, "in_channels": 3, "small_stem": True},
        "classes": ["x", "y", "z"],
        "preprocessing": preprocessing.to_dict(),
    }
    save_weights(tmp_path / "model.safetensors", network.state_dict(), {})
    (tmp_path / "model.json").write_text(json.dumps(record))
    weights = resolve(tmp_path, "resnet18")
    assert weights.options == {"in_channels": 3, "small_stem": True}
    assert (weights.classes, weights.preprocessing) == (("x", "y", "z"), preprocessing)
    assert equal(create_model("resnet18", weights=str(tmp_path)).state_dict(), network.state_dict())
    with pytest.raises(WeightsError, match="weights of resnet18, expected weights of resnet34"):
        resolve(tmp_path, "resnet34")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors: cannot be read: No such file"):
        resolve(tmp_path, "resnet18")


@pytest.mark.parametrize(("content", "message"), [(None, "no run folder"), ("{}", "architecture"), ("[", "not a run")])
def test_folders_that_are_no_run(tmp_path, content, message):
    if content is not None:
        (tmp_path / "model.json").write_text(content)
    with pytest.raises(WeightsError, match=message):
        resolve(tmp_path, "resnet18")


# Strict loading


def weights_of(state: dict) -> Weights:
    return Weights(state=state, source="somewhere", sha256="0", num_classes=10)


def test_missing_unexpected_and_reshaped_weights_are_listed():
    network, before = small(), small().state_dict()
    state = {key: value + 1 for key, value in before.items()}
    del state["stem.conv.weight"]
    state["surplus"] = torch.zeros(1)
    state["stages.0.0.branch.0.conv.weight"] = torch.zeros(1, 2)
    expected = (
        r"somewhere: weights do not fit: 1 missing \(stem\.conv\.weight\); 1 unexpected \(surplus\); 1 reshaped "
        r"\(stages\.0\.0\.branch\.0\.conv\.weight \(1, 2\) instead of \(16, 16, 3, 3\)\); they were made"
    )
    with pytest.raises(WeightsError, match=expected):
        load_into(network, weights_of(state))
    assert equal(network.state_dict(), before)


def test_long_lists_are_cut():
    with pytest.raises(WeightsError, match=r"\d+ missing \(.*, .*, .*, .* and \d+ more\)"):
        load_into(small(), weights_of({"surplus": torch.zeros(1)}))


def test_other_classes_are_named_and_need_a_new_head():
    weights = weights_of(small(num_classes=5).state_dict())
    with pytest.raises(WeightsError, match=r"classifier\.bias \(5,\) instead of \(10,\).*ask for a new last layer"):
        load_into(small(), weights)
    network = small()
    head = network.head.classifier.weight.clone()
    assert len(load_into(network, weights, replace_head=True)) == 1
    assert torch.equal(network.head.classifier.weight, head)
    assert torch.equal(network.stem.conv.weight, weights.state["stem.conv.weight"])


def test_the_counter_of_batches_may_be_missing():
    state = {k: v for k, v in small().state_dict().items() if not k.endswith("num_batches_tracked")}
    assert load_into(small(), weights_of(state)) == []


def test_create_model_says_that_the_head_is_new(tmp_path, caplog):
    save_weights(tmp_path / "w.safetensors", small(num_classes=5).state_dict(), {})
    with caplog.at_level(logging.INFO, logger="casebook.models"):
        assert create_model("resnet20", weights=tmp_path / "w.safetensors").head.classifier.out_features == 5
        assert not caplog.messages
        network = create_model("resnet20", weights=tmp_path / "w.safetensors", num_classes=2)
    assert network.head.classifier.out_features == 2
    assert caplog.messages == ["resnet20: the last layer (5 classes in the weights) is new and untrained"]


def test_half_precision_weights_are_widened(tmp_path):
    save_weights(tmp_path / "w.safetensors", small().half().state_dict(), {})
    network = create_model("resnet20", weights=tmp_path / "w.safetensors")
    assert network.stem.conv.weight.dtype == torch.float32
    assert torch.allclose(network.stem.conv.weight, small().stem.conv.weight, atol=1e-3)


# Key maps

MAPPED = [(name, layout) for name in list_models() for layout in list(layouts(name))[1:]]


@pytest.mark.parametrize(("name", "layout"), MAPPED)
def test_key_maps_can_be_undone(name, layout):
    with torch.device("meta"):
        keys = create_model(name).state_dict().keys()
    state = {key: torch.full((1, 7 * 7), float(i)) for i, key in enumerate(keys)}  # also a kernel of 1x1 or 7x7
    theirs = to_layout(state, name, layout)
    assert len(theirs) == len(state)
    assert not theirs.keys() & state.keys()
    assert equal(from_layout(theirs, name, layout, keys), state)
    assert detect_layout(theirs, name, keys) in (layout, "torchvision")
    assert detect_layout(state, name, keys) == "casebook"


@pytest.mark.parametrize(
    ("name", "layout", "ours", "theirs"),
    [
        ("resnet50", "timm", "stem.0.norm.running_var", "bn1.running_var"),
        ("resnet50", "torchvision", "stages.2.5.branch.1.conv.weight", "layer3.5.conv2.weight"),
        ("resnet18", "torchvision", "stages.3.0.shortcut.norm.bias", "layer4.0.downsample.1.bias"),
        ("mobilenet_v2", "torchvision", "stages.0.0.1.norm.bias", "features.1.conv.2.bias"),
        ("mobilenet_v2", "torchvision", "stages.1.1.branch.1.conv.weight", "features.3.conv.1.0.weight"),
        ("mobilenet_v2", "torchvision", "stages.7.0.norm.weight", "features.18.1.weight"),
        ("mobilenet_v2", "timm", "stages.5.2.branch.2.norm.weight", "blocks.5.2.bn3.weight"),
        ("mobilenet_v2", "timm", "stages.7.0.conv.weight", "conv_head.weight"),
    ],
)
def test_some_names_by_hand(name, layout, ours, theirs):
    assert to_layout({ours: 0}, name, layout) == {theirs: 0}


def test_a_layout_is_recognised_without_metadata(tmp_path):
    network = create_model("mobilenet_v2_035", num_classes=3)
    theirs = to_layout(network.state_dict(), "mobilenet_v2_035", "timm")
    safetensors.torch.save_file(theirs, tmp_path / "w.safetensors")
    assert equal(resolve(tmp_path / "w.safetensors", "mobilenet_v2_035").state, network.state_dict())
    with pytest.raises(WeightsError, match=r"w\.safetensors: \d of the 122 weights of resnet18.*with blocks\.0"):
        resolve(tmp_path / "w.safetensors", "resnet18")


def test_what_a_layout_needs_is_set_and_reported(tmp_path):
    network = create_model("efficientnet_b0", num_classes=3)
    torch.save(to_layout(network.state_dict(), "efficientnet_b0", "timm"), tmp_path / "w.pth")
    weights = resolve(tmp_path / "w.pth", "efficientnet_b0")
    assert weights.options == dict(peers("efficientnet_b0")["timm"].options)
    assert any("taken for weights of timm's tf_efficientnet_b0, which need padding='same'" in n for n in weights.notes)
    told = {"architecture": "efficientnet_b0", "layout": "timm", "padding": "symmetric"}
    save_weights(tmp_path / "w.safetensors", to_layout(network.state_dict(), "efficientnet_b0", "timm"), told)
    assert resolve(tmp_path / "w.safetensors", "efficientnet_b0").options["padding"] == "symmetric"


def test_older_files_of_densenet_are_understood(tmp_path):
    network = create_model("densenet121", num_classes=3)
    theirs = to_layout(network.state_dict(), "densenet121", "torchvision")
    older = {re.sub(r"(denselayer\d+\.(norm|conv))([12])", r"\1.\3", key): value for key, value in theirs.items()}
    assert sum(key not in theirs for key in older) == 58 * (2 * 5 + 2)
    torch.save(older, tmp_path / "densenet121.pth")
    assert equal(resolve(tmp_path / "densenet121.pth", "densenet121").state, network.state_dict())


def test_networks_without_layouts_have_ours():
    assert list(layouts("lenet5")) == ["casebook"]


# The hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hugging Face cache, and no network."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("CASEBOOK_OFFLINE", "1")
    return tmp_path


@pytest.mark.parametrize("spec", ["imagenet", "timm/mobilenetv2_050.lamb_in1k"])
def test_published_weights_come_from_the_cache(hub, spec):
    folder = hub / "models--timm--mobilenetv2_050.lamb_in1k"
    (folder / "snapshots" / "0").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0")
    network = create_model("mobilenet_v2_050")
    theirs = to_layout(network.state_dict(), "mobilenet_v2_050", "timm")
    safetensors.torch.save_file(theirs, folder / "snapshots" / "0" / "model.safetensors", {"format": "pt"})
    weights = resolve(spec, "mobilenet_v2_050")
    assert equal(weights.state, network.state_dict())
    assert weights.preprocessing.interpolation == "bicubic"
    assert weights.num_classes == 1000


def test_without_network_the_message_says_what_to_fetch(hub):
    with pytest.raises(WeightsError) as caught:
        resolve("imagenet", "resnet18")
    message = str(caught.value)
    revision = "bbd144b3e5565108aad885f145491d11bc6ce807"
    assert f"https://huggingface.co/timm/resnet18.tv_in1k/resolve/{revision}/model.safetensors" in message
    assert f"hf download --revision {revision} timm/resnet18.tv_in1k model.safetensors" in message
    assert "offline" in message


def test_an_unreachable_hub_is_asked_once_and_named_in_words(hub, monkeypatch, caplog, capfd):
    asked = []

    def unreachable(host, *_, **__):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("CASEBOOK_OFFLINE", "0")
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(WeightsError, match="no network: the name of the server cannot be looked up") as caught:
        resolve("imagenet", "resnet18")
    assert "Errno" not in str(caught.value)
    assert set(asked) == {"huggingface.co"}
    assert len(asked) <= 2  # retries would be five more
    assert not caplog.records
    assert capfd.readouterr().err == ""


def test_weights_without_checksum_or_revision_say_so(hub, caplog):
    folder = hub / "models--timm--mobilenetv2_050.lamb_in1k"
    (folder / "snapshots" / "0").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0")
    theirs = to_layout(create_model("mobilenet_v2_050").state_dict(), "mobilenet_v2_050", "timm")
    safetensors.torch.save_file(theirs, folder / "snapshots" / "0" / "model.safetensors")
    resolve("imagenet", "mobilenet_v2_050")
    assert [record.message for record in caplog.records] == [
        "timm/mobilenetv2_050.lamb_in1k/model.safetensors: not proved: no checksum or revision of "
        "timm/mobilenetv2_050.lamb_in1k is known"
    ]


def test_a_pinned_file_that_was_changed_is_refused(hub):
    folder = hub / "models--timm--resnet18.tv_in1k" / "snapshots" / "bbd144b3e5565108aad885f145491d11bc6ce807"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"damaged or changed: SHA-256 is .*, expected 694f673df6520a31"):
        resolve("imagenet", "resnet18")


def test_imagenet_means_the_original_rather_than_a_copy_that_is_not_proved():
    assert [weights.name for weights in model_card("vgg19").weights][:2] == [
        "pytorch.org/IMAGENET1K_V1",
        "torchvision/IMAGENET1K_V1",
    ]
    assert model_card("vgg16").weights[0].name == "torchvision/IMAGENET1K_V1"  # this copy has a checksum


def test_what_is_proved_and_what_is_not():
    published = [weights for name in list_models() for weights in model_card(name).weights]
    assert all(weights.proved for weights in published if weights.packaged or weights.address)
    assert len([weights for weights in published if not weights.proved]) == 54
    assert all(len(weights.sha256) == 64 for weights in published if weights.revision)
    assert all(len(weights.revision) == 40 for weights in published if weights.revision)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("file", ["w.safetensors", "w.pt"])
def test_weights_that_are_not_finite_are_refused(tmp_path, broken, file):
    state = small().state_dict()
    state["stages.1.0.branch.0.conv.weight"][3, 2, 1, 0] = broken
    if file.endswith("pt"):
        torch.save(state, tmp_path / file)
    else:
        save_weights(tmp_path / file, state, {})
    message = r"1 of the 4,608 values of the weight 'stages\.1\.0\.branch\.0\.conv\.weight' are not finite"
    with pytest.raises(WeightsError, match=message):
        resolve(tmp_path / file, "resnet20")


def test_unknown_published_names_suggest(hub):
    with pytest.raises(WeightsError, match=r"did you mean 'timm/resnet18\.a1_in1k'\? expected .*imagenet, "):
        resolve("timm/resnet18.a2_in1k", "resnet18")


# Files at an address


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A published file of mobilenet_v2_035 with torchvision's names, in the cache; gives (network, path)."""
    from casebook.models.cards import torchvision

    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path))
    monkeypatch.setenv("CASEBOOK_OFFLINE", "1")
    network = create_model("mobilenet_v2_035")
    content = io.BytesIO()
    torch.save(to_layout(network.state_dict(), "mobilenet_v2_035", "torchvision"), content)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    file = f"small-{digest[:8]}.pth"
    row = ("mobilenet_v2_035", 1, file, 256, 224, "bilinear", 60.3, 82.9)
    monkeypatch.setattr(torchvision, "FILES", (*torchvision.FILES, row))
    path = tmp_path / "weights" / file
    path.parent.mkdir()
    path.write_bytes(content.getvalue())
    return network, path


def test_weights_at_an_address_come_from_the_cache(published):
    network, _ = published
    weights = resolve("pytorch.org/IMAGENET1K_V1", "mobilenet_v2_035")
    assert equal(weights.state, network.state_dict())
    assert weights.preprocessing.resize_side == 256
    assert weights.source.startswith("https://download.pytorch.org/models/small-")


def test_a_file_fetched_by_hand_is_known_by_its_name_and_verified(published, tmp_path):
    network, path = published
    by_hand = path.rename(tmp_path / path.name)
    weights = resolve(by_hand, "mobilenet_v2_035")
    assert equal(weights.state, network.state_dict())
    assert weights.preprocessing.interpolation == "bilinear"
    by_hand.write_bytes(by_hand.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match=r"small-.*\.pth: damaged or changed: SHA-256 is .*, expected [0-9a-f]{8}$"):
        resolve(by_hand, "mobilenet_v2_035")


def test_without_network_the_message_says_where_the_file_belongs(published):
    published[1].unlink()
    with pytest.raises(WeightsError, match=r"network is switched off; fetch https://download.*small-.* and put it at"):
        resolve("pytorch.org/IMAGENET1K_V1", "mobilenet_v2_035")


# Auxiliary heads


def test_auxiliary_heads_that_the_weights_lack_stay_new(tmp_path):
    save_weights(tmp_path / "w.safetensors", create_model("googlenet", num_classes=5).state_dict(), {})
    network = create_model("googlenet", num_classes=5, auxiliary_heads=2)
    before = {key: value.clone() for key, value in network.state_dict().items() if key.startswith("auxiliary")}
    notes = load_into(network, resolve(tmp_path / "w.safetensors", "googlenet"))
    assert notes == ["the auxiliary heads are new and untrained"]
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())


def test_other_classes_replace_the_last_layers_of_auxiliary_heads_too(tmp_path):
    trained = create_model("googlenet", num_classes=5, auxiliary_heads=2)
    metadata = {"architecture": "googlenet", "options": json.dumps({"auxiliary_heads": 2})}
    save_weights(tmp_path / "w.safetensors", trained.state_dict(), metadata)
    network = create_model("googlenet", num_classes=3, weights=tmp_path / "w.safetensors")
    logits, auxiliary = network.train()(torch.randn(2, 3, 64, 64))
    assert [logits.shape, *(extra.shape for extra in auxiliary)] == [(2, 3)] * 3
    for key, value in trained.state_dict().items():
        if ".classifier." not in key and "num_batches" not in key:
            assert torch.equal(network.state_dict()[key], value), key
    network.reset_classifier(4)
    logits, auxiliary = network(torch.randn(2, 3, 64, 64))
    assert [logits.shape, *(extra.shape for extra in auxiliary)] == [(2, 4)] * 3


# Weights that come with Casebook


PACKAGED = [(name, weights) for name in list_models() for weights in model_card(name).weights if weights.packaged]


def test_resnet20_comes_with_weights_for_cifar10():
    assert [(name, weights.name) for name, weights in PACKAGED] == [("resnet20", "cifar10")]


@pytest.mark.parametrize(("name", "published"), PACKAGED, ids=lambda value: str(getattr(value, "name", value)))
def test_packaged_weights_need_no_network_and_say_all_about_themselves(hub, name, published):
    found = resolve(published.name, name)
    assert found.sha256 == published.sha256
    assert found.classes == DATA_SETS["cifar10"].classes
    assert found.num_classes == len(found.classes)
    assert found.preprocessing == model_card(name).preprocessing
    assert all(value.dtype == torch.float32 for value in found.state.values() if value.is_floating_point())
    state = create_model(name, weights=published.name).state_dict()
    assert equal({key: state[key] for key in found.state}, found.state)
    assert len(files("casebook.models").joinpath("packaged", published.file).read_bytes()) < 1_000_000


def test_pretrained_means_the_first_weights_on_the_card():
    network = create_model("resnet20", pretrained=True)
    published = model_card("resnet20").weights[0]
    assert equal(network.state_dict(), create_model("resnet20", weights=published.name).state_dict())
    assert network.preprocessing == published.preprocessing
    assert network.classes[:3] == ("airplane", "automobile", "bird")
    assert create_model("resnet20", pretrained=False).classes is None
    with pytest.raises(WeightsError, match="no published weights are known for vgg15_lecture; leave out pretrained"):
        create_model("vgg15_lecture", pretrained=True)


def test_packaged_weights_are_not_taken_for_imagenets():
    with pytest.raises(WeightsError, match=r"unknown weights 'imagenet' for resnet20; .* or one of cifar10$"):
        resolve("imagenet", "resnet20")


def test_a_changed_package_is_noticed(monkeypatch):
    name, published = PACKAGED[0]
    changed = dataclasses.replace(published, sha256="0" * 64)
    monkeypatch.setattr(
        weights_module, "model_card", lambda _: dataclasses.replace(model_card(name), weights=(changed,))
    )
    with pytest.raises(WeightsError, match="install Casebook again"):
        resolve(published.name, name)


def test_packaged_weights_are_a_start_for_other_classes():
    network = create_model("resnet20", weights="cifar10", num_classes=3)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
