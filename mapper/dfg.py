"""One loop body as operations and values with iteration distances.

A :class:`Dfg` is what array targets place: its nodes are operations of one iteration, its edges are
values. An edge of `distance` d feeds the consumer d iterations later. Bodies come from two doors: the
loop-kernel files of `frontends/dfg.py` (operations are labels) and `mapper.kernels` (operations compute).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

__all__ = ["Dfg", "DfgError", "Edge", "MemoryUse", "Node", "Region", "recurrence_mii"]

Kind = Literal["exe", "cex", "load", "store"]


class DfgError(ValueError):
    """A loop body that breaks its own rules; the message names the node or edge."""


@dataclass(frozen=True, slots=True)
class Region:
    """A memory region that loads and stores of a body share; `words` None when only known at run time.

    `share` is the fraction of a row's local memory that the region needs, None when unknown. `one_row`: an earlier run
    left the region in the memory of one row, so all operations on it stand in one row.
    """

    id: int
    words: int | None = None
    share: float | None = None
    may_split: bool = False
    tensor: str | None = None
    one_row: bool = False


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """How a load or store reaches its region.

    `base`, `offset`: nodes that feed the address through a register, None for a host address register;
    `data`, `predicate`: the node stored, the condition; `pair`: other half of an unaligned load;
    `descriptor`: transfer descriptor, equal numbers may share one memory port.
    """

    region: int
    descriptor: int = 0
    base: int | None = None
    offset: int | None = None
    data: int | None = None
    predicate: int | None = None
    pair: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. `stages` are the fused sub-operations where a PE has several in a row; `host` are
    loop-invariant values read from registers (equal numbers are equal values); `constant` is an immediate.
    """

    id: int
    op: str
    kind: Kind = "exe"
    stages: tuple[str, ...] = ()
    host: tuple[int, ...] = ()
    self_update: bool = False
    constant: float | int | None = None
    memory: MemoryUse | None = None
    pin: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """A value: `src` feeds operand `operand` of `dst`, `distance` iterations later."""

    src: int
    dst: int
    distance: int = 0
    operand: int = 0


@dataclass(frozen=True)
class Dfg:
    """A loop body. Checked at construction: known ends, no zero-distance cycle. Raises :class:`DfgError`.

    `host_values` gives the host constants (by number) whose value is known with the body.
    """

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    regions: tuple[Region, ...] = ()
    loop_levels: int = 0
    loop_host: tuple[int, ...] = ()
    complete: bool = True
    source: str = ""
    host_values: tuple[tuple[int, float | int], ...] = ()
    _by_id: Mapping[int, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_id: dict[int, Node] = {}
        for node in self.nodes:
            if node.id in by_id:
                raise DfgError(f"node {node.id} is given twice in loop body {self.name!r}")
            by_id[node.id] = node
        object.__setattr__(self, "_by_id", by_id)
        for edge in self.edges:
            for end in (edge.src, edge.dst):
                if end not in by_id:
                    raise DfgError(f"edge {edge.src}->{edge.dst} names node {end}, which loop body {self.name!r} lacks")
            if edge.distance < 0:
                raise DfgError(f"edge {edge.src}->{edge.dst} has negative distance {edge.distance}")
        topological_order(by_id, (e for e in self.edges if e.distance == 0), self.name)

    def __getitem__(self, node: int) -> Node:
        return self._by_id[node]

    @cached_property
    def predecessors(self) -> Mapping[int, tuple[Edge, ...]]:
        """Incoming edges per node, by operand."""
        return self._grouped(lambda e: e.dst, lambda e: (e.operand, e.src, e.distance))

    @cached_property
    def successors(self) -> Mapping[int, tuple[Edge, ...]]:
        """Outgoing edges per node."""
        return self._grouped(lambda e: e.src, lambda e: (e.dst, e.distance, e.operand))

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Node ids so that distance-0 edges point forward; ties by id, so the order is deterministic."""
        return topological_order(self._by_id, (e for e in self.edges if e.distance == 0), self.name)

    def _repr_svg_(self) -> str:
        from mapper.report.notebook import dfg_svg

        return dfg_svg(self)

    def _grouped(self, key, rank) -> Mapping[int, tuple[Edge, ...]]:  # type: ignore[no-untyped-def]
        groups: dict[int, list[Edge]] = {node.id: [] for node in self.nodes}
        for edge in self.edges:
            groups[key(edge)].append(edge)
        return {node: tuple(sorted(found, key=rank)) for node, found in groups.items()}


def topological_order(ids: Iterable[int], edges: Iterable[Edge], name: str) -> tuple[int, ...]:
    """Kahn's algorithm, smallest id first; raises :class:`DfgError` on a cycle without loop distance."""
    import heapq

    waiting: dict[int, int] = {i: 0 for i in ids}
    users: dict[int, list[int]] = defaultdict(list)
    for edge in edges:
        waiting[edge.dst] += 1
        users[edge.src].append(edge.dst)
    ready = [i for i, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        node = heapq.heappop(ready)
        order.append(node)
        for user in users[node]:
            waiting[user] -= 1
            if waiting[user] == 0:
                heapq.heappush(ready, user)
    if len(order) != len(waiting):
        stuck = min(i for i, count in waiting.items() if count > 0)
        raise DfgError(f"loop body {name!r} has a cycle of distance-0 edges through node {stuck}")
    return tuple(order)


def recurrence_mii(dfg: Dfg, latency: Mapping[int, int] | None = None) -> int:
    """Smallest II that no cycle forbids: for every cycle, latency sum <= II * distance sum (1 without cycles).

    Bellman-Ford per II candidate on the constraint graph t(v) - t(u) >= latency(u) - II * distance.
    """
    low, high = 1, max(1, sum((latency or {}).get(n.id, 1) for n in dfg.nodes))
    while low < high:
        middle = (low + high) // 2
        if _has_positive_cycle(dfg, middle, latency):
            low = middle + 1
        else:
            high = middle
    return low


def _has_positive_cycle(dfg: Dfg, ii: int, latency: Mapping[int, int] | None) -> bool:
    time = dict.fromkeys((n.id for n in dfg.nodes), 0)
    weights = [(e.src, e.dst, (latency or {}).get(e.src, 1) - ii * e.distance) for e in dfg.edges]
    for _ in range(len(time)):
        changed = False
        for src, dst, weight in weights:
            if time[src] + weight > time[dst]:
                time[dst] = time[src] + weight
                changed = True
        if not changed:
            return False
    return True
