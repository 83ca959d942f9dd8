"""What the grid adds to :mod:`mapper.arrays`: unrolled copies, scratchpad, contexts, DMA."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal

from mapper.arrays import Part, Place, PlacedBody, Room, StagePlan, backing_bytes, body_runs
from mapper.backends.cgra.bounds import binding, static_bounds
from mapper.backends.cgra.kernel import KernelRequest, KernelResult, map_kernel
from mapper.codec import encode
from mapper.dfg import Dfg
from mapper.ir import Graph, Op
from mapper.kernels.body import main_body
from mapper.kernels.style import CGRA_STYLE
from mapper.machine import Fabric, Machine
from mapper.mapping import Axis, Buffer, Phase, Rect, TileLoop
from mapper.request import Request
from mapper.tiling.engine import Tiling
from mapper.tiling.hierarchy import Hierarchy, Level, SpatialAxis
from mapper.tiling.program import Program, movement

from .banks import stalls
from .order import accumulated
from .strips import ACROSS, DOWN, UNROLL, corners, displaced, part_of, parts, strip
from .unroll import Sizes, Way, best_unrolling

MOST_COPIES = 16
LARGEST_DIRECT = 80  # operations; in larger bodies some value nearly always outlives an II
SEARCHES: tuple[tuple[Literal["direct", "routed"], Literal["quick", "fast"]], ...] = (
    ("direct", "quick"),
    ("routed", "quick"),
    ("routed", "fast"),
)


@dataclass(frozen=True)
class GridRules:
    """The rules of one machine of this class."""

    machine: Machine
    seed: int
    known_stalls: dict[object, int] = field(default_factory=dict, compare=False)

    style = CGRA_STYLE
    body_axes = frozenset({UNROLL})
    keeps = "spm"
    smaller = None  # tiles share one scratchpad: what is kept there is decided over the whole graph

    @property
    def question(self) -> str:
        return json.dumps(encode(self.machine.fabric), sort_keys=True) + f" seed {self.seed}"

    @property
    def slots(self) -> int:
        return self.machine.fabric.size * self.machine.setting("context_words", 256)

    def better(self, graph: Graph, own: StagePlan, less: StagePlan) -> StagePlan:
        """Plans are held against none of a smaller grid."""
        return own

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        fabric = self.machine.fabric
        strips = (
            Axis(DOWN, fabric.rows, multicast=False, displaces="rows"),
            Axis(ACROSS, fabric.columns, multicast=False, displaces="columns"),
        )
        return (*strips, Axis(UNROLL, fabric.size))

    @cached_property
    def _ways(self) -> tuple[Way, ...]:
        """The grid as it is, and cut."""
        fabric = self.machine.fabric
        cut = (Way(part, Sizes(strip(fabric, part))) for part in parts(fabric))
        return (Way(None, Sizes(fabric)), *cut)

    def hierarchy(self, op: Op, room: Room) -> Hierarchy:
        """Bodies load every operand at every iteration, so the engine tiles for the scratchpad; registers follow."""
        memories = [self.machine.memory(name) for name in ("dram", "spm")]
        levels = tuple(
            Level(m.name, m.capacity_bytes, m.read_pj_per_byte, m.write_pj_per_byte, 2 if m.name == "spm" else 1)
            for m in memories
        )
        down, across, unroll = self.axes
        side_by_side = (SpatialAxis(down, 1, reduces=False), SpatialAxis(across, 1, reduces=False))
        copies = SpatialAxis(replace(unroll, extent=room.copies), 1)
        return Hierarchy(levels, (*side_by_side, copies), self.machine.links.pj_per_byte_hop)

    def wider(self, graph: Graph, op: Op, room: Room, found: Sequence[Tiling], tried: int, place: Place) -> None:
        """One memory for all: the first search is all there is."""

    def first_room(self, dfg: Dfg, tail: Dfg | None) -> Room:
        return Room(min(MOST_COPIES, self.machine.fabric.size), self.machine.fabric.size)

    def copies(self, graph: Graph, op: Op, room: Room, place: Place) -> tuple[TileLoop, ...]:
        lower = partial(main_body, graph, op, self.style)
        ways = [way for way in self._ways if way.replicas <= room.replicas]
        return best_unrolling(op, ways, room.copies, lower, place)

    def next_room(self, room: Room, plan: StagePlan | None) -> Room | None:
        if plan is not None or room == Room(1, 1):
            return None
        return Room(room.copies) if room.replicas > 1 else Room(room.copies // 2)

    def part(self, loops: Sequence[TileLoop]) -> Part | None:
        return part_of(self.machine.fabric, loops)

    def place(self, dfg: Dfg, part: Part | None, quick: bool) -> PlacedBody | None:
        """Most bodies need no MOVEs and are at their bound at once; the few without a schedule get a longer search."""
        fabric, bound = self._corner(dfg, strip(self.machine.fabric, part))
        found: list[KernelResult] = []
        first = 1 if len(dfg.nodes) > LARGEST_DIRECT else 0
        for variant, effort in SEARCHES[first : 2 if quick else None]:
            if found and (found[-1].mapping.ii == bound or effort == "fast"):
                break
            result = map_kernel(dfg, fabric, KernelRequest(variant, effort, self.seed))
            found += [result] if isinstance(result, KernelResult) else []
        if not found:
            return None
        best = min(found, key=lambda result: result.mapping.ii)
        mapping = displaced(best.mapping, fabric, self.machine.fabric)
        return PlacedBody(mapping, mapping.ii, bound, found[-1].why_not_lower)

    def _corner(self, dfg: Dfg, room: Fabric) -> tuple[Fabric, int]:
        """The smallest corner of a grid that allows the II that all of it allows, and this II."""
        bound = binding(static_bounds(dfg, room)).ii
        return next((f, bound) for f in corners(room) if binding(static_bounds(dfg, f)).ii == bound)

    def program(self, graph: Graph, op: Op, found: Sequence[Tiling]) -> tuple[tuple[TileLoop, ...], tuple[Buffer, ...]]:
        return accumulated(graph, op, Program(found[0].loops, found[0].buffers))

    def kept(self, graph: Graph, request: Request, plans: Sequence[StagePlan]) -> list[StagePlan]:
        """Results that stay live in the scratchpad (`keeps`), which every PE with a port reaches."""
        return list(plans)

    def rect(self, plan: StagePlan) -> Rect:
        """All strips; what is left over where they do not divide the grid stays idle."""
        part = self.part(plan.loops)
        if part is None:
            return Rect(0, 0, self.machine.fabric.rows, self.machine.fabric.columns)
        down, across = part.cuts
        return Rect(0, 0, part.rows * down, part.columns * across)

    def phases(self, graph: Graph, plan: StagePlan) -> tuple[tuple[Phase, ...], int, int]:
        runs, tail_runs = body_runs(plan)
        launches = _tiles(plan)
        execute = plan.body.mapping.ii * runs + plan.body.mapping.length_cycles * launches
        words = plan.body.mapping.ii
        if plan.tail is not None:
            execute += plan.tail.mapping.ii * tail_runs + plan.tail.mapping.length_cycles * launches
            words += plan.tail.mapping.ii
        configuration_bytes = words * self.machine.fabric.size * self.machine.setting("context_bytes", 4)
        rate = float(self.machine.settings.get("dma_bytes_per_cycle", 4))
        phases = (
            Phase("CONF", "grid", math.ceil(configuration_bytes / rate)),
            Phase("EXEC", "grid", execute),
            Phase("BANK", "grid", self._stalls(graph, plan)),
            Phase("SPM", "spm", self._scratchpad_cycles(graph, plan)),
            Phase("DMA", "dma", math.ceil((sum(backing_bytes(graph, plan, self.axes)) + configuration_bytes) / rate)),
        )
        return phases, 1, configuration_bytes

    def _stalls(self, graph: Graph, plan: StagePlan) -> int:
        """Cycles that the grid waits for banks of the scratchpad; nests alike in all but names wait alike."""
        banks = self.machine.setting("spm_banks", 0)
        if banks < 1:
            return 0
        accesses = tuple((a.index, graph.tensor(a.tensor).shape, graph.tensor(a.tensor).dtype)
                         for a in (*plan.op.reads, plan.op.write))  # fmt: skip
        key = accesses, plan.loops, plan.buffers, plan.body.mapping.placed
        if key not in self.known_stalls:
            self.known_stalls[key] = stalls(graph, plan, banks)
        return self.known_stalls[key]

    def _scratchpad_cycles(self, graph: Graph, plan: StagePlan) -> int:
        """What the scratchpad's bandwidth takes, reads and writes at once."""
        program = Program(plan.loops, plan.buffers)
        moved = movement(graph, plan.op, program, self.hierarchy(plan.op, Room(1)), plan.inside.home)
        memory = self.machine.memory("spm")
        busiest = max(max(read, write) for name, read, write in moved.levels if name == memory.name)
        return math.ceil(busiest / (memory.bytes_per_cycle * memory.instances)) if memory.bytes_per_cycle else 0


def _tiles(plan: StagePlan) -> int:
    """Scratchpad tiles: steps of the temporal loops outside the outermost scratchpad buffer."""
    depth = min((b.depth for b in plan.buffers if b.memory == "spm"), default=0)
    return math.prod(loop.trips for loop in plan.loops[:depth] if loop.axis is None)
