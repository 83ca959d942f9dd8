"""Links that loop bodies and routed tensors cross."""

from __future__ import annotations

from mapper.mapping import Mapping
from mapper.placement import KernelMapping

__all__ = ["body_crossings", "route_hop_bytes"]


def body_crossings(body: KernelMapping, line: bool) -> int:
    """Words passed between PEs in one iteration.

    On a line, a value that sits in a row register has crossed into that row (host constants are set, not passed). On
    a grid, a MOVE or an operation that reads another PE's output crosses one link; registers are a PE's own.
    """
    if line:
        rows = {(use.value, use.row) for use in body.registers}
        return sum(not value.startswith("h") for value, _ in rows)
    seat: dict[str, int] = {str(p.node): p.pe for p in body.placed}
    seat.update({move.id: move.pe for move in body.moves})
    reads = [(str(move.source), move.pe) for move in body.moves]
    last = {(path.src, path.dst, path.distance): path.via[-1] for path in body.paths if path.via}
    for edge in body.dfg.edges:
        giver = last.get((edge.src, edge.dst, edge.distance), str(edge.src))
        reads.append((giver, seat[str(edge.dst)]))
    return sum(seat[giver] != taker for giver, taker in reads)


def route_hop_bytes(mapping: Mapping, stage: str) -> int:
    """Bytes x links of the tensors routed to `stage` (those that leave the fabric count at their source)."""
    ending = [route for route in mapping.routes if (route.target or route.source) == stage]
    return sum(route.bytes * len(route.links) for route in ending)
