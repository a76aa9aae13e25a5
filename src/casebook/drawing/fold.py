"""A graph -> what a drawing shows: sections of blocks of units, with equal neighbours folded into one.

A unit is a convolution, linear layer, pooling or other call together with the norms, activations and dropouts around
it. A block is what one module computes. Neighbours are equal if their layers have the same settings and shapes; the
rates of drop-path, which no inference runs, do not count. Neighbours whose channels grow by the same number fold too.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Union

from ..errors import ModelError
from .graph import Graph, Node
from .series import Item, Series, Split, Weave, decompose

LONGEST_PERIOD = 8  # elements of a pattern that repeats
ATTACHED = ("norm", "activation", "dropout")  # kinds that belong to the unit beside them
FEWEST_UNITS = 5  # equal units one after another that fold; fewer are drawn, as papers do
LOOSE = ("stem", "head", "auxiliary")  # modules whose layers stand for themselves, not as blocks


class Unit(NamedTuple):
    """One box of a drawing: `main` with the calls before and after it that belong to it."""

    main: Node
    before: tuple[Node, ...] = ()
    after: tuple[Node, ...] = ()


class Branches(NamedTuple):
    """Series side by side, joined by `join`; `after` are an activation or norm behind it. () is the identity."""

    branches: tuple["Elements", ...]
    join: Node | None
    after: tuple[Node, ...] = ()


class WovenPart(NamedTuple):
    """A piece of a network that is not series-parallel; `inputs` as of `series.Part`."""

    name: str
    elements: "Elements"
    inputs: tuple[int, ...]


class Woven(NamedTuple):
    """Parts in the order of execution, each with what it reads: a cell of a searched network, or any other tangle."""

    parts: tuple[WovenPart, ...]
    reads: tuple[int, ...]
    outer: tuple[int, ...]


class Block(NamedTuple):
    """What one module computes, as more than one element."""

    name: str
    type: str
    elements: "Elements"


class Repeat(NamedTuple):
    """`count` times the same elements; `members` are all of them, the first one drawn.

    With `growth`, each has that many channels more than the one before.
    """

    members: tuple["Elements", ...]
    growth: int = 0

    @property
    def times(self) -> int:
        return len(self.members)

    @property
    def first(self) -> "Elements":
        return self.members[0]


Element = Union[Unit, Branches, Woven, Block, Repeat]  # noqa: UP007 - the classes refer to it
Elements = tuple[Element, ...]


@dataclasses.dataclass(frozen=True)
class Side:
    """An auxiliary head: what reads the node `at` and leads to an output of its own."""

    at: int
    elements: Elements


@dataclasses.dataclass(frozen=True)
class Section:
    """A stage, by its name in the summary: "stem", "stage 1", "head", or the outermost module of other networks."""

    name: str
    elements: Elements


@dataclasses.dataclass(frozen=True)
class Structure:
    """The sections of a network from its input to its output, and its auxiliary heads."""

    graph: Graph
    sections: tuple[Section, ...]
    sides: tuple[Side, ...] = ()

    def section(self, wanted: str) -> Section:
        """The section by name, or by the number of its stage. Raises ModelError for another."""
        for section in self.sections:
            if wanted in (section.name, section.name.removeprefix("stage ")):
                return section
        names = ", ".join(section.name for section in self.sections)
        raise ModelError(f"unknown stage '{wanted}'; {self.graph.network} has {names}")


def fold(graph: Graph) -> Structure:
    """The structure of a graph."""
    needed = ancestors(graph, graph.outputs[0])
    main = decompose([graph.nodes[i] for i in sorted(needed)], graph.outputs[0], graph.types)
    elements = Folding(graph).units(main[1:])
    sides = tuple(
        Side(at, Folding(graph).structured(Folding(graph).units(series), "")) for at, series in _tails(graph, needed)
    )
    return Structure(graph, Folding(graph).sections(elements), sides)


def ancestors(graph: Graph, output: int) -> set[int]:
    """The nodes that an output needs, itself included."""
    found, waiting = set(), [output]
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += graph.nodes[index].inputs
    return found | {0}


def _tails(graph: Graph, needed: set[int]) -> Iterator[tuple[int, Series]]:
    """(the node that it reads, its series) of each further output that hangs on the main series by one call."""
    for output in graph.outputs[1:]:
        own = sorted(ancestors(graph, output) - needed)
        roots = {source for i in own for source in graph.nodes[i].inputs if source in needed}
        if len(roots) == 1 and own:
            root = roots.pop()
            nodes = [graph.nodes[root]] + [graph.nodes[i] for i in own]
            places = {node.number: place for place, node in enumerate(nodes)}
            alone = [
                n._replace(number=places[n.number], inputs=tuple(places.get(i, 0) for i in n.inputs)) for n in nodes
            ]
            alone[0] = alone[0]._replace(inputs=())
            series = decompose(alone, places[output], graph.types)
            back = {place: graph.nodes[index] for index, place in places.items()}
            yield root, _renumbered(series[1:], back)


def _renumbered(series: Series, nodes: dict[int, Node]) -> Series:
    """The series with each node replaced by the one at its index."""
    found: list[Item] = []
    for item in series:
        if isinstance(item, Node):
            found.append(nodes[item.number])
        elif isinstance(item, Split):
            branches = tuple(_renumbered(branch, nodes) for branch in item.branches)
            found.append(Split(branches, nodes[item.join.number] if item.join else None))
        else:
            parts = tuple(part._replace(series=_renumbered(part.series, nodes)) for part in item.parts)
            found.append(item._replace(parts=parts, outer=tuple(nodes[i].number for i in item.outer)))
    return tuple(found)


class Folding:
    """Builds the structure of one graph."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self._known: dict[tuple, int] = {}  # numbers of signatures, so that comparing is quick

    def units(self, series: Series) -> Elements:
        """Norms, activations and dropouts joined to what they belong to."""
        found: list[Element] = []
        waiting: list[Node] = []  # belong to the next unit
        for place, item in enumerate(series):
            if isinstance(item, Node) and _is_attached(item):
                if waiting or not self._joins_last(item, found, series[place + 1 :]):
                    waiting.append(item)
                else:
                    last = found[-1]
                    assert isinstance(last, Unit | Branches)
                    found[-1] = last._replace(after=(*last.after, item))
                continue
            if isinstance(item, Node) and all(_shared_parts(node.name, item.name) for node in waiting):
                found.append(Unit(item, tuple(waiting)))
            else:
                found += _alone(waiting)
                found.append(Unit(item) if isinstance(item, Node) else self._parallel(item))
            waiting = []
        return (*found, *_alone(waiting))

    def _parallel(self, item: Split | Weave) -> Element:
        if isinstance(item, Split):
            return Branches(tuple(self.units(branch) for branch in item.branches), item.join)
        parts = tuple(WovenPart(part.name, self.units(part.series), part.inputs) for part in item.parts)
        woven = Woven(parts, item.reads, item.outer)
        return Block(item.module, self.graph.types.get(item.module, ""), (woven,)) if item.module else woven

    def _joins_last(self, node: Node, found: list[Element], later: Series) -> bool:
        """Whether a norm, activation or dropout belongs to what is before it rather than to what follows."""
        last = found[-1] if found else None
        if isinstance(last, Branches):  # only if it is of the same module
            path = path_of(last)
            return _shared_parts(node.name, path) == (path.count(".") + 1 if path else 0)
        if not isinstance(last, Unit):
            return False
        following = next((item for item in later if not (isinstance(item, Node) and _is_attached(item))), None)
        if not isinstance(following, Node):
            return True
        nearer = _shared_parts(node.name, last.main.name) - _shared_parts(node.name, following.name)
        return nearer > 0 or (nearer == 0 and node.kind != "dropout")  # a dropout belongs to the layer that it feeds

    def sections(self, elements: Elements) -> tuple[Section, ...]:
        """The elements by stage, as `casebook.count` names it, each structured."""
        found: list[tuple[str, list[Element]]] = []
        for element in elements:
            path = path_of(element)
            name = self._stage(path) or (found[-1][0] if found else self.graph.network)
            if found and found[-1][0] == name:
                found[-1][1].append(element)
            else:
                found.append((name, [element]))
        merged: dict[str, list[Element]] = {}
        for name, inside in found:
            merged.setdefault(name if name not in merged else f"{name} ({len(merged)})", []).extend(inside)
        return tuple(
            Section(name, self.structured(tuple(inside), self._prefix(name, inside))) for name, inside in merged.items()
        )

    def _stage(self, path: str) -> str:
        parts = path.split(".") if path else []
        if self.graph.staged and parts[:1] == ["stages"] and len(parts) > 1:
            return f"stage {int(parts[1]) + 1}"
        if self.graph.staged and parts == ["stages"]:
            return ""
        return "" if not parts or parts[0].isdecimal() else parts[0]  # numbers are the layers of a plain Sequential

    def _prefix(self, section: str, elements: Sequence[Element]) -> str:
        """The module whose children are the blocks of a section."""
        if self.graph.staged and section.startswith("stage "):
            return f"stages.{int(section.split()[1]) - 1}"
        return common_path([path_of(element) for element in elements])

    def structured(self, elements: Elements, prefix: str) -> Elements:
        """The elements of each module below `prefix` as a block, and equal neighbours folded."""
        if len(elements) < 2:
            return elements
        depth = len(prefix.split(".")) if prefix else 0
        blocks: list[Element] = []
        for key, group in groupby(elements, key=lambda element: _component(path_of(element), depth)):
            inside = tuple(group)
            name = common_path([path_of(element) for element in inside])
            if not key or len(inside) == 1 or name.split(".")[0] in LOOSE:
                blocks += inside
                continue
            inner = self.structured(inside, name)
            whole = len(inner) == 1 and not isinstance(inner[0], Repeat)
            blocks += inner if whole else [Block(name, self.graph.types.get(name, ""), inner)]
        return self.folded(tuple(blocks))

    def folded(self, elements: Elements) -> Elements:
        """Patterns that repeat, up to `LONGEST_PERIOD` elements long, as one `Repeat`."""
        keys = [self._number(signature(element)) for element in elements]
        found: list[Element] = []
        start = 0
        while start < len(elements):
            best, growth = (1, 1), 0  # period, repetitions
            for period in range(1, min(LONGEST_PERIOD, (len(elements) - start) // 2) + 1):
                times = _repetitions(keys, start, period)
                few = times < FEWEST_UNITS and all(isinstance(e, Unit) for e in elements[start : start + period])
                if times > 1 and not few and (times - 1) * period > (best[1] - 1) * best[0]:
                    best = (period, times)
            if best == (1, 1):
                times, growth = self._growing(elements, start)
                best = (1, times)
            period, times = best
            members = tuple(elements[i : i + period] for i in range(start, start + period * times, period))
            found += [Repeat(members, growth)] if times > 1 else members[0]
            start += period * times
        return tuple(found)

    def _growing(self, elements: Elements, start: int) -> tuple[int, int]:
        """(how many neighbours from `start` on grow alike, by how many channels); at least three, else (1, 0)."""
        if isinstance(elements[start], Unit):
            return 1, 0
        shape, numbers = signature(elements[start])
        steps: list[tuple[int, ...]] = []
        for element in elements[start + 1 :]:
            other_shape, other = signature(element)
            if other_shape != shape or len(other) != len(numbers):
                break
            step = tuple(b - a for a, b in zip(numbers, other, strict=True))
            if steps and step != steps[0]:
                break
            steps.append(step)
            numbers = other
        sizes = {size for size in steps[0] if size} if steps else set()
        return (len(steps) + 1, sizes.pop()) if len(steps) > 1 and len(sizes) == 1 else (1, 0)

    def _number(self, key: tuple) -> int:
        return self._known.setdefault(key, len(self._known))


def _alone(nodes: Sequence[Node]) -> Elements:
    """Norms and activations that belong to no other unit, as one unit."""
    return (Unit(nodes[0], after=tuple(nodes[1:])),) if nodes else ()


def _is_attached(node: Node) -> bool:
    alone = node.kind in ("add", "mul") and len(node.inputs) == 1  # a scale or a shift by weights
    return node.kind in ATTACHED or node.type == "Flatten" or alone


def _repetitions(keys: Sequence[int], start: int, period: int) -> int:
    times, pattern = 1, keys[start : start + period]
    while keys[start + times * period : start + (times + 1) * period] == pattern:
        times += 1
    return times


def signature(element: Element) -> tuple[tuple, tuple[int, ...]]:
    """(the settings and sides of all layers, the numbers of channels): equal elements have equal signatures."""
    numbers: list[int] = []
    return _skeleton(element, numbers, _settings), tuple(numbers)


def form(element: Element) -> tuple:
    """What two blocks of one kind share, whatever their channels and sides: kernels, strides, branches and joins."""
    return _skeleton(element, [], _settings_alone)


def _settings(node: Node, numbers: list[int]) -> tuple:
    cost = node.cost
    depthwise = cost.groups == node.in_shape[0] if node.in_shape else False
    numbers += [node.in_shape[0] if node.in_shape else 0, node.shape[0] if node.shape else 0]
    numbers.append(cost.groups or 0)
    sides = node.in_shape[1:], node.shape[1:]
    return (node.kind, node.type, cost.kernel_size, cost.stride, cost.padding, depthwise, node.bias, node.dilation,
            node.rate, node.training_only, *sides)  # fmt: skip


def _settings_alone(node: Node, numbers: list[int]) -> tuple:
    cost, inside = node.cost, node.in_shape[:1]
    depthwise = (cost.groups or 1) > 1 and cost.groups == (inside[0] if inside else 0)
    grouped = "depthwise" if depthwise else (cost.groups or 1) > 1
    return (node.kind, node.type, cost.kernel_size if cost.kernel_size != node.in_shape[1:] else "all", cost.stride,
            grouped)  # fmt: skip


def _skeleton(element: Element, numbers: list[int], settings: Callable[[Node, list[int]], tuple]) -> tuple:
    def many(nodes: Iterable[Node]) -> tuple:
        return tuple(settings(node, numbers) for node in nodes)

    def inner(elements: Elements) -> tuple:
        return tuple(_skeleton(part, numbers, settings) for part in elements)

    if isinstance(element, Unit):
        return ("unit", many(element.before), settings(element.main, numbers), many(element.after))
    if isinstance(element, Branches):
        join = settings(element.join, numbers) if element.join else ()
        return ("split", tuple(inner(branch) for branch in element.branches), join, many(element.after))
    if isinstance(element, Woven):
        return ("woven", tuple((inner(part.elements), part.inputs) for part in element.parts), element.reads)
    if isinstance(element, Block):
        return ("block", inner(element.elements))
    return ("repeat", element.times, element.growth, inner(element.first))


def path_of(element: Element) -> str:
    """The innermost module that holds all calls of an element."""
    if isinstance(element, Block):
        return element.name
    return common_path([node.name for node in all_nodes((element,))])


def all_nodes(elements: Iterable[Element]) -> Iterator[Node]:
    """All nodes of elements in the order of execution, repetitions included."""
    for element in elements:
        if isinstance(element, Unit):
            yield from (*element.before, element.main, *element.after)
        elif isinstance(element, Branches):
            for branch in element.branches:
                yield from all_nodes(branch)
            yield from (element.join,) if element.join else ()
            yield from element.after
        elif isinstance(element, Woven):
            for part in element.parts:
                yield from all_nodes(part.elements)
        elif isinstance(element, Block):
            yield from all_nodes(element.elements)
        else:
            for member in element.members:
                yield from all_nodes(member)


def common_path(names: Sequence[str]) -> str:
    """The longest dotted beginning that all names share."""
    shared = names[0].split(".") if names else []
    for name in names:
        parts = name.split(".")
        while shared and parts[: len(shared)] != shared:
            shared.pop()
    return ".".join(shared)


def _shared_parts(one: str, other: str) -> int:
    path = common_path([one, other])
    return path.count(".") + 1 if path else 0


def _component(path: str, depth: int) -> str:
    parts = path.split(".")
    return parts[depth] if path and len(parts) > depth else ""
