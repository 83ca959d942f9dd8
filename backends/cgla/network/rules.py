"""What the linear array adds to :mod:`mapper.arrays`: lanes, rows and columns, local memories, launches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from mapper.arrays import PlacedBody, Room, StagePlan, backing_bytes, before_axis, body_runs
from mapper.backends.cgla.kernel import DoesNotFit, KernelRequest, map_kernel
from mapper.dfg import Dfg
from mapper.ir import Graph, Op
from mapper.kernels.style import CGLA_STYLE
from mapper.machine import Machine
from mapper.mapping import Axis, Buffer, Phase, Rect, TileLoop
from mapper.tiling.engine import Tiling
from mapper.tiling.hierarchy import Hierarchy, Level, SpatialAxis

HARDWARE_LOOPS = 2
BODY_NODES = 96  # bodies of this size are placed in a second or two; more copies come as replicas
CHAIN = 8  # longest chain of copies that reduce down the rows
BUS_BYTES = 32  # width of the configuration bus (IMAX2 handbook)


@dataclass(frozen=True)
class LaneRules:
    """The rules of one machine of this class."""

    machine: Machine

    style = CGLA_STYLE
    body_axes = frozenset({"row", "column"})

    @property
    def slots(self) -> int:
        return self.machine.fabric.size

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        fabric = self.machine.fabric
        lanes = Axis("lane", self.machine.setting("lanes", 1), multicast=False)
        return (lanes, Axis("replica", fabric.rows), Axis("row", fabric.rows), Axis("column", fabric.columns))

    def hierarchy(self, op: Op, room: Room) -> Hierarchy:
        lane, _, _, column = self.axes
        columns = min(column.extent, room.copies)
        rows = max(1, min(CHAIN, room.copies // columns))
        memories = [self.machine.memory(name) for name in ("dram", "lmm", "reg")]
        levels = tuple(
            Level(m.name, m.capacity_bytes, m.read_pj_per_byte, m.write_pj_per_byte, 2 if m.name == "lmm" else 1)
            for m in memories
        )
        fan_out = (
            SpatialAxis(lane, 0, reduces=False),
            SpatialAxis(Axis("replica", room.replicas), 0, reduces=False),
            SpatialAxis(Axis("row", rows), 0, parallel=False),
            SpatialAxis(Axis("column", columns), 1, reduces=False),
        )
        return Hierarchy(levels, fan_out, self.machine.links.pj_per_byte_hop)

    def first_room(self, dfg: Dfg, tail: Dfg | None) -> Room:
        outputs = BODY_NODES // max(1, len(tail.nodes)) if tail is not None else BODY_NODES
        copies = max(1, min(BODY_NODES // max(1, len(dfg.nodes)), CHAIN * outputs))
        rows = _longest_path(dfg) + min(CHAIN, copies // self.machine.fabric.columns)
        return Room(copies, max(1, (self.machine.fabric.rows - 1) // (rows + 1)))

    def next_room(self, room: Room, plan: StagePlan | None) -> Room | None:
        if plan is None:
            return Room(room.copies // 2, room.replicas) if room.copies > 1 else None
        fitting = max(1, self.machine.fabric.rows // _stacked_rows(plan))
        return Room(room.copies, fitting) if _replicas(plan) > fitting else None

    def place(self, dfg: Dfg) -> PlacedBody | None:
        found = map_kernel(dfg, KernelRequest(self.machine.fabric.rows, "fast", enforce_share=False))
        if isinstance(found, DoesNotFit):
            return None
        return PlacedBody(found.mapping, found.rows, found.rows_bound, found.why_not_lower)

    def program(self, graph: Graph, op: Op, tiling: Tiling) -> tuple[tuple[TileLoop, ...], tuple[Buffer, ...]]:
        return tiling.loops, before_axis(graph, op, tiling.loops, tiling.buffers, "lmm", "row")

    def rect(self, plan: StagePlan) -> Rect:
        lanes = math.prod(loop.trips for loop in plan.loops if loop.axis == "lane")
        height = min(_stacked_rows(plan) * _replicas(plan), self.machine.fabric.rows)
        return Rect(0, 0, height, self.machine.fabric.columns, 0, lanes)

    def phases(self, graph: Graph, plan: StagePlan) -> tuple[tuple[Phase, ...], int, int]:
        machine = self.machine
        runs, tail_runs = body_runs(plan)
        launches, tail_launches = _launches(plan.loops, runs), 0
        if plan.tail is not None:
            tail_launches = math.ceil(tail_runs * launches / max(runs, 1)) or 1
        registers = math.ceil(machine.setting("regv_bytes", 0) / BUS_BYTES)
        configure = math.ceil(machine.setting("conf_bytes", 0) / BUS_BYTES) * (2 if plan.tail else 1)
        depth = _stacked_rows(plan) * _replicas(plan)
        exec_cycles = self._exec(runs, depth, launches) + self._exec(tail_runs, depth, tail_launches)
        load, drain = self._transfers(graph, plan)
        both = launches + tail_launches
        phases = (
            Phase("CONF", "array", configure),
            Phase("START", "array", machine.setting("start_cycles", 0), both),
            Phase("REGV", "array", registers, both),
            Phase("EXEC", "array", exec_cycles),
            Phase("LOAD", "dma", load),
            Phase("DRAIN", "dma", drain),
        )
        return phases, both, machine.setting("regv_bytes", 0) + machine.setting("conf_bytes", 0) // both

    def _exec(self, runs: int, rows: int, launches: int) -> int:
        """4 cycles an iteration, 8 cycles a row to fill the array at every launch."""
        return (
            self.machine.setting("iteration_cycles", 4) * runs + self.machine.setting("row_cycles", 8) * rows * launches
        )

    def _transfers(self, graph: Graph, plan: StagePlan) -> tuple[int, int]:
        """Cycles of LOAD and DRAIN: bytes of all lanes over the lanes' ports."""
        loaded, drained = backing_bytes(graph, plan, self.axes)
        lanes = max(1, math.prod(loop.trips for loop in plan.loops if loop.axis == "lane"))
        rate = float(self.machine.settings.get("dma_bytes_per_cycle", BUS_BYTES)) * lanes
        return math.ceil(loaded / rate), math.ceil(drained / rate)


def _replicas(plan: StagePlan) -> int:
    return math.prod(loop.trips for loop in plan.loops if loop.axis == "replica")


def _stacked_rows(plan: StagePlan) -> int:
    """Rows from one replica to the next: its own, and one for the host constants that its first row reads."""
    return max(plan.body.length, plan.tail.length if plan.tail else 0) + 1


def _longest_path(dfg: Dfg) -> int:
    """Nodes on the longest chain of dependences within an iteration."""
    length: dict[int, int] = {}
    for node in dfg.order:
        before = (length[edge.src] for edge in dfg.predecessors[node] if edge.distance == 0)
        length[node] = 1 + max(before, default=0)
    return max(length.values(), default=1)


def _launches(loops: tuple[TileLoop, ...], runs: int) -> int:
    """Runs of the body over those that the two innermost counting loops of one launch cover."""
    inner = [loop.trips for loop in reversed(loops) if loop.axis is None and loop.trips > 1][:HARDWARE_LOOPS]
    return max(1, math.ceil(runs / math.prod(inner)))
