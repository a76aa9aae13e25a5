"""Time and bytes of every network's drawings; with --peers, the sheets of torchview and of Keras's plot_model beside.

    python benchmarks/drawings.py [--peers]

The peers need `pip install --no-deps torchview graphviz pydot pyparsing torchvision keras` and the program `dot`.
"""

import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

import casebook
from casebook.drawing.draw import LEVELS, drawing_of
from casebook.drawing.fold import fold
from casebook.drawing.graph import trace_graph

NETWORKS = ("resnet34", "googlenet", "mobilenet_v2")


def catalogue() -> None:
    """Each level over all networks: seconds, bytes of a network's pages together, the largest network, the pages."""
    structures = {}
    start = time.perf_counter()
    for name in casebook.list_models():
        structures[name] = fold(trace_graph(name))
    print(f"{len(structures)} networks traced and folded in {time.perf_counter() - start:.1f} s")
    for level in LEVELS:
        start, sizes, most, overlaps = time.perf_counter(), {}, 0, 0
        for name, structure in structures.items():
            pages = drawing_of(structure, level).pages
            sizes[name] = sum(len(sheet.svg().encode()) for _, sheet in pages)
            most = max(most, len(pages))
            overlaps += sum(len(sheet.collisions()) for _, sheet in pages)
        seconds, largest = time.perf_counter() - start, max(sizes, key=lambda name: sizes[name])
        print(f"{level}: {seconds:.1f} s, median {statistics.median(sizes.values()):,.0f} bytes, largest "
              f"{sizes[largest]:,} ({largest}), at most {most} pages, {overlaps} overlaps")  # fmt: skip


def peers() -> None:
    """The same three networks from each program: pixels or points of the sheet, bytes, boxes."""
    os.environ["KERAS_BACKEND"] = "torch"
    library = torch.library.Library("torchvision", "DEF")  # for torchvision with a torch wheel for processors
    for schema in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a, Tensor b, float c) -> Tensor"):
        library.define(schema)
    import keras
    import torchvision
    from torchview import draw_graph

    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            model = getattr(torchvision.models, name)(**({"init_weights": False} if name == "googlenet" else {}))
            graph = draw_graph(model.eval(), input_size=(1, 3, 224, 224), device="meta", expand_nested=True)
            graph.visual_graph.render(f"{folder}/torchview-{name}", format="svg", cleanup=True)
            keras.utils.plot_model(casebook.to_keras(casebook.create_model(name)), f"{folder}/keras-{name}.svg",
                                   show_shapes=True)  # fmt: skip
            for program in ("torchview", "keras"):
                text = Path(f"{folder}/{program}-{name}.svg").read_text(encoding="utf-8")
                found = re.search(r'<svg width="(\d+)pt" height="(\d+)pt"', text)
                sheet = "x".join(found.groups()) if found else "?"
                boxes = text.count('class="node"')
                print(f"{program} {name}: {sheet} pt, {len(text):,} bytes, {boxes} boxes")
            page = casebook.draw(name).pages[0][1]
            print(f"casebook {name}: {page.width}x{page.height} px, {len(page.svg()):,} bytes, {len(page.boxes)} boxes")


if __name__ == "__main__":
    catalogue()
    if "--peers" in sys.argv[1:]:
        peers()
