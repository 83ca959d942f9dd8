"""Protocols: before placement, neighbours are given common splits where that is worth its area.

Every kernel gets a protocol (h, w, features read, features written; a feature split may stay free). A dynamic program
along the topological order, exact on chains, minimises

    sum over kernels  price area(kernel, protocol)
  + sum over neighbours in the order  w_a ([h differs] + [w differs] + [they are wired and written <> read, or free])

and the shapes of a kernel are then those of its protocol alone. The state after a kernel is (h, w, written).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mapper.kgraph import KernelGraph

from .shapes import FEATURE_SPLITS, Ints, Menu, Protocol, Split, menu, protocol_areas

__all__ = ["protocol_menus"]

Floats = npt.NDArray[np.float64]
LEAST_PRICE = 1e-9  # where time costs nothing: what has no rectangle stays infinite, area decides between equals


@dataclass(frozen=True, slots=True)
class _Labels:
    """All (h, w) of any kernel, sorted by h then w; where each h begins; and the same for w through a permutation."""

    h: Ints
    w: Ints
    h_starts: Ints
    by_w: Ints
    w_starts: Ints

    @staticmethod
    def of(pairs: Sequence[tuple[int, int]]) -> _Labels:
        h, w = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
        by_w = np.lexsort((h, w))
        starts = np.flatnonzero(np.diff(h, prepend=-1)), np.flatnonzero(np.diff(w[by_w], prepend=-1))
        return _Labels(h, w, starts[0], by_w, starts[1])


def _entering(cost: Floats, labels: _Labels, penalty: float, wired: bool) -> Floats:
    """least[label, read]: the cheapest way to stand before a kernel with this (h, w) that reads this split."""
    least = cost.min(axis=1, keepdims=True) + (penalty if wired else 0.0)
    read = np.broadcast_to(least, cost.shape).copy()
    if wired:
        read[:, 1:] = np.minimum(read[:, 1:], cost[:, 1:])
    best = np.minimum(read, read.min(axis=0) + 2 * penalty)
    same_h = np.minimum.reduceat(read, labels.h_starts, axis=0) + penalty
    best = np.minimum(best, np.repeat(same_h, np.diff(labels.h_starts, append=len(read)), axis=0))
    same_w = np.minimum.reduceat(read[labels.by_w], labels.w_starts, axis=0) + penalty
    spread = np.repeat(same_w, np.diff(labels.w_starts, append=len(read)), axis=0)
    best[labels.by_w] = np.minimum(best[labels.by_w], spread)
    result: Floats = best
    return result


def _own(
    graph: KernelGraph, split: Split, kernel: int, labels: _Labels, position: dict[tuple[int, int], int]
) -> Floats:
    """area[label, read, written] of a kernel, infinite for labels that it cannot have."""
    table = protocol_areas(graph.kernels[kernel], split)
    count = len(FEATURE_SPLITS)
    area = np.full((len(labels.h), count, count), np.inf)
    rows = [position[pair] for pair in zip(table.h.tolist(), table.w.tolist(), strict=True)]
    area[rows] = table.area
    return area


def protocol_menus(graph: KernelGraph, split: Split, order: Sequence[int], price: Fraction) -> tuple[Menu, ...]:
    """Menus restricted to one protocol a kernel; `price` is what an element of area is worth in the score."""
    tables = [protocol_areas(graph.kernels[k], split) for k in order]
    pairs = sorted({pair for t in tables for pair in zip(t.h.tolist(), t.w.tolist(), strict=True)})
    labels, position = _Labels.of(pairs), {pair: i for i, pair in enumerate(pairs)}
    wired = [i > 0 and (order[i - 1], order[i]) in graph.wires for i in range(len(order))]
    penalty, worth = float(graph.weights.adapter), max(float(price), LEAST_PRICE)
    costs: list[Floats] = []
    for i, kernel in enumerate(order):
        area = worth * _own(graph, split, kernel, labels, position)
        if costs:
            area = area + _entering(costs[-1], labels, penalty, wired[i])[:, :, None]
        costs.append(area.min(axis=1))
    chosen = _backwards(graph, split, order, worth, labels, position, costs, wired)
    return tuple(menu(node, split, chosen[k]) for k, node in enumerate(graph.kernels))


def _backwards(
    graph: KernelGraph,
    split: Split,
    order: Sequence[int],
    price: float,
    labels: _Labels,
    position: dict[tuple[int, int], int],
    costs: Sequence[Floats],
    wired: Sequence[bool],
) -> dict[int, Protocol]:
    """Reads the choices from the last kernel to the first."""
    penalty, chosen = float(graph.weights.adapter), {}
    state = np.unravel_index(int(costs[-1].argmin()), costs[-1].shape)
    for i in range(len(order) - 1, -1, -1):
        label, written = int(state[0]), int(state[1])
        area = price * _own(graph, split, order[i], labels, position)[label, :, written]
        if i > 0:
            area = area + _entering(costs[i - 1], labels, penalty, wired[i])[label]
        read = int(area.argmin())
        splits = FEATURE_SPLITS[read], FEATURE_SPLITS[written]
        chosen[order[i]] = Protocol(int(labels.h[label]), int(labels.w[label]), *splits)
        if i > 0:
            differ = penalty * ((labels.h != labels.h[label]).astype(float) + (labels.w != labels.w[label]))
            feature = np.full(len(FEATURE_SPLITS), penalty if wired[i] else 0.0)
            if read:
                feature[read] = 0.0
            before = costs[i - 1] + differ[:, None] + feature[None, :]
            state = np.unravel_index(int(before.argmin()), before.shape)
    return chosen
