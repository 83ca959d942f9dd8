"""What a placement is judged by: bytes x Manhattan distance between the centres of rectangles, and its least value.

    cost   sum over tensors and readers of bytes x (|dx| + |dy|)        between centres; to the west or east edge |dx|
    bound  the larger of two:
           pairs    every pair of rectangles, as large as they are, side by side and aligned:
                    min((w_a + w_b) / 2, (h_a + h_b) / 2); at the edge min(w, h) / 2
           through  what flows from the west edge to the east edge crosses the whole mesh, wherever stages stand:
                    mesh width x the largest flow from edge to edge through the wires

The first looks at each pair alone, the second at columns alone, so no placement of these rectangles is below either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import numpy.typing as npt

from .flow import Edge
from .packing import Box
from .table import Ints

__all__ = ["Wires", "wires_of"]

WEST, EAST = -1, -2  # the edges, beside the numbers of the stages

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Wires:
    """Pairs of stages with the bytes between them; stages with bytes from the west edge, and to the east edge."""

    a: Ints
    b: Ints
    bytes: Weights
    entering: Ints
    entering_bytes: Weights
    leaving: Ints
    leaving_bytes: Weights
    mesh_width: int

    @property
    def count(self) -> int:
        return len(self.a)

    def cost(self, x: Ints, y: Ints) -> float:
        """Bytes x distance, where `x`, `y` are twice the centres."""
        apart = np.abs(x[self.a] - x[self.b]) + np.abs(y[self.a] - y[self.b])
        edge = self.entering_bytes @ x[self.entering] + self.leaving_bytes @ (2 * self.mesh_width - x[self.leaving])
        return float(self.bytes @ apart + edge) / 2

    def of(self, boxes: Sequence[Box]) -> float:
        """Bytes x distance of placed boxes."""
        x = np.array([2 * box.column + box.width for box in boxes])
        y = np.array([2 * box.row + box.height for box in boxes])
        return self.cost(x, y)

    def least(self, boxes: Sequence[Box]) -> float:
        """The bound for boxes of these sizes."""
        width, height = np.array([(box.width, box.height) for box in boxes]).T
        short = np.minimum(width, height)
        pair = np.minimum(width[self.a] + width[self.b], height[self.a] + height[self.b])
        edge = self.entering_bytes @ short[self.entering] + self.leaving_bytes @ short[self.leaving]
        pairs = float(self.bytes @ pair + edge) / 2
        most = min(self.entering_bytes.sum(), self.leaving_bytes.sum()) * self.mesh_width
        return pairs if most <= pairs else max(pairs, self.through() * self.mesh_width)

    def through(self) -> float:
        """Bytes of the largest flow from the west edge to the east edge; wires carry as much either way."""
        flow = nx.DiGraph()
        both = [*zip(self.a, self.b, self.bytes, strict=True), *zip(self.b, self.a, self.bytes, strict=True)]
        into = ((WEST, stage, size) for stage, size in zip(self.entering, self.entering_bytes, strict=True))
        out = ((stage, EAST, size) for stage, size in zip(self.leaving, self.leaving_bytes, strict=True))
        for source, target, size in (*both, *into, *out):
            before = flow.get_edge_data(int(source), int(target), {"capacity": 0})["capacity"]
            flow.add_edge(int(source), int(target), capacity=before + int(size))
        return float(nx.maximum_flow_value(flow, WEST, EAST))

    def partners(self, stages: int) -> list[list[int]]:
        """Per stage those that it shares a tensor with."""
        return [[other for other, _ in pulls if other >= 0] for pulls in self.pulls(stages)]

    def pulls(self, stages: int) -> list[list[tuple[int, float]]]:
        """Per stage what it shares bytes with, and how many: another stage, -1 the west edge, -2 the east edge."""
        found: list[list[tuple[int, float]]] = [[] for _ in range(stages)]
        for a, b, size in zip(self.a.tolist(), self.b.tolist(), self.bytes.tolist(), strict=True):
            found[a].append((b, size))
            found[b].append((a, size))
        for edge, ends, sizes in ((WEST, self.entering, self.entering_bytes), (EAST, self.leaving, self.leaving_bytes)):
            for stage, size in zip(ends.tolist(), sizes.tolist(), strict=True):
                found[stage].append((edge, size))
        return found


def wires_of(edges: Sequence[Edge], mesh_width: int) -> Wires:
    """The wires of all tensors that cross the mesh at an inference."""
    pairs, entering, leaving = [], [], []
    for edge in edges:
        for target, size in zip(edge.targets, edge.sizes, strict=True):
            if edge.source is None:
                entering.append((target, size))
            elif target is None:
                leaving.append((edge.source, size))
            else:
                pairs.append((edge.source, target, size))
    a, b, weight = _columns(pairs, 3)
    into, into_bytes = _columns(entering, 2)
    out, out_bytes = _columns(leaving, 2)
    return Wires(a, b, weight.astype(float), into, into_bytes.astype(float), out, out_bytes.astype(float), mesh_width)


def _columns(rows: Sequence[tuple[int | None, ...]], width: int) -> tuple[Ints, ...]:
    table = np.array(rows, np.int64).reshape(-1, width)
    return tuple(table[:, n] for n in range(width))
