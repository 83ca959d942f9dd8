"""How many cores each stage gets: the least time per inference at which all stages stand side by side.

    minimise T   subject to   time(stage) <= T for every stage,   boxes of these sizes fit the mesh without overlap

T is searched by bisection between a bound (no stage is faster than its fastest choice; the work needs its cores; the
wafer takes in and gives out so many bytes a cycle) and the first target at which the floor plan succeeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .floorplan import pack
from .packing import Box, Floor, Packing
from .program import Cuts
from .table import FAR, Cores, Ints, Table, table_of
from .work import Work

__all__ = ["Plan", "Sized", "bound_cycles", "cuts_in", "size"]

PRECISION = 1.004


@dataclass(frozen=True, slots=True)
class Plan:
    """A packing at a target time."""

    target_cycles: float
    packing: Packing


@dataclass(frozen=True)
class Sized:
    """The stages' tables on a mesh."""

    works: tuple[Work, ...]
    cores: Cores
    floor: Floor

    def table(self, stage: int) -> Table:
        return table_of(self.works[stage], self.cores)

    def curves(self, target: float) -> list[Ints]:
        """Shape curve of every stage; equal work is looked at once."""
        by_work = {work: table_of(work, self.cores).heights(target, self.floor.width) for work in set(self.works)}
        return [by_work[work] for work in self.works]

    def least_area(self, target: float) -> int:
        by_work = {work: table_of(work, self.cores).least_area(target) for work in set(self.works)}
        return sum(by_work[work] for work in self.works)


def bound_cycles(sized: Sized, off_wafer_cycles: float) -> float:
    """No plan is faster: the slowest fastest choice, off-wafer transfers, and the least area of all stages."""
    floor = max([1.0, off_wafer_cycles, *(float(sized.table(n).cycles.min()) for n in range(len(sized.works)))])
    usable = sized.floor.height * sized.floor.width - len(sized.floor.dead)
    if sized.least_area(floor) <= usable:
        return floor
    low, high = floor, floor * 2
    while sized.least_area(high) > usable:
        if high > 1e18:
            return math.inf
        low, high = high, high * 2
    while high / low > PRECISION:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if sized.least_area(middle) <= usable else (middle, high)
    return low


def size(sized: Sized, bound: float) -> Plan | None:
    """The fastest plan found; None if even the smallest choices do not fit side by side."""
    best = _plan(sized, bound)
    low, high = bound, bound
    while best is None:
        if high > bound * 1e6 + 1e9:
            return None
        low, high = high, high * 1.15
        best = _plan(sized, high)
        if best is None and sized.least_area(FAR) == sized.least_area(high):
            return None
    while high / low > PRECISION:
        middle = math.sqrt(low * high)
        found = _plan(sized, middle)
        low, high, best = (low, middle, found) if found else (middle, high, best)
    return best


def _plan(sized: Sized, target: float) -> Plan | None:
    if sized.least_area(target) > sized.floor.height * sized.floor.width:
        return None
    packing = pack(sized.curves(target), sized.floor)
    return Plan(target, packing) if packing else None


def cuts_in(table: Table, target: float, box: Box) -> Cuts:
    """The choice for a stage in its box."""
    row = table.choice(target, box.width, box.height)
    down, across = table.down[row], table.across[row]
    return Cuts(table.loops, tuple(map(int, down)), tuple(map(int, across)), int(table.height[row]),
                int(table.width[row]), float(table.cycles[row]))  # fmt: skip
