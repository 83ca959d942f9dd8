"""Blocks from the backing store inwards, a few of the best kept at each boundary (a beam).

Boundaries are searched whole (`grid.py`), one after the other: the outer one costs most and what is chosen there leaves
the inner ones nearly independent. The beam carries several outer tiles inwards so that an inner boundary can decide
between outer choices of nearly equal cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from .grid import ANY, RANKED, Boundary, Choice, Rules, advance, expand, slice_bytes, written_energy
from .hierarchy import Hierarchy
from .nest import Nest, counts_exactly, footprint
from .state import Spatial, State, before_blocks, first_state, spatial_of_block

__all__ = ["EFFORTS", "QUICK", "Effort", "NoRoom", "blocks", "is_exhaustive", "units_pj"]


@dataclass(frozen=True, slots=True)
class Effort:
    """`grid`: tiles per boundary before the lists are thinned; `beam`: outer choices carried inwards; `tries`:
    assignments of loops to axes that are looked at quickly; `spatial`: those of them that are searched."""

    grid: int
    beam: int
    tries: int
    spatial: int


QUICK = Effort(2_000, 1, 1, 1)
EFFORTS = {
    "fast": Effort(20_000, 1, 6, 3),
    "default": Effort(100_000, 3, 8, 3),
    "max": Effort(4_000_000, 24, 24, 6),
}


@dataclass(frozen=True, slots=True)
class NoRoom:
    """Single points do not fit: the level, what they need and what there is."""

    memory: str
    demand_bytes: int
    limit_bytes: int


def blocks(
    nest: Nest, hierarchy: Hierarchy, spatial: Sequence[Spatial], effort: Effort, rules: Rules = ANY
) -> tuple[State, ...] | NoRoom:
    """Complete states, least energy first. Memories that hold the largest tiles are alike, whatever their size."""
    return _blocks(nest, _needed(nest, hierarchy, spatial), tuple(spatial), effort, rules)


def _needed(nest: Nest, hierarchy: Hierarchy, spatial: Sequence[Spatial]) -> Hierarchy:
    """The hierarchy with no level larger than the largest tiles, which lie side by side as `spatial` says."""
    if any(s.step for s in spatial):
        return hierarchy
    tile, levels = first_state(nest).tile, list(hierarchy.levels)
    for number in range(1, len(levels)):
        here = spatial_of_block(spatial, number)
        cut = [math.ceil(size / math.prod(s.factor for s in here if s.loop == at)) for at, size in enumerate(tile)]
        multiples = [before_blocks(hierarchy, spatial, at, number) for at in range(len(tile))]
        tile = tuple(
            min(size, math.ceil(part / whole) * whole) for size, part, whole in zip(tile, cut, multiples, strict=True)
        )
        need = sum(slice_bytes(item, tile) for item in nest.operands if item.home < number)
        capacity_bytes = min(levels[number].capacity_bytes or 0, int(need) * levels[number].copies)
        levels[number] = replace(levels[number], capacity_bytes=capacity_bytes)
    return replace(hierarchy, levels=tuple(levels))


@lru_cache(maxsize=1 << 12)
def _blocks(
    nest: Nest, hierarchy: Hierarchy, spatial: tuple[Spatial, ...], effort: Effort, rules: Rules
) -> tuple[State, ...] | NoRoom:
    beam = [first_state(nest)]
    for level in range(1, len(hierarchy.levels)):
        here = spatial_of_block(spatial, level)
        wider: list[State] = []
        for state in beam:
            boundary = Boundary(nest, hierarchy, level, state, here, rules)
            found = _choices(boundary, nest, hierarchy, spatial, level, effort)
            wider += [advance(boundary, choice) for choice in found]
        if not wider:
            return _no_room(Boundary(nest, hierarchy, level, beam[0], here, rules), nest)
        inner = [s for s in spatial if s.below >= level]
        outlook = {id(s): s.pj + units_pj(nest, hierarchy, s, inner) for s in wider}
        beam = sorted(wider, key=lambda s: (outlook[id(s)], s.tile))[: effort.beam]
    return tuple(beam)


def _choices(
    boundary: Boundary, nest: Nest, hierarchy: Hierarchy, spatial: Sequence[Spatial], level: int, effort: Effort
) -> list[Choice]:
    """Tiles that fill the axes further in if there is room for such, any tiles otherwise."""
    optional = level > hierarchy.mandatory
    multiples = [before_blocks(hierarchy, spatial, loop, level) for loop in range(len(nest.extents))]
    found = expand(boundary, multiples, effort.grid, effort.beam, optional)
    if not found and max(multiples) > 1:
        found = expand(boundary, [1] * len(multiples), effort.grid, effort.beam, optional)
    return found


def _no_room(boundary: Boundary, nest: Nest) -> NoRoom:
    outside = [at for at, item in enumerate(nest.operands) if item.home < boundary.number]
    return NoRoom(boundary.level.memory, int(boundary.smallest_bytes(outside)) * boundary.level.copies,
                  boundary.level.capacity_bytes or 0)  # fmt: skip


def units_pj(nest: Nest, hierarchy: Hierarchy, state: State, inner: Sequence[Spatial]) -> float:
    """Energy of what the arithmetic units take and give: an element per point, from the innermost memory of each
    operand, once for copies that share a read. `inner` are the spatial loops that are not in the state yet."""
    found = 0.0
    for at, item in enumerate(nest.operands):
        level = hierarchy.levels[state.source[at]]
        points = float(nest.points)
        if item.once:
            points = math.prod(e for e, r in zip(nest.extents, nest.reducing, strict=True) if not r)
        shared = state.shared[at]
        for s in inner:
            if s.multicast and not item.relevant[s.loop] and not (item.once and nest.reducing[s.loop]):
                shared *= min(s.factor, nest.extents[s.loop])
        if item.written:
            distinct = footprint(item, [float(extent) for extent in nest.extents])
            found += written_energy(item.bytes, item.partial_bytes, points, points / shared, float(distinct),
                                    (level.read_pj_per_byte, level.write_pj_per_byte), (0.0, 0.0))  # fmt: skip
        else:
            found += item.bytes * points / shared * level.read_pj_per_byte
    return float(found)


def is_exhaustive(
    nest: Nest, hierarchy: Hierarchy, spatial: Sequence[Spatial], effort: Effort, rules: Rules = ANY
) -> bool:
    """Does :func:`blocks` look at every tile and order, with counts that are exact? One level inside the backing
    store, no axes, no ordered loops, lists short enough, few enough operands, and slices without clipped ends."""
    if len(hierarchy.levels) != 2 or spatial or any(nest.ordered):
        return False
    boundary = Boundary(nest, hierarchy, 1, first_state(nest), (), rules)
    lists = [boundary.candidates(loop, 1) for loop in range(len(nest.extents))]
    few = len({operand.relevant for operand in nest.operands}) <= RANKED
    return few and math.prod(map(len, lists)) <= effort.grid and counts_exactly(nest)
