"""A network on an array that runs one operator after the other: where the time and the movement go, stage by stage.

Above, a timeline of the stages with their phases on each resource; below, the bytes moved per memory. The loop body
that most iterations run is drawn underneath, on the array itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from mapper.cost import iterations, stage_cycles
from mapper.ir import Op
from mapper.mapping import Mapping as FabricMapping

from . import grid, rows
from .canvas import PALETTE, SOFT, Canvas
from .text import quantity

__all__ = ["sequence"]

WIDTH, LEFT, BAR, HEAD = 520.0, 56.0, 20.0, 52.0


def sequence(mapping: FabricMapping, report: Mapping[str, Any]) -> str:
    """Timeline, movement bars and the busiest body."""
    resources = list(dict.fromkeys(p.resource for s in mapping.stages for p in s.phases))
    levels = [memory.name for memory in mapping.machine.memories]
    body = _busiest(mapping)
    inner, size = (_inside(mapping, body), _size(mapping, body)) if body is not None else ("", (0.0, 0.0))
    top = HEAD + len(resources) * (BAR + 8) + 40 + len(levels) * (BAR + 8) + 6
    canvas = Canvas(
        max(WIDTH, size[0] + 20), top + size[1] + 20, f"{report['input']['name']} on {mapping.machine.name}"
    )
    canvas.text(12, 20, f"{report['input']['name']} on {mapping.machine.name}", 13, bold=True)
    names = list(dict.fromkeys(p.name for s in mapping.stages for p in s.phases))
    for position, name in enumerate(names):
        canvas.rect(12 + position * 82, 30, 10, 10, PALETTE[position % len(PALETTE)])
        canvas.text(26 + position * 82, 39, name, 9)
    _timeline(canvas, mapping, resources, names)
    _movement(canvas, report, levels, HEAD + len(resources) * (BAR + 8) + 40)
    document = canvas.document()
    if not inner:
        return document
    nested = inner.replace("<svg ", f'<svg x="10" y="{top:.0f}" ', 1).rstrip()
    return document.replace("</svg>\n", f"{nested}\n</svg>\n")


def _timeline(canvas: Canvas, mapping: FabricMapping, resources: list[str], names: list[str]) -> None:
    total = sum(stage_cycles(stage) for stage in mapping.stages) or 1
    scale = (WIDTH - LEFT - 20) / total
    for position, resource in enumerate(resources):
        y = HEAD + position * (BAR + 8)
        canvas.text(LEFT - 8, y + 15, resource, 10, anchor="end")
        canvas.rect(LEFT, y, total * scale, BAR, "#f2f2f2", stroke="#dddddd")
    clock = 0
    for stage in mapping.stages:
        at: dict[str, int] = defaultdict(int)
        for phase in stage.phases:
            key = phase.resource if stage.overlap else ""
            length = phase.cycles * phase.times
            if length * scale >= 0.05:
                y = HEAD + resources.index(phase.resource) * (BAR + 8)
                tip = f"{stage.op}: {phase.name} {length:,} cycles"
                colour = PALETTE[names.index(phase.name) % len(PALETTE)]
                canvas.rect(LEFT + (clock + at[key]) * scale, y, length * scale, BAR, colour, tip=tip, line=0.1)
            at[key] += length
        clock += stage_cycles(stage)
    canvas.text(
        LEFT, HEAD + len(resources) * (BAR + 8) + 8, f"{total:,} cycles in {len(mapping.stages)} stages", 9, fill=SOFT
    )


def _movement(canvas: Canvas, report: Mapping[str, Any], levels: list[str], top: float) -> None:
    moved = {name: level["read_bytes"] + level["write_bytes"] for name, level in report["totals"]["levels"].items()}
    scale = (WIDTH - LEFT - 80) / (max(moved.values(), default=1) or 1)
    canvas.text(LEFT, top - 8, "bytes moved per memory; the tick is what no mapping can avoid", 9, fill=SOFT)
    for position, name in enumerate(levels):
        y = top + position * (BAR + 8)
        canvas.text(LEFT - 8, y + 15, name, 10, anchor="end")
        canvas.rect(LEFT, y, max(moved[name] * scale, 0.5), BAR, PALETTE[4], tip=f"{name}: {moved[name]:,} bytes")
        bound = report["bounds"].get(name, {}).get("provable_bytes")
        if bound is not None:
            canvas.line([(LEFT + bound * scale, y - 3), (LEFT + bound * scale, y + BAR + 3)], PALETTE[5], 2)
        canvas.text(LEFT + moved[name] * scale + 6, y + 15, quantity(moved[name], "B"), 9)


def _busiest(mapping: FabricMapping) -> int | None:
    """The body that runs most often over all stages."""
    runs: dict[int, int] = defaultdict(int)
    ops = {op.name: op for op in mapping.graph.ops}
    for stage in mapping.stages:
        op = ops[stage.op]
        if stage.body is not None and isinstance(op, Op):
            runs[stage.body] += iterations(stage, op)
    return min(runs, key=lambda body: (-runs[body], body)) if runs else None


def _inside(mapping: FabricMapping, body: int) -> str:
    painter = rows.kernel if mapping.machine.fabric.topology == "line" else grid.kernel
    return painter(mapping.bodies[body], mapping.machine.fabric)


def _size(mapping: FabricMapping, body: int) -> tuple[float, float]:
    """Width and height written in the nested picture's head."""
    head = _inside(mapping, body).split(">", 1)[0]
    return tuple(float(head.split(f' {name}="')[1].split('"')[0]) for name in ("width", "height"))  # type: ignore[return-value]
