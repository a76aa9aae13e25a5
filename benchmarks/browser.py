"""The page of a bundle in Chromium beside the bundle in Python: the same answers? How long for a picture?

    python benchmarks/browser.py BUNDLE PICTURES [--onnxruntime-web DIR] [--most 100] [--json FILE]

The two take turns, picture by picture, each with one thread: the page opened from a file, and onnxruntime. The time of
Python is that of decoding, resizing and the network; the page's is the same three steps in its worker.
"""

import argparse
import base64
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from interleave import command_line, machine, say, table

import casebook
from casebook.data.walk import pictures_below
from casebook.runner.answers import open_answerer

ASK = """async (content) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const { probabilities, isReduced, milliseconds } = await classify({ file: new File([bytes], ""), wantsAll: true });
  return { probabilities: [...probabilities], isReduced, milliseconds };
}"""
WARM_UP = 5  # pictures; a browser compiles what runs often


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--onnxruntime-web", metavar="DIR")
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    where = machine()
    files = pictures_below(options.pictures)
    files = files[:: max(1, len(files) // options.most)][: options.most]
    rows = compared(options, [*files[:WARM_UP], *files])[WARM_UP:]
    groups = {name: [row for row in rows if row["reduced"] == reduced] for name, reduced in GROUPS.items()}
    results = {name: summary(group) for name, group in groups.items() if group}
    steps = {step: statistics.median(row["steps"][step] for row in rows) for step in rows[0]["steps"]}
    print(table(HEAD, [(name, *(str(value) for value in result.values())) for name, result in results.items()]))
    print("median ms in the page:", ", ".join(f"{step} {ms:.1f}" for step, ms in steps.items()))
    if options.json:
        document = {
            "benchmark": "browser",
            "command": command_line(),
            "machine": where,
            "results": results,
            "steps": steps,
        }
        options.json.write_text(json.dumps(document, indent=1))


GROUPS = {"all but large JPEGs": False, "large JPEGs, reduced while decoding": True}
HEAD = ("pictures", "number", "same first class", "largest difference", "above 0.001", "page ms", "Python ms", "ratio")


def compared(options: argparse.Namespace, files: list[Path]) -> list[dict]:
    from playwright.sync_api import sync_playwright

    answerer = open_answerer(options.bundle, threads=1)
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        written = casebook.export_web(
            options.bundle, Path(folder) / "page.html", network="float32", runtime=options.onnxruntime_web
        )
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(written.path.as_uri())
        page.wait_for_selector("body[data-ready]", timeout=120_000)
        for number, file in enumerate(files):
            content = file.read_bytes()
            began = time.perf_counter()
            expected = answerer.infer(answerer.pixels(content)[None]).probabilities[0]
            python_ms = 1000 * (time.perf_counter() - began)
            found = page.evaluate(ASK, base64.b64encode(content).decode())
            probabilities = np.array(found["probabilities"])
            rows.append({
                "reduced": found["isReduced"], "difference": float(np.abs(probabilities - expected).max()),
                "same": int(probabilities.argmax()) == int(expected.argmax()), "steps": found["milliseconds"],
                "page_ms": sum(found["milliseconds"].values()), "python_ms": python_ms,
            })  # fmt: skip
            if number % 50 == 0:
                say(f"{number} of {len(files)} pictures")
        browser.close()
    return rows


def summary(rows: list[dict]) -> dict:
    ratios = statistics.quantiles([row["page_ms"] / row["python_ms"] for row in rows], n=4) if len(rows) > 1 else []
    return {
        "number": len(rows),
        "same": sum(row["same"] for row in rows),
        "largest": f"{max(row['difference'] for row in rows):.1e}",
        "above": sum(row["difference"] > 1e-3 for row in rows),
        "page_ms": round(statistics.median(row["page_ms"] for row in rows), 1),
        "python_ms": round(statistics.median(row["python_ms"] for row in rows), 1),
        "ratio": f"{ratios[1]:.1f} ({ratios[0]:.1f} to {ratios[2]:.1f})" if ratios else "",
    }


if __name__ == "__main__":
    main()
