"""Loop kernels of the IMAX3 linear array: a JSON file with nodes, memory regions and host constants.

The file's `srcs` become edges (one per distinct source, in the order given); what a load or store needs from
its address, data and condition goes into :class:`mapper.dfg.MemoryUse`. Every error is one line that names
the file and the culprit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mapper.dfg import Dfg, DfgError, Edge, MemoryUse, Node, Region
from mapper.errors import InputError

__all__ = ["KIND", "load", "parse", "recognises"]

KIND = "dfg"

KINDS = ("exe", "cex", "load", "store")


def recognises(path: Path, head: bytes) -> bool:
    """Is this a kernel file of the linear array? `loop_levels` occurs in no other format read here."""
    return path.suffix == ".json" and b'"loop_levels"' in head and head.lstrip().startswith(b"{")


def load(path: Path) -> Dfg:
    """Read a kernel file. Raises :class:`mapper.errors.InputError`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the kernel: {error.strerror}", str(path)) from None
    except ValueError as error:
        raise InputError(f"the kernel is not JSON: {error}", str(path)) from None
    return parse(data, str(path))


def parse(data: Any, source: str = "") -> Dfg:
    """The loop body of an already decoded kernel file."""
    if not isinstance(data, dict):
        raise InputError("a kernel is an object with nodes, regions and loop_levels", source)
    records = _field(data, "nodes", list, source)
    nodes = tuple(_node(record, source) for record in records)
    edges = tuple(edge for record in records for edge in _edges(record, source))
    try:
        dfg = Dfg(
            name=_field(data, "name", str, source),
            nodes=nodes,
            edges=edges,
            regions=tuple(_region(record, source) for record in _field(data, "regions", list, source)),
            loop_levels=_field(data, "loop_levels", int, source),
            loop_host=tuple(_field(data, "loop_host", list, source)),
            complete=data.get("complete", True) is not False,
            source=source,
        )
    except DfgError as error:
        raise InputError(str(error), source) from None
    _check_references(dfg, source)
    return dfg


def _field(record: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    value = record.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"field {name!r} is {value!r}, expected {kind.__name__}", where)
    return value


def _integers(record: Mapping[str, Any], name: str, where: str) -> tuple[int, ...]:
    value = record.get(name, [])
    if not isinstance(value, list) or any(not isinstance(x, int) or isinstance(x, bool) for x in value):
        raise InputError(f"field {name!r} is {value!r}, expected a list of integers", where)
    return tuple(value)


def _optional(record: Mapping[str, Any], name: str, where: str) -> int | None:
    return None if record.get(name) is None else int(_field(record, name, int, where))


def _where(record: Any, source: str) -> str:
    if not isinstance(record, dict):
        raise InputError(f"{record!r} is no node or region, expected an object", source)
    return f"{source}: id {record.get('id')!r}"


def _region(record: Any, source: str) -> Region:
    where = _where(record, source)
    share = record.get("vendor_share")
    if share is not None and share not in (0.25, 0.5, 1.0):
        raise InputError(f"field 'vendor_share' is {share!r}, expected 0.25, 0.5, 1.0 or null", where)
    return Region(
        id=_field(record, "id", int, where),
        words=_optional(record, "words", where),
        share=share,
        may_split=bool(record.get("split_ok", False)),
    )


def _node(record: Any, source: str) -> Node:
    where = _where(record, source)
    kind = record.get("kind")
    if kind not in KINDS:
        raise InputError(f"field 'kind' is {kind!r}, expected one of {', '.join(KINDS)}", where)
    stages = record.get("ops", [])
    if not isinstance(stages, list) or any(not isinstance(op, str) for op in stages):
        raise InputError(f"field 'ops' is {stages!r}, expected a list of operation names", where)
    return Node(
        id=_field(record, "id", int, where),
        op=record.get("op") or (stages[0] if stages else str(kind).upper()),
        kind=kind,
        stages=tuple(stages),
        host=_integers(record, "host", where),
        self_update=bool(record.get("self_update", False)),
        memory=_memory(record, where) if kind in ("load", "store") else None,
        pin=_pin(record, where),
    )


def _memory(record: Mapping[str, Any], where: str) -> MemoryUse:
    return MemoryUse(
        region=_field(record, "region", int, where),
        descriptor=_field(record, "lmm", int, where),
        base=_optional(record, "base", where),
        offset=_optional(record, "offs", where),
        data=_field(record, "data", int, where) if record["kind"] == "store" else None,
        predicate=_optional(record, "pred", where),
        pair=_optional(record, "pair", where),
    )


def _pin(record: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    pin = _integers(record, "vendor_pin", where) if record.get("vendor_pin") is not None else ()
    if pin and (len(pin) != 2 or pin[0] < 0 or not 0 <= pin[1] < 4):
        raise InputError(f"field 'vendor_pin' is {list(pin)!r}, expected [row, column 0..3]", where)
    return (pin[0], pin[1]) if pin else None


def _edges(record: Mapping[str, Any], source: str) -> tuple[Edge, ...]:
    sources = dict.fromkeys(_integers(record, "srcs", _where(record, source)))
    return tuple(Edge(src, record["id"], 0, operand) for operand, src in enumerate(sources))


def _check_references(dfg: Dfg, source: str) -> None:
    """Every address, data and condition is among the node's sources; every region is declared."""
    regions = {region.id for region in dfg.regions}
    for node in dfg.nodes:
        if node.memory is None:
            continue
        if node.memory.region not in regions:
            raise InputError(f"node {node.id} uses region {node.memory.region}, which the file lacks", source)
        use = node.memory
        fed = {edge.src for edge in dfg.predecessors[node.id]}
        for name, value in (("base", use.base), ("offs", use.offset), ("data", use.data), ("pred", use.predicate)):
            if value is not None and value not in fed:
                raise InputError(f"node {node.id} names {value} as {name!r} but not among its sources", source)
        if use.pair is not None and (use.pair not in {n.id for n in dfg.nodes} or dfg[use.pair].memory is None):
            raise InputError(f"node {node.id} is paired with {use.pair}, which is no memory operation", source)
