"""A body as parts that share a row, in the sets of nodes that :mod:`.levels` counts with: integers, one bit a node.

A part is what every plan puts in one row: groups on a cycle of precedence. Parts come in an order that names users
before what they read, and of like parts the lower ones first. All facts lean to the wide side, so that what is ruled
out by them is ruled out by the rules: an exe that may be folded reads as early as if it were, and holds values and
constants as if it were not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from .bounds import Bounds
from .dominance import Dominance
from .listing import Clusters
from .memory import ColumnCount
from .rules import COLUMNS, Body, Read

Mask = int  # a set of nodes, one bit each


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes that every plan of the wider problem puts in one row. All sets are masks over node bits.

    `below`: must be placed in lower rows; `level`: must be placed there or in this row; `reads`: values read;
    `own_row`: values that occupy a register of the row itself; `hosts`: constants read in the row above.
    """

    nodes: Mask
    below: Mask
    level: Mask
    reads: Mask
    own_row: Mask
    hosts: Mask
    exes: int
    conditions: int
    memory: Mask
    is_free: bool  # a load that goes where there is room
    columns_class: int  # of its first memory operation


@dataclass(frozen=True)
class Parts:
    """A body as parts in an order that places users first."""

    body: Body
    bounds: Bounds
    dominance: Dominance

    @cached_property
    def bit(self) -> Mapping[int, Mask]:
        return {i: 1 << n for n, i in enumerate(self.body.ids)}

    @cached_property
    def everything(self) -> Mask:
        return self.mask(self.body.ids)

    def mask(self, nodes: Iterable[int]) -> Mask:
        return sum(self.bit[i] for i in set(nodes))

    def nodes(self, mask: Mask) -> list[int]:
        return [i for i in self.body.ids if mask & self.bit[i]]

    @cached_property
    def columns(self) -> ColumnCount:
        return ColumnCount(self.body, self.dominance.merged)

    @cached_property
    def _flow(self) -> nx.DiGraph[int]:
        """Groups; an edge from each to those that cannot be above it."""
        group = self.body.group_of
        flow: nx.DiGraph[int] = nx.DiGraph()
        flow.add_nodes_from(self.body.groups)
        flow.add_edges_from((group[s], group[u]) for s, u, _ in self.bounds.arcs if group[s] != group[u])
        return flow

    @cached_property
    def _members(self) -> tuple[tuple[int, ...], ...]:
        """Nodes of each part: groups on a cycle share a row, since no distance on it can be positive."""
        parts = nx.strongly_connected_components(self._flow)
        return tuple(sorted(tuple(sorted(i for g in part for i in self.body.groups[g])) for part in parts))

    @cached_property
    def _part_of(self) -> Mapping[int, int]:
        return {i: n for n, nodes in enumerate(self._members) for i in nodes}

    @cached_property
    def _arcs(self) -> Mapping[int, Mapping[int, int]]:
        """Part -> user part -> least distance."""
        found: dict[int, dict[int, int]] = defaultdict(dict)
        for s, u, distance in self.bounds.arcs:
            a, b = self._part_of[s], self._part_of[u]
            if a != b:
                found[a][b] = max(found[a].get(b, 0), distance)
        return found

    def _is_free(self, n: int) -> bool:
        """Loads alone, whose users must all be lower, that hold no more values above them than they give."""
        nodes = self._members[n]
        loads = all(self.body.kind(i) == "load" for i in nodes)
        sources = {s for i in nodes for s in self.body.sources[i]}
        read_below = all(self.body.users[i] for i in nodes) and all(self._arcs.get(n, {}).values())
        return loads and read_below and len(sources) <= len(nodes)

    @cached_property
    def _orders(self) -> tuple[tuple[int, int], ...]:
        """(part, part that it must not be below) by dominance, as far as no cycle comes of it."""
        pairs = {(self._part_of[v], self._part_of[w]) for v, w in self.dominance.order}
        pairs = {(a, b) for a, b in pairs if a != b and not self._is_free(a) and not self._is_free(b)}
        flow: nx.DiGraph[int] = nx.DiGraph((a, b) for a, users in self._arcs.items() for b in users)
        flow.add_edges_from(pairs)
        tied = {n: k for k, part in enumerate(nx.strongly_connected_components(flow)) for n in part}
        return tuple(sorted((a, b) for a, b in pairs if tied[a] != tied[b]))

    @cached_property
    def listed(self) -> tuple[Part, ...]:
        """All parts, users before what they read and lower like parts before upper ones."""
        level: dict[int, set[int]] = defaultdict(set)
        flow: nx.DiGraph[int] = nx.DiGraph()
        flow.add_nodes_from(range(len(self._members)))
        for a, users in self._arcs.items():
            level[a] |= {b for b, distance in users.items() if distance == 0}
            flow.add_edges_from((b, a) for b in users)
        for a, b in self._orders:
            level[a].add(b)
            flow.add_edge(b, a)
        order = nx.lexicographical_topological_sort(flow, key=lambda n: -n)
        return tuple(self._part(n, frozenset(level[n])) for n in order)

    def _part(self, n: int, level: frozenset[int]) -> Part:
        body, nodes = self.body, self._members[n]
        below = frozenset(b for b, distance in self._arcs.get(n, {}).items() if distance > 0)
        reads = {s for i in nodes for s in body.sources[i] if body.kind(s) != "cex"}
        folded = [i for i in nodes if body.fold_of.get(i) in self._forced]
        own = {r.value for i in folded for r in self._reads.get(i, ()) if r.distance > 0}
        own |= {i for i in nodes if body.kind(i) == "load"}
        hosts = {h for i in nodes if i not in body.fold_of for h in body.hosts.get(i, ())}
        memory = [i for i in nodes if body.dfg[i].memory is not None]
        return Part(
            nodes=self.mask(nodes),
            below=sum(self.mask(self._members[b]) for b in below),
            level=sum(self.mask(self._members[b]) for b in level),
            reads=self.mask(frozenset(reads)),
            own_row=self.mask(frozenset(own)),
            hosts=sum(1 << self._host_bit[h] for h in hosts),
            exes=sum(body.kind(i) == "exe" for i in nodes),
            conditions=sum(body.kind(i) == "cex" for i in nodes),
            memory=self.mask(memory),
            is_free=self._is_free(n),
            columns_class=self.columns.class_of(memory[0]) if memory else -1,
        )

    @cached_property
    def _forced(self) -> frozenset[int]:
        return Clusters(self.body).forced_folds

    @cached_property
    def _reads(self) -> Mapping[int, tuple[Read, ...]]:
        """Node -> its reads."""
        found: dict[int, list[Read]] = defaultdict(list)
        for read in self.body.reads:
            found[read.user].append(read)
        return {i: tuple(reads) for i, reads in found.items()}

    @cached_property
    def _host_bit(self) -> Mapping[int, int]:
        return {h: n for n, h in enumerate(sorted({h for hosts in self.body.hosts.values() for h in hosts}))}

    @cached_property
    def heads(self) -> tuple[tuple[int, Mask, Mask], ...]:
        """(h, nodes, exe nodes) whose head is h or more, for each head that occurs."""
        found = []
        for h in sorted(set(self.bounds.heads.values())):
            nodes = [i for i in self.body.ids if self.bounds.heads[i] >= h]
            found.append((h, self.mask(nodes), self.mask([i for i in nodes if self.body.kind(i) == "exe"])))
        return tuple(found)

    def free_slots(self, first: int, last: int) -> int:
        """Exe slots of rows `first` to `last`."""
        return COLUMNS * max(0, last - first + 1) - (self.body.dfg.loop_levels if first == 0 <= last else 0)
