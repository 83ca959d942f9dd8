"""A placed kernel in the solution format of the row-array benchmark."""

from __future__ import annotations

from typing import Any

from mapper.placement import KernelMapping

from .rules import COLUMNS


def solution_json(mapping: KernelMapping) -> dict[str, Any]:
    """`nodes`, `folded` and `values` as the benchmark's judge reads them."""
    values: dict[str, list[list[int]]] = {}
    for use in mapping.registers:
        values.setdefault(use.value, []).append([use.row, use.column, use.index])
    return {
        "benchmark": mapping.dfg.name,
        "nodes": {
            str(p.node): {"row": p.cycle, "col": p.pe - p.cycle * COLUMNS, "slot": p.slot} for p in mapping.placed
        },
        "folded": [list(unit) for unit in mapping.folded],
        "values": dict(sorted(values.items(), key=lambda item: (item[0][0] == "h", int(item[0].lstrip("h"))))),
    }
