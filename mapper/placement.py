"""A loop body on an array: where and when each operation runs, and how each value gets there.

The same value serves the CGRA (modulo schedule: cycle, PE, MOVEs) and the CGLA (row, column, slot, row
registers). Identity is by value; `mapper.check` judges it without any backend's code.
"""

from __future__ import annotations

from dataclasses import dataclass

from mapper.dfg import Dfg

__all__ = ["KernelMapping", "Move", "Path", "Placed", "RegisterUse"]


@dataclass(frozen=True, slots=True, order=True)
class Placed:
    """Node `node` runs on PE `pe` at `cycle` (CGLA: the row; the array adds its cycles per row) in slot `slot`."""

    node: int
    pe: int
    cycle: int
    slot: str = "exe"


@dataclass(frozen=True, slots=True, order=True)
class Move:
    """A MOVE operation `id` ("m0", "m1", …): copies the value of node or MOVE `source`, `distance` iterations old."""

    id: str
    pe: int
    cycle: int
    source: int | str
    distance: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Path:
    """Edge (src, dst, distance) travels through MOVEs `via`; `distances` has one entry per hop, via + 1 in all."""

    src: int
    dst: int
    distance: int
    via: tuple[str, ...]
    distances: tuple[int, ...]


@dataclass(frozen=True, slots=True, order=True)
class RegisterUse:
    """Value `value` ("5": result of node 5, "h4": host constant 4) is in register `index` of unit (row, column)."""

    value: str
    row: int
    column: int
    index: int


@dataclass(frozen=True, slots=True)
class KernelMapping:
    """A legal placement of one body. Edges without a Path are read directly at the producer's PE.

    `ii` is the initiation interval in cycles; `folded` lists units that load, modify and store in one row.
    """

    dfg: Dfg
    ii: int
    placed: tuple[Placed, ...]
    moves: tuple[Move, ...] = ()
    paths: tuple[Path, ...] = ()
    registers: tuple[RegisterUse, ...] = ()
    folded: tuple[tuple[int, int], ...] = ()

    @property
    def length_cycles(self) -> int:
        """Schedule length, MOVEs included: last cycle - first cycle + 1."""
        cycles = [p.cycle for p in self.placed] + [m.cycle for m in self.moves]
        return max(cycles) - min(cycles) + 1 if cycles else 0
