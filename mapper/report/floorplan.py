"""A floorplan: rectangles of cores with labels and stage times, tensors routed over the mesh as trees.

Every rectangle of a pipeline carries its number, with its name where that fits; a list below the floor names all
numbers with their times. Routes are shaded by the load of the busiest link that they pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapper.cost import stage_cycles
from mapper.kgraph import KernelGraph, PlacedKernel
from mapper.mapping import Mapping as FabricMapping
from mapper.mapping import Route

from .canvas import INK, PALETTE, SOFT, Canvas, shade
from .load import link_load

__all__ = ["contest", "pipeline", "runs"]

SIDE, MARGIN, HEAD = 500.0, 14.0, 46.0
LABEL_SIZE, LABEL_LEAST = 10.0, 5.0
NUMBER_LEAST = 3.2  # a number alone may be smaller than a name
LINE, LIST_WIDTH, LIST_SIZE, LINES, LONGEST = 9.0, 165.0, 6.5, 40, 26  # the list below the floor
COLOURED_ROUTES = 4000
COOL = ((198, 219, 239), (8, 48, 107))  # link load, light to dark blue: stage times are yellow to red
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
    wide, high = window.size
    canvas = Canvas(wide, high + _lines(window, len(boxes)) * LINE, title)
    part = "" if window.rows == fabric.rows else f" of {fabric.rows} x {fabric.columns}"
    canvas.text(MARGIN, 18, f"{title}, {window.rows} x {window.columns} cores{part}", 12, bold=True)
    times = [stage_cycles(stage) for stage in mapping.stages]
    slowest, load = max(times, default=1) or 1, link_load(mapping.routes, fabric)
    words = f"yellow to red: stages, 0 to {slowest:,} cycles"
    words += f"; light to dark blue: links, 0 to {load.max():,.0f} bytes" if load.any() else ""
    canvas.text(MARGIN, 34, words, 9.5, fill=SOFT)
    _ground(canvas, window)
    for stage, box, cycles in zip(mapping.stages, boxes, times, strict=True):
        x, y = window.at(box.row, box.column)
        tip = f"{stage.op}: {box.width} x {box.height} cores, {cycles:,} cycles"
        fill = shade(cycles / slowest)
        canvas.rect(x, y, box.width * window.scale, box.height * window.scale, fill, tip=tip, stroke="#555555")
    _routes(canvas, mapping.routes, window, load / max(float(load.max()), 1.0))
    kinds = {op.name: op.op_type for op in mapping.graph.ops}
    for number, (stage, box) in enumerate(zip(mapping.stages, boxes, strict=True), 1):
        ink = "#ffffff" if times[number - 1] > 0.7 * slowest else "#111111"
        place = (box.row, box.column, box.height, box.width)
        name = f"{number} {_role(stage.op, kinds.get(stage.op, ''))}"
        if not _label(canvas, name, window, place, ink, f"{times[number - 1]:,}"):
            _label(canvas, str(number), window, place, ink, least=NUMBER_LEAST)
    _list(canvas, window, [stage.op for stage in mapping.stages], times)
    for row, column in sorted(fabric.dead):
        if row < window.rows and column < window.columns:
            side = max(window.scale, 1.0)
            canvas.rect(*window.at(row, column), side, side, "#000000", tip=f"dead core {row}, {column}")
    return canvas.document()


def _role(name: str, kind: str) -> str:
    """What tells an operator from its neighbours: the last part of its path that is not its type (query/MatMul)."""
    parts = [part for part in name.split("/") if part]
    apart = [part for part in parts if part.lower().rstrip("_0123456789") != kind.lower()]
    return (apart or parts or [name])[-1]


def _ground(canvas: Canvas, window: _Window) -> None:
    x, y = window.at(0, 0)
    canvas.rect(x, y, window.columns * window.scale, window.rows * window.scale, "#f4f4f4", stroke="#999999")


def _columns(window: _Window) -> int:
    """Columns of the list below the floor."""
    return max(1, int((window.size[0] - MARGIN) // LIST_WIDTH))


def _lines(window: _Window, names: int) -> int:
    return min(LINES, -(-names // _columns(window)))


def _list(canvas: Canvas, window: _Window, names: Sequence[str], times: Sequence[int]) -> None:
    """Number, colour, name and time of every stage; of too many, the slowest in their order."""
    lines, slowest = _lines(window, len(names)), max(times, default=1) or 1
    order = sorted(range(len(names)), key=lambda n: (-times[n], n))
    room = lines * _columns(window)
    shown = sorted(order if len(order) <= room else order[: room - 1])
    for place, number in enumerate(shown):
        x, y = _line_at(window, place, lines)
        canvas.rect(x, y - LIST_SIZE * 0.8, LIST_SIZE, LIST_SIZE, shade(times[number] / slowest), stroke="#555555")
        name = names[number] if len(names[number]) <= LONGEST else "…" + names[number][1 - LONGEST :]
        canvas.text(x + LIST_SIZE + 3, y, f"{number + 1} {name}", LIST_SIZE)
        canvas.text(x + LIST_WIDTH - 12, y, f"{times[number]:,}", LIST_SIZE, anchor="end")
    if len(shown) < len(names):
        words = f"{len(names) - len(shown)} faster stages are not listed"
        canvas.text(*_line_at(window, room - 1, lines), words, LIST_SIZE, fill=SOFT)


def _line_at(window: _Window, place: int, lines: int) -> tuple[float, float]:
    return MARGIN + place // lines * LIST_WIDTH, window.size[1] + (place % lines + 0.3) * LINE


def _label(
    canvas: Canvas,
    name: str,
    window: _Window,
    box: tuple[int, int, int, int],
    ink: str = INK,
    below: str = "",
    least: float = LABEL_LEAST,
) -> bool:
    """The name at the largest size that fits, upright where the rectangle is tall; False if it would be tiny.

    A second line stands `below` it where there is room for both.
    """
    row, column, height, width = box
    wide, high = width * window.scale, height * window.scale
    turned = high > 1.6 * wide
    long, short = (high, wide) if turned else (wide, high)
    size = min(LABEL_SIZE, short * 0.7, long * 1.75 / max(len(name), 1))
    if size < least:
        return False
    x, y = window.at(row + height / 2, column + width / 2)
    turn, small = -90 if turned else 0, size * 0.75
    two = bool(below) and small >= least and size + 1.3 * small < short and len(below) * small < long * 1.75
    canvas.text(x, y if two else y + size * 0.35, name, size, anchor="middle", fill=ink, turn=turn, about=(x, y))
    if two:
        canvas.text(x, y + 1.25 * small, below, small, anchor="middle", fill=ink, turn=turn, about=(x, y))
    return True


def _cool(share: float) -> str:
    """The colour of a share of the highest link load."""
    low, high = COOL
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(low, high, strict=True))


def _routes(canvas: Canvas, routes: Sequence[Route], window: _Window, load: np.ndarray) -> None:
    """Straight runs of each tree, a bundle of lanes as a thick line in the middle of its lanes, dark where links are
    busy; `load` is 1 at the busiest link."""
    lines = []
    for route in routes:
        half = (route.lanes - 1) / 2
        down, right = 0.5 + half * route.stride[0], 0.5 + half * route.stride[1]
        tip = f"{route.tensor}: {route.source or 'edge'} to {route.target or 'edge'}, {route.bytes:,} bytes"
        for run in runs(route):
            points = [window.at(r + down, c + right) for r, c in (run[0], run[-1])]
            points = [(min(x, MARGIN + window.columns * window.scale), y) for x, y in points]
            width = min(max(route.lanes * window.scale, 0.8), THICKEST)
            lines.append((max(float(load[r, c]) for r, c in run[:-1]), points, width, tip))
    lines.sort(key=lambda each: each[0])
    for share, points, width, tip in lines[-COLOURED_ROUTES:]:
        canvas.line(points, _cool(share), width, opacity=0.45 + 0.4 * share, tip=tip)


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
