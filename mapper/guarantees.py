"""How well a heuristic mapping is proven: its movement against what no mapping can beat (`mapper.boundaries`)."""

from __future__ import annotations

from mapper.boundaries import movement_bound_pj
from mapper.mapping import Mapping
from mapper.solver import Outcome

__all__ = ["movement_outcome"]


def movement_outcome(mapping: Mapping, movement_pj: float, seed: int) -> Outcome:
    """The outcome of a heuristic search: optimal only where it meets the bound."""
    bound = movement_bound_pj(mapping)
    if movement_pj <= bound * (1 + 1e-9):
        return Outcome("optimal", movement_pj, bound, "bound", seed)
    return Outcome("feasible", movement_pj, bound, "none", seed)
