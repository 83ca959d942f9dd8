"""What crosses each memory boundary of a mapping, beside what is attainable and what is provable there.

Boundary NAME lies directly below memory NAME: on one side that memory and all further out, on the other everything
further in, down to the arithmetic units. What crosses it is read from or written to a memory outside; where operands
pass a memory by, that is not all what moves at NAME's own ports. Three figures each:

* *mapping*: bytes that cross, counted at the outer end, partial results both ways;
* *provable*: no mapping of this graph on this machine crosses with less (:func:`provable_bytes`);
* *attainable*: operators one after the other, each with the best tile in one buffer as large as all memories inside
  together. Not a bound: a mapping below it did something that this space does not hold, and says what.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from mapper import bounds, dtypes
from mapper.cost import Cost
from mapper.ir import Graph, Op
from mapper.mapping import WRITTEN, Mapping
from mapper.traffic import Link, links

__all__ = [
    "Inside",
    "attainable_bytes",
    "boundary_rows",
    "crossing_bytes",
    "inside_of",
    "movement_bound_pj",
    "provable_bytes",
]

ONE_BY_ONE = "operators one by one, one buffer, one tile for all operands"


@dataclass(frozen=True, slots=True)
class Inside:
    """What lies within a boundary: room, tensors that live there between operators, whether weights stay there from one
    inference to the next, whether the host does not (it reads and writes the outermost memory), and how many points the
    arithmetic units evaluate at once."""

    capacity_bytes: int
    tensors: frozenset[str]
    weights_stay: bool
    host_outside: bool
    units: int


def inside_of(mapping: Mapping, level: int) -> Inside:
    """The inside of the boundary below memory number `level` (0: the outermost)."""
    inner = mapping.machine.memories[level + 1 :]
    names = {memory.name for memory in inner}
    room = sum((memory.capacity_bytes or 0) * memory.instances for memory in inner)
    stays = any(b.resident and b.memory in names for stage in mapping.stages for b in stage.buffers)
    tensors = frozenset(tensor for tensor, memory in mapping.homes if memory in names)
    return Inside(room, tensors, stays, level == 0, math.prod(axis.extent for axis in mapping.axes))


def provable_bytes(graph: Graph, inside: Inside) -> int:
    """Least bytes across a boundary for every mapping that evaluates each point of each operator once.

    max(whole graph, operators): the first is `bounds.graph_bound_bytes`. The second is Elango et al. (POPL 2015): load
    and store what an operator shares with others once more, and a schedule of the graph becomes one of the operator
    alone; so the operator itself moves at least its own bound less these bytes, and operators add up. Where nothing
    lies inside but arithmetic units, nothing is shared and `bounds.units_bound_bytes` holds for each operator.
    """
    if inside.capacity_bytes == 0:
        return sum(bounds.units_bound_bytes(graph, op, inside.units) for op in graph.nests)
    whole = bounds.graph_bound_bytes(
        graph, inside.capacity_bytes, inside.tensors, inside.weights_stay, inside.host_outside
    )
    users = Counter(root for op in graph.nests for root in _tensors(graph, op))
    made = {op.write.tensor for op in graph.nests}
    alone = 0
    for op in graph.nests:
        least = bounds.op_bound_bytes(graph, op, inside.capacity_bytes, inside.tensors).bytes
        shared = {
            r for r in _tensors(graph, op) if r in made or users[r] > 1 or (inside.weights_stay and _kept(graph, r))
        }
        alone += max(0, least - sum(graph.tensor(root).bytes for root in shared))
    return max(whole, alone)


def _tensors(graph: Graph, op: Op) -> frozenset[str]:
    return frozenset(graph.root(access.tensor) for access in (*op.reads, op.write))


def _kept(graph: Graph, root: str) -> bool:
    return graph.tensor(root).role in ("weight", "constant")


def crossing_bytes(mapping: Mapping, level: int) -> int:
    """Bytes that cross the boundary below memory number `level` in one inference."""
    depth = {memory.name: number for number, memory in enumerate(mapping.machine.memories)}
    ops = {op.name: op for op in mapping.graph.ops}
    axes = {axis.name: axis for axis in mapping.axes}
    total = 0
    for stage in mapping.stages:
        op = ops[stage.op]
        assert isinstance(op, Op)
        for link in links(mapping.graph, stage, op, axes, lambda name: mapping.home(mapping.graph.root(name))):
            outer, inner = (link.target, link.source) if link.operand == WRITTEN else (link.source, link.target)
            if depth[outer] <= level < depth.get(inner, len(depth)):
                total += _outer_bytes(mapping.graph, op, link)
    return total


def _outer_bytes(graph: Graph, op: Op, link: Link) -> int:
    """Bytes of a link at its outer end: sent inwards, or received from inside and, if partial, sent back."""
    if link.operand != WRITTEN:
        return dtypes.bytes_of(link.sent, graph.tensor(op.reads[link.operand].tensor).dtype)
    final = graph.tensor(op.write.tensor).dtype
    wide = op.combiner.accumulator if op.combiner is not None else final
    done = dtypes.bytes_of(link.received - link.partial_received, final)
    return done + 2 * dtypes.bytes_of(link.partial_received, wide)


def movement_bound_pj(mapping: Mapping) -> float:
    """Least movement energy of any mapping of this graph on this machine.

    Let B(i) be the provable bytes across boundary i. All of them are read or written at memories 0 to i, so bytes p(j)
    at the ports of memory j satisfy p(0) + ... + p(i) >= B(i) for each i. The sum of p(j) x (cheapest port of memories
    0 to j) under these is least when each excess over the boundaries further out is paid where it first arises:

        sum over i of max(0, B(i) - max(B(0), ..., B(i - 1))) x cheapest port of memories 0 to i
    """
    total, paid, price = 0.0, 0, math.inf
    for level, memory in enumerate(mapping.machine.memories):
        price = min(price, memory.read_pj_per_byte, memory.write_pj_per_byte)
        least = provable_bytes(mapping.graph, inside_of(mapping, level))
        total += max(0, least - paid) * price
        paid = max(paid, least)
    return total


def attainable_bytes(mapping: Mapping, level: int) -> int | None:
    """Least bytes in the space :data:`ONE_BY_ONE`, tensors that live inside left there; None if some operator finds no
    tile, or nothing lies inside but arithmetic units."""
    inside = inside_of(mapping, level)
    if inside.capacity_bytes == 0:
        return None
    total = 0
    for op in mapping.graph.nests:
        found = bounds.attainable(mapping.graph, op, inside.capacity_bytes, "fast", inside.tensors)
        if found is None:
            return None
        total += found.bytes
    return total


def _why_below(mapping: Mapping, level: int) -> str:
    """What a mapping below the attainable figure does that its space does not hold."""
    inner = {memory.name for memory in mapping.machine.memories[level + 1 :]}
    kept = [buffer for stage in mapping.stages for buffer in stage.buffers if buffer.memory in inner]
    resident = sum(buffer.resident for buffer in kept)
    uneven = sum(len({b.depth for b in stage.buffers if b.memory in inner}) > 1 for stage in mapping.stages)
    reasons = ((resident, "slices of weights stay inside between inferences"),
               (len(mapping.routes), "tensors go from stage to stage inside"),
               (uneven, "operators hold each operand for another stretch of the loops"))  # fmt: skip
    return "; ".join(f"{number} {words}" for number, words in reasons if number) or "boxes of tiles that overlap"


def boundary_rows(mapping: Mapping, cost: Cost) -> dict[str, dict[str, Any]]:
    """Per boundary: bytes of this mapping, the attainable, and the provable least. The outermost one also carries
    configuration and what the host exchanges, as the totals do."""
    found: dict[str, dict[str, Any]] = {}
    for level, memory in enumerate(mapping.machine.memories):
        moved = cost.level(memory.name).bytes if level == 0 else crossing_bytes(mapping, level)
        row: dict[str, Any] = {"mapping_bytes": moved}
        best = attainable_bytes(mapping, level)
        if best is not None:
            row |= {"attainable_bytes": best, "attainable_in": ONE_BY_ONE}
            if moved < best:
                row["below_attainable"] = _why_below(mapping, level)
        found[memory.name] = row | {"provable_bytes": provable_bytes(mapping.graph, inside_of(mapping, level))}
    return found
