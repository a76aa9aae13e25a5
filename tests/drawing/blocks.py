"""The distinct blocks of the catalogue, and which network has which: what blocks.txt holds.

`python tests/drawing/blocks.py` writes that file again; read the difference before you commit it.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

from casebook.drawing.fold import Elements, Repeat, Structure, Unit, fold
from casebook.drawing.graph import trace_graph
from casebook.drawing.outline import element_lines
from casebook.models import list_models

traced = functools.cache(trace_graph)  # tests of one process trace each network once
FILE = Path(__file__).with_name("blocks.txt")


def blocks_of(elements: Elements) -> Iterator[tuple[str, int]]:
    """(the text of a block, how often it is repeated); units stand for themselves."""
    for element in elements:
        if isinstance(element, Repeat):
            text = "\n".join(element_lines(element.first, 1, shapes=False))
            yield text + (f"\n  {element.growth:+} channels each" if element.growth else ""), element.times
        elif isinstance(element, Unit):
            yield "\n".join(element_lines((element,), 1, shapes=False)), 1
        else:
            yield "\n".join(element_lines((element,), 1, shapes=False)), 1


def network_line(structure: Structure, known: dict[str, int]) -> str:
    """ "resnet34: stem 1, 2 | stage 1 3x3 | ...": the numbers of its blocks, and how often each is repeated."""
    parts = []
    for section in structure.sections:
        found = [(known.setdefault(text, len(known) + 1), times) for text, times in blocks_of(section.elements)]
        parts.append(f"{section.name}: {', '.join(f'[{n}]' + f' x {t}' * (t > 1) for n, t in found)}")
    return f"{structure.graph.network} = {' | '.join(parts)}"


def read() -> tuple[dict[str, int], dict[str, str]]:
    """The known blocks and the line of each network."""
    networks, _, blocks = FILE.read_text(encoding="utf-8").partition("\n\n")
    known = {}
    for entry in blocks.rstrip("\n").split("\n\n"):
        head, _, text = entry.partition("\n")
        known[text] = int(head.strip("[]"))
    return known, {line.split(" = ")[0]: line for line in networks.splitlines()}


def write() -> None:
    known: dict[str, int] = {}
    lines = [network_line(fold(trace_graph(name)), known) for name in list_models()]
    entries = [f"[{number}]\n{text}" for text, number in known.items()]
    FILE.write_text("\n".join(lines) + "\n\n" + "\n\n".join(entries) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
