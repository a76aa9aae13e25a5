"""A structure -> its outline: one line a unit, indented as blocks and branches lie inside each other."""

from collections.abc import Iterator, Sequence

from .fold import Block, Branches, Elements, Repeat, Structure, Unit
from .graph import Node
from .words import words


def outline(structure: Structure) -> list[str]:
    """The folded structure as lines of text. A test holds each network's lines to what they were."""
    lines = [f"input {sides(structure.graph.input_shape)}"]
    for section in structure.sections:
        lines.append(f"{section.name}:")
        lines += element_lines(section.elements, 1)
    for side in structure.sides:
        lines.append(f"auxiliary head after {structure.graph.nodes[side.at].name}:")
        lines += element_lines(side.elements, 1)
    return lines


def sides(shape: tuple[int, ...]) -> str:
    """A shape as height x width x channels: "56x56x64"; without sides, the number of features."""
    return "x".join(map(str, (*shape[1:], *shape[:1]))) if len(shape) == 3 else "x".join(map(str, shape))


def describe(node: Node) -> str:
    """A call in short: "conv 3x3/2 g32", "max pool 3x3/2", "batch norm"."""
    kind = {"conv": "conv", "linear": "linear"}.get(node.kind)
    if node.kind == "conv" and node.cost.groups == (node.in_shape[:1] or (0,))[0] > 1:
        kind = "depthwise conv"
    elif node.kind == "pool":
        kind = pooling(node)
    alone = {"add": "shift", "mul": "scale"}.get(node.kind) if len(node.inputs) == 1 else None
    text = kind or alone or words(node.type)
    if node.kind == "dropout":
        return f"{text} {node.rate:g}"
    if kernel := window(node):
        text += f" {kernel}"
    if (node.cost.groups or 1) > 1 and kind == "conv":
        text += f", {node.cost.groups} groups"
    return text


def window(node: Node) -> str:
    """ "3x3/2": kernel and stride; "" without a kernel."""
    if not node.cost.kernel_size:
        return ""
    stride = node.cost.stride or (1, 1)
    step = "" if stride == (1, 1) else f"/{stride[0]}" if stride[0] == stride[1] else f"/{stride[0]}x{stride[1]}"
    return "x".join(map(str, node.cost.kernel_size)) + step


def pooling(node: Node) -> str:
    """ "max pool", "average pool", or "global average pool"."""
    kind = "max pool" if "max" in node.type.lower() else "average pool"
    whole = len(node.shape) < 3 or (node.shape[1:] == (1, 1) and not node.cost.kernel_size)
    return f"global {kind}" if whole else kind


def element_lines(elements: Elements, depth: int = 0, *, shapes: bool = True) -> Iterator[str]:
    """The lines of elements, indented by `depth` steps, with or without the shape that each one gives."""
    indent = "  " * depth

    def line(nodes: Sequence[Node], mark: str = "") -> str:
        shape = f" -> {sides(nodes[-1].shape)}" if shapes else ""
        return f"{indent}{mark}{' + '.join(map(describe, nodes))}{shape}"

    for element in elements:
        if isinstance(element, Unit):
            yield line((*element.before, element.main, *element.after))
        elif isinstance(element, Branches):
            for branch in element.branches:
                yield f"{indent}|" + (" identity" if not branch else "")
                yield from element_lines(branch, depth + 1, shapes=shapes)
            joined = (*((element.join,) if element.join else ()), *element.after)
            if joined:
                yield line(joined, "= ")
        elif isinstance(element, Block):
            yield f"{indent}{words(element.type)}"
            yield from element_lines(element.elements, depth + 1, shapes=shapes)
        elif isinstance(element, Repeat):
            growth = f", {element.growth:+} channels each" if element.growth else ""
            yield f"{indent}x {element.times}{growth}"
            yield from element_lines(element.first, depth + 1, shapes=shapes)
        else:
            for place, part in enumerate(element.parts):
                reads = ", ".join(f"part {i}" if i >= 0 else f"input {-i}" for i in part.inputs)
                yield f"{indent}part {place} of {reads}"
                yield from element_lines(part.elements, depth + 1, shapes=shapes)
