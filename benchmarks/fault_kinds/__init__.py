"""Faults: small changes of a legal decision, each of one part.

Of a network's mapping, `FATAL` faults leave no legal mapping, whatever the rest looks like; `MAYBE` faults may.
`GRIDS` and `ROWS` are faults of a placed loop body, `PLACES` of a contest placement. A mutator returns None where there
is no part to which its fault applies.
"""

from __future__ import annotations

from . import alternatives, programs, routes, stages
from .kernels import GRIDS, ROWS
from .parts import FATAL, MAYBE
from .places import PLACES

TIGHT = frozenset({"dropped_hop", "moved_operation", "late_operation", "overlapping", "outlying_lane", "shorter_phase",
                   "wrong_order"})  # fmt: skip
"""Faults that are fatal only where nothing has room or slack, as in the mappings that the suite draws."""

__all__ = ["FATAL", "GRIDS", "MAYBE", "PLACES", "ROWS", "TIGHT", "alternatives", "programs", "routes", "stages"]
