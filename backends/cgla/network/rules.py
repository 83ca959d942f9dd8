"""What the linear array adds to :mod:`mapper.arrays`: lanes, rows and columns, local memories, launches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from mapper.tiling.engine import Tiling

from mapper import dtypes
from mapper.arrays import PlacedBody, StagePlan, before_axis, body_runs, draft
from mapper.backends.cgla.kernel import DoesNotFit, KernelRequest, map_kernel
from mapper.dfg import Dfg
from mapper.ir import Graph, Op
from mapper.kernels.style import CGLA_STYLE
from mapper.machine import Machine
from mapper.mapping import WRITTEN, Axis, Buffer, Phase, Rect, TileLoop
from mapper.tiling.hierarchy import Hierarchy, Level, SpatialAxis
from mapper.traffic import links

HARDWARE_LOOPS = 2
FILL = 0.75  # share of the slots that copies are planned for; the placer needs room for constants and pass-throughs
BUS_BYTES = 32  # width of the configuration bus (IMAX2 handbook)


@dataclass(frozen=True)
class LaneRules:
    """The rules of one machine of this class."""

    machine: Machine

    style = CGLA_STYLE
    body_axes = frozenset({"row", "column"})

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        fabric = self.machine.fabric
        lanes = Axis("lane", self.machine.setting("lanes", 1), multicast=False)
        return (lanes, Axis("row", fabric.rows), Axis("column", fabric.columns))

    def hierarchy(self, op: Op, copies_limit: int) -> Hierarchy:
        lane, _, column = self.axes
        columns = min(column.extent, copies_limit)
        rows = max(1, min(self.machine.fabric.rows - 2, copies_limit // columns))
        dram, lmm, reg = (self.machine.memory(name) for name in ("dram", "lmm", "reg"))
        levels = tuple(
            Level(m.name, m.capacity_bytes, m.read_pj_per_byte, m.write_pj_per_byte, 2 if m is lmm else 1)
            for m in (dram, lmm, reg)
        )
        fan_out = (SpatialAxis(lane, 0), SpatialAxis(Axis("row", rows), 0), SpatialAxis(Axis("column", columns), 1))
        return Hierarchy(levels, fan_out)

    def copies_limit(self, dfg: Dfg) -> int:
        slots = self.machine.fabric.size
        arithmetic = max(1, sum(node.kind == "exe" for node in dfg.nodes))
        accesses = max(1, sum(node.kind in ("load", "store") for node in dfg.nodes))
        return max(1, int(FILL * min(slots / arithmetic, 2 * slots / accesses)))

    def place(self, dfg: Dfg) -> PlacedBody | None:
        found = map_kernel(dfg, KernelRequest(self.machine.fabric.rows, "fast", enforce_share=False))
        if isinstance(found, DoesNotFit):
            return None
        return PlacedBody(found.mapping, found.rows, found.rows_bound, found.why_not_lower)

    def program(self, op: Op, tiling: Tiling) -> tuple[tuple[TileLoop, ...], tuple[Buffer, ...]]:
        return tiling.loops, before_axis(tiling.loops, tiling.buffers, "lmm", "row")

    def rect(self, plan: StagePlan) -> Rect:
        lanes = math.prod(loop.trips for loop in plan.loops if loop.axis == "lane")
        height = max(plan.body.length, plan.tail.length if plan.tail else 0)
        return Rect(0, 0, min(height, self.machine.fabric.rows), self.machine.fabric.columns, 0, lanes)

    def phases(self, graph: Graph, plan: StagePlan) -> tuple[tuple[Phase, ...], int, int]:
        machine = self.machine
        runs, tail_runs = body_runs(plan)
        launches, tail_launches = _launches(plan.loops, runs), 0
        if plan.tail is not None:
            tail_launches = math.ceil(tail_runs * launches / max(runs, 1)) or 1
        registers = math.ceil(machine.setting("regv_bytes", 0) / BUS_BYTES)
        configure = math.ceil(machine.setting("conf_bytes", 0) / BUS_BYTES) * (2 if plan.tail else 1)
        exec_cycles = self._exec(plan.body, runs, launches) + (self._exec(plan.tail, tail_runs, tail_launches))
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

    def _exec(self, body: PlacedBody | None, runs: int, launches: int) -> int:
        """4 cycles an iteration, 8 cycles a row to fill the array at every launch."""
        if body is None:
            return 0
        fill = self.machine.setting("row_cycles", 8) * body.length
        return self.machine.setting("iteration_cycles", 4) * runs + fill * launches

    def _transfers(self, graph: Graph, plan: StagePlan) -> tuple[int, int]:
        """Cycles of LOAD and DRAIN: bytes of all lanes over the lanes' ports."""
        axes = {axis.name: axis for axis in self.axes}
        loaded = drained = 0
        for link in links(graph, draft(plan), plan.op, axes, lambda name: "dram"):
            access = plan.op.write if link.operand == WRITTEN else plan.op.reads[link.operand]
            dtype = graph.tensor(access.tensor).dtype
            if link.source == "dram":
                loaded += dtypes.bytes_of(link.sent, dtype)
            elif link.target == "dram":
                drained += dtypes.bytes_of(link.received, dtype)
                loaded += dtypes.bytes_of(link.partial_received, dtype)
        lanes = max(1, math.prod(loop.trips for loop in plan.loops if loop.axis == "lane"))
        rate = float(self.machine.settings.get("dma_bytes_per_cycle", BUS_BYTES)) * lanes
        return math.ceil(loaded / rate), math.ceil(drained / rate)


def _launches(loops: tuple[TileLoop, ...], runs: int) -> int:
    """Runs of the body over those that the two innermost counting loops of one launch cover."""
    inner = [loop.trips for loop in reversed(loops) if loop.axis is None and loop.trips > 1][:HARDWARE_LOOPS]
    return max(1, math.ceil(runs / math.prod(inner)))
