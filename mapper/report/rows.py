"""A loop body on a linear array: rows from top to bottom, four units a row, values falling through row registers."""

from __future__ import annotations

from collections import defaultdict

from mapper.machine import Fabric
from mapper.placement import KernelMapping, Placed

from .canvas import PALETTE, SOFT, Canvas

__all__ = ["kernel"]

UNIT, ROW, LEFT, HEAD = 112.0, 38.0, 30.0, 56.0
SLOTS = {"exe": (0, PALETTE[0]), "cex": (1, PALETTE[3]), "mop1": (2, PALETTE[2]), "mop0": (3, PALETTE[5])}
REGISTERS_PER_UNIT = 4


def kernel(mapping: KernelMapping, fabric: Fabric) -> str:
    """Used rows only; each unit shows its four slots above and its registers as dots below."""
    last = max(
        [p.cycle for p in mapping.placed] + [use.row for use in mapping.registers if use.row < fabric.rows - 1] + [0]
    )
    width = LEFT + fabric.columns * UNIT + 20
    canvas = Canvas(width, HEAD + (last + 1) * ROW + 24, f"{mapping.dfg.name} on {fabric.rows} rows")
    rows = 1 + max((p.cycle for p in mapping.placed), default=0)
    canvas.text(10, 20, f"{mapping.dfg.name}: {rows} rows", 13, bold=True)
    _legend(canvas)
    for row in range(last + 1):
        canvas.text(LEFT - 8, HEAD + row * ROW + 15, str(row), 9, fill=SOFT, anchor="end")
        for column in range(fabric.columns):
            canvas.rect(
                LEFT + column * UNIT, HEAD + row * ROW, UNIT - 6, ROW - 8, "#f4f4f4", stroke="#d8d8d8", radius=2
            )
    _routes(canvas, mapping, fabric, last)
    for placed in mapping.placed:
        _slot(canvas, mapping, fabric, placed.node, placed.pe, placed.cycle, placed.slot)
    return canvas.document()


def _legend(canvas: Canvas) -> None:
    for position, (name, (_, colour)) in enumerate(SLOTS.items()):
        canvas.rect(10 + position * 110, 30, 10, 10, colour)
        words = {"exe": "arithmetic", "cex": "condition", "mop1": "load", "mop0": "load or store"}[name]
        canvas.text(24 + position * 110, 39, words, 9)


def _slot(canvas: Canvas, mapping: KernelMapping, fabric: Fabric, node: int, pe: int, row: int, slot: str) -> None:
    column = pe % fabric.columns
    position, colour = SLOTS[slot]
    width = (UNIT - 6) / 4
    x, y = LEFT + column * UNIT + position * width, HEAD + row * ROW
    op = mapping.dfg[node].op
    canvas.rect(
        x + 1, y + 1, width - 2, ROW - 14, colour, tip=f"node {node}: {op}, row {row}, unit {column}, {slot}", radius=2
    )
    canvas.text(x + width / 2, y + 12, str(node), 9.5, fill="#ffffff", anchor="middle", bold=True)
    canvas.text(x + width / 2, y + 21, op[:6], 7, fill="#ffffff", anchor="middle")


def _routes(canvas: Canvas, mapping: KernelMapping, fabric: Fabric, last: int) -> None:
    """Registers as dots under their unit; lines from the operation to its register and on to the next row's."""
    held: dict[str, dict[int, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for use in mapping.registers:
        if use.row <= last:
            x = LEFT + use.column * UNIT + 14 + use.index * (UNIT - 32) / (REGISTERS_PER_UNIT - 1)
            held[use.value][use.row].append((x, HEAD + use.row * ROW + ROW - 4))
    made = {str(p.node): p for p in mapping.placed}
    for value, rows in held.items():
        if value in made and made[value].cycle in rows:
            canvas.line([_foot(made[value], fabric), rows[made[value].cycle][0]], "#333333", 0.9, opacity=0.6)
        constant = value.startswith("h")
        for row, places in rows.items():
            for x, y in places:
                canvas.rect(
                    x - 1.6, y - 1.6, 3.2, 3.2, SOFT if constant else "#333333", tip=f"value {value} in row {row}"
                )
            for start in rows.get(row - 1, ()):
                canvas.line([start, places[0]], "#333333", 0.9, opacity=0.6, tip=f"value {value}")


def _foot(placed: Placed, fabric: Fabric) -> tuple[float, float]:
    """The middle of the lower border of an operation."""
    x = LEFT + placed.pe % fabric.columns * UNIT + (SLOTS[placed.slot][0] + 0.5) * (UNIT - 6) / 4
    return x, HEAD + placed.cycle * ROW + ROW - 13
