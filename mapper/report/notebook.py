"""How machines, graphs and loop bodies draw themselves in a notebook. Called by the classes themselves."""

from __future__ import annotations

from html import escape

from mapper.dfg import Dfg
from mapper.errors import clean
from mapper.ir import Graph, Op, Opaque, View
from mapper.machine import Machine

from .canvas import INK, PALETTE, SOFT, Canvas
from .text import quantity
from .view_graph import layers

__all__ = ["dfg_svg", "graph_html", "machine_svg"]

NODE_WIDTH, NODE_HEIGHT, ACROSS, DOWN = 84.0, 26.0, 112.0, 36.0
MOST_OPERATORS, MOST_ELEMENTS = 200, 16


def dfg_svg(dfg: Dfg) -> str:
    """Operations in layers from left to right; dashed colours mark values of earlier iterations."""
    position = {node: place for place, node in enumerate(dfg.order)}
    forward = [(position[e.src], position[e.dst]) for e in dfg.edges if e.distance == 0]
    places = layers(len(dfg.order), forward)
    wide, high = 1 + max((p[0] for p in places), default=0), 1 + max((p[1] for p in places), default=0)
    canvas = Canvas(wide * ACROSS + 20, high * DOWN + 40, dfg.name)
    canvas.text(10, 18, f"{dfg.name}: {len(dfg.nodes)} operations", 12, bold=True)
    at = {node: (10 + places[i][0] * ACROSS, 30 + places[i][1] * DOWN) for node, i in position.items()}
    for edge in dfg.edges:
        (x1, y1), (x2, y2) = at[edge.src], at[edge.dst]
        ends = [(x1 + NODE_WIDTH, y1 + NODE_HEIGHT / 2), (x2, y2 + NODE_HEIGHT / 2)]
        later = f", {edge.distance} iterations later" if edge.distance else ""
        colour = PALETTE[5] if edge.distance else INK
        canvas.line(ends, colour, 1, opacity=0.6, arrow=True, tip=f"{edge.src} to {edge.dst}{later}")
    for node in dfg.nodes:
        x, y = at[node.id]
        canvas.rect(x, y, NODE_WIDTH, NODE_HEIGHT, PALETTE[4], radius=3)
        canvas.text(x + NODE_WIDTH / 2, y + 17, f"{node.id} {node.op}"[:14], 10, anchor="middle")
    return canvas.document()


def machine_svg(machine: Machine) -> str:
    """Memories from the backing store inwards, and a corner of the array."""
    fabric = machine.fabric
    rows, columns = min(fabric.rows, MOST_ELEMENTS), min(fabric.columns, MOST_ELEMENTS)
    top = 44 + 26 * len(machine.memories)
    canvas = Canvas(460, top + rows * 14 + 24, machine.name)
    canvas.text(10, 18, f"{machine.name}: {fabric.rows} x {fabric.columns} {fabric.topology}", 12, bold=True)
    canvas.text(10, 33, f"{quantity(machine.clock_hz, 'Hz')}, energies: {machine.energy.technology}", 9.5, fill=SOFT)
    for number, memory in enumerate(machine.memories):
        y = 42 + number * 26
        canvas.rect(10 + 8 * number, y, 440 - 16 * number, 22, PALETTE[(4, 2, 1, 3)[number % 4]], opacity=0.6, radius=3)
        size = quantity(memory.capacity_bytes, "B") if memory.capacity_bytes else "unbounded"
        price = f"{memory.read_pj_per_byte:g} / {memory.write_pj_per_byte:g} pJ/B"
        canvas.text(18 + 8 * number, y + 15, f"{memory.name}: {memory.instances:,} x {size}, {price}", 10)
    for row in range(rows):
        for column in range(columns):
            dead = (row, column) in fabric.dead
            canvas.rect(10 + column * 14, top + row * 14, 12, 12, "#000000" if dead else PALETTE[0], radius=2)
    if rows < fabric.rows or columns < fabric.columns:
        canvas.text(10, top + rows * 14 + 12, f"the first {rows} x {columns} elements", 9, fill=SOFT)
    return canvas.document()


def graph_html(graph: Graph) -> str:
    """Operators in order, with loops, multiply-accumulates and the bytes of what they write."""
    rows = "".join(_operator(graph, op) for op in graph.ops[:MOST_OPERATORS])
    more = f"<p>… {len(graph.ops) - MOST_OPERATORS} more operators</p>" if len(graph.ops) > MOST_OPERATORS else ""
    head = "".join(f"<th>{word}</th>" for word in ("operator", "type", "loops", "MACs", "writes"))
    words = f"{len(graph.ops)} operators, {graph.macs:,} MACs, {graph.params:,} parameters"
    return (f"<p><b>{escape(clean(graph.name))}</b>: {words}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>{more}")  # fmt: skip


def _operator(graph: Graph, op: Op | View | Opaque) -> str:
    loops = " x ".join(f"{name} {extent}" for name, extent in op.extents.items()) if isinstance(op, Op) else "-"
    written = quantity(sum(graph.tensor(name).bytes for name in op.outputs), "B")
    cells = (clean(op.name), clean(op.op_type), clean(loops), f"{op.macs:,}", written)
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
