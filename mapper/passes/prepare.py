"""What depends on weights alone is computed once, before deployment.

An operator moves to `Graph.prepare` when every tensor it reads is a weight, a constant, or made there; what it makes
then has role "weight". Host operators stay where their traffic is charged.
"""

from __future__ import annotations

from dataclasses import replace

from mapper.ir import AnyOp, Graph, Opaque

__all__ = ["prepare"]


def prepare(graph: Graph) -> Graph:
    """`graph` with its weight-only operators in `prepare`. Operators that make an output of the model stay."""
    fixed = {t.name for t in graph.tensors if t.role in ("weight", "constant")}
    early: list[AnyOp] = list(graph.prepare)
    late: list[AnyOp] = []
    outputs = set(graph.outputs)
    for op in graph.ops:
        ready = bool(op.inputs) and fixed.issuperset(op.inputs) and outputs.isdisjoint(op.outputs)
        if ready and not isinstance(op, Opaque):
            early.append(op)
            fixed.update(op.outputs)
        else:
            late.append(op)
    made = {name for op in early for name in op.outputs}
    tensors = tuple(replace(t, role="weight") if t.name in made else t for t in graph.tensors)
    return replace(graph, tensors=tensors, ops=tuple(late), prepare=tuple(early))
