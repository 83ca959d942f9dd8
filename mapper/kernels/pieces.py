"""Cuts a long body into several that pass values through memory.

A piece is a stretch of the body in an order of its *groups*: nodes that cannot part (a recurrence, a store with its
condition, a load and a store of one region with what lies between). A value that a later piece reads gets a region of
its own: the piece that makes it stores it, each later reader loads it. What does not depend on any load (counters,
addresses) and plain loads are made again where they are needed. Each cut is placed where a piece still fits and least
values cross.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import networkx as nx

from mapper.dfg import Dfg, DfgError, Edge, MemoryUse, Node, Region

__all__ = ["pieces"]


def pieces(dfg: Dfg, limit: int) -> tuple[Dfg, ...]:
    """`dfg` as bodies of at most `limit` nodes, to run one after the other over the same iterations.

    Raises :class:`DfgError` when nodes that cannot part exceed the limit.
    """
    if len(dfg.nodes) <= limit:
        return (dfg,)
    cut = _Cut(dfg)
    start = 0
    parts: list[Dfg] = []
    while start < len(cut.groups):
        stop = cut.best_stop(start, limit)
        parts.append(cut.piece(start, stop, len(parts)))
        start = stop
    return tuple(parts)


@dataclass(frozen=True)
class _Cut:
    """A body as an ordered row of groups."""

    dfg: Dfg

    @cached_property
    def free(self) -> frozenset[int]:
        """Nodes that depend on no load and store nothing, and loads at their addresses from regions that the body does
        not change: made again in every piece that uses them."""
        tainted = {n.id for n in self.dfg.nodes if n.kind != "exe"}
        changed = True
        while changed:
            reached = {e.dst for e in self.dfg.edges if e.src in tainted} - tainted
            changed = bool(reached)
            tainted |= reached
        plain = frozenset(n.id for n in self.dfg.nodes) - tainted
        changed_regions = {n.memory.region for n in self.dfg.nodes if n.kind == "store" and n.memory}
        loads = (n for n in self.dfg.nodes if n.kind == "load" and n.memory and n.memory.region not in changed_regions)
        return plain | {n.id for n in loads if all(e.src in plain for e in self.dfg.predecessors[n.id])}

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Nodes that stay together, sources first."""
        graph = nx.DiGraph()
        graph.add_nodes_from(n.id for n in self.dfg.nodes if n.id not in self.free)
        graph.add_edges_from((a, b) for a, b in self._bonds() if a in graph and b in graph)
        condensed = nx.condensation(graph)
        members = {g: tuple(sorted(condensed.nodes[g]["members"])) for g in condensed}
        place = {node: position for position, node in enumerate(self.dfg.order)}
        first = {g: max(place[n] for n in nodes) for g, nodes in members.items()}
        order = nx.lexicographical_topological_sort(condensed, key=first.__getitem__)
        return tuple(members[g] for g in order)

    def _bonds(self) -> Iterable[tuple[int, int]]:
        """Edges, and their opposites where the ends must not part."""
        stored = {n.memory.region: n.id for n in self.dfg.nodes if n.kind == "store" and n.memory}
        for edge in self.dfg.edges:
            yield edge.src, edge.dst
            if edge.distance or self.dfg[edge.src].kind == "cex":
                yield edge.dst, edge.src
        for node in self.dfg.nodes:
            if node.kind == "load" and node.memory and node.memory.region in stored:
                yield stored[node.memory.region], node.id

    @cached_property
    def group_of(self) -> dict[int, int]:
        return {node: g for g, nodes in enumerate(self.groups) for node in nodes}

    def imported(self, start: int, stop: int) -> tuple[int, ...]:
        """Values of earlier pieces that groups start … stop - 1 read."""
        found = {
            e.src for g in range(start, stop) for n in self.groups[g] for e in self.dfg.predecessors[n]
            if e.src not in self.free and self.group_of[e.src] < start
        }  # fmt: skip
        return tuple(sorted(found))

    def exported(self, start: int, stop: int) -> tuple[int, ...]:
        """Values of groups start … stop - 1 that later pieces read."""
        return tuple(
            n for g in range(start, stop) for n in self.groups[g]
            if any(self.group_of[e.dst] >= stop for e in self.dfg.successors[n] if e.dst in self.group_of)
        )  # fmt: skip

    def size(self, start: int, stop: int) -> int:
        """Nodes of a piece, its loads and stores of crossing values with their counters included."""
        crossing = len(self.imported(start, stop)) + len(self.exported(start, stop))
        return len(self._kept(start, stop)) + crossing * (3 if self._counts else 1)

    @cached_property
    def _counts(self) -> bool:
        """Do addresses of this body come from counters inside it?"""
        return self.dfg.loop_levels == 0

    def best_stop(self, start: int, limit: int) -> int:
        """Among the stops that fit, the one with the fewest crossing values, then the farthest."""
        fitting = [s for s in range(start + 1, len(self.groups) + 1) if self.size(start, s) <= limit]
        if not fitting:
            nodes = self.groups[start]
            needed = self.size(start, start + 1)
            raise DfgError(f"nodes {nodes[0]} … of {self.dfg.name!r} cannot part and need {needed} nodes, not {limit}")
        if fitting[-1] == len(self.groups):
            return fitting[-1]
        least = (start + fitting[-1] + 1) // 2  # a piece may end early for a narrow cut, but not before its half
        return min((s for s in fitting if s >= least), key=lambda s: (len(self.exported(start, s)), -s))

    def _kept(self, start: int, stop: int) -> list[int]:
        """The groups' nodes and the free nodes behind them."""
        kept = {n for g in range(start, stop) for n in self.groups[g]}
        pending = list(kept)
        while pending:
            for edge in self.dfg.predecessors[pending.pop()]:
                if edge.src in self.free and edge.src not in kept:
                    kept.add(edge.src)
                    pending.append(edge.src)
        return sorted(kept)

    def piece(self, start: int, stop: int, number: int) -> Dfg:
        kept = self._kept(start, stop)
        part = _Part(self.dfg, self._counts)
        for value in self.imported(start, stop):
            part.add_load(value)
        inside = set(kept)
        part.nodes += [part.moved(self.dfg[n]) for n in kept]
        part.edges += [part.rewired(e) for n in kept for e in self.dfg.predecessors[n] if part.known(e.src, inside)]
        for value in self.exported(start, stop):
            part.add_store(value)
        return part.finished(f"{self.dfg.name} part {number}")


@dataclass
class _Part:
    """One piece under construction; `loaded` maps a value of an earlier piece to its load."""

    dfg: Dfg
    counts: bool
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    regions: dict[int, Region] = field(default_factory=dict)
    loaded: dict[int, int] = field(default_factory=dict)

    def _new_id(self) -> int:
        taken = max((n.id for n in self.nodes), default=0)
        return max(taken, max(n.id for n in self.dfg.nodes)) + 1

    def known(self, source: int, inside: set[int]) -> bool:
        return source in inside or source in self.loaded

    def moved(self, node: Node) -> Node:
        """The node with the values of earlier pieces replaced by their loads."""
        use = node.memory
        if use is None:
            return node
        ends = {f: self.loaded.get(v, v) for f in ("base", "offset", "data", "predicate")
                if (v := getattr(use, f)) is not None}  # fmt: skip
        return replace(node, memory=replace(use, **ends))

    def rewired(self, edge: Edge) -> Edge:
        return replace(edge, src=self.loaded.get(edge.src, edge.src))

    def add_load(self, value: int) -> None:
        address = self._address()
        node = Node(self._new_id(), "load", "load", memory=self._use(value, address))
        self.loaded[value] = self._add(node, [address])

    def add_store(self, value: int) -> None:
        address = self._address()
        use = replace(self._use(value, address), data=value)
        self._add(Node(self._new_id(), "store", "store", memory=use), [address, value])

    def _use(self, value: int, address: int | None) -> MemoryUse:
        number = max((r.id for r in self.dfg.regions), default=-1) + 1 + value
        self.regions[number] = Region(number, tensor=f"{self.dfg.name}.{value}")
        return MemoryUse(number, number, offset=address)

    def _add(self, node: Node, sources: Sequence[int | None]) -> int:
        self.nodes.append(node)
        fed = [s for s in sources if s is not None]
        self.edges += [Edge(source, node.id, 0, operand) for operand, source in enumerate(fed)]
        return node.id

    def _address(self) -> int | None:
        """A counter of its own for the passed values; None where the address unit counts."""
        if not self.counts:
            return None
        phi = self._add(Node(self._new_id(), "phi", constant=-1), [])
        step = self._add(Node(self._new_id(), "iadd", constant=1), [phi])
        self.edges.append(Edge(step, phi, 1))
        return step

    def finished(self, name: str) -> Dfg:
        used = {n.memory.region for n in self.nodes if n.memory is not None}
        regions = [r for r in self.dfg.regions if r.id in used] + list(self.regions.values())
        hosts = {h for n in self.nodes for h in n.host}
        known = tuple((h, v) for h, v in self.dfg.host_values if h in hosts)
        return replace(
            self.dfg, name=name, nodes=tuple(sorted(self.nodes, key=lambda n: n.id)), edges=tuple(self.edges),
            regions=tuple(regions), host_values=known,
        )  # fmt: skip
