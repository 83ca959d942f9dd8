"""Two searches of one body on one grid, without MOVEs and with them, and what grids inside of it have to say.

Both climb, then both descend, the one without MOVEs first; the one with them starts from the better incumbent. On a
grid much larger than the body its core is searched in its place (:mod:`subgrid`), and only refutations of small
bodies are tried on the whole grid. What is not closed in the end is searched for on the next smaller grids as well,
briefly and for a lower II only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from mapper.dfg import Dfg
from mapper.machine import Fabric
from mapper.request import Watcher, unwatched

from .bounds import binding, lifetime_bound, static_bounds
from .search import Search
from .subgrid import carried, core, smaller

__all__ = ["Pair", "searched"]

BESIDE = 0.5  # of the effort of descents, for the search with MOVEs after one without
LARGEST_WHOLE = 10_000  # operations times PEs of a grid with a core that may refute as a whole

Open = Callable[[Fabric, Watcher, bool], "Pair"]  # fabric, watcher, briefly


@dataclass(frozen=True, slots=True)
class Pair:
    """`direct` goes without MOVEs; `search` with them, or is the same where they are forbidden."""

    direct: Search
    search: Search

    @property
    def sides(self) -> tuple[Search, ...]:
        return (self.direct,) if self.search is self.direct else (self.direct, self.search)

    @property
    def moves_bound(self) -> int:
        """MOVEs that no mapping at the incumbent's II can do without."""
        best = self.search.best
        if best is None or not best.moves:
            return 0
        return max(self.search.recipes.moves_bound(best.ii)[0], int(best.ii in self.direct.refuted))

    @property
    def closed(self) -> bool:
        """Is every II below the incumbent's refuted?"""
        return self.search.best is not None and not self.search.undecided(self.search.best.ii)

    def take(self, other: Pair) -> None:
        """The better of these incumbents and those of a grid inside of this one."""
        for mine, theirs in ((self.direct, other.direct), (self.search, other.search)):
            if theirs.best is not None:
                mine.start(carried(theirs.best, mine.fabric))
            mine.interrupted |= theirs.interrupted
            mine.wall_limited |= theirs.wall_limited
        if self.search is not self.direct:
            self.search.take(self.direct)


def searched(dfg: Dfg, fabric: Fabric, open_: Open, watch: Watcher = unwatched) -> Pair:
    """Both searches at their end. `open_` makes a fresh pair for a fabric."""
    pair = open_(fabric, watch, False)
    low = binding(static_bounds(dfg, fabric)).ii
    inner = None if pair.search.budget.brief else core(dfg, fabric, low)
    if inner is None:
        _run(pair, low)
        if not pair.search.budget.brief:
            _held_against_smaller(dfg, pair, low, open_)
        pair.search.shed_moves(pair.moves_bound)
    else:
        _through_core(pair, open_(inner, watch, False), low)
        if pair.search.best is None:
            _run(pair, low)
    return pair


def _through_core(pair: Pair, inner: Pair, low: int) -> None:
    """List on the whole grid, search in its core for something better, refute on the whole grid."""
    pair.direct.low = pair.search.low = low
    if pair.search is not pair.direct:
        pair.search.list_first(low, _highest(pair.search.dfg, low))
    best = pair.search.best
    _run(inner, low, None if best is None else best.ii)
    inner.search.shed_moves(inner.moves_bound)
    pair.take(inner)
    if not pair.closed:
        _refute(pair)


def _refute(pair: Pair) -> None:
    """On a whole grid that has a core: refutations, of small bodies."""
    for search in pair.sides:
        if search.best is not None and search.recipes.size * search.fabric.size <= LARGEST_WHOLE:
            search.refute_below(search.best.ii)
    if pair.search is not pair.direct:
        pair.search.take(pair.direct)


def _run(pair: Pair, low: int, most: int | None = None) -> None:
    """Both searches climb, then both descend, the one without MOVEs (which may be the only one) first. `most`: an II
    above that is of no use."""
    direct, search = pair.direct, pair.search
    lifetime = lifetime_bound(direct.recipes.direct)

    def high(least: int) -> int:
        return _highest(search.dfg, least) if most is None else most

    if search is not direct:
        search.list_first(low, high(low))
        listed = search.best
        if listed is not None and lifetime is not None and (search.budget.brief or listed.ii < lifetime.ii):
            lifetime = None  # without MOVEs: of a large body it would take all the effort, or it cannot be better
    if lifetime is not None:
        least = max(low, lifetime.ii)
        direct.climb(least, high(least))
    if search is not direct:
        search.take(direct)
        search.climb(low, high(low))
    if lifetime is not None and (search is direct or not _aside(direct, search)):
        direct.descend()
    if search is not direct:
        search.take(direct)
        search.descend(1.0 if lifetime is None else BESIDE)


def _aside(direct: Search, search: Search) -> bool:
    """Is it certain that the search without MOVEs cannot improve on the other one? It must not go another way than
    alone, so what this finds out is kept only if it settles the matter."""
    if search.best is None:
        return False
    trial = direct.copy()
    settled = trial.refute_below(search.best.ii)
    search.spent += trial.spent - direct.spent
    search.take(trial)
    return settled


def _highest(dfg: Dfg, low: int) -> int:
    """Where the search gives up: everything in sequence, twice over."""
    return 2 * low + 2 * len(dfg.nodes)


def _held_against_smaller(dfg: Dfg, pair: Pair, low: int, open_: Open) -> None:
    """What is open is searched for, briefly, on the next smaller grids: trials of another kind for the IIs below."""
    for grid in smaller(dfg, pair.search.fabric, math.inf if pair.search.best is None else pair.search.best.ii):
        best = pair.search.best
        if pair.search.stopped or pair.closed:
            return
        inner = open_(grid, unwatched, True)
        _run(inner, binding(static_bounds(dfg, grid)).ii, None if best is None else best.ii - 1)
        pair.take(inner)
