"""What a person asks of the loop bodies on a grid, from the mapping alone: II, its bound, and how busy the grid is.

Slots are PEs x II; a MOVE keeps one busy as an operation does. Ports are those of the groups of PEs x II, counted where
the fabric limits them. Both count every replica of the body, and the whole grid, strips that stay empty included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from mapper.arrays import Part
from mapper.backends.cgra.bounds import Bound, binding, static_bounds
from mapper.backends.cgra.problem import is_memory
from mapper.ir import Op
from mapper.machine import Fabric
from mapper.mapping import Mapping, Stage, TileLoop
from mapper.placement import KernelMapping

from .strips import copies_in, part_of, strip

__all__ = ["loop_facts"]


def loop_facts(mapping: Mapping) -> list[dict[str, Any]]:
    """The report's section `loops`: a row for each body of each stage, the one that finishes outputs second."""
    ops = {op.name: op for op in mapping.graph.nests}
    bounds: dict[tuple[int, Part | None], Bound] = {}
    return [row for stage in mapping.stages for row in _rows(mapping, stage, ops[stage.op], bounds)]


def _rows(
    mapping: Mapping, stage: Stage, op: Op, bounds: dict[tuple[int, Part | None], Bound]
) -> Iterator[dict[str, Any]]:
    """The rows of one stage; bounds of bodies that several stages run are computed once."""
    fabric, part = mapping.machine.fabric, part_of(mapping.machine.fabric, stage.loops)
    replicas = math.prod(part.cuts) if part is not None else 1
    for role, number, loops in (("body", stage.body, list(op.extents)), ("tail", stage.tail, sorted(op.output_loops))):
        if number is None:
            continue
        body = mapping.bodies[number]
        copies = _copies(stage.loops, loops)
        if (number, part) not in bounds:
            bounds[number, part] = binding(static_bounds(body.dfg, strip(fabric, part)))
        bound = bounds[number, part]
        yield {
            "op": op.name,
            "role": role,
            "operations": len(body.dfg.nodes),
            "moves": len(body.moves),
            "copies": copies,
            "replicas": replicas,
            "ii": body.ii,
            "ii_bound": bound.ii,
            "why": f"{bound.reason}: {bound.detail}" if body.ii == bound.ii else "nothing lower was found",
            "slots_busy": replicas * (len(body.dfg.nodes) + len(body.moves)) / (fabric.size * body.ii),
            "ports_busy": _ports_busy(body, fabric, replicas),
            "points_per_cycle": copies * replicas / body.ii,
        }


def _copies(tiles: Sequence[TileLoop], loops: Sequence[str]) -> int:
    return math.prod(count for name, count in copies_in(tiles).items() if name in loops)


def _ports_busy(body: KernelMapping, fabric: Fabric, replicas: int) -> float | None:
    ports = fabric.ports_per_cycle
    if ports is None:
        return None
    return replicas * sum(map(is_memory, body.dfg.nodes)) / (ports * body.ii)
