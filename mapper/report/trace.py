"""`trace.json` in the Chrome trace event format: open it in Perfetto. One microsecond stands for one cycle."""

from __future__ import annotations

import json
from typing import Any

from mapper.cost import stage_cycles
from mapper.errors import clean
from mapper.mapping import Mapping, Stage
from mapper.placement import KernelMapping

from .view_body import Reader, reads

__all__ = ["kernel_trace", "model_trace"]

Event = dict[str, Any]


def model_trace(mapping: Mapping) -> str:
    """Stages as slices on one track per resource and lane, dependences as flows between the tracks."""
    events: list[Event] = [_name("process_name", 0, f"{mapping.target} {mapping.machine.name}")]
    tracks: dict[str, int] = {}
    last: dict[str, tuple[int, int]] = {}  # stage: (track, start) of its longest slice, to which flows bind
    ends: dict[str, int] = {}
    clock = flows = 0
    for stage in mapping.stages:
        start = clock if mapping.schedule == "sequence" else max((ends[n] for n in stage.after), default=0)
        ends[stage.name] = clock = start + stage_cycles(stage)
        slices = _slices(stage, start, tracks, mapping.schedule)
        events += slices
        if not slices:
            continue
        longest = max(slices, key=lambda s: (s["dur"], -s["tid"]))
        last[stage.name] = (longest["tid"], longest["ts"])
        for source in stage.after:
            if source in last:
                flows += 1
                events += _flow(flows, source, stage.name, last[source], last[stage.name])
    events += [_name("thread_name", track, resource) for resource, track in tracks.items()]
    return _text(events)


def _text(events: list[Event]) -> str:
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, separators=(",", ":")) + "\n"


def _name(what: str, tid: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": 1, "tid": tid, "args": {"name": name}}


def _slices(stage: Stage, start: int, tracks: dict[str, int], schedule: str) -> list[Event]:
    """Phases after each other, or from the stage's start on each resource where they overlap.

    In a pipeline every stage has resources of its own, so it gets tracks of its own.
    """
    events: list[Event] = []
    at: dict[str, int] = {}
    for phase in stage.phases:
        owner = f"{clean(stage.name, 60)} " if schedule == "pipeline" else ""
        track = tracks.setdefault(owner + phase.resource, len(tracks) + 1)
        key = phase.resource if stage.overlap else ""
        begin = at.get(key, start)
        length = phase.cycles * phase.times
        at[key] = begin + length
        if length:
            args = {"op": clean(stage.op), "times": phase.times, "lane": stage.rect.lane, "lanes": stage.rect.lanes}
            events.append(_slice(f"{phase.name} {clean(stage.name, 80)}", phase.name, track, begin, length, args))
    return events


def _slice(name: str, category: str, track: int, start: int, length: int, args: Event) -> Event:
    return {"ph": "X", "name": name, "cat": category, "pid": 1, "tid": track, "ts": start, "dur": length, "args": args}


def _flow(number: int, source: str, target: str, start: tuple[int, int], end: tuple[int, int]) -> list[Event]:
    """An arrow from a slice of the source to a slice of the target; both ends lie inside their slices."""
    name = f"{clean(source, 60)} to {clean(target, 60)}"
    common: Event = {"name": name, "cat": "data", "id": number, "pid": 1}
    finish = max(end[1], start[1])
    return [{**common, "ph": "s", "tid": start[0], "ts": start[1]},
            {**common, "ph": "f", "bp": "e", "tid": end[0], "ts": finish}]  # fmt: skip


def kernel_trace(mapping: KernelMapping, iterations: int = 4) -> str:
    """A few iterations of a loop body, one track per PE, values as flows."""
    events: list[Event] = [_name("process_name", 0, clean(mapping.dfg.name))]
    runs: list[tuple[Reader, int, int, str, str]] = [
        (p.node, p.pe, p.cycle, f"{p.node} {clean(mapping.dfg[p.node].op, 40)}", p.slot) for p in mapping.placed
    ]
    runs += [(m.id, m.pe, m.cycle, f"{m.id} move", "move") for m in mapping.moves]
    first = min((cycle for _, _, cycle, _, _ in runs), default=0)
    events += [_name("thread_name", pe, f"PE {pe}") for pe in sorted({pe for _, pe, _, _, _ in runs})]
    at = {key: (pe, cycle - first) for key, pe, cycle, _, _ in runs}
    flows = 0
    for turn in range(iterations):
        shift = turn * mapping.ii
        events += [_slice(name, slot, pe, cycle - first + shift, 1, {"iteration": turn})
                   for _, pe, cycle, name, slot in runs]  # fmt: skip
        for source, reader, distance in reads(mapping):
            if turn + distance < iterations:
                start, end = at[source], at[reader]
                flows += 1
                events += _flow(flows, str(source), str(reader), (start[0], start[1] + shift),
                                (end[0], end[1] + shift + distance * mapping.ii))  # fmt: skip
    return _text(events)
