"""How well a heuristic mapping is proven: what it minimises against what no mapping can beat."""

from __future__ import annotations

import math

from mapper.boundaries import inside_of, movement_bound_pj, provable_bytes
from mapper.cost import cost
from mapper.mapping import Mapping
from mapper.objectives import value_of
from mapper.solver import Outcome

__all__ = ["latency_bound_cycles", "movement_outcome", "outcome_of"]


def movement_outcome(mapping: Mapping, movement_pj: float, seed: int) -> Outcome:
    """The outcome of a heuristic search for least movement: optimal only where it meets the bound."""
    return _outcome(movement_pj, movement_bound_pj(mapping), seed)


def outcome_of(mapping: Mapping, objective: str, seed: int) -> Outcome:
    """The outcome under an objective of a request: pJ of movement, pJ of movement and arithmetic, cycles of one
    inference, or pJ x seconds. Arithmetic of a graph is the same in every mapping."""
    value = value_of(mapping, objective)
    if objective == "movement":
        return movement_outcome(mapping, value, seed)
    cycles = latency_bound_cycles(mapping)
    if objective == "latency":
        return _outcome(value, float(cycles), seed)
    least_pj = movement_bound_pj(mapping) + cost(mapping).compute_pj
    if objective == "energy":
        return _outcome(value, least_pj, seed)
    return _outcome(value, least_pj * cycles / mapping.machine.clock_hz, seed)


def latency_bound_cycles(mapping: Mapping) -> int:
    """Least cycles of one inference: max(points / PEs in use, provable bytes / bandwidth of the outermost memory).

    Roofline (Williams, Waterman & Patterson 2009). Holds where each point of a nest takes at least one operation and a
    PE starts at most one a cycle; lanes that no stage uses do not count.
    """
    machine = mapping.machine
    lanes = max((stage.rect.lane + stage.rect.lanes for stage in mapping.stages), default=1)
    points = sum(op.points for op in mapping.graph.nests)
    rate = machine.memories[0].bytes_per_cycle
    transfer = math.ceil(provable_bytes(mapping.graph, inside_of(mapping, 0)) / rate) if rate else 0
    return max(math.ceil(points / (machine.fabric.size * lanes)), transfer)


def _outcome(value: float, bound: float, seed: int) -> Outcome:
    if value <= bound * (1 + 1e-9):
        return Outcome("optimal", value, bound, "bound", seed)
    return Outcome("feasible", value, bound, "none", seed)
