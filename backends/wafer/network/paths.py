"""Ways over the mesh between two rectangles: straight ones, and ones with one or two turns, for bundles of lanes.

Lane i is lane 0 displaced by i x stride. Straight bundles are displaced sideways. With turns the stride is a
diagonal, chosen so that the lanes nest and never meet (a step turns there and back):

    right and down, left and up     (1, -1)          right and up, left and down     (1, 1)

A bundle of n lanes with turns starts and ends in squares of n x n cores of its rectangles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

from .packing import Box

__all__ = ["Link", "Path", "Place", "between", "box_distance", "entering", "leaving", "walk"]

STEPS = (0.5, 0.25, 0.75)  # where on the way a step may lie
Place = tuple[int, int]
Link = tuple[Place, Place]


@dataclass(frozen=True, slots=True)
class Path:
    """The routers of lane 0 in order."""

    places: tuple[Place, ...]
    lanes: int
    stride: Place


def box_distance(a: Box, b: Box) -> int:
    """Links between the nearest cores of two boxes."""
    rows = max(0, b.row - (a.row + a.height - 1), a.row - (b.row + b.height - 1))
    columns = max(0, b.column - (a.column + a.width - 1), a.column - (b.column + b.width - 1))
    return rows + columns


def between(a: Box, b: Box, wanted: int) -> Iterator[Path]:
    """Ways from one box into another: as many lanes as wanted, then more, then fewer."""
    for lanes in (wanted, 2 * wanted, 3 * wanted, *(wanted >> n for n in range(1, wanted.bit_length()))):
        yield from _straight(a, b, lanes)
        yield from _turning(a, b, lanes)
        yield from _stepping(a, b, lanes)


def entering(box: Box, wanted: int) -> Iterator[Path]:
    """Straight along rows from the west edge."""
    return _along_rows(box, wanted, 0, box.column)


def leaving(box: Box, wanted: int, mesh_width: int) -> Iterator[Path]:
    """Straight along rows to the east edge; a link at least, so that the end shows."""
    return _along_rows(box, wanted, min(box.column + box.width - 1, mesh_width - 2), mesh_width - 1)


def _along_rows(box: Box, wanted: int, first: int, last: int) -> Iterator[Path]:
    lanes = min(wanted, box.height)
    while lanes >= 1:
        for row in range(box.row, box.row + box.height - lanes + 1, lanes):
            yield Path(tuple((row, column) for column in range(max(0, first), last + 1)), lanes, (1, 0))
        lanes //= 2


def _straight(a: Box, b: Box, lanes: int) -> Iterator[Path]:
    """Along rows or columns that both boxes share."""
    low, high = max(a.row, b.row), min(a.row + a.height, b.row + b.height)
    if high - low >= lanes:
        start, end = (a.column + a.width - 1, b.column) if a.column < b.column else (a.column, b.column + b.width - 1)
        for row in _spots(low, high - lanes):
            yield Path(walk((row, start), (row, end), False), lanes, (1, 0))
    low, high = max(a.column, b.column), min(a.column + a.width, b.column + b.width)
    if high - low >= lanes:
        start, end = (a.row + a.height - 1, b.row) if a.row < b.row else (a.row, b.row + b.height - 1)
        for column in _spots(low, high - lanes):
            yield Path(walk((start, column), (end, column), False), lanes, (0, 1))


def _spots(low: int, high: int) -> list[int]:
    """A few places between two, the middle first."""
    middle = (low + high) // 2
    return list(dict.fromkeys((middle, low, high, (low + middle) // 2, (middle + high) // 2)))


def _turning(a: Box, b: Box, lanes: int) -> Iterator[Path]:
    """With one turn, between squares of `lanes` x `lanes` cores, the nearest ones first."""
    if lanes > min(a.height, a.width, b.height, b.width):
        return
    rows = _facing(a.row, a.height, b.row, b.height, lanes)
    columns = _facing(a.column, a.width, b.column, b.width, lanes)
    for (ra, rb), (ca, cb), column_first in product(rows, columns, (False, True)):
        falling = (rb - ra) * (cb - ca) > 0
        shift = lanes - 1 if falling else 0
        stride = ((1, -1) if falling else (1, 1)) if lanes > 1 else (0, 0)
        yield Path(walk((ra, ca + shift), (rb, cb + shift), column_first), lanes, stride)


def _stepping(a: Box, b: Box, lanes: int) -> Iterator[Path]:
    """With two turns, a step on the way: between the same squares as with one, at a few places between them."""
    if lanes > min(a.height, a.width, b.height, b.width):
        return
    rows = _facing(a.row, a.height, b.row, b.height, lanes)
    columns = _facing(a.column, a.width, b.column, b.width, lanes)
    for (ra, rb), (ca, cb) in product(rows, columns):
        falling = (rb - ra) * (cb - ca) > 0
        shift = lanes - 1 if falling else 0
        stride = ((1, -1) if falling else (1, 1)) if lanes > 1 else (0, 0)
        start, end = (ra, ca + shift), (rb, cb + shift)
        for share in STEPS:
            row, column = round(ra + (rb - ra) * share), round(start[1] + (end[1] - start[1]) * share)
            if row not in (ra, rb):
                yield Path(_through(start, (row, start[1]), (row, end[1]), end), lanes, stride)
            if column not in (start[1], end[1]):
                yield Path(_through(start, (ra, column), (rb, column), end), lanes, stride)


def _through(*corners: Place) -> tuple[Place, ...]:
    """The routers along straight lines from corner to corner."""
    found: tuple[Place, ...] = corners[:1]
    for here, there in pairwise(corners):
        found += _line(here, there)[1:]
    return found


def _facing(a: int, a_size: int, b: int, b_size: int, lanes: int) -> list[tuple[int, int]]:
    """First rows (or columns) of `lanes` in both ranges: as near to each other as can be, then elsewhere."""
    a_last, b_last = a + a_size - lanes, b + b_size - lanes
    if a_last < b:
        nearest = (a_last, b)
    elif b_last < a:
        nearest = (a, b_last)
    else:
        nearest = ((max(a, b) + min(a_last, b_last)) // 2,) * 2
    return list(dict.fromkeys((nearest, ((a + a_last) // 2, (b + b_last) // 2), (a, b), (a_last, b_last))))


def walk(start: Place, end: Place, column_first: bool) -> tuple[Place, ...]:
    """The routers from start to end with one turn."""
    turn = (end[0], start[1]) if column_first else (start[0], end[1])
    return (*_line(start, turn), *_line(turn, end)[1:])


def _line(start: Place, end: Place) -> tuple[Place, ...]:
    rows, columns = end[0] - start[0], end[1] - start[1]
    down, right = (rows > 0) - (rows < 0), (columns > 0) - (columns < 0)
    return tuple((start[0] + i * down, start[1] + i * right) for i in range(abs(rows) + abs(columns) + 1))
