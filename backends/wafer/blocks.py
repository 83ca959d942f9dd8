"""Blocks: for every run of a few consecutive kernels, the best guillotine arrangements through which its edges travel.

A block is entered in the middle of one side and left in the middle of the opposite one. Its *breadth* is the extent
across the way, its *reach* the extent along it. Per breadth and per price lambda of reach, a table keeps the
arrangement of least `length + lambda reach`. Edges are charged from a kernel to the middles of the two sides and edges
that pass over a block cost its reach, so tables of longer runs follow from those of shorter ones:

    in line       A then B at the same breadth                        reach and length add up
    side by side  two or three parts of one reach, each down or up    breadths add up; turns between parts are charged
    across        the way turns by 90 degrees into the run and back   breadth and reach change roles

Runs of up to four kernels also take every arrangement in two or three stacks, with exact lengths inside. A kernel may
be rotated, so one table serves both directions. Longer runs keep, per price, only the best of their parts at the same
price: a table is an upper bound on what its run can do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from .shapes import FAR, Ints
from .trees import Columns, Leaf, Rows, Tree, boxes_at, tree_curve

__all__ = ["NEVER", "PRICES", "Block", "Blocks", "renamed", "transposed", "upside_down"]

Floats = npt.NDArray[np.float64]
NEVER = 1e12
PRICES = np.array([0.0, 1.0, 2.0, 4.0, 7.0, 12.0, 20.0, 35.0, 60.0, 100.0, 200.0, 500.0, 2000.0])
_STACKED = 4  # most kernels in a run whose stacks are all tried


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What a run's wirelength depends on: edges inside, kernels that read from before or feed beyond, passing."""

    inside: tuple[tuple[int, int], ...]
    enters: tuple[int, ...]
    leaves: tuple[int, ...]
    passing: int


@dataclass(frozen=True, slots=True)
class _Inverse:
    """Per price and reach y: the least breadth of a block that reaches no further, with its own reach and length."""

    breadth: Ints
    reach: Ints
    length: Floats


@dataclass(frozen=True, slots=True)
class _Way:
    """How an entry of a table was made: stacks (a tree), or the cuts of a run with the direction of each part."""

    kind: str
    cuts: tuple[int, ...] = ()
    up: tuple[bool, ...] = ()
    tree: Tree | None = None


class Block:
    """The table of one run, rows by price and columns by breadth; `way` numbers the entries of `ways`."""

    def __init__(self, side: int) -> None:
        shape = (len(PRICES), side + 1)
        self.reach = np.full(shape, FAR, dtype=np.int64)
        self.length = np.full(shape, NEVER)
        self.cost = np.full(shape, NEVER)
        self.way = np.zeros(shape, dtype=np.int64)
        self.ways: list[_Way] = []
        self.straight = self.way  # of the entries before the way was turned
        self.turned = self.way  # breadth of the run itself where its way is turned
        self.inverse: _Inverse | None = None

    def offer(self, way: _Way, reach: Ints, length: Floats) -> None:
        """Take the entries that cost less than the present ones."""
        cost = np.where(reach < FAR, length + PRICES[:, None] * reach, NEVER)
        better = cost < self.cost
        if better.any():
            for old, new in ((self.cost, cost), (self.reach, reach), (self.length, length)):
                np.copyto(old, new, where=better)
            self.way[better] = len(self.ways)
            self.ways.append(way)

    def inverted(self) -> _Inverse:
        """Breadths by reach, made once, when the table is complete."""
        if self.inverse is None:
            self.inverse = _inverted(self.reach, self.length)
        return self.inverse


def _inverted(reach: Ints, length: Floats) -> _Inverse:
    side = reach.shape[1] - 1
    least = np.minimum.accumulate(reach, axis=1)
    breadth = np.stack([np.searchsorted(-row, -np.arange(side + 1)) for row in least])
    inside = np.minimum(breadth, side)
    none = breadth > side
    own, far = np.take_along_axis(reach, inside, 1), np.take_along_axis(length, inside, 1)
    return _Inverse(np.where(none, FAR, breadth), np.where(none, FAR, own), np.where(none, NEVER, far))


# ---------------------------------------------------------------------------------------------- stacks of few kernels
@lru_cache(maxsize=16)
def _arrangements(size: int) -> tuple[Tree, ...]:
    """Ways to fill a run of `size`: a plate, or two or three stacks side by side, each down or up the order."""
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


def _stacked(tree: Tree, curves: Sequence[Ints], pattern: _Pattern) -> tuple[Ints, Floats]:
    """Reach and wirelength of the tree at every breadth."""
    side = len(curves[0]) - 1
    wide = np.arange(side + 1, dtype=np.int64)
    zero = np.zeros_like(wide)
    tall = tree_curve(tree, curves, side)
    boxes = boxes_at(tree, curves, side, zero, zero, wide)
    x = {k: bx + bw / 2 for k, (bx, _, bw, _) in boxes.items()}
    y = {k: by + bh / 2 for k, (_, by, _, bh) in boxes.items()}
    length = pattern.passing * tall.astype(float)
    for a, b in pattern.inside:
        length += np.abs(x[a] - x[b]) + np.abs(y[a] - y[b])
    for k in pattern.enters:
        length += np.abs(x[k] - wide / 2) + y[k]
    for k in pattern.leaves:
        length += np.abs(x[k] - wide / 2) + np.abs(tall - y[k])
    return tall, np.where(tall <= side, length, NEVER)


# ---------------------------------------------------------------------------------------------- runs from parts
_TURNS = {2: ((False, False), (False, True), (True, False), (True, True)), 3: ((False, True, False),)}


def _side_by_side(
    parts: Sequence[_Inverse], crossing: Sequence[int], ups: Sequence[tuple[bool, ...]]
) -> Iterator[tuple[tuple[bool, ...], Ints, Floats]]:
    """Reach and length of parts beside each other at every breadth, for each choice of directions.

    `crossing[n]` edges enter part n, the last entry leaves the run. The reach is the least at which the breadths fit.
    """
    total = np.minimum(sum(part.breadth for part in parts), FAR)
    side = total.shape[1] - 1
    x = np.arange(side + 1)
    at = np.stack([np.searchsorted(-row, -x) for row in total])
    none, at = at > side, np.minimum(at, side)
    breadth, reach, length = (
        [np.take_along_axis(getattr(part, name), at, 1) for part in parts] for name in ("breadth", "reach", "length")
    )
    tall = np.maximum.reduce(reach)
    inner = sum(length)
    middles, left = [], np.zeros_like(tall)
    for b in breadth:
        middles.append(left + b / 2)
        left = left + b
    for up in ups:
        cost = inner + crossing[0] * np.abs(middles[0] - x / 2) + crossing[-1] * np.abs(middles[-1] - x / 2)
        begins = [r if u else 0 for r, u in zip(reach, up, strict=True)]
        ends = [0 if u else r for r, u in zip(reach, up, strict=True)]
        cost = cost + crossing[0] * begins[0] + crossing[-1] * np.abs(tall - ends[-1])
        for n in range(1, len(parts)):
            turn = middles[n] - middles[n - 1] + np.abs(ends[n - 1] - begins[n])
            cost = cost + crossing[n] * turn
        yield up, np.where(none, FAR, tall), np.where(none, NEVER, cost)


class Blocks:
    """Tables of all runs of an order, equal runs sharing one."""

    def __init__(self, curves: Sequence[Ints], kinds: Sequence[int], edges: Sequence[tuple[int, int]]) -> None:
        self.curves, self.kinds, self.edges = curves, kinds, edges
        self.side = len(curves[0]) - 1
        self._made: dict[tuple[tuple[int, ...], _Pattern], Block] = {}
        self._at: dict[tuple[int, int], Block] = {}

    def crossing(self, at: int) -> int:
        """Edges between positions before `at` and from `at` on."""
        return sum(a < at <= b for a, b in self.edges)

    def block(self, i: int, j: int) -> Block:
        """The table of kernels [i, j)."""
        if (i, j) not in self._at:
            pattern = self._pattern(i, j)
            key = (tuple(self.kinds[i:j]), pattern)
            if key not in self._made:
                self._made[key] = self._make(i, j, pattern)
            self._at[i, j] = self._made[key]
        return self._at[i, j]

    def _pattern(self, i: int, j: int) -> _Pattern:
        return _Pattern(
            inside=tuple((a - i, b - i) for a, b in self.edges if i <= a and b < j),
            enters=tuple(b - i for a, b in self.edges if a < i <= b < j),
            leaves=tuple(a - i for a, b in self.edges if i <= a < j <= b),
            passing=sum(a < i and b >= j for a, b in self.edges),
        )

    def _make(self, i: int, j: int, pattern: _Pattern) -> Block:
        block = Block(self.side)
        if j - i <= _STACKED:
            for tree in _arrangements(j - i):
                reach, length = _stacked(tree, self.curves[i:j], pattern)
                shape = block.reach.shape
                block.offer(_Way("stacks", tree=tree), np.broadcast_to(reach, shape), np.broadcast_to(length, shape))
        for k in range(i + 1, j):
            a, b = self.block(i, k), self.block(k, j)
            reach = a.reach + b.reach
            block.offer(_Way("in line", (k - i,)), np.where(reach <= self.side, reach, FAR), a.length + b.length)
        for cuts in self._cuts(j - i):
            ends = _ends(i, cuts, j)
            parts = [self.block(p, q).inverted() for p, q in zip(ends, ends[1:], strict=False)]
            crossing = [self.crossing(e) for e in ends]
            for up, reach, length in _side_by_side(parts, crossing, _TURNS[len(parts)]):
                block.offer(_Way("side by side", cuts, up), reach, length)
        if j - i > 1:
            self._offer_across(block, self.crossing(i) + self.crossing(j))
        return block

    def _cuts(self, size: int) -> Iterator[tuple[int, ...]]:
        if size > _STACKED:
            yield from combinations(range(1, size), 1)
            yield from combinations(range(1, size), 2)

    def _offer_across(self, block: Block, turning: int) -> None:
        """The run at right angles: from the middle of the near side to the middle of the left one, and back."""
        block.straight, turned = block.way.copy(), _inverted(block.reach, block.length)
        block.turned = turned.breadth
        reach = np.where(turned.breadth <= self.side, turned.breadth, FAR)
        length = turned.length + turning * (np.arange(self.side + 1) + reach) / 2
        block.offer(_Way("across"), reach, length)

    def tree(self, i: int, j: int, price: int, breadth: int) -> Tree:
        """The arrangement of an entry, over positions of the order, entered at the top."""
        block = self.block(i, j)
        way = block.ways[block.way[price, breadth]]
        if way.kind != "across":
            return self._straight(way, i, j, price, breadth)
        y = int(block.turned[price, breadth])
        return transposed(self._straight(block.ways[block.straight[price, y]], i, j, price, y))

    def _straight(self, way: _Way, i: int, j: int, price: int, breadth: int) -> Tree:
        if way.tree is not None:
            return renamed(way.tree, range(i, j))
        ends = _ends(i, way.cuts, j)
        runs = list(zip(ends, ends[1:], strict=False))
        if way.kind == "in line":
            return Rows(tuple(self.tree(p, q, price, breadth) for p, q in runs))
        parts = [self.block(p, q).inverted().breadth[price] for p, q in runs]
        reach = int(np.searchsorted(-np.minimum(sum(parts), FAR), -breadth))
        trees = [self.tree(p, q, price, int(part[reach])) for (p, q), part in zip(runs, parts, strict=True)]
        return Columns(tuple(upside_down(t) if up else t for t, up in zip(trees, way.up, strict=True)))


def _ends(i: int, cuts: Sequence[int], j: int) -> tuple[int, ...]:
    return (i, *(i + cut for cut in cuts), j)


def renamed(tree: Tree, names: Sequence[int]) -> Tree:
    if isinstance(tree, Leaf):
        return Leaf(names[tree.kernel])
    return type(tree)(tuple(renamed(part, names) for part in tree.parts))


def upside_down(tree: Tree) -> Tree:
    if isinstance(tree, Leaf):
        return tree
    parts = tuple(upside_down(part) for part in tree.parts)
    return Rows(parts[::-1]) if isinstance(tree, Rows) else Columns(parts)


def transposed(tree: Tree) -> Tree:
    if isinstance(tree, Leaf):
        return tree
    parts = tuple(transposed(part) for part in tree.parts)
    return Columns(parts) if isinstance(tree, Rows) else Rows(parts)
