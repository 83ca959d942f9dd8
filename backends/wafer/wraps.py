"""Wraps: one lane of kernels in the middle, the first and the last few of the order as plates around it.

A lane of the whole fabric has short wires but wastes what its plates leave at the sides. Here the fabric is peeled from
outside: in any order, a kernel from either end of the network becomes a plate along one side of what is left
(thickness: the least that its shapes allow at that length), and the kernels between fill the rest as one lane
(:mod:`.strips`) along either axis. The wirelength counts the lane's, and the crossing edges times the distance of
consecutive centres around it:

    min over prefixes, suffixes (together at most four kernels), orders and sides, lane's axis and direction

All of it is enumerated, less what cannot hold the smallest rectangles of the kernels that are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .blocks import NEVER, renamed, transposed, upside_down
from .shapes import FAR
from .strips import Lane, Plan, Snake, groups_of, lanes
from .trees import Box, Columns, Leaf, Rows, Tree, boxes_at

__all__ = ["wrapped_plan"]

Side = Literal["left", "right", "bottom", "top"]
_PLATES = 4  # most kernels around the lane
_MIRRORED = ("right", "top")  # sides that the outermost plate need not try: the mirrored plan is the same


@dataclass(frozen=True, slots=True)
class _Ring:
    """Plates placed so far, outermost first, with their middles, and the rectangle inside them."""

    inside: Box
    plates: tuple[tuple[int, Side], ...]
    middles: Mapping[int, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Wrap:
    """A complete choice: the ring, and the lane [start, stop) at a price along an axis, in or against the order."""

    length: float
    ring: _Ring
    start: int
    stop: int
    price: int
    across: bool
    backwards: bool


def _peeled(snake: Snake, ring: _Ring, kernel: int, side: Side) -> _Ring | None:
    """The ring with one more plate; None where that leaves no room."""
    box = ring.inside
    along = box.tall if side in ("left", "right") else box.wide
    thick = int(snake.blocks.curves[kernel][along])
    if thick >= (box.wide if side in ("left", "right") else box.tall):
        return None
    x, y = box.x + box.wide / 2, box.y + box.tall / 2
    if side == "left":
        inside, middle = Box(box.x + thick, box.y, box.wide - thick, box.tall), (box.x + thick / 2, y)
    elif side == "right":
        inside, middle = Box(box.x, box.y, box.wide - thick, box.tall), (box.x + box.wide - thick / 2, y)
    elif side == "bottom":
        inside, middle = Box(box.x, box.y + thick, box.wide, box.tall - thick), (x, box.y + thick / 2)
    else:
        inside, middle = Box(box.x, box.y, box.wide, box.tall - thick), (x, box.y + box.tall - thick / 2)
    return _Ring(inside, (*ring.plates, (kernel, side)), {**ring.middles, kernel: middle})


class _Search:
    """The enumeration over one snake; lanes are made once per start."""

    def __init__(self, snake: Snake) -> None:
        self.snake = snake
        self.best: _Wrap | None = None
        self.crossing = [snake.blocks.crossing(k) for k in range(snake.count + 1)]
        self.area = [int((c * np.arange(len(c)))[c < FAR].min()) for c in snake.blocks.curves]
        self.lanes: dict[int, dict[int, Lane]] = {}

    def run(self) -> _Wrap | None:
        for start in range(min(_PLATES, self.snake.count - 2) + 1):
            self.lanes[start] = {lane.stop: lane for lane in lanes(self.snake, start)}
            for stop in range(max(start + 2, self.snake.count - _PLATES + start), self.snake.count + 1):
                if stop in self.lanes[start] and (start > 0 or stop < self.snake.count):
                    fabric = _Ring(Box(0, 0, self.snake.width, self.snake.height), (), {})
                    self._peel((*range(start), *range(stop, self.snake.count)), fabric, start, stop)
        return self.best

    def _peel(self, left: Sequence[int], ring: _Ring, start: int, stop: int) -> None:
        """Every plate that may come next; the lane when none is left."""
        if sum(self.area[k] for k in (*left, *range(start, stop))) > ring.inside.wide * ring.inside.tall:
            return
        if not left:
            self._fill(ring, start, stop)
            return
        sides: tuple[Side, ...] = ("left", "bottom", "right", "top")
        for kernel in left:
            for side in sides:
                if ring.plates or side not in _MIRRORED:
                    inner = _peeled(self.snake, ring, kernel, side)
                    if inner is not None:
                        self._peel([k for k in left if k != kernel], inner, start, stop)

    def _fill(self, ring: _Ring, start: int, stop: int) -> None:
        """The lane in the rectangle inside, along both axes and in both directions."""
        lane = self.lanes[start][stop]
        for across in (False, True):
            breadth, room = ring.inside.wide, ring.inside.tall
            if across:
                breadth, room = room, breadth
            length = np.where(lane.reach[:, breadth] <= room, lane.length[:, breadth], NEVER)
            price = int(length.argmin())
            if length[price] < NEVER:
                for backwards in (False, True):
                    total = float(length[price]) + self._around(ring, lane, across, backwards, price)
                    if self.best is None or total < self.best.length:
                        self.best = _Wrap(total, ring, start, stop, price, across, backwards)

    def _around(self, ring: _Ring, lane: Lane, across: bool, backwards: bool, price: int) -> float:
        """Edges among the plates and from them to the ends of the lane, whose own share leads to its two sides."""
        box, (start, stop) = ring.inside, (lane.start, lane.stop)
        breadth = box.tall if across else box.wide
        reach = float(lane.reach[price, breadth])
        enters, leaves = (reach, 0.0) if backwards else (0.0, reach)
        x, y, middle = box.x, box.y, breadth / 2
        ends = [(x + at, y + middle) if across else (x + middle, y + at) for at in (enters, leaves)]
        before = [*(ring.middles[k] for k in range(start)), ends[0]]
        after = [ends[1], *(ring.middles[k] for k in range(stop, self.snake.count))]
        total = sum(self.crossing[k + 1] * _apart(before[k], before[k + 1]) for k in range(start))
        return total + sum(self.crossing[stop + k] * _apart(after[k], after[k + 1]) for k in range(len(after) - 1))


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _tree(snake: Snake, wrap: _Wrap) -> Tree:
    """Plates are cut off from outside; positions of the order."""
    breadth = wrap.ring.inside.tall if wrap.across else wrap.ring.inside.wide
    tree: Tree = Rows(tuple(groups_of(snake, wrap.start, wrap.stop, wrap.price, breadth)))
    tree = upside_down(tree) if wrap.backwards else tree
    tree = transposed(tree) if wrap.across else tree
    for kernel, side in reversed(wrap.ring.plates):
        parts = (Leaf(kernel), tree) if side in ("left", "bottom") else (tree, Leaf(kernel))
        tree = Columns(parts) if side in ("left", "right") else Rows(parts)
    return tree


def wrapped_plan(snake: Snake) -> Plan | None:
    """The wrap of least estimated wirelength; None where none fits."""
    found = _Search(snake).run() if snake.possible and snake.count > 2 else None
    if found is None:
        return None
    tree, zero = _tree(snake, found), np.array([0])
    boxes = boxes_at(tree, snake.curves, snake.height, zero, zero, np.array([snake.width]))
    corners = {snake.order[k]: Box(*(int(part[0]) for part in box)) for k, box in boxes.items()}
    return Plan(renamed(tree, snake.order), tuple(corners[k] for k in range(snake.count)))
