"""The tile program of one stage: how a choice of the table becomes loops, buffers, addresses and phases.

    loops    ordered loops in time; rows, then columns (reducing loops innermost, so that partial sums meet neighbour by
             neighbour); then in time the output loops in blocks, reducing loops, and the points of a block: a block of
             outputs is finished before the next begins
    buffers  per core: the slice of every read in "sram" (double-buffered where it streams in, one copy where it
             stays, more where a tensor waits for a longer branch); the sums of a block in "reg", with the slices
             that the block uses more than once (`registers`). The sums of a scatter also stand in "sram".
    phases   compute on the cores; the fullest link where it is slower

Phases of different resources overlap: while an input is computed, the next one streams into the other buffer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mapper import dtypes
from mapper.cost import iterations, outputs_per_copy
from mapper.ir import Graph, Op
from mapper.mapping import WRITTEN, Buffer, Phase, Rect, Stage, TileLoop
from mapper.traffic import buffer_elements

from .registers import Block, block_of
from .work import Work, scattered_loops

__all__ = ["Cuts", "Reads", "stage_of"]

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


def tile_loops(op: Op, cuts: Cuts, work: Work, register_bytes: int) -> tuple[tuple[TileLoop, ...], frozenset[int]]:
    """Ordered steps, rows, columns, then time down to single points; and the reads kept in registers."""
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
    block = _block(op, work, found, register_bytes)
    sides = dict(block.sides)
    for name in sorted(free, key=lambda name: name not in op.output_loops):
        step = sides.get(name, 1)
        if size[name] > step:
            found.append(TileLoop(name, step, -(-size[name] // step)))
    found += [TileLoop(name, 1, side) for name, side in sides.items() if side > 1]
    return tuple(found), block.kept


def _block(op: Op, work: Work, loops: Sequence[TileLoop], capacity_bytes: int) -> Block:
    """The block of outputs that a core keeps in registers."""
    size = dict(op.extents)
    for tile in loops:
        size[tile.loop] = min(size[tile.loop], tile.step)
    return block_of(work, tuple(size.items()), op.body_reads, capacity_bytes)


def _spread(op: Op, stage: Stage) -> int:
    """Depth at which each core holds its own slices: behind the ordered and the spatial loops."""
    ordered = {loop.name for loop in op.loops if loop.ordered}
    return sum(tile.axis is not None or tile.loop in ordered for tile in stage.loops)


def stage_of(graph: Graph, op: Op, cuts: Cuts, reads: Reads, work: Work, register_bytes: int) -> Stage:
    """The stage at position (0, 0); placing it moves its rectangle."""
    loops, kept = tile_loops(op, cuts, work, register_bytes)
    bare = Stage(op.name, op.name, loops, (), Rect(0, 0, cuts.height, cuts.width))
    stage = replace(bare, buffers=_buffers(graph, op, bare, reads, kept))
    return replace(stage, phases=_phases(stage, op, work, cuts), overlap=True)


def _buffers(graph: Graph, op: Op, stage: Stage, reads: Reads, kept: frozenset[int]) -> tuple[Buffer, ...]:
    """Slices in each core's memory, and what a block of outputs needs in its registers."""
    first, spread = _first_reducing(op, stage), _spread(op, stage)
    block = first + sum(tile.loop not in op.output_loops for tile in stage.loops[first:])
    slices = [Buffer(n, SRAM, spread, 0, 0, reads.copies[n], resident=reads.resident[n]) for n in range(len(op.reads))]
    if scattered_loops(op):
        slices.append(Buffer(WRITTEN, SRAM, spread, 0))
    fast = [Buffer(number, REGISTER, block, 0) for number in sorted(kept)]
    if first < len(stage.loops):
        fast.append(Buffer(WRITTEN, REGISTER, first, 0))
    return (*_packed(graph, op, stage, slices), *_packed(graph, op, stage, fast))


def _first_reducing(op: Op, stage: Stage) -> int:
    """Position of the first reducing loop in time behind the core's own slices; the end if there is none."""
    for at in range(_spread(op, stage), len(stage.loops)):
        if stage.loops[at].loop not in op.output_loops:
            return at
    return len(stage.loops)


def _packed(graph: Graph, op: Op, stage: Stage, buffers: Sequence[Buffer]) -> list[Buffer]:
    """Sizes and addresses, one behind the other from 0 on."""
    found, address = [], 0
    for buffer in buffers:
        sized = replace(buffer, bytes=_bytes(graph, op, stage, buffer), address=address)
        address += sized.copies * -(-sized.bytes // 4) * 4
        found.append(sized)
    return found


def _bytes(graph: Graph, op: Op, stage: Stage, buffer: Buffer) -> int:
    """Bytes of the largest slice; sums in the accumulator's type."""
    written = buffer.operand == WRITTEN
    dtype = graph.tensor((op.write if written else op.reads[buffer.operand]).tensor).dtype
    if written and op.combiner is not None:
        dtype = op.combiner.accumulator
    return dtypes.bytes_of(buffer_elements(graph, stage, op, buffer), dtype)


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
