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

from .table import FAR, Ints

__all__ = ["Box", "Floor", "pack"]

SHELF_LIMIT = 40  # most stages side by side
COLUMNS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of cores with its top left corner."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Floor:
    """The mesh to fill."""

    height: int
    width: int
    dead: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Stages [start, stop) on the snake from `at` on."""

    start: int
    stop: int
    at: int
    height: int


def pack(curves: Sequence[Ints], floor: Floor, columns: Sequence[int] = COLUMNS) -> list[Box] | None:
    """Boxes of stages whose least height at width w is `curves[stage][w]`; None if they do not fit this way.

    Of the column counts that fit, the one that leaves most of the snake empty.
    """
    heights = _heights(floor.height)
    widths = np.stack([_least_widths(curve, heights) for curve in curves])
    least = int(widths[:, -1].max())
    best: tuple[float, list[Box]] | None = None
    for count in columns:
        if floor.width // count < least:
            continue
        shelves = _snake(widths, heights, floor, count)
        if shelves is None:
            continue
        full = (shelves[-1].at + shelves[-1].height) / (count * floor.height)
        if best is None or full < best[0]:
            best = full, _boxes(shelves, widths, heights, floor, count)
    return best[1] if best else None


def _heights(height: int) -> Ints:
    """Shelf heights tried: all small ones, then steps of a hundredth."""
    found, at = [1], 1
    while at < height:
        at = min(height, at + max(1, at // 100))
        found.append(at)
    return np.array(found)


def _least_widths(curve: Ints, heights: Ints) -> Ints:
    """For each height the least width of a falling shape curve."""
    widths = np.searchsorted(-curve, -heights)
    return np.where(widths < len(curve), widths, FAR)


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


def _boxes(shelves: Sequence[_Shelf], widths: Ints, heights: Ints, floor: Floor, columns: int) -> list[Box]:
    """Coordinates: odd columns stand on their heads; a shelf's stages share what is left of its width."""
    wide, boxes = floor.width // columns, []
    for shelf in shelves:
        number, at = divmod(shelf.at, floor.height)
        row = floor.height - at - shelf.height if number % 2 else at
        need = widths[shelf.start : shelf.stop, int(np.searchsorted(heights, shelf.height))]
        ends = np.cumsum(need) * wide // int(need.sum())
        for start, stop in zip((0, *ends[:-1]), ends, strict=True):
            boxes.append(Box(row, number * wide + int(start), shelf.height, int(stop - start)))
    return boxes
