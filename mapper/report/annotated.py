"""`annotated.onnx`: the same model with where, cycles and bytes as metadata of each node; opens in Netron.

Only `metadata_props` are added: graph, weights and semantics stay byte for byte what they were.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

__all__ = ["annotate"]

SIZE_LIMIT_BYTES = 64 << 20


def annotate(source: Path | str, report: Mapping[str, Any]) -> bytes | None:
    """The annotated model; None where the file is too large to be copied into the outputs."""
    model = _model(source)
    if model is None:
        return None
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for op in report["ops"]:
        for name in op.get("sources", ()):
            rows[name].append(op)
    hosted = {name for op in report["host_ops"] for name in op.get("sources", (op["name"],))}
    fates = {node["name"]: node["fate"] for node in report["nodes"]}
    for number, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{number}"
        facts = _facts(rows.get(name, []), name in hosted, fates.get(name, ""))
        for key, value in facts.items():
            entry = node.metadata_props.add()
            entry.key, entry.value = f"mapper.{key}", value
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _model(source: Path | str) -> onnx.ModelProto | None:
    if isinstance(source, str) and source.startswith("zoo:"):
        from importlib import import_module

        built: onnx.ModelProto = import_module("mapper.models.zoo").build(source.removeprefix("zoo:"))
        return built
    if Path(source).stat().st_size > SIZE_LIMIT_BYTES:
        return None
    return onnx.load(str(source), load_external_data=False)


def _facts(ops: list[Mapping[str, Any]], hosted: bool, fate: str) -> dict[str, str]:
    if hosted:
        return {"where": "host"}
    if not ops:
        return {"fate": fate} if fate else {}
    moved = sum(level["read_bytes"] + level["write_bytes"] for op in ops for level in op["levels"].values())
    return {
        "where": "; ".join(op["where"] for op in ops),
        "cycles": str(sum(op["cycles"] for op in ops)),
        "bytes": str(moved),
        "movement_pj": repr(sum(op["movement_pj"] for op in ops)),
    }
