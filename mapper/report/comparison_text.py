"""A comparison as a table that a person reads, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mapper.comparison import LevelUse, Row
from mapper.errors import clean

from .text import columns, quantity

__all__ = ["HEADS", "KEY", "cells", "csv_table", "ordered", "seconds", "table"]

MARKS = {"disputed": "!", "preliminary": "p", "projected": "p", "recalled": "r", "derived": "d",
         "unpublished": "u"}  # fmt: skip
HEADS = ("system", "lives", "chips", "off-chip", "on-chip", "time", "set by", "stream", "movement", "Eyeriss", "marks")
KEY = (
    "time      baselines: least time of any operator-by-operator schedule; mapped targets: latency of the mapping\n"
    "stream    weights and inputs read once, at the bandwidth of the memory that holds them\n"
    "movement  energy of the bytes, in the system's own technology; (rel) where only ratios are known\n"
    "Eyeriss   the same bytes in energies of a 16-bit multiply-accumulate, comparable over nodes\n"
    "marks     ! disputed, p projected or preliminary, r recalled, d derived, u on-chip size unpublished (bytes are\n"
    "          a floor); each row's notes in the JSON name the figures"
)


def table(name: str, rows: Sequence[Row]) -> str:
    """All systems, mapped targets first, and what could not be mapped."""
    good = ordered(rows)
    lines = [columns([HEADS, *map(cells, good)], frozenset({2, 3, 4, 5, 7, 8, 9}))] if good else []
    macs = next((row.macs for row in good), 0)
    dtype = next((row.dtype for row in good if row.dtype), "")
    head = f"{clean(name)}: {macs:,} MACs" + (f", weights in {dtype}" if dtype else "")
    failed = [f"{row.system}: {row.status}: {row.words}" for row in rows if row.status != "ok"]
    return "\n\n".join([head, *lines, *failed, *_peaks(good), KEY])


def _peaks(rows: Sequence[Row]) -> list[str]:
    """Which systems are judged by the peak of another element type than the weights have."""
    other: dict[str, list[str]] = {}
    for row in rows:
        if row.peak_dtype and row.peak_dtype != row.dtype:
            other.setdefault(row.peak_dtype, []).append(row.system)
    none = [row.system for row in rows if row.kind == "baseline" and not row.peak_dtype]
    lines = [f"  {dtype}: {', '.join(names)}" for dtype, names in sorted(other.items())]
    lines += [f"  none known: {', '.join(none)}"] if none else []
    return ["nearest peak, where it is that of another element type\n" + "\n".join(lines)] if lines else []


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Rows with figures, in the order given: mapped targets stand first."""
    return [row for row in rows if row.status == "ok"]


def cells(row: Row) -> tuple[str, ...]:
    return (
        row.system, _lives(row), str(row.chips), _bytes(row, "dram"), _bytes(row, "buffer"), seconds(row.seconds),
        row.limited_by.removesuffix(" bandwidth"), seconds(row.stream_seconds), energy(row),
        "-" if row.eyeriss_macs is None else quantity(row.eyeriss_macs, "MAC"),
        "".join(dict.fromkeys(MARKS[mark] for mark in row.marks)),
    )  # fmt: skip


def _lives(row: Row) -> str:
    on_chip = row.lives.startswith("on") and row.share_of_capacity is not None
    return f"{row.lives}, {row.share_of_capacity:.1%}" if on_chip else row.lives


def _bytes(row: Row, kind: str) -> str:
    levels = [level for level in row.levels if level.kind == kind]
    return quantity(sum(level.bytes for level in levels), "B") if levels else "none"


def seconds(value: float | None) -> str:
    return "-" if value is None else quantity(value, "s")


def is_relative(row: Row) -> bool:
    """Is `movement_pj` of this row in Eyeriss ratios, for want of published energies?"""
    return "ratio" in row.technology


def energy(row: Row) -> str:
    if row.movement_pj is None:
        return "-"
    return "(rel)" if is_relative(row) else quantity(row.movement_pj * 1e-12, "J")


CSV_HEADS = (
    "system", "name", "kind", "status", "words", "lives", "chips", "share_of_capacity", "dtype", "peak_dtype",
    "peak_macs_per_s", "macs", "latency_bound_s", "latency_s", "limited_by", "stream_bytes", "stream_bound_s",
    "stream_pj", "movement_pj", "technology", "eyeriss_macs", "hop_bytes", "dram_bytes", "buffer_bytes",
    "register_bytes", "levels", "marks", "notes",
)  # fmt: skip


def csv_table(rows: Sequence[Row]) -> str:
    """One line per system; empty where a figure is not known."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_HEADS)
    for row in rows:
        baseline = row.kind == "baseline"
        by_kind = [sum(use.bytes for use in row.levels if use.kind == kind) for kind in ("dram", "buffer", "register")]
        cells = (
            row.system, row.name, row.kind, row.status, row.words, row.lives, row.chips, row.share_of_capacity,
            row.dtype, row.peak_dtype, row.peak_macs_per_s, row.macs, row.seconds if baseline else None,
            None if baseline else row.seconds, row.limited_by, row.stream_bytes, row.stream_seconds, row.stream_pj,
            row.movement_pj, row.technology, row.eyeriss_macs, row.hop_bytes, *by_kind,
            "; ".join(map(_level, row.levels)), " ".join(row.marks), "; ".join(row.notes),
        )  # fmt: skip
        writer.writerow([spreadsheet_cell(cell) for cell in cells])
    return buffer.getvalue()


def _level(level: LevelUse) -> str:
    return f"{level.name} {level.bytes} B"


def spreadsheet_cell(value: object) -> object:
    """A text that no spreadsheet takes for a formula; numbers as they are, empty for what is not known."""
    if not isinstance(value, str):
        return "" if value is None else value
    shown = clean(value, 2000)
    return "'" + shown if shown[:1] in ("=", "+", "-", "@") else shown
