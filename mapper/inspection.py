"""`mapper inspect`: what a model consists of, how it was counted, and what each target would leave to the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mapper import inputs, passes
from mapper.dfg import Dfg, recurrence_mii
from mapper.errors import clean
from mapper.ir import Graph, Opaque
from mapper.registry import backend_names
from mapper.report.text import columns, quantity

__all__ = ["inspect", "text"]

COUNTED = (
    "MACs of Conv, ConvTranspose, Gemm, MatMul, Einsum, recurrent and Attention nodes, from the loop extents of the "
    "model before fusion, padding taps included; parameters are elements of initializers and of ConstantOfShape weights"
)


def inspect(source: str | Path, dims: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Facts of an input; for models `macs`, `params`, `ops` (every node and its fate) and `host`."""
    loaded = inputs.load(source, dims)
    found: dict[str, Any] = {"name": loaded.name, "kind": loaded.kind, "sha256": loaded.sha256}
    if isinstance(loaded.value, Graph):
        return found | _graph_facts(loaded.value)
    if isinstance(loaded.value, Dfg):
        return found | _kernel_facts(loaded.value)
    graph = loaded.value
    return found | {
        "kernels": len(graph.kernels),
        "edges": len(graph.edges),
        "width": graph.width,
        "height": graph.height,
    }


def _graph_facts(graph: Graph) -> dict[str, Any]:
    optimised = passes.optimise(graph)
    hosted = [op for op in optimised.ops if isinstance(op, Opaque)]
    host = [{"name": op.name, "op_type": op.op_type, "reason": op.reason} for op in hosted]
    tensor = {t.name: t for t in graph.tensors}
    return {
        "macs": graph.macs,
        "params": graph.params,
        "counted": COUNTED,
        "inputs": [{"name": n, "shape": list(tensor[n].shape), "dtype": tensor[n].dtype} for n in graph.inputs],
        "outputs": [{"name": n, "shape": list(tensor[n].shape), "dtype": tensor[n].dtype} for n in graph.outputs],
        "ops": [
            {"name": n.name, "op_type": n.op_type, "fate": n.fate, "macs": n.macs, "params": n.params}
            for n in graph.nodes
        ],
        "nests": len(list(optimised.nests)),
        "host": {name: host for name in backend_names()},
    }


def _kernel_facts(dfg: Dfg) -> dict[str, Any]:
    ops = Counter(node.op for node in dfg.nodes)
    return {
        "nodes": len(dfg.nodes),
        "edges": len(dfg.edges),
        "recurrence_mii": recurrence_mii(dfg),
        "ops": dict(sorted(ops.items())),
    }


def text(found: Mapping[str, Any]) -> str:
    """The facts as a person reads them."""
    head = f"{clean(found['name'])} ({found['kind']})"
    if "macs" not in found:
        return head + "\n" + columns([(k, str(v)) for k, v in found.items() if k not in ("name", "kind", "sha256")])
    by_type: dict[str, list[Any]] = {}
    for node in found["ops"]:
        by_type.setdefault(node["op_type"], []).append(node)
    rows = [("operator", "nodes", "MACs", "parameters", "what becomes of them")]
    for op_type, nodes in sorted(by_type.items(), key=lambda item: (-sum(n["macs"] for n in item[1]), item[0])):
        fates = Counter(n["fate"] for n in nodes)
        rows.append(
            (
                op_type,
                str(len(nodes)),
                f"{sum(n['macs'] for n in nodes):,}",
                f"{sum(n['params'] for n in nodes):,}",
                ", ".join(f"{count} {fate}" for fate, count in sorted(fates.items())),
            )
        )
    shapes = [
        f"{way} {clean(t['name'], 60)}: {t['dtype']}{t['shape']}" for way in ("inputs", "outputs") for t in found[way]
    ]
    host: list[Any] = next(iter(found["host"].values()), [])
    left = ", ".join(sorted({h["op_type"] for h in host})) or "nothing"
    return "\n\n".join(
        [
            head,
            f"{found['macs']:,} MACs ({quantity(found['macs'], 'MAC')})",
            f"{found['params']:,} parameters\ncounted: {found['counted']}",
            "\n".join(shapes),
            columns(rows, frozenset({1, 2, 3})),
            f"on the host: {left}",
        ]
    )
