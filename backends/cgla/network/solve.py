"""A network on the linear array: each operator is a series of launches.

A launch configures the rows once and runs the body over two hardware loops; the loops outside are the host's. Copies
of the body lie along rows (a reduction flows down the rows, independent copies are stacked) and columns; lanes work
side by side, each with its own port to memory. Tiles lie in the rows' local memories (LMM): read slices in every row
that loads them, the written slice in one row. EXEC overlaps with LOAD and DRAIN (double buffering); START, CONF and
REGV do not.
"""

from __future__ import annotations

from mapper.guarantees import outcome_of
from mapper.ir import Graph
from mapper.machine import Machine
from mapper.mapping import Infeasible
from mapper.networks import map_network
from mapper.request import Request, Solved

from .account import array_facts
from .rules import LaneRules


def solve(graph: Graph, machine: Machine, request: Request) -> Solved | Infeasible:
    """The mapping, with what the request minimises against its provable bound."""
    mapping = map_network(graph, machine, request, "cgla", LaneRules(machine))
    if isinstance(mapping, Infeasible):
        return mapping
    return Solved(mapping, outcome_of(mapping, request.objective, request.seed), {"array": array_facts(mapping)})
