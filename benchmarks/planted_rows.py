"""Random kernels with a planted placement: drawn row by row under the rules, so that a legal placement is known.

A row is drawn after the rows above it: which registers are live is known, operands come from them, and what is new
replaces what has been read. Loads, address registers, unaligned pairs, conditions, stores from the unit's own exe and
from registers, folded units, accumulated regions, split local memories, host constants and self-updates all occur.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

MOST_LIVE = 11  # values kept over a row boundary; the rest is for results, load homes and host constants


@dataclass
class _Kernel:
    draw: random.Random
    levels: int
    nodes: list[dict[str, Any]] = field(default_factory=list)
    regions: list[dict[str, Any]] = field(default_factory=list)
    live: list[int] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)
    hosts: list[int] = field(default_factory=list)  # constants that the next row may read
    constants: int = 3

    def node(self, kind: str, srcs: list[int], row: int, column: int, **rest: Any) -> int:
        number = len(self.nodes)
        distinct = list(dict.fromkeys(srcs))
        self.nodes.append({"id": number, "kind": kind, "srcs": distinct, "vendor_pin": [row, column], **rest})
        return number

    def operands(self, most: int) -> list[int]:
        return self.draw.sample(self.live, min(len(self.live), self.draw.randint(0, most)))

    def constant(self) -> list[int]:
        """Now and then a host constant; at most two different ones are read in one row."""
        if self.draw.random() > 0.2:
            return []
        if len(self.hosts) < 2:
            self.constants += self.draw.random() < 0.7
            self.hosts.append(self.draw.randrange(self.constants))
        return [self.draw.choice(self.hosts)]

    def region(self, share: float) -> int:
        number = len(self.regions)
        words = self.draw.choice((None, None, 500, 5000))
        self.regions.append({"id": number, "words": words, "vendor_share": share})
        return number

    def exe(self, srcs: list[int], row: int, column: int) -> int:
        update = self.draw.random() < 0.1
        ops = [self.draw.choice(("ADD", "FMA", "CMOV")), "NOP", "NOP"]
        host = self.constant()
        if not srcs and not host:
            update = True  # an exe without any input would be a marker
        return self.node("exe", srcs, row, column, ops=ops, self_update=update, host=host, host_inputs=0)

    def memory(self, kind: str, unit: _Unit, row: int, **rest: Any) -> int:
        op = "LDR" if kind == "load" else "STR"
        srcs = [v for v in (rest.get("data"), unit.base, unit.offset, rest.get("pred")) if v is not None]
        fields = {"base": unit.base, "offs": unit.offset, "pred": None, **rest}
        return self.node(kind, srcs, row, unit.column, op=op, region=unit.region, lmm=unit.region, **fields)


@dataclass(frozen=True)
class _Unit:
    """What the memory operations of one unit share."""

    column: int
    region: int
    base: int | None
    offset: int | None


def planted(seed: int, rows: int) -> dict[str, Any]:
    """A kernel of the benchmark's format that has a legal placement of `rows` rows, its pins."""
    draw = random.Random(seed)
    kernel = _Kernel(draw, levels=draw.choice((1, 2)))
    busy = draw.uniform(0.3, 1.0)
    for row in range(rows):
        kernel.fresh, kernel.hosts = [], []
        regions = _regions_of_row(kernel)
        for column in range(4):
            _fill_unit(kernel, row, column, regions[column], busy)
        kept = draw.sample(kernel.live, min(len(kernel.live), max(0, MOST_LIVE - len(kernel.fresh))))
        kernel.live = sorted(kernel.fresh + kept)
    return {
        "name": f"planted{seed}",
        "loop_levels": kernel.levels,
        "loop_host": [0, 1, 2][: kernel.levels + 1],
        "complete": True,
        "regions": kernel.regions,
        "nodes": kernel.nodes,
    }


def _regions_of_row(kernel: _Kernel) -> list[int | None]:
    """Per column a region: one with the whole memory, one for each half, or one for each quarter."""
    mode = kernel.draw.choice(("none", "whole", "halves", "quarters"))
    if mode == "whole":
        return [kernel.region(1.0)] * 2 + [None, None]
    if mode == "halves":
        first, second = kernel.region(0.5), kernel.region(0.5)
        return [first, first, second, second]
    return [kernel.region(0.25) if mode == "quarters" else None for _ in range(4)]


def _fill_unit(kernel: _Kernel, row: int, column: int, region: int | None, busy: float) -> None:
    draw = kernel.draw
    has_exe = not (row == 0 and column < kernel.levels)
    kind = draw.choice(("loads", "pair", "fold", "store", "from register", "condition")) if region is not None else ""
    if draw.random() > busy or _is_stored(kernel, region):
        kind = ""
    base, offset = (draw.choice([None, *kernel.live]) if draw.random() < 0.5 else None for _ in range(2))
    unit = _Unit(column, region or 0, base, offset)
    result: int | None = None
    if kind == "pair":
        first = kernel.memory("load", unit, row)
        second = kernel.memory("load", unit, row, pair=first)
        kernel.fresh.append(draw.choice((first, second)))
    elif kind == "loads":
        kernel.fresh += [kernel.memory("load", unit, row) for _ in range(draw.randint(1, 2))]
    elif kind == "fold" and has_exe and not _is_used(kernel, region):
        loaded = kernel.memory("load", unit, row)
        summed = kernel.exe([loaded], row, column)
        kernel.memory("store", unit, row, data=summed)
        return
    elif kind in ("store", "condition") and has_exe and kernel.live and not _is_used(kernel, region):
        summed = kernel.exe(kernel.operands(2), row, column)
        condition = None
        if kind == "condition":
            condition = kernel.node("cex", kernel.operands(2), row, column, host=[])
        kernel.memory("store", unit, row, data=summed, pred=condition)
        if draw.random() < 0.5:
            kernel.fresh.append(summed)
        return
    elif kind == "from register" and kernel.live and len(kernel.live) <= 8 and not _is_used(kernel, region):
        kernel.memory("store", unit, row, data=draw.choice(kernel.live))
    if has_exe and draw.random() < busy:
        result = kernel.exe(kernel.operands(3), row, column)
        kernel.fresh.append(result)


def _is_used(kernel: _Kernel, region: int | None) -> bool:
    """A store takes a region that is new, so that its group of the local memory is its own unit."""
    return any(node.get("region") == region for node in kernel.nodes)


def _is_stored(kernel: _Kernel, region: int | None) -> bool:
    return any(node["kind"] == "store" and node["region"] == region for node in kernel.nodes)
