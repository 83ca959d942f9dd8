"""`layers.csv`: one row per operator, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping
from typing import Any

from mapper.errors import clean

__all__ = ["escaped", "layers_csv"]


def layers_csv(report: Mapping[str, Any]) -> str:
    """Operators with MACs, cycles, energy and bytes per level; host operators at the end."""
    levels = list(report["totals"]["levels"])
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    per_level = [f"{name}_{way}_bytes" for name in levels for way in ("read", "write")]
    writer.writerow(["name", "op_type", "where", "macs", "cycles", "energy_pj", "movement_pj", "hop_bytes", *per_level])
    for op in report["ops"]:
        moved = [op["levels"].get(name, {}).get(f"{way}_bytes", 0) for name in levels for way in ("read", "write")]
        writer.writerow([_cell(op["name"]), _cell(op["op_type"]), _cell(op["where"]), op["macs"], op["cycles"],
                         op["energy_pj"], op["movement_pj"], op["hop_bytes"], *moved])  # fmt: skip
    for op in report["host_ops"]:
        writer.writerow([_cell(op["name"]), _cell(op["op_type"]), "host", 0, 0, 0, 0, 0, op["bytes"]])
    return buffer.getvalue()


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    shown = clean(text, 1000)
    return "'" + shown if shown[:1] in ("=", "+", "-", "@", "\t", "\r") else shown


def escaped(text: str) -> str:
    return html.escape(text)
