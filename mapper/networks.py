"""A network on an array that runs loop bodies: one stage per operator, each a tile program around a placed body.

Each operator is planned by itself (:mod:`mapper.planning`); of several plans the objective takes one per operator over
the whole graph; tensors stay on chip where that serves it too. Stages follow each other in the graph's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mapper.arrays import ArrayRules, Bodies, Inside, StagePlan
from mapper.ir import Graph, Op, Opaque
from mapper.machine import Machine
from mapper.mapping import HostCall, Infeasible, Stage
from mapper.mapping import Mapping as FabricMapping
from mapper.objectives import chosen, value_of
from mapper.planning import Planner, stage_of, weight
from mapper.request import Request
from mapper.residency import candidates, staying

__all__ = ["map_network"]


def map_network(
    graph: Graph, machine: Machine, request: Request, target: str, rules: ArrayRules
) -> FabricMapping | Infeasible:
    """A stage for every operator with a nest, a host call for every opaque one. Of the plans that an operator may have,
    the one that serves the request's objective over the whole graph (:mod:`mapper.objectives`); tensors stay on chip
    (:mod:`mapper.residency`) if that serves it too."""
    bodies = Bodies(rules)
    planner = Planner(graph, request, rules, bodies)
    options: list[tuple[StagePlan, ...]] = []
    nests = list(graph.nests)
    for number, op in enumerate(nests):
        request.progress(f"operator {number + 1} of {len(nests)}: {op.name} ({op.op_type})")
        plans = planner.plans(op)
        if isinstance(plans, Infeasible):
            return plans
        options.append(plans)
    plain = rules.kept(graph, request, _chosen(graph, machine, request, rules, options))
    kept = _with_residents(graph, machine, request, rules, planner, plain) if rules.keeps else None
    found = [_assembled(graph, machine, target, rules, plans) for plans in (plain, kept) if plans is not None]
    return min(found, key=lambda mapping: value_of(mapping, request.objective))


def _assembled(
    graph: Graph, machine: Machine, target: str, rules: ArrayRules, plans: Sequence[StagePlan]
) -> FabricMapping:
    bodies = Bodies(rules)
    stages: list[Stage] = []
    maker: dict[str, str] = {}
    for number, plan in enumerate(plans):
        stages.append(stage_of(graph, f"s{number}", plan, rules, bodies, _after(graph, plan.op, maker)))
        maker[plan.op.write.tensor] = f"s{number}"
    host = tuple(HostCall(op.name, op.reason) for op in graph.ops if isinstance(op, Opaque))
    homes = tuple(sorted({(name, plan.inside.memory) for plan in plans for name in plan.inside.tensors}))
    return FabricMapping(target, machine, graph, rules.axes, tuple(stages), tuple(bodies.used), homes=homes, host=host)


def _after(graph: Graph, op: Op, maker: Mapping[str, str]) -> tuple[str, ...]:
    roots = (graph.root(name) for name in op.inputs)
    return tuple(dict.fromkeys(maker[root] for root in roots if root in maker))


def _with_residents(
    graph: Graph, machine: Machine, request: Request, rules: ArrayRules, planner: Planner, plain: Sequence[StagePlan]
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
        tight = planner.plan_inside(plain[at].op, Inside(memory.name, frozenset(), room))
        if isinstance(tight, Infeasible):
            return None
        prices[at] = weight(graph, rules, tight).pj - weight(graph, rules, plain[at]).pj
    saved = [item.bytes * (store_.write_pj_per_byte + item.readers * store_.read_pj_per_byte) for item in found]
    chosen_ = staying(found, room, saved, prices, request.seed)
    plans = list(plain)
    for at in sorted({at for item in found if item.tensor in chosen_ for at in item.stages}):
        again = planner.plan_inside(plain[at].op, Inside(memory.name, chosen_, room))
        if isinstance(again, Infeasible):
            return None
        plans[at] = again
    return plans if chosen_ else None


def _chosen(
    graph: Graph, machine: Machine, request: Request, rules: ArrayRules, options: Sequence[tuple[StagePlan, ...]]
) -> list[StagePlan]:
    if all(len(plans) == 1 for plans in options):
        return [plans[0] for plans in options]
    request.progress("weighing plans")
    weights = [[weight(graph, rules, plan) for plan in plans] for plans in options]
    return [plans[at] for plans, at in zip(options, chosen(weights, request.objective), strict=True)]
