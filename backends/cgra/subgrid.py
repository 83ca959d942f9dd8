"""Grids inside of grids: an answer for one is an answer for the other, with the other PEs idle.

Every rule looks at one PE at a time or asks for neighbours, so a mapping of a grid is legal on each grid into which its
PEs go so that neighbours stay neighbours and every PE keeps what it runs. Three uses:

* *core*: a grid much larger than the body is a corner with many idle PEs. The corner is searched in its place: it has
  the same bound, and its models are a fraction in size. A torus leaves its wrap-around links unused for that.
* *smaller*: what is not closed is also searched for, briefly, on the next smaller grids: the mesh in the torus,
  king-mesh or one-hop of its size, and a row and a column less (not of a torus, whose links around would have no
  counterpart). So a larger grid is not worse where the search on it went astray.
* *turned*: a grid with more rows than columns, all of whose PEs are alike, is solved lying down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from mapper.dfg import Dfg
from mapper.machine import Fabric
from mapper.placement import KernelMapping

from .bounds import binding, static_bounds
from .problem import Problem, operation_of
from .trials import Find

__all__ = ["carried", "core", "corner", "inside", "places", "renumbered", "smaller", "stood_up", "turned"]

ROOM = 3.0  # slots of a core over operations, at the lower bound
MARGIN = 2  # rows and columns more than that


def core(dfg: Dfg, fabric: Fabric, low: int) -> Fabric | None:
    """The corner of a fabric much larger than the body; None if it is not, or if the corner's bound is above `low`."""
    side = max(4, math.isqrt(math.ceil(ROOM * len(dfg.nodes) / low)) + MARGIN)
    if side + MARGIN >= min(fabric.rows, fabric.columns):
        return None
    found = corner(fabric, side, side)
    return found if inside(found, fabric) and _bound(dfg, found) == low else None


def smaller(dfg: Dfg, fabric: Fabric, below: float) -> Iterator[Fabric]:
    """The next smaller grids inside that do not exclude an II under `below`."""
    rows, columns, topology = fabric.rows, fabric.columns, fabric.topology
    shapes = [(rows, columns, "mesh")]
    if topology != "torus":
        shapes.append((rows - 1, columns - 1, topology))
    for height, width, kind in shapes:
        if min(height, width) < 1 or (height, width, kind) == (rows, columns, topology):
            continue
        found = corner(fabric, height, width, kind)
        bound = _bound(dfg, found)
        if inside(found, fabric) and bound is not None and bound < below:
            yield found


def inside(small: Fabric, large: Fabric) -> bool:
    """Do neighbours stay neighbours, and PEs what they are, when every PE keeps its row and column?"""
    place = places(small, large)
    alive = [pe for pe in range(small.size) if divmod(pe, small.columns) not in small.dead]
    return all(
        small.pe_classes[pe] == large.pe_classes[place[pe]]
        and {place[other] for other in small.neighbours[pe]} <= set(large.neighbours[place[pe]])
        for pe in alive
    )


def carried(find: Find, fabric: Fabric) -> Find:
    """An answer for a grid inside of `fabric` as one for `fabric`."""
    place = places(find.problem.fabric, fabric)
    pes = tuple(None if pe is None else place[pe] for pe in find.schedule.pe)
    return Find(_on(find.problem, fabric), replace(find.schedule, pe=pes))


def turned(fabric: Fabric) -> Fabric | None:
    """The same grid lying down, where it stands and its PEs are alike; None otherwise."""
    alike = len(fabric.classes) == 1 and not fabric.dead and not fabric.memory_ports
    if not alike or fabric.rows <= fabric.columns:
        return None
    return replace(fabric, rows=fabric.columns, columns=fabric.rows)


def stood_up(mapping: KernelMapping, lying: Fabric) -> KernelMapping:
    """A mapping on a grid lying down, as one on the grid that stands."""

    def up(pe: int) -> int:
        return pe % lying.columns * lying.rows + pe // lying.columns

    registers = tuple(replace(r, row=r.column, column=r.row) for r in mapping.registers)
    return replace(renumbered(mapping, up), registers=registers)


def renumbered(mapping: KernelMapping, number: Callable[[int], int]) -> KernelMapping:
    """The mapping with `number(pe)` for each PE; registers are left where they are."""
    return replace(
        mapping,
        placed=tuple(replace(p, pe=number(p.pe)) for p in mapping.placed),
        moves=tuple(replace(m, pe=number(m.pe)) for m in mapping.moves),
    )


def _on(problem: Problem, fabric: Fabric) -> Problem:
    """The same operations and reads on another fabric."""
    alive = tuple(pe for pe in range(fabric.size) if divmod(pe, fabric.columns) not in fabric.dead)
    nodes = problem.dfg.nodes
    moves = (replace(o, pes=alive, latency_cycles=(1,) * len(alive)) for o in problem.operations[len(nodes) :])
    return Problem(problem.dfg, fabric, (*(operation_of(node, fabric) for node in nodes), *moves), problem.reads)


def places(small: Fabric, large: Fabric) -> Sequence[int]:
    """The PE of `large` in the row and column of each of `small`."""
    return [pe // small.columns * large.columns + pe % small.columns for pe in range(small.size)]


def corner(fabric: Fabric, rows: int, columns: int, topology: str = "") -> Fabric:
    """The grid of so many rows and columns in the corner; without a `topology`, links around a torus leave it."""
    topology = topology or ("mesh" if fabric.topology == "torus" else fabric.topology)
    dead = frozenset((row, column) for row, column in fabric.dead if row < rows and column < columns)
    return replace(fabric, topology=topology, rows=rows, columns=columns, dead=dead)  # type: ignore[arg-type]


def _bound(dfg: Dfg, fabric: Fabric) -> int | None:
    """The least II that resources, ports and recurrences allow; None if some operation has no PE there."""
    if not all(fabric.capable(node.op) for node in dfg.nodes):
        return None
    return binding(static_bounds(dfg, fabric)).ii
