"""Lower bounds on rows that need no search, and the span of rows that each node can take.

Head and tail. head(i) is a row that node i cannot undercut: the longest path to it with the least row distance
of each edge, sharpened by slots: if n exe nodes each lie at least d rows above i and the earliest of them can be
in row a, then i is in row a + ceil(n / 4) - 1 + d or later (row 0 has fewer exe slots: the loop counters).
tail(i) is the same seen from the last row. A kernel needs max(head + tail) + 1 rows, and at least as many as its exe,
condition and memory units fill.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from .rules import COLUMNS, Body

Distances = Mapping[int, Mapping[int, int]]  # node -> reachable node -> longest distance


@dataclass(frozen=True)
class Bounds:
    """Row bounds of one body, all valid for every legal placement; they need a body without a `knot`."""

    body: Body

    @cached_property
    def arcs(self) -> tuple[tuple[int, int, int], ...]:
        """(source, user, least row distance); groups count as distance 0 both ways elsewhere."""
        body = self.body
        arcs = [(r.value, r.user, body.least_distance(r)) for r in body.reads]
        arcs += [(s, u, 0) for u in body.ids for s in body.sources[u] if body.kind(s) == "cex"]
        return tuple(arcs)

    @cached_property
    def knot(self) -> tuple[int, int] | None:
        """A value and its user that would have to be in one row and in different ones; there are no rows then.

        Groups share a row, so a row distance inside a cycle of groups can never be kept: a load whose value goes into
        the store of its own region, say.
        """
        group = self.body.group_of
        flow = nx.DiGraph((group[source], group[user]) for source, user, _ in self.arcs)
        tied = {member: i for i, part in enumerate(nx.strongly_connected_components(flow)) for member in part}
        return next(((s, u) for s, u, distance in self.arcs if distance > 0 and tied[group[s]] == tied[group[u]]), None)

    @cached_property
    def heads(self) -> Mapping[int, int]:
        """Earliest row per node; equal inside a group."""
        return self._levels({i: 0 for i in self.body.ids}, self.arcs, self.body.ids, self.body.dfg.loop_levels)

    @cached_property
    def tails(self) -> Mapping[int, int]:
        """Rows that must follow a node; equal inside a group."""
        backward = tuple((u, s, d) for s, u, d in self.arcs)
        return self._levels({i: 0 for i in self.body.ids}, backward, tuple(reversed(self.body.ids)), 0)

    def _levels(
        self, level: dict[int, int], arcs: tuple[tuple[int, int, int], ...], order: tuple[int, ...], taken: int
    ) -> Mapping[int, int]:
        """Longest paths with slot reasoning, to a fixed point over groups."""
        into: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for source, user, distance in arcs:
            into[user].append((source, distance))
        above = _ancestors(order, into)
        changed = True
        while changed:
            changed = False
            for i in order:
                best = max([level[i]] + [level[s] + d for s, d in into[i]])
                best = max(best, self._by_slots(above[i], level, taken))
                for member in self.body.groups[self.body.group_of[i]]:
                    if level[member] < best:
                        level[member] = best
                        changed = True
        return level

    def _by_slots(self, above: Mapping[int, int], level: Mapping[int, int], taken: int) -> int:
        """Earliest row of a node with ancestors `above` (node -> distance), four exe nodes a row."""
        exes = sorted((i for i in above if self.body.kind(i) == "exe"), key=lambda i: above[i], reverse=True)
        best, first = 0, 1 << 30
        for count, i in enumerate(exes, 1):
            first = min(first, level[i])
            lost = taken if first == 0 else 0
            best = max(best, first + -(-(count + lost) // COLUMNS) - 1 + above[i])
        return best

    @cached_property
    def rows(self) -> int:
        """Rows that every legal placement needs."""
        return max(1, self.path_rows, self.slot_rows, self.memory_rows, self.middle_rows)

    @property
    def reason(self) -> str:
        """Which of the bounds is the highest, in words."""
        ranked = [
            (self.path_rows, "the longest chain of operations with the slots along it"),
            (self.slot_rows, "the number of operations at four a row"),
            (self.memory_rows, "the units that the memory operations fill"),
            (self.middle_rows, "the operations that can be neither early nor late, at four a row"),
        ]
        return max(ranked, key=lambda entry: entry[0])[1]

    @property
    def path_rows(self) -> int:
        return 1 + max((self.heads[i] + self.tails[i] for i in self.body.ids), default=0)

    @property
    def middle_rows(self) -> int:
        """h + ceil(n / 4) + t for the n exe nodes that h rows must precede and t rows must follow."""
        exes = [(self.heads[i], self.tails[i]) for i in self.body.ids if self.body.kind(i) == "exe"]
        taken = self.body.dfg.loop_levels
        best = 0
        for h in {head for head, _ in exes}:
            later = sorted((tail for head, tail in exes if head >= h), reverse=True)
            for count, tail in enumerate(later, 1):
                best = max(best, h - (-(count + (taken if h == 0 else 0)) // COLUMNS) + tail)
        return best

    @property
    def memory_rows(self) -> int:
        return -(-self.memory_units // COLUMNS)

    @property
    def slot_rows(self) -> int:
        exes = sum(self.body.kind(i) == "exe" for i in self.body.ids) + self.body.dfg.loop_levels
        conditions = sum(self.body.kind(i) == "cex" for i in self.body.ids)
        return max(-(-exes // COLUMNS), -(-conditions // COLUMNS))

    @property
    def memory_units(self) -> int:
        """Units that the memory operations fill: two loads share one only under rules 12, 13."""
        body = self.body
        stored = body.stored_regions
        loads = [i for i in body.memory_nodes if body.kind(i) == "load" and body.memory(i).region not in stored]
        units = sum(-(-len(part) // 2) for part in sharing_classes(body, loads))
        for region in stored:
            members = [i for i in body.memory_nodes if body.memory(i).region == region]
            stores = sum(body.kind(i) == "store" for i in members)
            units += max(stores, -(-len(members) // 2))
        return units

    def span(self, i: int, rows: int) -> tuple[int, int]:
        """First and last row of node i in a placement of `rows` rows."""
        return self.heads[i], rows - 1 - self.tails[i]


def _ancestors(order: tuple[int, ...], into: Mapping[int, list[tuple[int, int]]]) -> Distances:
    """Longest distance from every ancestor, by dynamic programming along `order`."""
    above: dict[int, dict[int, int]] = {}
    for i in order:
        mine: dict[int, int] = {}
        for source, distance in into[i]:
            mine[source] = max(mine.get(source, 0), distance)
            for far, way in above[source].items():
                mine[far] = max(mine.get(far, 0), way + distance)
        above[i] = mine
    return above


def sharing_classes(body: Body, loads: list[int]) -> list[list[int]]:
    """Connected components of `loads` under "may share a unit": a class of n needs at least ceil(n / 2) units."""
    left, classes = list(loads), []
    while left:
        part, todo = [], [left.pop(0)]
        while todo:
            i = todo.pop()
            part.append(i)
            friends = [j for j in left if body.may_share_unit(i, j)]
            left = [j for j in left if j not in friends]
            todo.extend(friends)
        classes.append(sorted(part))
    return classes
