"""A loop body on a grid: one picture of the array per modulo slot, operations as cells, reads as arrows."""

from __future__ import annotations

from mapper.machine import Fabric
from mapper.placement import KernelMapping

from .canvas import INK, PALETTE, SOFT, Canvas

__all__ = ["kernel"]

CELL, GAP, HEAD = 46.0, 34.0, 54.0
PANELS_PER_ROW = 4


def kernel(mapping: KernelMapping, fabric: Fabric) -> str:
    """Slots side by side, four to a line."""
    across = min(PANELS_PER_ROW, mapping.ii)
    down = -(-mapping.ii // across)
    width = across * (fabric.columns * CELL + GAP) + GAP
    height = down * (fabric.rows * CELL + GAP + 14) + HEAD
    canvas = Canvas(width, height, f"{mapping.dfg.name} on {fabric.rows} x {fabric.columns} {fabric.topology}")
    canvas.text(GAP / 2, 20, f"{mapping.dfg.name}: II {mapping.ii}, length {mapping.length_cycles}", 13, bold=True)
    canvas.text(GAP / 2, 36, "blue: operation, orange: MOVE; a line leads to the PE that reads the value", 9, fill=SOFT)
    origin = {slot: _origin(slot, across, fabric) for slot in range(mapping.ii)}
    for slot, (x, y) in origin.items():
        _panel(canvas, mapping, fabric, slot, x, y)
    _values(canvas, mapping, fabric, origin)
    return canvas.document()


def _origin(slot: int, across: int, fabric: Fabric) -> tuple[float, float]:
    line, column = divmod(slot, across)
    return GAP / 2 + column * (fabric.columns * CELL + GAP), HEAD + 14 + line * (fabric.rows * CELL + GAP + 14)


def _panel(canvas: Canvas, mapping: KernelMapping, fabric: Fabric, slot: int, x: float, y: float) -> None:
    canvas.text(x, y - 5, f"slot {slot}", 10, bold=True)
    for pe in range(fabric.size):
        row, column = divmod(pe, fabric.columns)
        canvas.rect(x + column * CELL, y + row * CELL, CELL - 3, CELL - 3, "#f2f2f2", stroke="#d0d0d0", radius=3)
    for placed in mapping.placed:
        if placed.cycle % mapping.ii == slot:
            op = mapping.dfg[placed.node].op
            _cell(
                canvas,
                fabric,
                placed.pe,
                x,
                y,
                PALETTE[0],
                str(placed.node),
                op,
                f"node {placed.node} {op}, cycle {placed.cycle}",
            )
    for move in mapping.moves:
        if move.cycle % mapping.ii == slot:
            _cell(
                canvas,
                fabric,
                move.pe,
                x,
                y,
                PALETTE[1],
                move.id,
                "move",
                f"{move.id} copies {move.source}, cycle {move.cycle}",
            )


def _cell(canvas: Canvas, fabric: Fabric, pe: int, x: float, y: float, fill: str, name: str, op: str, tip: str) -> None:
    row, column = divmod(pe, fabric.columns)
    left, top = x + column * CELL, y + row * CELL
    canvas.rect(left, top, CELL - 3, CELL - 3, fill, tip=tip, radius=3)
    canvas.text(left + (CELL - 3) / 2, top + 18, name, 12, fill="#ffffff", anchor="middle", bold=True)
    canvas.text(left + (CELL - 3) / 2, top + 32, op[:9], 8, fill="#ffffff", anchor="middle")


def _values(canvas: Canvas, mapping: KernelMapping, fabric: Fabric, origin: dict[int, tuple[float, float]]) -> None:
    """A short line inside the reader's panel from the neighbour that it reads."""
    at: dict[int | str, tuple[int, int]] = {p.node: (p.pe, p.cycle) for p in mapping.placed}
    at |= {m.id: (m.pe, m.cycle) for m in mapping.moves}
    last = {(p.src, p.dst, p.distance): p.via[-1] for p in mapping.paths if p.via}
    reads: list[tuple[int | str, int | str]] = [(m.source, m.id) for m in mapping.moves]
    reads += [(last.get((e.src, e.dst, e.distance), e.src), e.dst) for e in mapping.dfg.edges]
    for source, reader in sorted(set(reads), key=repr):
        pe, (target, cycle) = at[source][0], at[reader]
        if pe == target:
            continue
        x, y = origin[cycle % mapping.ii]
        start, end = _centre(pe, fabric, x, y), _centre(target, fabric, x, y)
        if abs(start[0] - end[0]) + abs(start[1] - end[1]) > 2 * CELL:  # a wrap-around link: drawn as a stub
            dx, dy = (start[0] - end[0]), (start[1] - end[1])
            length = max(abs(dx), abs(dy))
            start = (end[0] - dx / length * CELL * 0.7, end[1] - dy / length * CELL * 0.7)
        middle = ((start[0] + 2 * end[0]) / 3, (start[1] + 2 * end[1]) / 3)
        canvas.line([start, middle], INK, 1.2, opacity=0.7, arrow=True, tip=f"{source} to {reader}")


def _centre(pe: int, fabric: Fabric, x: float, y: float) -> tuple[float, float]:
    row, column = divmod(pe, fabric.columns)
    return x + column * CELL + (CELL - 3) / 2, y + row * CELL + (CELL - 3) / 2
