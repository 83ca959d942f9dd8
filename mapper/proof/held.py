"""What a memory holds of a tensor: a box of elements, and which of them are really there.

A box is cut out of the box that feeds it; elements that no fill brought are poison (NaN, the least integer) and marked
as missing, so that reading them is noticed whatever their value.
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.index import Index, constant, loop
from mapper.ir import Access

from .slices import Group

__all__ = ["Held", "Window", "clipped", "poison", "shifted", "touched"]

Array = np.ndarray[Any, Any]
Window = Dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Held:
    """Elements `low` to `low + values.shape` of a tensor; `there` marks those that were filled in."""

    low: tuple[int, ...]
    values: Array
    there: Array

    @property
    def box(self) -> tuple[slice, ...]:
        return tuple(slice(a, a + n) for a, n in zip(self.low, self.values.shape, strict=True))

    def cut(self, box: tuple[slice, ...], dtype: str) -> Held:
        """The part inside `box`; what lies outside of this box is missing there."""
        shape = tuple(max(s.stop - s.start, 0) for s in box)
        values, there = np.full(shape, poison(dtype)), np.zeros(shape, bool)
        shared = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(self.box, box, strict=True)]
        if all(first < last for first, last in shared):
            mine = tuple(slice(f - low, e - low) for (f, e), low in zip(shared, self.low, strict=True))
            new = tuple(slice(f - s.start, e - s.start) for (f, e), s in zip(shared, box, strict=True))
            values[new], there[new] = self.values[mine], self.there[mine]
        return Held(tuple(s.start for s in box), values, there)


def poison(dtype: str) -> Any:
    """A value that is not a result: NaN, or the least integer of the type."""
    kind = dtypes.numpy_type(dtype)
    if dtypes.is_float(dtype) or kind.kind == "c":
        return np.array(np.nan).astype(kind)
    if kind.kind in "iu":
        return np.iinfo(kind).min
    return np.zeros((), kind)[()]


def touched(groups: tuple[Group, ...], access: Access, shape: tuple[int, ...], window: Window) -> Any:
    """The box of elements that a window touches and, per group, the mask over its dimensions (dimension numbers,
    mask); gathered dimensions whole."""
    box = [slice(0, extent) for extent in shape]
    masks: list[tuple[tuple[int, ...], Array]] = []
    for group in groups:
        if group.gathered:
            continue
        members = _members(group, access, shape)
        places = _places(group, window)
        lows = [int(p.min()) if p.size else 0 for p in places]
        highs = [int(p.max()) + 1 if p.size else 0 for p in places]
        mask = np.zeros([high - low for low, high in zip(lows, highs, strict=True)], bool)
        mask[tuple(p - low for p, low in zip(places, lows, strict=True))] = True
        for dimension, low, high in zip(members, lows, highs, strict=True):
            box[dimension] = slice(low, high)
        masks.append((members, mask))
    return tuple(box), masks


def _members(group: Group, access: Access, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Which dimensions of the access the group is made of, in order."""
    free = list(enumerate(zip(access.index, shape, strict=True)))
    found = []
    for dimension in group.dimensions:
        at = next(i for i, pair in free if pair == dimension and i not in found)
        found.append(at)
    return tuple(found)


def _places(group: Group, window: Window) -> list[Array]:
    """Coordinates inside the tensor of all points of the window, per dimension of the group."""
    sizes = [window[n][1] - window[n][0] for n in group.loops]
    grid = np.indices(sizes, sparse=True) if sizes else ()
    values = {n: g + window[n][0] for n, g in zip(group.loops, grid, strict=True)}
    at = np.broadcast_arrays(*(np.asarray(index.at(values)) for index, _ in group.dimensions))
    inside = np.ones(at[0].shape, bool)
    for place, (_, extent) in zip(at, group.dimensions, strict=True):
        inside &= (place >= 0) & (place < extent)
    return [place[inside] for place in at]


def clipped(held: Held, box: tuple[slice, ...], masks: list[tuple[tuple[int, ...], Array]], dtype: str) -> Held:
    """What a fill takes from `held`: the touched elements of the box, the rest missing."""
    found = held.cut(box, dtype)
    for members, mask in masks:
        if not mask.all():
            order = [1] * found.there.ndim
            for dimension, length in zip(members, mask.shape, strict=True):
                order[dimension] = length
            found.there[...] &= mask.reshape(order)
    found.values[~found.there] = poison(dtype)
    return found


def shifted(access: Access, window: Window, low: tuple[int, ...]) -> Access:
    """The access with loops counted from the window's start and elements from the box's."""
    moved: dict[str, Index] = {name: loop(name) + constant(start) for name, (start, _) in window.items()}
    index = tuple(i.renamed(moved) - origin for i, origin in zip(access.index, low, strict=True))
    return Access(access.tensor, index, tuple(g.renamed(moved) for g in access.guards), access.fill)
