"""The fabric: processing elements, links, memories, and what an access or a hop costs.

A machine is data. Its YAML form is read by :func:`load` (file, line, key and expectation in every error) and
parametric names such as `torus4x4` or `imax3:lanes=8,lmm=64KiB` are resolved by `mapper.machines`.
Targets read their own figures from `settings`; the hall only knows topology, memories, links and energies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import networkx as nx

__all__ = ["TOPOLOGIES", "Energy", "Fabric", "Links", "Machine", "MachineError", "Memory", "MemoryPorts", "PeClass"]

Topology = Literal["line", "torus", "mesh", "king", "onehop"]
TOPOLOGIES: tuple[Topology, ...] = ("line", "torus", "mesh", "king", "onehop")
Scalar = int | float | str | bool

_STEPS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "line": ((1, 0),),
    "torus": ((-1, 0), (1, 0), (0, -1), (0, 1)),
    "mesh": ((-1, 0), (1, 0), (0, -1), (0, 1)),
    "king": ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)),
    "onehop": ((-1, 0), (1, 0), (0, -1), (0, 1), (-2, 0), (2, 0), (0, -2), (0, 2)),
}


class MachineError(ValueError):
    """A machine that contradicts itself; the message names the key and what was expected."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory level. `instances` copies of `capacity_bytes` each (None: unbounded backing store).

    Energies are pJ per byte, bandwidth is bytes per cycle and instance. `at` says where the copies sit:
    "off" the fabric, "row", "column" or "pe".
    """

    name: str
    capacity_bytes: int | None
    instances: int = 1
    read_pj_per_byte: float = 0.0
    write_pj_per_byte: float = 0.0
    bytes_per_cycle: float | None = None
    at: Literal["off", "fabric", "row", "column", "pe"] = "off"
    source: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """PE-to-PE links: word width, words per cycle and energy of a byte over one hop."""

    bytes_per_cycle: float
    pj_per_byte_hop: float
    cycles_per_hop: int = 1
    colours: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class PeClass:
    """PEs of one kind: `ops` that they run (empty: every operation), latency of those that take over a cycle,
    and `where`: "all", or row/column sets such as "column 0" or "row 0-3".
    """

    name: str = "pe"
    ops: frozenset[str] = frozenset()
    latency_cycles: tuple[tuple[str, int], ...] = ()
    where: str = "all"

    def runs(self, op: str) -> bool:
        return not self.ops or op in self.ops


@dataclass(frozen=True, slots=True)
class MemoryPorts:
    """At most `count` loads and stores start per cycle in each column or row of PEs, or in the whole fabric (`per`)."""

    count: int
    per: Literal["column", "row", "fabric"] = "column"


@dataclass(frozen=True)
class Fabric:
    """A grid of rows x columns PEs (PE p = row * columns + column) and who can read whose output."""

    topology: Topology
    rows: int
    columns: int
    registers: int = 4
    classes: tuple[PeClass, ...] = (PeClass(),)
    dead: frozenset[tuple[int, int]] = frozenset()
    memory_ports: MemoryPorts | None = None

    def __post_init__(self) -> None:
        if self.topology not in TOPOLOGIES:
            raise MachineError(f"fabric.topology is {self.topology!r}: expected one of {', '.join(TOPOLOGIES)}")
        if self.rows < 1 or self.columns < 1:
            raise MachineError(f"fabric is {self.rows} x {self.columns}: rows and columns must be at least 1")
        for row, column in self.dead:
            if not (0 <= row < self.rows and 0 <= column < self.columns):
                raise MachineError(f"dead core ({row}, {column}) lies outside the {self.rows} x {self.columns} fabric")

    @property
    def size(self) -> int:
        return self.rows * self.columns

    @cached_property
    def port_groups(self) -> tuple[tuple[int, ...], ...]:
        """The groups of PEs that share memory ports; none when ports are not limited."""
        if self.memory_ports is None:
            return ()
        groups: dict[int, list[int]] = {}
        for pe in range(self.size):
            row, column = divmod(pe, self.columns)
            groups.setdefault({"row": row, "column": column}.get(self.memory_ports.per, 0), []).append(pe)
        return tuple(tuple(group) for _, group in sorted(groups.items()))

    @property
    def ports_per_cycle(self) -> int | None:
        """Loads and stores that all port groups together begin in a cycle; None where ports are not limited."""
        return None if self.memory_ports is None else self.memory_ports.count * len(self.port_groups)

    @cached_property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """Per PE, the other PEs that read its output register in the next cycle, ascending."""
        return tuple(self._reach(divmod(pe, self.columns)) for pe in range(self.size))

    def _reach(self, place: tuple[int, int]) -> tuple[int, ...]:
        if self.topology == "line":  # every column of the next row, one way
            row = place[0] + 1
            return tuple(row * self.columns + c for c in range(self.columns)) if row < self.rows else ()
        found = set()
        for down, right in _STEPS[self.topology]:
            row, column = place[0] + down, place[1] + right
            if self.topology == "torus":
                row, column = row % self.rows, column % self.columns
            if 0 <= row < self.rows and 0 <= column < self.columns and (row, column) not in self.dead:
                found.add(row * self.columns + column)
        return tuple(sorted(found - {place[0] * self.columns + place[1]}))

    @cached_property
    def graph(self) -> nx.DiGraph:
        """The topology as a networkx digraph over PE numbers."""
        graph = nx.DiGraph()
        graph.add_nodes_from(range(self.size))
        graph.add_edges_from((pe, other) for pe, reach in enumerate(self.neighbours) for other in reach)
        return graph

    @cached_property
    def pe_classes(self) -> tuple[PeClass, ...]:
        """The class of each PE: the last class of `classes` whose `where` contains it."""
        return tuple(self._class_of(*divmod(pe, self.columns)) for pe in range(self.size))

    def _class_of(self, row: int, column: int) -> PeClass:
        matching = [c for c in self.classes if _contains(c.where, row, column)]
        if not matching:
            raise MachineError(f"no PE class covers row {row}, column {column}")
        return matching[-1]

    def capable(self, op: str) -> tuple[int, ...]:
        """PEs that run `op`, ascending."""
        return tuple(
            pe for pe, kind in enumerate(self.pe_classes) if kind.runs(op) and divmod(pe, self.columns) not in self.dead
        )

    def latency_cycles(self, pe: int, op: str) -> int:
        return dict(self.pe_classes[pe].latency_cycles).get(op, 1)


def _contains(where: str, row: int, column: int) -> bool:
    if where == "all":
        return True
    axis, _, numbers = where.partition(" ")
    index = {"row": row, "column": column}.get(axis)
    if index is None or not numbers:
        raise MachineError(f"PE class has where: {where!r}; expected 'all', 'row N', 'row N-M' or 'column ...'")
    for part in numbers.split(","):
        low, _, high = part.partition("-")
        if int(low) <= index <= int(high or low):
            return True
    return False


@dataclass(frozen=True, slots=True)
class Energy:
    """Arithmetic energy of one technology column: pJ per multiply-accumulate and per simple operation, by type."""

    technology: str
    mac_pj: tuple[tuple[str, float], ...]
    op_pj: tuple[tuple[str, float], ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Machine:
    """A target machine. `memories` run from the backing store inwards. `settings` belong to the target."""

    name: str
    target: str
    fabric: Fabric
    memories: tuple[Memory, ...]
    links: Links
    energy: Energy
    clock_hz: float
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    description: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [memory.name for memory in self.memories]
        if not names:
            raise MachineError(f"machine {self.name!r} has no memories: the backing store is the least it needs")
        if len(set(names)) != len(names):
            raise MachineError(f"machine {self.name!r} names a memory twice: {', '.join(names)}")
        if self.clock_hz <= 0:
            raise MachineError(f"machine {self.name!r} has clock_hz {self.clock_hz}: expected a positive frequency")

    def memory(self, name: str) -> Memory:
        for memory in self.memories:
            if memory.name == name:
                return memory
        raise KeyError(f"machine {self.name!r} has no memory {name!r}")

    def _repr_svg_(self) -> str:
        from mapper.report.notebook import machine_svg

        return machine_svg(self)

    def setting(self, key: str, default: int) -> int:
        """An integer setting of the target."""
        return int(self.settings.get(key, default))
