"""Rectangles without overlap: shelves on a snake, by dynamic programming over the order of the network.

The mesh is cut into equal columns of cores; a column is filled by *shelves* one above the other, and a shelf holds
consecutive stages side by side. With the shape curve of every stage (least width at each height),

    a shelf [i, j) of height h fits a column of width W   iff   sum of least widths at h <= W
    end(j) = min over i, h of end(i) + h                  along the snake; a shelf that would cross the end of a column
                                                          (or a dead core) starts behind it

Least ends dominate, so the program is exact in these terms; every number of columns is tried. Odd columns are filled
from the bottom upwards, so that neighbours in the network stay neighbours where the snake turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .packing import Columns, Floor, Packing, Stacks, heights_up_to, least_widths
from .table import FAR, Ints

__all__ = ["pack"]

SHELF_LIMIT = 40  # most stages side by side
COLUMNS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Stages [start, stop) on the snake from `at` on."""

    start: int
    stop: int
    at: int
    height: int


def pack(curves: Sequence[Ints], floor: Floor, columns: Sequence[int] = COLUMNS) -> Packing | None:
    """A plan of stages whose least height at width w is `curves[stage][w]`; None if they do not fit this way.

    Of the column counts that fit, the one that leaves most of the snake empty.
    """
    heights = heights_up_to(floor.height)
    widths = np.stack([least_widths(curve, heights) for curve in curves])
    least = int(widths[:, -1].max())
    best: tuple[float, Packing] | None = None
    for count in columns:
        if floor.width // count < least:
            continue
        shelves = _snake(widths, heights, floor, count)
        if shelves is None:
            continue
        full = (shelves[-1].at + shelves[-1].height) / (count * floor.height)
        if best is None or full < best[0]:
            packed = _columns(shelves, count, floor.height)
            best = full, Packing(packed, np.stack(curves), floor.width // count, floor)
    return best[1] if best else None


def _snake(widths: Ints, heights: Ints, floor: Floor, columns: int) -> list[_Shelf] | None:
    """The shelves in order, or None if the snake is too short."""
    wide, stages = floor.width // columns, len(widths)
    blocked = _blocked(floor, wide, columns)
    end = np.full(stages + 1, FAR, np.int64)
    end[0] = 0
    last: list[_Shelf | None] = [None] * (stages + 1)
    for first in range(stages):
        if end[first] >= FAR:
            continue
        for stop, tall in _shelves(widths, heights, first, wide):
            at = _free_from(int(end[first]), tall, floor.height, blocked)
            if at + tall <= columns * floor.height and at + tall < end[stop]:
                end[stop] = at + tall
                last[stop] = _Shelf(first, stop, at, tall)
    return list(_traced(last, stages))[::-1] if end[stages] < FAR else None


def _traced(last: Sequence[_Shelf | None], stop: int) -> Iterator[_Shelf]:
    while (shelf := last[stop]) is not None:
        yield shelf
        stop = shelf.start


def _shelves(widths: Ints, heights: Ints, first: int, wide: int) -> Iterator[tuple[int, int]]:
    """(end, least height) of the shelves that start at a stage."""
    total = np.cumsum(widths[first : first + SHELF_LIMIT], axis=0)
    least = (total > wide).sum(axis=1)
    for number, position in enumerate(least):
        if position < len(heights):
            yield first + number + 1, int(heights[position])


def _blocked(floor: Floor, wide: int, columns: int) -> list[int]:
    """Places on the snake with a dead core, ascending."""
    found = set()
    for row, column in floor.dead:
        number = column // wide
        if number < columns:
            found.add(number * floor.height + (floor.height - 1 - row if number % 2 else row))
    return sorted(found)


def _free_from(at: int, tall: int, height: int, blocked: Sequence[int]) -> int:
    """The first place from `at` on where a shelf fits into its column beside dead cores."""
    while True:
        start = at
        if at // height != (at + tall - 1) // height:
            at = (at // height + 1) * height
        for place in blocked:
            if at <= place < at + tall:
                at = place + 1
        if at == start:
            return at


def _columns(shelves: Sequence[_Shelf], count: int, height: int) -> Columns:
    """The snake cut into columns; odd ones are run through from the bottom."""
    found: list[list[Stacks]] = [[] for _ in range(count)]
    for shelf in shelves:
        found[shelf.at // height].append(tuple((stage,) for stage in range(shelf.start, shelf.stop)))
    return tuple(tuple(reversed(column)) if n % 2 else tuple(column) for n, column in enumerate(found))
