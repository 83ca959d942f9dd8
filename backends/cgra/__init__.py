"""The grid (CGRA): loop bodies modulo-scheduled on processing elements with output registers and register files.

Two levels: `kernel.py` and its siblings schedule one loop body; `network/` runs an ONNX model as a series of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mapper.request import Option

if TYPE_CHECKING:
    from mapper.dfg import Dfg
    from mapper.export import Exported
    from mapper.ir import Graph
    from mapper.machine import Machine
    from mapper.mapping import Infeasible
    from mapper.placement import KernelMapping
    from mapper.request import KernelSolved, Request, Solved

DESCRIPTION = "two-dimensional grid, modulo-scheduled (OpenEdgeCGRA class)"
DEFAULT_MACHINE = "openedge4x4"
EXPORTS = ("esl", "neura")
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


def export_body(format_: str, body: KernelMapping, machine: Machine, iterations: int, seed: int) -> Exported:
    """A placed body, lowered from ONNX, as files of a public simulator, executed and compared before they are given."""
    from .export import program_of

    return program_of(format_, body, machine.fabric, iterations, seed)
