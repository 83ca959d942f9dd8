"""What the kernel level schedules: operations that may sit on some PEs, and reads between them.

A loop body becomes a :class:`Problem` in two shapes. *Direct*: one operation per node, every read has one possible
source. *Routed*: each value u may also be copied by up to `depth` optional MOVEs m1, m2, …; a MOVE reads u or an
earlier MOVE of u, and a consumer of u reads u or any of its MOVEs. A MOVE lives in the iteration of its value: hops
into MOVEs have distance 0 and the last hop has the distance of the edge. That loses nothing, because shifting a MOVE by
whole IIs changes neither its slot nor any span.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from mapper.dfg import Dfg, Edge, Node
from mapper.machine import Fabric

__all__ = ["MEMORY_OPS", "Operation", "Problem", "Read", "direct_problem", "is_memory", "routed_problem"]

MEMORY_OPS = frozenset({"load", "store", "lwd", "swd", "lwi", "swi"})


@dataclass(frozen=True, slots=True)
class Operation:
    """Takes a slot of one of `pes`; `latency_cycles` runs parallel. `value`: index of the node that a MOVE copies."""

    key: int | str
    pes: tuple[int, ...]
    latency_cycles: tuple[int, ...]
    memory: bool = False
    value: int | None = None

    @property
    def optional(self) -> bool:
        return self.value is not None

    @property
    def least_latency_cycles(self) -> int:
        return min(self.latency_cycles)


@dataclass(frozen=True, slots=True)
class Read:
    """`reader` (index) takes, `distance` iterations later, what one of `sources` (indices) wrote."""

    reader: int
    distance: int
    sources: tuple[int, ...]
    edge: Edge | None = None


@dataclass(frozen=True)
class Problem:
    """Operations and reads on a fabric."""

    dfg: Dfg
    fabric: Fabric
    operations: tuple[Operation, ...]
    reads: tuple[Read, ...]

    @cached_property
    def readers_of(self) -> tuple[tuple[int, ...], ...]:
        """Per PE, the PEs that can read what it wrote: itself and its neighbours."""
        return tuple(tuple(sorted({pe, *reach})) for pe, reach in enumerate(self.fabric.neighbours))

    @cached_property
    def written_for(self) -> tuple[tuple[int, ...], ...]:
        """Per PE, the PEs whose results it can read."""
        sources: list[list[int]] = [[] for _ in range(self.fabric.size)]
        for pe, reach in enumerate(self.readers_of):
            for other in reach:
                sources[other].append(pe)
        return tuple(map(tuple, sources))


def is_memory(node: Node) -> bool:
    """Loads and stores, which memory ports limit."""
    return node.kind in ("load", "store") or node.op.lower() in MEMORY_OPS


def operation_of(node: Node, fabric: Fabric) -> Operation:
    """Where `node` may run and how long it takes there. Raises ValueError when no PE runs its operation."""
    pes = fabric.capable(node.op)
    if not pes:
        raise ValueError(f"no PE runs operation {node.op!r} of node {node.id}")
    return Operation(node.id, pes, tuple(fabric.latency_cycles(pe, node.op) for pe in pes), is_memory(node))


def direct_problem(dfg: Dfg, fabric: Fabric) -> Problem:
    """Every consumer reads its producer: no MOVE."""
    index = {node.id: i for i, node in enumerate(dfg.nodes)}
    edges = sorted({(e.src, e.dst, e.distance): e for e in dfg.edges}.values())
    return Problem(
        dfg,
        fabric,
        tuple(operation_of(node, fabric) for node in dfg.nodes),
        tuple(Read(index[e.dst], e.distance, (index[e.src],), e) for e in edges),
    )


def routed_problem(dfg: Dfg, fabric: Fabric, depth: Mapping[int, int]) -> Problem:
    """Every value of node v may be copied by up to `depth[v]` MOVEs, which its consumers share."""
    direct = direct_problem(dfg, fabric)
    alive = tuple(pe for pe in range(fabric.size) if divmod(pe, fabric.columns) not in fabric.dead)
    operations = list(direct.operations)
    reads: list[Read] = []
    copies: dict[int, tuple[int, ...]] = {}
    for index, node in enumerate(dfg.nodes):
        own: tuple[int, ...] = ()
        for _ in range(depth.get(node.id, 0)):
            reads.append(Read(len(operations), 0, (index, *own)))
            own += (len(operations),)
            operations.append(Operation(f"m{len(operations)}", alive, (1,) * len(alive), value=index))
        copies[index] = own
    for read in direct.reads:
        source = read.sources[0]
        reads.append(Read(read.reader, read.distance, (source, *copies[source]), read.edge))
    return Problem(dfg, fabric, tuple(operations), tuple(reads))
