"""Kernel level: a loop body on the row array with the fewest rows, then the fewest register hops.

The search holds one legal plan and shortens it. A list scheduler gives the first plan; then three moves take turns
on a budget of deterministic solver effort: the whole row model one row shorter (which may also refute that and so
prove the present rows optimal), squeezed windows, and polished windows. Slices double as long as nothing is found.
What effort is left after the rows are settled lowers hops. Every accepted plan has been realised with columns and
registers; a plan that cannot be becomes a no-good of the row that failed.

A bound on rows is what :mod:`.bounds` derives without search, raised by each refuted whole model. No refutation uses a
no-good or a fixed node, so it holds for every legal placement (with the memory share, if that is enforced).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from mapper.dfg import Dfg
from mapper.placement import KernelMapping
from mapper.request import Incumbent, Watcher, unwatched
from mapper.solver import Limits, Outcome

from .bounds import Bounds
from .listing import first_plans
from .order import Spans
from .realise import Conflict, Realised, Realiser
from .registers import count_hops
from .rows import Objective, RowModel, RowPlan
from .rules import REGISTERS, ROWS, Body
from .symmetry import interchangeable
from .windows import Answer, Window, ask, polish, roomy, squeeze

Effort = Literal["fast", "default", "max"]
Proof = Literal["bound", "exhausted-twice", "exhausted", "none"]
EFFORT_UNITS = {"fast": 3.0, "default": 22.0, "max": 120.0}
CALL_COST = 0.05  # effort charged for building a model, so that many tiny searches end too
WORKERS = 8  # subsolvers that take turns on one core
RESTART_NODES = 10_000  # list scheduling handles about this many nodes in all restarts
LEAST_RESTARTS, MOST_RESTARTS = 16, 80
HOP_EFFORT = 0.12  # share of the budget kept for hops
FIRST_SLICE = 0.6  # effort of the first whole-model attempt
FIRST_WINDOW, SQUEEZE_EFFORT = 10, 0.6  # rows, effort
POLISHED_WINDOW, POLISH_EFFORT = 8, 0.1
PATIENCE = 6  # effort that windows may spend on one row, in whole-model slices
GATHER: tuple[Objective, ...] = ("early", "late")
CROWDED = 0.85  # share of exe slots in use from which free slots are what a squeeze lacks
HOP_WINDOW, HOP_SLICE = 10, 0.2


@dataclass(frozen=True, slots=True)
class KernelRequest:
    """What is asked: at most `rows_limit` rows; `pins` keeps or drops the positions asked for in the body;
    `enforce_share` demands that every region of known need gets its share of local memory; `wall_seconds` is a
    safety net that is not deterministic; `watch` is shown plans with fewer rows and higher bounds."""

    rows_limit: int = ROWS
    effort: Effort = "default"
    seed: int = 0
    pins: Literal["keep", "drop"] = "drop"
    enforce_share: bool = True
    wall_seconds: float | None = None
    watch: Watcher = unwatched


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


@dataclass
class _Search:
    """The state of one run."""

    body: Body
    bounds: Bounds
    realiser: Realiser
    request: KernelRequest
    best: Realised
    floor: int  # rows that are needed without any search
    bound: int  # the same, raised by refutations
    budget: float
    deadline: float | None
    copies: tuple[tuple[int, ...], ...]
    fixed_rows: Mapping[int, int]
    nogoods: list[frozenset[int]] = field(default_factory=list)
    calls: int = 0
    interrupted: bool = False
    wall_limited: bool = False

    @property
    def rows(self) -> int:
        return self.best.plan.rows

    def limits(self, effort: float, workers: int = WORKERS) -> Limits:
        self.calls += 1
        left = max(self.budget, 0.01)
        wall = None if self.deadline is None else self.deadline - time.monotonic()
        return Limits(min(effort, left), workers, self.request.seed + self.calls, wall)

    def charge(self, answer: Answer) -> None:
        """Takes the answer's effort off the budget; a stop from outside ends it."""
        self.interrupted |= answer.interrupted
        self.wall_limited |= answer.wall_limited or (self.deadline is not None and time.monotonic() > self.deadline)
        stopped = self.interrupted or self.wall_limited
        self.budget = 0.0 if stopped else self.budget - answer.effort - CALL_COST

    def accept(self, answer: Answer, *, hops: bool = True) -> bool:
        """Realise a found plan and keep it unless it is worse in rows, then `hops`; a row that fails is a no-good."""
        if answer.plan is None:
            return False
        realised = self.realiser.realise(answer.plan)
        if isinstance(realised, Conflict):
            if realised.nodes:
                self.nogoods.append(realised.nodes)
            return False
        if realised.plan.rows > self.rows or (hops and self._hops_rise(realised.plan)):
            return False
        fewer = realised.plan.rows < self.rows
        self.best = realised
        if fewer:
            self.show()
        return True

    def show(self) -> None:
        """The present rows and what is proven of them, for whoever watches."""
        self.request.watch(Incumbent("rows", self.rows, self.bound))

    def _hops_rise(self, plan: RowPlan) -> bool:
        return _cost(self.body, plan) > _cost(self.body, self.best.plan)


def map_kernel(dfg: Dfg, request: KernelRequest | None = None) -> KernelResult | DoesNotFit:
    """Place and route `dfg`; deterministic for equal body, request and version."""
    request = request or KernelRequest()
    deadline = None if request.wall_seconds is None else time.monotonic() + request.wall_seconds
    body = Body(dfg, request.enforce_share)
    bounds = Bounds(body)
    obstacle = _obstacle(body, bounds, request)
    if obstacle is not None:
        return obstacle
    search = _started(body, bounds, request, deadline)
    if search is None:
        return DoesNotFit("registers of a row", REGISTERS + 1, REGISTERS, "split the loop body or raise --effort")
    _shorten(search)
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
    if bounds.rows > request.rows_limit:
        return DoesNotFit("rows", bounds.rows, request.rows_limit, "split the loop body")
    return None


def _is_self_update(body: Body, src: int, dst: int) -> bool:
    return src == dst and body.dfg[src].self_update


# ---- the first plan


def _started(body: Body, bounds: Bounds, request: KernelRequest, deadline: float | None) -> _Search | None:
    """A search with a legal plan in hand: the best list schedule, else one that a whole model finds."""
    pins = {i: pin for i in body.ids if (pin := body.dfg[i].pin) is not None}
    kept = pins if request.pins == "keep" else {}
    fixed = {i: row for i, (row, _) in kept.items()}
    realiser = Realiser(body, {i: column for i, (_, column) in kept.items()})
    budget = EFFORT_UNITS[request.effort]
    plans = () if kept else _list_schedules(body, bounds, request)
    first = next((r for plan in plans if isinstance(r := realiser.realise(plan), Realised)), None)
    bound = max([bounds.rows, *(row + 1 + bounds.tails[i] for i, row in fixed.items())])
    if first is None:
        rising = range(bound, request.rows_limit + 1) if kept else (request.rows_limit,)
        limits = Limits(effort=budget / 4, workers=WORKERS, seed=request.seed)
        first = _whole_first(body, bounds, realiser, rising, fixed or {i: row for i, (row, _) in pins.items()}, limits)
    if first is None:
        return None
    copies = () if kept else interchangeable(body)
    return _Search(body, bounds, realiser, request, first, bound, bound, budget, deadline, copies, fixed)


def _list_schedules(body: Body, bounds: Bounds, request: KernelRequest) -> list[RowPlan]:
    """List schedules, best first; fewer restarts for larger bodies."""
    restarts = max(LEAST_RESTARTS, min(MOST_RESTARTS, RESTART_NODES // len(body.ids)))
    return sorted(first_plans(body, bounds, restarts=restarts, seed=request.seed), key=lambda p: _cost(body, p))


def _whole_first(
    body: Body, bounds: Bounds, realiser: Realiser, rows: Iterable[int], fixed: Mapping[int, int], limits: Limits
) -> Realised | None:
    """The first of `rows` for which the whole model finds a plan, with the `fixed` rows kept."""
    for count in rows:
        answer = ask(RowModel(body, count, _spans(body, bounds, count, fixed)), limits)
        if answer.plan is not None:
            realised = realiser.realise(answer.plan)
            if isinstance(realised, Realised):
                return realised
    return None


def _spans(body: Body, bounds: Bounds, rows: int, fixed: Mapping[int, int]) -> Spans:
    return {i: (fixed[i], fixed[i]) if i in fixed else bounds.span(i, rows) for i in body.ids}


def _cost(body: Body, plan: RowPlan) -> tuple[int, int]:
    return plan.rows, count_hops(body, plan)


# ---- rows


def _shorten(search: _Search) -> None:
    """Whole-model slices and windows in turn, until the rows meet the bound or the budget ends."""
    keep = search.budget * HOP_EFFORT
    effort = FIRST_SLICE
    while search.rows > search.bound and search.budget > keep:
        before = search.rows
        _try_whole(search, effort)
        _raise_bound(search, effort / 2)
        for gather in GATHER:
            _squeeze_windows(search, PATIENCE * effort / len(GATHER), keep, gather)
        effort = effort if search.rows < before else 2 * effort


def _try_whole(search: _Search, effort: float) -> None:
    """One row shorter at once; a refutation closes the gap."""
    while search.rows > search.bound and search.budget > 0:
        answer = _whole(search, search.rows - 1, effort)
        if answer.status == "refuted":
            search.bound = search.rows
            search.show()
        if not search.accept(answer):
            return


def _raise_bound(search: _Search, effort: float) -> None:
    """Refutes small numbers of rows: the bound rises, and a plan that turns up instead is the best there can be."""
    while search.rows - 1 > search.bound and search.budget > 0:
        answer = _whole(search, search.bound, effort)
        if answer.status != "refuted":
            search.accept(answer)
            return
        search.bound += 1
        search.show()


def _whole(search: _Search, rows: int, effort: float) -> Answer:
    spans = _spans(search.body, search.bounds, rows, search.fixed_rows)
    model = RowModel(search.body, rows, spans, interchangeable=search.copies)
    answer = ask(model, search.limits(effort))
    search.charge(answer)
    return answer


def _squeeze_windows(search: _Search, effort: float, keep: float, gather: Objective) -> None:
    """Windows all over the plan, grown after a quick refutation and cut after a time-out; polished in between."""
    patience = effort  # renewed by every row that is gained
    height = FIRST_WINDOW
    draw = random.Random(search.request.seed + search.calls)
    crowded = search.bounds.slot_rows > CROWDED * search.rows
    bold = gather == "late"  # the second pass tries taller windows and stirs more
    if crowded:
        _sweep(search, gather, keep)
    while patience > 0 and search.budget > keep and search.rows > search.bound:
        before = search.budget
        height = min(max(height, 6), search.rows - 1)
        tall = min(draw.randint(height, 2 * height), search.rows - 1) if bold else height
        window = roomy(search.body, search.best.plan, draw.randint(0, search.rows - tall), tall)
        if window is not None:
            answer = _move(search, squeeze, window, search.limits(SQUEEZE_EFFORT, draw.choice((1, WORKERS))))
            if search.accept(answer):
                patience = effort
                continue
            quick = answer.effort < 0.3 * SQUEEZE_EFFORT
            height += 1 if answer.status == "refuted" and quick else -1 if answer.status == "unknown" else 0
        objective: Objective = draw.choice(("hops", gather)) if crowded or bold else "hops"
        _improve(search, objective, draw.randint(0, max(0, search.rows - POLISHED_WINDOW)))
        patience -= before - search.budget


def _sweep(search: _Search, gather: Objective, keep: float) -> None:
    """Passes free exe slots from window to window towards one end of the plan."""
    starts = range(0, max(1, search.rows - POLISHED_WINDOW // 2), POLISHED_WINDOW // 2)
    for start in starts if gather == "early" else reversed(starts):
        if search.budget > keep:
            _improve(search, gather, start)


def _improve(search: _Search, objective: Objective, start: int) -> None:
    """Polishes one window; gathering slots may cost hops, which are repaired at the end."""
    move = partial(polish, objective=objective)
    answer = _move(search, move, Window(start, POLISHED_WINDOW), search.limits(POLISH_EFFORT, 1))
    search.accept(answer, hops=objective == "hops")


def _move(search: _Search, move: Callable[..., Answer], window: Window, limits: Limits) -> Answer:
    nogoods, fixed = tuple(search.nogoods), frozenset(search.fixed_rows)
    answer: Answer = move(search.body, search.bounds, search.best.plan, window, limits, nogoods, fixed)
    search.charge(answer)
    return answer


# ---- hops


def _lower_hops(search: _Search) -> None:
    """Polishes overlapping windows from top to bottom until a whole pass gains nothing or the budget ends."""
    gained = True
    while gained and search.budget > 0:
        before = _cost(search.body, search.best.plan)
        for start in range(0, max(1, search.rows - HOP_WINDOW // 2), HOP_WINDOW // 2):
            if search.budget > 0:
                search.accept(_move(search, polish, Window(start, HOP_WINDOW), search.limits(HOP_SLICE, 1)))
        gained = _cost(search.body, search.best.plan) < before


# ---- the result


def _result(search: _Search) -> KernelResult:
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


def _refuted_again(search: _Search) -> bool:
    """The refutation once more, with another seed and without presolve."""
    if search.request.effort != "max" or search.interrupted or search.wall_limited:
        return False
    rows = search.rows - 1
    spans = _spans(search.body, search.bounds, rows, search.fixed_rows)
    wall = None if search.deadline is None else search.deadline - time.monotonic()
    limits = Limits(EFFORT_UNITS["max"], WORKERS, search.request.seed + 7919, wall, presolve=False)
    model = RowModel(search.body, rows, spans, interchangeable=search.copies)
    return ask(model, limits).status == "refuted"


def _share_holds(search: _Search) -> bool:
    """With the share enforced by construction; otherwise every row is arranged again under it."""
    if search.request.enforce_share:
        return True
    strict = Realiser(replace(search.body, enforce_share=True))
    return isinstance(strict.realise(search.best.plan), Realised)


def _why(search: _Search) -> str:
    if search.rows <= search.bounds.rows:
        return f"{search.rows} rows are needed by {search.bounds.reason}"
    if search.rows <= search.floor:
        return f"{search.rows} rows are needed by the positions that are kept"
    if search.rows <= search.bound:
        return f"{search.rows - 1} rows were refuted by exhausting the row model"
    stopped = search.interrupted or search.wall_limited
    end = "was stopped from outside" if stopped else "ended at its effort limit"
    return f"{search.bound}..{search.rows - 1} rows are open: the search {end}"
