"""A body repeated on the grid: equal strips of rows and columns, the same body in each, displaced.

A body stops paying with its size: an accumulator waits two cycles for itself, and a large body leaves slots unused on
a large grid because its values must travel. So the grid is cut into strips, a body is placed in the first one, and
every other strip runs the same body for other iterations. Nothing crosses the borders, so what is legal in the first
strip is legal in all of them where PEs are alike; memory ports that strips share are divided among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mapper.arrays import Part, body_copies
from mapper.backends.cgra.subgrid import corner, places, renumbered
from mapper.machine import Fabric, MemoryPorts
from mapper.mapping import TileLoop
from mapper.placement import KernelMapping

__all__ = ["ACROSS", "DOWN", "UNROLL", "copies_in", "corners", "displaced", "part_of", "parts", "strip"]

DOWN, ACROSS = "down", "across"  # axes of strips that follow each other along rows, along columns
UNROLL = "unroll"  # the axis of copies inside one body
NARROWEST = 4  # rows or columns of a strip; in narrower ones values find no way past each other


def parts(fabric: Fabric) -> Iterator[Part]:
    """Cuts along rows, along columns and along both into as many strips as there can be: where ports or slots are
    scarce, larger strips share them no better."""
    if not _alike(fabric):
        return
    rows, columns = max(1, fabric.rows // NARROWEST), max(1, fabric.columns // NARROWEST)
    for cuts in sorted({(1, columns), (rows, 1), (rows, columns)} - {(1, 1)}):
        if fabric.memory_ports is None or _share(fabric.memory_ports, cuts):
            yield Part(fabric.rows // cuts[0], fabric.columns // cuts[1], cuts)


def part_of(fabric: Fabric, loops: Sequence[TileLoop]) -> Part | None:
    """What tile loops on the axes of strips leave to each body; None if there are none."""
    down, across = cuts = _along(DOWN, loops), _along(ACROSS, loops)
    return Part(fabric.rows // down, fabric.columns // across, cuts) if cuts != (1, 1) else None


def copies_in(loops: Sequence[TileLoop]) -> dict[str, int]:
    """Copies of each operator loop inside one body."""
    return body_copies(loops, frozenset({UNROLL}))


def _along(axis: str, loops: Sequence[TileLoop]) -> int:
    return math.prod(loop.trips for loop in loops if loop.axis == axis)


def _share(ports: MemoryPorts, cuts: tuple[int, int]) -> int:
    """Ports of a group for each of the strips that share it."""
    down, across = cuts
    return ports.count // {"column": down, "row": across}.get(ports.per, down * across)


def _alike(fabric: Fabric) -> bool:
    """Do all PEs work, and run the same operations?"""
    return not fabric.dead and all(kind.where == "all" for kind in fabric.classes)


def strip(fabric: Fabric, part: Part | None) -> Fabric:
    """What one strip offers to a body, as a grid of its own. Links around a torus leave the strip."""
    if part is None:
        return fabric
    ports = fabric.memory_ports
    shared = None if ports is None else replace(ports, count=_share(ports, part.cuts))
    return replace(corner(fabric, part.rows, part.columns), memory_ports=shared)


def corners(fabric: Fabric) -> Iterator[Fabric]:
    """Grids in the corner of `fabric` that bodies may be placed in, growing up to all of it: in a small one a search
    has less to look at."""
    rows, columns = min(fabric.rows, NARROWEST), min(fabric.columns, NARROWEST)
    while _alike(fabric) and (rows, columns) != (fabric.rows, fabric.columns):
        yield corner(fabric, rows, columns)
        longer = rows * fabric.columns > columns * fabric.rows
        rows, columns = (rows, min(2 * columns, fabric.columns)) if longer else (min(2 * rows, fabric.rows), columns)
    yield fabric


def displaced(mapping: KernelMapping, room: Fabric, fabric: Fabric) -> KernelMapping:
    """A mapping onto the corner `room` with the PE numbers of the whole grid."""
    return renumbered(mapping, places(room, fabric).__getitem__)
