"""Which loops run side by side on which axes: utilisation first, movement second.

On an axis of P places a loop of n iterations keeps n / (ceil(n / P) * P) of them busy. If one loop does not fill an
axis, a second one takes what is left; where every copy costs a read of its own (no multicast), two loops may share a
full axis, so that no operand is read by all of its places. Ordered loops never run side by side, reducing loops only
where copies can be combined. Assignments of (nearly) the same utilisation are ranked by what they would move if every
memory were large enough: what copies cost at their source and at their own end is left then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from mapper.mapping import TileLoop

from .hierarchy import Hierarchy, SpatialAxis
from .nest import Nest, total
from .state import Spatial

__all__ = ["ample_pj", "assignments", "doubled", "given"]

FILLED = 0.9  # an axis so full needs no second loop


def given(loops: Sequence[TileLoop], names: Sequence[str], hierarchy: Hierarchy) -> tuple[Spatial, ...]:
    """Spatial loops chosen by the caller; `step` 0 leaves the size of a piece to the engine."""
    found = []
    for item in loops:
        axis = next((a for a in hierarchy.axes if a.axis.name == item.axis), None)
        if axis is None:
            raise ValueError(f"spatial loop {item.loop!r} names axis {item.axis!r}, which the hierarchy lacks")
        found.append(Spatial(names.index(item.loop), item.trips, axis.axis.name, axis.below, axis.axis.multicast,
                             item.step))  # fmt: skip
    return tuple(found)


def assignments(nest: Nest, hierarchy: Hierarchy, number: int) -> list[tuple[Spatial, ...]]:
    """The best `number` assignments by utilisation; at least one (perhaps empty)."""
    per_axis = [_options(nest, axis) for axis in hierarchy.axes]
    scored = []
    for chosen in product(*per_axis):
        together = tuple(s for part in chosen for s in part)
        scored.append((_utilisation(nest, hierarchy, together), together))
    best = max(share for share, _ in scored)
    close = [together for share, together in scored if share >= best * hierarchy.close]
    most = max(_places(nest, hierarchy, together) for together in close)
    close = [together for together in close if _places(nest, hierarchy, together) == most]
    return sorted(close, key=lambda together: ample_pj(nest, hierarchy, together))[:number]


def _places(nest: Nest, hierarchy: Hierarchy, spatial: Sequence[Spatial]) -> int:
    """Places in use on the axes that are to be full, with pieces as small as the axes further in leave them."""
    full, found = {axis.axis.name for axis in hierarchy.axes if axis.full}, 1
    for at, item in enumerate(spatial):
        if item.axis in full:
            inner = math.prod(s.factor for s in spatial[at + 1 :] if s.loop == item.loop)
            outer = math.prod(s.factor for s in spatial[:at] if s.loop == item.loop)
            extent = math.ceil(nest.extents[item.loop] / outer)
            found *= math.ceil(extent / (math.ceil(extent / (inner * item.factor)) * inner))
    return found


def ample_pj(nest: Nest, hierarchy: Hierarchy, spatial: Sequence[Spatial]) -> float:
    """Movement if every slice stayed as long as it is used: each boundary once for what it separates."""
    found = 0.0
    for at, operand in enumerate(nest.operands):
        for level in range(operand.home + 1, len(hierarchy.levels)):
            outside = [s for s in spatial if operand.home <= s.below < level]
            copies, reads = _copies(nest, at, outside)
            elements = _sliced(nest, at, outside)
            above, here = hierarchy.levels[level - 1], hierarchy.levels[level]
            if operand.written:
                found += operand.partial_bytes * elements * copies * here.read_pj_per_byte
                found += operand.bytes * elements * reads * above.write_pj_per_byte
            else:
                found += operand.bytes * elements * reads * above.read_pj_per_byte
                found += operand.bytes * elements * copies * here.write_pj_per_byte
        inner = [s for s in spatial if s.below == len(hierarchy.levels) - 1]
        copies, reads = _copies(nest, at, inner)
        last = hierarchy.levels[-1]
        pj = last.write_pj_per_byte + last.read_pj_per_byte if operand.written else last.read_pj_per_byte
        found += operand.partial_bytes * nest.points / copies * reads * pj
    return found


def _sliced(nest: Nest, at: int, spatial: Sequence[Spatial]) -> float:
    """Elements of an operand in the slices of all places together: windows that overlap count in each."""
    pieces = [1.0] * len(nest.extents)
    for s in spatial:
        pieces[s.loop] = min(pieces[s.loop] * s.factor, nest.extents[s.loop])
    sizes = [extent / number for extent, number in zip(nest.extents, pieces, strict=True)]
    return float(total(nest.operands[at], sizes, pieces))


def _copies(nest: Nest, at: int, spatial: Sequence[Spatial]) -> tuple[float, float]:
    """Copies of an operand's slices along spatial loops that do not move it, and how many reads serve them."""
    operand = nest.operands[at]
    still = [s for s in spatial if not operand.relevant[s.loop] and not (operand.once and nest.reducing[s.loop])]
    return math.prod(s.factor for s in still), math.prod(s.factor for s in still if not s.multicast)


def _options(nest: Nest, axis: SpatialAxis) -> list[tuple[Spatial, ...]]:
    """Ways to fill one axis: nothing, one loop, or two."""
    places = axis.axis.extent
    free = [at for at in range(len(nest.extents)) if _may_split(nest, axis, at)]
    found: list[tuple[Spatial, ...]] = [()]
    for at in free:
        first = _spatial(axis, at, min(places, nest.extents[at]))
        found.append((first,))
        if first.factor / places < FILLED:
            found += [(first, second) for second in _seconds(axis, nest, free, first)]
        if not axis.axis.multicast:
            for factor in (n for n in range(2, first.factor) if places % n == 0):
                part = _spatial(axis, at, factor)
                found += [(part, second) for second in _seconds(axis, nest, free, part) if at < second.loop]
    return found if places > 1 else [()]


def _seconds(axis: SpatialAxis, nest: Nest, free: Sequence[int], first: Spatial) -> Iterator[Spatial]:
    """What may share an axis with `first`."""
    left = axis.axis.extent // first.factor
    for other in free:
        if other != first.loop and left > 1:
            yield _spatial(axis, other, min(left, nest.extents[other]))


def _may_split(nest: Nest, axis: SpatialAxis, at: int) -> bool:
    if nest.ordered[at] or nest.extents[at] < 2:
        return False
    return (nest.mergeable and axis.reduces) if nest.reducing[at] else axis.parallel


def _spatial(axis: SpatialAxis, loop: int, factor: int) -> Spatial:
    if axis.doubling:
        factor = doubled(factor)
    return Spatial(loop, factor, axis.axis.name, axis.below, axis.axis.multicast)


def _utilisation(nest: Nest, hierarchy: Hierarchy, spatial: Sequence[Spatial]) -> float:
    """Points over (steps x places): the share of places that are busy."""
    busy, places = 1.0, math.prod(axis.axis.extent for axis in hierarchy.axes)
    for loop, extent in enumerate(nest.extents):
        factor = math.prod(s.factor for s in spatial if s.loop == loop)
        busy *= extent / -(-extent // factor)
    return busy / places


def doubled(count: int) -> int:
    """The largest power of two that is no more than a positive count."""
    return 1 << count.bit_length() - 1
