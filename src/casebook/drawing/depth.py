"""A graph -> its depth, as papers count it: the layers with weights on the longest path."""

from .graph import Graph

LAYERS = ("conv", "linear")


def depth(graph: Graph) -> int:
    """Convolutions and fully connected layers on the longest path from the picture to the first output."""
    depths: list[int] = []
    for node in graph.nodes:
        before = max((depths[source] for source in node.inputs), default=0)
        depths.append(before + (node.kind in LAYERS))
    return depths[graph.outputs[0]]
