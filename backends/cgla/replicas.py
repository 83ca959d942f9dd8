"""How many copies of a loop body fit in the array at once, one below the other or interleaved.

Copies share the loop counters and the host constants (equal numbers are equal values) and own everything else, memory
regions included. *Stacked*: the rows of one mapping repeated; the constants of a copy's first row wait in the last row
of the copy above, so an empty row is put between copies where that row is full. *Interleaved*: the union of the copies
is mapped as one body, which fills slots that a single copy leaves free. No count beyond `bound` is possible: the union
would need more rows than there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mapper.dfg import Dfg, MemoryUse, Node
from mapper.placement import KernelMapping

from .bounds import Bounds
from .kernel import KernelRequest, KernelResult, map_kernel
from .realise import Realised, Realiser
from .rows import RowPlan
from .rules import COLUMNS, Body

Arrangement = Literal["stacked", "interleaved"]


@dataclass(frozen=True, slots=True)
class Replicas:
    """`count` copies in `rows` rows, and the count that no arrangement exceeds."""

    arrangement: Arrangement
    count: int
    rows: int
    bound: int
    mapping: KernelMapping


def copied(dfg: Dfg, count: int) -> Dfg:
    """The union of `count` copies of a body; copy k has node and region numbers shifted by k strides."""
    stride = 1 + max((node.id for node in dfg.nodes), default=0)
    region_stride = 1 + max([0, *(r.id for r in dfg.regions), *(n.memory.descriptor for n in dfg.nodes if n.memory)])
    copies = range(count)
    return Dfg(
        name=dfg.name if count == 1 else f"{dfg.name} x {count}",
        nodes=tuple(_node(node, k * stride, k * region_stride) for k in copies for node in dfg.nodes),
        edges=tuple(replace(e, src=e.src + k * stride, dst=e.dst + k * stride) for k in copies for e in dfg.edges),
        regions=tuple(replace(r, id=r.id + k * region_stride) for k in copies for r in dfg.regions),
        loop_levels=dfg.loop_levels,
        loop_host=dfg.loop_host,
        complete=dfg.complete,
        source=dfg.source,
    )


def _node(node: Node, shift: int, region_shift: int) -> Node:
    use = node.memory
    moved = None if use is None else _moved(use, shift, region_shift)
    return replace(node, id=node.id + shift, memory=moved, pin=None)


def _moved(use: MemoryUse, shift: int, region_shift: int) -> MemoryUse:
    def move(value: int | None) -> int | None:
        return None if value is None else value + shift

    return MemoryUse(
        use.region + region_shift,
        use.descriptor + region_shift,
        move(use.base),
        move(use.offset),
        move(use.data),
        move(use.predicate),
        move(use.pair),
    )


def replicas(
    dfg: Dfg, request: KernelRequest | None = None, arrangement: Arrangement = "stacked", at_most: int = 64
) -> Replicas | None:
    """The most copies found, up to `at_most`; None if not even one fits."""
    request = request or KernelRequest()
    single = map_kernel(dfg, request)
    if not isinstance(single, KernelResult):
        return None
    bound = _most(dfg, request, at_most)
    if arrangement == "stacked":
        return _stacked(dfg, single, request, bound)
    return _interleaved(dfg, single, request, bound)


def _most(dfg: Dfg, request: KernelRequest, at_most: int) -> int:
    """Largest count whose union still meets the lower bound on rows."""
    count = 1
    while count < at_most:
        rows = Bounds(Body(copied(dfg, count + 1), request.enforce_share)).rows
        if rows > request.rows_limit:
            return count
        count += 1
    return count


def _stacked(dfg: Dfg, single: KernelResult, request: KernelRequest, bound: int) -> Replicas:
    """As many copies as fit, at a pitch of the body's rows or, where registers clash, one more."""
    best = Replicas("stacked", 1, single.rows, bound, single.mapping)
    for count in range(min(bound, request.rows_limit // single.rows), 1, -1):
        union = Body(copied(dfg, count), request.enforce_share)
        for pitch in (single.rows, single.rows + 1):
            rows = pitch * (count - 1) + single.rows
            realised = Realiser(union).realise(_repeated(dfg, single.mapping, count, pitch))
            if rows <= request.rows_limit and isinstance(realised, Realised):
                return Replicas("stacked", count, rows, bound, realised.mapping(union))
    return best


def _repeated(dfg: Dfg, mapping: KernelMapping, count: int, pitch: int) -> RowPlan:
    stride = 1 + max(node.id for node in dfg.nodes)
    exe_at = {(p.cycle, p.pe - p.cycle * COLUMNS): p.node for p in mapping.placed if p.slot == "exe"}
    folded = [exe_at[unit] for unit in mapping.folded]
    row_of = {p.node + k * stride: p.cycle + k * pitch for k in range(count) for p in mapping.placed}
    return RowPlan(
        max(row_of.values(), default=0) + 1, row_of, frozenset(e + k * stride for k in range(count) for e in folded)
    )


def _interleaved(dfg: Dfg, single: KernelResult, request: KernelRequest, bound: int) -> Replicas:
    """Starts from the stacked count and adds copies while the union still fits."""
    best = replace(_stacked(dfg, single, request, bound), arrangement="interleaved")
    while best.count < bound:
        union = map_kernel(copied(dfg, best.count + 1), replace(request, pins="drop"))
        if not isinstance(union, KernelResult):
            break
        best = Replicas("interleaved", best.count + 1, union.rows, bound, union.mapping)
    return best
