"""The chains by which operands travel: home, buffers from outside to inside, arithmetic units.

A :class:`Feed` is one link of such a chain with everything that the semantics of `mapper.mapping` say about it: which
loops it depends on, at which loop it is filled, which spatial loops make copies and which of these the source sees.
"""

from __future__ import annotations

from dataclasses import dataclass

from mapper.ir import Access, Op
from mapper.mapping import WRITTEN, Axis, Buffer, Mapping, Stage

from .slices import Group, groups, loops_of

__all__ = ["UNITS", "Feed", "access_of", "chain", "copy_loops", "feeds", "strides"]

UNITS = ""


@dataclass(frozen=True)
class Feed:
    """`buffer` is filled from `source`, whose slice stands while the first `above` loops do (results: drained to it).

    `last` is the position of the loop whose step refills it (-1: filled once). `depends` are the operator loops that
    select its elements. `once`: filled once per output element, reducing loops standing at their first step.
    """

    operand: int
    source: str
    above: int
    buffer: Buffer
    depends: frozenset[str]
    groups: tuple[Group, ...]
    last: int
    once: bool

    @property
    def written(self) -> bool:
        return self.operand == WRITTEN

    def data_decides(self, op: Op) -> bool:
        """True if values that `op` reads select the written element."""
        return self.depends != op.output_loops or any(g.gathered and g.loops for g in self.groups)


def access_of(op: Op, operand: int) -> Access:
    return op.write if operand == WRITTEN else op.reads[operand]


def chain(stage: Stage, operand: int) -> list[Buffer]:
    """The operand's buffers from outside to inside."""
    return sorted((b for b in stage.buffers if b.operand == operand), key=lambda b: b.depth)


def feeds(mapping: Mapping, stage: Stage, op: Op) -> tuple[Feed, ...]:
    """All links of all chains of a stage, reads first, each from its home inwards."""
    found: list[Feed] = []
    for operand in (*range(len(op.reads)), WRITTEN):
        access = access_of(op, operand)
        depends = loops_of(op, access)
        parts = groups(op, access, mapping.graph.tensor(access.tensor).shape)
        once = operand != WRITTEN and operand not in op.body_reads
        source, above = mapping.home(mapping.graph.root(access.tensor)), 0
        units = Buffer(operand, UNITS, len(stage.loops), 0, streamed=True)
        for buffer in (*chain(stage, operand), units):
            last = _refilled_at(stage, buffer, depends)
            found.append(Feed(operand, source, above, buffer, depends, parts, last, once))
            source, above = buffer.memory, buffer.depth
    return tuple(found)


def _refilled_at(stage: Stage, buffer: Buffer, depends: frozenset[str]) -> int:
    """The innermost temporal loop before the buffer's depth that changes its slice (any one if it is streamed)."""
    temporal = [i for i, tile in enumerate(stage.loops[: buffer.depth]) if tile.axis is None]
    if not buffer.streamed:
        temporal = [i for i in temporal if stage.loops[i].trips > 1 and stage.loops[i].loop in depends]
    return max(temporal, default=-1)


def strides(stage: Stage) -> dict[int, int]:
    """Links between neighbouring pieces of each spatial loop: loops that share an axis nest."""
    found: dict[int, int] = {}
    reach: dict[str, int] = {}
    for position in reversed(range(len(stage.loops))):
        tile = stage.loops[position]
        if tile.axis is not None:
            found[position] = reach.get(tile.axis, 1)
            reach[tile.axis] = found[position] * tile.trips
    return found


def copy_loops(feed: Feed, stage: Stage, axes: dict[str, Axis], multicast: bool, hop: bool) -> frozenset[int]:
    """Spatial loops between source and buffer that make copies; only multicasting or hop axes if asked for."""
    found = set()
    for position in range(feed.above, feed.buffer.depth):
        tile = stage.loops[position]
        if tile.axis is None or tile.loop in feed.depends:
            continue
        axis = axes[tile.axis]
        if (axis.multicast or not multicast) and (axis.hop or not hop):
            found.add(position)
    return frozenset(found)
