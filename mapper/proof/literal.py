"""Counts by playing: every tile loop is stepped, every fill delivers the set of elements that it delivers.

The loops are played all at once into one table, a row per point of the domain in the order of the play, with the step
of each tile loop. A fill of a buffer is then a group of rows: those that agree on the temporal loops up to the
refilling one and on the spatial loops before the buffer. What it delivers is the set of element numbers on its rows.
Nothing relies on products or pieces, so it holds the closed-form replay to account; it needs memory for all points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapper.ir import Op
from mapper.mapping import Axis, Mapping, Stage

from .chains import Feed, copy_loops, feeds, strides
from .slices import Group
from .tally import LinkCount, ends

__all__ = ["Table", "literal_links", "play"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Table:
    """A row per point in the order of the play: `step[position]` of each tile loop, `value[name]` of each loop."""

    step: tuple[Array, ...]
    value: dict[str, Array]

    @property
    def rows(self) -> int:
        return len(next(iter(self.value.values()))) if self.value else 1


def play(stage: Stage, op: Op) -> Table:
    """Step every tile loop of every row played so far, outermost first; a loop makes as many trips as it says."""
    start = {name: np.zeros(1, np.int64) for name in op.extents}
    size = {name: np.full(1, extent, np.int64) for name, extent in op.extents.items()}
    steps: list[Array] = []
    for tile in stage.loops:
        trips = np.minimum(-(-size[tile.loop] // tile.step), tile.trips)
        owner = np.repeat(np.arange(len(trips)), trips)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(trips) - trips, trips)
        start, size = ({n: column[owner] for n, column in columns.items()} for columns in (start, size))
        steps = [*(column[owner] for column in steps), number]
        start[tile.loop] = start[tile.loop] + number * tile.step
        size[tile.loop] = np.minimum(tile.step, size[tile.loop] - number * tile.step)
    return Table(tuple(steps), start)


def literal_links(mapping: Mapping, stage: Stage, op: Op) -> list[LinkCount]:
    """What each link of a stage counts when its loops are played."""
    axes = {axis.name: axis for axis in mapping.axes}
    table = play(stage, op)
    charged = (feed for feed in feeds(mapping, stage, op) if not feed.buffer.resident)
    return [_Link(stage, op, feed, axes, table).count() for feed in charged]


@dataclass(frozen=True)
class _Link:
    stage: Stage
    op: Op
    feed: Feed
    axes: dict[str, Axis]
    table: Table

    def count(self) -> LinkCount:
        feed, merged = self.feed, copy_loops(self.feed, self.stage, self.axes, multicast=True, hop=False)
        event, steps = self._events(frozenset())
        elements = self._elements(event)
        received, sent = int(elements.sum()), int(self._elements(self._events(merged)[0]).sum())
        first, way = self._ways(steps)
        hops = int((elements * way).sum())
        source, target = ends(feed)
        if not feed.written:
            return LinkCount(feed.operand, source, target, sent, received, hops)
        entry = int((elements * way)[first].sum())
        done, last = self._last_drains(event, first, way)
        return LinkCount(feed.operand, source, target, received, sent, hops,
                         received - done, sent - done, hops - last, entry - last)  # fmt: skip

    def _rows(self) -> Array:
        """Rows on which the link is looked at: all, or the first steps of reducing loops for what happens once."""
        keep = np.ones(self.table.rows, bool)
        for tile, step in zip(self.stage.loops, self.table.step, strict=True):
            if self.feed.once and tile.loop not in self.op.output_loops:
                keep &= step == 0
        return np.flatnonzero(keep)

    def _events(self, merged: frozenset[int]) -> tuple[Array, Array]:
        """The number of the fill to which each row belongs, and the steps (a column per tile loop) of each fill."""
        keys = np.full((len(self._rows()), len(self.stage.loops)), -1, np.int64)
        for position, tile in enumerate(self.stage.loops):
            stepping = position <= self.feed.last if tile.axis is None else position < self.feed.buffer.depth
            if stepping and position not in merged:
                keys[:, position] = self.table.step[position][self._rows()]
        if not len(self.stage.loops):
            return np.zeros(len(keys), np.int64), keys[:1]
        steps, event = np.unique(keys, axis=0, return_inverse=True)
        return event.ravel(), steps

    def _numbers(self, groups: Sequence[Group]) -> tuple[Array, Array]:
        """Element number within `groups` per row, and whether it lies inside the tensor."""
        rows = self._rows()
        value = {n: column[rows] for n, column in self.table.value.items()}
        number, inside = np.zeros(len(rows), np.int64), np.ones(len(rows), bool)
        for index, extent in (dimension for group in groups for dimension in group.dimensions):
            at = np.broadcast_to(np.asarray(index.at(value, lambda atom: 0)), number.shape)
            inside &= (at >= 0) & (at < extent)
            number = number * extent + at
        return number, inside

    def _points(self, group: Group) -> Array:
        """A number per point of the group's loops: data decides on the element, one is counted for each point."""
        number = np.zeros(len(self._rows()), np.int64)
        for name in group.loops:
            number = number * self.op.extents[name] + self.table.value[name][self._rows()]
        return number

    def _elements(self, event: Array) -> Array:
        """Distinct elements that each fill delivers."""
        events = int(event.max(initial=-1)) + 1
        total = np.ones(events, np.int64)
        number, inside = self._numbers([group for group in self.feed.groups if not group.gathered])
        total *= _distinct(event[inside], number[inside], events)
        for group in (group for group in self.feed.groups if group.gathered):
            total *= np.minimum(_distinct(event, self._points(group), events), group.elements)
        return total

    def _ways(self, steps: Array) -> tuple[Array, Array]:
        """Per fill: is it the first copy on its lines, and how many links does it cross (from the entry, else from the
        copy before it)?"""
        distance = strides(self.stage)
        copies = copy_loops(self.feed, self.stage, self.axes, multicast=False, hop=True)
        first, way = np.ones(len(steps), bool), np.zeros(len(steps), np.int64)
        for position in range(self.feed.above, self.feed.buffer.depth):
            axis = self.stage.loops[position].axis
            if axis is not None and self.axes[axis].hop and position not in copies:
                way += steps[:, position] * distance[position]
        for position in sorted(copies):  # the innermost step that is not the first decides who hands on
            handed = steps[:, position] > 0
            way, first = np.where(handed, distance[position], way), first & ~handed
        return first, way

    def _last_drains(self, event: Array, first: Array, way: Array) -> tuple[int, int]:
        """Elements that are drained at all (each once for the last time), and the links that last drains cross."""
        done = int(self._elements(np.zeros_like(event)).sum())
        if self._scatters():
            return done, 0
        number, inside = self._numbers(self.feed.groups)
        mine = inside & first[event]
        element, row = np.unique(number[mine][::-1], return_index=True)
        return done, int(way[event[mine][::-1][row]].sum())

    def _scatters(self) -> bool:
        """Do points that differ in an output loop write one element, or does data decide which they write?"""
        if self.feed.data_decides(self.op):
            return True
        number, inside = self._numbers(self.feed.groups)
        names = sorted(self.op.output_loops)
        columns = [number, *(self.table.value[name][self._rows()] for name in names)]
        points = np.unique(np.stack(columns, axis=1)[inside], axis=0)
        return len(points) != len(np.unique(points[:, 0]))


def _distinct(event: Array, number: Array, events: int) -> Array:
    pairs = np.unique(np.stack([event, number], axis=1), axis=0)
    found: Array = np.bincount(pairs[:, 0], minlength=events)
    return found
