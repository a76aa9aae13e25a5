"""The studio's Label page with 50,000 pictures: until it is ready, the jump to the end, DOM nodes, and memory after
scrolling.

    python benchmarks/studio.py [--pictures 50000] [--minutes 10]

Pictures are made in a folder of the system's temporary files: 96 x 96 JPEGs of noise in 10 classes. "Ready" is from the
navigation until every picture in the window is drawn, the first time (the folder is read and thumbnails are made) and
again. The jump is from the key End until the last pictures are drawn. Needs Chromium and playwright.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from studio_session import Server, studio

DRAWN = """() => {
  const grid = document.querySelector('.grid');
  if (!grid) return false;
  const box = grid.getBoundingClientRect();
  const images = [...grid.querySelectorAll('img')].filter((image) => {
    const at = image.getBoundingClientRect();
    return at.bottom > box.top && at.top < Math.min(box.bottom, innerHeight);
  });
  return images.length > 0 && images.every((image) => image.complete && image.naturalWidth > 0);
}"""

# Scrolls up and down for some seconds; every hundredth stroke goes to an end.
SCROLL = """(seconds) => {
  const grid = document.querySelector('.grid');
  const end = performance.now() + 1000 * seconds;
  window.strokes = 0;
  const go = () => {
    if (performance.now() > end) return;
    grid.scrollTop += window.strokes % 400 < 200 ? 1500 : -1500;
    window.strokes += 1;
    if (window.strokes % 100 === 0) grid.scrollTop = window.strokes % 200 ? grid.scrollHeight : 0;
    setTimeout(go, 60);
  };
  go();
}"""


def make_pictures(folder: Path, number: int) -> None:
    generator = np.random.default_rng(0)
    for label in range(10):
        (folder / f"class_{label}").mkdir(parents=True)
    for index in range(number):
        small = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((96, 96))
        picture.save(folder / f"class_{index % 10}" / f"{index:06d}.jpg", quality=80)


def drawn(page: Any, deadline_seconds: float = 60) -> None:
    """Until every picture in sight is drawn. The page's policy forbids evaluating a text in a timer, so we ask."""
    deadline = time.perf_counter() + deadline_seconds
    while not page.evaluate(DRAWN):
        if time.perf_counter() > deadline:
            raise SystemExit("the pictures were not drawn in time")
        time.sleep(0.01)


def resident_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])


def renderers() -> list[int]:
    """The processes below this one that hold pages of Chromium."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"--type=renderer" in path.read_bytes():
                pid = above = int(path.parent.name)
                while above not in (0, os.getpid()):
                    above = parent(above)
                found += [pid] if above else []
        except OSError:
            continue
    return found


@contextlib.contextmanager
def chromium() -> Iterator[str]:
    """A browser of its own with one page; the address of its DevTools, from which Playwright can go away again."""
    executable = shutil.which("chromium") or "chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        arguments += ["--disable-dev-shm-usage", "--window-size=1280,900", f"--user-data-dir={profile}"]
        with subprocess.Popen([executable, *arguments], stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                found = (re.search(r"DevTools listening on ws://([^/]+)/", line) for line in process.stderr)
                address = next(one[1] for one in found if one)
                threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it
                yield f"http://{address}"
            finally:
                process.kill()


def scrolled(minutes: float, server: int) -> tuple[float, float]:
    """The most MiB of the page and of the server while the page scrolls and nobody looks.

    DevTools keep 100 MiB of answers in the page's process while Playwright is connected, so it is not.
    """
    most = (0.0, 0.0)
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        time.sleep(1)
        most = max(most[0], *map(resident_mib, renderers())), max(most[1], resident_mib(server))
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_pictures(root / "many", given.pictures)
        with studio(root) as server, chromium() as devtools:
            measure(server, devtools, given)


def measure(server: Server, devtools: str, given: argparse.Namespace) -> None:
    with sync_playwright() as driver:
        page = driver.chromium.connect_over_cdp(devtools).contexts[0].pages[0]
        page.goto(server.address)
        page.locator("h2").first.wait_for()
        post = "import('/static/lib/api.js').then((api) => api.post('/api/projects', {folder: 'many'}))"
        project = page.evaluate(post)["id"]
        label = f"{server.address.partition('/?')[0]}/p/{project}/label"
        for what in ("first time", "again"):
            began = time.perf_counter()
            page.goto(label, wait_until="commit")
            drawn(page)
            print(f"ready, {what}: {time.perf_counter() - began:.2f} s")
        nodes = page.evaluate("document.querySelectorAll('*').length")
        print(f"DOM nodes: {nodes} for {page.locator('main [role=status]').inner_text()}")
        for what in ("first time", "again"):
            page.locator(".grid").focus()
            page.keyboard.press("Home")
            drawn(page)
            began = time.perf_counter()
            page.keyboard.press("End")
            page.locator(f"#picture-{given.pictures - 1}.at").wait_for()
            drawn(page)
            print(f"jump to the end, {what}: {time.perf_counter() - began:.2f} s")
        began = time.perf_counter()
        page.keyboard.press("x")
        page.get_by_text("1 picture left out").wait_for()
        print(f"one change, kept and written to the list: {time.perf_counter() - began:.2f} s")
        report("before scrolling", page, server.pid)
        page.evaluate(SCROLL, 60 * given.minutes)
    most = scrolled(given.minutes, server.pid)
    print(f"memory while scrolling: at most page {most[0]:.0f} MiB, server {most[1]:.0f} MiB")
    with sync_playwright() as driver:
        page = driver.chromium.connect_over_cdp(devtools).contexts[0].pages[0]
        strokes = page.evaluate("window.strokes")
        report(f"after {given.minutes:g} minutes and {strokes} strokes", page, server.pid)
        page.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")
        page.wait_for_timeout(3000)
        report("after a garbage collection", page, server.pid)


def report(when: str, page: Any, server: int) -> None:
    heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
    page_mib, nodes = max(map(resident_mib, renderers())), page.evaluate("document.querySelectorAll('*').length")
    server_mib = resident_mib(server)
    print(f"memory {when}: page {page_mib:.0f} MiB (heap {heap:.0f}), server {server_mib:.0f} MiB; {nodes} nodes")


if __name__ == "__main__":
    main()
