"""A placed contest graph as the hall takes it: places, the benchmark's own solution, the score by parts, bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mapper.kgraph import KernelGraph, PlacedKernel
from mapper.mapping import Infeasible
from mapper.request import Request
from mapper.solver import Outcome

from .bounds import Shortage
from .contest import ContestRequest, ContestResult, place_contest
from .solution import solution_json

__all__ = ["ContestSolved", "answer_contest"]


@dataclass(frozen=True)
class ContestSolved:
    """`facts` is the report's "contest" section, `solution` what the contest's evaluator reads."""

    places: tuple[PlacedKernel, ...]
    outcome: Outcome
    facts: Mapping[str, Any]
    solution: Mapping[str, Any]


def answer_contest(graph: KernelGraph, request: Request) -> ContestSolved | Infeasible:
    """Place a contest graph; the grid, the memory limit and the weights are the graph's own."""
    found = place_contest(graph, ContestRequest(request.effort, request.seed))
    if isinstance(found, Shortage):
        return Infeasible(found.resource, found.demand, found.limit, "units", graph.name, (found.hint,))
    return ContestSolved(found.places, found.outcome, _facts(found), json.loads(solution_json(graph, found.places)))


def _facts(found: ContestResult) -> dict[str, Any]:
    score, bounds = found.score, found.bounds
    return {
        "time": float(score.time),
        "wirelength": float(score.wirelength),
        "adapter": score.adapter,
        "score": float(score.total),
        "time_bound": float(bounds.time),
        "wirelength_bound": float(bounds.wirelength),
        "score_bound": float(bounds.score),
    }
