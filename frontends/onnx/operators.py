"""What becomes of each operator, read off the tables that the frontend itself goes by; `mapper ops` prints it.

benchmarks/node_cases.py holds these claims against every node case of the onnx package.
"""

from __future__ import annotations

from typing import Any, Literal

from onnx import defs

from . import gather, movement, scatter, sources
from .contrib import BODIES
from .control import CONTROL
from .opaque import REASONS
from .sequences import SEQUENCES
from .table import LOWERINGS

__all__ = ["claim", "operator_table"]

Claim = Literal["fabric", "movement", "reading", "body", "host"]
MEANING: dict[Claim, str] = {
    "fabric": "loop nests on the fabric",
    "movement": "views and loop nests that only move data",
    "reading": "resolved while the model is read (shapes, branches, loops, sequences)",
    "body": "loop nests by the function body that defines it",
    "host": "runs on the host, its bytes charged",
}
_MOVES = frozenset((*movement.TABLE, *gather.TABLE, *scatter.TABLE, *sources.TABLE, "Resize", "Upsample", "Identity"))


def claim(domain: str, op_type: str, schema: Any = None) -> Claim:
    """How the frontend treats an operator in its usual form."""
    if domain == "" and op_type in _MOVES:
        return "movement"
    if op_type in LOWERINGS.get(domain, {}):
        return "fabric"
    if domain == "" and (op_type in CONTROL or op_type in SEQUENCES or op_type in ("Shape", "Size")):
        return "reading"
    if schema is not None and (schema.has_function or schema.has_context_dependent_function):
        return "body"
    return "host"


def _rows() -> list[tuple[str, int, Claim, str]]:
    rows: list[tuple[str, int, Claim, str]] = []
    for schema in defs.get_all_schemas():
        domain = "" if schema.domain == "ai.onnx" else schema.domain
        kind = claim(domain, schema.name, schema)
        name = f"{domain}.{schema.name}" if domain else schema.name
        reason = REASONS.get(schema.name, "it has no loop-nest form here") if kind == "host" else ""
        rows.append((name, schema.since_version, kind, reason))
    known = {name for name, _, _, _ in rows}
    fused: dict[str, Claim] = {name: "body" for name in BODIES}
    fused |= {name: "fabric" for name in LOWERINGS["com.microsoft"]}
    rows += [(f"com.microsoft.{name}", 1, kind, "") for name, kind in fused.items() if name not in known]
    return sorted(rows)


def operator_table() -> str:
    """Every operator of the installed ONNX, when it last changed, and what becomes of it."""
    rows = _rows()
    width = max(len(name) for name, _, _, _ in rows)
    lines = [f"{kind:9} {meaning}" for kind, meaning in MEANING.items()]
    lines += ["refused   everything else, and any use that a shape contradicts, by name", ""]
    for name, since, kind, reason in rows:
        lines.append(f"{name:{width}}  since {since:<3} {kind:9}{(' ' + reason) if reason else ''}".rstrip())
    return "\n".join(lines)
