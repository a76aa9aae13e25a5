"""What the boxes of a drawing say, in the words of the papers: "3x3 conv, 64, /2", "residual block", "x 3"."""

from collections.abc import Sequence

from .fold import Block, Branches, Element, Elements, Repeat, Unit, Woven, all_nodes, path_of
from .graph import Node
from .outline import pooling, sides
from .words import words

STYLES_OF_KINDS = {
    "conv": "conv", "linear": "dense", "pool": "pool", "norm": "norm", "activation": "norm", "dropout": "norm",
    "add": "merge", "mean": "merge", "cat": "merge", "mul": "merge",
}  # fmt: skip
GENERIC = ("", "Sequential", "ModuleList", "ModuleDict", "Residual", "PreActivated", "Projecting", "InvertedResidual",
           "Inception", "Cell", "Branches")  # fmt: skip
JOINS = {"add": "+", "mul": "×", "cat": "concatenate", "mean": "mean"}


def is_depthwise(node: Node) -> bool:
    return node.kind == "conv" and (node.cost.groups or 1) > 1 and node.cost.groups == node.in_shape[0]


def css_class(node: Node) -> str:
    """The class in the palette of `svg`."""
    return "depthwise" if is_depthwise(node) else STYLES_OF_KINDS.get(node.kind, "data")


def call_title(node: Node) -> str:
    """One call: "3x3 conv, 64, /2", "FC 4096", "3x3 max pool, /2", "batch norm"."""
    kernel, stride = node.cost.kernel_size, node.cost.stride or (1, 1)
    step = "" if stride == (1, 1) else f", /{stride[0]}" if stride[0] == stride[1] else f", /{stride[0]}x{stride[1]}"
    window = f"{kernel[0]}x{kernel[1]} " if kernel else ""
    if node.kind == "conv":
        if is_depthwise(node):
            return f"{window}depthwise, {node.shape[0]}{step}"
        groups = f", {node.cost.groups} groups" if (node.cost.groups or 1) > 1 else ""
        return f"{window}conv, {node.shape[0]}{groups}{step}"
    if node.kind == "linear":
        return f"FC {node.shape[-1]}"
    if node.kind == "pool":
        return f"{window}{pooling(node)}{step}"
    if node.kind == "dropout":
        return f"dropout {node.rate:g}"
    if len(node.inputs) == 1 and node.kind in ("add", "mul"):
        return {"add": "shift", "mul": "scale"}[node.kind]
    if node.kind == "cat":
        return f"concatenate, {node.shape[0]}"
    return words(node.type)


def unit_lines(unit: Unit) -> tuple[str, ...]:
    """The title of a unit and, in small lines, what comes with it: "first batch norm, ReLU", "then dropout 0.5"."""
    before = ", ".join(call_title(node) for node in unit.before if node.type != "Flatten")
    after = ", ".join(call_title(node) for node in unit.after if node.type != "Flatten")
    if before:
        return (call_title(unit.main), f"first {before}", *([f"then {after}"] if after else []))
    return (call_title(unit.main), *([after] if after else []))


def split_shortcut(element: Branches) -> tuple[Elements, Elements] | None:
    """(main branch, shortcut) of a residual block, a dense layer or a gate; None for other branches.

    A shortcut is empty, or a single unit beside a longer branch.
    """
    if len(element.branches) != 2 or element.join is None:
        return None
    one, other = sorted(element.branches, key=lambda branch: len(list(all_nodes(branch))), reverse=True)
    if not one or (other and (element.join.kind != "add" or not _is_thin(other) or len(one) < 2)):
        return None
    return one, other


def _is_thin(branch: Elements) -> bool:
    convolutions = [node for node in all_nodes(branch) if node.kind == "conv"]
    return len(branch) <= 2 and len(convolutions) <= 1 and all(isinstance(element, Unit) for element in branch)


def element_title(element: Element, types: dict[str, str]) -> str:
    """What a block is called: by the class of its module or, if that says nothing, by what is in it."""
    if isinstance(element, Unit):
        return call_title(element.main)
    if isinstance(element, Repeat):
        return element_title(element.first[0], types) if len(element.first) == 1 else "repeated layers"
    if isinstance(element, Block) and element.type == "Cell":
        return "reduction cell" if _shrinks(element) else "normal cell"
    kind = element.type if isinstance(element, Block) else types.get(path_of(element), "")
    if kind not in GENERIC:
        return words(kind)
    return _by_content(element)


def _by_content(element: Element) -> str:
    nodes = list(all_nodes((element,)))
    convolutions = [node for node in nodes if node.kind == "conv"]
    deep = any(is_depthwise(node) for node in convolutions)
    if isinstance(element, Branches) and element.join is not None:
        found = split_shortcut(element)
        if element.join.kind == "mul":
            return "squeeze and excitation" if found else "product of branches"
        if element.join.kind == "cat":
            if found and not found[1]:
                return "dense layer" if len(convolutions) < 4 else "branch beside its input"
            return "inception module" if convolutions else "concatenation"
        if found:
            inner = [node for node in all_nodes(found[0]) if node.kind == "conv" and len(node.shape) == 3]
            kernels = [node.cost.kernel_size for node in inner]
            if deep:
                return "inverted residual block"
            if (1, 1) in (kernels[:1] or [None]) and len(kernels) == 3:
                return "bottleneck block"
            return "residual block"
        return "sum of branches"
    inner = [part for part in element.elements if isinstance(part, Branches)] if isinstance(element, Block) else []
    if len(inner) == 1 and inner[0].join is not None and inner[0].join.kind == "add":
        return _by_content(inner[0])
    if isinstance(element, Block) and deep:
        layers = [unit for unit in element.elements if isinstance(unit, Unit) and unit.main.kind == "conv"]
        return "inverted bottleneck, no shortcut" if len(layers) > 2 else "depthwise separable block"
    return "block" if isinstance(element, Block) else "branches"


def _shrinks(element: Element) -> bool:
    """Whether the output has smaller sides than the input that is read first."""
    return last_shape((element,))[1:] < first_shape((element,))[1:]


def branch_words(elements: Elements, types: dict[str, str]) -> str:
    """A branch of a module in a few words: "3x3 128", "pool, 1x1 32", "identity"."""
    parts = []
    for element in elements:
        if isinstance(element, Unit) and element.main.kind == "conv" and element.main.cost.kernel_size:
            kernel = "x".join(map(str, element.main.cost.kernel_size))
            parts.append(f"{kernel} {'dw ' if is_depthwise(element.main) else ''}{element.main.shape[0]}")
        elif isinstance(element, Unit) and element.main.kind == "pool":
            parts.append("pool")
        elif isinstance(element, Unit):
            parts.append(call_title(element.main))
        else:
            parts.append(element_title(element, types))
    return ", ".join(parts[-2:]) if parts[:1] == ["pool"] else parts[-1] if parts else "identity"


def times(repeat: Repeat) -> str:
    """ "x 3", or "x 24, +32 channels each"."""
    return f"x {repeat.times}" + (f", {repeat.growth:+} channels each" if repeat.growth else "")


def last_shape(elements: Sequence[Element]) -> tuple[int, ...]:
    """The shape that the elements give."""
    element = elements[-1]
    if isinstance(element, Repeat):
        return last_shape(element.members[-1])
    if isinstance(element, Block):
        return last_shape(element.elements)
    if isinstance(element, Woven):
        return last_shape(element.parts[-1].elements)
    *_, last = all_nodes((element,))
    return last.shape


def first_shape(elements: Sequence[Element]) -> tuple[int, ...]:
    """The shape that the elements read."""
    return next(all_nodes(elements)).in_shape


def passage(elements: Sequence[Element]) -> str:
    """ "56x56x64 → 28x28x128"."""
    return f"{sides(first_shape(elements))} → {sides(last_shape(elements))}"
