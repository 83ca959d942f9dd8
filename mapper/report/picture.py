"""`mapping.svg`: the decision as a picture. One painter per kind of decision, chosen by what the decision is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mapper.documents import ContestDecision, Decision, KernelDecision
from mapper.report import floorplan, grid, lanes, rows

__all__ = ["svg"]


def svg(decision: Decision, report: Mapping[str, Any]) -> str:
    """A deterministic SVG document."""
    if isinstance(decision, ContestDecision):
        return floorplan.contest(decision.graph, decision.places)
    if isinstance(decision, KernelDecision):
        painter = rows.kernel if decision.machine.fabric.topology == "line" else grid.kernel
        return painter(decision.mapping, decision.machine.fabric)
    if decision.schedule == "pipeline":
        return floorplan.pipeline(decision, report)
    return lanes.sequence(decision, report)
