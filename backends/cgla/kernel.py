"""Kernel level: a loop body on the row array with the fewest rows, then the fewest register hops.

The search holds one legal plan and shortens it. A list scheduler gives the first plan; :mod:`.shorten` takes rows away
with whole models and windows, on a budget of deterministic solver effort, and refutes one row less; what effort is left
lowers hops.

A bound on rows is what :mod:`.bounds` derives without search, raised by each refuted whole model. No refutation uses a
no-good or a fixed node, so it holds for every legal placement (with the memory share, if that is enforced).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mapper.dfg import Dfg
from mapper.errors import CheckFailed
from mapper.placement import KernelMapping
from mapper.solver import Limits, Outcome

from .bounds import Bounds
from .listing import MANY_ROWS, first_plans
from .realise import Realised, Realiser
from .registers import count_hops, excess
from .repair import Allowance, repaired
from .rows import RowModel, RowPlan
from .rules import QUARTER, REGISTERS, Body
from .search import EFFORT_UNITS, WORKERS, KernelRequest, Search, plan_cost, whole_spans
from .shorten import ALL_SETS, shorten
from .windows import Window, ask, polish

__all__ = ["EFFORT_UNITS", "DoesNotFit", "KernelRequest", "KernelResult", "map_kernel"]

Proof = Literal["bound", "exhausted-twice", "exhausted", "none"]
RESTART_NODES = 10_000  # list scheduling handles about this many nodes in all restarts
LEAST_RESTARTS, MOST_RESTARTS = 16, 80
REPAIR_SHARE, MENDED = 2.0, 2  # effort for repairs, in budgets (no plan, no answer); plans that are tried
HOP_WINDOW, HOP_SLICE = 10, 0.2


@dataclass(frozen=True, slots=True)
class KernelResult:
    """A mapped body. `lmm_share_ok` is None where some region's need is not known."""

    mapping: KernelMapping
    outcome: Outcome
    rows: int
    rows_bound: int
    hops: int
    lmm_share_ok: bool | None
    why_not_lower: str


@dataclass(frozen=True, slots=True)
class DoesNotFit:
    """The body has no placement under the request: which resource, how much is needed, what there is, what helps."""

    resource: str
    demand: int
    limit: int
    hint: str


def map_kernel(dfg: Dfg, request: KernelRequest | None = None) -> KernelResult | DoesNotFit:
    """Place and route `dfg`; deterministic for equal body, request and version. Where no placement was found that gives
    every region its share of local memory, one that does not is better than none: the result says which it is."""
    request = request or KernelRequest()
    found = _mapped(dfg, request)
    if isinstance(found, DoesNotFit) and request.enforce_share and _needs_more_than_a_quarter(dfg):
        return _mapped(dfg, replace(request, enforce_share=False))
    return found


def _needs_more_than_a_quarter(dfg: Dfg) -> bool:
    body = Body(dfg)
    return any(body.need(i) > QUARTER for i in body.memory_nodes)


def _mapped(dfg: Dfg, request: KernelRequest) -> KernelResult | DoesNotFit:
    deadline = None if request.wall_seconds is None else time.monotonic() + request.wall_seconds
    body = Body(dfg, request.enforce_share)
    bounds = Bounds(body)
    obstacle = _obstacle(body, bounds, request)
    if obstacle is not None:
        return obstacle
    search = _started(body, bounds, request, deadline)
    if search is None:
        return DoesNotFit("registers of a row", REGISTERS + 1, REGISTERS, "split the loop body or raise --effort")
    shorten(search)
    _lower_hops(search)
    if search.rows > request.rows_limit:
        return DoesNotFit("rows", search.rows, request.rows_limit, "split the loop body or raise --effort")
    return _result(search)


def _obstacle(body: Body, bounds: Bounds, request: KernelRequest) -> DoesNotFit | None:
    """What rules the body out before any search."""
    carried = next((e for e in body.dfg.edges if e.distance > 0 and not _is_self_update(body, e.src, e.dst)), None)
    if carried is not None:
        resource = f"iterations that edge {carried.src}->{carried.dst} may cross"
        return DoesNotFit(resource, carried.distance, 0, "rows are one-way: only a self-update carries a value")
    if bounds.knot is not None:
        source, user = bounds.knot
        resource = f"rows that hold both {source} and {user}, which reads its result"
        return DoesNotFit(resource, 1, 0, "a region that is stored to stays in one row: store to another region")
    if bounds.rows > request.rows_limit:
        return DoesNotFit("rows", bounds.rows, request.rows_limit, "split the loop body")
    return None


def _is_self_update(body: Body, src: int, dst: int) -> bool:
    return src == dst and body.dfg[src].self_update


# ---- the first plan


def _started(body: Body, bounds: Bounds, request: KernelRequest, deadline: float | None) -> Search | None:
    """A search with a legal plan in hand."""
    pins = {i: pin for i in body.ids if (pin := body.dfg[i].pin) is not None}
    kept = pins if request.pins == "keep" else {}
    fixed = {i: row for i, (row, _) in kept.items()}
    realiser = Realiser(body, {i: column for i, (_, column) in kept.items()})
    bound = max([bounds.rows, *(row + 1 + bounds.tails[i] for i, row in fixed.items())])
    wishes = {i: row for i, (row, _) in pins.items()}
    if kept:
        first = _whole_first(body, bounds, realiser, range(bound, request.rows_limit + 1), fixed, request)
    else:
        first = _listed_first(body, bounds, realiser, request)
        for positions in (wishes, {}):
            first = first or _whole_first(body, bounds, realiser, (request.rows_limit,), positions, request)
    if first is None:
        return None
    return Search(body, bounds, realiser, request, first, bound, bound, EFFORT_UNITS[request.effort], deadline, fixed)


def _listed_first(body: Body, bounds: Bounds, realiser: Realiser, request: KernelRequest) -> Realised | None:
    """The best list schedule that can be realised; without one, the best of those that hold too much, repaired."""
    restarts = max(LEAST_RESTARTS, min(MOST_RESTARTS, RESTART_NODES // len(body.ids)))
    plans = list(_first_plans(body, bounds, restarts, request))
    for plan in sorted(plans, key=lambda p: plan_cost(body, p)):
        realised = realiser.realise(plan)
        if isinstance(realised, Realised):
            return realised
    lavish = first_plans(body, bounds, restarts=LEAST_RESTARTS, seed=request.seed, registers=len(body.ids) + REGISTERS)
    budget = EFFORT_UNITS[request.effort] * REPAIR_SHARE
    for plan in sorted(lavish, key=lambda p: (sum(excess(body, p).values()), p.rows))[:MENDED]:
        mended = repaired(body, bounds, plan, MANY_ROWS, Allowance(budget / MENDED, request.seed))
        if mended is not None and isinstance(realised := realiser.realise(mended), Realised):
            return realised
    return None


def _first_plans(body: Body, bounds: Bounds, restarts: int, request: KernelRequest) -> Iterator[RowPlan]:
    """List schedules; at fast effort no more than a few once one meets the bound of rows."""
    met = False
    for number, plan in enumerate(first_plans(body, bounds, restarts=restarts, seed=request.seed), 1):
        yield plan
        met = met or plan.rows == bounds.rows
        if request.effort == "fast" and met and number >= LEAST_RESTARTS:
            return


def _whole_first(
    body: Body,
    bounds: Bounds,
    realiser: Realiser,
    rows: Iterable[int],
    fixed: Mapping[int, int],
    request: KernelRequest,
) -> Realised | None:
    """The first of `rows` for which the whole model finds a plan, with the `fixed` rows kept."""
    limits = Limits(EFFORT_UNITS[request.effort] / 4, WORKERS, request.seed)
    for count in rows:
        answer = ask(RowModel(body, count, whole_spans(body, bounds, count, fixed)), limits)
        if answer.plan is not None:
            realised = realiser.realise(answer.plan)
            if isinstance(realised, Realised):
                return realised
    return None


# ---- hops


def _lower_hops(search: Search) -> None:
    """Polishes overlapping windows from top to bottom until a whole pass gains nothing or the budget ends."""
    gained = True
    while gained and search.budget > 0:
        before = plan_cost(search.body, search.best.plan)
        for start in range(0, max(1, search.rows - HOP_WINDOW // 2), HOP_WINDOW // 2):
            if search.budget > 0:
                search.accept(search.move(polish, Window(start, HOP_WINDOW), search.limits(HOP_SLICE, "linear")))
        gained = plan_cost(search.body, search.best.plan) < before


# ---- the result


def _result(search: Search) -> KernelResult:
    by_bound = search.rows <= search.floor
    refuted = search.rows <= search.bound
    proof: Proof = "bound" if by_bound else "none" if not refuted else "exhausted"
    if proof == "exhausted" and _refuted_again(search):
        proof = "exhausted-twice"
    body, plan = search.body, search.best.plan
    outcome = Outcome(
        status="optimal" if proof in ("bound", "exhausted-twice") else "feasible",
        objective=search.rows,
        bound=search.bound,
        proof=proof,
        seed=search.request.seed,
        interrupted=search.interrupted,
        wall_limited=search.wall_limited,
    )
    share = None if not body.share_known else _share_holds(search)
    hops = count_hops(body, plan)
    return KernelResult(search.best.mapping(body), outcome, search.rows, search.bound, hops, share, _why(search))


def _refuted_again(search: Search) -> bool:
    """The refutation once more: of the row model by levels if they can, else with another seed and without presolve.
    Raises CheckFailed if that run finds rows."""
    if search.request.effort != "max" or search.interrupted or search.wall_limited:
        return False
    rows, search.budget = search.rows - 1, EFFORT_UNITS["max"]
    if not search.by_levels and not search.fixed_rows:
        status = search.levels(rows, search.budget, ALL_SETS, beam=False)
        if _agreed(status, rows, search.body.dfg.name):
            return True
    spans = whole_spans(search.body, search.bounds, rows, search.fixed_rows)
    wall = None if search.deadline is None else search.deadline - time.monotonic()
    limits = Limits(EFFORT_UNITS["max"], WORKERS, search.request.seed + 7919, wall, presolve=False)
    model = RowModel(search.body, rows, spans, dominance=search.dominance)
    return _agreed(ask(model, limits).status, rows, search.body.dfg.name)


def _agreed(status: str, rows: int, name: str) -> bool:
    """Does the second run refute `rows` too? One that finds them says that a run of the solver is wrong."""
    if status == "found":
        raise CheckFailed(f"two searches disagree: {rows} rows were refuted by one and found by the other", name,
                          "this is a fault of mapper or of its solver; please report it with the input")  # fmt: skip
    return status == "refuted"


def _share_holds(search: Search) -> bool:
    """With the share enforced by construction; otherwise every row is arranged again under it."""
    if search.request.enforce_share:
        return True
    strict = Realiser(replace(search.body, enforce_share=True))
    return isinstance(strict.realise(search.best.plan), Realised)


def _why(search: Search) -> str:
    if search.rows <= search.bounds.rows:
        return f"{search.rows} rows are needed by {search.bounds.reason}"
    if search.rows <= search.floor:
        return f"{search.rows} rows are needed by the positions that are kept"
    if search.rows <= search.bound:
        return f"{search.rows - 1} rows were refuted by exhausting the row model"
    stopped = search.interrupted or search.wall_limited
    end = "was stopped from outside" if stopped else "ended at its effort limit"
    return f"{search.bound}..{search.rows - 1} rows are open: the search {end}"
