"""The tile program of one stage: how a choice of the table becomes loops, buffers, addresses and phases.

    loops    ordered loops in time; rows, then columns (reducing loops innermost, so that partial sums meet neighbour by
             neighbour); then output loops in time, and reducing loops innermost: an output element is finished before
             the next begins
    buffers  per core: the slice of every read in "sram" (double-buffered where it streams in, one copy where it
             stays, more where a tensor waits for a longer branch); the running sum in "reg". The sums of a scatter
             stand in "sram".
    phases   compute on the cores; the fullest link where it is slower

Phases of different resources overlap: while an input is computed, the next one streams into the other buffer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mapper import dtypes
from mapper.cost import iterations, outputs_per_copy
from mapper.ir import Graph, Op
from mapper.mapping import WRITTEN, Buffer, Phase, Rect, Stage, TileLoop
from mapper.traffic import buffer_elements

from .work import Work, scattered_loops

__all__ = ["Cuts", "Reads", "stage_of", "tile_loops"]

REGISTER = "reg"
SRAM = "sram"


@dataclass(frozen=True, slots=True)
class Cuts:
    """Pieces of each split loop over rows (`down`) and columns (`across`), and what the table says of them."""

    loops: tuple[str, ...]
    down: tuple[int, ...]
    across: tuple[int, ...]
    height: int
    width: int
    cycles: float


@dataclass(frozen=True, slots=True)
class Reads:
    """Per read: slices that stand at once, and whether they stay from one inference to the next."""

    copies: tuple[int, ...]
    resident: tuple[bool, ...]


def tile_loops(op: Op, cuts: Cuts) -> tuple[TileLoop, ...]:
    """Ordered steps, rows, columns, then time down to single points."""
    size = dict(op.extents)
    pieces = dict(zip(cuts.loops, zip(cuts.down, cuts.across, strict=True), strict=True))
    spatial = sorted(pieces, key=lambda name: name not in op.output_loops)
    ordered = [loop.name for loop in op.loops if loop.ordered and loop.extent > 1]
    found = [TileLoop(name, 1, size[name]) for name in ordered]
    for side, axis in enumerate(("y", "x")):
        for name in spatial:
            if pieces[name][side] > 1:
                step = -(-size[name] // pieces[name][side])
                found.append(TileLoop(name, step, -(-size[name] // step), axis))
                size[name] = step
    free = [loop.name for loop in op.loops if size[loop.name] > 1 and loop.name not in ordered]
    in_time = sorted(free, key=lambda name: name not in op.output_loops)
    return (*found, *(TileLoop(name, 1, size[name]) for name in in_time))


def _spread(op: Op, stage: Stage) -> int:
    """Depth at which each core holds its own slices: behind the ordered and the spatial loops."""
    ordered = {loop.name for loop in op.loops if loop.ordered}
    return sum(tile.axis is not None or tile.loop in ordered for tile in stage.loops)


def stage_of(graph: Graph, op: Op, name: str, cuts: Cuts, reads: Reads, work: Work) -> Stage:
    """The stage at position (0, 0); placing it moves its rectangle."""
    loops = tile_loops(op, cuts)
    bare = Stage(name, op.name, loops, (), Rect(0, 0, cuts.height, cuts.width))
    stage = replace(bare, buffers=_buffers(graph, op, bare, reads))
    return replace(stage, phases=_phases(stage, op, work, cuts), overlap=True)


def _buffers(graph: Graph, op: Op, stage: Stage, reads: Reads) -> tuple[Buffer, ...]:
    """Slices packed one after the other from address 0 of each core's memory."""
    spatial = _spread(op, stage)
    found, address = [], 0
    for number in range(len(op.reads)):
        buffer = Buffer(number, SRAM, spatial, 0, address, reads.copies[number], resident=reads.resident[number])
        buffer = replace(buffer, bytes=_bytes(graph, op, stage, buffer))
        address += buffer.copies * _aligned(buffer.bytes)
        found.append(buffer)
    found += _sums(graph, op, stage, spatial, address)
    return tuple(found)


def _sums(graph: Graph, op: Op, stage: Stage, spatial: int, address: int) -> list[Buffer]:
    """Where results stand until they are finished: one sum in a register; those of a scatter in memory."""
    if scattered_loops(op):
        kept = Buffer(WRITTEN, SRAM, spatial, 0, address)
        return [replace(kept, bytes=_bytes(graph, op, stage, kept))]
    depth = len(stage.loops)
    while depth > spatial and stage.loops[depth - 1].loop not in op.output_loops:
        depth -= 1
    if depth == len(stage.loops):
        return []
    kept = Buffer(WRITTEN, REGISTER, depth, 0)
    return [replace(kept, bytes=_bytes(graph, op, stage, kept))]


def _bytes(graph: Graph, op: Op, stage: Stage, buffer: Buffer) -> int:
    """Bytes of the largest slice; sums in the accumulator's type."""
    written = buffer.operand == WRITTEN
    dtype = graph.tensor((op.write if written else op.reads[buffer.operand]).tensor).dtype
    if written and op.combiner is not None:
        dtype = op.combiner.accumulator
    return dtypes.bytes_of(buffer_elements(graph, stage, op, buffer), dtype)


def _aligned(size: int) -> int:
    return -(-size // 4) * 4


def _phases(stage: Stage, op: Op, work: Work, cuts: Cuts) -> tuple[Phase, ...]:
    """Cycles of the fullest core, and of the fullest link where that is slower than the core."""
    runs, ends = iterations(stage, op), outputs_per_copy(stage, op)
    combined = any(t.axis is not None and t.loop not in op.output_loops for t in stage.loops)
    found = [Phase("compute", "core", work.point_cycles, runs)]
    if per_output := work.output_cycles + combined:
        found.append(Phase("finish", "core", per_output, ends))
    if (links := math.ceil(cuts.cycles)) > sum(p.cycles * p.times for p in found):
        found.append(Phase("stream", "links", links))
    return tuple(found)
