"""Which rectangles can a kernel take at a target time? Exact enumeration, no search.

For every split (h, w) with h w <= side / 2 and every cap on c (the height is h w (cap + 1)), each convolution of the
kernel independently takes c = min(cap, C) and the least k that keeps time <= target and memory <= limit:

    k >= ceil(K / floor(target T^2 / (R S ceil(H/h) ceil(W/w) ceil(C/c))))
    k >= K (R S C h w + (W+S-1)(H+R-1) c) / (c h w limit)

both of which fall as c grows, so nothing better exists at that height. The rectangles that no other one
dominates are the kernel's :class:`Menu`; a rotated copy of each is also on offer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mapper.kgraph import KernelGraph, KernelNode

from .kernels import Arguments, Conv, convolutions

__all__ = [
    "FAR",
    "FEATURE_SPLITS",
    "Ints",
    "Menu",
    "Protocol",
    "ProtocolAreas",
    "Split",
    "curve",
    "inverse",
    "least_k",
    "menu",
    "near_arguments",
    "protocol_areas",
]

Ints = npt.NDArray[np.int64]
FAR = 1 << 13  # an extent that no fabric has: "does not fit"


@dataclass(frozen=True, slots=True)
class Split:
    """What the shapes of a kernel may depend on: the fabric's longer side, its memory and the target time."""

    side: int
    memory_limit: int
    target: Fraction

    @staticmethod
    def of(graph: KernelGraph, target: Fraction) -> Split:
        return Split(max(graph.width, graph.height), graph.memory_limit, target)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a kernel's streams are split: h, w, features read (its first c) and written; 0 leaves a split free."""

    h: int
    w: int
    reads: int = 0
    writes: int = 0


FEATURE_SPLITS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)  # what a protocol may say about features; 0: free


@dataclass(frozen=True, slots=True)
class ProtocolAreas:
    """area[i, r, s]: least elements at (h[i], w[i]) reading FEATURE_SPLITS[r] and writing FEATURE_SPLITS[s]."""

    h: Ints
    w: Ints
    area: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Menu:
    """Undominated rectangles, tall ascending and wide descending, each with its arguments."""

    tall: tuple[int, ...]
    wide: tuple[int, ...]
    arguments: tuple[Arguments, ...]

    def fits(self, wide: int, tall: int) -> tuple[Arguments, int] | None:
        """Arguments and rotation of the smallest rectangle inside a box of `wide` x `tall`."""
        options = [(w * t, 0, i) for i, (w, t) in enumerate(self._sides()) if w <= wide and t <= tall]
        options += [(w * t, 90, i) for i, (w, t) in enumerate(self._sides()) if t <= wide and w <= tall]
        if not options:
            return None
        _, rotation, index = min(options)
        return self.arguments[index], rotation

    def _sides(self) -> list[tuple[int, int]]:
        return list(zip(self.wide, self.tall, strict=True))

    @property
    def area(self) -> int:
        """The least number of elements; FAR squared where no rectangle fits."""
        return min((w * t for w, t in self._sides()), default=FAR * FAR)


@dataclass(frozen=True, slots=True)
class _Table:
    """Every (h, w, cap) with the k of each convolution, one row each; infeasible rows are left out."""

    h: Ints
    w: Ints
    cap: Ints
    k: Ints


def _splits(node: KernelNode, side: int) -> tuple[Ints, Ints, Ints]:
    """All (h, w, cap) with h w (cap + 1) <= side; caps above every C are the same kernel, only taller."""
    most = max(conv.C for conv in convolutions(node))
    rows = [
        (h, w, min(most, side // (h * w) - 1))
        for h in range(1, min(node.H, side // 2) + 1)
        for w in range(1, min(node.W, side // (2 * h)) + 1)
    ]
    h, w, caps = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    cap = np.concatenate([np.arange(1, count + 1, dtype=np.int64) for count in caps])
    return np.repeat(h, caps), np.repeat(w, caps), cap


def _least_k(conv: Conv, h: Ints, w: Ints, c: Ints, split: Split) -> Ints:
    """The two inequalities of the module's text; K + 1 where no k will do."""
    turns = -(-conv.H // h) * -(-conv.W // w) * -(-conv.C // c)
    rounds = _rounds(conv, split) // turns  # how many groups of filters the time allows
    by_time = np.where(rounds > 0, -(-conv.K // np.maximum(rounds, 1)), conv.K + 1)
    image = (conv.W + conv.S - 1) * (conv.H + conv.R - 1)
    words = conv.K * (conv.R * conv.S * conv.C * h * w + image * c)
    by_memory = -(-words // (c * h * w * split.memory_limit))
    return np.minimum(np.maximum(by_time, by_memory), conv.K + 1)


def _table(node: KernelNode, split: Split) -> _Table:
    h, w, cap = _splits(node, split.side)
    convs = convolutions(node)
    k = np.stack([_least_k(conv, h, w, np.minimum(cap, conv.C), split) for conv in convs], axis=1)
    limits = np.array([conv.K for conv in convs])
    good = (k <= limits).all(axis=1) & (3 * k.sum(axis=1) <= split.side)
    return _Table(h[good], w[good], cap[good], k[good])


def _arguments(node: KernelNode, table: _Table, row: int, protocol: Protocol | None) -> Arguments:
    c = [min(int(table.cap[row]), conv.C) for conv in convolutions(node)]
    if protocol is not None and protocol.reads:
        c[0] = protocol.reads
    return Arguments(int(table.h[row]), int(table.w[row]), tuple(c), tuple(int(k) for k in table.k[row]))


def menu(node: KernelNode, split: Split, protocol: Protocol | None = None) -> Menu:
    """The Pareto front of a kernel, of one protocol where given; equal formal arguments share one answer."""
    return _menu(replace(node, id=0, name=""), split, protocol)


def near_arguments(node: KernelNode, split: Split, most: int) -> tuple[Arguments, ...]:
    """Least arguments of every (h, w, cap on c) whose rectangle has at most so many elements, undominated or not."""
    table = _cached_table(replace(node, id=0, name=""), split)
    area = table.h * table.w * (table.cap + 1) * 3 * table.k.sum(axis=1)
    return tuple(_arguments(node, table, int(row), None) for row in np.flatnonzero(area <= most))


def protocol_areas(node: KernelNode, split: Split) -> ProtocolAreas:
    """The least number of elements of a kernel for every protocol made of FEATURE_SPLITS."""
    return _protocol_areas(replace(node, id=0, name=""), split)


@lru_cache(maxsize=1 << 18)
def least_k(conv: Conv, h: int, w: int, c: int, split: Split) -> int:
    """The least k of one convolution at (h, w, c), as in the module's text; K + 1 where none will do."""
    rounds = _rounds(conv, split) // (-(-conv.H // h) * -(-conv.W // w) * -(-conv.C // c))
    if rounds == 0:
        return conv.K + 1
    image = (conv.W + conv.S - 1) * (conv.H + conv.R - 1)
    words = conv.K * (conv.R * conv.S * conv.C * h * w + image * c)
    return min(conv.K + 1, max(-(-conv.K // rounds), -(-words // (c * h * w * split.memory_limit))))


@lru_cache(maxsize=4096)
def _rounds(conv: Conv, split: Split) -> int:
    """How many steps of R S / T^2 the target allows."""
    budget = split.target * conv.T * conv.T / (conv.R * conv.S)
    return budget.numerator // budget.denominator


_cached_table = lru_cache(maxsize=128)(_table)


def _under(node: KernelNode, split: Split, table: _Table, protocol: Protocol) -> _Table:
    """The rows of one (h, w), with c and k of the outer convolutions set as the protocol says."""
    convs, out = convolutions(node), 2 if node.kind != "conv" else 0
    kept = (table.h == protocol.h) & (table.w == protocol.w) & (table.cap >= protocol.reads)
    h, w, cap, k = table.h[kept], table.w[kept], table.cap[kept], table.k[kept].copy()
    if protocol.reads:
        k[:, 0] = _least_k(convs[0], h, w, np.full_like(h, min(protocol.reads, convs[0].C)), split)
    good = k[:, 0] <= convs[0].K
    if protocol.writes:
        good &= (k[:, out] <= protocol.writes) & (protocol.writes <= convs[out].K)
        k[:, out] = protocol.writes
    good &= 3 * k.sum(axis=1) <= split.side
    return _Table(h[good], w[good], cap[good], k[good])


@lru_cache(maxsize=256)
def _protocol_areas(node: KernelNode, split: Split) -> ProtocolAreas:
    table = _cached_table(node, split)
    labels = table.h * (split.side + 1) + table.w
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    convs, out, count = convolutions(node), 2 if node.kind != "conv" else 0, len(FEATURE_SPLITS)
    areas = np.full((len(starts), count, count), np.inf)
    for i, reads in enumerate(FEATURE_SPLITS):
        first, fits = table.k[:, 0], np.full(len(labels), reads <= convs[0].C)
        if reads:
            first = _least_k(convs[0], table.h, table.w, np.full_like(table.h, min(reads, convs[0].C)), split)
            fits &= (first <= convs[0].K) & (table.cap >= reads)
        k = table.k.copy()
        k[:, 0] = first
        for j, writes in enumerate(FEATURE_SPLITS):
            last = k[:, out]
            own = fits & (last <= writes) & (writes <= convs[out].K) if writes else fits
            wide = 3 * (k.sum(axis=1) + (writes - last if writes else 0))
            area = np.where(own & (wide <= split.side), table.h * table.w * (table.cap + 1) * wide, np.inf)
            areas[:, i, j] = np.minimum.reduceat(area, starts) if len(starts) else np.inf
    return ProtocolAreas(table.h[starts], table.w[starts], areas)


@lru_cache(maxsize=4096)
def _menu(node: KernelNode, split: Split, protocol: Protocol | None) -> Menu:
    table = _cached_table(node, split)
    if protocol is not None:
        table = _under(node, split, table, protocol)
    tall, wide = table.h * table.w * (table.cap + 1), 3 * table.k.sum(axis=1)
    order = np.lexsort((wide, tall))
    before = np.concatenate(([FAR], np.minimum.accumulate(wide[order])[:-1]))
    front = order[wide[order] < before]
    return Menu(
        tuple(int(t) for t in tall[front]),
        tuple(int(w) for w in wide[front]),
        tuple(_arguments(node, table, int(row), protocol) for row in front),
    )


def curve(shapes: Menu, width: int, height: int) -> Ints:
    """Least height at each width 0 .. width, both rotations allowed; FAR above `height`."""
    least = np.full(width + 1, FAR, dtype=np.int64)
    for x, y in (*zip(shapes.wide, shapes.tall, strict=True), *zip(shapes.tall, shapes.wide, strict=True)):
        if x <= width and y <= height:
            least[x] = min(least[x], y)
    return np.minimum.accumulate(least)


def inverse(least: Ints, height: int) -> Ints:
    """Least width at each height 0 .. height, from a falling curve; FAR where no width will do."""
    heights = np.arange(height + 1, dtype=np.int64)
    width = np.searchsorted(-least, -heights, side="left")
    return np.where(width < len(least), width, FAR)
