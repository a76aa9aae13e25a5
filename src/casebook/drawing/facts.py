"""The numbers behind each box: shapes, window, weights, multiply-adds, and the arithmetic that `explain-cost` shows."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..cost.steps import factors
from ..cost.worked import explain
from .fold import Elements, Repeat, Structure, Unit, all_nodes, common_path
from .graph import Node
from .labels import call_title
from .outline import sides, window


class Fact(NamedTuple):
    """One box. Weights and multiply-adds are those of one copy; `times` says how many copies there are.

    `total_weights` and `total_multiply_adds` are the sums over all copies, which differ where channels grow.
    """

    key: int
    name: str
    title: str
    stage: str
    input: str
    output: str
    window: str
    weights: int
    multiply_adds: int
    times: int
    total_weights: int
    total_multiply_adds: int
    arithmetic: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The tooltip and the name for screen readers."""
        counted = f"{self.weights:,} weights, {self.multiply_adds:,} multiply-adds"
        copies = f", {self.times} times" if self.times > 1 else ""
        return f"{self.title}: {self.input} to {self.output}; {counted}{copies}"


def facts(structure: Structure) -> dict[int, Fact]:
    """A fact for each call that is drawn, by the number of its node; calls of a copy stand with the first one."""
    found: dict[int, Fact] = {}
    for section in (*structure.sections, *structure.sides):
        stage = getattr(section, "name", "auxiliary head")
        for copies in with_copies(section.elements):
            fact = fact_of(copies, stage)
            found[fact.key] = fact
    return found


def describer(known: dict[int, Fact]) -> Callable[[int], tuple[str, dict[str, str]]]:
    """What a box's group has: the fact in words as its tooltip, and its key."""

    def describe(key: int) -> tuple[str, dict[str, str]]:
        return (known[key].sentence, {"data-box": str(key)}) if key in known else ("", {})

    return describe


def unit_fact(unit: Unit, known: dict[int, Fact]) -> Fact:
    """The fact of a unit: that of its main call, with the weights of the norms and activations that belong to it."""
    parts = [known[node.number] for node in (*unit.before, unit.main, *unit.after)]
    main, last = known[unit.main.number], parts[-1]
    others = [part.title for part in parts if part is not main]
    weights = [part.weights for part in parts]
    sum_line = " + ".join(f"{number:,}" for number in weights if number)
    extra = (f"with {', '.join(others)}: {sum_line} = {sum(weights):,} weights",) if others and sum(weights) else ()
    return main._replace(
        title=", ".join([main.title, *([f"with {', '.join(others)}"] if others else [])]),
        output=last.output, weights=sum(weights), multiply_adds=sum(part.multiply_adds for part in parts),
        total_weights=sum(part.total_weights for part in parts),
        total_multiply_adds=sum(part.total_multiply_adds for part in parts),
        arithmetic=(*main.arithmetic, *(extra if sum(weights) != main.weights else ())),
    )  # fmt: skip


def group_fact(nodes: Sequence[Node], title: str, known: dict[int, Fact]) -> Fact:
    """The sum of the calls that one box stands for; its arithmetic is that of each call with multiply-adds.

    `nodes` has the calls of folded copies inside the box too; their first ones alone are `known`.
    """
    parts = [known[node.number] for node in nodes if node.number in known]
    lines = [f"{part.title}: {line}" for part in parts if part.multiply_adds for line in part.arithmetic[-1:]]
    path = common_path([node.name for node in nodes])
    return parts[-1]._replace(
        name=path or parts[-1].name, title=title, input=parts[0].input, window="",
        weights=sum(node.cost.parameters for node in nodes),
        multiply_adds=sum(node.cost.multiply_adds or 0 for node in nodes),
        times=sum(part.times for part in parts) // len(nodes),
        total_weights=sum(part.total_weights for part in parts),
        total_multiply_adds=sum(part.total_multiply_adds for part in parts), arithmetic=tuple(lines),
    )  # fmt: skip


def with_copies(elements: Elements) -> list[list[Node]]:
    """For each call that is drawn: itself and the calls of the folded copies."""
    found: list[list[Node]] = []
    for element in elements:
        if isinstance(element, Repeat):
            members = [with_copies(member) for member in element.members]
            found += [[node for copies in same for node in copies] for same in zip(*members, strict=True)]
        elif hasattr(element, "branches"):
            for branch in element.branches:  # type: ignore[union-attr]
                found += with_copies(branch)
            found += [[node] for node in (element.join, *element.after) if node is not None]  # type: ignore[union-attr]
        elif hasattr(element, "parts"):
            for part in element.parts:  # type: ignore[union-attr]
                found += with_copies(part.elements)
        elif hasattr(element, "elements"):
            found += with_copies(element.elements)  # type: ignore[union-attr]
        else:
            found += [[node] for node in all_nodes((element,))]
    return found


def fact_of(copies: Sequence[Node], stage: str) -> Fact:
    node = copies[0]
    return Fact(
        key=node.number,
        name=node.name or node.type,
        title=call_title(node),
        stage=stage,
        input=sides(node.in_shape),
        output=sides(node.shape),
        window=window(node),
        weights=node.cost.parameters,
        multiply_adds=node.cost.multiply_adds or 0,
        times=len(copies),
        total_weights=sum(copy.cost.parameters for copy in copies),
        total_multiply_adds=sum(copy.cost.multiply_adds or 0 for copy in copies),
        arithmetic=arithmetic(node),
    )


def arithmetic(node: Node) -> tuple[str, ...]:
    """The lines of `casebook explain-cost conv`, `linear` or `pool` for this call; () for other calls."""
    cost, lines = node.cost, []
    if node.kind == "conv" and cost.kernel_size and len(node.shape) == 3 and len(node.in_shape) == 3:
        lines += _side_lines(node)
        settings: dict[str, Any] = {"in_channels": node.in_shape[0], "filters": node.shape[0],
                                    "kernel_size": cost.kernel_size, "groups": cost.groups or 1}  # fmt: skip
        worked = explain("conv", size=node.shape[1:], padding="same", no_bias=not node.bias, **settings)
        lines += [_line(step) for step in worked.steps if step.what in ("parameters", "multiplications")]
    elif node.kind == "linear" and len(node.in_shape) == 1:
        worked = explain("linear", inputs=node.in_shape, outputs=node.shape[-1], no_bias=not node.bias)
        lines += [_line(step) for step in worked.steps if step.what in ("parameters", "multiplications")]
    elif node.kind == "pool" and cost.kernel_size and len(node.shape) == 3:
        lines += _side_lines(node)
    elif node.kind == "norm" and cost.parameters == 2 * node.shape[0]:
        lines.append(f"parameters: {factors(2, node.shape[0])} = {cost.parameters:,}")
    return tuple(lines)


def _side_lines(node: Node) -> list[str]:
    """The line of the output side, where a window with equal padding gives it."""
    cost = node.cost
    assert cost.kernel_size is not None
    padding, stride, kernel = set(cost.padding or ()), cost.stride or (1, 1), cost.kernel_size
    square = len({*node.in_shape[1:]}) == len({*node.shape[1:]}) == len(set(kernel)) == len(set(stride)) == 1
    if len(padding) != 1 or not square:
        return []
    given: dict[str, Any] = {"size": node.in_shape[1:], "kernel_size": kernel, "stride": stride[0],
                             "padding": padding.pop(), "dilation": node.dilation}  # fmt: skip
    for ceil_mode in (False, True):
        worked = explain("output-size", **given, ceil_mode=ceil_mode)
        if worked.steps[0].value == node.shape[1]:
            return [_line(worked.steps[0])]
    return []


def _line(step: Any) -> str:
    return f"{step.what}: {step.arithmetic} = {step.value:,}"
