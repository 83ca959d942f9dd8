"""The search over II: which trials, in which order, with how much effort.

First *climb*: from the lower bound upwards, in steps, every II gets the quick trials until one finds a schedule; then
what the last step jumped over is halved. Where list scheduling has an answer (large bodies with MOVEs start with it),
only the IIs below it are looked at. If nothing is found, climb again with more effort and further. Then *descend*: the
II below the incumbent is tried near the incumbent, every operation on its PE or one beside it, because an embedding
that is good at one II is nearly good at the next (while that goes well, in growing steps); and with all trials, also
those that refute for good, with twice the effort and another seed each time it stays undecided. On a fabric much larger
than the body the quick trials keep to a corner of it. What was exhausted can be exhausted again, in another way.

With MOVEs, a search without them goes beside: both climb, then both descend, and the search with MOVEs starts from the
better incumbent. So the answer with MOVEs is never worse than the one without.

Effort is deterministic solver time plus a charge for building models, so the same input gives the same result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from mapper.dfg import Dfg
from mapper.errors import CheckFailed
from mapper.machine import Fabric
from mapper.request import Incumbent, Watcher, unwatched
from mapper.solver import Limits

from .attempt import Attempt, Trial, attempt, registers_of
from .listing import listed
from .trials import LARGE, Find, Recipes, Rung, Variant

__all__ = ["Budget", "Find", "Search"]

DISAGREE = "this is a fault of mapper or of its solver; please report it with the input"
WITH_ANSWER = 0.4  # of the climb's effort, where there is an answer already
ROUNDS = 7  # of a climb that finds nothing
PATIENCE = 1.5  # of the effort until the incumbent, after which a descent without success ends


@dataclass(frozen=True, slots=True)
class Budget:
    """Deterministic effort: of a trial while climbing (per 100 operations), of a trial in the first descent, of all
    descents and of the climb; `patience`: what descents may take without success, at least. `brief`: a poor answer is
    held against list scheduling, what is listed first is not searched without MOVEs, and what finds no place without
    MOVEs is not listed without them."""

    climb: float
    descent: float
    descents: float
    climbing: float
    patience: float
    brief: bool = False


@dataclass
class Search:
    """One search; `refuted` maps an II to why it is impossible, `best` is the incumbent, `deadline` a moment of
    the monotonic clock."""

    dfg: Dfg
    fabric: Fabric
    variant: Variant
    budget: Budget
    limits: Limits
    watch: Watcher = unwatched
    deadline: float | None = None
    best: Find | None = None
    refuted: dict[int, str] = field(default_factory=dict)
    low: int = 1
    spent: float = 0.0
    ceiling: float = math.inf
    interrupted: bool = False
    wall_limited: bool = False
    recipes: Recipes = field(init=False)
    _tight: bool = False
    _came_near: bool = True
    _has_listed: bool = False
    _level: int = 0
    _found_at: float = 0.0  # effort spent when the incumbent was found
    _failed: set[tuple[int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.recipes = Recipes(self.dfg, self.fabric, self.variant)

    @property
    def stopped(self) -> bool:
        return self.interrupted or self.wall_limited

    @property
    def large(self) -> bool:
        return self.recipes.size >= LARGE

    def undecided(self, high: int) -> list[int]:
        """The IIs below `high` that nothing refutes."""
        return [ii for ii in range(self.low, high) if not self._settled(ii)]

    def copy(self) -> Search:
        """The same search, to go another way."""
        return replace(self, refuted=dict(self.refuted), _failed=set(self._failed))

    def start(self, find: Find | None) -> None:
        """Take `find` as incumbent if it is better than what is known."""
        if find is not None and (self.best is None or (find.ii, find.moves) < (self.best.ii, self.best.moves)):
            self.best, self._found_at = find, self.spent

    def take(self, direct: Search) -> None:
        """Go on from a search without MOVEs: its incumbent, and its refutations where MOVEs find no slot."""
        self.start(direct.best)
        self.refuted |= {ii: reason for ii, reason in direct.refuted.items() if not self.recipes.room(ii)}
        self.interrupted |= direct.interrupted
        self.wall_limited |= direct.wall_limited

    # -------------------------------------------------------------------- climbing

    def climb(self, low: int, high: int) -> None:
        """Quick trials of low … high until one finds a schedule."""
        self.low = low
        if self.variant == "routed" and self._calls_for_a_list(low):
            self.start(self._listed(low, high if self.best is None else self.best.ii - 1))
        whole = self.best is None or (self.budget.brief and not self.large)
        allowed = self.budget.climbing * (1.0 if whole else WITH_ANSWER)
        base, reach = 0.15 + self.budget.climb * self.recipes.size / 100, max(4, 2 * low if self.large else low)
        for extra in range(1, ROUNDS + 1):
            top = min(high, low + reach) if self.best is None else self.best.ii - 1
            self._round(top, base, extra, allowed)
            if self.best is not None or self.stopped or self.spent >= allowed:
                break
            base, reach = 2 * base, 2 * reach
        if self.best is None and not (self.budget.brief and self.variant == "direct"):
            self.start(self._listed(low, high))

    def _calls_for_a_list(self, low: int) -> bool:
        """A large body without an answer; where effort is short, also an answer far above the bound."""
        if self.best is None:
            return self.recipes.size >= LARGE / 2
        return self.budget.brief and not self._has_listed and 2 * self.best.ii > 3 * low

    def list_first(self, low: int, high: int) -> None:
        """A large body gets its first answer by list scheduling: soon, and on fabrics of any size; a smaller one where
        it leaves a third of the slots free."""
        roomy = self.recipes.size >= LARGE / 2 and 2 * self.fabric.size * low >= 3 * self.recipes.size
        if self.large or (roomy and not self.budget.brief):
            self.start(self._listed(low, high))

    def _round(self, top: int, base: float, extra: int, allowed: float) -> None:
        """The IIs from the lowest to `top` in steps; then halve the last step until it is 1."""
        below, ii, step = self.low - 1, self.low, max(1, self.low // (4 if self.large else 8))
        while ii <= top and self.spent < allowed and not self.stopped:
            refuted = self._settled(ii) or self._look(ii, base, extra)
            if self.best is not None and self.best.ii <= ii:
                break
            if self.best is not None and self.large and not refuted:
                below = ii
                break
            below, ii = ii, ii + (1 if refuted else step)
        while self.best is not None and self.best.ii - below > 1 and self.spent < allowed and not self.stopped:
            middle = (below + self.best.ii) // 2
            if self._settled(middle) or self._look(middle, base, extra) or self.best.ii > middle:
                below = middle

    def _look(self, ii: int, base: float, extra: int) -> bool:
        """The quick trials of one II; True when it turns out refuted."""
        return self._try(ii, base, [*self._near(ii), *self.recipes.quick(ii), *self.recipes.lifted(ii, extra)])

    def _listed(self, low: int, high: int) -> Find | None:
        """The answer of list scheduling, where its values can be given fixed registers."""
        self._has_listed = True
        found = None if self.stopped else listed(self.dfg, self.fabric, low, high, self.variant == "routed")
        if found is None or registers_of(*found) is None:
            return None
        find = Find(*found)
        self.watch(Incumbent("II", find.ii, low))
        return find

    # ------------------------------------------------------------------ descending

    def descend(self, share: float = 1.0) -> None:
        """All trials of the II below the incumbent, with growing effort, for a share of the effort of descents."""
        effort, step = self.budget.descent, 1
        self.ceiling = self.spent + share * self.budget.descents
        while self.best is not None and self.spent < self.ceiling and not self.stopped and not self._weary:
            open_ = self.undecided(self.best.ii)
            if not open_:
                return
            ii, before = open_[-min(step, len(open_))], self.best.ii
            self._level += 1
            self._try(ii, effort, self._rungs_below(ii, effort) if step == 1 else self._near(ii))
            if self.best.ii < before:
                step *= 2
            elif step > 1:
                step = 1
            elif ii not in self.refuted:
                effort *= 2

    @property
    def _weary(self) -> bool:
        """Was the incumbent found early, and nothing since for long? Only `max` goes on then."""
        since = self.spent - self._found_at
        return since > max(self.budget.patience, PATIENCE * self._found_at)

    def refute_below(self, high: int) -> bool:
        """Try to refute every II below `high`, the lowest first, once each; True when that succeeds."""
        for ii in self.undecided(high):
            rungs = (replace(rung, after="") for rung in self.recipes.deciding(ii))
            if self.stopped or not self._try(ii, self.budget.descent, rungs):
                return False
        return True

    def _near(self, ii: int) -> list[Rung]:
        """The cheapest trial near the incumbent, if that is not too far."""
        close = self.best is not None and 4 * ii >= 3 * self.best.ii
        return list(self.recipes.near(ii, self.best))[:1] if self.best is not None and close else []

    def _rungs_below(self, ii: int, effort: float) -> Iterable[Rung]:
        """Near the incumbent first if it was found that way; on large bodies what decides waits."""
        assert self.best is not None
        recipes, first = self.recipes, effort == self.budget.descent
        near, quick = list(recipes.near(ii, self.best)), list(recipes.quick(ii))
        decide = not self.large or not first
        yield from [*near, *quick] if self._came_near else [*quick, *near]
        yield from recipes.thorough(ii)
        yield from recipes.deciding(ii) if decide else ()

    def _settled(self, ii: int) -> bool:
        """Is this II refuted, if need be by a bound that costs nothing?"""
        if ii not in self.refuted:
            reason = self.recipes.refuted(ii)
            if reason:
                self.refuted[ii] = reason
        return ii in self.refuted

    # ---------------------------------------------------------------------- trials

    def _try(self, ii: int, effort: float, rungs: Iterable[Rung]) -> bool:
        """Run the trials of one II; True when it turns out refuted."""
        for rung in self._fresh(ii, rungs):
            result = self._run(self._trial(ii, effort, rung))
            if result.schedule is not None:
                self.best, self._came_near = Find(result.problem, result.schedule), rung.near
                self._found_at = self.spent
                self.watch(Incumbent("II", ii, next(iter(self.undecided(ii)), ii)))
                return False
            if result.verdict == "refuted":
                self._failed.add((ii, rung.name))
                if rung.decides:
                    self.refuted[ii] = "exhausted"
                    return True
            if self.stopped or self.spent >= self.ceiling:
                return False
        return False

    def _fresh(self, ii: int, rungs: Iterable[Rung]) -> Iterator[Rung]:
        """Each trial once, without those refuted or still waiting for another one's refutation."""
        seen: set[str] = set()
        for rung in rungs:
            waits = rung.after and (ii, rung.after) not in self._failed
            if rung.name in seen or waits or (ii, rung.name) in self._failed or self._hopeless(ii, rung):
                continue
            seen.add(rung.name)
            yield rung

    def _hopeless(self, ii: int, rung: Rung) -> bool:
        """What the shortest length lacks at one II it seldom has at the next."""
        return self.large and rung.slack == 0 and any(n == rung.name and lower < ii for lower, n in self._failed)

    def _trial(self, ii: int, effort: float, rung: Rung) -> Trial:
        limits = replace(self.limits, effort=effort * rung.share, seed=self.limits.seed + self._level)
        problem = rung.make()
        within = self.recipes.within(rung, problem, ii, self.best)
        # counting registers makes models larger: not always better, unless the body is dense
        tight = self._tight and (self._level % 2 == 0 or self.recipes.dense)
        return Trial(problem, ii, rung.slack, limits, within, self.recipes.room(ii), tight)

    def _run(self, trial: Trial) -> Attempt:
        """Try it, in the wall-clock time that is left where there is a deadline."""
        if self.deadline is not None:
            left = max(0.01, self.deadline - time.monotonic())
            trial = replace(trial, limits=replace(trial.limits, wall_seconds=left))
        result = attempt(trial)
        self.spent += result.spent
        self._tight |= result.tight
        self.interrupted |= result.interrupted
        self.wall_limited |= result.wall_limited
        return result

    def confirm(self) -> None:
        """Exhaust again what was exhausted below the incumbent: another seed, no presolve, no symmetry broken.

        Raises :class:`CheckFailed` if a schedule turns up there: then one of the two runs is wrong.
        """
        assert self.best is not None
        limits = replace(
            self.limits, effort=self.budget.descents / 4, seed=self.limits.seed + self._level + 1, presolve=False
        )
        for ii in (ii for ii in range(self.low, self.best.ii) if self.refuted.get(ii) == "exhausted"):
            for rung in self.recipes.deciding(ii):
                result = self._run(Trial(rung.make(), ii, None, limits, {}, self.recipes.room(ii)))
                if result.schedule is not None:
                    raise CheckFailed(f"two searches disagree: II {ii} was refuted by one and found by the other",
                                      self.dfg.name, DISAGREE)  # fmt: skip
                if result.verdict == "refuted":
                    self.refuted[ii] = "exhausted-twice"

    def shed_moves(self, bound: int) -> None:
        """Fewer MOVEs at the incumbent's II, down to `bound`, while effort lasts."""
        limits = replace(self.limits, effort=self.budget.descent)
        allowed = self.spent + 2 * limits.effort
        problem = None if self.best is None else self.recipes.leaner(self.best)
        while self.best is not None and self.best.moves > bound and not self.stopped and self.spent < allowed:
            ii = self.best.ii
            result = self._run(Trial(problem or self.best.problem, ii, ii, limits, most_moves=self.best.moves - 1))
            if result.schedule is not None:
                self.best = Find(result.problem, result.schedule)
            elif problem is None:
                break
            problem = None
