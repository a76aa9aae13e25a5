"""Shards are read like the folder that they were written from, wherever they lie and whatever goes wrong."""

import csv
import dataclasses
import hashlib
import importlib.util
import json
import pickle
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from casebook.data import shard_files
from casebook.data.scan import scan
from casebook.data.shard_index import COLUMNS, INDEX, MANIFEST
from casebook.data.shard_writer import write_shards
from casebook.data.shards import Shards, shard_cache_folder
from casebook.data.sources import Source, load_source
from casebook.errors import DataError, DownloadError, PictureError

_SPEC = importlib.util.spec_from_file_location("shard_server", Path(__file__).with_name("shard_server.py"))
assert _SPEC
assert _SPEC.loader
_SERVER: ModuleType = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_SERVER)
serving = _SERVER.serving


@pytest.fixture
def folder(make_folder: Callable[[dict[str, int]], Path]) -> Path:
    root = make_folder({"train/cat": 9, "train/dog": 8, "test/cat": 3, "test/dog": 3})
    (root / "train/cat/empty.png").write_bytes(b"")
    return root


@pytest.fixture
def shards(folder: Path, tmp_path: Path) -> Path:
    """23 pictures and an empty file, in several shards."""
    for path in folder.rglob("?.png"):
        path.write_bytes(path.read_bytes() + bytes(200_000))  # a tail that decoders ignore
    write_shards(load_source(folder), tmp_path / "set", shard_mb=1)
    return tmp_path / "set"


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_CACHE", str(tmp_path / "cache"))
    for name in ("CASEBOOK_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(shard_files, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def server(shards: Path) -> Iterator[tuple[str, "object"]]:
    with serving(shards) as found:
        yield found


def contents(source: Source) -> list[bytes]:
    return [source.content(index) for index in range(len(source))]


def test_a_set_is_the_folder(folder: Path, shards: Path) -> None:
    first, second = load_source(folder), load_source(shards)
    assert (second.classes, second.pictures) == (first.classes, first.pictures)
    assert contents(second) == contents(first)
    assert second.root is None
    assert second.arrays is None
    assert second.path(0) is None
    assert len(list(shards.glob("*.tar"))) > 3
    assert load_source(shards / MANIFEST).pictures == first.pictures
    assert pickle.loads(pickle.dumps(second)).content(3) == first.content(3)
    seen = scan(first), scan(second)
    assert seen[0].facts == seen[1].facts
    assert (seen[0].thumbnails == seen[1].thumbnails).all()
    index = next(index for index, facts in enumerate(seen[0].facts) if facts.error is None)
    assert np.array_equal(np.asarray(first.open(index)), np.asarray(second.open(index)))


def test_pictures_are_found_by_name_where_they_are_reordered(shards: Path) -> None:
    source = load_source(shards)
    fewer = dataclasses.replace(source, pictures=source.pictures[:2:-1])
    assert contents(fewer) == contents(source)[:2:-1]
    assert source.shards is fewer.shards
    assert fewer.shards is not None
    assert fewer.shards.sha256(0, fewer.pictures[0].name) == source.shards.sha256(23, source.pictures[23].name)


def test_the_layout_is_that_of_webdataset(folder: Path, shards: Path) -> None:
    source, found = load_source(folder), {}
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            for picture, label in zip(members[::2], members[1::2], strict=True):
                key = picture.name.removesuffix(".png")
                assert label.name == f"{key}.cls"
                content, number = tar.extractfile(picture), tar.extractfile(label)
                assert content
                assert number
                found[int(key)] = content.read(), int(number.read())
    assert [found[index] for index in range(len(source))] == [
        (source.content(index), picture.label) for index, picture in enumerate(source.pictures)
    ]


def test_the_same_data_give_the_same_bytes(folder: Path, shards: Path, tmp_path: Path) -> None:
    write_shards(load_source(folder), tmp_path / "again", shard_mb=1)
    for path in shards.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_groups_come_along_and_patterns_make_others(tmp_path: Path, folder: Path) -> None:
    write_shards(load_source(folder, group_by=r"^(\w)"), tmp_path / "set")
    assert {picture.group for picture in load_source(tmp_path / "set").pictures} >= {"0", "1"}
    regrouped = load_source(tmp_path / "set", group_by="/(cat|dog)/")
    assert {picture.group for picture in regrouped.pictures} == {"cat", "dog"}
    assert regrouped.content(1)


def test_a_damaged_shard_is_named_and_its_other_pictures_are_read(shards: Path) -> None:
    source = load_source(shards)
    assert isinstance(source.shards, Shards)
    number, offset, size = source.shards.places[0].tolist()
    path = shards / source.shards.shards[number].name
    content = bytearray(path.read_bytes())
    content[offset + size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(PictureError, match=rf"the shard {path.name} is damaged here"):
        source.content(0)
    broken = scan(source).broken
    assert set(broken) == {0, *(i for i, picture in enumerate(source.pictures) if picture.name.endswith("empty.png"))}


def test_a_missing_and_a_cut_shard_are_named_at_once(shards: Path) -> None:
    (shards / "000000.tar").unlink()
    (shards / "000001.tar").write_bytes((shards / "000001.tar").read_bytes()[:300_000])
    source = load_source(shards)
    assert "the shard 000000.tar cannot be read" in source.notes[0]
    assert "the shard 000001.tar has 300,000 bytes" in source.notes[1]
    reasons = [reason for reason in scan(source).broken.values() if "000000.tar" in reason or "000001.tar" in reason]
    assert any("its shard is missing" in reason for reason in reasons)
    assert len(reasons) < len(source) / 2


def change_index(folder: Path, change: Callable[[list[list[str]]], None]) -> None:
    with (folder / INDEX).open(newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with (folder / INDEX).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    manifest = json.loads((folder / MANIFEST).read_text())
    content = (folder / INDEX).read_bytes()
    manifest["index"] |= {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("name", "../../etc/passwd", "no path below a folder"),
        ("name", "/etc/passwd", "no path below a folder"),
        ("name", "", "no path below a folder"),
        ("offset", "-1", "does not lie inside"),
        ("offset", "99999999999", "does not lie inside"),
        ("size", "999999999999", "does not lie inside"),
        ("size", "99999999999999999999999", "cannot be right"),
        ("size", "ten", "cannot be right"),
        ("shard", "400", "a shard is no number"),
        ("label", "2", "a label is no number"),
        ("split", "trane", "cannot be right"),
        ("sha256", "abc", "cannot be right"),
    ],
)
def test_an_index_is_not_trusted(shards: Path, column: str, value: str, said: str) -> None:
    def change(rows: list[list[str]]) -> None:
        rows[2][COLUMNS.index(column)] = value

    change_index(shards, change)
    with pytest.raises(DataError, match=said):
        load_source(shards)


@pytest.mark.parametrize("name", ["../secret.tar", "/etc/shadow", "a/b.tar", "x.zip", 7])
def test_a_shard_stays_in_its_folder(shards: Path, name: object) -> None:
    manifest = json.loads((shards / MANIFEST).read_text())
    manifest["shards"][0]["name"] = name
    (shards / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"no plain name that ends in \.tar"):
        load_source(shards)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "casebook-shards-1", "classes": 3}', "\0"])
def test_a_damaged_manifest_is_refused(shards: Path, content: str) -> None:
    (shards / MANIFEST).write_text(content)
    with pytest.raises(DataError, match=r"shards\.json is damaged"):
        load_source(shards)


def test_an_index_of_another_set_is_refused(shards: Path) -> None:
    (shards / INDEX).write_bytes((shards / INDEX).read_bytes() + b"\n")
    with pytest.raises(DataError, match=r"does not belong to shards\.json"):
        load_source(shards)


def test_a_web_server_gives_the_same_pictures_and_each_shard_once(folder: Path, server: tuple) -> None:
    address, faults = server
    source = load_source(address)
    assert source.pictures == load_source(folder).pictures
    assert contents(source) == contents(load_source(folder))
    assert max(faults.asked.values()) == 1
    assert contents(load_source(address + "/shards.json")) == contents(source)
    assert {name: count for name, count in faults.asked.items() if count > 1} == {MANIFEST: 2, INDEX: 2}
    for kept in shard_cache_folder().glob("*.tar"):
        assert kept.stem == hashlib.sha256(kept.read_bytes()).hexdigest()


def test_without_room_in_the_cache_each_picture_is_one_request(
    folder: Path, server: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_SHARD_CACHE_GIB", "0")
    address, faults = server
    source = load_source(address)
    assert contents(source) == contents(load_source(folder))
    assert faults.asked.total() == 2 + len(source) - 1  # an empty file needs none
    assert not shard_cache_folder().exists()


@pytest.mark.parametrize("room", ["0", "1"])
def test_faults_that_pass_change_nothing(
    folder: Path, server: tuple, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_SHARD_CACHE_GIB", room)
    address, faults = server
    faults.faults = {0: "500", 1: "cut", 3: "503", 4: "cut", 6: "cut", 7: "500", 8: "slow", 10: "429", 12: "cut"}
    assert contents(load_source(address)) == contents(load_source(folder))


@pytest.mark.parametrize("fault", ["500", "cut"])
def test_a_server_that_stays_broken_stops_the_job(server: tuple, fault: str) -> None:
    address, faults = server
    source = load_source(address)
    faults.always = fault
    with pytest.raises(DownloadError, match="after 5 attempts"):
        source.content(1)
    with pytest.raises(DownloadError):  # and not a scan in which every picture is broken
        scan(source)


def test_answers_that_trickle_are_given_up(server: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    address, faults = server
    source = load_source(address)
    faults.always = "slow"
    monkeypatch.setattr(shard_files, "CONNECT_SECONDS", 0.05)
    with pytest.raises(DownloadError, match="does not answer"):
        source.content(1)


@pytest.mark.parametrize(("fault", "said"), [("403", "refuses: 403"), ("whole", "ignores ranges")])
def test_what_does_not_pass_is_not_asked_for_again(server: tuple, fault: str, said: str) -> None:
    address, faults = server
    source = load_source(address)
    faults.always = fault
    before = faults.asked.total()
    with pytest.raises(DownloadError, match=said):
        source.content(1)
    assert faults.asked.total() == before + 1


def test_a_shard_that_is_gone_costs_its_pictures(server: tuple, shards: Path) -> None:
    address, _ = server
    source = load_source(address)
    (shards / "000002.tar").unlink()
    broken = scan(source).broken
    assert any("its shard is missing" in reason for reason in broken.values())
    assert len(broken) < len(source) / 2


def test_a_shard_that_comes_damaged_is_not_kept(server: tuple, shards: Path) -> None:
    address, _ = server
    source = load_source(address)
    assert isinstance(source.shards, Shards)
    number, offset, _ = source.shards.places[0].tolist()
    shard = source.shards.shards[number]
    content = bytearray((shards / shard.name).read_bytes())
    content[offset + 5] ^= 1
    (shards / shard.name).write_bytes(content)
    assert 0 in scan(source).broken
    others = [i for i, place in enumerate(source.shards.places) if place[0] == number and i]
    assert [source.content(index) for index in others]
    assert not (shard_cache_folder() / f"{shard.sha256}.tar").exists()


def test_the_cache_is_bounded(server: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    address, _ = server
    shard_cache_folder().mkdir(parents=True)
    (shard_cache_folder() / "old.tar").write_bytes(bytes(6_000_000))
    monkeypatch.setenv("CASEBOOK_SHARD_CACHE_GIB", "0.0075")  # 8 MB
    source = load_source(address)
    contents(source)
    assert not (shard_cache_folder() / "old.tar").exists()
    assert len(list(shard_cache_folder().glob("*.tar"))) == len(source.shards.shards)  # type: ignore[union-attr]


def test_fsspec_reads_object_stores(folder: Path, shards: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(shards), "/bucket/set", recursive=True)
    try:
        assert contents(load_source("memory://bucket/set")) == contents(load_source(folder))
        memory.rm("/bucket/set/000000.tar")
        source = load_source("memory://bucket/set/shards.json")
        shard_cache = sorted(shard_cache_folder().glob("*.tar"))
        assert shard_cache
        for path in shard_cache:
            path.unlink()
        assert any("is missing" in reason for reason in scan(source).broken.values())
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("address", "said"), [("s3://bucket/set", "pip install s3fs"), ("foo://bucket", "an address of an unknown kind")]
)
def test_an_address_that_cannot_be_read_says_why(address: str, said: str) -> None:
    if address.startswith("s3") and importlib.util.find_spec("s3fs"):
        pytest.skip("s3fs is installed")
    with pytest.raises(DataError, match=said):
        load_source(address)


def test_the_network_may_be_forbidden(server: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASEBOOK_OFFLINE", "1")
    with pytest.raises(DataError, match="switched off"):
        load_source(server[0])


def test_an_address_without_a_set_says_so(server: tuple) -> None:
    with pytest.raises(DataError, match="holds no set of shards"):
        load_source(server[0] + "/deeper")


def test_what_cannot_be_sharded_is_refused(folder: Path, shards: Path, tmp_path: Path) -> None:
    source = load_source(folder)
    with pytest.raises(DataError, match="holds a set of shards already"):
        write_shards(source, shards)
    with pytest.raises(DataError, match="in memory"):
        write_shards(load_source("digits"), tmp_path / "new")
    with pytest.raises(DataError, match="expected 1 or more"):
        write_shards(source, tmp_path / "new", shard_mb=0)
    with pytest.raises(DataError, match="is a file"):
        write_shards(source, folder / "train/cat/0.png")


def test_pictures_that_are_gone_are_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    source = load_source(folder)
    (folder / source.pictures[2].name).unlink()
    written = write_shards(source, tmp_path / "set")
    assert written.skipped == {source.pictures[2].name: "there is no such file"}
    assert len(load_source(tmp_path / "set")) == written.pictures == len(source) - 1
