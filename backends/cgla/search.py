"""The state of a row search: the plan in hand, the budget, and the three questions that may be asked of the solver.

Every accepted plan has been realised with columns and registers; one that cannot be becomes a no-good of the row that
failed. A refutation of a whole model uses neither no-goods nor fixed nodes (beyond pins that the request keeps), so it
raises the bound for every legal placement.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from mapper.request import Incumbent, Watcher, unwatched
from mapper.signals import asked
from mapper.solver import Limits

from .bounds import Bounds
from .dominance import NO_ORDER, Dominance, dominance
from .levels import Extent, search_levels
from .order import Spans
from .parts import Parts
from .realise import Conflict, Realised, Realiser
from .registers import count_hops
from .rows import RowModel, RowPlan
from .rules import ROWS, Body
from .windows import Answer, Window, ask

Effort = Literal["fast", "default", "max"]
Engine = Literal["portfolio", "clauses", "linear", "more linear"]
EFFORT_UNITS = {"fast": 3.0, "default": 42.0, "max": 160.0}
STEPS_PER_UNIT = 1_000_000  # of a search by levels
NEAR_ROWS, NEAR_EFFORT = 2, 0.5  # how far a plan of the wider problem is mended, and effort for each try
CALL_COST = 0.05  # effort charged for building a model, so that many tiny searches end too
WORKERS = 8  # subsolvers of the portfolio, which take turns on one core
# One subsolver that learns clauses alone settles whole models whose like parts are in order several times faster than
# the others; one that leans on the linear relaxation refutes large models that have none.
ENGINES: Mapping[Engine, tuple[int, tuple[tuple[str, Any], ...]]] = {
    "portfolio": (WORKERS, ()),
    "clauses": (1, (("linearization_level", 0),)),
    "linear": (1, ()),
    "more linear": (1, (("linearization_level", 2),)),
}


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


@dataclass
class Search:
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
    fixed_rows: Mapping[int, int]
    nogoods: list[frozenset[int]] = field(default_factory=list)
    by_levels: bool = False  # the bound was raised last by a search by levels
    calls: int = 0
    interrupted: bool = False
    wall_limited: bool = False

    @property
    def rows(self) -> int:
        return self.best.plan.rows

    @cached_property
    def dominance(self) -> Dominance:
        """The order of like parts; none is asked for where positions are kept."""
        return NO_ORDER if self.fixed_rows else dominance(self.body, self.bounds)

    @property
    def relaxes(self) -> bool:
        """A refutation asks a wider model than the search for a plan does."""
        return self.ordered != self.dominance

    @cached_property
    def ordered(self) -> Dominance:
        """The same without what a refutation may relax."""
        return Dominance(self.dominance.order)

    def limits(self, effort: float, engine: Engine = "portfolio") -> Limits:
        self.calls += 1
        workers, parameters = ENGINES[engine]
        wall = None if self.deadline is None else self.deadline - time.monotonic()
        left = max(self.budget, 0.01)
        return Limits(min(effort, left), workers, self.request.seed + self.calls, wall, parameters=parameters)

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
        return plan_cost(self.body, plan) > plan_cost(self.body, self.best.plan)

    def move(self, move: Callable[..., Answer], window: Window, limits: Limits) -> Answer:
        """A squeezed or polished window of the plan in hand."""
        nogoods, fixed = tuple(self.nogoods), frozenset(self.fixed_rows)
        order = self.ordered.kept_by(self.best.plan.row_of)
        answer: Answer = move(self.body, self.bounds, self.best.plan, window, limits, nogoods, fixed, order)
        self.charge(answer)
        return answer

    def whole(self, rows: int, effort: float, engine: Engine) -> Answer:
        """The whole model at `rows` rows; a refutation of the least open count raises the bound."""
        answer = self._asked(rows, effort, engine, self.dominance)
        if answer.status == "refuted":
            self._raise(rows + 1)
        return answer

    def _raise(self, bound: int, *, by_levels: bool = False) -> None:
        if bound > self.bound:
            self.bound, self.by_levels = bound, by_levels
        self.show()

    def attempt(self, rows: int, effort: float, engine: Engine) -> Literal["found", "refuted", "unknown"]:
        """A legal plan of `rows` rows with like parts in order; one that cannot be realised is a no-good at once. A
        refutation counts if nothing was forbidden and nothing would have to be relaxed."""
        until = self.budget - effort
        while self.budget > max(until, 0.0):
            known = tuple(self.nogoods)
            answer = self._asked(rows, self.budget - until, engine, self.ordered, known)
            if self.accept(answer):
                return "found"
            if answer.status == "refuted" and not known and not self.relaxes:
                self._raise(rows + 1)
            if len(self.nogoods) == len(known):
                return "refuted" if answer.status == "refuted" else "unknown"
        return "unknown"

    def levels(self, rows: int, effort: float, width: int, *, beam: bool) -> Literal["found", "refuted", "unknown"]:
        """All sets of placed nodes, row by row, or the best `width` of each level. A plan is mended and realised; a
        refutation by a beam that was never cut counts unless something would have to be relaxed."""
        order = self.ordered if beam else self.dominance
        parts = Parts(self.body, self.bounds, order)
        steps = int(min(effort, self.budget) * STEPS_PER_UNIT)
        found = search_levels(parts, rows, Extent(width, steps, beam, self._is_stopped))
        self.charge(Answer("unknown", None, found.steps / STEPS_PER_UNIT, asked.is_set()))
        if found.row_of is not None:
            return "found" if self._mended(rows, found.row_of) else "unknown"
        if found.status == "refuted" and order == self.dominance:
            self._raise(rows + 1, by_levels=True)
        return found.status

    def _is_stopped(self) -> bool:
        return asked.is_set() or (self.deadline is not None and time.monotonic() > self.deadline)

    def _mended(self, rows: int, row_of: Mapping[int, int]) -> bool:
        """The row model's answer as it is, or with each node some rows higher or lower, realised."""
        for reach in range(NEAR_ROWS + 1):
            whole = whole_spans(self.body, self.bounds, rows, self.fixed_rows)
            spans = {i: (max(low, row_of[i] - reach), min(high, row_of[i] + reach)) for i, (low, high) in whole.items()}
            model = RowModel(self.body, rows, spans, nogoods=tuple(self.nogoods))
            answer = ask(model, self.limits(NEAR_EFFORT, "clauses"))
            self.charge(answer)
            if self.accept(answer, hops=False):
                return True
        return False

    def _asked(
        self, rows: int, effort: float, engine: Engine, order: Dominance, nogoods: tuple[frozenset[int], ...] = ()
    ) -> Answer:
        spans = whole_spans(self.body, self.bounds, rows, self.fixed_rows)
        answer = ask(RowModel(self.body, rows, spans, nogoods=nogoods, dominance=order), self.limits(effort, engine))
        self.charge(answer)
        return answer


def plan_cost(body: Body, plan: RowPlan) -> tuple[int, int]:
    """(rows, hops)."""
    return plan.rows, count_hops(body, plan)


def whole_spans(body: Body, bounds: Bounds, rows: int, fixed: Mapping[int, int]) -> Spans:
    return {i: (fixed[i], fixed[i]) if i in fixed else bounds.span(i, rows) for i in body.ids}
