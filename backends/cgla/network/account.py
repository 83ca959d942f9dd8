"""What a person asks of a mapping to lanes, from it alone: time by phase and lane, fill, local memory, coverage.

*Fill* is the part of EXEC in which the rows fill before the first result of a launch leaves: EXEC less 4 cycles an
iteration. *Occupancy* of a unit's local memory counts all buffers of a stage, double-buffered ones twice; its mean
weighs stages by EXEC; results that stay for later operators count in every stage between. *Coverage* is the share of
the multiply-accumulates that the array executes, and of these the share on all lanes. Lanes of a stage work alike, so a
lane is busy in the stages that hold it. *Transfers* are counted per stage, as made and one by one (`transfers.py`); the
gain of coalescing is the time of LOAD (DRAIN) one by one over the time as made.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from mapper.cost import iterations, outputs_per_copy
from mapper.dtypes import bytes_of
from mapper.ir import Op
from mapper.machine import Machine
from mapper.mapping import Mapping, Stage

from .transfers import Transfers, dma_cycles, transfers

__all__ = ["array_facts"]


def array_facts(mapping: Mapping) -> dict[str, Any]:
    """The report's section `array`."""
    ops = {op.name: op for op in mapping.graph.nests}
    machine, stages = mapping.machine, mapping.stages
    lanes, hertz = machine.setting("lanes", 1), machine.clock_hz
    capacity = machine.memory("lmm").capacity_bytes or 0
    cycles = Counter[str]()
    for stage in stages:
        for phase in stage.phases:
            cycles[phase.name] += phase.cycles * phase.times
    fill = sum(_exec(s) - machine.setting("iteration_cycles", 4) * _iterations(s, ops[s.op]) for s in stages)
    kept = _kept(mapping, ops)
    held = [_held_bytes(stage) + beside for stage, beside in zip(stages, kept, strict=True)]
    mean = sum(map(int.__mul__, held, map(_exec, stages))) / max(1, cycles["EXEC"])
    macs = sum(ops[s.op].macs for s in stages)
    made = {s.name: _transfers(mapping, s, ops[s.op]) for s in stages}
    return {
        "lanes": lanes,
        "launches": sum(stage.launches for stage in stages),
        "control_bytes": sum(stage.configuration_bytes * stage.launches for stage in stages),
        "phase_cycles": dict(cycles),
        "phase_seconds": {name: count / hertz for name, count in cycles.items()},
        "lane_exec_cycles": [sum(_exec(s) for s in stages if s.rect.lanes > lane) for lane in range(lanes)],
        "transfers": {name: {f.name: getattr(count, f.name) for f in fields(count)} for name, count in made.items()},
        "load_coalescing_gain": _gain("LOAD", stages, [(t.loads, t.single_loads) for t in made.values()], machine),
        "drain_coalescing_gain": _gain("DRAIN", stages, [(t.drains, t.single_drains) for t in made.values()], machine),
        "fill_share": fill / max(1, cycles["EXEC"]),
        "lmm_bytes": capacity,
        "lmm_most_bytes": max(held, default=0),
        "kept_tensors": len(mapping.homes),
        "kept_bytes": sum(mapping.graph.tensor(name).bytes for name, _ in mapping.homes),
        "lmm_mean_share": mean / capacity if capacity else 0.0,
        "macs_share": macs / mapping.graph.macs if mapping.graph.macs else 1.0,
        "macs_all_lanes_share": sum(ops[s.op].macs for s in stages if s.rect.lanes == lanes) / max(1, macs),
        "host_bytes": sum(mapping.graph.tensor(name).bytes for op in mapping.graph.ops if not isinstance(op, Op)
                          for name in (*op.inputs, *op.outputs) if op.name in {call.op for call in mapping.host}),
    }  # fmt: skip


def _transfers(mapping: Mapping, stage: Stage, op: Op) -> Transfers:
    graph = mapping.graph
    return transfers(graph, op, stage.loops, stage.buffers, mapping.axes, lambda name: mapping.home(graph.root(name)))


def _gain(name: str, stages: Sequence[Stage], counts: Sequence[tuple[int, int]], machine: Machine) -> float:
    """Cycles of a phase with a transfer for every single run, over those with `counts` (made, single) as made."""
    made = sum(_cycles(stage, name) for stage in stages)
    more = sum(dma_cycles(0, single - joined, s.rect.lanes, machine)
               for s, (joined, single) in zip(stages, counts, strict=True))  # fmt: skip
    return (made + more) / made if made else 1.0


def _exec(stage: Stage) -> int:
    return _cycles(stage, "EXEC")


def _cycles(stage: Stage, name: str) -> int:
    """Cycles of one phase of a stage."""
    return sum(phase.cycles * phase.times for phase in stage.phases if phase.name == name)


def _iterations(stage: Stage, op: Op) -> int:
    """Iterations of the body and of the tail, copies counted once."""
    return iterations(stage, op) + (outputs_per_copy(stage, op) if stage.tail is not None else 0)


def _held_bytes(stage: Stage) -> int:
    """Bytes of one unit's local memory that the stage takes."""
    return sum(buffer.bytes * buffer.copies for buffer in stage.buffers if buffer.memory == "lmm")


def _kept(mapping: Mapping, ops: Dict[str, Op]) -> list[int]:
    """Bytes of one unit's local memory that results which stay take, per stage."""
    found = [0] * len(mapping.stages)
    for tensor, _ in mapping.homes:
        touching = [at for at, s in enumerate(mapping.stages) if tensor in (*ops[s.op].inputs, *ops[s.op].outputs)]
        writer = mapping.stages[touching[0]]
        part = bytes_of(_part(writer, ops[writer.op]), mapping.graph.tensor(tensor).dtype)
        for at in range(touching[0], touching[-1] + 1):
            found[at] += part
    return found


def _part(stage: Stage, op: Op) -> int:
    """Elements of a kept result in one lane and replica; each of its dimensions is a loop."""
    left = dict(op.extents)
    for loop in stage.loops:
        if loop.axis in ("lane", "replica"):
            left[loop.loop] = min(left[loop.loop], loop.step)
    return math.prod(left[name] for index in op.write.index for name in index.loops)
