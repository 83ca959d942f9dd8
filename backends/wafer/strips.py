"""Strips: a placement by dynamic programming, in a second or two per target time.

The fabric is cut into columns through which the network runs as a snake: down the first, up the second, and so on.
A column is filled by *groups* of one to a few consecutive kernels (in a depth-first topological order); a group is one
full-width plate, or stacks side by side. At a target time every group option has, for every column width W, a height
and a wirelength. The wirelength is separable along the snake: edges inside a group are exact, edges that enter or
leave are charged from the kernel to the middle of the group's top or bottom, edges that pass over it cost its height.

    column [i, j) of width W:  min sum over groups (length + lambda height)   for several lambda,
                               then the least length whose height fits
    snake:                     min sum over columns (length(i, j, W) + W / 2 per edge at each turn),  sum W <= width

Both programs are exact in their own terms; the placement is scored by its real centres afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mapper.kgraph import KernelGraph

from .shapes import FAR, Ints, Menu, curve
from .trees import Box, Columns, Leaf, Rows, Tree, boxes_at, leaves, tree_curve

__all__ = ["Plan", "StripLimits", "place_strips", "topological_order"]

Floats = npt.NDArray[np.float64]
_NEVER = 1e12
_PRESSURES = np.array([0.0, 1.0, 3.0, 8.0, 20.0, 50.0, 250.0])  # lambda: length per row of height


@dataclass(frozen=True, slots=True)
class StripLimits:
    """Most kernels in a group of stacks."""

    group: int = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """A slicing tree over the kernels with the boxes that it was read as."""

    tree: Tree
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class _Option:
    """One way to fill a group: its tree over positions 0 .. m-1, and height and length at every width."""

    tree: Tree
    tall: Ints
    length: Floats


@dataclass(frozen=True, slots=True)
class _Group:
    """Per pressure and width: cost, height and length of the best option, and which one it is."""

    options: tuple[_Option, ...]
    cost: Floats
    tall: Ints
    length: Floats
    best: Ints


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What a group's wirelength depends on: edges inside, kernels that read from before or feed beyond, passing."""

    inside: tuple[tuple[int, int], ...]
    enters: tuple[int, ...]
    leaves: tuple[int, ...]
    passing: int


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


# ---------------------------------------------------------------------------------------------- group options
@lru_cache(maxsize=16)
def _arrangements(size: int) -> tuple[Tree, ...]:
    """Ways to fill a group of `size`: a plate, or two or three stacks side by side, each down or up the order."""
    if size == 1:
        return (Leaf(0),)
    trees: list[Tree] = []
    for stacks in _partitions(size):
        for flips in range(2 ** len(stacks)):
            if all(len(stack) > 1 or not flips >> i & 1 for i, stack in enumerate(stacks)):
                turned = (stack[::-1] if flips >> i & 1 else stack for i, stack in enumerate(stacks))
                trees.append(Columns(tuple(_stack(stack) for stack in turned)))
    return tuple(trees)


def _partitions(size: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Two stacks with any members (the first holds kernel 0), or three runs."""
    for count in range(size - 1):
        for others in combinations(range(1, size), count):
            left = (0, *others)
            yield left, tuple(i for i in range(size) if i not in left)
    for a, b in combinations(range(1, size), 2):
        yield tuple(range(a)), tuple(range(a, b)), tuple(range(b, size))


def _stack(kernels: Sequence[int]) -> Tree:
    return Leaf(kernels[0]) if len(kernels) == 1 else Rows(tuple(Leaf(k) for k in kernels))


def _option(tree: Tree, curves: Sequence[Ints], height: int, pattern: _Pattern) -> _Option:
    """Boxes of the tree at every width, and the separable wirelength of the pattern on them."""
    wide = np.arange(len(curves[0]), dtype=np.int64)
    zero = np.zeros_like(wide)
    tall = tree_curve(tree, curves, height)
    boxes = boxes_at(tree, curves, height, zero, zero, wide)
    x = {k: bx + bw / 2 for k, (bx, _, bw, _) in boxes.items()}
    y = {k: by + bh / 2 for k, (_, by, _, bh) in boxes.items()}
    length = pattern.passing * tall.astype(float)
    for a, b in pattern.inside:
        length += np.abs(x[a] - x[b]) + np.abs(y[a] - y[b])
    for k in pattern.enters:
        length += np.abs(x[k] - wide / 2) + y[k]
    for k in pattern.leaves:
        length += np.abs(x[k] - wide / 2) + np.abs(tall - y[k])
    return _Option(tree, tall, np.where(tall <= height, length, _NEVER))


def _group(curves: Sequence[Ints], height: int, pattern: _Pattern) -> _Group:
    options = tuple(_option(tree, curves, height, pattern) for tree in _arrangements(len(curves)))
    costs = np.stack([o.length[None, :] + _PRESSURES[:, None] * o.tall[None, :] for o in options])
    best = costs.argmin(axis=0)
    widths = np.arange(best.shape[1])[None, :]
    tall, length = np.stack([o.tall for o in options]), np.stack([o.length for o in options])
    return _Group(options, costs.min(axis=0), tall[best, widths], length[best, widths], best)


# ---------------------------------------------------------------------------------------------- the two programs
class _Snake:
    """The order of the kernels with their curves at one target, and groups computed once per kind."""

    def __init__(self, graph: KernelGraph, menus: Sequence[Menu], limits: StripLimits) -> None:
        order = topological_order(graph)
        menus = [menus[k] for k in order]
        self.order = order
        self.width, self.height, self.limits = graph.width, graph.height, limits
        self.curves = [curve(m, graph.width, graph.height) for m in menus]
        place = {kernel: position for position, kernel in enumerate(order)}
        self.edges = sorted((min(place[a], place[b]), max(place[a], place[b])) for a, b in graph.wires)
        self.count = len(order)
        self._kinds = [menus.index(m) for m in menus]
        self._groups: dict[tuple[tuple[int, ...], _Pattern], _Group] = {}

    def crossing(self, at: int) -> int:
        """Edges between positions before `at` and from `at` on."""
        return sum(a < at <= b for a, b in self.edges)

    def group(self, i: int, j: int) -> _Group:
        pattern = _Pattern(
            inside=tuple((a - i, b - i) for a, b in self.edges if i <= a and b < j),
            enters=tuple(b - i for a, b in self.edges if a < i <= b < j),
            leaves=tuple(a - i for a, b in self.edges if i <= a < j <= b),
            passing=sum(a < i and b >= j for a, b in self.edges),
        )
        key = (tuple(self._kinds[i:j]), pattern)
        if key not in self._groups:
            self._groups[key] = _group(self.curves[i:j], self.height, pattern)
        return self._groups[key]


@dataclass(frozen=True, slots=True)
class _Column:
    """Kernels [start, stop) at width `width` with pressure number `pressure`."""

    start: int
    stop: int
    width: int
    pressure: int
    length: float


def _columns_from(snake: _Snake, start: int) -> list[_Column]:
    """For every stop, the widths at which the column [start, stop) is worth having, by the first program."""
    shape = (len(_PRESSURES), snake.width + 1)
    cost = [np.zeros(shape)]
    tall = [np.zeros(shape, dtype=np.int64)]
    length = [np.zeros(shape)]
    found: list[_Column] = []
    for stop in range(start + 1, snake.count + 1):
        last = [snake.group(i, stop) for i in range(max(start, stop - snake.limits.group), stop)]
        before = len(cost) - len(last)
        totals = np.stack([cost[before + n] + g.cost for n, g in enumerate(last)])
        best = totals.argmin(axis=0)
        cost.append(np.take_along_axis(totals, best[None], 0)[0])
        talls = np.stack([tall[before + n] + g.tall for n, g in enumerate(last)])
        lengths = np.stack([length[before + n] + g.length for n, g in enumerate(last)])
        tall.append(np.take_along_axis(talls, best[None], 0)[0])
        length.append(np.take_along_axis(lengths, best[None], 0)[0])
        fits = tall[-1] <= snake.height
        if not fits.any():
            break
        found += _worth_having(start, stop, np.where(fits, length[-1], _NEVER))
    return found


def _worth_having(start: int, stop: int, length: Floats) -> list[_Column]:
    """Widths at which the best length falls below that of every smaller width."""
    pressure, least = length.argmin(axis=0), length.min(axis=0)
    before = np.concatenate(([_NEVER], np.minimum.accumulate(least)[:-1]))
    return [_Column(start, stop, int(w), int(pressure[w]), float(least[w])) for w in np.flatnonzero(least < before)]


def _snake_columns(snake: _Snake) -> list[_Column] | None:
    """The second program: least total length over column sequences whose widths fit side by side."""
    turn = [snake.crossing(i) / 2 if 0 < i < snake.count else 0.0 for i in range(snake.count + 1)]
    best = np.full((snake.count + 1, snake.width + 1), _NEVER)
    best[0, :] = 0.0
    chosen: list[dict[int, _Column]] = [{} for _ in range(snake.count + 1)]
    for start in range(snake.count):
        if best[start].min() >= _NEVER:
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
    if best[snake.count, snake.width] >= _NEVER:
        return None
    columns: list[_Column] = []
    stop, used = snake.count, snake.width
    while stop:
        columns.append(chosen[stop][used])
        stop, used = columns[-1].start, used - columns[-1].width
    return columns[::-1]


def _groups_of(snake: _Snake, column: _Column) -> list[Tree]:
    """Replays the first program at one width and pressure; trees over positions of the order."""
    p, w = column.pressure, column.width
    cost = {column.start: 0.0}
    back: dict[int, int] = {}
    for stop in range(column.start + 1, column.stop + 1):
        starts = range(max(column.start, stop - snake.limits.group), stop)
        totals = [cost[i] + snake.group(i, stop).cost[p, w] for i in starts]
        cost[stop], back[stop] = min(zip(totals, starts, strict=True))
    trees: list[Tree] = []
    stop = column.stop
    while stop > column.start:
        start = back[stop]
        group = snake.group(start, stop)
        trees.append(_renamed(group.options[int(group.best[p, w])].tree, range(start, stop)))
        stop = start
    return trees[::-1]


def _renamed(tree: Tree, names: Sequence[int]) -> Tree:
    if isinstance(tree, Leaf):
        return Leaf(names[tree.kernel])
    return type(tree)(tuple(_renamed(part, names) for part in tree.parts))


def _upside_down(tree: Tree) -> Tree:
    if isinstance(tree, Leaf):
        return tree
    parts = tuple(_upside_down(part) for part in tree.parts)
    return Rows(parts[::-1]) if isinstance(tree, Rows) else Columns(parts)


def _plan(snake: _Snake, columns: Sequence[_Column]) -> Plan:
    """Lay the columns side by side, every other one upside down, each starting where the last one ended."""
    boxes: dict[int, Box] = {}
    parts: list[Tree] = []
    x = at = 0
    curves, order = snake.curves, snake.order
    for number, column in enumerate(columns):
        groups = _groups_of(snake, column)
        if number % 2:
            groups = [_upside_down(tree) for tree in groups[::-1]]
        rows = Rows(tuple(groups))
        wide = np.array([column.width])
        placed = boxes_at(rows, curves, snake.height, np.array([x]), np.array([0]), wide)
        extent = max(int(b[1][0] + b[3][0]) for b in placed.values())
        base = min(max(0, at - extent if number % 2 else at), snake.height - extent)
        for position, (bx, by, bw, bh) in placed.items():
            boxes[order[position]] = Box(int(bx[0]), int(by[0]) + base, int(bw[0]), int(bh[0]))
        at = base if number % 2 else base + extent
        parts.append(_renamed(rows, order))
        x += column.width
    tree: Tree = Columns(tuple(parts))
    assert sorted(leaves(tree)) == sorted(order)
    return Plan(tree, tuple(boxes[k] for k in range(len(order))))


def place_strips(graph: KernelGraph, menus: Sequence[Menu], limits: StripLimits = StripLimits()) -> Plan | None:
    """The snake of least estimated wirelength for these shapes (one menu a kernel); None where no snake fits."""
    snake = _Snake(graph, menus, limits)
    if any(int(c.min()) >= FAR for c in snake.curves):
        return None
    columns = _snake_columns(snake)
    return None if columns is None else _plan(snake, columns)
