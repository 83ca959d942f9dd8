"""`trace.json` in the Chrome trace event format: open it in Perfetto. One microsecond stands for one cycle."""

from __future__ import annotations

import json
from typing import Any

from mapper.cost import stage_cycles
from mapper.errors import clean
from mapper.mapping import Mapping, Stage
from mapper.placement import KernelMapping

__all__ = ["kernel_trace", "model_trace"]


def model_trace(mapping: Mapping) -> str:
    """Stages as slices on one track per resource, dependences as flows."""
    events: list[dict[str, Any]] = [_name("process_name", 1, 0, f"{mapping.target} {mapping.machine.name}")]
    tracks: dict[str, int] = {}
    ends: dict[str, int] = {}
    clock = 0
    for number, stage in enumerate(mapping.stages):
        start = clock if mapping.schedule == "sequence" else max((ends[n] for n in stage.after), default=0)
        ends[stage.name] = start + stage_cycles(stage)
        clock = ends[stage.name]
        events += _stage_events(stage, start, tracks)
        for source in stage.after:
            events += _flow(number, source, stage.name, ends[source], start)
    events += [_name("thread_name", 1, track, resource) for resource, track in tracks.items()]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, separators=(",", ":")) + "\n"


def _name(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def _stage_events(stage: Stage, start: int, tracks: dict[str, int]) -> list[dict[str, Any]]:
    """Phases after each other, or from the stage's start on each resource where they overlap."""
    events = []
    at: dict[str, int] = {}
    for phase in stage.phases:
        track = tracks.setdefault(phase.resource, len(tracks) + 1)
        key = phase.resource if stage.overlap else ""
        begin = at.get(key, start)
        length = phase.cycles * phase.times
        at[key] = begin + length
        if length:
            label = f"{phase.name} {clean(stage.name, 80)}"
            events.append({"ph": "X", "name": label, "cat": phase.name, "pid": 1, "tid": track, "ts": begin,
                           "dur": length, "args": {"op": clean(stage.op), "times": phase.times}})  # fmt: skip
    return events


def _flow(number: int, source: str, target: str, end: int, start: int) -> list[dict[str, Any]]:
    name = f"{clean(source, 60)} to {clean(target, 60)}"
    common = {"name": name, "cat": "data", "id": f"{number}.{clean(source, 60)}", "pid": 1, "tid": 1}
    return [{**common, "ph": "s", "ts": end}, {**common, "ph": "f", "bp": "e", "ts": max(start, end)}]


def kernel_trace(mapping: KernelMapping, iterations: int = 4) -> str:
    """A few iterations of a loop body, one track per PE."""
    events: list[dict[str, Any]] = [_name("process_name", 1, 0, clean(mapping.dfg.name))]
    for pe in sorted({p.pe for p in mapping.placed} | {m.pe for m in mapping.moves}):
        events.append(_name("thread_name", 1, pe, f"PE {pe}"))
    for turn in range(iterations):
        for placed in mapping.placed:
            op = clean(mapping.dfg[placed.node].op, 40)
            events.append({"ph": "X", "name": f"{placed.node} {op}", "cat": placed.slot, "pid": 1, "tid": placed.pe,
                           "ts": placed.cycle + turn * mapping.ii, "dur": 1, "args": {"iteration": turn}})  # fmt: skip
        for move in mapping.moves:
            events.append({"ph": "X", "name": f"{move.id} move", "cat": "move", "pid": 1, "tid": move.pe,
                           "ts": move.cycle + turn * mapping.ii, "dur": 1, "args": {"iteration": turn}})  # fmt: skip
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, separators=(",", ":")) + "\n"
