"""The linear array (CGLA, IMAX3 class): loop bodies placed into rows and routed through row registers.

Two levels: `kernel.py` and its siblings place one loop body; `network/` runs an ONNX model as launches of such bodies.
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

DESCRIPTION = "one-way linear array of rows (IMAX3, Lenzo class)"
DEFAULT_MACHINE = "imax3"
OPTIONS = (
    Option("pins", "drop", "positions asked for in a loop kernel", ("keep", "drop")),
    Option("share", "enforce", "demand each region's share of local memory", ("enforce", "report")),
)


def legalise(graph: Graph, machine: Machine, request: Request) -> Graph:
    """Every nest has a loop body on this array; nothing needs to change."""
    return graph


def solve(graph: Graph, machine: Machine, request: Request) -> Solved | Infeasible:
    """Launches of placed bodies with tiles in local memories."""
    from .network.solve import solve as run

    return run(graph, machine, request)


def solve_kernel(dfg: Dfg, machine: Machine, request: Request) -> KernelSolved | Infeasible:
    """One loop kernel in the fewest rows, then the fewest register hops."""
    from .loops import solve_kernel as run

    return run(dfg, machine, request)
