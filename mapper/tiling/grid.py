"""One memory boundary, searched whole: every combination of tile sizes against every order of loops that matters.

Given the tile above level b (a :class:`State`), choose the tile of level b per loop, the order of the loops that walk
over it, and which operands to keep there, with the least energy over this boundary:

* sizes: per loop the smallest step for each number of trips, O(sqrt(extent)) values; a larger step with the same trips
  only costs room. If the product of the lists is too long they are thinned, and searched again around the best point.
* capacity: slices x copies <= capacity. Slices grow with every size and traffic falls with it, so only *maximal* tiles
  (no size can take its next value) are looked at.
* order: an operand stands still while the loops inside its innermost relevant one run. For some ranking of operands the
  order that sorts loops by (moves the first operand, moves the second, ...) leaves every operand standing at least as
  long as the best order does, so rankings are all the orders there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, permutations
from typing import Any

import numpy as np

from .hierarchy import Hierarchy, Level
from .nest import Nest, Operand, footprint, total
from .state import Block, Spatial, State, cut

__all__ = ["ANY", "Boundary", "Choice", "Rules", "advance", "expand", "orders", "slice_bytes", "written_energy"]

Array = np.ndarray[Any, Any]
RANKED = 4  # operands ranked against each other; the others come last


@dataclass(frozen=True, slots=True)
class Choice:
    """A point of the grid: tile per loop, order of loops from outside, operands kept, energy so far."""

    tile: tuple[int, ...]
    order: tuple[int, ...]
    kept: tuple[int, ...]
    pj: float


@dataclass(frozen=True, slots=True)
class Rules:
    """Which tiles may be used: `divisors` only sizes that divide, `whole` loops that are never cut."""

    divisors: bool = False
    whole: frozenset[int] = frozenset()


ANY = Rules()


@dataclass(frozen=True)
class Axis:
    """Candidates along one loop: tile of an instance, temporal step, and what they cut the loop into."""

    tile: Array
    step: Array
    trips: Array
    temporal: Array  # pieces over the whole extent after the temporal loop
    pieces: Array  # and after the spatial ones

    def take(self, chosen: Array) -> Axis:
        return Axis(*(part[chosen] for part in (self.tile, self.step, self.trips, self.temporal, self.pieces)))


class Boundary:
    """The boundary above level `level` of a hierarchy, for one state."""

    def __init__(
        self, nest: Nest, hierarchy: Hierarchy, level: int, state: State, spatial: Sequence[Spatial], rules: Rules = ANY
    ) -> None:
        self.nest, self.levels, self.number, self.state = nest, hierarchy.levels, level, state
        self.spatial, self.rules = spatial, rules
        self.level: Level = hierarchy.levels[level]
        self.room = (self.level.capacity_bytes or 0) / self.level.copies
        self.factor = [math.prod(s.factor for s in spatial if s.loop == at) for at in range(len(nest.extents))]

    def candidates(self, loop: int, multiple: int) -> list[int]:
        """Tiles of one instance along a loop, ascending."""
        size, forced = self.state.tile[loop], [s.step for s in self.spatial if s.loop == loop and s.step]
        if forced:
            return [min(forced[-1], size)]
        if loop in self.rules.whole:
            return [math.ceil(size / self.factor[loop])]
        supers = _divisors(size) if self.rules.divisors else _distinct_steps(size)
        each = (math.ceil(step / self.factor[loop]) for step in supers)
        return sorted({min(size, math.ceil(tile / multiple) * multiple) for tile in each})

    def axis(self, loop: int, tiles: Sequence[int]) -> Axis:
        """What each candidate cuts the loop into."""
        size = self.state.tile[loop]
        steps = [self.step(loop, tile) for tile in tiles]
        after = [cut(self.state.pieces[loop], step) for step in steps]
        temporal = [sum(number for _, number in pieces) for pieces in after]
        split = [sum(number * -(-length // tile) for length, number in pieces)
                 for pieces, tile in zip(after, tiles, strict=True)]  # fmt: skip
        columns = (tiles, steps, [-(-size // step) for step in steps], temporal, split)
        return Axis(*(np.array(column, float) for column in columns))

    def step(self, loop: int, tile: int) -> int:
        """The temporal step over all copies of `tile`."""
        wide = [s.step * s.factor for s in self.spatial if s.loop == loop and s.step]
        return min(self.state.tile[loop], max([tile * self.factor[loop], *wide]))

    def bytes_of(self, operand: int, sizes: Sequence[Any]) -> Any:
        """Room that an operand's slice takes."""
        return slice_bytes(self.nest.operands[operand], sizes)

    def smallest_bytes(self, kept: Sequence[int]) -> float:
        """Room for tiles of single points."""
        return float(sum(self.bytes_of(at, [1.0] * len(self.nest.extents)) for at in kept))

    def refills(self, operand: int, points: Sequence[Axis], order: Sequence[int]) -> tuple[Array, Array]:
        """Repetitions of an operand's slices at the receiving end, and copies that one read of the source serves."""
        item = self.nest.operands[operand]
        inside = np.zeros(len(points[0].tile), bool)
        repeats = np.ones(len(points[0].tile))
        for loop in reversed(order):
            if item.relevant[loop]:
                inside |= points[loop].trips > 1
            elif not (item.once and self.nest.reducing[loop]):
                ratio = points[loop].temporal / self.state.repeats(loop)
                repeats = np.where(inside, repeats * ratio, repeats)
        outside = math.prod(self.state.repeats(loop) for loop in range(len(item.relevant))
                            if not item.relevant[loop] and not (item.once and self.nest.reducing[loop]))  # fmt: skip
        repeats = np.where(inside, repeats * outside, self.state.fills[operand])
        shared = np.full(len(points[0].tile), self.state.shared[operand])
        for loop in range(len(item.relevant)):
            if self.factor[loop] > 1 and not item.relevant[loop] and not (item.once and self.nest.reducing[loop]):
                copies = points[loop].pieces / points[loop].temporal
                repeats = repeats * copies
                if all(s.multicast for s in self.spatial if s.loop == loop):
                    shared = shared * copies
        return repeats, shared

    def energy(self, operand: int, repeats: Array, shared: Array, elements: Array) -> Array:
        """pJ of an operand over this boundary: `elements` in all its slices, repeated, from its source."""
        item, source = self.nest.operands[operand], self.levels[self.state.source[operand]]
        inner, outer = elements * repeats, elements * repeats / shared
        if not item.written:
            read: Array = item.bytes * (outer * source.read_pj_per_byte + inner * self.level.write_pj_per_byte)
            return read
        above = (source.read_pj_per_byte, source.write_pj_per_byte)
        below = (self.level.read_pj_per_byte, self.level.write_pj_per_byte)
        distinct = _distinct(self.nest, operand)
        pj: Array = written_energy(item.bytes, item.partial_bytes, inner, outer, distinct, above, below)
        return pj


def slice_bytes(operand: Operand, sizes: Sequence[Any]) -> Any:
    """Room that a slice of `sizes` takes, partial results in the accumulator's type."""
    return np.ceil(footprint(operand, sizes) * max(operand.bytes, operand.partial_bytes))


def written_energy(
    bytes_: float, partial: float, inner: Any, outer: Any, distinct: float,
    above: tuple[float, float], below: tuple[float, float],
) -> Any:  # fmt: skip
    """pJ of results that leave `inner` times at the inner end and arrive `outer` times: all but the last drain of an
    element are partial and come back. `above` and `below` are (read, write) pJ per byte at either end."""
    partly_out, partly_in = np.maximum(inner - distinct, 0), np.maximum(outer - distinct, 0)
    leave = (partly_out * partial + distinct * bytes_) * below[0]
    arrive = (partly_in * partial + distinct * bytes_) * above[1]
    return leave + arrive + partly_in * partial * (above[0] + below[1])


@lru_cache(maxsize=4096)
def _distinct(nest: Nest, operand: int) -> float:
    return float(footprint(nest.operands[operand], [float(extent) for extent in nest.extents]))


def _divisors(size: int) -> list[int]:
    return [step for step in range(1, size + 1) if size % step == 0] if size else [1]


@lru_cache(maxsize=4096)
def _distinct_steps(size: int) -> list[int]:
    """The smallest step for each number of trips: ceil(size / trips), ascending."""
    found, step = [], max(size, 1)
    while step >= 1:
        trips = -(-size // step)
        smallest = -(-size // trips)
        found.append(smallest)
        step = smallest - 1
    return found[::-1]


def orders(nest: Nest, kept: Sequence[int], loops: Sequence[int]) -> list[tuple[int, ...]]:
    """Orders of `loops`, from outside to inside, one for each ranking of operands that differ in what moves them."""
    patterns: dict[tuple[bool, ...], int] = {}
    for at in kept:
        relevant = tuple(nest.operands[at].relevant[loop] for loop in loops)
        patterns.setdefault(relevant, at)
    ranked = sorted(patterns.values(), key=lambda at: (-_distinct(nest, at), at))[:RANKED]
    found: dict[tuple[int, ...], None] = {}
    for ranking in permutations(ranked):

        def moves(loop: int, ranking: Sequence[int] = ranking) -> tuple[bool, ...]:
            return tuple(nest.operands[at].relevant[loop] for at in ranking)

        found[tuple(sorted(loops, key=lambda loop: (moves(loop), -loop), reverse=True))] = None
    return list(found)


def expand(boundary: Boundary, multiples: Sequence[int], limit: int, keep: int, optional: bool) -> list[Choice]:
    """The best `keep` choices with different tiles for each set of operands kept; none if single points do not fit.

    Sets are not ranked against each other: what a set saves shows further in only.
    """
    lists = [boundary.candidates(loop, multiples[loop]) for loop in range(len(boundary.nest.extents))]
    found: list[Choice] = []
    for kept in _kept_sets(boundary, optional):
        if boundary.smallest_bytes(kept) > boundary.room:
            continue
        thin = _thinned(lists, limit)
        best = _search(boundary, kept, thin, keep)
        if best and thin is not lists:
            best += _search(boundary, kept, _around(lists, thin, best[0].tile, limit), keep)
        found += _different(best, keep)
    return found


def _kept_sets(boundary: Boundary, optional: bool) -> Iterator[tuple[int, ...]]:
    """Which operands to keep: all that live further out or, where a level may be bypassed, each subset of those that
    are used more than once."""
    outside = tuple(at for at, item in enumerate(boundary.nest.operands) if item.home < boundary.number)
    if not optional:
        yield outside
        return
    sizes = [float(size) for size in boundary.state.tile]
    reused = [at for at in outside if footprint(boundary.nest.operands[at], sizes) < math.prod(sizes)]
    reused = sorted(reused, key=lambda at: (-_distinct(boundary.nest, at), at))[:RANKED]
    for number in range(len(reused) + 1):
        yield from combinations(sorted(reused), number)


def _thinned(lists: list[list[int]], limit: int) -> list[list[int]]:
    """Lists whose product is at most `limit`: the longest loses every second value, ends kept."""
    if math.prod(map(len, lists)) <= limit:
        return lists
    thin = [list(values) for values in lists]
    while math.prod(map(len, thin)) > limit:
        longest = max(range(len(thin)), key=lambda at: len(thin[at]))
        values = thin[longest]
        thin[longest] = sorted({*values[::-2], values[0]})
        if len(thin[longest]) == len(values):
            break
    return thin


def _around(lists: list[list[int]], thin: list[list[int]], tile: tuple[int, ...], limit: int) -> list[list[int]]:
    """All values between the thinned neighbours of a good tile."""
    found = []
    for values, coarse, size in zip(lists, thin, tile, strict=True):
        at = coarse.index(size)
        low, high = coarse[max(at - 1, 0)], coarse[min(at + 1, len(coarse) - 1)]
        found.append([value for value in values if low <= value <= high])
    return _thinned(found, limit)


def _search(boundary: Boundary, kept: tuple[int, ...], lists: list[list[int]], keep: int) -> list[Choice]:
    """Evaluate every maximal tile of the grid in every order."""
    axes = [boundary.axis(loop, values) for loop, values in enumerate(lists)]
    points = _maximal(boundary, kept, [axis.tile for axis in axes])
    if not len(points[0]):
        return []
    taken = [axis.take(at) for axis, at in zip(axes, points, strict=True)]
    sizes = [extent / axis.pieces for extent, axis in zip(boundary.nest.extents, taken, strict=True)]
    pieces = [axis.pieces for axis in taken]
    elements = {at: total(boundary.nest.operands[at], sizes, pieces) for at in kept}
    loops = [loop for loop, axis in enumerate(taken) if axis.trips.max() > 1]
    choices: list[Choice] = []
    for order in orders(boundary.nest, kept, loops):
        pj = np.full(len(points[0]), boundary.state.pj)
        for at in kept:
            repeats, shared = boundary.refills(at, taken, order)
            pj = pj + boundary.energy(at, repeats, shared, elements[at])
        for point in np.argsort(pj, kind="stable")[:keep]:
            tile = tuple(int(axis.tile[point]) for axis in taken)
            choices.append(Choice(tile, order, kept, float(pj[point])))
    return _different(choices, keep)


def _maximal(boundary: Boundary, kept: Sequence[int], tiles: list[Array]) -> list[Array]:
    """Positions of tiles that fit while none with one larger size does."""
    mesh = [tile.reshape([-1 if at == loop else 1 for at in range(len(tiles))]) for loop, tile in enumerate(tiles)]
    used: Any = np.zeros([len(tile) for tile in tiles])
    for at in kept:
        used = used + boundary.bytes_of(at, mesh)
    fits = used <= boundary.room
    if any(part.boxed for at in kept for part in boundary.nest.operands[at].parts):
        return list(np.nonzero(fits))  # a larger box may span more elements that nobody needs
    maximal = fits.copy()
    for loop in range(len(tiles)):
        inner = [slice(None)] * len(tiles)
        outer = [slice(None)] * len(tiles)
        inner[loop], outer[loop] = slice(None, -1), slice(1, None)
        maximal[tuple(inner)] &= ~fits[tuple(outer)]
    return list(np.nonzero(maximal))


def _different(choices: list[Choice], keep: int) -> list[Choice]:
    """The least expensive choices, one per tile and set of operands."""
    found: dict[tuple[tuple[int, ...], tuple[int, ...]], Choice] = {}
    for choice in sorted(choices, key=lambda c: (c.pj, c.tile, c.order)):
        found.setdefault((choice.tile, choice.kept), choice)
    return list(found.values())[:keep]


def advance(boundary: Boundary, choice: Choice) -> State:
    """The state below a boundary once `choice` is made."""
    state, nest = boundary.state, boundary.nest
    axes = [boundary.axis(loop, [tile]) for loop, tile in enumerate(choice.tile)]
    fills, shared, source = list(state.fills), list(state.shared), list(state.source)
    for at in range(len(nest.operands)):
        repeats, together = boundary.refills(at, axes, choice.order)
        fills[at], shared[at] = float(repeats[0]), float(together[0])
        if at in choice.kept:
            source[at], shared[at] = boundary.number, 1.0
    steps = tuple((loop, boundary.step(loop, choice.tile[loop])) for loop in choice.order)
    pieces = tuple(cut(cut(state.pieces[loop], boundary.step(loop, tile)), tile)
                   for loop, tile in enumerate(choice.tile))  # fmt: skip
    block = Block(boundary.number, steps, choice.tile, choice.kept)
    return State(choice.tile, pieces, tuple(fills), tuple(shared), tuple(source), choice.pj, (*state.blocks, block))
