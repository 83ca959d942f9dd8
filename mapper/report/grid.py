"""A loop body on a grid: one picture of the array per modulo slot, operations as cells, reads as arrows."""

from __future__ import annotations

from mapper.machine import Fabric
from mapper.placement import KernelMapping

from .canvas import INK, PALETTE, SOFT, Canvas
from .view_body import Reader, reads

__all__ = ["kernel"]

CELL, PITCH, GAP, HEAD = 34.0, 46.0, 22.0, 48.0
WIDTH = 660.0  # about a column of text; wider arrays take more

Point = tuple[float, float]


def kernel(mapping: KernelMapping, fabric: Fabric) -> str:
    """Slots side by side, as many to a line as fit the width."""
    panel = fabric.columns * PITCH + GAP
    across = min(mapping.ii, max(1, int((WIDTH - GAP) // panel)))
    down = -(-mapping.ii // across)
    high = fabric.rows * PITCH + GAP + 6
    canvas = Canvas(max(across * panel + GAP, 320), down * high + HEAD, f"{mapping.dfg.name}: II {mapping.ii}")
    shape = f"{fabric.rows} x {fabric.columns} {fabric.topology}"
    canvas.text(
        GAP, 18, f"{mapping.dfg.name} on a {shape}: II {mapping.ii}, length {mapping.length_cycles}", 12, bold=True
    )
    canvas.text(GAP, 33, "blue: operation; orange: MOVE; arrows: values read in this slot", 9.5, fill=SOFT)
    origin = {slot: (GAP + slot % across * panel, HEAD + 12 + slot // across * high) for slot in range(mapping.ii)}
    for slot, corner in origin.items():
        _panel(canvas, mapping, fabric, slot, corner)
    _values(canvas, mapping, fabric, origin)
    return canvas.document()


def _panel(canvas: Canvas, mapping: KernelMapping, fabric: Fabric, slot: int, corner: Point) -> None:
    canvas.text(corner[0], corner[1] - 4, f"slot {slot}", 10, bold=True)
    for pe in range(fabric.size):
        x, y = _place(pe, fabric, corner)
        dead = divmod(pe, fabric.columns) in fabric.dead
        canvas.rect(x, y, CELL, CELL, "#000000" if dead else "#f0f0f0", stroke="#d0d0d0", radius=3)
    for placed in mapping.placed:
        if placed.cycle % mapping.ii == slot:
            op = mapping.dfg[placed.node].op
            tip = f"node {placed.node} {op}, PE {placed.pe}, cycle {placed.cycle}"
            _cell(canvas, _place(placed.pe, fabric, corner), PALETTE[0], str(placed.node), op, tip)
    for move in mapping.moves:
        if move.cycle % mapping.ii == slot:
            tip = f"{move.id} copies {move.source}, PE {move.pe}, cycle {move.cycle}"
            _cell(canvas, _place(move.pe, fabric, corner), PALETTE[1], move.id, "move", tip)


def _place(pe: int, fabric: Fabric, corner: Point) -> Point:
    row, column = divmod(pe, fabric.columns)
    return corner[0] + column * PITCH, corner[1] + row * PITCH


def _cell(canvas: Canvas, place: Point, fill: str, name: str, op: str, tip: str) -> None:
    x, y = place
    ink = "#ffffff" if fill == PALETTE[0] else "#111111"
    canvas.rect(x, y, CELL, CELL, fill, tip=tip, radius=3)
    canvas.text(x + CELL / 2, y + 15, name, 12, fill=ink, anchor="middle", bold=True)
    canvas.text(x + CELL / 2, y + 27, op[:7], 8, fill=ink, anchor="middle")


def _values(canvas: Canvas, mapping: KernelMapping, fabric: Fabric, origin: dict[int, Point]) -> None:
    """An arrow inside the reader's panel from the element that holds the value."""
    at: dict[Reader, tuple[int, int]] = {p.node: (p.pe, p.cycle) for p in mapping.placed}
    at |= {m.id: (m.pe, m.cycle) for m in mapping.moves}
    for source, reader, _ in reads(mapping):
        pe, (target, cycle) = at[source][0], at[reader]
        if pe != target:
            corner = origin[cycle % mapping.ii]
            start, end = _edges(_centre(pe, fabric, corner), _centre(target, fabric, corner), fabric.topology)
            canvas.line([start, end], INK, 1.4, arrow=True, tip=f"{source} to {reader}")


def _centre(pe: int, fabric: Fabric, corner: Point) -> Point:
    x, y = _place(pe, fabric, corner)
    return x + CELL / 2, y + CELL / 2


def _edges(source: Point, target: Point, topology: str) -> tuple[Point, Point]:
    """From border to border; a link around the edge of a torus comes in as a stub from outside."""
    dx, dy = target[0] - source[0], target[1] - source[1]
    length = max(abs(dx), abs(dy))
    ux, uy = dx / length, dy / length
    if topology == "torus" and length > 1.5 * PITCH:
        ux, uy = -ux, -uy
        source = (target[0] - ux * PITCH, target[1] - uy * PITCH)
    half = CELL / 2
    return (source[0] + ux * half, source[1] + uy * half), (target[0] - ux * half, target[1] - uy * half)
