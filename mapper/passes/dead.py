"""Operators whose result nobody reads are dropped, and with them the tensors that only they touched."""

from __future__ import annotations

from dataclasses import replace

from mapper.ir import AnyOp, Graph

__all__ = ["remove_dead"]


def remove_dead(graph: Graph) -> Graph:
    """`graph` without operators that reach no output; the model's inputs stay declared."""
    wanted = set(graph.outputs)
    ops = _reaching(graph.ops, wanted)
    early = _reaching(graph.prepare, wanted)
    inputs = set(graph.inputs)
    tensors = tuple(t for t in graph.tensors if t.name in wanted or t.name in inputs)
    return replace(graph, tensors=tensors, ops=ops, prepare=early)


def _reaching(ops: tuple[AnyOp, ...], wanted: set[str]) -> tuple[AnyOp, ...]:
    """Operators that make something wanted; what they read is wanted too, and what they make beside it."""
    kept: list[AnyOp] = []
    for op in reversed(ops):
        if not wanted.isdisjoint(op.outputs):
            wanted.update(op.inputs)
            wanted.update(op.outputs)
            kept.append(op)
    return tuple(reversed(kept))
