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

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from mapper.dfg import Dfg
from mapper.placement import KernelMapping
from mapper.solver import Limits, Outcome

from .bounds import Bounds
from .listing import first_plans
from .realise import Conflict, Realised, Realiser
from .registers import count_hops
from .rows import RowModel, RowPlan
from .rules import REGISTERS, ROWS, Body
from .windows import Answer, Window, ask, polish, squeeze

Effort = Literal["fast", "default", "max"]
EFFORT_UNITS = {"fast": 3.0, "default": 16.0, "max": 120.0}
CALL_COST = 0.02  # effort charged for building a model, so that many tiny refutations end too
WORKERS = 8  # subsolvers that take turns on one core
RESTARTS = 60
HOP_EFFORT = 0.15  # share of the budget kept for hops


@dataclass(frozen=True, slots=True)
class KernelRequest:
    """What is asked: at most `rows_limit` rows; `pins` keeps or drops the positions asked for in the body;
    `enforce_share` demands that every region of known need gets its share of local memory."""

    rows_limit: int = ROWS
    effort: Effort = "default"
    seed: int = 0
    pins: Literal["keep", "drop"] = "drop"
    enforce_share: bool = True


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
    bound: int
    budget: float
    nogoods: list[frozenset[int]] = field(default_factory=list)
    proof: Literal["bound", "exhausted-twice", "exhausted", "none"] = "none"
    why: str = ""
    calls: int = 0

    @property
    def rows(self) -> int:
        return self.best.plan.rows

    def limits(self, effort: float) -> Limits:
        self.calls += 1
        return Limits(effort=min(effort, max(self.budget, 0.01)), workers=WORKERS, seed=self.request.seed + self.calls)

    def charge(self, answer: Answer) -> None:
        self.budget -= answer.effort + CALL_COST

    def accept(self, answer: Answer) -> bool:
        """Realise a found plan and keep it if it is better; learn a no-good from a row that fails."""
        self.charge(answer)
        if answer.plan is None:
            return False
        realised = self.realiser.realise(answer.plan)
        if isinstance(realised, Conflict):
            if realised.nodes:
                self.nogoods.append(realised.nodes)
            return False
        if _cost(self.body, realised.plan) > _cost(self.body, self.best.plan):
            return False
        self.best = realised
        return True


def map_kernel(dfg: Dfg, request: KernelRequest | None = None) -> KernelResult | DoesNotFit:
    """Place and route `dfg`; deterministic for equal body, request and version."""
    request = request or KernelRequest()
    body = Body(dfg, request.enforce_share)
    bounds = Bounds(body)
    obstacle = _obstacle(body, bounds, request)
    if obstacle is not None:
        return obstacle
    realiser = Realiser(body)
    first = _first(body, bounds, realiser, request)
    if first is None:
        return DoesNotFit("registers of a row", REGISTERS + 1, REGISTERS, "split the loop body")
    search = _Search(body, bounds, realiser, request, first, bounds.rows, EFFORT_UNITS[request.effort])
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


def _first(body: Body, bounds: Bounds, realiser: Realiser, request: KernelRequest) -> Realised | None:
    """The shortest realisable plan of the list scheduler."""
    plans = sorted(first_plans(body, bounds, restarts=RESTARTS, seed=request.seed), key=lambda plan: _cost(body, plan))
    realised = (realiser.realise(plan) for plan in plans)
    return next((r for r in realised if isinstance(r, Realised)), None)


def _cost(body: Body, plan: RowPlan) -> tuple[int, int]:
    return plan.rows, count_hops(body, plan)


# ---- rows


def _shorten(search: _Search) -> None:
    """Whole-model slices and windows in turn, until the rows meet the bound or the budget ends."""
    keep = search.budget * HOP_EFFORT
    slice_effort = 0.5
    while search.rows > search.bound and search.budget > keep:
        before = search.rows
        _try_whole(search, slice_effort)
        if search.rows == before and search.rows > search.bound:
            _squeeze_windows(search, slice_effort)
        slice_effort = slice_effort if search.rows < before else 2 * slice_effort


def _try_whole(search: _Search, effort: float) -> None:
    """One row shorter at once; a refutation closes the gap."""
    while search.rows > search.bound and search.budget > 0:
        target = search.rows - 1
        answer = _whole(search, target, search.limits(effort))
        if answer.status == "refuted":
            search.bound, search.proof = search.rows, "exhausted"
        if not search.accept(answer):
            return


def _whole(search: _Search, rows: int, limits: Limits) -> Answer:
    spans = {i: search.bounds.span(i, rows) for i in search.body.ids}
    return ask(RowModel(search.body, rows, spans), limits)


def _squeeze_windows(search: _Search, effort: float) -> None:
    """Windows down the plan, grown after a quick refutation and cut after a time-out; polished in between."""
    stop = search.budget - 3 * effort
    height = 10
    for start in _starts(search.request.seed + search.calls):
        height = min(max(height, 4), search.rows - 1)
        if search.budget < max(stop, 0.0) or search.rows <= search.bound:
            return
        answer = _move(search, squeeze, Window(int(start * (search.rows - height + 1)), height), 0.4)
        if search.accept(answer):
            continue
        height += 2 if answer.status == "refuted" and answer.effort < 0.1 else -1 if answer.status == "unknown" else 0
        search.accept(_move(search, polish, Window(int(start * max(1, search.rows - 8)), 8), 0.2))


def _move(search: _Search, move: Callable[..., Answer], window: Window, effort: float) -> Answer:
    nogoods = tuple(search.nogoods)
    return move(search.body, search.bounds, search.best.plan, window, search.limits(effort), nogoods)


def _starts(seed: int) -> Iterator[float]:
    """Window positions as fractions of the plan: a low-discrepancy sequence, so that no region waits long."""
    position = (seed * 0.7548776662466927) % 1.0
    while True:
        yield position
        position = (position + 0.6180339887498949) % 1.0


# ---- hops


def _lower_hops(search: _Search) -> None:
    """Polishes windows from top to bottom until a whole pass gains nothing or the budget ends."""
    height = 10
    gained = True
    while gained and search.budget > 0:
        gained = False
        for start in range(0, max(1, search.rows - height + 4), height // 2):
            if search.budget <= 0:
                return
            before = _cost(search.body, search.best.plan)
            search.accept(_move(search, polish, Window(start, height), 0.4))
            gained |= _cost(search.body, search.best.plan) < before


# ---- the result


def _result(search: _Search) -> KernelResult:
    proof = "bound" if search.rows <= search.bounds.rows else search.proof
    body, plan = search.body, search.best.plan
    outcome = Outcome(
        status="optimal" if proof in ("bound", "exhausted-twice") else "feasible",
        objective=search.rows,
        bound=search.bound,
        proof=proof,
        seed=search.request.seed,
    )
    share = None if not body.share_known else _share_holds(search)
    hops = count_hops(body, plan)
    return KernelResult(search.best.mapping(body), outcome, search.rows, search.bound, hops, share, _why(search))


def _share_holds(search: _Search) -> bool:
    """With the share enforced by construction; otherwise every row is arranged again under it."""
    if search.request.enforce_share:
        return True
    strict = Realiser(replace(search.body, enforce_share=True))
    return isinstance(strict.realise(search.best.plan), Realised)


def _why(search: _Search) -> str:
    if search.rows <= search.bounds.rows:
        return f"{search.rows} rows are needed by {search.bounds.reason}"
    if search.rows == search.bound:
        return f"{search.rows - 1} rows were refuted by exhausting the row model"
    return f"{search.bound}..{search.rows - 1} rows are open: search ended by its effort limit"
