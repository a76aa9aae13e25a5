"""Prepared pictures: the same pixels, whatever happens to the file and to those who write it."""

import errno
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casebook.data import prepared as module
from casebook.data.prepared import (
    ENTRY,
    Layout,
    PreparedFile,
    StoredFormat,
    fill,
    find_prepared,
    in_memory,
    jpeg_size_bytes,
    list_prepared,
    open_prepared,
    picture_and_payload,
    read_header,
    remove_prepared,
)
from casebook.data.reduced import decode_reduced
from casebook.data.scan import PictureFacts, scan
from casebook.data.sources import Source, load_source
from casebook.errors import PictureError, RunError

RAW, JPEG = StoredFormat(40), StoredFormat(40, format="jpeg")
ANY_SIZE = float("inf")


@pytest.fixture
def root(photo_folder: Path, tmp_path: Path) -> Path:
    """Twelve photographs, a grey PNG, and a file that is no picture."""
    root = tmp_path / "photos"
    for name in ("spots", "stripes"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            shutil.copy(photo_folder / name / f"{number:02d}.jpg", root / name)
    Image.fromarray(np.arange(50 * 60, dtype=np.uint8).reshape(50, 60)).save(root / "spots" / "grey.png")
    (root / "stripes" / "fake.jpg").write_bytes(b"no picture")
    return root


@pytest.fixture
def source(root: Path) -> Source:
    return load_source(root)


@pytest.fixture
def facts(source: Source) -> tuple[PictureFacts, ...]:
    return scan(source, workers=1).facts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "prepared"


Opener = Callable[..., PreparedFile]


@pytest.fixture
def opened(source: Source, facts: tuple[PictureFacts, ...], folder: Path) -> Opener:
    def opened(form: StoredFormat = RAW) -> PreparedFile:
        return open_prepared(source, facts, form, budget_bytes=ANY_SIZE, disk_share=1, folder=folder)

    return opened


def good(prepared: PreparedFile) -> list[int]:
    return [index for index, facts in enumerate(prepared.layout.facts) if facts.error is None]


def content_of(source: Source, index: int) -> bytes:
    path = source.path(index)
    assert path is not None
    return path.read_bytes()


def expected(source: Source, index: int, form: StoredFormat = RAW) -> np.ndarray:
    return picture_and_payload(content_of(source, index), "picture", form)[0]


def put(prepared: PreparedFile, source: Source, index: int) -> None:
    content = content_of(source, index)
    prepared.put(index, picture_and_payload(content, "picture", prepared.form)[1], content)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("format", ["raw", "jpeg"])
def test_what_is_read_is_what_was_decoded(source: Source, opened: Opener, mode: str, format: str) -> None:
    form = StoredFormat(40, mode, format)  # type: ignore[arg-type]
    file = opened(form)
    assert all(file.get(index) is None for index in range(len(source)))
    skipped = fill(source, file, workers=2)
    assert list(skipped) == ["stripes/fake.jpg"]
    for prepared in (file, opened(form)):
        assert prepared.num_complete() == 13
        for index in good(prepared):
            found = prepared.get(index)
            assert found is not None
            assert min(found.shape[:2]) == 40
            assert found.shape[2] == form.channels
            assert np.array_equal(found, expected(source, index, form))
    assert file.get(source.pictures.index(next(p for p in source.pictures if "fake" in p.name))) is None


def test_raw_is_what_decoding_gives_and_jpeg_is_near_it(source: Source) -> None:
    decoded = decode_reduced(content_of(source, 0), name="picture", mode="RGB", side=40)
    assert np.array_equal(expected(source, 0), decoded)
    difference = np.abs(expected(source, 0, JPEG).astype(int) - decoded)
    assert 0 < difference.mean() < 12  # noise in colour, which is what JPEG keeps worst
    flat = np.full((40, 50, 3), (200, 30, 60), np.uint8)
    found = module._unpacked(module.encode(flat), JPEG)
    assert np.abs(found.astype(int) - flat).max() <= 3  # the channels in their order


def test_pictures_in_memory_take_the_same_road() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), np.uint8)
    source = Source("arrays", None, ("a", "b"), (), arrays=pixels)
    raw, lossy = in_memory(source, 1, RAW), in_memory(source, 1, JPEG)
    assert raw.shape == lossy.shape == (40, 53, 3)
    assert np.array_equal(lossy, module._unpacked(module.encode(raw), JPEG))


def test_pictures_cannot_be_written_to(source: Source, opened: Opener) -> None:
    file = opened()
    fill(source, file, workers=1)
    picture = file.get(0)
    assert picture is not None
    with pytest.raises(ValueError, match="read-only"):
        picture[0, 0, 0] = 1
    file.close()
    assert np.array_equal(picture, expected(source, 0))  # those that were read stay
    assert file.get(0) is None


def test_filling_goes_on_where_it_stopped(source: Source, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    file = opened()
    for index in (0, 3):
        put(file, source, index)
    seen: list[tuple[int, int]] = []
    decoded: list[str] = []
    original = module.picture_and_payload

    def counting(content: bytes, name: str, form: StoredFormat):
        decoded.append(name)
        return original(content, name, form)

    monkeypatch.setattr(module, "picture_and_payload", counting)
    fill(source, opened(), workers=1, progress=lambda *now: seen.append(now))
    assert len(decoded) == 11
    assert seen[0] == (2, 13)
    assert seen[-1] == (13, 13)
    decoded.clear()
    fill(source, opened(), workers=1)
    assert not decoded


def test_interrupting_keeps_what_is_there(source: Source, opened: Opener) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(source, opened(), workers=1, progress=interrupt)
    assert opened().num_complete() == 13


# Keys


def test_the_key_changes_with_files_and_form(root: Path, source: Source, facts: tuple[PictureFacts, ...]) -> None:
    def key(form: StoredFormat = RAW) -> str:
        return Layout(scan(load_source(root), workers=1).facts, form).key

    first = key()
    assert first == Layout(facts, RAW).key
    others = {first, key(JPEG), key(StoredFormat(41)), key(StoredFormat(40, "L"))}
    assert len(others) == 4
    content = bytearray((root / "spots" / "00.jpg").read_bytes())
    content[-3] ^= 1  # one bit of the pixels
    (root / "spots" / "00.jpg").write_bytes(content)
    assert key() not in others
    shutil.copy(root / "spots" / "01.jpg", root / "spots" / "07.jpg")
    assert len({key(), *others}) == 5


def test_a_changed_file_finds_nothing_and_its_old_file_goes(
    root: Path, source: Source, facts: tuple[PictureFacts, ...], opened: Opener, folder: Path
) -> None:
    fill(source, opened(), workers=1)
    fill(source, opened(JPEG), workers=1)
    shutil.copy(root / "spots" / "01.jpg", root / "spots" / "00.jpg")
    changed = scan(source, workers=1).facts
    assert find_prepared(source, changed, RAW, folder=folder) is None
    new = open_prepared(source, changed, RAW, budget_bytes=ANY_SIZE, disk_share=1, folder=folder)
    assert new.num_complete() == 0
    assert {(file.form, file.complete) for file in list_prepared(folder)} == {(RAW, 0), (JPEG, 13)}


def test_a_file_that_changed_since_the_scan_is_not_kept(root: Path, source: Source, opened: Opener) -> None:
    file = opened()
    shutil.copy(root / "spots" / "01.jpg", root / "spots" / "00.jpg")
    fill(source, file, workers=1)
    assert file.num_complete() == 12
    assert file.get(0) is None


def test_the_pixels_depend_on_the_libraries_so_the_key_does(
    facts: tuple[PictureFacts, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {Layout(facts, RAW).key}
    for name, value in (("PIXEL_VERSION", 99), ("JPEG_QUALITY", 50)):
        monkeypatch.setattr(module, name, value)
        keys.add(Layout(facts, RAW).key)
    monkeypatch.setattr(module.cv2, "__version__", "9.9")
    keys.add(Layout(facts, RAW).key)
    assert len(keys) == 4


# Damage


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        value = file.read(1)[0]
        file.seek(place)
        file.write(bytes([value ^ 0x10]))


@pytest.mark.parametrize("form", [RAW, JPEG], ids=["raw", "jpeg"])
def test_a_flipped_bit_costs_one_decoding_and_is_reported(source: Source, opened: Opener, form: StoredFormat) -> None:
    first = opened(form)
    fill(source, first, workers=1)
    flip(first.path, int(first.layout.starts[3]) + 100)
    flip(first.path, first.layout.header_bytes + ENTRY.size * 5 + 1)  # in the index
    file, said = opened(form), []
    file.say = said.append
    assert file.get(3) is None
    assert file.get(5) is None
    assert file.get(4) is not None
    file.tell()
    file.tell()
    assert len(said) == 1
    assert "damaged" in said[0]
    for index in (3, 5):
        put(file, source, index)
        found = opened(form).get(index)
        assert found is not None
        assert np.array_equal(found, expected(source, index, form))


@pytest.mark.parametrize("damage", ["cut", "grown", "header", "other", "empty"])
def test_a_damaged_file_is_made_again(source: Source, opened: Opener, damage: str) -> None:
    file = opened()
    fill(source, file, workers=1)
    if damage == "header":
        flip(file.path, 40)
    elif damage == "other":
        shutil.copy(opened(JPEG).path, file.path)
    else:
        os.truncate(file.path, {"cut": file.layout.end - 1, "grown": file.layout.end + 1, "empty": 0}[damage])
    again = opened()
    assert again.num_complete() == 0
    fill(source, again, workers=1)
    found = opened().get(0)
    assert found is not None
    assert np.array_equal(found, expected(source, 0))


def test_every_flipped_bit_of_index_and_header_is_harmless(source: Source, opened: Opener) -> None:
    file = opened()
    fill(source, file, workers=1)
    right = {index: expected(source, index) for index in good(file)}
    whole = file.path.read_bytes()
    generator = np.random.default_rng(1)
    for place in generator.integers(0, int(file.layout.starts[0]), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(generator.integers(8))
        file.path.write_bytes(damaged)
        again = opened()
        for index in right:
            found = again.get(index)
            assert found is None or np.array_equal(found, right[index])
        again.close()
        file.path.write_bytes(whole)


# Killed writers, several writers

WRITER = """
import sys
from pathlib import Path
from casebook.data.prepared import StoredFormat, fill, open_prepared
from casebook.data.scan import scan
from casebook.data.sources import load_source
import casebook.data.prepared as module, os, signal

root, folder, format, kill_after = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
source = load_source(root)
file = open_prepared(source, scan(source, workers=1).facts, StoredFormat(40, format=format), budget_bytes=1e12,
                     disk_share=1, folder=folder)
writes, original = 0, os.pwrite

def pwrite(descriptor, content, start):
    global writes
    writes += 1
    if writes == kill_after:  # in the middle of a write
        original(descriptor, content[: len(content) // 2], start)
        os.kill(os.getpid(), signal.SIGKILL)
    return original(descriptor, content, start)

os.pwrite = pwrite
print("ready", flush=True)
sys.stdin.readline()
fill(source, file, workers=1)
"""


def writer(root: Path, folder: Path, form: StoredFormat, kill_after: int = 0) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), str(folder), form.format, str(kill_after)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize(("form", "kill_after", "complete"), [(RAW, 7, 3), (JPEG, 8, 3)], ids=["slot", "entry"])
def test_a_killed_writer_costs_the_picture_under_way(
    root: Path, source: Source, opened: Opener, folder: Path, form: StoredFormat, kill_after: int, complete: int
) -> None:
    process = writer(root, folder, form, kill_after)
    process.communicate("\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    file = opened(form)
    assert file.num_complete() == complete
    for index in good(file):
        found = file.get(index)
        assert found is None or np.array_equal(found, expected(source, index, form))
    fill(source, file, workers=1)
    for index in good(file):
        assert np.array_equal(opened(form).get(index), expected(source, index, form))  # type: ignore[arg-type]


def test_two_writers_at_once(root: Path, source: Source, opened: Opener, folder: Path) -> None:
    first, second = writer(root, folder, RAW), writer(root, folder, RAW)
    go(first)
    go(second)
    for process in (first, second):
        process.communicate(timeout=60)
        assert process.returncode == 0
    (listed,) = list_prepared(folder)
    assert (listed.complete, listed.pictures) == (13, 13)
    file = opened()
    for index in good(file):
        assert np.array_equal(file.get(index), expected(source, index))  # type: ignore[arg-type]
    assert not list(folder.glob(".*"))


def test_many_makers_make_one_file(opened: Opener, folder: Path) -> None:
    files: list[PreparedFile] = []
    threads = [threading.Thread(target=lambda: files.append(opened())) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files) == 24
    assert {os.fstat(file.descriptor).st_ino for file in files} == {files[0].path.stat().st_ino}
    assert len(list(folder.iterdir())) == 1


def test_forked_readers_see_what_others_write(source: Source, opened: Opener) -> None:
    file = opened()

    def child() -> None:
        put(file, source, 2)
        os._exit(0 if file.get(2) is not None else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert np.array_equal(file.get(2), expected(source, 2))  # type: ignore[arg-type]
    assert file.tried[2] == 1  # the check of one holds for all


def test_spawned_workers_open_it_themselves(source: Source, opened: Opener) -> None:
    file = opened()
    fill(source, file, workers=1)
    file.say = lambda text: None
    other = pickle.loads(pickle.dumps(file))
    assert np.array_equal(other.get(1), expected(source, 1))


# Full disks


@pytest.fixture
def small_files() -> None:
    """No file of this process may grow beyond a megabyte: the write fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_real_failing_write_ends_the_use_of_the_file(source: Source, opened: Opener, small_files: None) -> None:
    file, said = opened(), []
    file.say = said.append
    put(file, source, 0)
    limit = int(file.layout.starts[3]) + 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    kept = file.get(0)
    for index in (1, 2, 3, 4):
        put(file, source, index)
    assert file.trouble[0] == errno.EFBIG
    file.tell()
    file.tell()
    assert len(said) == 1
    assert "File too large" in said[0]
    assert "training continues" in said[0]
    assert not file.path.exists()
    assert file.get(1) is None
    assert np.array_equal(kept, expected(source, 0))  # type: ignore[arg-type]


def test_no_space_is_an_error_for_the_command_and_leaves_nothing(
    source: Source, opened: Opener, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, original, writes = opened(), os.pwrite, []

    def pwrite(*arguments: object) -> int:
        writes.append(1)
        if len(writes) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(RunError, match=r"No space left on device.*--side or --format jpeg"):
        fill(source, file, workers=1)
    assert not list(folder.iterdir())


def test_short_writes_are_finished(source: Source, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, content, start: original(descriptor, content[:1000], start))
    fill(source, opened(), workers=1)
    file = opened()
    assert all(np.array_equal(file.get(i), expected(source, i)) for i in good(file))  # type: ignore[arg-type]


def test_a_nearly_full_disk_is_left_alone(source: Source, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    file, said = opened(), []
    file.say = said.append
    put(file, source, 0)
    monkeypatch.setattr(module, "RESERVE_BYTES", 1 << 60)
    put(file, source, 1)
    file.tell()
    assert "nearly full" in said[0]
    assert np.array_equal(file.get(0), expected(source, 0))  # type: ignore[arg-type]
    assert file.get(1) is None
    with pytest.raises(RunError, match="nearly full"):
        fill(source, file, workers=1)


def test_a_folder_that_cannot_be_written(source: Source, facts: tuple[PictureFacts, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot keep prepared pictures in"):
        open_prepared(source, facts, RAW, budget_bytes=ANY_SIZE, disk_share=1, folder=tmp_path / "file" / "below")


def test_a_file_that_may_only_be_read(source: Source, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened()
    put(first, source, 0)
    put(first, source, 1)
    flip(first.path, int(first.layout.starts[1]))
    monkeypatch.setattr(module.os, "access", lambda *_: False)  # root, who runs tests, may write everything
    file = opened()
    put(file, source, 2)
    assert file.num_complete() == 2
    assert np.array_equal(file.get(0), expected(source, 0))  # type: ignore[arg-type]
    assert file.get(1) is None
    assert file.trouble[0] == 0
    assert oct(file.path.stat().st_mode & 0o777) == oct(0o666 & ~umask())


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Budgets


def test_the_size_told_is_the_size_taken(source: Source, opened: Opener) -> None:
    file = opened()
    fill(source, file, workers=1)
    assert file.layout.size_bytes == file.path.stat().st_size
    assert 0.9 < file.path.stat().st_blocks * 512 / file.layout.size_bytes < 1.3
    lossy = opened(JPEG)
    told = jpeg_size_bytes(source, lossy.layout)
    fill(source, lossy, workers=1)
    assert 0.7 < lossy.path.stat().st_blocks * 512 / told < 1.4


def test_the_budget_counts_all_prepared_pictures(
    source: Source, facts: tuple[PictureFacts, ...], opened: Opener, folder: Path
) -> None:
    def made(form: StoredFormat, budget_bytes: float) -> PreparedFile:
        return open_prepared(source, facts, form, budget_bytes=budget_bytes, disk_share=1, folder=folder)

    size_bytes = Layout(facts, RAW).size_bytes
    with pytest.raises(RunError, match=r"more than the limit of .* \(prepared_gib\)"):
        made(RAW, size_bytes - 1)
    assert not folder.exists()
    made(RAW, size_bytes)
    with pytest.raises(RunError, match="beside"):
        made(StoredFormat(41), Layout(facts, StoredFormat(41)).size_bytes)
    made(RAW, 0)  # it is there already
    made(StoredFormat(41), size_bytes + Layout(facts, StoredFormat(41)).size_bytes)


def test_the_disk_must_have_room(
    source: Source, facts: tuple[PictureFacts, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = Layout(facts, RAW).size_bytes * 2 + module.RESERVE_BYTES * 2
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    options = dict(budget_bytes=ANY_SIZE, folder=folder)
    assert open_prepared(source, facts, RAW, disk_share=0.5, **options)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=r"free; set CASEBOOK_CACHE to a folder on another disk"):
        open_prepared(source, facts, StoredFormat(60), disk_share=0.5, **options)  # type: ignore[arg-type]


# Listing and removing


def test_listing_and_removing(source: Source, opened: Opener, folder: Path) -> None:
    assert list_prepared(folder) == []
    file = opened()
    put(file, source, 0)
    fill(source, opened(JPEG), workers=1)
    (folder / "strange.pictures").write_bytes(b"nothing")
    listed = {entry.form: entry for entry in list_prepared(folder)}
    assert (listed[RAW].complete, listed[RAW].pictures) == (1, 13)
    assert listed[RAW].source == str(source.root)
    assert listed[JPEG].complete == 13
    assert listed[None].name == "strange"
    assert read_header(file.path)["side"] == 40
    with pytest.raises(RunError, match="no prepared pictures 'nonsense'; there are "):
        remove_prepared(["nonsense"], folder)
    assert len(list_prepared(folder)) == 3
    assert [entry.form for entry in remove_prepared([listed[RAW].name], folder)] == [RAW]
    assert np.array_equal(file.get(0), expected(source, 0))  # type: ignore[arg-type] # a reader keeps it
    assert len(remove_prepared(None, folder)) == 2
    assert list(folder.iterdir()) == []
    with pytest.raises(RunError, match="there are none"):
        remove_prepared(["nonsense"], folder)


def test_broken_pictures_stay_errors(source: Source, facts: tuple[PictureFacts, ...]) -> None:
    index = next(index for index, fact in enumerate(facts) if fact.error)
    with pytest.raises(PictureError):
        expected(source, index)
