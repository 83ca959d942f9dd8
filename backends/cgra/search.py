"""The search over II: which trials, in which order, with how much effort.

Every II from the lower bound upwards gets a few trials, cheap ones first: direct with the shortest length, direct with
II cycles of slack, MOVEs on the values that need them, MOVEs on every value. The first II that is found ends a round;
the next round gives the undecided lower ones more effort, together with the trials that refute for good (windows of
every length; every MOVE that could fit). It ends when all lower II are decided or the effort is spent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from mapper.dfg import Dfg
from mapper.machine import Fabric
from mapper.solver import Limits

from .attempt import Attempt, Trial, attempt
from .bounds import Bound, conflict, fewest_moves, slots_left
from .formulation import Schedule
from .problem import Problem, direct_problem, routed_problem

__all__ = ["Budget", "Find", "Search"]

Variant = Literal["direct", "routed"]


@dataclass(frozen=True, slots=True)
class Budget:
    """Deterministic solver time: of one trial in each round, and in all."""

    rounds: tuple[float, ...]
    total: float
    twice: bool = False


@dataclass(frozen=True, slots=True)
class Find:
    """A schedule and the problem that it solves."""

    problem: Problem
    schedule: Schedule

    @property
    def moves(self) -> int:
        used = {s for s in self.schedule.source if s is not None and self.problem.operations[s].optional}
        return len(used)


@dataclass
class Search:
    """One search; `refuted` maps an II to why it is impossible, `best` is the incumbent."""

    dfg: Dfg
    fabric: Fabric
    variant: Variant
    budget: Budget
    limits: Limits
    best: Find | None = None
    refuted: dict[int, str] = field(default_factory=dict)
    spent: float = 0.0
    interrupted: bool = False
    wall_limited: bool = False
    direct: Problem = field(init=False)
    _failed: set[tuple[int, str]] = field(default_factory=set)
    _moves: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.direct = direct_problem(self.dfg, self.fabric)

    def run(self, low: int, high: int) -> None:
        """Search low … high; stops when everything below the incumbent is decided or the effort is spent."""
        for number, effort in enumerate(self.budget.rounds):
            top = high if self.best is None else self.best.schedule.ii - 1
            for ii in range(low, top + 1):
                if self.done:
                    return
                if ii not in self.refuted and self._try(ii, effort, number):
                    break
            if all(ii in self.refuted for ii in range(low, self.best.schedule.ii if self.best else low)):
                return

    @property
    def done(self) -> bool:
        return self.interrupted or self.wall_limited or self.spent >= self.budget.total

    def moves_bound(self, ii: int) -> tuple[int, tuple[int, ...]]:
        """The fewest MOVEs at this II and where: nothing to compute when spans close without."""
        if ii not in self._moves:
            closes = not conflict(self.direct, ii)
            none = (0, (0,) * len(self.direct.operations))
            self._moves[ii] = none if closes else fewest_moves(self.direct, ii)
        return self._moves[ii]

    def _try(self, ii: int, effort: float, number: int) -> bool:
        """All trials of one II in one round; True when one finds a schedule."""
        if self._refuted_by_bound(ii):
            return False
        for name, trial, decides in self._trials(ii, effort, number):
            if (ii, name) in self._failed:
                continue
            result = self._run(trial)
            if result.verdict == "found" and result.schedule is not None:
                self.best = Find(trial.problem, result.schedule)
                return True
            if result.verdict == "refuted":
                self._failed.add((ii, name))
                if decides:
                    self.refuted[ii] = "exhausted"
                    return False
            if self.done:
                return False
        return False

    def _run(self, trial: Trial) -> Attempt:
        result = attempt(trial)
        self.spent += result.spent
        self.interrupted |= result.interrupted
        self.wall_limited |= result.wall_limited
        return result

    def _refuted_by_bound(self, ii: int) -> bool:
        if self.variant == "direct":
            cycle = conflict(self.direct, ii)
            if cycle:
                self.refuted[ii] = "lifetime"
        elif self.moves_bound(ii)[0] > slots_left(self.direct, ii):
            self.refuted[ii] = "moves"
        return ii in self.refuted

    def _trials(self, ii: int, effort: float, number: int) -> Iterator[tuple[str, Trial, bool]]:
        """Name, trial, and whether a refutation of it decides the II."""
        limits = replace(self.limits, effort=effort)
        room = slots_left(self.direct, ii) if self.variant == "routed" else 0
        if not conflict(self.direct, ii):
            only = room == 0
            yield "direct-0", Trial(self.direct, ii, 0, limits), False
            yield "direct-ii", Trial(self.direct, ii, ii, limits), False
            if number > 0 or self._small(ii):
                yield "direct-all", Trial(self.direct, ii, None, limits), only
        if room > 0:
            needed = self.moves_bound(ii)[1]
            some = self._routed([m + 1 for m in needed])
            yield "routed-0", Trial(some, ii, 0, limits, most_moves=room), False
            yield "routed-ii", Trial(some, ii, ii, limits, most_moves=room), False
            if number > 0 or self._small(ii):
                every = self._routed([room] * len(needed))
                if len(every.operations) < 250:
                    yield "routed-all", Trial(every, ii, None, limits, most_moves=room), True

    def _small(self, ii: int) -> bool:
        return len(self.direct.operations) * self.fabric.size * ii < 2000

    def _routed(self, depth: list[int]) -> Problem:
        users = self.dfg.successors
        wanted = {node.id: d if users[node.id] else 0 for node, d in zip(self.dfg.nodes, depth, strict=True)}
        return routed_problem(self.dfg, self.fabric, wanted)

    def shed_moves(self) -> int:
        """Fewer MOVEs at the incumbent's II while effort lasts; returns a proven lower bound on them."""
        assert self.best is not None
        ii = self.best.schedule.ii
        bound = max(self.moves_bound(ii)[0], 0 if (ii, "direct-all") not in self._failed else 1)
        while self.best.moves > bound and not self.done:
            limits = replace(self.limits, effort=self.budget.rounds[min(1, len(self.budget.rounds) - 1)])
            trial = Trial(self.best.problem, ii, ii, limits, most_moves=self.best.moves - 1)
            result = self._run(trial)
            if result.verdict != "found" or result.schedule is None:
                break
            self.best = Find(trial.problem, result.schedule)
        return bound


def binding(bounds: tuple[Bound, ...]) -> Bound:
    """The largest bound, the first of equals."""
    return max(bounds, key=lambda bound: bound.ii)
