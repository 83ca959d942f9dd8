"""A legal plan from one that holds too many values: where list scheduling fails, it succeeds without a register limit.

Windows around the rows that lack registers are solved for the least excess, as they are and with one row more (which
spreads what is read at once), taller and with more effort as long as nothing helps. The rows that this costs are
squeezed out again later, like any others.
"""

from __future__ import annotations

from dataclasses import dataclass

from mapper.solver import Limits

from .bounds import Bounds
from .registers import count_hops, excess
from .rows import RowModel, RowPlan
from .rules import Body
from .windows import Answer, Window, ask, window_spans

FIRST_HEIGHT, HEIGHT_STEP = 8, 3  # rows of a window
EFFORT_PER_ROW = 0.015


CALL_COST = 0.02  # effort charged for building a window's model


@dataclass
class Allowance:
    """Solver effort that a repair may spend."""

    effort: float
    seed: int

    def spend(self, effort: float) -> None:
        self.effort -= effort + CALL_COST
        self.seed += 1


def repaired(body: Body, bounds: Bounds, plan: RowPlan, rows_limit: int, allowance: Allowance) -> RowPlan | None:
    """A plan without excess in at most `rows_limit` rows, or None when the allowance is spent."""
    height = FIRST_HEIGHT
    while lacking := excess(body, plan):
        before = _cost(body, plan)
        for row in lacking:
            for taller in (0, 1):
                start = max(0, min(row + 1 - height // 2, plan.rows - height))
                if allowance.effort <= 0:
                    return None
                if plan.rows + taller <= rows_limit:
                    limits = Limits(EFFORT_PER_ROW * height, 1, allowance.seed)
                    answer = _relieved(body, bounds, plan, Window(start, height), taller, limits)
                    allowance.spend(answer.effort)
                    if answer.plan is not None and _cost(body, answer.plan) < _cost(body, plan):
                        plan = answer.plan
        if _cost(body, plan)[0] == before[0]:
            height += HEIGHT_STEP
    return plan


def _cost(body: Body, plan: RowPlan) -> tuple[int, int]:
    return sum(excess(body, plan).values()), count_hops(body, plan)


def _relieved(body: Body, bounds: Bounds, plan: RowPlan, window: Window, taller: int, limits: Limits) -> Answer:
    """The window with `taller` rows more, solved for the least excess, then the fewest live values."""
    spans = window_spans(bounds, plan, window, -taller, frozenset())
    model = RowModel(body, plan.rows + taller, spans, objective="excess")
    if not taller:
        model.hint(plan)
    return ask(model, limits)
