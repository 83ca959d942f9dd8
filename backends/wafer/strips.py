"""Strips: a placement by dynamic programming, in a second or two per target time.

The fabric is cut into columns through which the network runs as a snake: down the first, up the second, and so on.
A column is a *lane*: blocks (:mod:`.blocks`) of one to a few consecutive kernels, in a depth-first topological order,
one after the other. At a target time a block has, for every column width W, a height and a wirelength; both add up.

    lane [i, j) of width W:  min sum over blocks (length + lambda height)   for several lambda,
                             then the least length whose height fits
    snake:                   min sum over lanes (length(i, j, W) + W / 2 per edge at each turn),  sum W <= width

The second program is exact in its own terms; the placement is scored by its real centres afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mapper.kgraph import KernelGraph

from .blocks import NEVER, PRICES, Blocks, Floats, renamed, upside_down
from .shapes import FAR, Ints, Menu, curve
from .trees import Box, Columns, Rows, Tree, boxes_at, leaves

__all__ = [
    "Lane",
    "Plan",
    "Snake",
    "StripLimits",
    "groups_of",
    "lanes",
    "place_strips",
    "snake_plan",
    "topological_order",
]


@dataclass(frozen=True, slots=True)
class StripLimits:
    """Most kernels in a block."""

    group: int = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """A slicing tree over the kernels with the boxes that it was read as."""

    tree: Tree
    boxes: tuple[Box, ...]


def topological_order(graph: KernelGraph) -> tuple[int, ...]:
    """Depth first from the sources, so that chains stay together; a kernel follows when its last input is placed."""
    count = len(graph.kernels)
    successors: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for a, b in graph.wires:
        successors[a].append(b)
        missing[b] += 1
    stack = [k for k in reversed(range(count)) if missing[k] == 0]
    order: list[int] = []
    while stack:
        kernel = stack.pop()
        order.append(kernel)
        for after in reversed(successors[kernel]):
            missing[after] -= 1
            if missing[after] == 0:
                stack.append(after)
    rest = sorted(set(range(count)) - set(order))  # a circle cannot be ordered: keep the file's order
    return tuple(order + rest)


# ---------------------------------------------------------------------------------------------- the two programs
class Snake:
    """The order of the kernels with their curves at one target, and blocks computed once per kind."""

    def __init__(self, graph: KernelGraph, menus: Sequence[Menu], limits: StripLimits) -> None:
        order = topological_order(graph)
        menus = [menus[k] for k in order]
        self.order = order
        self.width, self.height, self.limits = graph.width, graph.height, limits
        self.curves = [curve(m, graph.width, graph.height) for m in menus]
        place = {kernel: position for position, kernel in enumerate(order)}
        self.edges = sorted((min(place[a], place[b]), max(place[a], place[b])) for a, b in graph.wires)
        self.count = len(order)
        side = max(graph.width, graph.height)
        kinds = [menus.index(m) for m in menus]
        self.blocks = Blocks([curve(m, side, side) for m in menus], kinds, self.edges)

    @property
    def possible(self) -> bool:
        """Has every kernel a rectangle?"""
        return all(int(c.min()) < FAR for c in self.curves)


@dataclass(frozen=True, slots=True)
class Lane:
    """Kernels [start, stop) one block after the other: reach and length per price and breadth."""

    start: int
    stop: int
    reach: Ints
    length: Floats


def lanes(snake: Snake, start: int) -> Iterator[Lane]:
    """The first program: lanes from `start` to every stop, while some breadth lets them end inside the fabric."""
    cost, zero = [np.zeros((len(PRICES), snake.blocks.side + 1))], np.zeros(1, dtype=np.int64)
    tables = [Lane(start, start, zero, np.zeros(1))]
    for stop in range(start + 1, snake.count + 1):
        begins = range(max(start, stop - snake.limits.group), stop)
        last = [snake.blocks.block(i, stop) for i in begins]
        totals = np.stack([cost[i - start] + b.cost for i, b in zip(begins, last, strict=True)])
        best = totals.argmin(axis=0)[None]
        cost.append(np.take_along_axis(totals, best, 0)[0])
        before = [tables[i - start] for i in begins]
        reach = np.stack([t.reach + b.reach for t, b in zip(before, last, strict=True)])
        length = np.stack([t.length + b.length for t, b in zip(before, last, strict=True)])
        chosen = (np.take_along_axis(part, best, 0)[0] for part in (reach, length))
        tables.append(Lane(start, stop, *chosen))
        if int(tables[-1].reach.min()) > snake.blocks.side:
            return
        yield tables[-1]


def groups_of(snake: Snake, start: int, stop: int, price: int, breadth: int) -> list[Tree]:
    """The blocks of a lane's entry, read by running the first program again; trees over positions of the order."""
    cost = {start: 0.0}
    back: dict[int, int] = {}
    for end in range(start + 1, stop + 1):
        begins = range(max(start, end - snake.limits.group), end)
        totals = [cost[i] + snake.blocks.block(i, end).cost[price, breadth] for i in begins]
        cost[end], back[end] = min(zip(totals, begins, strict=True))
    trees: list[Tree] = []
    while stop > start:
        trees.append(snake.blocks.tree(back[stop], stop, price, breadth))
        stop = back[stop]
    return trees[::-1]


@dataclass(frozen=True, slots=True)
class _Column:
    """Kernels [start, stop) at width `width` with price number `price`."""

    start: int
    stop: int
    width: int
    price: int
    length: float


def _columns_from(snake: Snake, start: int) -> Iterator[_Column]:
    """For every stop, the widths at which the column [start, stop) is worth having."""
    for lane in lanes(snake, start):
        within = np.s_[:, : snake.width + 1]
        fits = lane.reach[within] <= snake.height
        yield from _worth_having(start, lane.stop, np.where(fits, lane.length[within], NEVER))


def _worth_having(start: int, stop: int, length: Floats) -> list[_Column]:
    """Widths at which the best length falls below that of every smaller width."""
    price, least = length.argmin(axis=0), length.min(axis=0)
    before = np.concatenate(([NEVER], np.minimum.accumulate(least)[:-1]))
    return [_Column(start, stop, int(w), int(price[w]), float(least[w])) for w in np.flatnonzero(least < before)]


def _snake_columns(snake: Snake) -> list[_Column] | None:
    """The second program: least total length over column sequences whose widths fit side by side."""
    turn = [snake.blocks.crossing(i) / 2 if 0 < i < snake.count else 0.0 for i in range(snake.count + 1)]
    best = np.full((snake.count + 1, snake.width + 1), NEVER)
    best[0, :] = 0.0
    chosen: list[dict[int, _Column]] = [{} for _ in range(snake.count + 1)]
    for start in range(snake.count):
        if best[start].min() >= NEVER:
            continue
        for column in _columns_from(snake, start):
            w = column.width
            extra = column.length + w * (turn[column.start] + turn[column.stop])
            value = best[start, : snake.width + 1 - w] + extra
            target = best[column.stop, w:]
            better = value < target
            if better.any():
                target[better] = value[better]
                for used in np.flatnonzero(better).tolist():
                    chosen[column.stop][used + w] = column
    if best[snake.count, snake.width] >= NEVER:
        return None
    columns: list[_Column] = []
    stop, used = snake.count, snake.width
    while stop:
        columns.append(chosen[stop][used])
        stop, used = columns[-1].start, used - columns[-1].width
    return columns[::-1]


def _plan(snake: Snake, columns: Sequence[_Column]) -> Plan:
    """Lay the columns side by side, every other one upside down, each starting where the last one ended."""
    boxes: dict[int, Box] = {}
    parts: list[Tree] = []
    x = at = 0
    curves, order = snake.curves, snake.order
    for number, column in enumerate(columns):
        groups = groups_of(snake, column.start, column.stop, column.price, column.width)
        if number % 2:
            groups = [upside_down(tree) for tree in groups[::-1]]
        rows = Rows(tuple(groups))
        wide = np.array([column.width])
        placed = boxes_at(rows, curves, snake.height, np.array([x]), np.array([0]), wide)
        extent = max(int(b[1][0] + b[3][0]) for b in placed.values())
        base = min(max(0, at - extent if number % 2 else at), snake.height - extent)
        for position, (bx, by, bw, bh) in placed.items():
            boxes[order[position]] = Box(int(bx[0]), int(by[0]) + base, int(bw[0]), int(bh[0]))
        at = base if number % 2 else base + extent
        parts.append(renamed(rows, order))
        x += column.width
    tree: Tree = Columns(tuple(parts))
    assert sorted(leaves(tree)) == sorted(order)
    return Plan(tree, tuple(boxes[k] for k in range(len(order))))


def place_strips(graph: KernelGraph, menus: Sequence[Menu], limits: StripLimits = StripLimits()) -> Plan | None:
    """The snake of least estimated wirelength for these shapes (one menu a kernel); None where no snake fits."""
    return snake_plan(Snake(graph, menus, limits))


def snake_plan(snake: Snake) -> Plan | None:
    """The plan of an order whose blocks may be there already."""
    columns = _snake_columns(snake) if snake.possible else None
    return None if columns is None else _plan(snake, columns)
