"""A loop body as data for the page: modulo slots of a grid, or rows of a line with their registers."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from mapper.machine import Fabric
from mapper.placement import KernelMapping

__all__ = ["body", "reads"]

Reader = int | str


def body(mapping: KernelMapping, fabric: Fabric) -> dict[str, Any]:
    """The drawing that fits the fabric: values fall through rows on a line, and wait in slots elsewhere."""
    return _rows(mapping, fabric) if fabric.topology == "line" else _slots(mapping, fabric)


def reads(mapping: KernelMapping) -> list[tuple[Reader, Reader, int]]:
    """(source, reader, distance) of every hop: the reader takes the value `distance` iterations later."""
    paths = {(p.src, p.dst, p.distance): p for p in mapping.paths}
    found: list[tuple[Reader, Reader, int]] = [(m.source, m.id, m.distance) for m in mapping.moves]
    for edge in mapping.dfg.edges:
        path = paths.get((edge.src, edge.dst, edge.distance))
        routed = path is not None and path.via
        found.append((path.via[-1], edge.dst, path.distances[-1]) if path and routed else
                     (edge.src, edge.dst, edge.distance))  # fmt: skip
    return sorted(set(found), key=lambda read: (str(read[0]), str(read[1]), read[2]))


def _slots(mapping: KernelMapping, fabric: Fabric) -> dict[str, Any]:
    """Operations with PE and cycle; `until` is the cycle at which the last reader takes the value."""
    items: list[dict[str, Any]] = [
        {"n": str(p.node), "op": mapping.dfg[p.node].op, "pe": p.pe, "t": p.cycle, "move": 0} for p in mapping.placed
    ]
    items += [{"n": m.id, "op": "move", "pe": m.pe, "t": m.cycle, "move": 1} for m in mapping.moves]
    index = {item["n"]: number for number, item in enumerate(items)}
    links = [[index[str(source)], index[str(reader)], distance] for source, reader, distance in reads(mapping)]
    for item in items:
        item["until"] = item["t"]
    for source, reader, distance in links:
        taken = items[reader]["t"] + distance * mapping.ii
        items[source]["until"] = max(items[source]["until"], taken)
    return {"kind": "slots", "name": mapping.dfg.name, "ii": mapping.ii, "length": mapping.length_cycles,
            "rows": fabric.rows, "columns": fabric.columns, "topology": fabric.topology,
            "registers": fabric.registers, "dead": sorted(fabric.dead), "items": items, "reads": links}  # fmt: skip


def _rows(mapping: KernelMapping, fabric: Fabric) -> dict[str, Any]:
    """Operations with row, unit and slot; register routes per value; the share of each row's local memory."""
    items = []
    for placed in mapping.placed:
        node = mapping.dfg[placed.node]
        region = node.memory.region if node.memory is not None else None
        items.append({"n": str(placed.node), "op": node.op, "row": placed.cycle, "col": placed.pe % fabric.columns,
                      "slot": placed.slot, "region": region})  # fmt: skip
    held: dict[str, list[list[int]]] = defaultdict(list)
    for use in mapping.registers:
        held[use.value].append([use.row, use.column, use.index])
    index = {item["n"]: number for number, item in enumerate(items)}
    values = [{"v": value, "from": index.get(value, -1), "at": sorted(places)} for value, places in held.items()]
    regions = [[r.id, r.words, r.share, r.tensor] for r in mapping.dfg.regions]
    edges = [[index[str(e.src)], index[str(e.dst)], e.distance] for e in mapping.dfg.edges]
    used = 1 + max((p.cycle for p in mapping.placed), default=0)
    return {"kind": "rows", "name": mapping.dfg.name, "rows": used, "of": fabric.rows, "columns": fabric.columns,
            "ii": mapping.ii, "items": items, "values": values, "regions": regions, "reads": edges}  # fmt: skip
