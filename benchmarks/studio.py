"""The studio's Label page with 50,000 pictures: until it is ready, the jump to the end, DOM nodes, and memory after
scrolling.

    python benchmarks/studio.py [--pictures 50000] [--minutes 10]

Pictures are made in a folder of the system's temporary files: 96 x 96 JPEGs of noise in 10 classes. "Ready" is from the
navigation until every picture in the window is drawn, the first time (the folder is read and thumbnails are made) and
again. The jump is from the key End until the last pictures are drawn. Needs Chromium and playwright.
"""

import argparse
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from studio_session import studio

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


def scroll(page: Any, minutes: float) -> int:
    """Scrolls up and down the grid; gives the number of strokes."""
    strokes, end = 0, time.monotonic() + 60 * minutes
    page.mouse.move(450, 700)
    while time.monotonic() < end:
        page.mouse.wheel(0, 1500 if strokes % 400 < 200 else -1500)
        page.wait_for_timeout(60)
        strokes += 1
        if strokes % 100 == 0:
            page.locator(".grid").press("End" if strokes % 200 else "Home")
    return strokes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_pictures(root / "many", given.pictures)
        with studio(root) as server, sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--headless=new", "--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 900})
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
            devtools = page.context.new_cdp_session(page)
            after = f"after {given.minutes:g} minutes of scrolling"
            for what in ("before scrolling", after, f"{after} and a garbage collection"):
                if "garbage" in what:  # Chromium itself collects when memory becomes scarce
                    devtools.send("HeapProfiler.collectGarbage")
                    page.wait_for_timeout(3000)
                heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
                page_mib = max(map(resident_mib, renderers()))
                server_mib = resident_mib(server.pid)
                print(f"memory {what}: server {server_mib:.0f} MiB, page {page_mib:.0f} MiB (heap {heap:.0f} MiB)")
                if what == "before scrolling":
                    scroll(page, given.minutes)
            print(f"DOM nodes: {page.evaluate('document.querySelectorAll(`*`).length')}")
            browser.close()


if __name__ == "__main__":
    main()
