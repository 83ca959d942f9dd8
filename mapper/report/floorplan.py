"""A floorplan: rectangles of cores with labels and stage times, tensors routed over the mesh as trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mapper.cost import stage_cycles
from mapper.kgraph import KernelGraph, PlacedKernel
from mapper.mapping import Mapping as FabricMapping
from mapper.mapping import Route

from .canvas import INK, PALETTE, SOFT, Canvas, shade

__all__ = ["contest", "pipeline", "runs"]

SIDE, MARGIN, HEAD = 500.0, 14.0, 46.0
LABEL_SIZE, LABEL_LEAST = 10.0, 5.0
COLOURED_ROUTES = 4000
THICKEST = 3.5
SPARSE = 1 / 3  # below this share of the fabric, only the part in use is drawn


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of the fabric that is drawn: `rows` x `columns` cores from the corner on, `scale` units each."""

    rows: int
    columns: int
    scale: float

    def at(self, row: float, column: float) -> tuple[float, float]:
        return MARGIN + column * self.scale, HEAD + row * self.scale

    @property
    def size(self) -> tuple[float, float]:
        return max(self.columns * self.scale + 2 * MARGIN, 330.0), self.rows * self.scale + HEAD + MARGIN


def _window(rows: int, columns: int, used_rows: int, used_columns: int) -> _Window:
    if used_rows * used_columns <= rows * columns * SPARSE:
        rows, columns = min(rows, used_rows + 2), min(columns, used_columns + 2)
    return _Window(rows, columns, SIDE / max(rows, columns))


def pipeline(mapping: FabricMapping, report: Mapping[str, Any]) -> str:
    """Stages as rectangles shaded by their time, routes over them, thicker where lanes run side by side."""
    fabric, boxes = mapping.machine.fabric, [stage.rect for stage in mapping.stages]
    window = _window(fabric.rows, fabric.columns, max((b.row + b.height for b in boxes), default=1),
                     max((b.column + b.width for b in boxes), default=1))  # fmt: skip
    title = f"{report['input']['name']} on {mapping.machine.name}"
    canvas = Canvas(*window.size, title)
    canvas.text(MARGIN, 18, title, 12, bold=True)
    slowest = max((stage_cycles(s) for s in mapping.stages), default=1) or 1
    part = "" if window.rows == fabric.rows else f", of {fabric.rows} x {fabric.columns}"
    words = f"{window.rows} x {window.columns} cores{part}; yellow to red: 0 to {slowest:,} cycles"
    canvas.text(MARGIN, 34, words, 9.5, fill=SOFT)
    _ground(canvas, window)
    for stage, box in zip(mapping.stages, boxes, strict=True):
        x, y = window.at(box.row, box.column)
        cycles = stage_cycles(stage)
        tip = f"{stage.op}: {box.width} x {box.height} cores, {cycles:,} cycles"
        fill = shade(cycles / slowest)
        canvas.rect(x, y, box.width * window.scale, box.height * window.scale, fill, tip=tip, stroke="#555555")
    _routes(canvas, mapping.routes, window)
    for stage, box in zip(mapping.stages, boxes, strict=True):
        ink = "#ffffff" if stage_cycles(stage) > 0.7 * slowest else "#111111"
        place = (box.row, box.column, box.height, box.width)
        _label(canvas, stage.op.split("/")[-1], window, place, ink, f"{stage_cycles(stage):,}")
    for row, column in sorted(fabric.dead):
        if row < window.rows and column < window.columns:
            side = max(window.scale, 1.0)
            canvas.rect(*window.at(row, column), side, side, "#000000", tip=f"dead core {row}, {column}")
    return canvas.document()


def _ground(canvas: Canvas, window: _Window) -> None:
    x, y = window.at(0, 0)
    canvas.rect(x, y, window.columns * window.scale, window.rows * window.scale, "#f4f4f4", stroke="#999999")


def _label(
    canvas: Canvas, name: str, window: _Window, box: tuple[int, int, int, int], ink: str = INK, below: str = ""
) -> None:
    """The name at the largest size that fits, upright where the rectangle is tall; none where it would be tiny.

    A second line stands `below` it where there is room for both.
    """
    row, column, height, width = box
    wide, high = width * window.scale, height * window.scale
    turned = high > 1.6 * wide
    long, short = (high, wide) if turned else (wide, high)
    size = min(LABEL_SIZE, short * 0.7, long * 1.75 / max(len(name), 1))
    if size < LABEL_LEAST:
        return
    x, y = window.at(row + height / 2, column + width / 2)
    turn, small = -90 if turned else 0, size * 0.75
    two = bool(below) and small >= LABEL_LEAST and size + 1.3 * small < short and len(below) * small < long * 1.75
    canvas.text(x, y if two else y + size * 0.35, name, size, anchor="middle", fill=ink, turn=turn, about=(x, y))
    if two:
        canvas.text(x, y + 1.25 * small, below, small, anchor="middle", fill=ink, turn=turn, about=(x, y))


def _routes(canvas: Canvas, routes: Sequence[Route], window: _Window) -> None:
    """Straight runs of each tree; a bundle of lanes is a thick line in the middle of its lanes."""
    drawn = 0
    for number, route in enumerate(routes):
        half = (route.lanes - 1) / 2
        down, right = 0.5 + half * route.stride[0], 0.5 + half * route.stride[1]
        tip = f"{route.tensor}: {route.source or 'edge'} to {route.target or 'edge'}, {route.bytes:,} bytes"
        for run in runs(route):
            if (drawn := drawn + 1) > COLOURED_ROUTES:
                return
            points = [window.at(r + down, c + right) for r, c in (run[0], run[-1])]
            points = [(min(x, MARGIN + window.columns * window.scale), y) for x, y in points]
            line = min(max(route.lanes * window.scale, 0.8), THICKEST)
            canvas.line(points, PALETTE[(0, 2, 3)[number % 3]], line, opacity=0.75, tip=tip)


def runs(route: Route) -> list[list[tuple[int, int]]]:
    """Links chained while they keep their direction."""
    found: list[list[tuple[int, int]]] = []
    for start, end in route.links:
        if found and found[-1][-1] == start and _step(found[-1][-2], found[-1][-1]) == _step(start, end):
            found[-1].append(end)
        else:
            found.append([start, end])
    return found


def _step(start: tuple[int, int], end: tuple[int, int]) -> tuple[int, int]:
    return end[0] - start[0], end[1] - start[1]


def contest(graph: KernelGraph, places: Sequence[PlacedKernel]) -> str:
    """Kernels of a contest graph in place, wires between their centres."""
    window = _Window(graph.height, graph.width, SIDE / max(graph.width, graph.height))
    title = f"{graph.name}: {len(places)} kernels on {graph.width} x {graph.height}"
    canvas = Canvas(*window.size, title)
    canvas.text(MARGIN, 20, title, 12, bold=True)
    canvas.text(MARGIN, 35, "arrows: streams between kernels", 9.5, fill=SOFT)
    _ground(canvas, window)
    centre = {}
    for number, place in enumerate(places):
        width, height = place.size
        split = f"h={place.h} w={place.w} c={place.c} k={place.k}"
        tip = f"{place.name}: {width} x {height} at ({place.x}, {place.y}), {split}"
        x, y = window.at(place.y, place.x)
        fill = PALETTE[number % len(PALETTE)]
        canvas.rect(x, y, width * window.scale, height * window.scale, fill, tip=tip, opacity=0.7)
        centre[place.name] = window.at(place.y + height / 2, place.x + width / 2)
    kernels = graph.kernels
    for src, dst in graph.wires:
        canvas.line([centre[kernels[src].name], centre[kernels[dst].name]], INK, 0.9, opacity=0.5, arrow=True)
    for place in places:
        _label(canvas, place.name, window, (place.y, place.x, place.size[1], place.size[0]))
    return canvas.document()
