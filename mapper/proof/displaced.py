"""Bodies that run side by side on a grid: each copy is legal where it stands, and all copies together.

The copies of a stage's body stand in strips of its rectangle, one behind the other along the rows and beside each other
along the columns (`mapper.mapping`, *Displaced bodies*). Strips are disjoint, so copies share neither slots nor
registers; what is left to judge is

* the strips are of equal size, and the body stays in the first one;
* displaced, it is legal: PEs there work and run the operations, links exist, memory ports suffice for one copy;
* loads and stores of all copies together keep to the ports that they share.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mapper.check_kernel import check_kernel, memory_slots
from mapper.machine import Fabric
from mapper.mapping import Mapping, Rect, Stage
from mapper.placement import KernelMapping
from mapper.violation import Violation

__all__ = ["displaced_bodies", "displaced_copies"]

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Strips:
    """How a rectangle is cut: instances along rows and columns."""

    rect: Rect
    down: int
    across: int

    @property
    def even(self) -> bool:
        return self.rect.height % self.down == 0 == self.rect.width % self.across

    @property
    def corners(self) -> tuple[Place, ...]:
        """Displacement of each strip, the first one's is (0, 0)."""
        high, wide = self.rect.height // self.down, self.rect.width // self.across
        return tuple((down * high, across * wide) for down in range(self.down) for across in range(self.across))

    def covers(self, row: int, column: int) -> bool:
        """Does the first strip hold the PE?"""
        down, right = row - self.rect.row, column - self.rect.column
        return 0 <= down < self.rect.height // self.down and 0 <= right < self.rect.width // self.across


def displaced_bodies(mapping: Mapping) -> Iterator[Violation]:
    """Violations of all stages whose bodies stand on a grid; stages that are alike are judged once."""
    judged: set[tuple[int, _Strips]] = set()
    for stage in mapping.stages:
        for number in (stage.body, stage.tail):
            key = None if number is None else (number, _strips(mapping, stage))
            if number is not None and key is not None and key not in judged:
                judged.add(key)
                yield from _judge(mapping.bodies[number], mapping.machine.fabric, key[1], f"stage {stage.name!r}")


def _strips(mapping: Mapping, stage: Stage) -> _Strips:
    return _Strips(stage.rect, *(displaced_copies(mapping, stage, way) for way in ("rows", "columns")))


def displaced_copies(mapping: Mapping, stage: Stage, way: str) -> int:
    """Instances of a stage along the axes that displace its bodies by rows (or columns)."""
    ways = {axis.name: axis.displaces for axis in mapping.axes}
    return math.prod(loop.trips for loop in stage.loops if loop.axis is not None and ways[loop.axis] == way)


def _judge(body: KernelMapping, fabric: Fabric, strips: _Strips, subject: str) -> Iterator[Violation]:
    if not strips.even:
        found = f"{strips.rect.height} x {strips.rect.width} PEs for {strips.down} x {strips.across} copies"
        yield Violation("displaced", subject, found, "strips of equal size")
        return
    for pe in sorted({p.pe for p in body.placed} | {m.pe for m in body.moves}):
        if not strips.covers(*divmod(pe, fabric.columns)):
            yield Violation("displaced", subject, f"body {body.dfg.name!r} on PE {pe}", "inside the first strip")
            return
    copies = [_moved(body, fabric, corner) for corner in strips.corners]
    for number, copy in enumerate(copies[1:], 1):
        for v in check_kernel(copy, fabric):
            yield Violation(v.rule, f"{subject}, copy {number}, {v.subject}", v.found, v.expected)
    yield from _shared_ports(copies, fabric, subject)


def _moved(body: KernelMapping, fabric: Fabric, corner: Place) -> KernelMapping:
    """The body with everything that it holds displaced."""
    down, right = corner
    by = down * fabric.columns + right
    return replace(
        body,
        placed=tuple(replace(p, pe=p.pe + by) for p in body.placed),
        moves=tuple(replace(m, pe=m.pe + by) for m in body.moves),
        registers=tuple(replace(r, row=r.row + down, column=r.column + right) for r in body.registers),
    )


def _shared_ports(copies: list[KernelMapping], fabric: Fabric, subject: str) -> Iterator[Violation]:
    if fabric.memory_ports is None:
        return
    limit, group_of = fabric.memory_ports.count, {pe: at for at, pes in enumerate(fabric.port_groups) for pe in pes}
    used = Counter((group_of[pe], slot) for copy in copies for pe, slot in memory_slots(copy, fabric))
    for (group, slot), count in sorted(used.items()):
        if count > limit:
            found = f"{count} loads and stores of {len(copies)} copies"
            yield Violation("memory ports", f"{subject}, port group {group}, slot {slot}", found, f"at most {limit}")
