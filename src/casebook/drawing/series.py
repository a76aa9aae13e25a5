"""A graph -> nested series and splits (its series-parallel decomposition).

A series is a tuple of nodes and splits, one after another. A split is several series side by side between one call and
the call that joins them; an empty series in it is the identity. What is not series-parallel stays a `Weave`.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Union

from .graph import Node


class Split(NamedTuple):
    """Series side by side. `join` ends it, or is None where an outer split's join does."""

    branches: tuple["Series", ...]
    join: Node | None


class Part(NamedTuple):
    """A piece of a weave. `inputs` are the indices of the parts that it reads; -1, -2 ... are inputs from outside."""

    name: str
    series: "Series"
    inputs: tuple[int, ...]


class Weave(NamedTuple):
    """Parts in the order of execution, connected in a way that is not series-parallel."""

    parts: tuple[Part, ...]
    module: str = ""
    """The module whose call it is, or ""."""
    reads: tuple[int, ...] = ()
    """How many elements of its series back its inputs are, where it has more than one."""
    outer: tuple[int, ...] = ()
    """The nodes outside that the inputs -1, -2 ... are."""


Item = Union[Node, Split, Weave]  # noqa: UP007 - the classes refer to it
Series = tuple[Item, ...]


@dataclasses.dataclass(eq=False)
class Edge:
    """A series between two vertices; `slot` is its place among the inputs of the second."""

    start: int
    end: int
    items: Series
    slot: int


def decompose(nodes: Sequence[Node], output: int, types: dict[str, str]) -> Series:
    """The series from the first node to `output`, both included. `nodes` are those that `output` needs.

    Where the graph is not series-parallel, the calls of one module become one element, and what is left is a weave.
    """
    edges = [Edge(source, node.number, (), slot) for node in nodes for slot, source in enumerate(node.inputs)]
    by_index = {node.number: node for node in nodes}
    left = reduce_edges(edges, by_index, {0, output})
    if len(left) == 1:
        return (by_index[0], *join_last(left[0].items, by_index[output]))
    if not left:
        return (by_index[0],)
    return grouped(nodes, output, types)


def reduce_edges(edges: Iterable[Edge], nodes: dict[int, Node], ends: set[int]) -> list[Edge]:
    """Contracts series and parallel edges until neither is left; one edge remains of a series-parallel graph."""
    into: dict[int, list[Edge]] = defaultdict(list)
    out_of: dict[int, list[Edge]] = defaultdict(list)
    for edge in edges:
        into[edge.end].append(edge)
        out_of[edge.start].append(edge)
    waiting = sorted(set(into) | set(out_of), reverse=True)
    queued = set(waiting)
    while waiting:
        place = waiting.pop()
        queued.discard(place)
        changed = merge_parallel(place, into, out_of)
        if place not in ends and len(into[place]) == 1 and len(out_of[place]) == 1:
            before, after = into[place][0], out_of[place][0]
            joined = Edge(before.start, after.end, (*join_last(before.items, nodes[place]), *after.items), after.slot)
            del into[place], out_of[place]
            out_of[before.start][out_of[before.start].index(before)] = joined
            into[after.end][into[after.end].index(after)] = joined
            changed = [before.start, after.end]
        for other in changed:
            if other not in queued:
                queued.add(other)
                waiting.append(other)
    return [edge for group in into.values() for edge in group]


def merge_parallel(end: int, into: dict[int, list[Edge]], out_of: dict[int, list[Edge]]) -> list[int]:
    """Merges the edges that come to `end` from one start; gives the vertices that this changed."""
    starts: dict[int, list[Edge]] = defaultdict(list)
    for edge in into[end]:
        starts[edge.start].append(edge)
    changed = []
    for start, group in starts.items():
        if len(group) > 1:
            group.sort(key=lambda edge: edge.slot)
            branches: list[Series] = []
            for edge in group:
                first = edge.items[0] if len(edge.items) == 1 else None
                open_split = isinstance(first, Split) and first.join is None
                branches += first.branches if isinstance(first, Split) and open_split else [edge.items]
            merged = Edge(start, end, (Split(tuple(branches), None),), group[0].slot)
            gone = set(map(id, group))
            into[end] = [edge for edge in into[end] if id(edge) not in gone] + [merged]
            out_of[start] = [edge for edge in out_of[start] if id(edge) not in gone] + [merged]
            changed += [start, end]
    return changed


def join_last(items: Series, node: Node) -> Series:
    """The series followed by a node, which joins a split that ends it."""
    if items and isinstance(last := items[-1], Split) and last.join is None:
        return (*items[:-1], last._replace(join=node))
    return (*items, node)


def grouped(nodes: Sequence[Node], output: int, types: dict[str, str]) -> Series:
    """The series of a graph that is not series-parallel: the calls of one module are one element.

    Elements that read only their two or three predecessors, as the cells of a searched network do, stay a series, each
    with what it reads; anything else becomes one weave.
    """
    keys = {node.number: block_of(node, types) for node in nodes}
    groups: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        groups[keys[node.number]].append(node)
    order = list(groups)
    places = {name: place for place, name in enumerate(order)}
    reads: dict[str, list[int]] = {name: [] for name in order}  # places of the elements that a group reads
    for name, members in groups.items():
        for node in members:
            for source in node.inputs:
                place = places[keys[source]]
                if keys[source] != name and place not in reads[name]:
                    reads[name].append(place)
    one_way = all(place < places[name] for name in order for place in reads[name])
    if not one_way or len(order) < 3:  # calls of one module that others interrupt
        return (nodes[0], weave(nodes[1:], {node.number: f"#{node.number}" for node in nodes}))
    near = all(1 <= places[name] - place <= 3 for name in order for place in reads[name])
    if not near:
        return (nodes[0], weave(nodes[1:], keys))
    series: list[Item] = []
    for name, members in groups.items():
        back = tuple(sorted({places[name] - place for place in reads[name]}))
        if len(members) == 1 and back in ((1,), ()):
            series.append(members[0])
            continue
        straight = part_series(members) if back in ((1,), ()) else None
        if straight is not None:
            series += straight
        else:
            inner_keys = {node.number: inner_of(node, name, types) for node in members}
            found = weave(members, inner_keys)
            series.append(found._replace(module=name, reads=back if back != (1,) else ()))
    return tuple(series)


def weave(nodes: Sequence[Node], keys: dict[int, str]) -> Weave:
    """The nodes grouped by key into parts, each of which is a series; nodes of other groups become parts themselves."""
    inside = {node.number for node in nodes}
    while True:
        groups: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            groups[keys[node.number]].append(node)
        places = {name: place for place, name in enumerate(groups)}
        late = {
            keys[node.number]
            for node in nodes
            for source in node.inputs
            if source in inside and places[keys[source]] > places[keys[node.number]]
        }
        series = {name: part_series(members) for name, members in groups.items()}
        broken = {name for name in groups if name in late or series[name] is None}
        if not broken:
            break
        keys = keys | {node.number: f"#{node.number}" for name in broken for node in groups[name]}
    outer: dict[int, int] = {}  # node outside -> -1, -2, ...
    parts = []
    for name, members in groups.items():
        inputs: list[int] = []
        for node in members:
            for source in node.inputs:
                if source not in inside:
                    place = outer.setdefault(source, -1 - len(outer))
                elif keys[source] == name:
                    continue
                else:
                    place = places[keys[source]]
                if place not in inputs:
                    inputs.append(place)
        parts.append(Part(name, series[name] or (), tuple(inputs)))
    return Weave(tuple(parts), outer=tuple(outer))


def part_series(members: Sequence[Node]) -> Series | None:
    """The series of a part, or None where it has none.

    Its inputs count as one, so that a sum of two inputs is a split with two branches.
    """
    inside = {node.number for node in members}
    nodes = {node.number: node for node in members}
    edges = [
        Edge(source if source in inside else -1, node.number, (), slot)
        for node in members
        for slot, source in enumerate(node.inputs)
    ]
    read = {source for node in members for source in node.inputs}
    ends = [index for index in nodes if index not in read]
    if len(ends) == 1:
        left = reduce_edges(edges, nodes, {-1, ends[0]})
        if len(left) == 1:
            return join_last(left[0].items, nodes[ends[0]])
    return None


def block_of(node: Node, types: dict[str, str]) -> str:
    """The outermost module around a node that is no mere container; for a call of the network itself, its own key."""
    parts = node.name.split(".") if node.name else []
    for end in range(1, len(parts) + 1):
        name = ".".join(parts[:end])
        if types.get(name) not in ("Sequential", "ModuleList", "ModuleDict"):
            return name
    return node.name or f"#{node.number}"


def inner_of(node: Node, module: str, types: dict[str, str]) -> str:
    """The submodule of `module` that a node belongs to, below its lists; `module` itself for its own operators."""
    if node.name == module:
        return f"#{node.number}"
    rest = node.name[len(module) + 1 :].split(".")
    for end in range(1, len(rest) + 1):
        name = f"{module}.{'.'.join(rest[:end])}"
        if types.get(name) not in ("ModuleList", "ModuleDict"):
            return name
    return node.name


def nodes_of(series: Iterable[Item]) -> Iterator[Node]:
    """All nodes of a series, in its order."""
    for item in series:
        if isinstance(item, Node):
            yield item
        elif isinstance(item, Split):
            for branch in item.branches:
                yield from nodes_of(branch)
            if item.join is not None:
                yield item.join
        else:
            for part in item.parts:
                yield from nodes_of(part.series)
