"""What the grid adds to :mod:`mapper.arrays`: unrolled copies, scratchpad, contexts, DMA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mapper.arrays import PlacedBody, Room, StagePlan, backing_bytes, body_runs
from mapper.backends.cgra.kernel import DoesNotFit, KernelRequest, map_kernel
from mapper.dfg import Dfg
from mapper.ir import Graph, Op
from mapper.kernels.style import CGRA_STYLE
from mapper.machine import Machine
from mapper.mapping import Axis, Buffer, Phase, Rect, TileLoop
from mapper.tiling.engine import Tiling
from mapper.tiling.hierarchy import Hierarchy, Level, SpatialAxis

DEPTH = 2  # modulo slots that unrolling may fill: copies are added while the body has fewer operations than DEPTH x PEs


@dataclass(frozen=True)
class GridRules:
    """The rules of one machine of this class."""

    machine: Machine
    seed: int

    style = CGRA_STYLE
    body_axes = frozenset({"unroll"})

    @property
    def slots(self) -> int:
        return self.machine.fabric.size * self.machine.setting("context_words", 256)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        return (Axis("unroll", self.machine.fabric.size),)

    def hierarchy(self, op: Op, room: Room) -> Hierarchy:
        memories = [self.machine.memory(name) for name in ("dram", "spm", "reg")]
        levels = tuple(
            Level(m.name, m.capacity_bytes, m.read_pj_per_byte, m.write_pj_per_byte, 2 if m.name == "spm" else 1)
            for m in memories
        )
        return Hierarchy(levels, (SpatialAxis(Axis("unroll", room.copies), 1),), self.machine.links.pj_per_byte_hop)

    def first_room(self, dfg: Dfg, tail: Dfg | None) -> Room:
        nodes = max(1, len(dfg.nodes), len(tail.nodes) if tail is not None else 0)
        return Room(max(1, DEPTH * self.machine.fabric.size // nodes))

    def next_room(self, room: Room, plan: StagePlan | None) -> Room | None:
        return Room(room.copies // 2) if plan is None and room.copies > 1 else None

    def place(self, dfg: Dfg) -> PlacedBody | None:
        """A quick search suffices for most bodies; the few that it leaves without a schedule get a longer one."""
        for effort in ("quick", "fast"):
            found = map_kernel(dfg, self.machine.fabric, KernelRequest("routed", effort, self.seed))
            if not isinstance(found, DoesNotFit):
                return PlacedBody(found.mapping, found.mapping.ii, found.ii_bound, found.why_not_lower)
        return None

    def program(self, graph: Graph, op: Op, found: Sequence[Tiling]) -> tuple[tuple[TileLoop, ...], tuple[Buffer, ...]]:
        return found[0].loops, found[0].buffers

    def rect(self, plan: StagePlan) -> Rect:
        return Rect(0, 0, self.machine.fabric.rows, self.machine.fabric.columns)

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
            Phase("DMA", "dma", math.ceil((sum(backing_bytes(graph, plan, self.axes)) + configuration_bytes) / rate)),
        )
        return phases, 1, configuration_bytes


def _tiles(plan: StagePlan) -> int:
    """Scratchpad tiles: steps of the temporal loops outside the outermost scratchpad buffer."""
    depth = min((b.depth for b in plan.buffers if b.memory == "spm"), default=0)
    return math.prod(loop.trips for loop in plan.loops[:depth] if loop.axis is None)
