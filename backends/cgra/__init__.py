"""The grid (CGRA): loop bodies modulo-scheduled on processing elements with output registers and register files.

Two levels: `kernel.py` and its siblings schedule one loop body; `network/` runs an ONNX model as a series of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mapper.request import Option

if TYPE_CHECKING:
    from mapper.dfg import Dfg
    from mapper.ir import Graph
    from mapper.machine import Machine
    from mapper.mapping import Infeasible
    from mapper.request import KernelSolved, Request, Solved

DESCRIPTION = "two-dimensional grid, modulo-scheduled (OpenEdgeCGRA class)"
DEFAULT_MACHINE = "openedge4x4"
OPTIONS = (Option("variant", "routed", "may MOVE operations be inserted", ("routed", "direct")),)


def legalise(graph: Graph, machine: Machine, request: Request) -> Graph:
    """Every nest has a loop body on this array; nothing needs to change."""
    return graph


def solve(graph: Graph, machine: Machine, request: Request) -> Solved | Infeasible:
    """Scheduled bodies with tiles in the scratchpad."""
    from .network.solve import solve as run

    return run(graph, machine, request)


def solve_kernel(dfg: Dfg, machine: Machine, request: Request) -> KernelSolved | Infeasible:
    """One loop kernel with the smallest initiation interval, then the fewest MOVEs."""
    from .loops import solve_kernel as run

    return run(dfg, machine, request)
