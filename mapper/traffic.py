"""Elements that move inside one stage, from its tile program alone.

Every operand is a chain home -> buffers -> arithmetic units. For each link of the chain, :func:`links` gives how many
elements leave the source and how many arrive, how many of them are partial results, and how many element-hops they
cross; the closed form of the semantics stated in `mapper.mapping`. Independent operator loops multiply, so a link
costs one pass over each loop's pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from mapper.footprint import Component, Pieces, components, dependencies, largest_slice, slice_sum
from mapper.ir import Graph, Op
from mapper.mapping import WRITTEN, Axis, Buffer, Stage, TileLoop

__all__ = ["Link", "buffer_elements", "links"]

UNITS = ""  # the implicit last memory of a chain: the arithmetic units


@dataclass(frozen=True, slots=True)
class Link:
    """Traffic of operand `operand` between `source` and `target` memory ("" = arithmetic units).

    `sent`/`received` count elements at either end (inward for reads; outward for results, where `source` is the inner
    end). `partial` counts among `sent` and `received` those that carry partial results; they also return inward, over
    `returned_hops` element-hops.
    """

    operand: int
    source: str
    target: str
    sent: int
    received: int
    hops: int
    partial_sent: int = 0
    partial_received: int = 0
    partial_hops: int = 0
    returned_hops: int = 0


def links(graph: Graph, stage: Stage, op: Op, axes: Mapping[str, Axis], home: Callable[[str], str]) -> list[Link]:
    """All links of all operands of a stage but those that fill residents; `home` gives a tensor's memory."""
    found = []
    for operand in (*range(len(op.reads)), WRITTEN):
        access = op.write if operand == WRITTEN else op.reads[operand]
        chain = sorted((b for b in stage.buffers if b.operand == operand), key=lambda b: b.depth)
        view = _view(graph, stage, op, operand, axes)
        outer = (home(access.tensor), 0)
        for buffer in (*chain, Buffer(operand, UNITS, len(stage.loops), 0, streamed=True)):
            if not buffer.resident:
                memories = (buffer.memory, outer[0]) if view.written else (outer[0], buffer.memory)
                found.append(Link(operand, *memories, *_counted(view, outer[1], buffer.depth, buffer.streamed)))
            outer = (buffer.memory, buffer.depth)
    return found


def buffer_elements(graph: Graph, stage: Stage, op: Op, buffer: Buffer) -> int:
    """Elements of the largest slice that `buffer` keeps."""
    view = _view(graph, stage, op, buffer.operand, {})
    return math.prod(_largest(part, view.all_cuts(part, buffer.depth)) for part in view.parts)


def _view(graph: Graph, stage: Stage, op: Op, operand: int, axes: Mapping[str, Axis]) -> _Operand:
    access = op.write if operand == WRITTEN else op.reads[operand]
    return _Operand(
        tuple(op.extents.items()),
        op.output_loops,
        components(op, access, graph.tensor(access.tensor).shape),
        dependencies(op, access),
        operand == WRITTEN,
        operand != WRITTEN and operand not in op.body_reads,
        stage.loops,
        tuple(axes.get(tile.axis or "") for tile in stage.loops),
    )


@lru_cache(maxsize=1 << 16)
def _counted(view: _Operand, above: int, depth: int, streamed: bool) -> tuple[int, ...]:
    """The counts of a link: layers of one shape, tiled alike, are counted once."""
    return view.counts(above, depth, streamed)


Cuts = tuple[tuple[int, bool, bool], ...]  # per tile loop: step, every piece or the first only, weighed by position


@dataclass(frozen=True)
class _Operand:
    """One operand of a stage without names of tensors: `domain` (loop, extent), which loops it depends on, the tile
    loops and, per tile loop, its axis. `once`: a tail read, taken once per output element."""

    domain: tuple[tuple[str, int], ...]
    output_loops: frozenset[str]
    parts: tuple[Component, ...]
    depends: frozenset[str]
    written: bool
    once: bool
    loops: tuple[TileLoop, ...]
    axes: tuple[Axis | None, ...]

    @cached_property
    def extents(self) -> dict[str, int]:
        return dict(self.domain)

    def counts(self, above: int, depth: int, streamed: bool) -> tuple[int, ...]:
        """What :class:`Link` counts, from a slice that stands while `above` loops do to one that does while `depth` do;
        `streamed` as in a buffer."""
        last = self._last_fill_loop(depth, streamed)
        inner = self._elements(depth, last, lambda position: True, final=self.once)
        feeding = self._elements(depth, last, self._separate(above), final=self.once)
        entry, handed = self._hops(above, depth, last, final=self.once)
        if not self.written:
            return feeding, inner, entry + handed
        done = self._distinct()
        done_hops = 0 if self._scatters() else self._hops(above, depth, last, final=True)[0]
        return (inner, feeding, entry + handed, inner - done, feeding - done, entry + handed - done_hops,
                entry - done_hops)  # fmt: skip

    def all_cuts(self, part: Component, depth: int) -> tuple[tuple[int, Cuts], ...]:
        """Extents of a part's loops, and how every piece of them at `depth` is cut."""
        cuts = (self._cuts(name, depth, depth, lambda position: True, False, None) for name in part.loops)
        return tuple(zip((self.extents[name] for name in part.loops), cuts, strict=True))

    def _distinct(self) -> int:
        """Elements of the whole operand."""
        return math.prod(_sum(part, self.all_cuts(part, 0), None) for part in self.parts)

    def _scatters(self) -> bool:
        """Do several points of the output loops write one element, or does data decide which?"""
        if self.depends != self.output_loops or any(part.gathered and part.loops for part in self.parts):
            return True
        depth = len(self.loops)
        return self._elements(depth, depth, lambda position: True, final=True) != self._distinct()

    def _last_fill_loop(self, depth: int, streamed: bool) -> int:
        """Position of the innermost temporal loop whose step refills the buffer, -1 if none does."""
        for position in range(depth - 1, -1, -1):
            tile = self.loops[position]
            if tile.axis is None and (streamed or (tile.loop in self.depends and tile.trips > 1)):
                return position
        return -1

    def _separate(self, outer_depth: int) -> Callable[[int], bool]:
        """Does a spatial loop cost the source a read per copy? Not below the source on a multicasting axis."""
        return lambda position: position < outer_depth or not self._axis(position).multicast

    def _axis(self, position: int) -> Axis:
        axis = self.axes[position]
        assert axis is not None
        return axis

    def _elements(
        self, depth: int, last: int, copies: Callable[[int], bool], final: bool, weighted: int | None = None
    ) -> int:
        """Elements over all fills; `copies(position)` says whether spatial loops without dependence count every copy;
        `final` counts reducing loops at their first step only; `weighted` weighs by the position on a hop loop."""
        cuts = {name: self._cuts(name, depth, last, copies, final, weighted) for name in self.extents}
        total = math.prod(_cut(self.extents[name], cuts[name]).count for name in cuts if name not in self.depends)
        heavy = self.loops[weighted].loop if weighted is not None else None
        for part in self.parts:
            of_part = tuple((self.extents[name], cuts[name]) for name in part.loops)
            total *= _sum(part, of_part, heavy if heavy in part.loops else None)
        return total

    def _cuts(
        self, name: str, depth: int, last: int, copies: Callable[[int], bool], final: bool, weighted: int | None
    ) -> Cuts:
        """How one operator loop is cut over all fills and instances."""
        relevant = name in self.depends
        found = []
        for position, tile in self._chain(name, depth):
            counts_once = final and name not in self.output_loops
            if tile.axis is None:
                every = position <= last and not counts_once
            else:
                every = relevant or (copies(position) and not counts_once)
            found.append((tile.step, every, position == weighted))
        return tuple(found)

    def _chain(self, name: str, depth: int) -> Iterable[tuple[int, TileLoop]]:
        return ((i, tile) for i, tile in enumerate(self.loops[:depth]) if tile.loop == name)

    def _hops(self, outer: int, depth: int, last: int, final: bool) -> tuple[int, int]:
        """Element-hops: the way to each instance's position, and on from copy to copy."""
        hop_loops = [p for p in range(outer, depth) if (axis := self.axes[p]) and axis.hop]
        strides = self._strides()
        waiting = {p for p in hop_loops if self.loops[p].loop not in self.depends}
        leading = frozenset(waiting)
        entry = sum(
            strides[p] * self._elements(depth, last, lambda at: at not in leading, final, weighted=p)
            for p in hop_loops
            if p not in leading
        )
        handed = 0
        reached = self._elements(depth, last, lambda at: at not in leading, final) if leading else 0
        for position in sorted(leading):  # copies along one loop after the other: each new one is a stride away
            waiting.discard(position)
            held = frozenset(waiting)
            more = self._elements(depth, last, lambda at, held=held: at not in held, final)  # type: ignore[misc]
            handed += strides[position] * (more - reached)
            reached = more
        return entry, handed

    def _strides(self) -> dict[int, int]:
        """Distance on its axis between neighbouring pieces of each spatial loop."""
        strides = {}
        for position, tile in enumerate(self.loops):
            if tile.axis:
                inner = (t.trips for t in self.loops[position + 1 :] if t.axis == tile.axis)
                strides[position] = math.prod(inner)
        return strides


@lru_cache(maxsize=1 << 14)
def _sum(part: Component, cuts: tuple[tuple[int, Cuts], ...], weighted: str | None) -> int:
    """Elements of a part whose loops, of the given extents, are cut so."""
    pieces = {name: _cut(*each) for name, each in zip(part.loops, cuts, strict=True)}
    return slice_sum(part, pieces, weighted)


@lru_cache(maxsize=1 << 14)
def _largest(part: Component, cuts: tuple[tuple[int, Cuts], ...]) -> int:
    """Elements of the largest slice of a part whose loops, of the given extents, are cut so."""
    return largest_slice(part, {name: _cut(*each) for name, each in zip(part.loops, cuts, strict=True)})


@lru_cache(maxsize=256)  # pieces are arrays, some long
def _cut(extent: int, cuts: Cuts) -> Pieces:
    """The pieces of a loop."""
    start, size, weight = np.zeros(1, np.int64), np.array([extent], np.int64), np.zeros(1, np.int64)
    for step, every, weighs in cuts:
        start, size, weight = _split(start, size, weight, step, every, weighs)
    return Pieces(start, size, weight)


def _split(
    start: np.ndarray, size: np.ndarray, weight: np.ndarray, step: int, every: bool, weighs: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut each piece into pieces of `step` (all of them, or the first only); optionally weigh them by their number."""
    if not every:
        return start, np.minimum(size, step), weight
    trips = -(-size // step)
    owner = np.repeat(np.arange(len(start)), trips)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(trips) - trips, trips)
    first = start[owner] + number * step
    return first, np.minimum(step, size[owner] - number * step), number if weighs else weight[owner]
