"""A bundle opens when every byte is the one that was written, and not otherwise."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from casebook.errors import BundleError, CasebookError
from casebook.runner.bundle import Bundle, is_bundle


def test_open_gives_what_was_exported(small_bundle: Path) -> None:
    bundle = Bundle.open(small_bundle)
    assert bundle.name == "small"
    assert bundle.classes == ("digit_0", "digit_1", "digit_2", "digit_3")
    assert bundle.preprocessing.size == 32
    assert bundle.manifest["casebook"] == bundle.version
    assert bundle.read("casebook/errors.py").startswith(b'"""The failures')
    with pytest.raises(BundleError, match=r"holds no '../../etc/passwd'"):
        bundle.read("../../etc/passwd")


def test_one_flipped_bit_is_found_in_300_of_300_places(small_bundle: Path, tmp_path: Path) -> None:
    """Anywhere: in a member, a header of the zip, its directory, the digest at the end."""
    content = bytearray(small_bundle.read_bytes())
    generator, copy = np.random.default_rng(0), tmp_path / "copy.casebook"
    ends = [0, 14, 30, len(content) - 1, len(content) - 81, len(content) - 90]
    places = {*ends, *generator.choice(len(content), 300 - len(ends), replace=False).tolist()}
    while len(places) < 300:
        places.add(int(generator.integers(len(content))))
    for place in places:
        content[place] ^= 1 << int(generator.integers(8))
        copy.write_bytes(content)
        content[:] = small_bundle.read_bytes()
        with pytest.raises(CasebookError):
            Bundle.open(copy)


@pytest.mark.parametrize("keep", [0, 1, 79, 80, 500, 0.5, 0.999])
def test_a_bundle_that_is_cut_off_is_refused(small_bundle: Path, tmp_path: Path, keep: float) -> None:
    content, copy = small_bundle.read_bytes(), tmp_path / "copy.casebook"
    copy.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(BundleError, match="is no bundle, or is cut off"):
        Bundle.open(copy)


def resealed(source: Path, copy: Path, change) -> Path:
    """A copy whose members `change` has altered, with a digest that fits: what a forger could make."""
    from casebook.deployment.writer import _seal_file
    from casebook.runner.bundle import seal

    with zipfile.ZipFile(source) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members, compression = change(members)
    with copy.open("w+b") as file:
        with zipfile.ZipFile(file, "w", compression) as archive:
            archive.comment = seal("0" * 64)
            for name, content in members.items():
                archive.writestr(name, content)
        _seal_file(file)
    return copy


def with_manifest(**changes: object):
    def change(members: dict[str, bytes]) -> tuple[dict[str, bytes], int]:
        manifest = json.dumps(json.loads(members["bundle.json"]) | changes).encode()
        return members | {"bundle.json": manifest}, zipfile.ZIP_STORED

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_manifest(format=2), "format '2', this Casebook reads 1"),
        (with_manifest(classes="cat"), "no usable 'classes'"),
        (with_manifest(preprocessing={"size": -1}), "size is -1"),
        (with_manifest(members={}), "other members"),
        (with_manifest(classes=[]), "no usable 'classes'"),
        (with_manifest(networks={"float32": {"file": []}}), r"no usable 'networks\.float32\.file'"),
        (with_manifest(golden=[{}]), r"no usable 'golden\.0\.file'"),
        (with_manifest(metrics=float("nan")), "NaN is no finite number"),
        (lambda members: (members | {"more.txt": b"x"}, zipfile.ZIP_STORED), "other members"),
        (lambda members: (members, zipfile.ZIP_DEFLATED), "bundle.json has"),
        (lambda members: (members | {"bundle.json": b"["}, zipfile.ZIP_STORED), "cannot be read"),
        (lambda members: (members | {"bundle.json": b"[" * 10**6}, zipfile.ZIP_STORED), "cannot be read"),
        (lambda members: ({"a": b""}, zipfile.ZIP_STORED), "cannot be read"),
    ],
)
def test_a_forged_bundle_is_refused(small_bundle: Path, tmp_path: Path, change, message: str) -> None:
    with pytest.raises(CasebookError, match=message):
        Bundle.open(resealed(small_bundle, tmp_path / "forged.casebook", change))


def test_a_member_that_was_exchanged_is_refused_when_it_is_read(small_bundle: Path, tmp_path: Path) -> None:
    def exchange(members: dict[str, bytes]) -> tuple[dict[str, bytes], int]:
        return members | {"model.onnx": members["model.onnx"][::-1]}, zipfile.ZIP_STORED

    bundle = Bundle.open(resealed(small_bundle, tmp_path / "forged.casebook", exchange))
    with pytest.raises(BundleError, match=r"model\.onnx has changed"):
        bundle.read("model.onnx")


def patched(source: Path, copy: Path, offset: int, content: bytes) -> Path:
    """A copy with other bytes in the zip's entry for bundle.json, from `offset` on, and a digest that fits."""
    import hashlib

    from casebook.runner.bundle import SEAL_BYTES, seal

    changed = bytearray(source.read_bytes()[:-SEAL_BYTES])
    start = changed.index(b"PK\x01\x02") + offset
    changed[start : start + len(content)] = content
    copy.write_bytes(bytes(changed) + seal(hashlib.sha256(changed).hexdigest()))
    return copy


@pytest.mark.parametrize(
    ("offset", "content"),
    [
        (8, b"\x01\x00"),  # encrypted
        (10, b"\x63\x00"),  # an unknown compression
        (20, b"\xff\xff\xff\x00" * 2),  # longer than the file
        (28, b"\xff\xff"),  # a name that goes on beyond the list
        (42, b"\xff\xff\xff\x7f"),  # the member starts after the end
    ],
)
def test_a_zip_with_absurd_entries_is_refused(small_bundle: Path, tmp_path: Path, offset: int, content: bytes) -> None:
    with pytest.raises(BundleError):
        Bundle.open(patched(small_bundle, tmp_path / "absurd.casebook", offset, content))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00\xff\xff", b"x" * 100, None])
def test_a_table_that_is_none_is_refused(small_bundle: Path, tmp_path: Path, content: bytes | None) -> None:
    from casebook.deployment.writer import npy, write_bundle

    bundle = Bundle.open(small_bundle)
    members = {name: bundle.read(name) for name in bundle.manifest["members"]}
    members["golden/float32.npy"] = npy(np.zeros(3, int)) if content is None else content  # type: ignore[arg-type]
    forged = tmp_path / "forged.casebook"
    write_bundle(forged, bundle.manifest, members)
    with pytest.raises(BundleError, match=r"golden/float32\.npy cannot be read"):
        Bundle.open(forged).numbers("golden/float32.npy")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle"):
        Bundle.open(tmp_path / "gone.casebook")
    assert is_bundle("a/b.casebook")
    assert not is_bundle("runs/casebook")
