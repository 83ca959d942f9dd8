"""One operator on an array: tiled and placed in less and less room until it fits.

Operators that are alike in all but names are planned once. And more memory never moves more: the search for tiles is
heuristic, so the plan of an array is held against the one that the same array with less memory would have
(`ArrayRules.smaller`, from there on downwards), which fits as well, and the target takes the better of both. So along a
ladder of sizes what crosses the port to the backing store never rises, operator by operator and in sum. A plan that
moves every operand once needs no comparison. Under `latency` and `edp` plans are weighed over the whole graph instead.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mapper import store
from mapper.arrays import (
    NOTHING,
    ArrayRules,
    Bodies,
    Inside,
    Room,
    StagePlan,
    body_copies,
    code_of,
)
from mapper.codec import encode
from mapper.cost import cost
from mapper.ir import Access, Graph, Op, Tensor
from mapper.kernels.body import main_body, tail_body
from mapper.mapping import Infeasible, Stage
from mapper.mapping import Mapping as FabricMapping
from mapper.objectives import Weight
from mapper.request import Request
from mapper.tiling.engine import tilings
from mapper.tiling.program import Program

__all__ = ["Planner", "plan_stage", "stage_of", "weight", "without_names"]

TIMED = ("latency", "edp")  # objectives for which several plans are weighed over the whole graph


class Planner:
    """Plans of a graph's operators on one array."""

    def __init__(self, graph: Graph, request: Request, rules: ArrayRules, bodies: Bodies) -> None:
        self._graph, self._request, self._rules, self._bodies = graph, request, rules, bodies
        smaller = None if request.objective in TIMED else rules.smaller
        self._less = None if smaller is None else Planner(graph, request, smaller, bodies)
        self._known: dict[Hashable, tuple[StagePlan, ...]] = {}
        self._known_inside: dict[Hashable, StagePlan] = {}

    def plans(self, op: Op) -> tuple[StagePlan, ...] | Infeasible:
        """One plan where movement decides, several to choose from where time counts too."""
        alike = without_names(self._graph, op)
        if alike not in self._known:
            found = plan_stage(self._graph, op, self._request, self._rules, self._bodies)
            if isinstance(found, Infeasible):
                return found
            self._known[alike] = self._held(op, found)
        return tuple(replace(plan, op=op) for plan in self._known[alike])

    def plan_inside(self, op: Op, inside: Inside) -> StagePlan | Infeasible:
        """The first plan with some tensors staying on chip."""
        alike = (without_names(self._graph, op, inside), inside.memory, inside.reserved_bytes)
        if alike not in self._known_inside:
            found = plan_stage(self._graph, op, self._request, self._rules, self._bodies, inside)
            if isinstance(found, Infeasible):
                return found
            self._known_inside[alike] = found[0]
        return replace(self._known_inside[alike], op=op, inside=inside)

    def _held(self, op: Op, plans: tuple[StagePlan, ...]) -> tuple[StagePlan, ...]:
        """The better of the plan and that for less memory."""
        before = self._less.plans(op) if self._less is not None else ()
        if not before or isinstance(before, Infeasible):
            return plans
        own, less = plans[0], before[0]
        same = (own.loops, own.buffers) == (less.loops, less.buffers)
        return plans if same else (self._rules.better(self._graph, own, less),)


def without_names(graph: Graph, op: Op, inside: Inside = NOTHING) -> tuple[Op, tuple[tuple[int, Tensor, bool], ...]]:
    """The operator with tensors by order of appearance, and of each which other one it is a view of, what is known of
    it, and whether it stays on chip."""
    names = tuple(dict.fromkeys((*op.inputs, *op.outputs)))
    roots = list(dict.fromkeys(map(graph.root, names)))

    def unnamed(access: Access) -> Access:
        return replace(access, tensor=str(names.index(access.tensor)))

    nest = replace(op, name="", sources=(), reads=tuple(map(unnamed, op.reads)), write=unnamed(op.write))
    tensors = tuple(
        (roots.index(graph.root(name)), replace(graph.tensor(name), name=""), graph.root(name) in inside.tensors)
        for name in names
    )
    return nest, tensors


@dataclass(frozen=True, slots=True)
class _Kept:
    """The tile programs of an operator's plans, or why it has none, as kept between runs (:mod:`mapper.store`)."""

    programs: tuple[Program, ...] = ()
    misfit: Infeasible | None = None


def plan_stage(
    graph: Graph, op: Op, request: Request, rules: ArrayRules, bodies: Bodies, inside: Inside = NOTHING
) -> tuple[StagePlan, ...] | Infeasible:
    """Tile and place one operator, in less and less room until it fits: one plan where movement decides, several to
    choose from where time counts too. Tile programs are kept between runs."""
    question = _question(graph, op, request, rules, inside)
    known = store.recall(_Kept, question)
    if known is not None and known.misfit is not None:
        return replace(known.misfit, culprit=op.name)
    if known is not None:
        return _planned(graph, op, known.programs, rules, bodies, inside)
    found = _search(graph, op, request, rules, bodies, inside)
    if isinstance(found, Infeasible):
        store.keep(question, _Kept(misfit=found))
    else:
        store.keep(question, _Kept(tuple(Program(plan.loops, plan.buffers) for plan in found)))
    return found


def _question(graph: Graph, op: Op, request: Request, rules: ArrayRules, inside: Inside) -> str:
    """Everything that the plans of an operator depend on."""
    given = (
        *without_names(graph, op, inside),
        rules.machine,
        (request.objective, request.effort, request.seed),
        (inside.memory, inside.reserved_bytes),
    )
    return f"plan {json.dumps(encode(given), sort_keys=True)} {code_of(rules)}"


def _search(
    graph: Graph, op: Op, request: Request, rules: ArrayRules, bodies: Bodies, inside: Inside
) -> tuple[StagePlan, ...] | Infeasible:
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
    timed = request.objective in TIMED
    effort = "default" if timed and request.effort == "fast" else request.effort
    spatial = rules.copies(graph, op, room, bodies.place)
    search = partial(tilings, graph, op, effort=effort, homes=inside.home)
    found = search(inside.less(rules.hierarchy(op, room)), spatial=spatial)
    if isinstance(found, Infeasible):
        return found
    tried = 0
    while (wider := rules.wider(graph, op, room, found, tried, bodies.place)) is not None:
        more = search(inside.less(wider))
        found, tried = found if isinstance(more, Infeasible) else (*found, *more), tried + 1
    programs = [rules.program(graph, op, found)]
    programs += [rules.program(graph, op, (tiling,)) for tiling in found] if timed else []
    return _planned(graph, op, [Program(*program) for program in dict.fromkeys(programs)], rules, bodies, inside)


def _planned(
    graph: Graph, op: Op, programs: Sequence[Program], rules: ArrayRules, bodies: Bodies, inside: Inside
) -> tuple[StagePlan, ...]:
    """The plans of those programs whose bodies have a place."""
    plans = (_plan(graph, op, program, rules, bodies) for program in programs)
    return tuple(replace(plan, inside=inside) for plan in plans if plan is not None)


def _plan(graph: Graph, op: Op, program: Program, rules: ArrayRules, bodies: Bodies) -> StagePlan | None:
    """The plan of a program; None if a body has no place."""
    placed = bodies.of(graph, op, body_copies(program.loops, rules.body_axes), rules.part(program.loops))
    return None if placed is None else StagePlan(op, program.loops, program.buffers, *placed)


def stage_of(
    graph: Graph, name: str, plan: StagePlan, rules: ArrayRules, bodies: Bodies, after: tuple[str, ...]
) -> Stage:
    """The stage `name` of a plan, its bodies numbered in `bodies`."""
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


def weight(graph: Graph, rules: ArrayRules, plan: StagePlan) -> Weight:
    """What a plan costs as the only stage of a mapping."""
    alone = Bodies(rules)
    stage = stage_of(graph, "s", plan, rules, alone, ())
    homes = tuple((name, plan.inside.memory) for name in sorted(plan.inside.tensors))
    total = cost(FabricMapping("", rules.machine, graph, rules.axes, (stage,), tuple(alone.used), homes=homes))
    return Weight(total.energy_pj, total.cycles)
