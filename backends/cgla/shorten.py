"""Fewer rows: searches by levels, then rounds of windows over the plan in hand, with whole models in between.

A narrow beam (:mod:`.levels`) tries row counts from the bound up. That often ends the search: one row less than it
finds is refuted by a short run on the whole model, or by going through all sets of placed nodes. Bodies with many free
slots have too many sets; they are left to windows. Fast effort, at which networks place their bodies, goes without.

A round squeezes every roomy window of one height. If that gains nothing, the whole model is asked for one row less
with like parts in order (:mod:`.dominance`), which settles bodies made of copies. If that ends undecided, the whole
plan is polished (fewest live values, which is what a squeeze most often lacks) and squeezed again, and then exe nodes
are pushed towards one end, so that free slots gather, for one more pass. The next round has taller windows, and more
effort for each and for the whole model. A squeeze is a small model whatever the kernel's size, and most are settled
within hundredths of a unit.

What the rounds leave raises the bound, with an engine that leans on the linear relaxation.
"""

from __future__ import annotations

from functools import partial

from .rows import Objective
from .search import Engine, Search
from .windows import Window, polish, roomy, squeeze

FIRST_SLICE = 0.6  # effort of the first whole model
SMALL_NODES = 100
NARROW, ALL_SETS = 300, 30_000  # sets of a level: of a beam, and where all are kept
BEAM_SHARE, BEAMS_SHARE = 0.06, 0.12  # of the budget, for one beam and for all of them
SETS_SHARE = 0.78  # of the budget, for all sets where one row is open
CLAUSES_SHARE, GAP_SHARE = 0.08, 0.04  # of that, for the whole model before, and for all sets where more is open
FIRST_SHARE = 0.12  # of the budget, for one row less after the first round that gains nothing; doubled at each one
BOUND_SHARE, HOP_SHARE = 0.16, 0.06  # of the budget, kept for refutations at the end and for hops
FIRST_HEIGHT, HEIGHT_STEP, HEIGHT_BACK = 8, 2, 4  # rows of a squeezed window: first, taller each round, after a gain
FIRST_EFFORT, EFFORT_GROWTH = 0.1, 1.3  # the same for the effort of one squeeze
POLISHED_HEIGHT = 10
UNLIMITED = float("inf")


def shorten(search: Search) -> None:
    """Spends the budget, less a share for hops, until the rows meet the bound."""
    total = search.budget
    _try_whole(search, FIRST_SLICE)
    if not search.fixed_rows and search.request.effort != "fast":
        _beam(search, total * BEAM_SHARE, total * (1 - BEAMS_SHARE))
        _close(search, total * SETS_SHARE, total * HOP_SHARE)
    _rounds(search, total, total * (BOUND_SHARE + HOP_SHARE))
    _raise_bound(search, total * HOP_SHARE)


def _is_open(search: Search, keep: float) -> bool:
    return search.rows > search.bound and search.budget > keep


def _try_whole(search: Search, effort: float) -> None:
    """One row shorter at once, as long as that succeeds. The portfolio settles small bodies."""
    engine: Engine = "portfolio" if len(search.body.ids) <= SMALL_NODES else "clauses"
    while _is_open(search, 0.0) and search.attempt(search.rows - 1, effort, engine) == "found":
        pass


# ---- levels


def _close(search: Search, effort: float, keep: float) -> None:
    """Where one row is open: the whole model by clauses for a short time, then all sets. Wider gaps get little of it:
    a refutation would not close them, and windows may."""
    while _is_open(search, keep):
        is_last = search.rows == search.bound + 1
        if is_last:
            _one_row_less(search, CLAUSES_SHARE * effort, keep, CLAUSES_SHARE * effort)
        share = effort if is_last else GAP_SHARE * effort
        if not _is_open(search, keep):
            return
        if search.levels(search.bound, min(share, search.budget - keep), ALL_SETS, beam=False) != "refuted":
            return


def _beam(search: Search, effort: float, keep: float) -> None:
    """Row counts from the bound up, until one is found."""
    for rows in range(search.bound, search.rows):
        if not _is_open(search, keep) or search.levels(rows, effort, NARROW, beam=True) == "found":
            return


# ---- rounds of windows


def _rounds(search: Search, total: float, keep: float) -> None:
    height, effort, number, share = FIRST_HEIGHT, FIRST_EFFORT, 0, FIRST_SHARE
    while _is_open(search, keep) and height < search.rows:
        before = search.rows
        _squeeze_everywhere(search, height, effort, keep)
        if search.rows == before:
            _one_row_less(search, share * total, keep)
        if search.rows == before:
            _gather_and_squeeze(search, height, effort, keep, "late" if number % 2 else "early")
        if search.rows < before:
            height, effort = max(FIRST_HEIGHT, height - HEIGHT_BACK), max(FIRST_EFFORT, effort / EFFORT_GROWTH**2)
        else:
            height, effort, number, share = height + HEIGHT_STEP, effort * EFFORT_GROWTH, number + 1, share * 2


def _one_row_less(search: Search, effort: float, keep: float, more: float = UNLIMITED) -> None:
    """The whole model at one row less, with twice the effort if that closes the gap. Where no plan keeps the order, a
    wider model may refute that row count with `more` effort."""
    if not _is_open(search, keep):
        return
    rows = search.rows - 1
    answer = search.attempt(rows, min(effort * (1 + (rows == search.bound)), search.budget - keep), "clauses")
    if answer == "refuted" and search.relaxes and _is_open(search, 0.0):
        search.whole(rows, min(search.budget, more), "clauses")


def _gather_and_squeeze(search: Search, height: int, effort: float, keep: float, gather: Objective) -> None:
    """Polish, squeeze; only if no row is gained, gather free slots at one end and squeeze again."""
    before = search.rows
    for objective in ("hops", gather):
        if search.rows == before:
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
            if search.accept(search.move(squeeze, window, search.limits(effort, "clauses"))):
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
