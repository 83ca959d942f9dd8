"""A network on the grid: each operator is a modulo-scheduled body that walks tiles in the scratchpad.

The body is unrolled while copies raise throughput (more operations than one body has PEs busy); copies share loads of
equal elements. DMA brings tiles in while the grid computes (double buffering); loading contexts runs alone.
"""

from __future__ import annotations

from mapper.guarantees import outcome_of
from mapper.ir import Graph
from mapper.machine import Machine
from mapper.mapping import Infeasible
from mapper.networks import map_network
from mapper.request import Request, Solved

from .account import loop_facts
from .rules import GridRules


def solve(graph: Graph, machine: Machine, request: Request) -> Solved | Infeasible:
    """The mapping, with what the request minimises against its provable bound."""
    mapping = map_network(graph, machine, request, "cgra", GridRules(machine, request.seed))
    if isinstance(mapping, Infeasible):
        return mapping
    return Solved(mapping, outcome_of(mapping, request.objective, request.seed), {"loops": loop_facts(mapping)})
