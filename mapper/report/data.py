"""The contents of `report.json`: plain dicts with units in their names, absent where they do not apply."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mapper.boundaries import boundary_rows
from mapper.cost import Cost, LevelBytes, OpCost
from mapper.ir import Opaque
from mapper.solver import Outcome

if TYPE_CHECKING:
    from mapper.result import ContestResult, KernelResult, ModelResult, Result

__all__ = ["contest_report", "dump", "kernel_report", "model_report"]

SCHEMA = 1


def dump(document: dict[str, Any]) -> str:
    """JSON text; the same bytes for the same contents."""
    return json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _header(result: Result) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "version": version("dataflow-mapper"),
        "input": {"name": result.loaded.name, "sha256": result.loaded.sha256, "kind": result.loaded.kind},
        "target": result.target,
        "machine": result.machine.name,
        "objective": result.request.objective,
        "seed": result.request.seed,
        "outcome": _outcome(result.outcome),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {"status": outcome.status, "proof": outcome.proof, "objective": outcome.objective}
    if math.isfinite(outcome.bound):
        found |= {"bound": outcome.bound, "gap": outcome.gap}
    if outcome.interrupted or outcome.wall_limited:
        found["stopped"] = "interrupted" if outcome.interrupted else "time limit"
    return found


def model_report(result: ModelResult) -> dict[str, Any]:
    """Totals, bounds, one row per operator of the fabric and per host operator, and the fate of every node."""
    graph, cost, mapping = result.mapping.graph, result.cost, result.mapping
    stage_of = {stage.op: stage for stage in mapping.stages}
    report = _header(result)
    report["totals"] = _totals(result)
    report["bounds"] = boundary_rows(mapping, cost)
    sources = {op.name: list(op.sources) for op in graph.ops}
    report["ops"] = [_op_row(op, stage_of, sources[op.name]) for op in cost.ops if op.stage != "host"]
    report["host_ops"] = _host_rows(result)
    report["nodes"] = [{"name": n.name, "op_type": n.op_type, "fate": n.fate} for n in graph.nodes]
    report["stages"] = len(mapping.stages)
    report["phases"] = _phases(result)
    report["technology"] = result.machine.energy.technology
    report.update(result.facts)
    return report


def _totals(result: ModelResult) -> dict[str, Any]:
    cost, graph = result.cost, result.mapping.graph
    return {
        "macs": graph.macs,
        "params": graph.params,
        "cycles": cost.cycles,
        "interval_cycles": cost.interval_cycles,
        "seconds": cost.seconds,
        "energy_pj": cost.energy_pj,
        "movement_pj": cost.movement_pj,
        "compute_pj": cost.compute_pj,
        "hop_bytes": cost.hop_bytes,
        "levels": _levels(cost),
    }


def _levels(cost: Cost | OpCost) -> dict[str, Any]:
    return {name: _level(level) for name, level in cost.levels}


def _level(level: LevelBytes) -> dict[str, Any]:
    return {"read_bytes": level.read_bytes, "write_bytes": level.write_bytes, "energy_pj": level.energy_pj}


def _op_row(op: OpCost, stage_of: Mapping[str, Any], sources: list[str]) -> dict[str, Any]:
    rect = stage_of[op.name].rect
    lanes = f"lanes {rect.lane}-{rect.lane + rect.lanes - 1}, " if rect.lanes > 1 else ""
    where = f"{lanes}rows {rect.row}-{rect.row + rect.height - 1}, columns {rect.column}-{rect.column + rect.width - 1}"
    return {
        "name": op.name,
        "op_type": op.op_type,
        "where": where,
        "macs": op.macs,
        "cycles": op.cycles,
        "energy_pj": op.movement_pj + op.compute_pj,
        "movement_pj": op.movement_pj,
        "hop_bytes": op.hop_bytes,
        "levels": _levels(op),
        "sources": sources,
    }


def _host_rows(result: ModelResult) -> list[dict[str, Any]]:
    ops = {op.name: op for op in result.mapping.graph.ops if isinstance(op, Opaque)}
    rows = []
    for call in result.mapping.host:
        op = ops[call.op]
        size = sum(result.mapping.graph.tensor(name).bytes for name in (*op.inputs, *op.outputs))
        rows.append({"name": op.name, "op_type": op.op_type, "reason": call.reason, "bytes": size,
                     "sources": list(op.sources)})  # fmt: skip
    return rows


def _phases(result: ModelResult) -> dict[str, int]:
    """Cycles by name of phase, summed over stages."""
    total: dict[str, int] = defaultdict(int)
    for stage in result.mapping.stages:
        for phase in stage.phases:
            total[phase.name] += phase.cycles * phase.times
    return dict(total)


def kernel_report(result: KernelResult) -> dict[str, Any]:
    """The header and the kernel section."""
    return {**_header(result), "kernel": dict(result.facts)}


def contest_report(result: ContestResult) -> dict[str, Any]:
    """The header and the contest section."""
    return {**_header(result), "contest": dict(result.facts)}
