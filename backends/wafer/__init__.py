"""Wafer: a mesh of about a million small cores, every operator a rectangle of them.

Networks are placed by `mapper.backends.wafer.network`, the kernel graphs of the ISPD 2020 contest by `contest`.
"""

from __future__ import annotations

from mapper.ir import Graph
from mapper.kgraph import KernelGraph
from mapper.machine import Machine
from mapper.mapping import Infeasible
from mapper.request import ContestSolved, Option, Request, Solved

__all__ = ["DEFAULT_MACHINE", "DESCRIPTION", "OPTIONS", "legalise", "solve", "solve_contest"]

DESCRIPTION = "wafer-scale mesh: each operator a rectangle of cores, tensors routed between them"
DEFAULT_MACHINE = "wse3"
OPTIONS = (
    Option("schedule", "auto", "all operators at once, or one after the other with weights streamed past",
           ("auto", "pipeline", "streamed")),
    Option("training", "false", "forward, backward and weight gradients of every operator", ("false", "true")),
)  # fmt: skip


def legalise(graph: Graph, machine: Machine, request: Request) -> Graph:
    """Every loop nest has a form on the mesh; tensors that live on both sides of the edge get a copy on each."""
    from .network.legalise import legalise_network

    if request.options.get("training") == "true":
        from .network.training import training_graph

        graph = training_graph(graph)
    return legalise_network(graph)


def solve(graph: Graph, machine: Machine, request: Request) -> Solved | Infeasible:
    """A pipeline of rectangles, or a sequence with streamed weights if the model is larger than the wafer."""
    from .network.solve import solve_network

    return solve_network(graph, machine, request)


def solve_contest(graph: KernelGraph, machine: Machine, request: Request) -> ContestSolved | Infeasible:
    """Place a contest graph; its grid, memory limit and weights are its own, the machine only names the target."""
    from .answer import answer_contest

    return answer_contest(graph, request)
