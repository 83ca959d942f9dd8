"""Fewer rows: rounds of windows over the plan in hand, then refutations of one row less.

A round squeezes every roomy window of one height, polishes the whole plan (fewest live values, which is what a squeeze
most often lacks), squeezes again, and if that gains nothing pushes exe nodes towards one end, so that free slots
gather, and squeezes once more. The next round has taller windows and more effort for each. A squeeze is a small model
whatever the kernel's size, and most are settled within hundredths of a unit.

Whole models come before and after: the portfolio settles small bodies at once. Where the first round that gains nothing
is one row above the bound, that row is worth half the budget to an engine that leans on the linear relaxation, which
refutes
far larger models than the portfolio; else what the rounds leave raises the bound.
"""

from __future__ import annotations

from functools import partial

from .rows import Objective
from .search import Engine, Search
from .windows import Window, polish, roomy, squeeze

FIRST_SLICE = 0.6  # effort of the first whole model
PROOF_SHARE = 0.5  # of the budget, for refutations: of one row less as soon as rounds stall there, else at the end
HOP_SHARE = 0.06  # of the budget, kept for hops
FIRST_HEIGHT, HEIGHT_STEP, HEIGHT_BACK = 8, 2, 4  # rows of a squeezed window: first, taller each round, after a gain
FIRST_EFFORT, EFFORT_GROWTH = 0.1, 1.3  # the same for the effort of one squeeze
POLISHED_HEIGHT = 10


def shorten(search: Search) -> None:
    """Spends the budget, less a share for hops, until the rows meet the bound."""
    total = search.budget
    _try_whole(search, FIRST_SLICE)
    _rounds(search, total * PROOF_SHARE)
    _raise_bound(search, total * HOP_SHARE)


def _is_open(search: Search, keep: float) -> bool:
    return search.rows > search.bound and search.budget > keep


def _try_whole(search: Search, effort: float) -> None:
    """One row shorter at once, as long as that succeeds."""
    while _is_open(search, 0.0) and search.accept(search.whole(search.rows - 1, effort, "portfolio")):
        pass


# ---- rounds of windows


def _rounds(search: Search, keep: float) -> None:
    height, effort, number, refuted_at = FIRST_HEIGHT, FIRST_EFFORT, 0, 0
    while _is_open(search, keep):
        before = search.rows
        _round(search, height, effort, keep, "late" if number % 2 else "early")
        if search.rows < before:
            height, effort = max(FIRST_HEIGHT, height - HEIGHT_BACK), max(FIRST_EFFORT, effort / EFFORT_GROWTH**2)
            continue
        if search.rows == search.bound + 1 != refuted_at:
            refuted_at = search.rows
            search.accept(search.whole(search.rows - 1, keep, "linear"))
            keep = 0.0
        height, effort, number = height + HEIGHT_STEP, effort * EFFORT_GROWTH, number + 1
        if height >= search.rows:
            return


def _round(search: Search, height: int, effort: float, keep: float, gather: Objective) -> None:
    """Squeeze, polish, squeeze; only if no row is gained, gather free slots at one end and squeeze again."""
    before = search.rows
    for objective in ("hops", gather):
        _squeeze_everywhere(search, height, effort, keep)
        if search.rows < before and objective != "hops":
            return
        _polish_everywhere(search, min(height, POLISHED_HEIGHT), effort / 2, objective, keep)
    _squeeze_everywhere(search, height, effort, keep)


def _squeeze_everywhere(search: Search, height: int, effort: float, keep: float) -> None:
    """Windows from top to bottom, each again as long as it gains; over and over until a pass gains nothing."""
    gained = True
    while gained:
        gained, start = False, 0
        while _is_open(search, keep):
            window = roomy(search.body, search.best.plan, start, min(height, search.rows - 1))
            if window is None:
                break
            if search.accept(search.move(squeeze, window, search.limits(effort))):
                gained = True
            else:
                start += max(1, height // 3)


def _polish_everywhere(search: Search, height: int, effort: float, objective: Objective, keep: float) -> None:
    """Overlapping windows, in the direction in which nodes are pushed; gathering slots may cost hops."""
    starts = list(range(0, max(1, search.rows - height // 2), max(1, height // 2)))
    for start in reversed(starts) if objective == "late" else starts:
        if search.budget > keep:
            limits = search.limits(effort, "linear")
            answer = search.move(partial(polish, objective=objective), Window(start, height), limits)
            search.accept(answer, hops=objective == "hops")


# ---- refutations


def _raise_bound(search: Search, keep: float) -> None:
    """Refutes rows one by one from the bound up; a plan that turns up instead is the best there can be. Where two rows
    or more stay open, the stronger relaxation would not close them: its effort is given back."""
    shares: tuple[tuple[Engine, float], ...] = (("linear", 0.6), ("more linear", 1.0))
    for engine, share in shares:
        if engine == "more linear" and search.rows > search.bound + 1 and search.request.effort != "max":
            search.budget = min(search.budget, keep)
        while _is_open(search, keep):
            answer = search.whole(search.bound, share * (search.budget - keep), engine)
            search.accept(answer)
            if answer.status != "refuted":
                break
