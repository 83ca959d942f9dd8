"""Rows as variables: the order encoding that every constraint family of the row model is written in.

A group of nodes that share a row has below[g, r] for the rows between its first and its last; outside them the value is
known, and every accessor then gives a number, so that fixed nodes cost the solver nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mapper.solver import Expression, Model, Variable

from .rules import Body

Spans = Mapping[int, tuple[int, int]]


class RowOrder:
    """A CP-SAT model with the variables below[g, r] of a body's groups, for `rows` rows and the nodes' `spans`."""

    def __init__(self, body: Body, rows: int, spans: Spans) -> None:
        self.body, self.rows, self.spans = body, rows, spans
        self.model = Model()
        self._group_spans = {g: self._common_span(members) for g, members in body.groups.items()}
        self.trivially_infeasible = any(low > high for low, high in self._group_spans.values())
        self.variables = {} if self.trivially_infeasible else self._order_variables()

    def _order_variables(self) -> dict[tuple[int, int], Variable]:
        """below[g, r] <= below[g, r + 1] between the first and the last row of each group."""
        found = {}
        for g, (low, high) in self._group_spans.items():
            for row in range(low, high):
                found[g, row] = self.model.flag(f"b{g}.{row}")
                if row > low:
                    self.model.add_implication(found[g, row - 1], found[g, row])
        return found

    def below(self, i: int, row: int) -> Expression:
        """1 if node i sits in `row` or above it."""
        known = self.variables.get((self.body.group_of[i], row))
        return known if known is not None else int(row >= self.last(i))

    def at(self, i: int, row: int) -> Expression:
        """1 if node i sits in `row`."""
        return self.below(i, row) - self.below(i, row - 1)

    def first(self, i: int) -> int:
        return self._group_spans[self.body.group_of[i]][0]

    def last(self, i: int) -> int:
        return self._group_spans[self.body.group_of[i]][1]

    def _common_span(self, members: Sequence[int]) -> tuple[int, int]:
        return max(self.spans[i][0] for i in members), min(self.spans[i][1] for i in members)

    def in_row(self, nodes: Iterable[int]) -> list[list[int]]:
        """Per row, the nodes that can be there."""
        found: list[list[int]] = [[] for _ in range(self.rows)]
        for i in nodes:
            for row in range(self.first(i), self.last(i) + 1):
                found[row].append(i)
        return found
