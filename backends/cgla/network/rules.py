"""What the linear array adds to :mod:`mapper.arrays`: lanes, rows and columns, local memories, launches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from mapper.arrays import (
    Part,
    Place,
    PlacedBody,
    Room,
    StagePlan,
    backing_bytes,
    before_axis,
    body_copies,
    body_runs,
    in_store,
)
from mapper.backends.cgla.kernel import DoesNotFit, KernelRequest, map_kernel
from mapper.dfg import Dfg
from mapper.ir import Graph, Op
from mapper.kernels.body import main_body
from mapper.kernels.style import CGLA_STYLE
from mapper.machine import Machine
from mapper.mapping import Axis, Buffer, Phase, Rect, TileLoop
from mapper.planning import weight
from mapper.request import Request
from mapper.tiling.engine import Tiling
from mapper.tiling.hierarchy import Hierarchy, Level, SpatialAxis
from mapper.tiling.program import Program, movement

from .bounds import lane_bound_bytes
from .launches import Demand, control_of, demand_of, launches, ordered
from .transfers import BUS_BYTES, dma_cycles, transfers

BODY_NODES = 96  # bodies of this size are placed in a second or two; more copies come as replicas
TAIL_NODES = 192  # a tail runs seldom: it may take most of the rows
CHAIN = 8  # longest chain of copies that reduce down the rows
# where full units copy operands too often: which part of the most busy units is enough, for bodies with rows of copies
# and, beside them, for flat ones; and whether all lanes have to be among them
WIDER = ((0.5, 0.8, True), (0.5, 0.8, False), (0.25, 0.5, False))
CLOSE = 0.8  # assignments of loops to axes with this part of the most busy units compete by movement
LAVISH = 2.0  # times the least bytes with registers: more is not paid for operands that keep near their bound
NEAR = 1.5  # times the bound: no saving of registers pays for more copies of operands
LEAST_LMM_BYTES = 8 << 10  # the smallest size that is held against: papers sweep from there


@dataclass(frozen=True, slots=True)
class _Launched:
    """A tiling as launches: energy, bytes at the backing store with registers, tile program."""

    pj: float
    store_bytes: int
    program: Program


@dataclass(frozen=True)
class LaneRules:
    """The rules of one machine of this class."""

    machine: Machine
    known: dict[tuple[str, tuple[tuple[str, int], ...]], Demand] = field(default_factory=dict, compare=False)
    best: dict[tuple[str, tuple[Tiling, ...]], _Launched] = field(default_factory=dict, compare=False)

    style = CGLA_STYLE
    keeps = ""  # a row reaches its own local memory only
    body_axes = frozenset({"row", "column"})

    @cached_property
    def smaller(self) -> LaneRules | None:
        """The lanes with the next smaller power of two of local memory, from `LEAST_LMM_BYTES` on."""
        capacity = self.machine.memory("lmm").capacity_bytes or 0
        size = 1 << max(capacity - 1, 1).bit_length() - 1
        if size < LEAST_LMM_BYTES:
            return None
        memories = tuple(replace(m, capacity_bytes=size) if m.name == "lmm" else m for m in self.machine.memories)
        return LaneRules(replace(self.machine, memories=memories), self.known, self.best)

    def better(self, graph: Graph, own: StagePlan, less: StagePlan) -> StagePlan:
        """The plan for less memory unless the own one needs no more of anything: bytes of operands, these with control
        bytes, energy."""
        pairs = zip(self._needs(graph, own), self._needs(graph, less), strict=True)
        return own if all(now <= before for now, before in pairs) else less

    def _needs(self, graph: Graph, plan: StagePlan) -> tuple[float, ...]:
        moved = sum(backing_bytes(graph, plan, self.axes))
        _, launched, control = self.phases(graph, plan)
        return moved, moved + launched * control, weight(graph, self, plan).pj

    @property
    def question(self) -> str:
        return f"rows {self.machine.fabric.rows}"

    @property
    def slots(self) -> int:
        return self.machine.fabric.size

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        fabric = self.machine.fabric
        lanes = Axis("lane", self.machine.setting("lanes", 1), multicast=False)
        replicas = Axis("replica", fabric.rows, displaces="rows")
        return (lanes, replicas, Axis("row", fabric.rows), Axis("column", fabric.columns))

    def hierarchy(self, op: Op, room: Room) -> Hierarchy:
        """Bodies load every operand at every iteration, so the engine tiles for local memory; registers follow."""
        return self._hierarchy(("dram", "lmm"), room, self.lanes(op, room))

    def wider(
        self, graph: Graph, op: Op, room: Room, found: Sequence[Tiling], tried: int, place: Place
    ) -> Hierarchy | None:
        """Where full units copy operands too often: fewer busy ones, for lanes that wait for the port are no gain; and
        bodies of one row of copies, more of them, since rows that load shifted windows load the overlap once each."""
        if tried == 2 * len(WIDER):
            return None
        deep, flat, full = WIDER[tried // 2]
        if tried % 2:
            return self._wider(op, self._flat(graph, op, room, found[0], place), flat, full)
        far = all(self._is_far(graph, op, tiling) for tiling in found)
        return self._wider(op, room, deep, full) if far else None

    def _wider(self, op: Op, room: Room, close: float, full: bool) -> Hierarchy:
        hierarchy = self.hierarchy(op, room)
        return replace(hierarchy, axes=tuple(replace(a, full=a.full and full) for a in hierarchy.axes), close=close)

    def _flat(self, graph: Graph, op: Op, room: Room, found: Tiling, place: Place) -> Room:
        """The room for bodies whose copies lie in columns only."""
        columns = body_copies(found.loops, frozenset({"column"}))
        body = place(main_body(graph, op, self.style, columns))
        rows = body.length + 1 if body is not None else self.machine.fabric.rows
        return Room(self.machine.fabric.columns, min(room.flat, self.machine.fabric.rows // rows))

    def _is_far(self, graph: Graph, op: Op, tiling: Tiling) -> bool:
        """Do the operands of a product or of sliding windows move more than `NEAR` times their bound?"""
        sliding = op.macs > 0 or _slides(op)
        return sliding and tiling.bytes("dram") > self.near_bytes(graph, op, along("lane", tiling.loops))

    def near_bytes(self, graph: Graph, op: Op, lanes: int, resident: frozenset[str] = frozenset()) -> float:
        """What an operator on some lanes may move to be near its bound, with `resident` tensors in local memory."""
        local_bytes = (self.machine.memory("lmm").capacity_bytes or 0) * self.machine.fabric.rows * lanes
        return NEAR * lane_bound_bytes(graph, op, lanes, local_bytes, resident)

    def lanes(self, op: Op, room: Room) -> int:
        """Lanes that have work: each one executes for at least as long as the host takes to set it up."""
        machine = self.machine
        exec_cycles = machine.setting("iteration_cycles", 4) * op.points / (room.copies * room.replicas)
        set_up = machine.setting("start_cycles", 0) + machine.setting("conf_bytes", 0) / BUS_BYTES
        return max(1, min(machine.setting("lanes", 1), int(exec_cycles / max(set_up, 1))))

    def _hierarchy(self, names: Sequence[str], room: Room, lanes: int) -> Hierarchy:
        _, _, _, column = self.axes
        columns = min(column.extent, room.copies)
        rows = max(1, min(CHAIN, room.copies // columns))
        memories = [self.machine.memory(name) for name in names]
        levels = tuple(
            Level(m.name, m.capacity_bytes, m.read_pj_per_byte, m.write_pj_per_byte, 2 if m.name == "lmm" else 1)
            for m in memories
        )
        fan_out = (
            SpatialAxis(Axis("lane", lanes, multicast=False), 0, reduces=False, full=True),
            SpatialAxis(Axis("replica", room.replicas), 0, reduces=False),
            SpatialAxis(Axis("row", rows), 0, parallel=False),
            # the stores of a region take one column, a pair, or all four of a row: never three
            SpatialAxis(Axis("column", columns), 1, reduces=False, doubling=True),
        )
        return Hierarchy(levels, fan_out, self.machine.links.pj_per_byte_hop, close=CLOSE)

    def first_room(self, dfg: Dfg, tail: Dfg | None) -> Room:
        outputs = TAIL_NODES // max(1, len(tail.nodes)) if tail is not None else BODY_NODES
        copies = max(1, min(BODY_NODES // max(1, len(dfg.nodes)), CHAIN * outputs))
        rows = _longest_path(dfg) + min(CHAIN, copies // self.machine.fabric.columns)
        return Room(copies, max(1, (self.machine.fabric.rows - 1) // (rows + 1)), self.machine.fabric.rows)

    def next_room(self, room: Room, plan: StagePlan | None) -> Room | None:
        if plan is None:
            return replace(room, copies=room.copies // 2) if room.copies > 1 else None
        fitting = max(1, self.machine.fabric.rows // _stacked_rows(plan))
        stacked = along("replica", plan.loops)
        if stacked <= fitting:
            return None
        return replace(room, flat=fitting) if stacked > room.replicas else replace(room, replicas=fitting)

    def copies(self, graph: Graph, op: Op, room: Room, place: Place) -> None:
        """Copies are the engine's choice: a lane pays for what its units load, not for modulo slots."""

    def part(self, loops: Sequence[TileLoop]) -> None:
        """Replicas are stacked by the rows that a body turns out to take."""

    def place(self, dfg: Dfg, part: Part | None, quick: bool) -> PlacedBody | None:
        found = map_kernel(dfg, KernelRequest(self.machine.fabric.rows, "fast", enforce_share=False))
        if isinstance(found, DoesNotFit):
            return None
        return PlacedBody(found.mapping, found.rows, found.rows_bound, found.why_not_lower)

    def program(
        self, graph: Graph, op: Op, found: Sequence[Tiling], home: Callable[[str], str] = in_store
    ) -> tuple[tuple[TileLoop, ...], tuple[Buffer, ...]]:
        """The finalist of least energy with its launches, of those whose operands keep near their bound, unless these
        move `LAVISH` times the bytes of the best of all in registers."""
        near = tuple(tiling for tiling in found if not self._is_far(graph, op, tiling))
        best = self._best(graph, op, tuple(found), home)
        if near:
            kept = self._best(graph, op, near, home)
            best = kept if kept.store_bytes <= LAVISH * best.store_bytes else best
        return best.program.loops, best.program.buffers

    def _best(self, graph: Graph, op: Op, found: tuple[Tiling, ...], home: Callable[[str], str]) -> _Launched:
        """The finalist of least energy; what has no room for more is the same in memories of several sizes."""
        key = op.name, found
        if home is not in_store or key not in self.best:
            priced = (self._launched(graph, op, tiling, home) for tiling in found)
            best = min(priced, key=lambda each: each.pj)
            return self.best.setdefault(key, best) if home is in_store else best
        return self.best[key]

    def _launched(self, graph: Graph, op: Op, tiling: Tiling, home: Callable[[str], str]) -> _Launched:
        """A tiling as launches, with the registers that the host writes."""
        demand = self._demand(graph, op, body_copies(tiling.loops, self.body_axes))
        lanes = along("lane", tiling.loops)
        control = control_of((demand,), along("replica", tiling.loops), lanes, self.machine)
        program = ordered(graph, op, Program(tiling.loops, tiling.buffers), self.machine, control)
        program = replace(program, buffers=before_axis(graph, op, program.loops, program.buffers, "lmm", "row"))
        moved = movement(graph, op, program, self._hierarchy(("dram", "lmm", "reg"), Room(self.slots), lanes), home)
        count = launches(op, program.loops)
        register_bytes = control.per_launch(count) * count
        pj = moved.pj + register_bytes * self.machine.memory("dram").read_pj_per_byte
        return _Launched(pj, moved.bytes("dram") + register_bytes, program)

    def _demand(self, graph: Graph, op: Op, copies: Mapping[str, int]) -> Demand:
        """Registers that a body with these copies takes; bodies are the same for every size of memory."""
        key = op.name, tuple(copies.items())
        if key not in self.known:
            self.known[key] = demand_of(main_body(graph, op, self.style, copies))
        return self.known[key]

    def kept(self, graph: Graph, request: Request, plans: Sequence[StagePlan]) -> list[StagePlan]:
        """Chains of operators keep results in the rows' local memories where that moves less."""
        from .kept import kept_plans  # plans by these rules

        return kept_plans(graph, request, self, plans)

    def rect(self, plan: StagePlan) -> Rect:
        pitch = plan.pitch_rows or _stacked_rows(plan)
        height = min(max(pitch * along("replica", plan.loops), _tail_rows(plan)), self.machine.fabric.rows)
        return Rect(plan.first_row, 0, height, self.machine.fabric.columns, 0, along("lane", plan.loops))

    def phases(self, graph: Graph, plan: StagePlan) -> tuple[tuple[Phase, ...], int, int]:
        machine = self.machine
        runs, tail_runs = body_runs(plan)
        started, finished = launches(plan.op, plan.loops), self._tail_launches(plan)
        lanes = along("lane", plan.loops)
        control = control_of([demand_of(body) for body in _bodies(plan)], along("replica", plan.loops), lanes, machine)
        rate = float(machine.settings.get("regv_bytes_per_cycle", BUS_BYTES))
        depth = self.rect(plan).height
        exec_cycles = self._exec(runs, depth, started) + self._exec(
            tail_runs * self._tail_groups(plan), depth, finished
        )
        load, drain = self._transfers(graph, plan)
        both = started + finished
        phases = (
            Phase("CONF", "array", math.ceil(control.first_bytes / lanes / BUS_BYTES)),
            Phase("START", "array", machine.setting("start_cycles", 0), both),
            Phase("REGV", "array", math.ceil(control.each_bytes / lanes / rate), both),
            Phase("EXEC", "array", exec_cycles),
            Phase("LOAD", "dma", load),
            Phase("DRAIN", "dma", drain),
        )
        return phases, both, control.per_launch(both)

    def _tail_groups(self, plan: StagePlan) -> int:
        """Replicas finish their outputs in turn, as many at once as tails have rows; the mapping is shifted along the
        ring of rows, so that each tail starts where its replica left the results."""
        at_once = max(1, self.machine.fabric.rows // max(1, _tail_rows(plan)))
        return math.ceil(along("replica", plan.loops) / at_once)

    def _tail_launches(self, plan: StagePlan) -> int:
        """The tail walks over the output loops alone."""
        if plan.tail is None:
            return 0
        outputs = [loop for loop in plan.loops if loop.loop in plan.op.output_loops]
        return launches(plan.op, outputs) * self._tail_groups(plan)

    def _exec(self, runs: int, rows: int, launches: int) -> int:
        """4 cycles an iteration, 8 cycles a row to fill the array at every launch."""
        return (
            self.machine.setting("iteration_cycles", 4) * runs + self.machine.setting("row_cycles", 8) * rows * launches
        )

    def _transfers(self, graph: Graph, plan: StagePlan) -> tuple[int, int]:
        """Cycles of LOAD and DRAIN: bytes and transfers of all lanes over the lanes' ports."""
        loaded, drained = backing_bytes(graph, plan, self.axes)
        made = transfers(graph, plan.op, plan.loops, plan.buffers, self.axes, lambda n: plan.inside.home(graph.root(n)))
        lanes = along("lane", plan.loops)
        return (dma_cycles(loaded, made.loads, lanes, self.machine),
                dma_cycles(drained, made.drains, lanes, self.machine))  # fmt: skip


def _slides(op: Op) -> bool:
    """Does a window slide over some read, so that neighbouring slices overlap?"""
    return any(len(index.loops) > 1 and index.is_affine for read in op.reads for index in read.index)


def along(axis: str, loops: Sequence[TileLoop]) -> int:
    """Places in use on an axis."""
    return math.prod(loop.trips for loop in loops if loop.axis == axis)


def _bodies(plan: StagePlan) -> tuple[Dfg, ...]:
    placed = (plan.body, plan.tail)
    return tuple(body.mapping.dfg for body in placed if body is not None)


def _stacked_rows(plan: StagePlan) -> int:
    """Rows from one replica to the next: its own, and one for the host constants that its first row reads."""
    return plan.body.length + 1


def _tail_rows(plan: StagePlan) -> int:
    """Rows of the tail and of its host constants."""
    return plan.tail.length + 1 if plan.tail is not None else 0


def _longest_path(dfg: Dfg) -> int:
    """Nodes on the longest chain of dependences within an iteration."""
    length: dict[int, int] = {}
    for node in dfg.order:
        before = (length[edge.src] for edge in dfg.predecessors[node] if edge.distance == 0)
        length[node] = 1 + max(before, default=0)
    return max(length.values(), default=1)
