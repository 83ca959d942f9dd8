"""The loops inside a scratchpad tile in the order in which a body runs them: reducing loops innermost.

A body loads its operands and adds to accumulators that stand in registers; they are stored when the reducing loops end
(`mapper.kernels.body`). So inside a tile the loops that select outputs come first, then the copies that have
accumulators of their own, then the reducing loops, and the copies that add to one accumulator last.
"""

from __future__ import annotations

from mapper.arrays import accumulator
from mapper.ir import Graph, Op
from mapper.mapping import Buffer, TileLoop
from mapper.tiling.program import Program

__all__ = ["accumulated"]


def accumulated(graph: Graph, op: Op, program: Program) -> tuple[tuple[TileLoop, ...], tuple[Buffer, ...]]:
    """Loops and buffers of `program` in that order, accumulators in registers. Ordered loops stay as they are."""
    if op.combiner is None or any(loop.ordered for loop in op.loops):
        return program.loops, program.buffers
    depth = max((b.depth for b in program.buffers if b.memory == "spm"), default=0)
    inside = program.loops[depth:]
    selecting = tuple(sorted((t for t in inside if t.loop in op.output_loops), key=lambda t: t.axis is not None))
    reducing = tuple(sorted((t for t in inside if t.loop not in op.output_loops), key=lambda t: t.axis is not None))
    loops = (*program.loops[:depth], *selecting, *reducing)
    if not reducing:
        return loops, program.buffers
    return loops, (*program.buffers, accumulator(graph, op, loops, depth + len(selecting)))
