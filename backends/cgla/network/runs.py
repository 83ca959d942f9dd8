"""Stretches of neighbouring addresses (runs) that a slice of a row-major tensor consists of.

A slice is a product of what it touches in each group of dimensions, groups from the outermost inwards. A group alone
has runs of its own; the runs of the product follow from them. Let the inner part be a box of E elements:

* the slice is the whole box: every outer run of n elements is one run of n E;
* it reaches both ends of the box: the last run of an outer element is followed by the first one of the next, so an
  outer run of n elements has n - 1 joins;
* else every outer element has the inner runs.

Slices that are taken together (instances side by side that the same transfer may feed) count as one where they do not
overlap; where they do, each has its own runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from mapper.footprint import ENUMERATION_LIMIT, Component, addresses, dependencies, progression
from mapper.ir import Access, Op

__all__ = ["Cut", "Runs", "fills", "groups", "runs_of"]

Array = np.ndarray[Any, Any]
Stretches = tuple[Array, Array]  # first elements, and those after the last
Cut = tuple[int, Literal["each", "together", "first"]]  # step; its pieces one by one, side by side, or the first only
Cuts = tuple[tuple[int, tuple[Cut, ...]], ...]  # per loop: extent and cuts


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs in a box of `extent` elements: (length, how many), sorted. `head` is the length of the run that begins with
    the box, `tail` of the one that ends with it; 0 where none does."""

    extent: int
    lengths: tuple[tuple[int, int], ...]
    head: int = 0
    tail: int = 0

    @property
    def elements(self) -> int:
        return sum(length * count for length, count in self.lengths)

    @property
    def whole(self) -> bool:
        """Is the box one run?"""
        return self.lengths == ((self.extent, 1),)

    def over(self, inner: Runs) -> Runs:
        """Runs of the product with `inner`, whose box stands at every element of this one."""
        size = self.extent * inner.extent
        if inner.whole:
            scaled = tuple((length * inner.extent, count) for length, count in self.lengths)
            return Runs(size, scaled, self.head * inner.extent, self.tail * inner.extent)
        elements = self.elements
        found = Counter({length: count * elements for length, count in inner.lengths})
        if inner.head and inner.tail:
            joins = elements - sum(count for _, count in self.lengths)
            found[inner.head + inner.tail] += joins
            found[inner.head] -= joins
            found[inner.tail] -= joins
        lengths = tuple(sorted((length, count) for length, count in found.items() if count))
        return Runs(size, lengths, inner.head if self.head else 0, inner.tail if self.tail else 0)


def groups(op: Op, access: Access, shape: Sequence[int]) -> tuple[Component, ...]:
    """Neighbouring dimensions that share loops, outermost first; what lies between two that do belongs to them."""
    found: list[tuple[frozenset[str], list[int]]] = []
    for dimension, index in enumerate(access.index):
        loops = index.loops.union(*(dependencies(op, op.reads[atom.read]) for atom in index.gathered))
        first = next((at for at, (others, _) in enumerate(found) if others & loops), len(found))
        members = [d for _, dimensions in found[first:] for d in dimensions] + [dimension]
        found = [*found[:first], (loops.union(*(others for others, _ in found[first:])), members)]
    return tuple(
        Component(tuple(sorted(loops)), tuple((access.index[d], shape[d]) for d in members),
                  any(access.index[d].gathered for d in members))
        for loops, members in found
    )  # fmt: skip


def fills(extent: int, cuts: Sequence[Cut]) -> int:
    """Pieces of a loop that are taken one by one."""
    return len(np.unique(_pieces(extent, cuts)[2]))


@lru_cache(maxsize=1 << 14)
def runs_of(group: Component, cuts: Cuts) -> tuple[tuple[Runs, int], ...]:
    """The different runs of a group over all fills, each with the number of fills; `cuts` go with `group.loops`."""
    extent = math.prod(size for _, size in group.dimensions)
    if not group.loops:
        return ((_fixed(group.dimensions[0][0].const, extent), 1),)
    parts = [_pieces(*each) for each in cuts]
    chosen = np.indices([len(start) for start, _, _ in parts]).reshape(len(parts), -1)
    starts = [start[row] for (start, _, _), row in zip(parts, chosen, strict=True)]
    sizes = [size[row] for (_, size, _), row in zip(parts, chosen, strict=True)]
    fill = np.zeros(chosen.shape[1], np.int64)
    for (_, _, number), row in zip(parts, chosen, strict=True):
        fill = fill * (int(number.max(initial=0)) + 1) + number[row]
    if not len(fill):
        return ()  # a loop without iterations
    if group.gathered:
        return _gathered(extent, sizes)
    found = Counter[Runs]()
    for members, count in _alike(group, extent, starts, sizes, fill):
        for runs in _together(members, extent):
            found[runs] += count
    return tuple(found.items())


def _pieces(extent: int, cuts: Sequence[Cut]) -> tuple[Array, Array, Array]:
    """Start, size and fill of each piece of a loop; pieces side by side belong to one fill."""
    start, size, fill = np.zeros(1, np.int64), np.array([extent], np.int64), np.zeros(1, np.int64)
    for step, how in cuts:
        if how == "first":
            size = np.minimum(size, step)
            continue
        trips = -(-size // step)
        owner = np.repeat(np.arange(len(start)), trips)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(trips) - trips, trips)
        fill = fill[owner] * int(trips.max(initial=0)) + number if how == "each" else fill[owner]
        start, size = start[owner] + number * step, np.minimum(step, size[owner] - number * step)
    return start, size, fill


def _gathered(extent: int, sizes: Sequence[Array]) -> tuple[tuple[Runs, int], ...]:
    """Data decides which elements: one a point, at most all, none beside another."""
    points = np.minimum(math.prod(sizes), extent)
    return tuple((Runs(extent, ((1, int(n)),), int(extent == 1), int(extent == 1)), int(count))
                 for n, count in zip(*np.unique(points, return_counts=True), strict=True))  # fmt: skip


def _alike(
    group: Component, extent: int, starts: Sequence[Array], sizes: Sequence[Array], fill: Array
) -> Iterator[tuple[list[Stretches], int]]:
    """Stretches of each instance of a fill, fills that are alike but for their position counted."""
    known = None
    if len(group.dimensions) == 1:
        index, _ = group.dimensions[0]
        known = progression(index, extent, group.loops, starts, sizes)
    if known is None:
        yield from _enumerated(group, extent, starts, sizes, fill)
        return
    first, last, step = known
    for row, count in _rows(first, last, fill, extent):
        yield [_stretches(int(a), int(b), step) for a, b in row if b >= a], count


def _fixed(element: int, extent: int) -> Runs:
    """One element, if it lies inside."""
    inside = 0 <= element < extent
    return Runs(
        extent, ((1, 1),) if inside else (), int(element == 0 and inside), int(element == extent - 1 and inside)
    )


def _rows(first: Array, last: Array, fill: Array, extent: int) -> Iterator[tuple[Array, int]]:
    """(first, last) of the instances of every different fill, moved beside the box's first element where they do not
    reach an end of it; last < first for an instance without elements."""
    order = np.argsort(fill, kind="stable")
    first, last = first[order], last[order]
    _, at, line, width = np.unique(fill[order], return_index=True, return_inverse=True, return_counts=True)
    inside = last >= first
    lowest = np.minimum.reduceat(np.where(inside, first, extent), at)
    highest = np.maximum.reduceat(np.where(inside, last, -1), at)
    shift = np.where((lowest > 0) & (highest < extent - 1), lowest - 1, 0)[line]
    table = np.zeros((len(at), int(width.max()), 2), np.int64)
    table[:, :, 1] = -1
    column = np.arange(len(line)) - at[line]
    table[line[inside], column[inside]] = np.stack([first - shift, last - shift], axis=1)[inside]
    rows, counts = np.unique(table, axis=0, return_counts=True)
    yield from zip(rows, map(int, counts), strict=True)


def _stretches(first: int, last: int, step: int) -> Stretches:
    if step == 1:
        return np.array([first]), np.array([last + 1])
    at = np.arange(first, last + 1, step)
    return at, at + 1


def _enumerated(
    group: Component, extent: int, starts: Sequence[Array], sizes: Sequence[Array], fill: Array
) -> Iterator[tuple[list[Stretches], int]]:
    """Stretches by listing elements; beyond `ENUMERATION_LIMIT` points every element counts as a run."""
    points = sum(math.prod(each) for each in zip(*(size.tolist() for size in sizes), strict=True))
    for number in np.unique(fill):
        members = np.flatnonzero(fill == number)
        boxes = [(tuple(int(s[at]) for s in starts), tuple(int(n[at]) for n in sizes)) for at in members]
        if points > ENUMERATION_LIMIT:
            most = [min(extent, math.prod(size)) for _, size in boxes]
            yield [_stretches(0, 2 * (n - 1), 2) for n in most], 1
        else:
            yield [_listed(group, *box) for box in boxes], 1


@lru_cache(maxsize=1 << 12)
def _listed(group: Component, start: tuple[int, ...], size: tuple[int, ...]) -> Stretches:
    """Stretches of the elements that a box of iterations touches."""
    found = addresses(group, start, size)
    breaks = np.flatnonzero(np.diff(found) != 1)
    return found[np.concatenate([[0], breaks + 1])[: len(found)]], found[np.append(breaks, -1)[: len(found)]] + 1


def _together(members: Sequence[Stretches], extent: int) -> list[Runs]:
    """Runs of instances that do not overlap as those of one slice, of others each by itself."""
    begin = np.concatenate([each[0] for each in members]) if members else np.zeros(0, np.int64)
    end = np.concatenate([each[1] for each in members]) if members else np.zeros(0, np.int64)
    order = np.argsort(begin, kind="stable")
    begin, end = begin[order], end[order]
    if np.any(begin[1:] < end[:-1]):
        return [runs for each in members for runs in _together([each], extent)]
    apart = begin[1:] != end[:-1]
    begin, end = begin[np.concatenate([[True], apart])[: len(begin)]], end[np.append(apart, True)[: len(end)]]
    lengths = tuple((int(n), int(c)) for n, c in zip(*np.unique(end - begin, return_counts=True), strict=True))
    head = int(end[0] - begin[0]) if len(begin) and begin[0] == 0 else 0
    tail = int(end[-1] - begin[-1]) if len(begin) and end[-1] == extent else 0
    return [Runs(extent, lengths, head, tail)]
