"""Stage 2: from a row plan to columns, slots and registers, or the set of nodes that cannot share a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from mapper.placement import KernelMapping, Placed, RegisterUse

from .columns import Layout, layouts
from .registers import Stuck, route
from .rows import RowPlan
from .rules import COLUMNS, Body

CYCLES_PER_ITERATION = 4
LAYOUTS_TRIED = 24


@dataclass(frozen=True, slots=True)
class Conflict:
    """No layout, or no register routing, was found for a row with these nodes."""

    row: int
    nodes: frozenset[int]


@dataclass(frozen=True, slots=True)
class Realised:
    """A plan with its columns and registers."""

    plan: RowPlan
    layouts: Mapping[int, Layout]
    registers: tuple[RegisterUse, ...]

    def mapping(self, body: Body) -> KernelMapping:
        placed = [
            Placed(i, row * COLUMNS + column, row, slot)
            for row, layout in self.layouts.items()
            for i, (column, slot) in layout.items()
        ]
        units = [(self.plan.row_of[e], self.layouts[self.plan.row_of[e]][e][0]) for e in self.plan.folded]
        return KernelMapping(
            dfg=body.dfg,
            ii=CYCLES_PER_ITERATION,
            placed=tuple(sorted(placed)),
            registers=self.registers,
            folded=tuple(sorted(units)),
        )


@dataclass
class Realiser:
    """Realises plans of one body; layouts of a row are remembered, since windows leave most rows as they were."""

    body: Body
    pins: Mapping[int, int] = field(default_factory=dict)
    _known: dict[tuple[bool, frozenset[int], frozenset[int]], tuple[Layout, ...]] = field(default_factory=dict)

    def realise(self, plan: RowPlan) -> Realised | Conflict:
        """Columns row by row, then registers; a stuck row tries its other layouts and those of the row after."""
        chosen: dict[int, Layout] = {}
        for row, nodes in sorted(_by_row(plan).items()):
            options = self._layouts(plan, row, nodes)
            if not options:
                return Conflict(row, nodes)
            chosen[row] = options[0]
        return self._routed(plan, chosen)

    def _routed(self, plan: RowPlan, chosen: dict[int, Layout]) -> Realised | Conflict:
        tried: dict[int, int] = {}
        by_row = _by_row(plan)
        while True:
            registers = route(self.body, plan, chosen)
            if not isinstance(registers, Stuck):
                return Realised(plan, chosen, registers)
            row = self._next_layout(plan, by_row, chosen, tried, registers.row)
            if row is None:
                return Conflict(registers.row, by_row.get(registers.row, frozenset()))

    def _next_layout(
        self,
        plan: RowPlan,
        by_row: Mapping[int, frozenset[int]],
        chosen: dict[int, Layout],
        tried: dict[int, int],
        stuck: int,
    ) -> int | None:
        """Moves the stuck row, or else the next one (its folded units may tie registers here), to its next layout."""
        for row in (stuck, stuck + 1):
            options = self._layouts(plan, row, by_row[row]) if row in by_row else ()
            tried[row] = tried.get(row, 0) + 1
            if tried[row] < len(options):
                chosen[row] = options[tried[row]]
                return row
        return None

    def _layouts(self, plan: RowPlan, row: int, nodes: frozenset[int]) -> tuple[Layout, ...]:
        folded = plan.folded & nodes
        key = (row == 0, nodes, folded)
        if key not in self._known:
            found = layouts(self.body, sorted(nodes), folded, row, self.pins)
            self._known[key] = tuple(islice(found, LAYOUTS_TRIED))
        return self._known[key]


def _by_row(plan: RowPlan) -> dict[int, frozenset[int]]:
    rows: dict[int, set[int]] = {}
    for i, row in plan.row_of.items():
        rows.setdefault(row, set()).add(i)
    return {row: frozenset(nodes) for row, nodes in rows.items()}
