"""Tile programs: they visit every point of the operator's domain once, in an order that its dependences allow."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from mapper.ir import Access, Op
from mapper.mapping import Mapping, Stage
from mapper.violation import Violation

__all__ = ["combination", "ordered_loops", "tile_loops"]


def tile_loops(mapping: Mapping, stage: Stage, op: Op) -> Iterator[Violation]:
    """Steps fall to 1, trips = ceil(largest enclosing tile / step), loops and axes exist, axes are long enough."""
    subject = f"stage {stage.name!r}"
    size, step = dict(op.extents), dict.fromkeys(op.extents, math.inf)
    for at, tile in enumerate(stage.loops):
        where = f"{subject}, tile loop {at} ({tile.loop!r})"
        if tile.loop not in size:
            yield Violation("tile loops", where, "a loop that the operator lacks", ", ".join(size) or "no loop")
            continue
        if not 1 <= tile.step <= step[tile.loop]:
            yield Violation("tile loops", where, f"step {tile.step}", f"a step from 1 to {step[tile.loop]:g}")
            continue
        trips = -(-size[tile.loop] // tile.step)
        if tile.trips != trips:
            expected = f"{trips}: the largest enclosing tile has {size[tile.loop]} iterations, the step is {tile.step}"
            yield Violation("tile loops", where, f"{tile.trips} trips", expected)
        size[tile.loop] = min(size[tile.loop], tile.step)
        step[tile.loop] = tile.step
    for name, left in size.items():
        if left > 1:
            yield Violation("tile loops", f"{subject}, loop {name!r}", f"innermost pieces of {left}", "single points")
    yield from _axes(mapping, stage)


def _axes(mapping: Mapping, stage: Stage) -> Iterator[Violation]:
    extents = {axis.name: axis.extent for axis in mapping.axes}
    used: dict[str, int] = defaultdict(lambda: 1)
    for tile in stage.loops:
        if tile.axis is not None:
            used[tile.axis] *= tile.trips
    for name, trips in used.items():
        subject = f"stage {stage.name!r}, axis {name!r}"
        if name not in extents:
            yield Violation("axes", subject, "an axis that the mapping lacks", ", ".join(extents) or "no axis")
        elif trips > extents[name]:
            yield Violation("axes", subject, f"{trips} pieces side by side", f"at most {extents[name]}")


def combination(stage: Stage, op: Op) -> Iterator[Violation]:
    """Index pairs are not merged between PEs. (That only a combiner merges is a rule of graphs.)"""
    if op.combiner is None or not op.combiner.kind.startswith("arg"):
        return
    for at, tile in enumerate(stage.loops):
        if tile.loop not in op.output_loops and tile.trips > 1 and tile.axis is not None:
            where = f"stage {stage.name!r}, tile loop {at} ({tile.loop!r})"
            yield Violation("combination", where, f"{op.combiner.kind} split over PEs", "a temporal loop")


def ordered_loops(stage: Stage, op: Op) -> Iterator[Violation]:
    """Ordered loops run in sequence, in their own order, and not inside a loop that their dependence crosses."""
    ranks = {loop.name: rank for rank, loop in enumerate(loop for loop in op.loops if loop.ordered)}
    stepping = [(at, tile) for at, tile in enumerate(stage.loops) if tile.trips > 1]
    highest = -1
    for at, tile in stepping:
        where = f"stage {stage.name!r}, tile loop {at} ({tile.loop!r})"
        if tile.loop in ranks and tile.axis is not None:
            yield Violation("ordered loops", where, f"side by side on axis {tile.axis!r}", "one step after the other")
        if ranks.get(tile.loop, highest) < highest:
            yield Violation("ordered loops", where, "inside a later ordered loop", "the operator's order")
        highest = max(highest, ranks.get(tile.loop, highest))
    last = max((at for at, tile in stepping if tile.loop in ranks), default=-1)
    free = _uncrossed(op)
    for at, tile in stepping:
        if at < last and tile.loop not in ranks and tile.loop not in free:
            where = f"stage {stage.name!r}, tile loop {at} ({tile.loop!r})"
            yield Violation("ordered loops", where, "outside an ordered loop whose results it needs", "inside it")


def _uncrossed(op: Op) -> frozenset[str]:
    """Loops that no own-output read crosses: they select the same position in what is read and written."""
    own = [read for read in op.reads if read.tensor == op.write.tensor]
    if not own:
        return frozenset(op.extents)
    names = sorted(op.output_loops)
    return frozenset(name for name in names if all(_fixed(read, op.write, name) for read in own))


def _fixed(read: Access, write: Access, name: str) -> bool:
    """`name` alone indexes one dimension, alike in both accesses, and no other."""
    pairs = list(zip(read.index, write.index, strict=True))
    using = [(r, w) for r, w in pairs if name in r.loops or name in w.loops]
    return len(using) == 1 and using[0][0] == using[0][1] and using[0][0].loops == {name} and using[0][0].is_affine
