"""The search over II: which trials, in which order, with how much effort.

First *climb*: from the lower bound upwards every II gets the quick trials (direct with the shortest length, direct with
slack, a few MOVEs where they are needed) until one finds a schedule; if none does, climb again with more effort and
further. Then *descend*: the II below the incumbent is tried near the incumbent first, every operation on its PE or one
beside it, because an embedding that is good at one II is nearly good at the next; then with all trials, also those
that refute for good (schedules of every length, every MOVE that could fit), with growing effort, until it is found or
refuted. On a fabric much larger than the body the quick trials keep to a corner of it.

Effort is deterministic solver time plus a charge for building models, so the same input gives the same result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from mapper.dfg import Dfg
from mapper.machine import Fabric
from mapper.request import Incumbent, Watcher, unwatched
from mapper.solver import Limits

from .attempt import Attempt, Trial, attempt, registers_of
from .bounds import conflict, fewest_moves, slots_left
from .formulation import Schedule
from .listing import listed
from .problem import Problem, direct_problem, routed_problem

__all__ = ["Budget", "Find", "Search"]

Variant = Literal["direct", "routed"]
LARGE = 80  # operations of a body from which on the quick trials are spaced out
WITH_ANSWER = 0.3  # of the climb's effort, where list scheduling has given an answer
LARGEST_EXHAUSTIVE = 400  # operations, optional MOVEs included, of a model that may refute for good


@dataclass(frozen=True, slots=True)
class Budget:
    """Deterministic effort: of a trial while climbing (per 100 nodes), of a trial in each descent, and of the whole."""

    climb: float
    descents: tuple[float, ...]
    total: float
    climbing: float


@dataclass(frozen=True, slots=True)
class Find:
    """A schedule and the problem that it solves."""

    problem: Problem
    schedule: Schedule

    @property
    def ii(self) -> int:
        return self.schedule.ii

    @property
    def moves(self) -> int:
        """MOVEs that some read reaches, directly or through other MOVEs."""
        sources = {r.reader: s for r, s in zip(self.problem.reads, self.schedule.source, strict=True)}
        used: set[int] = set()
        for read, source in zip(self.problem.reads, self.schedule.source, strict=True):
            while read.edge is not None and source is not None and self.problem.operations[source].optional:
                used.add(source)
                source = sources[source]
        return len(used)


@dataclass(frozen=True, slots=True)
class Rung:
    """A trial by name; `decides`: its refutation refutes the II. `after`: it waits until that trial is refuted."""

    name: str
    make: Callable[[], Problem]
    slack: int | None
    share: float = 1.0
    decides: bool = False
    near: bool = False
    corner: bool = False
    after: str = ""


@dataclass
class Search:
    """One search; `refuted` maps an II to why it is impossible, `best` is the incumbent."""

    dfg: Dfg
    fabric: Fabric
    variant: Variant
    budget: Budget
    limits: Limits
    watch: Watcher = unwatched
    best: Find | None = None
    refuted: dict[int, str] = field(default_factory=dict)
    low: int = 1
    spent: float = 0.0
    ceiling: float = math.inf
    interrupted: bool = False
    wall_limited: bool = False
    direct: Problem = field(init=False)
    _failed: set[tuple[int, str]] = field(default_factory=set)
    _moves: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.direct = direct_problem(self.dfg, self.fabric)

    def run(self, low: int, high: int) -> None:
        """Search low … high; stops when everything below the incumbent is decided or the effort is spent."""
        self.low = low
        listed = self._listed(low, high) if self.variant == "routed" and len(self.dfg.nodes) >= LARGE / 2 else None
        self._climb(low, high if listed is None else listed.ii - 1, 1.0 if listed is None else WITH_ANSWER)
        self.best = self.best or listed or self._listed(low, high)
        if self.best is not None:
            self._descend(low)

    @property
    def stopped(self) -> bool:
        return self.interrupted or self.wall_limited

    def _climb(self, low: int, high: int, share: float) -> None:
        """Quick trials upwards until one finds a schedule; larger steps and more effort per step for large bodies.

        `share` of the effort for it may be spent.
        """
        size = len(self.dfg.nodes)
        base, stride, reach = 0.15 + self.budget.climb * size / 100, 4 if size >= LARGE else 8, max(4, low)
        for extra in range(1, 8):
            ii = low
            while ii <= min(high, low + reach):
                effort = base * (ii / low) ** 1.5
                if not self._settled(ii) and not self._try(ii, effort, [*self._quick(ii), *self._lifted(ii, extra)]):
                    if self.best is not None or self.stopped or self.spent >= share * self.budget.climbing:
                        return
                    ii += max(1, low // stride) - 1
                ii += 1
            base, reach = 2 * base, 2 * reach

    def _listed(self, low: int, high: int) -> Find | None:
        """The answer of list scheduling, where its values can be given fixed registers."""
        found = None if self.stopped else listed(self.dfg, self.fabric, low, high, self.variant == "routed")
        if found is None or registers_of(*found) is None:
            return None
        find = Find(*found)
        self.watch(Incumbent("II", find.ii, low))
        return find

    def _descend(self, low: int) -> None:
        """All trials of the II below the incumbent, with growing effort, as long as they decide it."""
        allowed = max(self.budget.total, self.spent + self.budget.total / 2)
        self.ceiling = allowed
        for effort in self.budget.descents:
            while self.best is not None and not self.stopped and self.spent < allowed:
                undecided = [ii for ii in range(low, self.best.ii) if not self._settled(ii)]
                if not undecided:
                    return
                ii, before = undecided[-1], self.best.ii
                self._try(ii, effort, self._rungs_below(ii, effort))
                if ii not in self.refuted and self.best.ii == before:
                    break

    def _rungs_below(self, ii: int, effort: float) -> list[Rung]:
        """Near the incumbent first while that is cheap; on large bodies what decides waits for the last descent."""
        near, quick = list(self._beside(ii)), list(self._quick(ii))
        first, last = effort == self.budget.descents[0], effort == self.budget.descents[-1]
        decide = last or len(self.dfg.nodes) < LARGE
        return [*(near + quick if first else quick + near), *(self._thorough(ii) if decide else ())]

    def _open(self, high: int) -> int:
        """The smallest II that nothing refutes so far."""
        return next((ii for ii in range(self.low, high) if ii not in self.refuted), high)

    def _settled(self, ii: int) -> bool:
        """Is this II refuted, if need be by a bound that costs nothing?"""
        if ii not in self.refuted:
            if self.variant == "direct":
                if conflict(self.direct, ii):
                    self.refuted[ii] = "lifetime"
            elif self.moves_bound(ii)[0] > slots_left(self.direct, ii):
                self.refuted[ii] = "moves"
        return ii in self.refuted

    def moves_bound(self, ii: int) -> tuple[int, tuple[int, ...]]:
        """The fewest MOVEs at this II and where: nothing to compute when spans close without."""
        if ii not in self._moves:
            closes = not conflict(self.direct, ii)
            none = (0, (0,) * len(self.direct.operations))
            self._moves[ii] = none if closes else fewest_moves(self.direct, ii)
        return self._moves[ii]

    def _try(self, ii: int, effort: float, rungs: list[Rung]) -> bool:
        """Run the trials of one II; True when it turns out refuted."""
        for rung in rungs:
            if (ii, rung.name) in self._failed or (rung.after and (ii, rung.after) not in self._failed):
                continue
            limits = replace(self.limits, effort=effort * rung.share)
            problem = rung.make()
            trial = Trial(problem, ii, rung.slack, limits, self._within(rung, problem, ii), slots_left(problem, ii))
            result = self._run(trial)
            if result.schedule is not None:
                self.best = Find(result.problem, result.schedule)
                self.watch(Incumbent("II", ii, self._open(ii)))
                return False
            if result.verdict == "refuted":
                self._failed.add((ii, rung.name))
                if rung.decides:
                    self.refuted[ii] = "exhausted"
                    return True
            if self.stopped or self.spent >= self.ceiling:
                return False
        return False

    def _run(self, trial: Trial) -> Attempt:
        result = attempt(trial)
        self.spent += result.spent
        self.interrupted |= result.interrupted
        self.wall_limited |= result.wall_limited
        return result

    # -------------------------------------------------------------------- trials

    def _beside(self, ii: int) -> Iterator[Rung]:
        """Trials near the incumbent; its MOVEs stay available."""
        assert self.best is not None
        find = self.best
        slacks = (ii,) if len(self.direct.operations) < 40 else (4, ii)
        if find.moves or not conflict(self.direct, ii):
            for slack in slacks:
                yield Rung(f"near-{find.ii}-{slack}", lambda: find.problem, slack, near=True)
        if self._room(ii) and not find.moves:
            for slack in slacks:
                yield Rung(f"near-moves-{find.ii}-{slack}", lambda: self._every(ii), slack, near=True)

    def _quick(self, ii: int) -> Iterator[Rung]:
        """Trials that find, cheapest first."""
        corner = self._corner_side(ii) < max(self.fabric.rows, self.fabric.columns)
        size = len(self.direct.operations)
        slacks: tuple[int, ...] = (0, ii) if size < LARGE // 2 else (0, 4, ii) if size < LARGE else (0, 4)
        if size >= LARGE and any(name == "direct-0" for lower, name in self._failed if lower < ii):
            slacks = (4,)  # what the shortest length lacks at one II it seldom has at the next
        if not conflict(self.direct, ii):
            if corner:
                yield Rung("corner-0", lambda: self.direct, 0, 4.0, corner=True)
                yield Rung("corner-ii", lambda: self.direct, ii, 4.0, corner=True)
            for slack in () if corner else slacks:
                yield Rung(f"direct-{slack}", lambda: self.direct, slack)
        if self._room(ii) and (conflict(self.direct, ii) or len(self.direct.operations) < LARGE):
            yield Rung("lean-0", lambda: self._lean(ii), 0, 0.5, corner=corner)
            yield Rung("lean-ii", lambda: self._lean(ii), ii, corner=corner)

    def _lifted(self, ii: int, extra: int) -> Iterator[Rung]:
        """MOVEs on every value, `extra` more than the bound puts there, where a few were refuted."""
        if self._room(ii):
            corner = self._corner_side(ii) < max(self.fabric.rows, self.fabric.columns)
            yield Rung(f"lifted-{extra}", lambda: self._every(ii, extra), ii, 2.0, corner=corner, after="lean-ii")

    def _thorough(self, ii: int) -> Iterator[Rung]:
        """Trials that decide, or find what the quick ones cannot."""
        if not conflict(self.direct, ii):
            yield Rung(f"direct-{ii}", lambda: self.direct, ii)
            yield Rung("direct-all", lambda: self.direct, None, 1.0, not self._room(ii), after=f"direct-{ii}")
        if self._room(ii):
            yield Rung("every-0", lambda: self._every(ii), 0)
            yield Rung("every-ii", lambda: self._every(ii), ii)
            if self._exhaustive_size(ii) <= LARGEST_EXHAUSTIVE:
                yield Rung("every-all", lambda: self._exhaustive(ii), None, 1.0, True)

    def _within(self, rung: Rung, problem: Problem, ii: int) -> dict[int, tuple[int, ...]] | None:
        """The PEs that a trial near the incumbent, or in a corner, leaves to each operation."""
        if rung.near:
            assert self.best is not None
            return {
                i: tuple(p for p in problem.readers_of[pe] if p in problem.operations[i].pes)
                for i, pe in enumerate(self.best.schedule.pe)
                if pe is not None
            }
        if rung.corner:
            side, columns = self._corner_side(ii), self.fabric.columns
            inside = {
                i: tuple(p for p in o.pes if max(divmod(p, columns)) < side) for i, o in enumerate(problem.operations)
            }
            return {i: pes for i, pes in inside.items() if pes}
        return None

    def _corner_side(self, ii: int) -> int:
        """Side of a square of PEs with half as many slots again as the body has operations."""
        return max(4, math.isqrt(math.ceil(1.5 * len(self.direct.operations) / ii)) + 2)

    def _room(self, ii: int) -> int:
        return slots_left(self.direct, ii) if self.variant == "routed" else 0

    def _lean(self, ii: int) -> Problem:
        """MOVEs where the fewest-MOVEs bound puts them, and one for every value with three readers or more."""
        readers = [len(self.dfg.successors[node.id]) for node in self.dfg.nodes]
        needed = self.moves_bound(ii)[1]
        return self._routed([m or int(r >= 3) for m, r in zip(needed, readers, strict=True)])

    def _every(self, ii: int, extra: int = 1) -> Problem:
        """`extra` MOVEs more than the bound puts there, for every value."""
        return self._routed([m + extra for m in self.moves_bound(ii)[1]])

    def _exhaustive(self, ii: int) -> Problem:
        """As many MOVEs on every value as there is room for."""
        return self._routed([self._room(ii)] * len(self.direct.operations))

    def _exhaustive_size(self, ii: int) -> int:
        users = sum(bool(self.dfg.successors[node.id]) for node in self.dfg.nodes)
        return len(self.direct.operations) + users * self._room(ii)

    def _routed(self, depth: list[int]) -> Problem:
        users = self.dfg.successors
        wanted = {node.id: d if users[node.id] else 0 for node, d in zip(self.dfg.nodes, depth, strict=True)}
        return routed_problem(self.dfg, self.fabric, wanted)

    def shed_moves(self) -> int:
        """Fewer MOVEs at the incumbent's II while effort lasts; returns a proven lower bound on them."""
        assert self.best is not None
        ii = self.best.ii
        direct_impossible = (ii, "direct-all") in self._failed
        bound = max(self.moves_bound(ii)[0], int(direct_impossible))
        effort = self.budget.descents[0]
        allowed = self.spent + 3 * effort
        while self.best.moves > bound and not self.stopped and self.spent < allowed:
            limits = replace(self.limits, effort=effort)
            result = self._run(Trial(self.best.problem, ii, ii, limits, most_moves=self.best.moves - 1))
            if result.schedule is None:
                break
            self.best = Find(result.problem, result.schedule)
        return bound
