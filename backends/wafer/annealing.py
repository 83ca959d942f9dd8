"""Annealing over slicing trees, started from a plan: builds the arrays of :mod:`.slicing` and reads them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mapper.kgraph import KernelGraph

from .shapes import FAR, curve, inverse
from .slicing import OVERHANG, Curves, Forest, Schedule, Wires, anneal, read_boxes
from .solution import wirelength
from .strips import Plan
from .targets import Sizing
from .trees import Box, Columns, Leaf, Rows, Tree

__all__ = ["Annealed", "anneal_plan"]


@dataclass(frozen=True, slots=True)
class Annealed:
    """Where the search ended: a plan inside the fabric, its sizing, and its cost in the search's own terms."""

    sizing: Sizing
    plan: Plan
    cost: float


def curve_table(graph: KernelGraph, sizings: Sequence[Sizing]) -> Curves:
    """Curves of all kinds of kernels (equal at every target) at all targets."""
    kinds: dict[tuple[int, ...], int] = {}
    columns = [tuple(id(s.menus[k]) for s in sizings) for k in range(len(graph.kernels))]
    kind = [kinds.setdefault(column, len(kinds)) for column in columns]
    first = [kind.index(number) for number in range(len(kinds))]
    width, height = graph.width + OVERHANG, graph.height + OVERHANG
    low = np.stack([[curve(s.menus[k], width, height) for k in first] for s in sizings])
    thin = np.stack([[inverse(row, height) for row in rows] for rows in low])
    return Curves(
        low=np.minimum(low, FAR).astype(np.int16),
        thin=np.minimum(thin, FAR).astype(np.int16),
        kind=np.array(kind, dtype=np.int64),
        time_cost=np.array([float(graph.weights.time * s.target) for s in sizings]),
    )


def wire_table(graph: KernelGraph) -> Wires:
    near: list[list[int]] = [[] for _ in graph.kernels]
    for a, b in graph.wires:
        near[a].append(b)
        near[b].append(a)
    degree = [len(row) for row in near]
    table = np.full((len(near), max(1, *degree, 1)), -1, dtype=np.int64)
    for k, row in enumerate(near):
        table[k, : len(row)] = row
    source, target = (np.array([wire[end] for wire in graph.wires], dtype=np.int64) for end in (0, 1))
    return Wires(source, target, table, np.array(degree, dtype=np.int64))


class _Builder:
    """Turns a tree with many parts a cut into a binary one, balanced, so that paths to the root are short."""

    def __init__(self, leaves: int) -> None:
        nodes = 2 * leaves - 1
        self.left, self.right, self.parent = (np.full(nodes, -1, dtype=np.int64) for _ in range(3))
        self.cut = np.zeros(nodes, dtype=np.int64)
        self.next = leaves

    def add(self, tree: Tree) -> int:
        if isinstance(tree, Leaf):
            return tree.kernel
        return self._halve([self.add(part) for part in tree.parts], 1 if isinstance(tree, Columns) else 0)

    def _halve(self, nodes: Sequence[int], cut: int) -> int:
        if len(nodes) == 1:
            return nodes[0]
        middle = len(nodes) // 2
        a, b = self._halve(nodes[:middle], cut), self._halve(nodes[middle:], cut)
        node, self.next = self.next, self.next + 1
        self.left[node], self.right[node], self.cut[node] = a, b, cut
        self.parent[a], self.parent[b] = node, node
        return node


def forest_of(tree: Tree, leaves: int, target: int, width: int) -> Forest:
    builder = _Builder(leaves)
    root = builder.add(tree)
    scalar = np.array([root, target, width], dtype=np.int64)
    kernel = np.arange(leaves, dtype=np.int64)
    return Forest(builder.left, builder.right, builder.parent, builder.cut, kernel, scalar)


def tree_of(forest: Forest, node: int) -> Tree:
    if node < len(forest.kernel):
        return Leaf(int(forest.kernel[node]))
    parts = (tree_of(forest, int(forest.left[node])), tree_of(forest, int(forest.right[node])))
    return Columns(parts) if forest.cut[node] else Rows(parts)


def schedule(graph: KernelGraph, sizing: Sizing, plan: Plan, moves: int, seed: int) -> Schedule:
    """Hot at the mean weighted length of an edge (less for many kernels, whose start is worth keeping), cold at a
    hundredth of it; a row outside the fabric costs from a third of what a row's worth of time costs (or of that
    length) to three times as much. Loose plans may change width.
    """
    weights = graph.weights
    edge = max(1.0, float(weights.wirelength * wirelength(graph, plan.boxes)) / max(1, len(graph.wires)))
    hot = edge * min(1.0, 20 / len(graph.kernels))
    row = max(edge, float(weights.time * sizing.target) / graph.height)
    used = sum(box.wide * box.tall for box in plan.boxes) / (graph.width * graph.height)
    return Schedule(
        moves=moves,
        hot=hot,
        cold=hot / 100,
        soft=row / 3,
        hard=3 * row,
        length_weight=float(weights.wirelength),
        seed=seed,
        free_width=0 if used > 0.85 else 16,
    )


def anneal_plan(graph: KernelGraph, sizings: Sequence[Sizing], plan: Plan, moves: int, seed: int) -> Annealed | None:
    """Search from `plan` at the first of the sizings; None if no tree inside the fabric was met."""
    curves = curve_table(graph, sizings)
    forest = forest_of(plan.tree, len(graph.kernels), 0, graph.width)
    steps = schedule(graph, sizings[0], plan, moves, seed)
    cost, best, _ = anneal(curves, wire_table(graph), forest, steps)
    if cost >= 1e17:
        return None
    _, rows = read_boxes(curves, best)
    boxes = tuple(Box(*(int(v) for v in row)) for row in rows)
    return Annealed(sizings[int(best.scalar[1])], Plan(tree_of(best, int(best.scalar[0])), boxes), cost)
