"""The kernel level of the CGRA target: a loop body onto a grid of PEs at the smallest initiation interval.

`map_kernel` places, times, routes and allocates registers exactly (see `formulation`), II first, then MOVEs. It returns
a :class:`KernelResult`, whose outcome says how far the II is proven, or :class:`DoesNotFit`, which names what is short.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from mapper.dfg import Dfg
from mapper.machine import Fabric
from mapper.placement import KernelMapping
from mapper.request import Watcher, unwatched
from mapper.solver import Limits, Outcome

from .attempt import registers_of
from .bounds import Bound, binding, lifetime_bound, static_bounds
from .pair import Pair, searched
from .problem import direct_problem
from .search import Budget, Search
from .solution import mapping_of
from .subgrid import stood_up, turned
from .trials import Variant

__all__ = ["DoesNotFit", "KernelRequest", "KernelResult", "map_kernel"]

Effort = Literal["quick", "fast", "default", "max"]

BUDGETS: dict[str, Budget] = {
    "quick": Budget(0.4, 0.1, 0.15, 1.5, 0.15, True),  # bodies of networks: many, most of them at their bound at once
    "held": Budget(0.5, 0.5, 1.0, 2.0, 1.0),  # on the next smaller grids
    "fast": Budget(0.5, 0.5, 2.0, 4.0, 2.0),
    "default": Budget(2.5, 2.5, 20.0, 20.0, 10.0),
    "max": Budget(0.8, 2.0, 300.0, 300.0, 300.0),
}


@dataclass(frozen=True, slots=True)
class KernelRequest:
    """How to map. `variant` "direct" forbids MOVEs; `seed` and `effort` fix the result byte for byte; `watch` is shown
    every better II."""

    variant: Literal["direct", "routed"] = "routed"
    effort: Effort = "default"
    seed: int = 0
    wall_seconds: float | None = None
    watch: Watcher = unwatched


@dataclass(frozen=True, slots=True)
class KernelResult:
    """A legal mapping, how well its II is proven, the proven lower bounds and why the II is not lower."""

    mapping: KernelMapping
    outcome: Outcome
    ii_bound: int
    moves_bound: int
    why_not_lower: str


@dataclass(frozen=True, slots=True)
class DoesNotFit:
    """The body has no mapping, or none was found: which resource, its demand, its limit, and what would help."""

    resource: str
    demand: int
    limit: int
    hint: str
    proven: bool = True

    def __str__(self) -> str:
        return f"{self.resource}: needs {self.demand}, has {self.limit}; {self.hint}"


def map_kernel(dfg: Dfg, fabric: Fabric, request: KernelRequest = KernelRequest()) -> KernelResult | DoesNotFit:
    """The best mapping of `dfg` on `fabric` that the effort of `request` finds, with its proof."""
    misfit = _impossible(dfg, fabric, request)
    if misfit is not None:
        return misfit
    lying = turned(fabric)
    if lying is not None:
        found = map_kernel(dfg, lying, request)
        return replace(found, mapping=stood_up(found.mapping, lying)) if isinstance(found, KernelResult) else found
    bounds = _bounds(dfg, fabric, request)
    pair = searched(dfg, fabric, _opener(dfg, request), request.watch)
    search = pair.search
    if search.best is None:
        hint = "give more effort, a larger fabric or --set variant=routed"
        return DoesNotFit("search effort", len(dfg.nodes), int(search.budget.descents), hint, proven=False)
    if request.effort in ("default", "max"):
        search.confirm()
    return _result(dfg, search, bounds, pair.moves_bound, request.seed)


def _opener(dfg: Dfg, request: KernelRequest) -> Callable[[Fabric, Watcher, bool], Pair]:
    """Makes the searches of one fabric, all of them with the same deadline."""
    wall = request.wall_seconds
    deadline = None if wall is None else time.monotonic() + wall
    limits = Limits(seed=request.seed)

    def open_(fabric: Fabric, watch: Watcher, briefly: bool) -> Pair:
        budget = BUDGETS["held" if briefly else request.effort]
        variants: tuple[Variant, ...] = ("direct", "routed") if request.variant == "routed" else ("direct",)
        sides = [Search(dfg, fabric, v, budget, limits, watch, deadline) for v in variants]
        return Pair(sides[0], sides[-1])

    return open_


def _impossible(dfg: Dfg, fabric: Fabric, request: KernelRequest) -> DoesNotFit | None:
    for node in dfg.nodes:
        if not fabric.capable(node.op):
            return DoesNotFit(f"PEs that run {node.op!r} (node {node.id})", 1, 0, "give some PE class this operation")
    if request.variant == "direct" and lifetime_bound(direct_problem(dfg, fabric)) is None:
        return DoesNotFit("spans that close without MOVEs", 1, 0, "use --set variant=routed")
    return None


def _bounds(dfg: Dfg, fabric: Fabric, request: KernelRequest) -> tuple[Bound, ...]:
    bounds = static_bounds(dfg, fabric)
    if request.variant == "direct":
        lifetime = lifetime_bound(direct_problem(dfg, fabric))
        bounds += (lifetime,) if lifetime is not None else ()
    return bounds


def _result(dfg: Dfg, search: Search, bounds: tuple[Bound, ...], moves_bound: int, seed: int) -> KernelResult:
    assert search.best is not None
    find = search.best
    ii, bound = find.ii, binding(bounds)
    reached = bound.ii
    while reached < ii and reached in search.refuted:
        reached += 1
    proof = _proof(search, bound.ii, ii, reached)
    outcome = Outcome(
        "optimal" if proof in ("bound", "exhausted-twice") else "feasible",
        ii,
        reached,
        proof,
        seed,
        search.interrupted,
        search.wall_limited,
    )
    registers = registers_of(find.problem, find.schedule) or {}
    mapping = mapping_of(dfg, find.problem, find.schedule, registers)
    return KernelResult(mapping, outcome, reached, moves_bound, _why(search, bound, ii, reached))


def _proof(
    search: Search, bound: int, ii: int, reached: int
) -> Literal["bound", "exhausted-twice", "exhausted", "none"]:
    if reached < ii:
        return "none"
    reasons = {search.refuted[lower] for lower in range(bound, ii)}
    return "exhausted" if "exhausted" in reasons else "exhausted-twice" if "exhausted-twice" in reasons else "bound"


def _why(search: Search, bound: Bound, ii: int, reached: int) -> str:
    """The binding reason in one line."""
    if ii == bound.ii:
        return f"{bound.reason}: {bound.detail}"
    if reached < ii:
        return f"II {reached} was neither found nor refuted within the effort; lower bound from {bound.reason}"
    if search.refuted[ii - 1] == "moves":
        return f"moves: at II {ii - 1} the nodes and the fewest MOVEs need more slots than the fabric has"
    if search.refuted[ii - 1] == "lifetime":
        return f"lifetime: at II {ii - 1} the spans do not close without MOVEs"
    return f"search: II {ii - 1} was exhausted for schedules of every length"
