"""Closed-form replay: what the played loops would count, without playing them.

One operator loop at a time, a tile program leaves a list of *pieces*: where each starts, how long it is, and at which
step of each of its tile loops it arises. Pieces of different operator loops meet in every combination, so a link's
count is the sum over the pieces of the loops that select elements, times the number of pieces of the others. Which
pieces a count ranges over is what tells fills, copies and hops apart:

- a temporal loop up to the refilling one gives all its steps, an inner one its first;
- a spatial loop gives an instance (or copy) per step; a source that multicasts sees the first copy only;
- what happens once per output element sees the first step of every reducing loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from mapper.ir import Access, Op
from mapper.mapping import Axis, Mapping, Stage

from .chains import Feed, copy_loops, feeds, strides
from .slices import Group, counts, groups
from .tally import LinkCount, ends

__all__ = ["Pieces", "distinct_elements", "iterations", "largest_slice", "pieces", "replay_links"]

Array = np.ndarray[Any, Any]
Choice = Callable[[int], bool]
ROWS = 1 << 20


@dataclass(frozen=True)
class Pieces:
    """Pieces of one operator loop: `start` and `size` per piece, and `step[position]` for each of its tile loops."""

    start: Array
    size: Array
    step: dict[int, Array]

    @property
    def count(self) -> int:
        return len(self.start)

    def where(self, keep: Array) -> Pieces:
        return Pieces(self.start[keep], self.size[keep], {p: s[keep] for p, s in self.step.items()})


def pieces(stage: Stage, op: Op, name: str, depth: int, every: Choice) -> Pieces:
    """The pieces of operator loop `name` cut by its tile loops before `depth`: all steps where `every(position)`
    says so, the first step elsewhere."""
    cuts = [(p, t.step, every(p)) for p, t in enumerate(stage.loops[:depth]) if t.loop == name]
    start, size, steps = _cut(op.extents[name], tuple((step, all_) for _, step, all_ in cuts))
    return Pieces(start, size, {p: steps[row] for row, (p, _, _) in enumerate(cuts)})


@lru_cache(maxsize=1024)
def _cut(extent: int, cuts: tuple[tuple[int, bool], ...]) -> tuple[Array, Array, Array]:
    """Starts, sizes and steps (a row per cut) of a tile of `extent`; full pieces are cut once and shifted."""
    if extent == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((len(cuts), 0), np.int64)
    if not cuts:
        return np.zeros(1, np.int64), np.full(1, extent, np.int64), np.zeros((0, 1), np.int64)
    (step, every), inner = cuts[0], cuts[1:]
    full, rest = divmod(extent, step) if every else (1, 0)
    whole = _shifted(_cut(min(step, extent), inner), step, np.arange(full)) if full else None
    ragged = _shifted(_cut(rest, inner), step, np.array([full])) if rest else None
    found = [part for part in (whole, ragged) if part is not None]
    start, size, steps = (np.concatenate([part[i] for part in found], axis=-1) for i in range(3))
    return start, size, steps


def _shifted(piece: tuple[Array, Array, Array], step: int, number: Array) -> tuple[Array, Array, Array]:
    start, size, steps = piece
    shifted = (number[:, None] * step + start[None, :]).ravel()
    own = np.repeat(number, len(start))[None, :]
    return shifted, np.tile(size, len(number)), np.concatenate([own, np.tile(steps, len(number))])


def iterations(stage: Stage, op: Op, names: frozenset[str]) -> int:
    """Temporal steps of the loops `names`, pieces that run side by side counted once."""
    temporal: Choice = lambda position: stage.loops[position].axis is None  # noqa: E731
    return math.prod(pieces(stage, op, name, len(stage.loops), temporal).count for name in sorted(names))


def largest_slice(stage: Stage, op: Op, feed: Feed) -> int:
    """Elements of the largest slice that the feed's buffer ever holds."""
    found = 1
    for group in feed.groups:
        cut = [pieces(stage, op, name, feed.buffer.depth, lambda position: True) for name in group.loops]
        found *= max((int(block.max(initial=0)) for block, _ in _blocks(group, cut)), default=1)
    return found


def distinct_elements(op: Op, access: Access, shape: tuple[int, ...]) -> int:
    """Elements that the whole operator touches through `access`."""
    return math.prod(
        int(
            counts(group, np.zeros((1, len(group.loops)), np.int64), np.array([[op.extents[n] for n in group.loops]]))[
                0
            ]
        )
        for group in groups(op, access, shape)
    )


def replay_links(mapping: Mapping, stage: Stage, op: Op) -> list[LinkCount]:
    """What each link of a stage counts; what fills residents is charged to no inference."""
    given = stage.loops, tuple(op.extents.items()), op.output_loops, mapping.axes
    axes = {axis.name: axis for axis in mapping.axes}
    charged = (feed for feed in feeds(mapping, stage, op) if not feed.buffer.resident)
    return [_counted(_Replay(feed, given, stage, op, axes)) for feed in charged]


@lru_cache(maxsize=4096)
def _counted(replay: _Replay) -> LinkCount:
    """Links that are equal in all that decides their counts are replayed once: layers repeat."""
    return replay.count()


@dataclass(frozen=True)
class _Replay:
    """A link of a stage; `given` holds everything that a count reads of the stage, its operator and the axes."""

    feed: Feed
    given: tuple[Hashable, ...]
    stage: Stage = field(compare=False)
    op: Op = field(compare=False)
    axes: dict[str, Axis] = field(compare=False)

    def count(self) -> LinkCount:
        feed, inner = self.feed, self._copies(frozenset())
        outer = self._copies(copy_loops(feed, self.stage, self.axes, multicast=True, hop=False))
        source, target = ends(feed)
        entry, handed = self._hops()
        if not feed.written:
            return LinkCount(feed.operand, source, target, outer, inner, entry + handed)
        done = self._sum(lambda position: True, 0)
        last = 0 if self._scatters() else self._once()._hops()[0]
        return LinkCount(feed.operand, source, target, inner, outer, entry + handed, inner - done, outer - done,
                         entry + handed - last, entry - last)  # fmt: skip

    def _once(self) -> _Replay:
        """The same link when reducing loops stand at their first step: each element's last drain."""
        return replace(self, feed=replace(self.feed, once=True))

    def _scatters(self) -> bool:
        """True if output loops that differ reach the same element, or data decides on it."""
        if self.feed.data_decides(self.op):
            return True
        writing: Choice = lambda position: self.stage.loops[position].loop in self.op.output_loops  # noqa: E731
        points = self._sum(writing, len(self.stage.loops))
        return points != self._sum(lambda position: True, 0)

    def _every(self, leading: frozenset[int]) -> Choice:
        """All steps that fill an instance or copy, copies along `leading` loops at the first one only."""

        def every(position: int) -> bool:
            tile = self.stage.loops[position]
            if self.feed.once and tile.loop not in self.op.output_loops:
                return False
            return position <= self.feed.last if tile.axis is None else position not in leading

        return every

    def _copies(self, leading: frozenset[int]) -> int:
        return self._sum(self._every(leading), self.feed.buffer.depth)

    def _hops(self) -> tuple[int, int]:
        """Elements x links from the line's end to the first copy, and from copy to copy."""
        every = self._every(frozenset())
        distance = strides(self.stage)
        span = [p for p in distance if self.feed.above <= p < self.feed.buffer.depth]
        hop = [p for p in span if self.axes[str(self.stage.loops[p].axis)].hop]
        copies = copy_loops(self.feed, self.stage, self.axes, multicast=False, hop=True)
        depth, entry, handed = self.feed.buffer.depth, 0, 0
        for position in hop:
            if position not in copies:
                entry += distance[position] * self._sum(every, depth, copies, weigh=position)
            elif every(position):
                inner = frozenset(p for p in copies if p > position)
                handed += distance[position] * self._sum(every, depth, inner, beyond=position)
        return entry, handed

    def _sum(
        self, every: Choice, depth: int, first: frozenset[int] = frozenset(), weigh: int = -1, beyond: int = -1
    ) -> int:
        """Elements over all combinations of pieces: those at step 0 of the loops `first` and at a later step of loop
        `beyond`, each counted as often as its step on loop `weigh` says."""
        total, cut = 1, {}
        for name in self.op.extents:
            found = pieces(self.stage, self.op, name, depth, every)
            keep = np.ones(found.count, bool)
            for position, step in found.step.items():
                keep &= step == 0 if position in first else True
                keep &= step > 0 if position == beyond else True
            cut[name] = found.where(keep)
            total *= 1 if name in self.feed.depends else cut[name].count
        for group in self.feed.groups:
            total *= _group_sum(group, [cut[name] for name in group.loops], weigh)
        return total


def _group_sum(group: Group, cut: list[Pieces], weigh: int) -> int:
    """Elements of a group over all combinations of its loops' pieces."""
    total = 0
    for found, rows in _blocks(group, cut):
        for pieces_, row in zip(cut, rows, strict=True):
            if weigh in pieces_.step:
                found = found * pieces_.step[weigh][row]
        total += int(found.sum())
    return total


def _blocks(group: Group, cut: list[Pieces]) -> Iterator[tuple[Array, list[Array]]]:
    """Elements per combination of pieces, in blocks of bounded length, and the pieces that each combination takes."""
    shape = tuple(p.count for p in cut)
    combinations = math.prod(shape)
    for at in range(0, combinations, ROWS):
        rows = list(np.unravel_index(np.arange(at, min(at + ROWS, combinations)), shape)) if shape else []
        if not rows:
            yield counts(group, np.zeros((1, 0), np.int64), np.zeros((1, 0), np.int64)), []
            continue
        starts = np.stack([p.start[r] for p, r in zip(cut, rows, strict=True)], axis=1)
        sizes = np.stack([p.size[r] for p, r in zip(cut, rows, strict=True)], axis=1)
        yield counts(group, starts, sizes), rows
