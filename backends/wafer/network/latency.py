"""How long one inference is on its way: stages one after the other, and the hops of its tensors between them.

    begin(stage)  = max over its inputs (end of their stage + hops of the way in the tree x cycles a hop)
    end(stage)    = begin + cycles of the stage

A tensor's last word arrives so many hops after it was sent; words behind each other are part of the stages' own times.
"""

from __future__ import annotations

from collections.abc import Sequence

from .packing import Box
from .routing import Bundle

__all__ = ["latency_cycles"]


def latency_cycles(
    cycles: Sequence[int], boxes: Sequence[Box], bundles: Sequence[Bundle], cycles_per_hop: int
) -> tuple[int, int]:
    """(latency with hops, latency of the stages alone); stages are numbered in topological order."""
    arrivals: list[list[tuple[int | None, int]]] = [[] for _ in cycles]
    leaving: list[tuple[int, int]] = []
    for bundle in bundles:
        for target in bundle.targets:
            hops = _hops(bundle, None if target is None else boxes[target]) * cycles_per_hop
            if target is not None:
                arrivals[target].append((bundle.edge.source, hops))
            elif bundle.edge.source is not None:
                leaving.append((bundle.edge.source, hops))
    return _longest(cycles, arrivals, leaving, 1), _longest(cycles, arrivals, leaving, 0)


def _longest(
    cycles: Sequence[int],
    arrivals: Sequence[Sequence[tuple[int | None, int]]],
    leaving: Sequence[tuple[int, int]],
    weight: int,
) -> int:
    ends: list[int] = []
    for own, inputs in zip(cycles, arrivals, strict=True):
        begins = ((0 if giver is None else ends[giver]) + weight * hops for giver, hops in inputs)
        ends.append(max(begins, default=0) + own)
    return max((*ends, *(ends[giver] + weight * hops for giver, hops in leaving)), default=0)


def _hops(bundle: Bundle, box: Box | None) -> int:
    """Links from the tree's root to the first core of the rectangle; to its deepest leaf where the box is not met."""
    depth: dict[tuple[int, int], int] = {}
    met: list[int] = []
    for start, end in bundle.links:
        depth[end] = depth.get(start, 0) + 1
        if box is not None and 0 <= end[0] - box.row < box.height and 0 <= end[1] - box.column < box.width:
            met.append(depth[end])
    return min(met, default=max(depth.values(), default=0))
