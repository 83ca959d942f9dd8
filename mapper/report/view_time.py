"""A sequence of stages as data for the page: when each resource is busy with which phase, and what lies in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from mapper.cost import stage_cycles
from mapper.ir import Op
from mapper.mapping import WRITTEN, Stage
from mapper.mapping import Mapping as FabricMapping

__all__ = ["sequence", "stage_details"]


def sequence(mapping: FabricMapping, index: Mapping[str, int]) -> dict[str, Any]:
    """Bars of every stage on a common clock; `index` numbers the operators on the page."""
    fabric = mapping.machine.fabric
    resources = list(dict.fromkeys(p.resource for s in mapping.stages for p in s.phases))
    names = list(dict.fromkeys(p.name for s in mapping.stages for p in s.phases))
    bars, clock = [], 0
    for stage in mapping.stages:
        bars.append({"i": index[stage.op], "t": clock, "d": stage_cycles(stage), "lane": stage.rect.lane,
                     "lanes": stage.rect.lanes, "p": _phases(stage, resources, names, clock)})  # fmt: skip
        clock += stage_cycles(stage)
    lanes = max((s.rect.lane + s.rect.lanes for s in mapping.stages), default=1)
    return {"kind": "time", "resources": resources, "phases": names, "bars": bars, "total": clock, "lanes": lanes,
            "rows": fabric.rows, "columns": fabric.columns}  # fmt: skip


def _phases(stage: Stage, resources: list[str], names: list[str], clock: int) -> list[list[int]]:
    """[resource, phase, start, cycles, times]: one after the other, or per resource where the stage overlaps."""
    at: dict[str, int] = defaultdict(lambda: clock)
    found = []
    for phase in stage.phases:
        key, length = phase.resource if stage.overlap else "", phase.cycles * phase.times
        if length:
            found.append([resources.index(phase.resource), names.index(phase.name), at[key], length, phase.times])
        at[key] += length
    return found


def stage_details(mapping: FabricMapping, stage: Stage, op: Op) -> dict[str, Any]:
    """The rectangle, the loops, the buffers with their addresses, and the loop bodies of one stage."""
    box = stage.rect
    buffers = []
    for buffer in stage.buffers:
        tensor = op.write.tensor if buffer.operand == WRITTEN else op.reads[buffer.operand].tensor
        buffers.append([tensor, buffer.memory, buffer.address, buffer.bytes, buffer.copies, int(buffer.resident)])
    return {
        "rect": [box.row, box.column, box.height, box.width, box.lane, box.lanes],
        "loops": [[t.loop, t.trips, t.step, t.axis or ""] for t in stage.loops],
        "buffers": buffers, "bodies": [b for b in (stage.body, stage.tail) if b is not None],
        "launches": stage.launches, "configuration": stage.configuration_bytes * stage.launches,
    }  # fmt: skip
