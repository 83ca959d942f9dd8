"""Start-time windows by Bellman-Ford on both ends of every span.

A read of u by v over distance d spans `delta = t(v) + d*II - t(u)` cycles with `latency(u) <= delta <= II`. Both ends
are difference constraints, so they say at once which II no schedule of any length can meet (a positive cycle), and how
far any operation of a connected body can start from any other one. With up to k shared MOVEs on the value the upper end
becomes `(k + 1) * II`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from .problem import Problem

__all__ = [
    "Difference",
    "Window",
    "components",
    "differences",
    "earliest",
    "horizon_windows",
    "positive_cycle",
    "rooted_windows",
]


@dataclass(frozen=True, slots=True)
class Difference:
    """low <= t(dst) - t(src) <= high."""

    src: int
    dst: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Window:
    """Start times low..high, both included."""

    low: int
    high: int


def differences(problem: Problem, ii: int) -> tuple[Difference, ...]:
    """The spans of all reads; a MOVE also starts no later than its value's last consumer allows."""
    operations = problem.operations
    found: list[Difference] = []
    for read in problem.reads:
        source = read.sources[0]
        latency, hops = operations[source].least_latency_cycles, len(read.sources)
        shift = read.distance * ii
        found.append(Difference(source, read.reader, latency - shift, hops * ii - shift))
    return tuple(found)


def _arcs(count: int, constraints: Sequence[Difference]) -> list[list[tuple[int, int]]]:
    """Arcs (to, weight) meaning t(to) >= t(from) + weight."""
    arcs: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for c in constraints:
        arcs[c.src].append((c.dst, c.low))
        arcs[c.dst].append((c.src, -c.high))
    return arcs


def _relax(arcs: Sequence[Sequence[tuple[int, int]]], start: list[int | None]) -> list[int | None] | None:
    """Longest paths from the given start values; None when a positive cycle makes them unbounded."""
    count = len(arcs)
    queue = deque(i for i, time in enumerate(start) if time is not None)
    waiting = [time is not None for time in start]
    rounds = [0] * count
    while queue:
        node = queue.popleft()
        waiting[node] = False
        time = start[node]
        assert time is not None
        for other, weight in arcs[node]:
            known = start[other]
            if known is None or time + weight > known:
                start[other] = time + weight
                if not waiting[other]:
                    rounds[other] += 1
                    if rounds[other] > count:
                        return None
                    waiting[other] = True
                    queue.append(other)
    return start


def earliest(count: int, constraints: Sequence[Difference]) -> list[int] | None:
    """The least start times >= 0 that meet all constraints, or None if none do at any length."""
    times = _relax(_arcs(count, constraints), [0] * count)
    return None if times is None else [t for t in times if t is not None]


def positive_cycle(count: int, constraints: Sequence[Difference], endless: bool = False) -> tuple[int, ...]:
    """The operations of a cycle of constraints that cannot all hold, in order; () if there is none."""
    arcs = [(c.src, c.dst, c.low) for c in constraints]
    arcs += [] if endless else [(c.dst, c.src, -c.high) for c in constraints]
    time, before = [0] * count, [-1] * count
    for _ in range(count + 1):
        last = -1
        for src, dst, weight in arcs:
            if time[src] + weight > time[dst]:
                time[dst], before[dst], last = time[src] + weight, src, dst
        if last < 0:
            return ()
    for _ in range(count):  # walk back until surely on the cycle
        last = before[last]
    cycle = [last]
    while before[cycle[-1]] != last:
        cycle.append(before[cycle[-1]])
    return tuple(reversed(cycle))


def horizon_windows(count: int, constraints: Sequence[Difference], slack: int) -> tuple[Window, ...] | None:
    """Windows of all schedules at most `slack` cycles longer than the shortest one."""
    early = earliest(count, constraints)
    mirrored = [Difference(c.dst, c.src, c.low, c.high) for c in constraints]
    late = earliest(count, mirrored)
    if early is None or late is None:
        return None
    end = max(early) + slack
    return tuple(Window(a, end - b) for a, b in zip(early, late, strict=True))


def components(count: int, constraints: Sequence[Difference]) -> tuple[tuple[int, ...], ...]:
    """Operations that constraints tie together, each group ascending."""
    leader = list(range(count))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for c in constraints:
        a, b = find(c.src), find(c.dst)
        leader[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for i in range(count):
        groups.setdefault(find(i), []).append(i)
    return tuple(tuple(group) for group in groups.values())


def rooted_windows(
    count: int, constraints: Sequence[Difference], ii: int, roots: Sequence[int]
) -> tuple[Window, ...] | None:
    """Windows that hold for schedules of every length.

    Starting a whole body, or one component of it by whole IIs, earlier or later changes nothing, so `roots` (one per
    component) start at 0 (the first one) or in 0 … II - 1 (the others); everything else is bounded from there.
    """
    arcs = _arcs(count, constraints)
    backward = _arcs(count, [Difference(c.dst, c.src, c.low, c.high) for c in constraints])
    low: list[int | None] = [None] * count
    high: list[int | None] = [None] * count
    for order, root in enumerate(roots):
        low[root], high[root] = 0, 0 if order == 0 else 1 - ii
    early, late = _relax(arcs, low), _relax(backward, high)
    if early is None or late is None:
        return None
    return tuple(Window(a, -b) for a, b in zip(early, late, strict=True) if a is not None and b is not None)
