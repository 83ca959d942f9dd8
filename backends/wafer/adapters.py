"""Agreement: inside fixed boxes and at a fixed target, arguments are exchanged so that neighbours need no adapter.

A descent over one kernel (all its arguments) or one edge (producer's k and consumer's c move together) at a time, until
no exchange lowers the number of adapter units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mapper.kgraph import KernelGraph, KernelNode

from .kernels import Arguments, convolutions
from .shapes import Split, least_k
from .solution import adapter_units
from .trees import Box

__all__ = ["agree"]

_SWEEPS = 8


@dataclass(frozen=True, slots=True)
class _Room:
    """A kernel with its box and the target: which arguments fit."""

    node: KernelNode
    split: Split
    box: Box

    def arguments(self, h: int, w: int, reads: int | None, writes: int | None) -> tuple[Arguments, int] | None:
        """Arguments with this protocol (None: free) and the rotation, or None if they do not fit the box."""
        for rotation, wide, tall in ((0, self.box.wide, self.box.tall), (90, self.box.tall, self.box.wide)):
            found = self._upright(h, w, reads, writes, wide, tall)
            if found is not None:
                return found, rotation
        return None

    def _upright(self, h: int, w: int, reads: int | None, writes: int | None, wide: int, tall: int) -> Arguments | None:
        cap = tall // (h * w) - 1
        if cap < 1 or (reads is not None and reads > cap):
            return None
        convs = convolutions(self.node)
        c = [min(cap, conv.C) for conv in convs]
        if reads is not None:
            c[0] = reads
        k = [least_k(conv, h, w, ci, self.split) for conv, ci in zip(convs, c, strict=True)]
        out = 2 if len(k) > 2 else 0
        if writes is not None:
            if writes < k[out]:
                return None
            k[out] = writes
        if any(ki > conv.K for ki, conv in zip(k, convs, strict=True)) or c[0] > convs[0].C or 3 * sum(k) > wide:
            return None
        return Arguments(h, w, tuple(c), tuple(k))


@dataclass(slots=True)
class _Descent:
    """The running assignment: arguments and rotation a kernel."""

    rooms: Sequence[_Room]
    chosen: list[tuple[Arguments, int]]
    touching: Sequence[tuple[tuple[int, int], ...]]

    def units(self, kernels: Sequence[int]) -> int:
        """Adapter units on the edges that touch these kernels; an edge between two of them counts twice."""
        edges = (edge for k in kernels for edge in self.touching[k])
        return sum(adapter_units(self.chosen[a][0], self.chosen[b][0]) for a, b in edges)

    def attempt(self, changes: Sequence[tuple[int, tuple[Arguments, int] | None]]) -> bool:
        """Make the changes if all fit and together save units."""
        if any(new is None for _, new in changes):
            return False
        kernels = [k for k, _ in changes]
        before, old = self.units(kernels), [self.chosen[k] for k in kernels]
        for k, new in changes:
            assert new is not None
            self.chosen[k] = new
        if self.units(kernels) < before:
            return True
        for k, previous in zip(kernels, old, strict=True):
            self.chosen[k] = previous
        return False

    def improve_kernel(self, k: int) -> bool:
        """Exchange all arguments of one kernel for what its neighbours use."""
        before = [self.chosen[a][0] for a, b in self.touching[k] if b == k]
        after = [self.chosen[b][0] for a, b in self.touching[k] if a == k]
        own = self.chosen[k][0]
        hs, ws = ({own.h} | {n.h for n in before + after}), ({own.w} | {n.w for n in before + after})
        reads = [None, own.reads, *sorted({n.writes for n in before})]
        writes = [None, own.writes, *sorted({n.reads for n in after})]
        saved = False
        if self.units([k]) == 0:
            return False
        for h in sorted(hs):
            for w in sorted(ws):
                if h <= self.rooms[k].node.H and w <= self.rooms[k].node.W:
                    for r in reads:
                        for s in writes:
                            saved |= self.attempt([(k, self.rooms[k].arguments(h, w, r, s))])
        return saved

    def improve_edge(self, a: int, b: int) -> bool:
        """Let the producer's k and the consumer's c meet at a value that neither has now."""
        u, v = self.chosen[a][0], self.chosen[b][0]
        if u.writes == v.reads:
            return False
        low, high = sorted((u.writes, v.reads))
        for value in _values(low, high):
            first = self.rooms[a].arguments(u.h, u.w, u.reads, value) or self.rooms[a].arguments(u.h, u.w, None, value)
            second = self.rooms[b].arguments(v.h, v.w, value, v.writes) or self.rooms[b].arguments(
                v.h, v.w, value, None
            )
            if self.attempt([(a, first), (b, second)]):
                return True
        return False


def _values(low: int, high: int) -> Iterator[int]:
    """Up to 33 values from `low` to `high`, evenly spread."""
    steps = min(32, high - low)
    seen = -1
    for i in range(steps + 1):
        value = low + (high - low) * i // max(1, steps)
        if value != seen:
            yield value
        seen = value


def agree(
    graph: KernelGraph, split: Split, boxes: Sequence[Box], start: Sequence[tuple[Arguments, int]]
) -> tuple[tuple[Arguments, int], ...]:
    """Arguments and rotations inside the boxes with as few adapter units as the descent finds."""
    rooms = [_Room(node, split, box) for node, box in zip(graph.kernels, boxes, strict=True)]
    wires = graph.wires
    touching = [tuple(edge for edge in wires if k in edge) for k in range(len(rooms))]
    descent = _Descent(rooms, list(start), touching)
    for _ in range(_SWEEPS):
        saved = [descent.improve_kernel(k) for k in range(len(rooms))]
        saved += [descent.improve_edge(a, b) for a, b in wires]
        if not any(saved):
            break
    return tuple(descent.chosen)
