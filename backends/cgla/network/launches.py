"""Which loops one launch covers, and what it costs to start it.

The hardware counts two loops: LOOP1 outside, LOOP0 inside. The host starts a launch for every step of all others, and
rewrites the base address of each memory operation in every replica and lane; address ranges and constants follow with
the first launch only. So the order of the loops inside a tile of local memory decides two things, while it does not
change what crosses the port to the backing store:

    launches = steps of the loops that are not LOOP1 or LOOP0
    partial results that leave the units' accumulators = points / trips of the reducing loops at the inner end

Every ordered pair of loops is tried, and the one with the least energy of both is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, takewhile

from mapper import dtypes
from mapper.arrays import accumulator
from mapper.cost import iterations
from mapper.dfg import Dfg
from mapper.ir import Graph, Op
from mapper.machine import Machine
from mapper.mapping import Rect, Stage, TileLoop
from mapper.tiling.program import Program

__all__ = ["HARDWARE_LOOPS", "Control", "Demand", "control_of", "demand_of", "launches", "ordered"]

HARDWARE_LOOPS = 2
BASE_BYTES, RANGE_BYTES, CONSTANT_BYTES = 8, 8, 8  # of one register (64 bit): IMAX2 handbook, register map


@dataclass(frozen=True, slots=True)
class Control:
    """Bytes that the host writes to start a stage: once (`first_bytes`) and at every launch (`each_bytes`)."""

    first_bytes: int
    each_bytes: int

    def per_launch(self, count: int) -> int:
        """Bytes of the average launch of `count`, rounded up."""
        return math.ceil((self.first_bytes + self.each_bytes * count) / max(count, 1))


@dataclass(frozen=True, slots=True)
class Demand:
    """Registers of one body that the host writes: those of its memory operations, and its constants."""

    operations: int
    constants: int


def demand_of(body: Dfg) -> Demand:
    """What a body needs."""
    operations = sum(node.memory is not None for node in body.nodes)
    return Demand(operations, len({value for node in body.nodes for value in node.host}))


def control_of(bodies: Sequence[Demand], replicas: int, lanes: int, machine: Machine) -> Control:
    """Registers of `bodies`, each present in `replicas` copies in each of `lanes`."""
    copies = replicas * lanes
    first = machine.setting("conf_bytes", 0) * len(bodies) * lanes
    first += copies * sum(b.operations * RANGE_BYTES + b.constants * CONSTANT_BYTES for b in bodies)
    return Control(first, copies * max(body.operations for body in bodies) * BASE_BYTES)


def launches(op: Op, loops: Sequence[TileLoop]) -> int:
    """Steps of all counting loops but the two innermost ones, ragged ends counted as they are."""
    counting = [at for at, loop in enumerate(loops) if loop.axis is None and loop.trips > 1]
    outer = [loop for at, loop in enumerate(loops) if at not in counting[-HARDWARE_LOOPS:]]
    return iterations(Stage("", op.name, tuple(outer), (), Rect(0, 0, 1, 1)), op)


def ordered(graph: Graph, op: Op, program: Program, machine: Machine, control: Control) -> Program:
    """The program with the loops inside its local-memory tiles in the best order, accumulators in registers."""
    depth = max((b.depth for b in program.buffers if b.memory == "lmm"), default=0)
    counting = [loop for loop in program.loops[depth:] if loop.axis is None]
    side = tuple(loop for loop in program.loops[depth:] if loop.axis is not None)
    pj = _Prices(machine, op, control)
    best = min(_orders(counting), key=lambda order: pj.of(program.loops[:depth], order, side))
    loops = (*program.loops[:depth], *best, *side)
    run = len(_run(op, best))
    kept = (accumulator(graph, op, loops, len(loops) - len(side) - run),) if run else ()
    return Program(loops, (*program.buffers, *kept))


def _orders(counting: Sequence[TileLoop]) -> Iterator[tuple[TileLoop, ...]]:
    """Every choice of the two innermost loops, the others outside them; loops of one name keep their order."""
    names = [loop.loop for loop in counting]
    if len(set(names)) < len(names) or len(names) < HARDWARE_LOOPS:
        yield tuple(counting)
        return
    for pair in permutations(counting, HARDWARE_LOOPS):
        yield (*(loop for loop in counting if loop not in pair), *pair)


def _run(op: Op, order: Sequence[TileLoop]) -> tuple[TileLoop, ...]:
    """The reducing hardware loops at the inner end: the steps over which a unit accumulates in its register."""
    if op.combiner is None:
        return ()
    reducing = takewhile(lambda loop: loop.loop not in op.output_loops, reversed(order[-HARDWARE_LOOPS:]))
    return tuple(reducing)


@dataclass(frozen=True, slots=True)
class _Prices:
    """Energy that depends on the order of the loops inside a tile, in pJ."""

    machine: Machine
    op: Op
    control: Control

    def of(self, outer: Sequence[TileLoop], order: Sequence[TileLoop], side: Sequence[TileLoop]) -> float:
        """Registers of all launches, and partial results between the units and local memory."""
        store, local = self.machine.memory("dram"), self.machine.memory("lmm")
        started = self.control.each_bytes * launches(self.op, (*outer, *order, *side)) * store.read_pj_per_byte
        if self.op.combiner is None:
            return started
        width = dtypes.BITS[self.op.combiner.accumulator] / 8
        drains = self.op.points / math.prod(loop.trips for loop in _run(self.op, order))
        return started + drains * width * (local.read_pj_per_byte + local.write_pj_per_byte)
