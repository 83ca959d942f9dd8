"""Networks on arrays that run loop bodies: one stage per operator, each a tile program around a placed body.

A target with such an array supplies :class:`ArrayRules`: its memory hierarchy with the axes that copies of a body
take, how a body is placed, and how long the phases of a stage last. Everything else is the same for every array: the
tiling engine chooses tiles, loop order and copies; the body with these copies is placed once per distinct structure; if
it does not fit, the operator is tiled again with fewer copies. Stages follow each other in the graph's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from mapper import dtypes, store
from mapper.cost import cost, iterations, outputs_per_copy
from mapper.dfg import Dfg
from mapper.ir import Graph, Op, Opaque
from mapper.kernels.body import main_body, tail_body
from mapper.kernels.signature import signature
from mapper.kernels.style import Style
from mapper.machine import Machine
from mapper.mapping import WRITTEN, Axis, Buffer, HostCall, Infeasible, Phase, Rect, Stage, TileLoop
from mapper.mapping import Mapping as FabricMapping
from mapper.objectives import Weight, chosen, value_of
from mapper.placement import KernelMapping
from mapper.request import Request
from mapper.residency import candidates, staying
from mapper.tiling.engine import Tiling, tilings
from mapper.tiling.hierarchy import Hierarchy
from mapper.traffic import buffer_elements, links

__all__ = ["ArrayRules", "Bodies", "Place", "PlacedBody", "Room", "StagePlan", "in_store", "map_network"]


@dataclass(frozen=True, slots=True)
class PlacedBody:
    """A placed loop body with its proven lower bound on II (or rows) and why it is not lower."""

    mapping: KernelMapping
    length: int
    bound: int
    why: str


@dataclass(frozen=True, slots=True)
class Inside:
    """What stays on chip while a stage runs: `tensors` live in `memory`, of which `reserved_bytes` are theirs."""

    memory: str = ""
    tensors: frozenset[str] = frozenset()
    reserved_bytes: int = 0

    def home(self, tensor: str) -> str:
        """Where a tensor (a root of views) lives between stages."""
        return self.memory if tensor in self.tensors else STORE

    def less(self, hierarchy: Hierarchy) -> Hierarchy:
        """The hierarchy without the reserved bytes."""
        levels = tuple(
            replace(level, capacity_bytes=level.capacity_bytes - self.reserved_bytes)
            if level.memory == self.memory and level.capacity_bytes is not None
            else level
            for level in hierarchy.levels
        )
        return replace(hierarchy, levels=levels)


STORE = "dram"
NOTHING = Inside()


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage before its phases are known: the operator, its tile program, its bodies, and what stays on chip."""

    op: Op
    loops: tuple[TileLoop, ...]
    buffers: tuple[Buffer, ...]
    body: PlacedBody
    tail: PlacedBody | None
    inside: Inside = NOTHING


@dataclass(frozen=True, slots=True)
class Room:
    """At most `copies` of an iteration inside one body, and `replicas` of the whole body on the array."""

    copies: int
    replicas: int = 1


class Place(Protocol):
    """Places a body on the array; `quick` says that a smaller one may serve as well."""

    def __call__(self, dfg: Dfg, quick: bool = False, /) -> PlacedBody | None: ...


class ArrayRules(Protocol):
    """What a target adds. `body_axes` are the axes whose instances are copies inside one body."""

    style: Style
    body_axes: frozenset[str]
    keeps: str  # the memory in which tensors may stay between stages, "" for none

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Every axis on which a tile loop may lie."""

    @property
    def question(self) -> str:
        """Everything that :meth:`place` depends on beside the body and the code."""

    @property
    def slots(self) -> int:
        """Operations that the array holds at once."""

    def hierarchy(self, op: Op, room: Room) -> Hierarchy:
        """Memories and axes for `op`, with at most `room.copies` copies in a body and `room.replicas` bodies."""

    def wider(self, graph: Graph, op: Op, room: Room, found: Sequence[Tiling]) -> Hierarchy | None:
        """Where to search as well, if none of the finalists `found` is good enough."""

    def first_room(self, dfg: Dfg, tail: Dfg | None) -> Room:
        """How many copies of a single body (and its tail), and replicas of that, can be hoped to fit."""

    def next_room(self, room: Room, plan: StagePlan | None) -> Room | None:
        """A smaller room when `room` gave no plan that fits (`plan` None: a body has no place); None: it did."""

    def copies(self, graph: Graph, op: Op, room: Room, place: Place) -> tuple[TileLoop, ...] | None:
        """The loops whose iterations are copied side by side, `step` 0; None leaves them to the tiling engine."""

    def place(self, dfg: Dfg, quick: bool) -> PlacedBody | None:
        """The body placed on the array; None if it does not fit, or `quick` did not find out."""

    def program(self, graph: Graph, op: Op, found: Sequence[Tiling]) -> tuple[tuple[TileLoop, ...], tuple[Buffer, ...]]:
        """Loops and buffers as the array keeps them, made of one of the engine's finalists."""

    def phases(self, graph: Graph, plan: StagePlan) -> tuple[tuple[Phase, ...], int, int]:
        """Phases of a stage, its launches, and the bytes configured at each."""

    def rect(self, plan: StagePlan) -> Rect:
        """The part of the array that the stage holds."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a search for a place found."""

    body: PlacedBody | None


class Bodies:
    """Bodies placed once per distinct structure, in order of first use.

    Bodies that differ in immediates only place and route alike: they share one search, each keeps its own operations.
    What was searched is kept between runs (:mod:`mapper.store`).
    """

    def __init__(self, rules: ArrayRules) -> None:
        self._rules = rules
        self._searched: dict[str, PlacedBody | None] = {}
        self._missed: set[str] = set()  # by a quick search
        self._placed: dict[str, PlacedBody | None] = {}
        self.used: list[KernelMapping] = []

    def place(self, dfg: Dfg, quick: bool = False) -> PlacedBody | None:
        """The body on the array, None if it does not fit. What a quick search finds is not searched again."""
        exact, structure = signature(dfg), signature(dfg, values=False)
        if structure not in self._searched:
            found = None if quick and structure in self._missed else self._search(dfg, structure, quick)
            if found is None and quick:
                self._missed.add(structure)
                return None
            self._searched[structure] = found
        if exact not in self._placed:
            found = self._searched[structure]
            own = found and replace(found, mapping=replace(found.mapping, dfg=dfg))
            self._placed[exact] = own
        return self._placed[exact]

    def _search(self, dfg: Dfg, structure: str, quick: bool) -> PlacedBody | None:
        package = type(self._rules).__module__.removesuffix(".network.rules")
        asked = f"{'quick' if quick else 'place'} {structure} {self._rules.question}"
        question = f"{asked} {store.code_digest(package)}"
        known = store.recall(_Answer, question)
        if known is None:
            known = _Answer(self._rules.place(dfg, quick))
            store.keep(question, known)
        return known.body

    def index(self, body: PlacedBody | None) -> int | None:
        """Position of a body in `Mapping.bodies`."""
        if body is None:
            return None
        for position, known in enumerate(self.used):
            if known is body.mapping:
                return position
        self.used.append(body.mapping)
        return len(self.used) - 1


def map_network(
    graph: Graph, machine: Machine, request: Request, target: str, rules: ArrayRules
) -> FabricMapping | Infeasible:
    """A stage for every operator with a nest, a host call for every opaque one. Of the plans that an operator may have,
    the one that serves the request's objective over the whole graph (:mod:`mapper.objectives`); tensors stay on chip
    (:mod:`mapper.residency`) if that serves it too."""
    bodies = Bodies(rules)
    options: list[tuple[StagePlan, ...]] = []
    nests = list(graph.nests)
    for number, op in enumerate(nests):
        request.progress(f"operator {number + 1} of {len(nests)}: {op.name} ({op.op_type})")
        plans = plan_stage(graph, op, request, rules, bodies)
        if isinstance(plans, Infeasible):
            return plans
        options.append(plans)
    plain = _chosen(graph, machine, request, rules, options)
    kept = _with_residents(graph, machine, request, rules, bodies, plain) if rules.keeps else None
    found = [_assembled(graph, machine, target, rules, plans) for plans in (plain, kept) if plans is not None]
    return min(found, key=lambda mapping: value_of(mapping, request.objective))


def _assembled(
    graph: Graph, machine: Machine, target: str, rules: ArrayRules, plans: Sequence[StagePlan]
) -> FabricMapping:
    bodies = Bodies(rules)
    stages: list[Stage] = []
    stage_of: dict[str, str] = {}
    for number, plan in enumerate(plans):
        stages.append(_stage(graph, f"s{number}", plan, rules, bodies, _after(graph, plan.op, stage_of)))
        stage_of[plan.op.write.tensor] = f"s{number}"
    host = tuple(HostCall(op.name, op.reason) for op in graph.ops if isinstance(op, Opaque))
    homes = tuple((name, rules.keeps) for name in sorted({name for plan in plans for name in plan.inside.tensors}))
    return FabricMapping(target, machine, graph, rules.axes, tuple(stages), tuple(bodies.used), homes=homes, host=host)


def _with_residents(
    graph: Graph, machine: Machine, request: Request, rules: ArrayRules, bodies: Bodies, plain: Sequence[StagePlan]
) -> list[StagePlan] | None:
    """The plans when tensors stay on chip, in half of the memory at most; None if none should."""
    memory, store_ = machine.memory(rules.keeps), machine.memories[0]
    room = (memory.capacity_bytes or 0) // 2
    found = candidates(graph, room)
    if not found:
        return None
    request.progress(f"{len(found)} tensors may stay in {memory.name}")
    prices = [0.0] * len(plain)
    for at in sorted({at for item in found for at in item.stages}):
        tight = plan_stage(graph, plain[at].op, request, rules, bodies, Inside(memory.name, frozenset(), room))
        if isinstance(tight, Infeasible):
            return None
        prices[at] = _weight(graph, machine, rules, tight[0]).pj - _weight(graph, machine, rules, plain[at]).pj
    saved = [item.bytes * (store_.write_pj_per_byte + item.readers * store_.read_pj_per_byte) for item in found]
    chosen_ = staying(found, room, saved, prices, request.seed)
    plans = list(plain)
    for at in sorted({at for item in found if item.tensor in chosen_ for at in item.stages}):
        again = plan_stage(graph, plain[at].op, request, rules, bodies, Inside(memory.name, chosen_, room))
        if isinstance(again, Infeasible):
            return None
        plans[at] = again[0]
    return plans if chosen_ else None


def _chosen(
    graph: Graph, machine: Machine, request: Request, rules: ArrayRules, options: Sequence[tuple[StagePlan, ...]]
) -> list[StagePlan]:
    if all(len(plans) == 1 for plans in options):
        return [plans[0] for plans in options]
    request.progress("weighing plans")
    weights = [[_weight(graph, machine, rules, plan) for plan in plans] for plans in options]
    return [plans[at] for plans, at in zip(options, chosen(weights, request.objective), strict=True)]


def _weight(graph: Graph, machine: Machine, rules: ArrayRules, plan: StagePlan) -> Weight:
    """What a plan costs as the only stage of a mapping."""
    alone = Bodies(rules)
    stage = _stage(graph, "s", plan, rules, alone, ())
    homes = tuple((name, rules.keeps) for name in sorted(plan.inside.tensors))
    total = cost(FabricMapping("", machine, graph, rules.axes, (stage,), tuple(alone.used), homes=homes))
    return Weight(total.energy_pj, total.cycles)


def plan_stage(
    graph: Graph, op: Op, request: Request, rules: ArrayRules, bodies: Bodies, inside: Inside = NOTHING
) -> tuple[StagePlan, ...] | Infeasible:
    """Tile and place one operator, in less and less room until it fits: one plan where movement decides, several to
    choose from where time counts too."""
    single = main_body(graph, op, rules.style)
    room = rules.first_room(single, tail_body(graph, op, rules.style))
    while True:
        plans = _attempt(graph, op, room, request, rules, bodies, inside)
        if isinstance(plans, Infeasible):
            return plans
        fitting = tuple(plan for plan in plans if rules.next_room(room, plan) is None)
        if fitting:
            return fitting
        smaller = rules.next_room(room, plans[0] if plans else None)
        if smaller is None:
            demand, limit = len(single.nodes), rules.slots
            return Infeasible("slots of the array", demand, limit, "operations", op.name, ("a larger array",))
        room = smaller


def _attempt(
    graph: Graph, op: Op, room: Room, request: Request, rules: ArrayRules, bodies: Bodies, inside: Inside
) -> tuple[StagePlan, ...] | Infeasible:
    """The plans in this room whose bodies have a place."""
    timed = request.objective in ("latency", "edp")
    effort = "default" if timed and request.effort == "fast" else request.effort
    spatial = rules.copies(graph, op, room, bodies.place)
    search = partial(tilings, graph, op, effort=effort, homes=inside.home)
    found = search(inside.less(rules.hierarchy(op, room)), spatial=spatial)
    if isinstance(found, Infeasible):
        return found
    wider = rules.wider(graph, op, room, found)
    more = search(inside.less(wider)) if wider is not None else ()
    found = found if isinstance(more, Infeasible) else (*found, *more)
    programs = [rules.program(graph, op, found)]
    programs += [rules.program(graph, op, (tiling,)) for tiling in found] if timed else []
    plans = (_plan(graph, op, *program, rules, bodies) for program in dict.fromkeys(programs))
    return tuple(replace(plan, inside=inside) for plan in plans if plan is not None)


def _plan(
    graph: Graph, op: Op, loops: tuple[TileLoop, ...], buffers: tuple[Buffer, ...], rules: ArrayRules, bodies: Bodies
) -> StagePlan | None:
    """The plan of a program; None if a body has no place."""
    copies = body_copies(loops, rules.body_axes)
    body = bodies.place(main_body(graph, op, rules.style, copies))
    tail_dfg = tail_body(graph, op, rules.style, copies)
    tail = bodies.place(tail_dfg) if tail_dfg is not None else None
    if body is None or (tail is None and tail_dfg is not None):
        return None
    return StagePlan(op, loops, buffers, body, tail)


def in_store(_tensor: str) -> str:
    """Between stages every tensor lives in the backing store."""
    return STORE


def body_copies(loops: Sequence[TileLoop], body_axes: frozenset[str]) -> dict[str, int]:
    """Copies of each operator loop inside one body."""
    copies: dict[str, int] = {}
    for item in loops:
        if item.axis in body_axes and item.trips > 1:
            copies[item.loop] = copies.get(item.loop, 1) * item.trips
    return copies


def _stage(
    graph: Graph, name: str, plan: StagePlan, rules: ArrayRules, bodies: Bodies, after: tuple[str, ...]
) -> Stage:
    phases, launches, configuration_bytes = rules.phases(graph, plan)
    return Stage(
        name,
        plan.op.name,
        plan.loops,
        plan.buffers,
        rules.rect(plan),
        bodies.index(plan.body),
        bodies.index(plan.tail),
        after,
        phases,
        True,
        configuration_bytes,
        launches,
    )


def _after(graph: Graph, op: Op, stage_of: Mapping[str, str]) -> tuple[str, ...]:
    roots = (graph.root(name) for name in op.inputs)
    return tuple(dict.fromkeys(stage_of[root] for root in roots if root in stage_of))


def draft(plan: StagePlan) -> Stage:
    """The stage without phases, for counting iterations and traffic while phases are made."""
    return Stage("", plan.op.name, plan.loops, plan.buffers, Rect(0, 0, 1, 1))


def body_runs(plan: StagePlan) -> tuple[int, int]:
    """How often the body and the tail run, copies counted once."""
    stage = draft(plan)
    return iterations(stage, plan.op), outputs_per_copy(stage, plan.op) if plan.tail is not None else 0


def backing_bytes(graph: Graph, plan: StagePlan, axes: Sequence[Axis]) -> tuple[int, int]:
    """Bytes that a stage brings in from the backing store and sends out to it, partial results both ways."""
    loaded = drained = 0
    home = plan.inside.home
    for link in links(graph, draft(plan), plan.op, {axis.name: axis for axis in axes}, lambda n: home(graph.root(n))):
        access = plan.op.write if link.operand == WRITTEN else plan.op.reads[link.operand]
        dtype = graph.tensor(access.tensor).dtype
        if link.source == "dram":
            loaded += dtypes.bytes_of(link.sent, dtype)
        elif link.target == "dram":
            drained += dtypes.bytes_of(link.received, dtype)
            loaded += dtypes.bytes_of(link.partial_received, dtype)
    return loaded, drained


def before_axis(
    graph: Graph, op: Op, loops: tuple[TileLoop, ...], buffers: Sequence[Buffer], memory: str, axis: str
) -> tuple[Buffer, ...]:
    """Buffers with the written slice in `memory` moved outside the loops of `axis` that directly enclose it.

    Copies along `axis` combine their results inside the body, so only one instance keeps them.
    """
    moved = []
    for buffer in buffers:
        depth = buffer.depth
        while buffer.operand == WRITTEN and buffer.memory == memory and depth and loops[depth - 1].axis == axis:
            depth -= 1
        if depth != buffer.depth:
            buffer = replace(buffer, depth=depth)
            elements = buffer_elements(graph, Stage("", op.name, loops, (), Rect(0, 0, 1, 1)), op, buffer)
            dtype = op.combiner.accumulator if op.combiner is not None else graph.tensor(op.write.tensor).dtype
            buffer = replace(buffer, bytes=dtypes.bytes_of(elements, dtype))
        moved.append(buffer)
    return tuple(moved)
