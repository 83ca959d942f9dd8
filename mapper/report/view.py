"""What the page shows, as plain data: numbered items, the fabric by what was decided, the graph, the table.

Items are operators of a model, nodes of a loop body or kernels of a contest graph. Everything on the page refers to
them by number, so no name ever becomes an identifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

from mapper.bounds import op_bound_bytes
from mapper.check_contest import kernel_facts
from mapper.documents import ContestDecision, Decision, KernelDecision
from mapper.ir import Graph, Op, View
from mapper.mapping import Mapping as FabricMapping
from mapper.mapping import Stage
from mapper.placement import KernelMapping

from . import view_body, view_floor, view_graph, view_time
from .text import quantity

__all__ = ["Cell", "Column", "Shown", "shown"]

Cell = tuple[str, float | None]  # what is written, and by what it sorts (None: by the words)


@dataclass(frozen=True, slots=True)
class Column:
    """A heading of the table, and what it means."""

    title: str
    help: str = ""


@dataclass(frozen=True)
class Shown:
    """`data` is drawn by the script; the table is written into the page, so that it can be read without one."""

    data: dict[str, Any]
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def shown(decision: Decision, report: Mapping[str, Any]) -> Shown:
    """Everything the page needs for a decision of any kind."""
    if isinstance(decision, KernelDecision):
        return _kernel(decision)
    if isinstance(decision, ContestDecision):
        return _contest(decision)
    return _model(decision, report)


def _number(value: float) -> Cell:
    return f"{value:,}", float(value)


def _bytes(value: float) -> Cell:
    return quantity(value, "B"), float(value)


def _joules(value_pj: float) -> Cell:
    return quantity(value_pj * 1e-12, "J"), float(value_pj)


# -- loop bodies --------------------------------------------------------------------------------------------------


def _kernel(decision: KernelDecision) -> Shown:
    mapping, fabric = decision.mapping, decision.machine.fabric
    drawing = view_body.body(mapping, fabric)
    items, arrows = drawing["items"], [(source, reader) for source, reader, _ in drawing["reads"]]
    facts = [_node_facts(mapping, item, number, drawing) for number, item in enumerate(items)]
    data = {
        "items": [{"n": item["n"], "t": item["op"], "f": fact} for item, fact in zip(items, facts, strict=True)],
        "fabric": drawing, "bodies": [], "graph": _body_graph(drawing, arrows),
    }  # fmt: skip
    on_line = drawing["kind"] == "rows"
    columns = (Column("node"), Column("operation"), Column("row" if on_line else "cycle"),
               Column("unit" if on_line else "PE"), Column("slot"), Column("reads"), Column("read by"))  # fmt: skip
    rows = [_node_row(item, number, drawing) for number, item in enumerate(items)]
    return Shown(data, columns, tuple(rows))


def _node_row(item: Mapping[str, Any], number: int, drawing: Mapping[str, Any]) -> tuple[Cell, ...]:
    if drawing["kind"] == "rows":
        place: tuple[Cell, ...] = (_number(item["row"]), _number(item["col"]), (item["slot"], None))
    else:
        place = (_number(item["t"]), _number(item["pe"]), _number(item["t"] % drawing["ii"]))
    name: Cell = (item["n"], float(item["n"])) if item["n"].isdecimal() else (item["n"], None)
    return (name, (item["op"], None), *place, *_partners(number, drawing))


def _partners(number: int, drawing: Mapping[str, Any]) -> tuple[Cell, Cell]:
    items = drawing["items"]
    taken = [items[s]["n"] + (f" ({d} earlier)" if d else "") for s, r, d in drawing["reads"] if r == number]
    given = [items[r]["n"] + (f" ({d} later)" if d else "") for s, r, d in drawing["reads"] if s == number]
    return (", ".join(taken), None), (", ".join(given), None)


def _node_facts(
    mapping: KernelMapping, item: Mapping[str, Any], number: int, drawing: Mapping[str, Any]
) -> list[list[str]]:
    taken, given = _partners(number, drawing)
    if drawing["kind"] == "rows":
        place = [["row, unit", f"{item['row']}, {item['col']}"], ["slot", item["slot"]]]
        if item["region"] is not None:
            place.append(["memory region", str(item["region"])])
    else:
        row, column = divmod(item["pe"], drawing["columns"])
        waits = item["until"] - item["t"]
        place = [["PE", f"{item['pe']} (row {row}, column {column})"],
                 ["cycle", f"{item['t']} = slot {item['t'] % mapping.ii} of {mapping.ii}"],
                 ["value waits", f"{waits} cycles for its last reader" if waits else "not read"]]  # fmt: skip
    return [["operation", item["op"]], *place, ["reads", taken[0] or "-"], ["read by", given[0] or "-"]]


def _body_graph(drawing: Mapping[str, Any], arrows: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Values of earlier iterations are drawn, but do not push their readers back."""
    count = len(drawing["items"])
    later = {(s, r) for s, r, d in drawing["reads"] if d}
    places = view_graph.layers(count, [arrow for arrow in arrows if arrow not in later])
    return {"blocks": [], "at": [[0, *place] for place in places], "cost": [0] * count, "unit": "",
            "arrows": [[s, r, d, ""] for s, r, d in drawing["reads"]]}  # fmt: skip


# -- contest graphs -----------------------------------------------------------------------------------------------


def _contest(decision: ContestDecision) -> Shown:
    drawing = view_floor.contest(decision.graph, decision.places)
    facts = kernel_facts(decision.graph, decision.places)
    columns = (Column("kernel"), Column("kind"), Column("time", "in the contest's unit; the slowest kernel counts"),
               Column("memory", "words in the fullest element"), Column("width"), Column("height"),
               Column("x"), Column("y"), Column("turned"), Column("split", "h, w, c, k"))  # fmt: skip
    kinds = {node.name: node.kind for node in decision.graph.kernels}
    items, rows = [], []
    for place, area in zip(decision.places, drawing["areas"], strict=True):
        time, memory = facts[place.name]
        split = f"h={place.h} w={place.w} c={place.c} k={place.k}"
        area["v"] = [time, memory, area["h"] * area["w"]]
        cells = ((place.name, None), (kinds[place.name], None), _number(round(time, 2)), _number(round(memory, 2)),
                 _number(area["w"]), _number(area["h"]), _number(place.x), _number(place.y),
                 _number(place.rotation), (split, None))  # fmt: skip
        rows.append(cells)
        listed = [[column.title, cell[0]] for column, cell in zip(columns[1:], cells[1:], strict=True)]
        items.append({"n": place.name, "t": kinds[place.name], "f": listed})
    drawing["overlays"] = [["kernel time", ""], ["memory", "words"], ["area", "elements"]]
    places = view_graph.layers(len(items), [(s, t) for s, t in drawing["wires"]])
    graph = {"blocks": [], "at": [[0, *place] for place in places], "cost": [a["v"][0] for a in drawing["areas"]],
             "unit": "time", "arrows": [[s, t, 0, ""] for s, t in drawing["wires"]]}  # fmt: skip
    return Shown({"items": items, "fabric": drawing, "bodies": [], "graph": graph}, columns, tuple(rows))


# -- models -------------------------------------------------------------------------------------------------------


def _model(mapping: FabricMapping, report: Mapping[str, Any]) -> Shown:
    rows = {row["name"]: row for row in (*report["ops"], *report["host_ops"])}
    ops = [op for op in mapping.graph.ops if op.name in rows and not isinstance(op, View)]
    index = {op.name: number for number, op in enumerate(ops)}
    stage_of = {stage.op: stage for stage in mapping.stages}
    fabric = (view_floor.pipeline(mapping, rows, index) if mapping.schedule == "pipeline"
              else view_time.sequence(mapping, index))  # fmt: skip
    loops: dict[str, list[Mapping[str, Any]]] = {}
    for found in report.get("loops", []):
        loops.setdefault(found["op"], []).append(found)
    columns = _model_columns(report)
    cells = tuple(_model_row(mapping, op, rows[op.name], stage_of.get(op.name), report) for op in ops)
    items = []
    for op, row in zip(ops, cells, strict=True):
        facts = [[c.title, cell[0]] for c, cell in zip(columns[1:], row[1:], strict=True) if cell[0]]
        facts += _loop_facts(loops.get(op.name, []))
        facts += _tensor_facts(mapping.graph, op)
        item: dict[str, Any] = {"n": op.name, "t": op.op_type, "f": facts}
        if op.name in stage_of and isinstance(op, Op):
            item["s"] = view_time.stage_details(mapping, stage_of[op.name], op)
        items.append(item)
    data = {
        "items": items, "fabric": fabric,
        "bodies": [view_body.body(body, mapping.machine.fabric) for body in mapping.bodies],
        "memories": [[m.name, m.capacity_bytes] for m in mapping.machine.memories if m.capacity_bytes],
        "graph": _model_graph(mapping.graph, ops, index, rows),
    }  # fmt: skip
    return Shown(data, columns, cells)


def _loop_facts(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """II of an operator's bodies, why it is no lower, and how busy they keep the fabric."""
    facts = []
    for row in rows:
        title = "loop body" if row["role"] == "body" else "body that finishes"
        facts.append([title, f"II {row['ii']}, at least {row['ii_bound']} ({row['why']})"])
        ports = "" if row["ports_busy"] is None else f", {row['ports_busy']:.0%} of the memory ports"
        times = f" in {row['replicas']} replicas" if row["replicas"] > 1 else ""
        facts.append(["keeps busy", f"{row['slots_busy']:.0%} of the slots{ports}{times}"])
    return facts


def _model_columns(report: Mapping[str, Any]) -> tuple[Column, ...]:
    levels = [Column(name, f"bytes read from and written to {name}") for name in report["totals"]["levels"]]
    return (Column("operator"), Column("type"), Column("where"),
            Column("why this long", "the resource and the phase that take most of the stage's time"), Column("cycles"),
            Column("MACs"), Column("movement"), Column("energy"), Column("bytes x hops"), *levels,
            Column("touches", "every element the operator uses, once: the least it could exchange with any memory "
                   "outside the processing elements, were it alone"))  # fmt: skip


def _model_row(
    mapping: FabricMapping, op: Any, row: Mapping[str, Any], stage: Stage | None, report: Mapping[str, Any]
) -> tuple[Cell, ...]:
    levels = list(report["totals"]["levels"])
    if stage is None:
        outer = [_bytes(row["bytes"]), *[("", 0.0)] * (len(levels) - 1)]
        return ((op.name, None), (op.op_type, None), ("host", None), (row["reason"], None), *[("", 0.0)] * 5,
                *outer, _bytes(row["bytes"]))  # fmt: skip
    moved = [_bytes(_moved(row["levels"].get(name, {}))) for name in levels]
    return ((op.name, None), (op.op_type, None), (row["where"], None), (_limit(stage), None), _number(row["cycles"]),
            _number(row["macs"]), _joules(row["movement_pj"]), _joules(row["energy_pj"]), _bytes(row["hop_bytes"]),
            *moved, _bytes(_touched(mapping.graph, op)))  # fmt: skip


def _moved(level: Mapping[str, Any]) -> int:
    return int(level.get("read_bytes", 0)) + int(level.get("write_bytes", 0))


def _touched(graph: Graph, op: Op) -> int:
    """The compulsory part of the operator's own bound: with a memory of unlimited size."""
    return op_bound_bytes(graph, op, 1 << 60).compulsory_bytes


def _limit(stage: Stage) -> str:
    """The busiest resource and its longest phase."""
    busy: dict[str, int] = {}
    for phase in stage.phases:
        busy[phase.resource] = busy.get(phase.resource, 0) + phase.cycles * phase.times
    if not busy:
        return ""
    resource = max(busy, key=lambda name: (busy[name], name))
    longest = max((p for p in stage.phases if p.resource == resource), key=lambda p: p.cycles * p.times)
    share = longest.cycles * longest.times / busy[resource] if busy[resource] else 0.0
    return f"{resource}: {longest.name} {share:.0%}"


def _tensor_facts(graph: Graph, op: Any) -> list[list[str]]:
    listed = []
    for label, names in (("in", op.inputs), ("out", op.outputs)):
        for name in names:
            tensor = graph.tensor(name)
            shape = " x ".join(map(str, tensor.shape)) or "scalar"
            listed.append([label, f"{name}: {tensor.dtype} {shape}, {quantity(tensor.bytes, 'B')}"])
    return listed


def _model_graph(
    graph: Graph, ops: Sequence[Any], index: Mapping[str, int], rows: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    writer = {name: index[op.name] for op in ops for name in op.outputs}
    arrows: list[list[Any]] = []
    for number, op in enumerate(ops):
        roots = dict.fromkeys(graph.root(name) for name in op.inputs)
        arrows += [[writer[root], number, 0, graph.tensor(root).bytes] for root in roots if root in writer]
    pairs = [(source, target) for source, target, *_ in arrows]
    fold = view_graph.blocks(len(ops), pairs)
    at: list[list[int]] = [[] for _ in ops]
    for block in range(max(fold, default=0) + 1):
        members = [i for i, b in enumerate(fold) if b == block]
        local = {number: place for place, number in enumerate(members)}
        inner = [(local[s], local[t]) for s, t in pairs if s in local and t in local]
        for number, place in zip(members, view_graph.layers(len(members), inner), strict=True):
            at[number] = [block, *place]
    cost = [round(rows[op.name].get("movement_pj", 0.0), 1) for op in ops]
    return {"blocks": _block_names(ops, fold) if ops else [], "at": at, "cost": cost, "unit": "pJ", "arrows": arrows}


def _block_names(ops: Sequence[Any], fold: Sequence[int]) -> list[str]:
    """The shared beginning of a block's names where it tells blocks apart, else the first and the last name."""
    inside = [[op.name for op, b in zip(ops, fold, strict=True) if b == block] for block in range(max(fold) + 1)]
    shared = [commonprefix(names).rstrip("/._-") for names in inside]
    return [
        short if short and shared.count(short) == 1 else names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        for short, names in zip(shared, inside, strict=True)
    ]
