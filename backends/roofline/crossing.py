"""Bytes that an operator moves across one memory boundary, by the tiling engine.

Each boundary is looked at by itself: outside lie the operands, inside is a memory of so many bytes, all copies of it
taken together and shared freely. The engine finds the tiles and the loop order that move least; an operator whose
operands fit moves each once, and so does every operator where the size inside is not published (a lower bound). The
boundaries of one system may want different tilings, so a row made of these figures is a bound, not a mapping.

What lives inside between operators does not cross the outermost boundary. Activations are taken greedily in order of
production while all that live at one time fit in half of the memory; the other half is left to tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mapper import dtypes
from mapper.bounds import op_bound_bytes
from mapper.ir import AnyOp, Graph, Op, Opaque, View
from mapper.tiling.engine import Tiling, tile
from mapper.tiling.hierarchy import Hierarchy, Level

__all__ = ["Crossings", "resident_activations"]

Inside = frozenset[str]
OUTSIDE, INSIDE = "outside", "inside"


@dataclass(frozen=True)
class Crossings:
    """Answers for one graph, each nest and boundary once."""

    graph: Graph
    _known: dict[tuple[str, int | None, Inside], int] = field(default_factory=dict)

    def bytes(self, op: AnyOp, capacity_bytes: int | None, inside: Inside = frozenset()) -> int:
        """Bytes of `op` across a boundary around `capacity_bytes` (None: not published); `inside` need not cross."""
        if isinstance(op, View):
            return 0
        roots = {self.graph.root(name) for name in (*op.inputs, *op.outputs)}
        key = op.name, capacity_bytes, inside & roots
        if key not in self._known:
            self._known[key] = self._crossing(op, capacity_bytes, key[2])
        return self._known[key]

    def _crossing(self, op: Op | Opaque, capacity_bytes: int | None, inside: Inside) -> int:
        if isinstance(op, Opaque):
            return sum(self.graph.tensor(name).bytes for name in (*op.inputs, *op.outputs))
        once = op_bound_bytes(self.graph, op, 0, inside).bytes
        if capacity_bytes is None or self._working_set(op) <= capacity_bytes:
            return once
        levels = (Level(OUTSIDE, None, 1.0, 1.0), Level(INSIDE, capacity_bytes, 0.0, 0.0))
        found = tile(self.graph, op, Hierarchy(levels), spatial=(), effort="fast",
                     homes=lambda name: INSIDE if name in inside else OUTSIDE)  # fmt: skip
        return found.bytes(OUTSIDE) if isinstance(found, Tiling) else self._unbuffered(op)

    def _working_set(self, op: Op) -> int:
        """Whole operands, partial sums in the width of their accumulator."""
        written = self.graph.tensor(op.write.tensor)
        wide = op.combiner.accumulator if op.combiner is not None else written.dtype
        reads = sum(self.graph.tensor(name).bytes for name in op.inputs)
        return reads + dtypes.bytes_of(written.elements, wide)

    def _unbuffered(self, op: Op) -> int:
        """Every access of every point goes outside: not even one point's operands fit."""
        return sum(dtypes.bytes_of(op.points, self.graph.tensor(a.tensor).dtype) for a in (*op.reads, op.write))


def resident_activations(graph: Graph, room_bytes: int | None) -> Inside:
    """Activations that stay on chip from producer to last reader; None: no limit is known, so all of them.

    Invariant: at each operator, the bytes of those alive are at most `room_bytes`.
    """
    outputs = {graph.root(name) for name in graph.outputs}
    alive = [0] * len(graph.ops)
    chosen = set()
    for name, (first, last) in _lifetimes(graph).items():
        size = graph.tensor(name).bytes
        fits = room_bytes is None or max(alive[first : last + 1]) + size <= room_bytes
        if name not in outputs and fits:
            chosen.add(name)
            for at in range(first, last + 1):
                alive[at] += size
    return frozenset(chosen)


def _lifetimes(graph: Graph) -> dict[str, tuple[int, int]]:
    """First and last operator of each tensor that nests produce and nests read, in order of production."""
    spans: dict[str, tuple[int, int]] = {}
    for at, op in enumerate(graph.ops):
        if isinstance(op, Op):
            spans[op.write.tensor] = at, at
        for root in {} if isinstance(op, View) else dict.fromkeys(graph.root(name) for name in op.inputs):
            if root in spans and isinstance(op, Opaque):
                del spans[root]  # the host reads it outside
            elif root in spans:
                spans[root] = spans[root][0], at
    return spans
