"""A placed contest graph as the hall takes it: places, the benchmark's own solution, the score by parts, bounds."""

from __future__ import annotations

import json
import time
from typing import Any

from mapper.kgraph import KernelGraph
from mapper.mapping import Infeasible
from mapper.request import ContestSolved, Incumbent, Request

from .bounds import Shortage
from .contest import ContestRequest, ContestResult, place_contest
from .solution import solution_json

__all__ = ["answer_contest"]


def answer_contest(graph: KernelGraph, request: Request) -> ContestSolved | Infeasible:
    """Place a contest graph; the grid, the memory limit and the weights are the graph's own."""
    limit = request.time_limit_seconds
    end = None if limit is None else time.monotonic() + limit

    def show(score: float, bound: float) -> None:
        request.watch(Incumbent("score", score, bound))

    found = place_contest(graph, ContestRequest(request.effort, request.seed, end, show))
    if isinstance(found, Shortage):
        return Infeasible(found.resource, found.demand, found.limit, found.unit, graph.name, (found.hint,))
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
