"""What became of every node of the model, read off the operators that carry its name after the passes."""

from __future__ import annotations

from dataclasses import replace

from mapper.ir import Fate, Graph, Opaque, View

__all__ = ["account"]

_RANK: dict[Fate, int] = {"removed": 0, "folded": 1, "view": 2, "fused": 3, "mapped": 4, "host": 5}


def account(graph: Graph) -> Graph:
    """`graph` with each node's fate: the strongest of what its operators became.

    A nest is `mapped` for the node whose work it holds (the first source) and `fused` for the others; work that moved
    to `prepare` is `folded`; a node that no operator carries any more was folded before, or removed.
    """
    found: dict[str, Fate] = {}

    def note(source: str, fate: Fate) -> None:
        if _RANK[fate] > _RANK[found.get(source, "removed")]:
            found[source] = fate

    for op in graph.prepare:
        for source in op.sources:
            note(source, "folded")
    for op in graph.ops:
        for position, source in enumerate(op.sources):
            own: Fate = "host" if isinstance(op, Opaque) else "view" if isinstance(op, View) else "mapped"
            note(source, own if position == 0 or own != "mapped" else "fused")
    nodes = tuple(
        replace(node, fate=found.get(node.name, node.fate if node.fate == "folded" else "removed"))
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)
