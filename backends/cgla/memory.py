"""Memory operations in the row model: the columns that each transfer descriptor takes (rules 12-14, 16, 17).

A row has four columns of memory units. A descriptor takes as many as its operations need units; if its region needs
half of the row's memory it takes whole halves, if it needs all of it the row. A stored region is one group of
operations and takes one column, a pair or the row. All are lower bounds, exact but for address compatibility inside a
class of loads that may share units only in part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mapper.solver import Expression

from .bounds import sharing_classes
from .order import RowOrder
from .rules import COLUMNS, HALF, QUARTER, WHOLE, Body


def limit_columns(order: RowOrder, merged: Sequence[Sequence[int]] = ()) -> None:
    """Per row: the columns that the descriptors take, split losses included, sum to at most 4. Each of the `merged`
    sets of loads counts as if all its loads could share units."""
    per_row: list[list[Expression]] = [[] for _ in range(order.rows)]
    stored = order.body.stored_regions
    apart = {i for nodes in merged for i in nodes}
    loads = [i for i in order.body.memory_nodes if order.body.memory(i).region not in stored and i not in apart]
    by_descriptor: dict[int, list[int]] = defaultdict(list)
    for i in loads:
        by_descriptor[order.body.memory(i).descriptor].append(i)
    for nodes in by_descriptor.values():
        _loaded_columns(order, nodes, per_row)
    for region in stored:
        _stored_columns(order, region, per_row)
    for alike in merged:
        for row, here in enumerate(order.in_row(alike)):
            if here:
                per_row[row].append(_units(order, here, row))
    for terms in per_row:
        if terms:
            order.model.add(sum(terms) <= COLUMNS)


def _loaded_columns(order: RowOrder, nodes: Sequence[int], per_row: list[list[Expression]]) -> None:
    """Units of one descriptor: a pair takes one; of a class that may share, n take at least ceil(n / 2)."""
    classes = [
        order.in_row(part) for part in sharing_classes(order.body, [i for i in nodes if i not in order.body.partner])
    ]
    pairs = order.in_row(i for i in nodes if i in order.body.partner and order.body.memory(i).pair is None)
    for row in range(order.rows):
        units = [_units(order, part[row], row) for part in classes if part[row]]
        units += [order.at(i, row) for i in pairs[row]]
        if units:
            here = [i for part in (*classes, pairs) for i in part[row]]
            per_row[row].append(_columns(order, units, here, row))


def _units(order: RowOrder, nodes: Sequence[int], row: int, least: Expression = 0) -> Expression:
    """u >= least, u >= at[i], 2 u >= sum of at[i]."""
    if len(nodes) == 1 and isinstance(least, int):
        return order.at(nodes[0], row)
    units = order.model.integer(0, COLUMNS)
    order.model.add(2 * units >= sum(order.at(i, row) for i in nodes))
    for i in nodes:
        order.model.add(units >= order.at(i, row))
    if not isinstance(least, int):
        order.model.add(units >= least)
    return units


def _columns(order: RowOrder, units: Sequence[Expression], nodes: Sequence[int], row: int) -> Expression:
    """Columns of one descriptor: its units, or whole halves (need 1/2: 2 h >= units), or the row (4 w >= units)."""
    need = min(order.body.need(i) for i in nodes)
    if need == QUARTER:
        return sum(units)
    taken = order.model.integer(0, 2) if need == HALF else order.model.flag()
    order.model.add(need * taken >= sum(units))
    for i in nodes:
        order.model.add(taken >= order.at(i, row))
    return need * taken


def _stored_columns(order: RowOrder, region: int, per_row: list[list[Expression]]) -> None:
    """A stored region's group takes one column, a pair, or the row; loads of a split region come on top."""
    bound = order.body.stored_regions[region]
    stores = [i for i in bound if order.body.kind(i) == "store"]
    loose = [i for i in order.body.memory_nodes if order.body.memory(i).region == region and i not in bound]
    width = _group_columns(max(len(stores), -(-len(bound) // 2)), min(order.body.need(i) for i in bound))
    rows = order.in_row(loose)
    for row in range(order.rows):
        anchor = order.at(bound[0], row) if order.first(bound[0]) <= row <= order.last(bound[0]) else 0
        if rows[row]:
            shared = _units(order, [*rows[row], *stores], row, len(stores) * anchor)
            columns = _columns(order, [shared], rows[row], row)
            per_row[row].append(_at_least(order, columns, width * anchor))
        elif not (isinstance(anchor, int) and anchor == 0):
            per_row[row].append(width * anchor)


def _at_least(order: RowOrder, first: Expression, second: Expression) -> Expression:
    larger = order.model.integer(0, COLUMNS)
    order.model.add(larger >= first)
    order.model.add(larger >= second)
    return larger


def _group_columns(units: int, need: int) -> int:
    """Columns that `units` units of one memory group take: alone, as a merged pair, or as the whole row."""
    return max(need if need != QUARTER else 1, units if units <= 2 else WHOLE)


@dataclass(frozen=True)
class ColumnCount:
    """The same count for a row whose operations are known; loads of a split region come free beside its stores."""

    body: Body
    merged: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def _class(self) -> dict[int, int]:
        """Load that is no pair's half and not bound to a stored region -> number of the class that shares units."""
        body, merged = self.body, {i for nodes in self.merged for i in nodes}
        by_descriptor: dict[int, list[int]] = defaultdict(list)
        for i in body.memory_nodes:
            if body.memory(i).region not in body.stored_regions and i not in merged and i not in body.partner:
                by_descriptor[body.memory(i).descriptor].append(i)
        classes = [c for nodes in by_descriptor.values() for c in sharing_classes(body, nodes)]
        return {i: n for n, nodes in enumerate([*self.merged, *classes]) for i in nodes}

    def class_of(self, i: int) -> int:
        """Loads of one class take units alike; -1 for loads that share with none but a partner."""
        return self._class.get(i, -1)

    def of(self, nodes: Iterable[int]) -> int:
        """Columns that the memory operations `nodes` of one row take at least."""
        body, counts, regions = self.body, dict[int, list[int]](), set[int]()
        units: dict[tuple[int, int], int] = defaultdict(int)  # (descriptor or -1 - merged class, need)
        for i in nodes:
            use = body.memory(i)
            if use.region in body.stored_regions:
                if i in body.stored_regions[use.region]:
                    regions.add(use.region)
            elif i in self._class:
                counts.setdefault(self._class[i], []).append(i)
            elif use.pair is None:
                units[use.descriptor, body.need(i)] += 1
        for number, members in counts.items():
            is_merged = number < len(self.merged)
            key = (-1, QUARTER) if is_merged else (body.memory(members[0]).descriptor, body.need(members[0]))
            units[key] += -(-len(members) // 2)
        loaded = sum(need * -(-n // need) for (_, need), n in units.items())
        return loaded + sum(self._stored(region) for region in regions)

    def _stored(self, region: int) -> int:
        bound = self.body.stored_regions[region]
        stores = sum(self.body.kind(i) == "store" for i in bound)
        return _group_columns(max(stores, -(-len(bound) // 2)), min(self.body.need(i) for i in bound))
