"""Large-neighbourhood moves on a legal plan: squeeze a window by one row, or polish its registers.

A window frees the nodes of a few successive rows and fixes all others. *Squeeze* shifts the rows below up by one
and asks whether the freed nodes fit into one row less: success shortens the kernel. *Polish* keeps the rows and
minimises the values alive in the window, which prepares the next squeeze and lowers hops, or pushes its nodes to one
end, which gathers the free slots that a squeeze needs. Windows are small models whatever the kernel's size, so their
refutations are as quick as their solutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mapper.solver import Limits

from .bounds import Bounds
from .dominance import NO_ORDER, Dominance
from .order import Spans
from .rows import Objective, RowModel, RowPlan
from .rules import COLUMNS, Body


@dataclass(frozen=True, slots=True)
class Window:
    """Rows start .. start + height - 1 of a plan."""

    start: int
    height: int


def roomy(body: Body, plan: RowPlan, start: int, height: int) -> Window | None:
    """The window at `start` of at least `height` rows whose free exe slots make up a row; None if there is none."""
    used = [0] * plan.rows
    for i, row in plan.row_of.items():
        used[row] += body.kind(i) == "exe"
    free = 0
    for row in range(start, plan.rows):
        free += COLUMNS - used[row] - (body.dfg.loop_levels if row == 0 else 0)
        if row - start + 1 >= height and free >= COLUMNS:
            return Window(start, row - start + 1)
    return None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a move: a plan (not yet realised), a refutation, or a time-out; and what it cost."""

    status: Literal["found", "refuted", "unknown"]
    plan: RowPlan | None
    effort: float
    interrupted: bool = False
    wall_limited: bool = False


def squeeze(
    body: Body,
    bounds: Bounds,
    plan: RowPlan,
    window: Window,
    limits: Limits,
    nogoods: tuple[frozenset[int], ...] = (),
    fixed: frozenset[int] = frozenset(),
    order: Dominance = NO_ORDER,
) -> Answer:
    """A plan with one row less, all change inside the window; `fixed` nodes keep their row in any case, and nodes in
    `order` theirs relative to each other."""
    spans = window_spans(bounds, plan, window, 1, fixed)
    return ask(RowModel(body, plan.rows - 1, spans, nogoods=nogoods, dominance=order), limits)


def polish(
    body: Body,
    bounds: Bounds,
    plan: RowPlan,
    window: Window,
    limits: Limits,
    nogoods: tuple[frozenset[int], ...] = (),
    fixed: frozenset[int] = frozenset(),
    order: Dominance = NO_ORDER,
    objective: Objective = "hops",
) -> Answer:
    """A plan with as many rows that is better by `objective`, all change inside the window."""
    spans = window_spans(bounds, plan, window, 0, fixed)
    model = RowModel(body, plan.rows, spans, objective=objective, nogoods=nogoods, dominance=order)
    model.hint(plan)
    return ask(model, limits)


def window_spans(bounds: Bounds, plan: RowPlan, window: Window, shift: int, fixed: frozenset[int]) -> Spans:
    """Rows above stay, rows below move up by `shift`, the window's nodes share what is left between them."""
    last = min(window.start + window.height, plan.rows) - 1
    spans = {}
    for i, row in plan.row_of.items():
        if row < window.start or i in fixed:
            spans[i] = row, row
        elif row > last:
            spans[i] = row - shift, row - shift
        else:
            spans[i] = max(window.start, bounds.heads[i]), last - shift
    return spans


def ask(model: RowModel, limits: Limits) -> Answer:
    """Solve and sort the answer."""
    solution, plan = model.solve(limits)
    if solution is None:
        return Answer("refuted", None, 0.0)
    status: Literal["refuted", "unknown"] = "refuted" if solution.status == "infeasible" else "unknown"
    stopped = solution.interrupted, solution.wall_limited
    return Answer("found" if plan else status, plan, solution.deterministic_time, *stopped)
