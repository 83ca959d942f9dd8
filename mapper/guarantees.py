"""How far a mapping is from what no mapping can beat: its movement against provable bounds.

At the outermost boundary every mapping, fused or resident or not, reads each external element that the model uses once
and writes each output once (`mapper.bounds`). Weights that stay on the fabric between inferences are not read again, as
far as they fit. The energy of these bytes at the backing store's cheapest price is a lower bound on movement.
"""

from __future__ import annotations

from typing import Any

from mapper import bounds
from mapper.cost import Cost
from mapper.mapping import Mapping
from mapper.solver import Outcome

__all__ = ["boundary_rows", "least_outer_bytes", "movement_bound_pj", "movement_outcome"]


def least_outer_bytes(mapping: Mapping) -> int:
    """Bytes that any mapping of this kind moves across the outermost boundary at one inference."""
    outermost, *inner = mapping.machine.memories
    capacity = sum((memory.capacity_bytes or 0) * memory.instances for memory in inner)
    stays = any(buffer.resident for stage in mapping.stages for buffer in stage.buffers)
    inside = frozenset(name for name, memory in mapping.homes if memory != outermost.name)
    return bounds.graph_bound_bytes(mapping.graph, capacity, inside, stays)


def movement_bound_pj(mapping: Mapping) -> float:
    """Least movement energy of any mapping of this graph on this machine, in pJ."""
    outermost = mapping.machine.memories[0]
    return least_outer_bytes(mapping) * min(outermost.read_pj_per_byte, outermost.write_pj_per_byte)


def movement_outcome(mapping: Mapping, movement_pj: float, seed: int) -> Outcome:
    """The outcome of a heuristic search: optimal only where it meets the bound."""
    bound = movement_bound_pj(mapping)
    if movement_pj <= bound * (1 + 1e-9):
        return Outcome("optimal", movement_pj, bound, "bound", seed)
    return Outcome("feasible", movement_pj, bound, "none", seed)


def boundary_rows(mapping: Mapping, cost: Cost) -> dict[str, dict[str, Any]]:
    """Per memory boundary: bytes of this mapping and the provable least."""
    outermost = mapping.machine.memories[0].name
    least = least_outer_bytes(mapping)
    return {outermost: {"mapping_bytes": cost.level(outermost).bytes, "provable_bytes": least}}
