"""Contest graphs of one or two kernels: the least score over all arguments, turns and corners, in exact fractions.

A convolution H x W, C features, K filters R x S, stride T, split h, w, c, k ways takes ceil(H/h) ceil(W/w) ceil(C/c)
ceil(K/k) R S / T^2, holds C/c K/k R S + (W + S - 1)/w (H + R - 1)/h K/k words and stands h w (c + 1) high and 3 k wide.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product

from mapper.kgraph import KernelEdge, KernelGraph, KernelNode, PlacedKernel, Weights

__all__ = ["instance", "is_legal", "least_score", "score_of"]


def instance(seed: int) -> KernelGraph:
    """One or two small convolutions on a fabric of some dozens of elements."""
    draw = random.Random(seed)
    kernels = tuple(
        KernelNode(i, f"k{i}", "conv", H=draw.randint(1, 3), W=draw.randint(1, 3), R=draw.randint(1, 2),
                   S=draw.randint(1, 2), C=draw.randint(1, 3), K=draw.randint(1, 3), T=draw.randint(1, 2))
        for i in range(draw.randint(1, 2))
    )  # fmt: skip
    edges = tuple(KernelEdge(0, 1) for _ in range(len(kernels) - 1))
    weights = Weights(Fraction(1), Fraction(draw.choice((0, 1, 1, 3)), 2), Fraction(draw.choice((0, 0, 1, 4))))
    return KernelGraph(f"contest{seed}", draw.randint(4, 11), draw.randint(3, 10), draw.randint(6, 80), weights,
                       kernels, edges)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Form:
    """A kernel's arguments with what they lead to: extents (x, y), time."""

    split: tuple[int, int, int, int]
    turned: bool
    wide: int
    tall: int
    time: Fraction


def _forms(node: KernelNode, limit: int) -> Iterator[Form]:
    spans = (range(1, most + 1) for most in (node.H, node.W, node.C, node.K))
    for h, w, c, k in product(*spans):
        if _words(node, h, w, c, k) > limit:
            continue
        tall, wide = h * w * (c + 1), 3 * k
        time = Fraction(_up(node.H, h) * _up(node.W, w) * _up(node.C, c) * _up(node.K, k) * node.R * node.S)
        yield Form((h, w, c, k), False, wide, tall, time / node.T**2)
        yield Form((h, w, c, k), True, tall, wide, time / node.T**2)


def _words(node: KernelNode, h: int, w: int, c: int, k: int) -> Fraction:
    filters = Fraction(node.K, k)
    image = Fraction((node.W + node.S - 1) * (node.H + node.R - 1), w * h)
    return filters * (Fraction(node.C, c) * node.R * node.S + image)


def _up(total: int, parts: int) -> int:
    return (total + parts - 1) // parts


def least_score(graph: KernelGraph) -> Fraction | None:
    """The least score of a legal placement, None if there is none."""
    menus = [
        [f for f in _forms(node, graph.memory_limit) if f.wide <= graph.width and f.tall <= graph.height]
        for node in graph.kernels
    ]
    if len(menus) == 1:
        return min((graph.weights.time * f.time for f in menus[0]), default=None)

    @cache
    def nearest(aw: int, ah: int, bw: int, bh: int) -> Fraction | None:
        return _nearest(graph, (aw, ah), (bw, bh))

    best: Fraction | None = None
    for a, b in product(*menus):
        least = graph.weights.time * max(a.time, b.time) + graph.weights.adapter * _differ(a, b)
        if best is not None and least >= best:
            continue
        gap = nearest(a.wide, a.tall, b.wide, b.tall)
        if gap is not None and (best is None or least + graph.weights.wirelength * gap < best):
            best = least + graph.weights.wirelength * gap
    return best


def _differ(a: Form, b: Form) -> int:
    """Adapters from a to b: h, w, and what a writes (k) against what b reads (c)."""
    return sum((a.split[0] != b.split[0], a.split[1] != b.split[1], a.split[3] != b.split[2]))


def _nearest(graph: KernelGraph, first: tuple[int, int], second: tuple[int, int]) -> Fraction | None:
    """The least distance of centres of two rectangles that lie apart on the fabric."""
    best: int | None = None
    for dx in range(first[0] - graph.width, graph.width - second[0] + 1):
        if not _fit_side_by_side(graph.width, first[0], second[0], dx):
            continue
        for dy in range(first[1] - graph.height, graph.height - second[1] + 1):
            apart = not (-second[0] < dx < first[0]) or not (-second[1] < dy < first[1])
            if apart and _fit_side_by_side(graph.height, first[1], second[1], dy):
                gap = abs(2 * dx + second[0] - first[0]) + abs(2 * dy + second[1] - first[1])
                best = gap if best is None else min(best, gap)
    return None if best is None else Fraction(best, 2)


def _fit_side_by_side(extent: int, first: int, second: int, shift: int) -> bool:
    """Is there a corner of the first such that both lie within 0 .. extent, the second `shift` further?"""
    return max(first, shift + second) - min(0, shift) <= extent


def is_legal(graph: KernelGraph, places: list[PlacedKernel]) -> bool:
    """Every kernel once, in range, within memory, on the fabric and apart."""
    if sorted(p.name for p in places) != sorted(n.name for n in graph.kernels):
        return False
    nodes = {n.name: n for n in graph.kernels}
    cells: set[tuple[int, int]] = set()
    for place in places:
        node, split = nodes[place.name], (place.h, place.w, place.c[0], place.k[0])
        if not all(1 <= v <= most for v, most in zip(split, (node.H, node.W, node.C, node.K), strict=True)):
            return False
        if place.rotation not in (0, 90) or _words(node, *split) > graph.memory_limit:
            return False
        tall, wide = split[0] * split[1] * (split[2] + 1), 3 * split[3]
        wide, tall = (wide, tall) if place.rotation == 0 else (tall, wide)
        mine = {(place.x + i, place.y + j) for i in range(wide) for j in range(tall)}
        if mine & cells or not all(0 <= x < graph.width and 0 <= y < graph.height for x, y in mine):
            return False
        cells |= mine
    return True


def score_of(graph: KernelGraph, places: list[PlacedKernel]) -> Fraction:
    """The score of a legal placement."""
    found = {p.name: p for p in places}
    forms = []
    for node in graph.kernels:
        p = found[node.name]
        split = (p.h, p.w, p.c[0], p.k[0])
        forms.append(next(f for f in _forms(node, 10**9) if f.split == split and f.turned == (p.rotation == 90)))
    score = graph.weights.time * max(f.time for f in forms)
    if graph.edges:
        a, b = forms
        (pa, pb) = (found[n.name] for n in graph.kernels)
        gap = abs(2 * (pa.x - pb.x) + a.wide - b.wide) + abs(2 * (pa.y - pb.y) + a.tall - b.tall)
        score += graph.weights.wirelength * Fraction(gap, 2) + graph.weights.adapter * _differ(a, b)
    return score
