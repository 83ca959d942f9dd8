"""How many distinct elements of a tensor a tile touches, summed over all positions of the tile.

Dimensions that share no loop are independent, so the number of elements in a slice is a product over *components*
(dimensions connected by common loops) and the sum over all slices is the product of the components' sums. Inside a
component, counts come from interval arithmetic where the index is affine in one loop or in two that leave no gaps, and
from enumeration of the component's own loops otherwise. Elements outside the tensor are never counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mapper.index import Index
from mapper.ir import Access, Op

__all__ = [
    "Component",
    "Pieces",
    "addresses",
    "components",
    "dependencies",
    "largest_slice",
    "progression",
    "slice_sum",
]

Array = np.ndarray[Any, Any]
ENUMERATION_LIMIT = 4_000_000


@dataclass(frozen=True)
class Pieces:
    """The pieces of one operator loop at some depth: parallel arrays of starts, sizes and weights."""

    start: Array
    size: Array
    weight: Array

    @property
    def count(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True)
class Component:
    """Tensor dimensions connected by loops: `loops` sorted, (index, extent) per dimension; `gathered` marks
    dimensions whose element is data-dependent (one element per point of the loops, at most `extents`)."""

    loops: tuple[str, ...]
    dimensions: tuple[tuple[Index, int], ...]
    gathered: bool


def dependencies(op: Op, access: Access) -> frozenset[str]:
    """Loops on which the touched element depends, directly or through a gathering read."""
    loops = set(access.loops)
    for index in access.index:
        for atom in index.gathered:
            loops |= dependencies(op, op.reads[atom.read])
    return frozenset(loops)


def components(op: Op, access: Access, shape: Sequence[int]) -> tuple[Component, ...]:
    """The independent components of `access` to a tensor of `shape`."""
    groups: list[tuple[set[str], list[int]]] = []
    for dimension, index in enumerate(access.index):
        loops = set(index.loops)
        for atom in index.gathered:
            loops |= dependencies(op, op.reads[atom.read])
        members = [dimension]
        rest = []
        for other in groups:
            if other[0] & loops:
                loops |= other[0]
                members += other[1]
            else:
                rest.append(other)
        groups = [*rest, (loops, members)]
    found = []
    for loops, members in groups:
        dimensions = tuple((access.index[d], shape[d]) for d in sorted(members))
        found.append(Component(tuple(sorted(loops)), dimensions, any(i.gathered for i, _ in dimensions)))
    return tuple(found)


def slice_sum(component: Component, pieces: Mapping[str, Pieces], weighted: str | None = None) -> int:
    """Elements of the component summed over all combinations of its loops' pieces.

    With `weighted`, each combination counts with the weight of that loop's piece.
    """
    if not component.loops:
        return 1
    starts, sizes, chosen = _combinations(component, pieces)
    counts = _counts(component, starts, sizes)
    if weighted:
        counts = counts * pieces[weighted].weight[chosen[component.loops.index(weighted)]]
    return int(counts.sum())


def _combinations(
    component: Component, pieces: Mapping[str, Pieces]
) -> tuple[list[Array], list[Array], Sequence[Array]]:
    """Starts and sizes, per loop of the component, of every combination of pieces; and which pieces these are."""
    chosen = np.indices([pieces[name].count for name in component.loops]).reshape(len(component.loops), -1)
    starts = [pieces[name].start[row] for name, row in zip(component.loops, chosen, strict=True)]
    sizes = [pieces[name].size[row] for name, row in zip(component.loops, chosen, strict=True)]
    return starts, sizes, list(chosen)


def largest_slice(component: Component, pieces: Mapping[str, Pieces]) -> int:
    """Elements of the component in its largest slice over all combinations of its loops' pieces."""
    if not component.loops:
        return 1
    starts, sizes, _ = _combinations(component, pieces)
    return int(_counts(component, starts, sizes).max(initial=0))


def _counts(component: Component, starts: list[Array], sizes: list[Array]) -> Array:
    """Distinct in-bounds elements for each combination of pieces."""
    if component.gathered:
        points = math.prod(sizes)
        return np.minimum(points, math.prod(extent for _, extent in component.dimensions))
    if len(component.dimensions) == 1:
        index, extent = component.dimensions[0]
        closed = _closed_form(index, extent, component.loops, starts, sizes)
        if closed is not None:
            return closed
    return _enumerated(component, starts, sizes)


def _closed_form(
    index: Index, extent: int, loops: tuple[str, ...], starts: list[Array], sizes: list[Array]
) -> Array | None:
    """Elements in [0, extent) of an affine index whose values leave no gaps but a fixed step; None otherwise."""
    found = progression(index, extent, loops, starts, sizes)
    if found is None:
        return None
    first, last, step = found
    inside: Array = np.where(last >= first, (last - first) // step + 1, 0)
    return inside


def progression(
    index: Index, extent: int, loops: Sequence[str], starts: Sequence[Array], sizes: Sequence[Array]
) -> tuple[Array, Array, int] | None:
    """(first, last, step) of the elements in [0, extent) for each combination of pieces, where `index` is affine and
    leaves no gaps but a fixed step; None otherwise. Where `last` is less than `first` there are none."""
    if not index.is_affine:
        return None
    terms = sorted(((abs(c), c, loops.index(str(a))) for a, c in index.terms), key=lambda t: t[0])
    step, reach = terms[0][0], np.zeros_like(starts[0])
    for magnitude, _, position in terms:
        if magnitude % step or np.any((magnitude > reach + step) & (sizes[position] > 1)):
            return None
        reach = reach + magnitude * (sizes[position] - 1)
    low = np.full_like(starts[0], index.const)
    for _, coefficient, position in terms:
        ends = starts[position] + (sizes[position] - 1 if coefficient < 0 else 0)
        low = low + coefficient * ends
    high = low + reach
    first = low + np.maximum(0, -(low // step)) * step
    last = np.minimum(high, high - ((high - (extent - 1) + step - 1) // step) * step * (high > extent - 1))
    return first, last, step


def _enumerated(component: Component, starts: list[Array], sizes: list[Array]) -> Array:
    """Distinct in-bounds element tuples by enumeration, once per distinct combination of pieces."""
    keys = np.stack([*starts, *sizes], axis=1)
    if int(math.prod(int(s.max()) for s in sizes)) * len(np.unique(keys, axis=0)) > ENUMERATION_LIMIT:
        points = math.prod(s.astype(object) for s in sizes)
        box = math.prod(extent for _, extent in component.dimensions)
        return np.minimum(points, box).astype(np.int64)
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    half = len(starts)
    counts = [_distinct(component, tuple(map(int, k[:half])), tuple(map(int, k[half:]))) for k in unique]
    return np.array(counts, np.int64)[inverse.ravel()]


@lru_cache(maxsize=200_000)
def _distinct(component: Component, start: tuple[int, ...], size: tuple[int, ...]) -> int:
    return int(addresses(component, start, size).size)


def addresses(component: Component, start: tuple[int, ...], size: tuple[int, ...]) -> Array:
    """Distinct in-bounds elements of the component that `size` iterations of its loops from `start` on touch, by
    row-major number, rising."""
    grids = np.meshgrid(*(np.arange(s, s + n) for s, n in zip(start, size, strict=True)), indexing="ij", sparse=True)
    values = dict(zip(component.loops, grids, strict=True))
    flat: Any = np.zeros((), np.int64)
    inside: Any = np.ones((), bool)
    for index, extent in component.dimensions:
        at = np.asarray(index.at(values))
        inside = inside & (at >= 0) & (at < extent)
        flat = flat * extent + np.clip(at, 0, extent - 1)
    flat, inside = np.broadcast_arrays(flat, inside)
    found: Array = np.unique(flat[inside])
    return found
