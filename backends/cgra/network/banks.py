"""Bank conflicts: accesses of one cycle that reach different words of one bank wait for each other.

Words of the scratchpad (4 bytes) are interleaved over `spm_banks` banks, each row of banks moved on by one, so that
columns of a tile spread as its rows do (skewed storage: Budnik and Kuck, The organization and use of parallel memories,
1971); a bank serves one word a cycle. A body is followed through the first iterations of a tile, once it runs steadily:
in each slot stand the loads and stores scheduled there, each for the iteration whose turn it is, each at the address of
its element in its slice. A slot lasts as many cycles as its fullest bank has words to serve, and the whole grid waits.
Accumulators are stored in the last iteration of a run only. Where data chooses the element, its bank is drawn evenly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.arrays import StagePlan, body_runs
from mapper.index import Index, interval
from mapper.ir import Access, Graph, Op
from mapper.kernels.body import lower_main, lower_tail
from mapper.kernels.emit import Lowered, Site
from mapper.kernels.style import CGRA_STYLE
from mapper.mapping import WRITTEN, Buffer, TileLoop

from .strips import UNROLL, copies_in

__all__ = ["stalls", "stalls_per_run"]

SAMPLE = 256  # iterations that are followed
WORD_BYTES = 4

Array = np.ndarray[Any, Any]


def stalls(graph: Graph, plan: StagePlan, banks: int) -> int:
    """Cycles that the bodies of a stage wait for banks in all their runs."""
    copies = copies_in(plan.loops)
    runs, tail_runs = body_runs(plan)
    waiting = runs * stalls_per_run(graph, plan, lower_main(graph, plan.op, CGRA_STYLE, copies), banks)
    tail = lower_tail(graph, plan.op, CGRA_STYLE, copies)
    if tail is not None:
        waiting += tail_runs * stalls_per_run(graph, plan, tail, banks, finishes=True)
    return math.ceil(waiting)


def stalls_per_run(graph: Graph, plan: StagePlan, lowered: Lowered, banks: int, finishes: bool = False) -> float:
    """Cycles that one iteration of a lowered body waits, on average. The body that `finishes` outputs walks over the
    loops that select them."""
    placed = plan.tail if finishes else plan.body
    assert placed is not None
    walk = _Walk(graph, plan, frozenset(plan.op.output_loops if finishes else plan.op.extents), banks)
    cycle, ii = {each.node: each.cycle for each in placed.mapping.placed}, placed.mapping.ii
    latest = max((cycle[site.node] // ii for site in lowered.sites), default=0)
    slots: dict[int, list[Array]] = {}
    for number, site in enumerate(lowered.sites):
        late, slot = divmod(cycle[site.node], ii)
        for words in walk.words(site, number):
            steady = latest if latest < len(words) else 0  # a short tile is followed as if it went round
            slots.setdefault(slot, []).append(np.roll(words, late)[steady:])
    return sum(_waits(np.stack(words), banks) for words in slots.values())


def _waits(words: Array, banks: int) -> float:
    """Cycles beyond the first that a slot takes, on average; a row per access, -1 where it does nothing."""
    ordered = np.sort(words, axis=0)
    first = np.ones_like(ordered, bool)
    first[1:] = ordered[1:] != ordered[:-1]
    fresh = first & (ordered >= 0)
    held_by = (ordered + ordered // banks) % banks
    fullest = np.max([(fresh & (held_by == bank)).sum(axis=0) for bank in range(banks)], axis=0)
    return float(np.maximum(fullest - 1, 0).mean())


@dataclass(frozen=True)
class _Walk:
    """The first iterations of a scratchpad tile, over the loops named `walked`."""

    graph: Graph
    plan: StagePlan
    walked: frozenset[str]
    banks: int

    @property
    def op(self) -> Op:
        return self.plan.op

    @cached_property
    def inside(self) -> tuple[TileLoop, ...]:
        """Tile loops inside the innermost scratchpad slice."""
        depth = max((b.depth for b in self.plan.buffers if b.memory == "spm"), default=0)
        return tuple(loop for loop in self.plan.loops[depth:] if loop.loop in self.walked)

    @property
    def length(self) -> int:
        """Iterations that are followed."""
        total = math.prod(loop.trips for loop in self.inside if loop.axis is None)
        return max(2, min(SAMPLE, total))

    @cached_property
    def steps(self) -> list[tuple[TileLoop, Array]]:
        """The step at which each temporal loop stands in each iteration."""
        counting = [loop for loop in self.inside if loop.axis is None]
        number = np.arange(self.length)
        found = []
        for loop in reversed(counting):
            found.append((loop, number % loop.trips))
            number = number // loop.trips
        return found

    @cached_property
    def counters(self) -> dict[str, Array]:
        """Where each operator loop stands in each iteration."""
        found = dict.fromkeys(self.op.extents, np.zeros(self.length, np.int64))
        for loop, step in self.steps:
            found[loop.loop] = found[loop.loop] + step * loop.step
        return found

    def words(self, site: Site, number: int) -> Iterator[Array]:
        """Per replica, the word that a load or store reaches in each iteration; -1 where it does nothing."""
        acts = self._acts(site)
        for displaced in self._replicas():
            at = {name: values + displaced.get(name, 0) for name, values in self.counters.items()}
            yield np.where(acts, self._address(site, at, number) // WORD_BYTES, -1)

    def _replicas(self) -> Iterator[dict[str, int]]:
        """Displacement of the loops in each replica of the body."""
        beside = [loop for loop in self.inside if loop.axis not in (None, UNROLL)]
        for steps in np.ndindex(*(loop.trips for loop in beside)):
            moved: dict[str, int] = {}
            for loop, step in zip(beside, steps, strict=True):
                moved[loop.loop] = moved.get(loop.loop, 0) + step * loop.step
            yield moved

    def _acts(self, site: Site) -> Array:
        """A store of an accumulator acts when the reducing loops stand at their last step."""
        acts = np.ones(self.length, bool)
        if site.role in ("out", "partial") and self.op.combiner is not None:
            for loop, step in self.steps:
                acts &= (step == loop.trips - 1) | (loop.loop in self.op.output_loops)
        return acts

    def _address(self, site: Site, counters: Mapping[str, Array], number: int) -> Array:
        """Byte address of the element in the slice that holds it."""
        if any(index.gathered for index in site.access.index):
            return np.random.default_rng(number).integers(0, self.banks, self.length) * WORD_BYTES
        buffer = self._buffer(site.access)
        sizes = self._sizes(buffer.depth if buffer is not None else 0)
        element, pitch = np.zeros(self.length, np.int64), 1
        for index, extent in zip(reversed(site.access.index), reversed(self._shape(site.access)), strict=True):
            element = element + pitch * np.asarray(index.at(counters))
            pitch *= min(extent, _span(index, sizes))
        bits = dtypes.BITS[self.graph.tensor(site.access.tensor).dtype]
        offset: Array = np.maximum(element, 0) * bits // 8 + (buffer.address if buffer is not None else 0)
        return offset

    def _shape(self, access: Access) -> tuple[int, ...]:
        return self.graph.tensor(access.tensor).shape

    def _buffer(self, access: Access) -> Buffer | None:
        """The scratchpad's slice of the tensor."""
        op = self.op
        tensor = {WRITTEN: op.write.tensor, **{number: read.tensor for number, read in enumerate(op.reads)}}
        held = (b for b in self.plan.buffers if b.memory == "spm" and tensor[b.operand] == access.tensor)
        return next(held, None)

    def _sizes(self, depth: int) -> dict[str, int]:
        """Iterations of each loop in a tile inside the first `depth` tile loops."""
        sizes = dict(self.op.extents)
        for loop in self.plan.loops[:depth]:
            sizes[loop.loop] = loop.step
        return sizes


def _span(index: Index, sizes: Mapping[str, int]) -> int:
    low, high = interval(index, {name: (0, size - 1) for name, size in sizes.items()})
    return high - low + 1
