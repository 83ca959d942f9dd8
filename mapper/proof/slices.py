"""How many elements of a tensor a tile touches, by sets of element numbers.

Dimensions that share a loop are counted together (a *group*), groups multiply. The elements of an affine group are a
fixed set of offsets around a base that moves with the tile: the offsets are built loop by loop as a sum of sets, and
only tiles at the tensor's border look at them one by one. Other groups are enumerated. A gathered group counts one
element per point, at most all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mapper.index import Index
from mapper.ir import Access, Op

__all__ = ["Group", "counts", "groups", "loops_of"]

Array = np.ndarray[Any, Any]
CHUNK = 1 << 21


@dataclass(frozen=True, slots=True)
class Group:
    """Dimensions (index, extent) connected through their `loops`; `gathered` if data decides on the element."""

    loops: tuple[str, ...]
    dimensions: tuple[tuple[Index, int], ...]
    gathered: bool

    @property
    def elements(self) -> int:
        return math.prod(extent for _, extent in self.dimensions)


def loops_of(op: Op, access: Access) -> frozenset[str]:
    """Loops on which the element touched by `access` depends, through gathering reads too."""
    found = frozenset().union(*(_index_loops(op, index) for index in access.index)) if access.index else frozenset()
    return found


def _index_loops(op: Op, index: Index) -> frozenset[str]:
    gathering = (loops_of(op, op.reads[atom.read]) for atom in index.gathered)
    return index.loops.union(*gathering)


def groups(op: Op, access: Access, shape: Sequence[int]) -> tuple[Group, ...]:
    """The dimensions of `access`, split where no loop connects them."""
    open_: list[tuple[frozenset[str], tuple[int, ...]]] = []
    for dimension, index in enumerate(access.index):
        loops = _index_loops(op, index)
        touching = [entry for entry in open_ if entry[0] & loops]
        merged = loops.union(*(entry[0] for entry in touching))
        members = (dimension, *(d for entry in touching for d in entry[1]))
        open_ = [entry for entry in open_ if entry not in touching] + [(merged, members)]
    return tuple(_group(access, shape, loops, members) for loops, members in open_)


def _group(access: Access, shape: Sequence[int], loops: frozenset[str], members: Sequence[int]) -> Group:
    dimensions = tuple((access.index[d], shape[d]) for d in sorted(members))
    return Group(tuple(sorted(loops)), dimensions, any(index.gathered for index, _ in dimensions))


def counts(group: Group, starts: Array, sizes: Array) -> Array:
    """Distinct elements inside the tensor per tile; row i of `starts` and `sizes` gives tile i, a column per loop."""
    if not group.loops and not group.gathered:
        inside = all(0 <= index.at({}) < extent for index, extent in group.dimensions)
        return np.full(len(starts), int(inside))
    if group.gathered:
        points: Array = np.minimum(np.prod(sizes, axis=1), group.elements)
        return points
    found = np.zeros(len(starts), np.int64)
    shapes, member = np.unique(sizes, axis=0, return_inverse=True)
    for number, shape in enumerate(shapes):
        rows = np.flatnonzero(member.ravel() == number)
        size = tuple(int(s) for s in shape)
        if all(index.is_affine for index, _ in group.dimensions):
            found[rows] = _affine(group, starts[rows], size)
        else:
            found[rows] = _enumerated(group, starts[rows], size)
    return found


def _affine(group: Group, starts: Array, size: tuple[int, ...]) -> Array:
    """Tiles whose offsets all lie inside count them all; the others test each offset."""
    offsets = _offsets(group, size)
    bases = np.stack([_base(index, group.loops, starts) for index, _ in group.dimensions], axis=1)
    extents = np.array([extent for _, extent in group.dimensions])
    inner = ((bases + offsets.min(axis=0) >= 0) & (bases + offsets.max(axis=0) < extents)).all(axis=1)
    found = np.where(inner, len(offsets), 0)
    border = np.flatnonzero(~inner)
    for rows in _chunks(border, len(offsets)):
        at = bases[rows][:, None, :] + offsets[None, :, :]
        found[rows] = ((at >= 0) & (at < extents)).all(axis=2).sum(axis=1)
    return found


def _base(index: Index, loops: tuple[str, ...], starts: Array) -> Array:
    total = np.full(len(starts), index.const, np.int64)
    for atom, coefficient in index.terms:
        total += coefficient * starts[:, loops.index(str(atom))]
    return total


@lru_cache(maxsize=4096)
def _offsets(group: Group, size: tuple[int, ...]) -> Array:
    """Distinct offset vectors of a tile of `size` around its first point: the sum of one set per loop."""
    reached = np.zeros((1, len(group.dimensions)), np.int64)
    for name, extent in zip(group.loops, size, strict=True):
        step = np.array([dict(index.terms).get(name, 0) for index, _ in group.dimensions], np.int64)
        moved = reached[:, None, :] + np.arange(extent)[None, :, None] * step
        reached = _distinct_rows(moved.reshape(-1, len(group.dimensions)))
    return reached


def _distinct_rows(rows: Array) -> Array:
    """Unique rows, packed into one integer each so that sorting is cheap."""
    low, span = rows.min(axis=0), np.ptp(rows, axis=0) + 1
    weights = np.append(np.cumprod(span[::-1])[-2::-1], 1) if rows.shape[1] > 1 else np.ones(1, np.int64)
    packed = np.unique((rows - low) @ weights)
    rows_: Array = packed[:, None] // weights % span + low
    return rows_


def _enumerated(group: Group, starts: Array, size: tuple[int, ...]) -> Array:
    """Distinct element numbers per tile by visiting every point."""
    grid = np.indices(size).reshape(len(size), -1)
    found = np.zeros(len(starts), np.int64)
    for rows in _chunks(np.arange(len(starts)), grid.shape[1]):
        values = {n: starts[rows, c][:, None] + grid[c] for c, n in enumerate(group.loops)}
        found[rows] = _distinct_per_row(_element_numbers(group, values, (len(rows), grid.shape[1])))
    return found


def _element_numbers(group: Group, values: dict[str, Array], shape: tuple[int, ...]) -> Array:
    """Row-major element number per point, -1 outside the tensor."""
    number, inside = np.zeros(shape, np.int64), np.ones(shape, bool)
    for index, extent in group.dimensions:
        at = np.broadcast_to(np.asarray(index.at(values)), shape)
        inside &= (at >= 0) & (at < extent)
        number = number * extent + at
    numbered: Array = np.where(inside, number, -1)
    return numbered


def _distinct_per_row(numbers: Array) -> Array:
    ordered = np.sort(numbers, axis=1)
    first = np.ones(ordered.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    found: Array = (first & (ordered >= 0)).sum(axis=1)
    return found


def _chunks(rows: Array, width: int) -> Iterator[Array]:
    step = max(1, CHUNK // max(1, width))
    for at in range(0, len(rows), step):
        yield rows[at : at + step]
