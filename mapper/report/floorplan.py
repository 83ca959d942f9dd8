"""A floorplan: rectangles of cores with labels and stage times, tensors routed over the mesh as trees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mapper.cost import stage_cycles
from mapper.kgraph import KernelGraph, PlacedKernel
from mapper.mapping import Mapping as FabricMapping
from mapper.mapping import Route

from .canvas import INK, PALETTE, SOFT, Canvas, shade

__all__ = ["contest", "pipeline", "runs"]

SIDE, MARGIN, HEAD = 760.0, 24.0, 46.0
LABEL_WIDTH, LABEL_HEIGHT = 34.0, 13.0
COLOURED_ROUTES = 4000


def pipeline(mapping: FabricMapping, report: Mapping[str, Any]) -> str:
    """Stages as rectangles shaded by their time, routes over them; thicker where a link carries more."""
    fabric = mapping.machine.fabric
    scale = SIDE / max(fabric.rows, fabric.columns)
    width, height = fabric.columns * scale + 2 * MARGIN, fabric.rows * scale + HEAD + MARGIN + 22
    canvas = Canvas(width, height, f"{report['input']['name']} on {mapping.machine.name}")
    canvas.text(MARGIN, 20, f"{report['input']['name']} on {mapping.machine.name}", 13, bold=True)
    canvas.text(
        MARGIN, 36, "colour: cycles of the stage (yellow short, red the slowest); lines: routed tensors", 9, fill=SOFT
    )
    canvas.rect(MARGIN, HEAD, fabric.columns * scale, fabric.rows * scale, "#f6f6f6", stroke="#999999")
    slowest = max((stage_cycles(s) for s in mapping.stages), default=1) or 1
    for stage in mapping.stages:
        box = stage.rect
        x, y = MARGIN + box.column * scale, HEAD + box.row * scale
        cycles = stage_cycles(stage)
        tip = f"{stage.op}: {box.width} x {box.height} cores, {cycles:,} cycles"
        canvas.rect(
            x, y, box.width * scale, box.height * scale, shade(cycles / slowest), tip=tip, stroke="#555555", line=0.5
        )
        _label(canvas, stage.op.split("/")[-1], f"{cycles:,}", x, y, box.width * scale, box.height * scale)
    _routes(canvas, mapping.routes, scale)
    for row, column in sorted(fabric.dead):
        canvas.rect(
            MARGIN + column * scale, HEAD + row * scale, scale, scale, "#000000", tip=f"dead core {row}, {column}"
        )
    return canvas.document()


def _label(canvas: Canvas, name: str, note: str, x: float, y: float, width: float, height: float) -> None:
    """A name that fits into its rectangle, or none."""
    if width < LABEL_WIDTH or height < LABEL_HEIGHT:
        return
    shown = name if len(name) * 5.2 < width else name[: int(width / 5.2)]
    canvas.text(x + width / 2, y + min(height / 2 + 3, height - 3), shown, 9, anchor="middle")
    if height > 2 * LABEL_HEIGHT:
        canvas.text(x + width / 2, y + height / 2 + 14, note, 7.5, anchor="middle", fill="#444444")


def _routes(canvas: Canvas, routes: Sequence[Route], scale: float) -> None:
    """Straight runs of each tree joined into lines; width by the bytes that the busiest link of the run carries."""
    load: dict[Any, int] = defaultdict(int)
    for route in routes:
        for link in route.links:
            load[link] += route.bytes
    peak = max(load.values(), default=1)
    drawn = 0
    for number, route in enumerate(routes):
        for run in runs(route):
            if (drawn := drawn + 1) > COLOURED_ROUTES:
                return
            heaviest = max(load[link] for link in zip(run, run[1:], strict=False))
            points = [(MARGIN + (c + 0.5) * scale, HEAD + (r + 0.5) * scale) for r, c in (run[0], run[-1])]
            tip = f"{route.tensor}: {route.source or 'edge'} to {route.target}, {route.bytes:,} bytes"
            canvas.line(points, PALETTE[number % 3 * 2], 0.7 + 2.3 * heaviest / peak, opacity=0.65, tip=tip)


def runs(route: Route) -> list[list[tuple[int, int]]]:
    """Links chained while they keep their direction."""
    runs: list[list[tuple[int, int]]] = []
    for start, end in route.links:
        if runs and runs[-1][-1] == start and _step(runs[-1][-2], runs[-1][-1]) == _step(start, end):
            runs[-1].append(end)
        else:
            runs.append([start, end])
    return runs


def _step(start: tuple[int, int], end: tuple[int, int]) -> tuple[int, int]:
    return end[0] - start[0], end[1] - start[1]


def contest(graph: KernelGraph, places: Sequence[PlacedKernel]) -> str:
    """Kernels of a contest graph in place, wires between their centres."""
    scale = SIDE / max(graph.width, graph.height)
    canvas = Canvas(
        graph.width * scale + 2 * MARGIN, graph.height * scale + HEAD + MARGIN, f"contest graph {graph.name}"
    )
    canvas.text(MARGIN, 22, f"{graph.name}: {len(places)} kernels on {graph.width} x {graph.height}", 13, bold=True)
    canvas.rect(MARGIN, HEAD, graph.width * scale, graph.height * scale, "#f6f6f6", stroke="#999999")
    centre = {}
    for number, place in enumerate(places):
        width, height = place.size
        x, y = MARGIN + place.x * scale, HEAD + place.y * scale
        split = f"h={place.h} w={place.w} c={place.c} k={place.k}"
        tip = f"{place.name}: {width} x {height} at ({place.x}, {place.y}), {split}"
        canvas.rect(
            x, y, width * scale, height * scale, PALETTE[number % len(PALETTE)], tip=tip, stroke="#ffffff", opacity=0.75
        )
        _label(canvas, place.name, f"{width} x {height}", x, y, width * scale, height * scale)
        centre[place.name] = (x + width * scale / 2, y + height * scale / 2)
    kernels = graph.kernels
    for src, dst in graph.wires:
        canvas.line([centre[kernels[src].name], centre[kernels[dst].name]], INK, 1.0, opacity=0.6, arrow=True)
    return canvas.document()
