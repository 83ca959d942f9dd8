"""Every way to spread an operator over rows and columns that is worth considering, as one table.

A loop of extent e is cut into `down` pieces over rows and each of these into `across` pieces over columns. A row of the
table is one choice for every loop. From it follow

    height = product of down        width = product of across
    compute cycles = points of a core's piece x operations per point + outputs x operations per output (+ 1 per output
                     and combined partial result)
    row cycles     = words that the fullest row of cores takes in (or gives out) over its own link, a word a cycle
    edge cycles    = words over the busiest side / min(width, height): a bundle has at most as many lanes
    memory         = slices in a core's memory, double buffers and waiting copies counted

The stage's time is the largest of the three. For a target time the rows that meet it give a *shape curve*: for each
width the least height.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from mapper.mapping import WRITTEN

from .work import Floats, Work, slice_words

__all__ = ["FAR", "Cores", "Ints", "Table", "table_of"]

Ints = npt.NDArray[np.int64]
FAR = 1 << 30
ROWS_LIMIT = 60_000
LOOPS_LIMIT = 6


@dataclass(frozen=True, slots=True)
class Cores:
    """The mesh: extent, memory of a core, words that a link carries per cycle; a tensor may take 1 / `edge_factor` of a
    rectangle's edge, the rest is for those that pass."""

    height: int
    width: int
    memory_bytes: int
    words_per_cycle: float
    edge_factor: float = 1.0


@dataclass(frozen=True)
class Table:
    """The choices that fit a core's memory; `down[row, i]`, `across[row, i]` are the pieces of loop `loops[i]`.

    `least_memory_bytes` is the smallest memory need of any choice, also when none fits.
    """

    loops: tuple[str, ...]
    down: Ints
    across: Ints
    cycles: Floats
    height: Ints
    width: Ints
    least_memory_bytes: float

    @property
    def empty(self) -> bool:
        return len(self.cycles) == 0

    def least_area(self, target_cycles: float) -> int:
        """Fewest cores that meet the target; FAR if none do."""
        meets = self.cycles <= target_cycles
        return int((self.height * self.width)[meets].min()) if meets.any() else FAR

    def heights(self, target_cycles: float, mesh_width: int) -> Ints:
        """For each width 0 .. mesh_width the least height that meets the target, FAR where none does."""
        meets = self.cycles <= target_cycles
        curve = np.full(mesh_width + 1, FAR, np.int64)
        np.minimum.at(curve, self.width[meets], self.height[meets])
        return np.minimum.accumulate(curve)

    def choice(self, target_cycles: float, width: int, height: int) -> int:
        """The fastest choice inside a box among those of the least cores; it meets the target."""
        inside = np.flatnonzero((self.cycles <= target_cycles) & (self.width <= width) & (self.height <= height))
        area = (self.height * self.width)[inside]
        keys = np.lexsort((inside, self.height[inside], area, self.cycles[inside]))
        return int(inside[keys[0]])


@lru_cache(maxsize=512)
def table_of(work: Work, cores: Cores) -> Table:
    """The table of one operator on one mesh."""
    loops = work.splittable[:LOOPS_LIMIT]
    extents = dict(work.extents)
    per_loop = [_cuts(extents[name], len(loops), cores) for name in loops]
    picks = _combinations([len(cuts) for cuts in per_loop])
    down = _column(per_loop, picks, 0)
    across = _column(per_loop, picks, 1)
    height, width = down.prod(axis=1), across.prod(axis=1)
    fits = (height <= cores.height) & (width <= cores.width)
    down, across, height, width = down[fits], across[fits], height[fits], width[fits]
    return _filled(work, cores, loops, down, across, height, width)


def _filled(
    work: Work, cores: Cores, loops: tuple[str, ...], down: Ints, across: Ints, height: Ints, width: Ints
) -> Table:
    """Time and memory of each choice; those that do not fit a core are dropped, and those that others dominate."""
    row = _sizes(work, loops, down)
    core = _sizes(work, loops, down, across)
    memory = _memory_bytes(work, core | {name: np.ones(len(down)) for name in work.ordered})
    edge = np.minimum(height, width)
    cycles = _compute_cycles(work, core, loops, down * across)
    for words in (_row_words(work, row, loops, across), _edge_words(work) * cores.edge_factor / edge):
        cycles = np.maximum(cycles, words / cores.words_per_cycle)
    least = float(memory.min()) if len(memory) else 0.0
    kept = np.flatnonzero(memory <= cores.memory_bytes)
    kept = kept[_undominated(cycles[kept], height[kept], width[kept])]
    return Table(loops, down[kept], across[kept], cycles[kept], height[kept], width[kept], least)


def _undominated(cycles: Floats, height: Ints, width: Ints) -> Ints:
    """Of choices with the same shape only the fastest, and of slower ones none that is not smaller than 4/3 of the
    least area seen at its speed (they never pay)."""
    order = np.lexsort((cycles, width, height))
    same = (np.diff(height[order]) == 0) & (np.diff(width[order]) == 0)
    order = order[np.concatenate(([True], ~same))] if len(order) else order
    by_time = order[np.argsort(cycles[order], kind="stable")]
    area = (height * width)[by_time]
    least = np.minimum.accumulate(area) if len(area) else area
    return np.sort(by_time[area * 3 <= least * 8])


def _cuts(extent: int, loops: int, cores: Cores) -> list[tuple[int, int]]:
    """Pairs (down, across) for one loop, at most the loop's share of the table; few wasted iterations first."""
    limit = max(3, int(ROWS_LIMIT ** (1 / max(1, loops))))
    plain = max(2, limit // 2 if loops > 2 else limit // 8)
    counts = _counts(extent, plain)
    pairs = dict.fromkeys([(1, 1), *((p, 1) for p in counts), *((1, p) for p in counts)])
    mixed = [(a, b) for a, b in product(counts, counts) if a > 1 and b > 1 and a * b <= extent]
    mixed.sort(key=lambda pair: (_waste(extent, pair), abs(math.log(pair[0] / pair[1])), pair))
    pairs.update(dict.fromkeys(mixed[: max(0, limit - len(pairs))]))
    exact = dict.fromkeys(_exact(extent, pair) for pair in pairs)
    return [(a, b) for a, b in exact if a <= cores.height and b <= cores.width]


def _exact(extent: int, pair: tuple[int, int]) -> tuple[int, int]:
    """The pieces that really arise when the extent is cut into about that many."""
    piece = -(-extent // pair[0])
    inner = -(-piece // pair[1])
    return -(-extent // piece), -(-piece // inner)


def _waste(extent: int, pair: tuple[int, int]) -> float:
    piece = -(-extent // pair[0])
    inner = -(-piece // pair[1])
    return round(pair[0] * pair[1] * inner / extent, 2)


def _counts(extent: int, limit: int) -> list[int]:
    """Piece counts from 1 to the extent, one with the least waste per interval of a geometric scale."""
    steps = sorted({-(-extent // p) for p in range(1, math.isqrt(extent) + 2)} | set(range(1, math.isqrt(extent) + 2)))
    counts = sorted({-(-extent // s) for s in steps if s <= extent})
    if len(counts) <= limit:
        return counts
    best: dict[int, tuple[float, int]] = {}
    for p in counts:
        key = round(math.log(p) / math.log(extent) * (limit - 1))
        best[key] = min(best.get(key, (9e9, 0)), (_waste(extent, (p, 1)), p))
    return sorted({p for _, p in best.values()} | {1, extent})


def _combinations(lengths: list[int]) -> list[Ints]:
    """Indices of every combination, one array per loop."""
    if not lengths:
        return []
    grids = np.meshgrid(*(np.arange(n) for n in lengths), indexing="ij")
    return [grid.ravel() for grid in grids]


def _column(per_loop: list[list[tuple[int, int]]], picks: list[Ints], side: int) -> Ints:
    if not per_loop:
        return np.ones((1, 0), np.int64)
    columns = [np.array([c[side] for c in cuts], np.int64)[pick] for cuts, pick in zip(per_loop, picks, strict=True)]
    return np.stack(columns, axis=1)


def _sizes(work: Work, loops: tuple[str, ...], *cuts: Ints) -> dict[str, Floats]:
    """Largest piece of every loop after the given cuts."""
    rows = len(cuts[0])
    sizes = {name: np.full(rows, float(extent)) for name, extent in work.extents}
    for cut in cuts:
        for position, name in enumerate(loops):
            sizes[name] = np.ceil(sizes[name] / cut[:, position])
    return sizes


def _points(work: Work, sizes: dict[str, Floats], names: frozenset[str]) -> Floats:
    total: Floats = np.ones(1)
    for name, _ in work.extents:
        if name in names:
            total = total * sizes[name]
    return total


def _compute_cycles(work: Work, core: dict[str, Floats], loops: tuple[str, ...], pieces: Ints) -> Floats:
    points = _points(work, core, frozenset(core))
    outputs = _points(work, core, work.outputs)
    combined = np.zeros(len(pieces))
    for position, name in enumerate(loops):
        if name in work.reducing:
            combined = np.maximum(combined, pieces[:, position] > 1)
    found: Floats = points * work.point_cycles + outputs * (work.output_cycles + combined)
    return found


def _memory_bytes(work: Work, core: dict[str, Floats]) -> Floats:
    """Bytes in a core: every slice as often as it stands there, each rounded up to words."""
    total: Floats = np.zeros(len(next(iter(core.values()))) if core else 1)
    for operand in work.operands:
        if operand.copies:
            total = total + 4 * np.ceil(slice_words(operand, core, operand.wide_bits)) * operand.copies
    return total


def _row_words(work: Work, row: dict[str, Floats], loops: tuple[str, ...], across: Ints) -> Floats:
    """Words over the busiest direction of a row's link."""
    taken: Floats = np.zeros(len(across))
    for operand in work.operands:
        if operand.number != WRITTEN and operand.moves:
            taken = taken + slice_words(operand, row, operand.bits)
    written = work.operands[-1]
    partial = np.zeros(len(across), bool)
    for position, name in enumerate(loops):
        if name in work.reducing:
            partial |= across[:, position] > 1
    given = np.where(partial, slice_words(written, row, written.wide_bits), slice_words(written, row, written.bits))
    return np.maximum(taken, given)


def _edge_words(work: Work) -> float:
    """Words over the busiest side: those of the largest tensor, or the quarter of all crossings, if that is more (each
    bundle wants a side of its own)."""
    whole = {name: np.full(1, float(extent)) for name, extent in work.extents}
    words = [(float(slice_words(o, whole, o.bits)[0]), o.crossings) for o in work.operands if o.moves]
    largest = max((each for each, _ in words), default=0.0)
    return max(largest, sum(each * crossings for each, crossings in words) / 4)
