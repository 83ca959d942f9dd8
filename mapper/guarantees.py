"""How far a mapping is from what no mapping can beat: its movement against provable bounds.

At the outermost boundary every mapping, fused or resident or not, reads each external element that the model uses
once and writes each output once. The energy of these bytes at the backing store's price is a lower bound on movement.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.cost import Cost
from mapper.footprint import Pieces, components, slice_sum
from mapper.ir import Graph, Op, Opaque
from mapper.mapping import Mapping
from mapper.solver import Outcome

__all__ = ["boundary_rows", "compulsory_bytes", "movement_bound_pj", "movement_outcome"]


def compulsory_bytes(graph: Graph) -> tuple[int, int]:
    """Bytes of external elements read at least once, and of outputs written at least once.

    A tensor that several operators read counts the largest of their footprints; a gathered dimension counts one
    element, since all its indices may be equal. Holds for every schedule of the graph.
    """
    produced = {name for op in graph.ops for name in op.outputs}
    touched: dict[str, int] = {}
    for op in graph.ops:
        for name, elements in _touched(graph, op):
            root = graph.root(name)
            if root not in produced:
                touched[root] = max(touched.get(root, 0), min(elements, graph.tensor(root).elements))
    read = sum(dtypes.bytes_of(elements, graph.tensor(name).dtype) for name, elements in touched.items())
    outputs = {graph.root(name) for name in graph.outputs}
    return read, sum(graph.tensor(name).bytes for name in sorted(outputs) if name in produced)


def _touched(graph: Graph, op: Any) -> list[tuple[str, int]]:
    if isinstance(op, Opaque):
        return [(name, graph.tensor(name).elements) for name in op.inputs]
    if not isinstance(op, Op):
        return []
    whole = {
        name: Pieces(np.zeros(1, np.int64), np.array([n]), np.zeros(1, np.int64)) for name, n in op.extents.items()
    }
    found = []
    for read in op.reads:
        parts = components(op, read, graph.tensor(read.tensor).shape)
        found.append((read.tensor, math.prod(slice_sum(part, whole) for part in parts if not part.gathered)))
    return found


def movement_bound_pj(mapping: Mapping) -> float:
    """Least movement energy of any mapping of this graph on this machine, in pJ."""
    read, written = compulsory_bytes(mapping.graph)
    outermost = mapping.machine.memories[0]
    return read * outermost.read_pj_per_byte + written * outermost.write_pj_per_byte


def movement_outcome(mapping: Mapping, movement_pj: float, seed: int) -> Outcome:
    """The outcome of a heuristic search: optimal only where it meets the bound."""
    bound = movement_bound_pj(mapping)
    if movement_pj <= bound * (1 + 1e-9):
        return Outcome("optimal", movement_pj, bound, "bound", seed)
    return Outcome("feasible", movement_pj, bound, "none", seed)


def boundary_rows(mapping: Mapping, cost: Cost) -> dict[str, dict[str, Any]]:
    """Per memory boundary: bytes of this mapping and the provable least."""
    read, written = compulsory_bytes(mapping.graph)
    outermost = mapping.machine.memories[0].name
    return {outermost: {"mapping_bytes": cost.level(outermost).bytes, "provable_bytes": read + written}}
