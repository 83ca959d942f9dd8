"""An operator reads an element once, however many times its body uses it.

Fusion leaves nests that name one access several times (x * sigmoid(x)); each read is a buffer of its own to every
target, so equal accesses become one.
"""

from __future__ import annotations

from dataclasses import replace

from mapper.ir import Graph, Op
from mapper.scalar import Arg, Scalar, substitute

from .types import renumbered

__all__ = ["share_reads"]


def share_reads(graph: Graph) -> Graph:
    """`graph` with each nest's equal reads made one."""
    return replace(graph, ops=tuple(_shared(op) if isinstance(op, Op) else op for op in graph.ops))


def _shared(op: Op) -> Op:
    kept = list(dict.fromkeys(op.reads))
    if len(kept) == len(op.reads):
        return op
    place = {number: kept.index(read) for number, read in enumerate(op.reads)}
    args: dict[int, Scalar] = {number: Arg(at) for number, at in place.items()}
    tail = None if op.tail is None else substitute(op.tail, args)
    reads = tuple(renumbered(read, place) for read in kept)
    return replace(op, reads=reads, write=renumbered(op.write, place), body=substitute(op.body, args), tail=tail)
