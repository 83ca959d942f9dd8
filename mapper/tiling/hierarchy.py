"""The memories between which an operator is tiled, and where copies fan out side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapper.machine import Machine
from mapper.mapping import Axis

__all__ = ["Hierarchy", "Level", "SpatialAxis", "from_machine"]


@dataclass(frozen=True, slots=True)
class Level:
    """One memory. `capacity_bytes` is that of one instance, as one tile sees it, shared by all operands.

    `copies` 2 is double-buffered: half of the capacity is usable.
    """

    memory: str
    capacity_bytes: int | None
    read_pj_per_byte: float
    write_pj_per_byte: float
    copies: int = 1


@dataclass(frozen=True, slots=True)
class SpatialAxis:
    """Copies along `axis` sit between level `below` and level `below + 1` (or the arithmetic units).

    May the engine put a reducing loop on this axis (`reduces`), so that copies are combined on the way out, or a loop
    that selects outputs (`parallel`)? Must the copies of a loop number a power of two (`doubling`)? Do only assignments
    compete that take the most places on it (`full`)?
    """

    axis: Axis
    below: int
    reduces: bool = True
    parallel: bool = True
    doubling: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Levels from the backing store (capacity None) inwards, and the axes below them.

    Every operand has a buffer in levels 1 to `mandatory` (unless it lives further in); it may bypass the others.
    Assignments of loops to axes within `close` of the best utilisation compete by movement.
    """

    levels: tuple[Level, ...]
    axes: tuple[SpatialAxis, ...] = ()
    hop_pj_per_byte: float = 0.0
    mandatory: int = 1
    close: float = 0.92

    def __post_init__(self) -> None:
        if not self.levels:
            raise ValueError("a hierarchy has at least a backing store")
        if any(level.capacity_bytes is None for level in self.levels[1:]):
            raise ValueError("only the backing store is unbounded")
        for axis in self.axes:
            if not 0 <= axis.below < len(self.levels):
                raise ValueError(f"axis {axis.axis.name!r} lies below level {axis.below}; levels: {len(self.levels)}")

    def index(self, memory: str) -> int:
        """Position of the level called `memory`; 0 (the backing store) for a memory that is not a level."""
        return next((at for at, level in enumerate(self.levels) if level.memory == memory), 0)


def from_machine(
    machine: Machine, memories: Sequence[str], axes: Sequence[SpatialAxis] = (), double: frozenset[str] = frozenset()
) -> Hierarchy:
    """The named memories of `machine` as levels, outermost first; those in `double` are double-buffered."""
    found = [machine.memory(name) for name in memories]
    levels = tuple(
        Level(m.name, None if at == 0 else m.capacity_bytes, m.read_pj_per_byte, m.write_pj_per_byte,
              2 if m.name in double else 1)
        for at, m in enumerate(found)
    )  # fmt: skip
    return Hierarchy(levels, tuple(axes), machine.links.pj_per_byte_hop)
