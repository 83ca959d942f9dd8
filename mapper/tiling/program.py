"""From the search's blocks to tile loops and buffers, and what that program moves, counted exactly.

Loops, buffers and counts follow the semantics of `mapper.mapping`; the counts come from `mapper.traffic`, so what is
reported here is what the cost of a stage made of these loops and buffers will be.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from mapper import dtypes
from mapper.ir import Graph, Op
from mapper.mapping import WRITTEN, Buffer, Rect, Stage, TileLoop
from mapper.traffic import Link, buffer_elements, links

from .hierarchy import Hierarchy, Level
from .state import Block, Spatial

__all__ = ["Movement", "Program", "emit", "movement", "place"]


@dataclass(frozen=True, slots=True)
class Program:
    """Tile loops and buffers of one operator."""

    loops: tuple[TileLoop, ...]
    buffers: tuple[Buffer, ...]

    def stage(self, op: Op) -> Stage:
        """A stage that holds nothing else, for counting."""
        return Stage("", op.name, self.loops, self.buffers, Rect(0, 0, 1, 1))


@dataclass(frozen=True, slots=True)
class Movement:
    """Bytes (memory, read, written) per level, bytes x hops, and their energy."""

    levels: tuple[tuple[str, int, int], ...]
    hop_bytes: int
    pj: float

    def bytes(self, memory: str) -> int:
        """Bytes read and written at a memory."""
        return sum(read + write for name, read, write in self.levels if name == memory)


def emit(
    op: Op, operands: Sequence[int], hierarchy: Hierarchy, blocks: Sequence[Block], spatial: Sequence[Spatial]
) -> Program:
    """The program of `blocks`; `operands` numbers the nest's operands as the mapping does."""
    names = [loop.name for loop in op.loops]
    size = {name: loop.extent for name, loop in zip(names, op.loops, strict=True)}
    loops: list[TileLoop] = []
    buffers: list[Buffer] = []

    def add(name: str, step: int, axis: str | None = None) -> None:
        if step < size[name]:
            loops.append(TileLoop(name, step, -(-size[name] // step), axis))
            size[name] = step

    for block in blocks:
        for at, step in block.order:
            add(names[at], step)
        for name, step, axis in _side_by_side(names, [s for s in spatial if s.below == block.level - 1], block.tile):
            add(name, step, axis)
        if block.level:
            memory = hierarchy.levels[block.level]
            buffers += [Buffer(operands[at], memory.memory, len(loops), 0, 0, memory.copies) for at in block.kept]
    last = [s for s in spatial if s.below == len(hierarchy.levels) - 1]
    points = [max(1, min([s.step for s in last if s.loop == at and s.step] or [1])) for at in range(len(names))]
    for at, name in enumerate(names):
        inside = [s for s in last if s.loop == at]
        add(name, points[at] * math.prod(s.factor for s in inside))
    for name, step, axis in _side_by_side(names, last, points):
        add(name, step, axis)
    for name in names:
        add(name, 1)
    return Program(tuple(loops), tuple(buffers))


def _side_by_side(
    names: Sequence[str], spatial: Sequence[Spatial], tile: Sequence[int]
) -> Iterable[tuple[str, int, str]]:
    """(loop, step, axis) of the spatial loops of one block, outer ones first."""
    for at, item in enumerate(spatial):
        inner = math.prod(s.factor for s in spatial[at + 1 :] if s.loop == item.loop)
        yield names[item.loop], item.step or tile[item.loop] * inner, item.axis


def place(graph: Graph, op: Op, program: Program, hierarchy: Hierarchy) -> Program | tuple[Level, int]:
    """Bytes and addresses of every buffer, stacked from 0; the level and its demand where they do not fit."""
    stage, end = program.stage(op), defaultdict[str, int](int)
    found = []
    for buffer in program.buffers:
        access = op.write if buffer.operand == WRITTEN else op.reads[buffer.operand]
        widths = [graph.tensor(access.tensor).dtype]
        if buffer.operand == WRITTEN and op.combiner is not None:
            widths.append(op.combiner.accumulator)
        elements = buffer_elements(graph, stage, op, buffer)
        size = max(dtypes.bytes_of(elements, dtype) for dtype in widths)
        found.append(replace(buffer, bytes=size, address=end[buffer.memory]))
        end[buffer.memory] += size * buffer.copies
    for level in hierarchy.levels:
        if level.capacity_bytes is not None and end[level.memory] > level.capacity_bytes:
            return level, end[level.memory]
    return Program(program.loops, tuple(found))


def movement(graph: Graph, op: Op, program: Program, hierarchy: Hierarchy, home: Callable[[str], str]) -> Movement:
    """What the program moves, exactly, and what that costs."""
    read, write = defaultdict[str, int](int), defaultdict[str, int](int)
    hop_bytes = 0
    axes = {axis.axis.name: axis.axis for axis in hierarchy.axes}
    for link in links(graph, program.stage(op), op, axes, lambda name: home(graph.root(name))):
        for memory, taken, given in _ends(graph, op, link):
            read[memory] += taken
            write[memory] += given
        hop_bytes += _hop_bytes(graph, op, link)
    levels = tuple((v.memory, read[v.memory], write[v.memory]) for v in hierarchy.levels)
    pj = sum(read[v.memory] * v.read_pj_per_byte + write[v.memory] * v.write_pj_per_byte for v in hierarchy.levels)
    return Movement(levels, hop_bytes, pj + hop_bytes * hierarchy.hop_pj_per_byte)


def _ends(graph: Graph, op: Op, link: Link) -> Iterable[tuple[str, int, int]]:
    """(memory, bytes read, bytes written) at both ends of a link; the arithmetic units have no ports."""
    final, wide = _types(graph, op, link.operand)
    size = dtypes.bytes_of
    if link.operand != WRITTEN:
        ends = [(link.source, size(link.sent, final), 0), (link.target, 0, size(link.received, final))]
    else:
        back = size(link.partial_received, wide)
        left = size(link.sent - link.partial_sent, final) + size(link.partial_sent, wide)
        came = size(link.received - link.partial_received, final) + back
        ends = [(link.source, left, back), (link.target, back, came)]
    return [end for end in ends if end[0]]


def _hop_bytes(graph: Graph, op: Op, link: Link) -> int:
    final, wide = _types(graph, op, link.operand)
    whole, partial = link.hops - link.partial_hops, link.partial_hops
    size = dtypes.bytes_of
    return size(whole, final) + size(partial, wide) + size(link.returned_hops, wide)


def _types(graph: Graph, op: Op, operand: int) -> tuple[str, str]:
    """Types of a finished and of a partial element."""
    final = graph.tensor((op.write if operand == WRITTEN else op.reads[operand]).tensor).dtype
    return final, op.combiner.accumulator if operand == WRITTEN and op.combiner is not None else final
