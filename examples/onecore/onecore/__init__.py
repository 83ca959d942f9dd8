"""A complete target in one file: a scalar core, a scratchpad, a backing store.

What a target owes the hall stands in `mapper.registry.Backend`; this is the least that honours it. Operators run one
after the other. The tiling engine chooses loops and buffers so that the least energy goes into movement; a stage adds
where it runs (the only core) and how long it takes (one cycle per iteration, or longer if a memory needs more). That is
all: checker, cost, simulator, bounds, report and picture know what to do with a `Mapping`.

A real target would first look at `mapper.arrays`, which also places loop bodies.
"""

from __future__ import annotations

import math

from mapper.cost import cost, iterations
from mapper.guarantees import movement_outcome
from mapper.ir import Graph, Op, Opaque
from mapper.machine import Machine
from mapper.mapping import HostCall, Infeasible, Mapping, Phase, Rect, Stage
from mapper.request import Request, Solved
from mapper.tiling.engine import Tiling, tile
from mapper.tiling.hierarchy import from_machine

DESCRIPTION = "one scalar core with a scratchpad (the worked example of a target)"
DEFAULT_MACHINE = "onecore"
OPTIONS = ()


def legalise(graph: Graph, machine: Machine, request: Request) -> Graph:
    """A scalar core runs every loop nest as it is."""
    return graph


def solve(graph: Graph, machine: Machine, request: Request) -> Solved | Infeasible:
    """One stage per operator, in the order of the graph."""
    hierarchy = from_machine(machine, ["dram", "spm"])
    stages: list[Stage] = []
    for op in graph.nests:
        request.progress(f"tiling {op.name}")
        tiling = tile(graph, op, hierarchy, effort=request.effort, homes=lambda tensor: "dram")
        if isinstance(tiling, Infeasible):
            return tiling
        stages.append(_stage(machine, op, tiling, stages))
    host = tuple(HostCall(op.name, op.reason) for op in graph.ops if isinstance(op, Opaque))
    mapping = Mapping("onecore", machine, graph, (), tuple(stages), host=host)
    return Solved(mapping, movement_outcome(mapping, cost(mapping).movement_pj, request.seed))


def _stage(machine: Machine, op: Op, tiling: Tiling, before: list[Stage]) -> Stage:
    """The operator on the core once the last one has ended, with every phase that it needs."""
    after = (before[-1].name,) if before else ()
    stage = Stage(f"s{len(before)}", op.name, tiling.loops, tiling.buffers, Rect(0, 0, 1, 1), after=after)
    phases = [Phase("compute", "core", iterations(stage, op))]
    for memory, read_bytes, written_bytes in tiling.levels:
        rate = machine.memory(memory).bytes_per_cycle or math.inf
        phases.append(Phase(f"{memory} port", memory, math.ceil(max(read_bytes, written_bytes) / rate)))
    return Stage(stage.name, op.name, tiling.loops, tiling.buffers, stage.rect, after=after, phases=tuple(phases),
                 overlap=True)  # fmt: skip
