"""Parts of a loop body that can be put in order without losing the fewest rows: copies of one part, and the like.

Let a *twin map* send each node v of a part A to a node w of a disjoint part B of the same kind, memory need and group,
so that sources and users of v and w are the same nodes, twins of each other, or *ordered ends*: p for v, q for w, with
p never below q. Then, in any legal plan, give v the upper and w the lower of their two rows, for all v of A at once.

* Slots: each row holds as many nodes of each kind as before.
* Precedence: s -> v and t -> w with s, t twins or ordered ends still keep their distance, since min and max are
  monotone in both arguments.
* Registers: x and its twin are produced as often up to each row as before. Both are released when their last users
  are: if both were released by row r they still are, and if one was, the users of the upper one are.
* Memory units: loads that may share a unit are counted as one class with the loads of their twins.

So the plan stays one of the row model with (1) classes of twins merged and (2) direct stores of twins without their
price. Each such step lowers the plan's rows, read in a linear extension of all relations "v above w", so as long as
those relations have no cycle, some plan keeps all of them at once: the model may demand them. Where nothing had to be
relaxed, nor does the plan lose legality.

Twin maps are grown from two nodes that look alike, by pairing off their sources and users, and are dropped if any
condition fails; a map that is missed costs nothing but search.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import networkx as nx

from .bounds import Bounds, sharing_classes
from .rules import QUARTER, Body

Pair = tuple[int, int]
SEEDS_PER_NODE = 8  # partners tried for each node, nearest in program order first


@dataclass(frozen=True, slots=True)
class Dominance:
    """`order`: (v, w) with v in no lower row than w, transitively reduced. `merged`: loads to be counted as one class;
    `loose`: stores whose direct form is free, both only where `order` is demanded in a refutation."""

    order: tuple[Pair, ...] = ()
    merged: tuple[tuple[int, ...], ...] = ()
    loose: frozenset[int] = frozenset()

    def kept_by(self, row_of: Mapping[int, int]) -> Dominance:
        """The part of the order that a plan keeps already."""
        return replace(self, order=tuple((v, w) for v, w in self.order if row_of[v] <= row_of[w]))


NO_ORDER = Dominance()


def dominance(body: Body, bounds: Bounds) -> Dominance:
    """All relations that were found, consistent with each other."""
    facts = _Facts(body, bounds)
    above: dict[int, set[int]] = {i: {i} for i in body.ids}  # v -> all w that v is above
    below: dict[int, set[int]] = {i: {i} for i in body.ids}
    merged: list[Pair] = []
    exchanged: list[Pair] = []
    loose: set[int] = set()
    for v, w in facts.seeds():
        known = w in above[v] or v in above[w] or w in facts.reach[v] or v in facts.reach[w]
        twins = None if known else _Twins(facts).grown(v, w)
        if twins is not None and _added(tuple(twins.map.items()), above, below):
            merged += twins.merged
            exchanged += twins.exchanged
            loose |= twins.loose
    counted = {i for pair in merged for i in pair}
    classes = tuple(c for c in _united(merged + exchanged) if counted & set(c))
    return Dominance(_reduced(above), classes, frozenset(loose))


def _added(new: Sequence[Pair], above: dict[int, set[int]], below: dict[int, set[int]]) -> bool:
    """Closes `above` and its inverse under new relations; False, with nothing changed, if they make a cycle."""
    wider_above, wider_below = ({i: set(nodes) for i, nodes in old.items()} for old in (above, below))
    for v, w in new:
        if v in wider_above[w]:
            return False
        for a in wider_below[v]:
            wider_above[a] |= wider_above[w]
        for b in wider_above[w]:
            wider_below[b] |= wider_below[v]
    above.update(wider_above)
    below.update(wider_below)
    return True


def _reduced(above: Mapping[int, set[int]]) -> tuple[Pair, ...]:
    found = []
    for v, lower in above.items():
        others = lower - {v}
        implied = set().union(*(above[w] - {w} for w in others)) if others else set()
        found += [(v, w) for w in sorted(others - implied)]
    return tuple(found)


def _united(pairs: Iterable[Pair]) -> tuple[tuple[int, ...], ...]:
    part: dict[int, set[int]] = {}
    for a, b in pairs:
        joined = part.get(a, {a}) | part.get(b, {b})
        part.update(dict.fromkeys(joined, joined))
    return tuple(sorted({tuple(sorted(p)) for p in part.values()}))


# ---- what growth asks


@dataclass(frozen=True)
class _Facts:
    body: Body
    bounds: Bounds

    @cached_property
    def reach(self) -> Mapping[int, frozenset[int]]:
        """Node -> nodes that are never above it (itself included), by precedence and groups."""
        body = self.body
        flow: nx.DiGraph[int] = nx.DiGraph()
        flow.add_nodes_from(body.groups)
        flow.add_edges_from((body.group_of[s], body.group_of[u]) for s, u, _ in self.bounds.arcs)
        lower = {g: {g} | nx.descendants(flow, g) for g in body.groups}
        nodes = {g: frozenset(i for h in hs for i in body.groups[h]) for g, hs in lower.items()}
        return {i: nodes[body.group_of[i]] for i in body.ids}

    @cached_property
    def host_users(self) -> Mapping[int, frozenset[int]]:
        users: dict[int, set[int]] = defaultdict(set)
        for i, hosts in self.body.hosts.items():
            for host in hosts:
                users[host].add(i)
        return {host: frozenset(nodes) for host, nodes in users.items()}

    @cached_property
    def class_of(self) -> Mapping[int, tuple[int, ...]]:
        """Single load of a region that is not stored to -> the loads with which it may share units."""
        body = self.body
        by_descriptor: dict[int, list[int]] = defaultdict(list)
        for i in body.memory_nodes:
            if body.memory(i).region not in body.stored_regions and i not in body.partner:
                by_descriptor[body.memory(i).descriptor].append(i)
        classes = [c for nodes in by_descriptor.values() for c in sharing_classes(body, nodes)]
        return {i: tuple(c) for c in classes for i in c}

    @cached_property
    def split_regions(self) -> frozenset[int]:
        return frozenset(region.id for region in self.body.dfg.regions if region.may_split)

    @cached_property
    def descriptor_groups(self) -> Mapping[int, frozenset[int]]:
        found: dict[int, set[int]] = defaultdict(set)
        for i in self.body.memory_nodes:
            found[self.body.memory(i).descriptor].add(self.body.group_of[i])
        return {d: frozenset(groups) for d, groups in found.items()}

    @cached_property
    def settled_folds(self) -> Mapping[int, bool]:
        """Foldable exe -> is it folded, where the rules or reason decide that; others are left out."""
        body, found = self.body, {}
        for exe, store in body.store_of.items():
            governed = [i for i, e in body.fold_of.items() if e == exe]
            reads = [r for i in governed for r in body.reads if r.user == i]
            nearer = [r for r in reads if r.folded_distance < r.distance]
            if any(body.group_of[r.value] == body.group_of[store] for r in nearer):
                found[exe] = True
            elif not nearer and not any(body.hosts.get(i) for i in governed):
                found[exe] = False
        return found

    def reads_early(self, i: int) -> bool:
        """Node i reads the registers of the row before, folded or not."""
        exe = self.body.fold_of.get(i)
        return exe is None or self.settled_folds.get(exe) is False

    @cached_property
    def looks(self) -> Mapping[int, tuple[object, ...]]:
        return {i: self._look(i) for i in self.body.ids}

    def _look(self, i: int) -> tuple[object, ...]:
        body = self.body
        kinds = tuple(sorted(body.kind(s) for s in body.sources[i]))
        users = tuple(sorted(body.kind(u) for u in body.users[i]))
        memory = body.dfg[i].memory
        part = None if memory is None else (body.need(i), memory.region in body.stored_regions, self._half(i))
        group = tuple(sorted(body.kind(j) for j in body.groups[body.group_of[i]]))
        return body.kind(i), body.dfg[i].op == "LDDMQ", part, kinds, users, len(body.hosts.get(i, ())), group

    def _half(self, i: int) -> int:
        return 0 if i not in self.body.partner else 1 if self.body.memory(i).pair is None else 2

    @cached_property
    def cones(self) -> Mapping[int, int]:
        """A number for the shape of what a node is computed from: equal for equal shapes."""
        numbers: dict[object, int] = {}
        cone: dict[int, int] = {}
        for i in self.body.ids:
            shape = (self.looks[i][:3], tuple(sorted(cone[s] for s in self.body.sources[i] if s in cone)))
            cone[i] = numbers.setdefault(shape, len(numbers))
        return cone

    def seeds(self) -> Iterable[Pair]:
        """Nodes that look alike, in both orders, near ones first."""
        alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for i in self.body.ids:
            alike[self.looks[i]].append(i)
        for nodes in alike.values():
            nodes.sort()
            for step in range(1, SEEDS_PER_NODE + 1):
                for v, w in zip(nodes, nodes[step:], strict=False):
                    yield v, w
                    yield w, v


@dataclass
class _Twins:
    """A twin map in the making."""

    facts: _Facts
    map: dict[int, int] = field(default_factory=dict)
    images: set[int] = field(default_factory=set)
    ends: set[int] = field(default_factory=set)  # shared nodes and ordered ends: must stay outside both parts
    upper_end: dict[int, int] = field(default_factory=dict)  # ordered ends among sources: lower -> upper
    merged: list[Pair] = field(default_factory=list)  # loads whose classes become one
    exchanged: list[Pair] = field(default_factory=list)  # loads alone in their classes, which count alike
    loose: set[int] = field(default_factory=set)

    def grown(self, v: int, w: int) -> _Twins | None:
        """The smallest twin map with v -> w that this pairing finds, or None."""
        todo = [(v, w)]
        while todo:
            x, y = todo.pop()
            if self.map.get(x) == y:
                continue
            if self._known(x) or self._known(y) or not self._alike(x, y):
                return None
            self.map[x] = y
            self.images.add(y)
            more = self._neighbours(x, y)
            if more is None:
                return None
            todo += more
        return self if not (self.ends & (self.map.keys() | self.images)) else None

    def _known(self, i: int) -> bool:
        return i in self.map or i in self.images

    def _alike(self, x: int, y: int) -> bool:
        body, facts = self.facts.body, self.facts
        if x == y or facts.looks[x][:3] != facts.looks[y][:3] or body.group_of[x] == body.group_of[y]:
            return False
        return self._hosts_match(x, y) and self._folds_match(x, y) and self._memories_match(x, y)

    def _hosts_match(self, x: int, y: int) -> bool:
        """The same host constants, or constants of their own that nobody else reads."""
        body = self.facts.body
        mine, other = set(body.hosts.get(x, ())), set(body.hosts.get(y, ()))
        own = (mine - other) | (other - mine)
        alone = all(len(self.facts.host_users[h]) == 1 and h not in body.dfg.loop_host for h in own)
        return len(mine) == len(other) and alone

    def _folds_match(self, x: int, y: int) -> bool:
        body, settled = self.facts.body, self.facts.settled_folds
        e, f = body.fold_of.get(x), body.fold_of.get(y)
        if e is None and f is None:
            return True
        if e is None or f is None:
            return False
        return e in settled and f in settled and settled[e] == settled[f]

    def _memories_match(self, x: int, y: int) -> bool:
        """Whole stored regions may change places, and loads whose descriptors take columns alike."""
        body, facts = self.facts.body, self.facts
        if body.dfg[x].memory is None:
            return True
        p, q = body.memory(x), body.memory(y)
        if p.region in body.stored_regions:
            return p.region != q.region and not {p.region, q.region} & facts.split_regions
        one_each = all(len(facts.descriptor_groups[d]) == 1 for d in (p.descriptor, q.descriptor))
        if p.descriptor != q.descriptor and not one_each and body.need(x) != QUARTER:
            return False
        mine, other = facts.class_of.get(x, ()), facts.class_of.get(y, ())
        if mine != other:
            alone = len(mine) == len(other) == 1
            (self.exchanged if alone else self.merged).extend((x, j) for j in (*mine, *other))
        return True

    def _neighbours(self, x: int, y: int) -> list[Pair] | None:
        """Pairs that must be twins for x and y to be; None if sources or users cannot be paired off."""
        body = self.facts.body
        group_x, group_y = (self._by_shape(body.groups[body.group_of[i]]) for i in (x, y))
        sources = self._paired(body.sources[x], body.sources[y])
        users = self._paired(body.users[x], body.users[y])
        if sources is None or users is None or len(group_x) != len(group_y) or not self._same_roles(x, y, sources):
            return None
        stores = (u for u in (*body.users[x], *body.users[y], x, y) if body.kind(u) == "store")
        self.loose.update(u for u in stores if self._may_be_direct(u))
        more = [*zip(group_x, group_y, strict=True), *self._open(users)]
        for s, t in sources:
            ends = self._opened(s, t) if t in self.facts.reach[s] and s not in self.map else [(s, t)]
            if ends is None:
                return None
            more += ends
        return more

    def _may_be_direct(self, store: int) -> bool:
        body = self.facts.body
        data = body.memory(store).data
        if data is None or body.kind(data) != "exe" or not body.is_data_only(data, store):
            return False
        return not self.facts.settled_folds.get(data, False)

    def _opened(self, s: int, t: int) -> list[Pair] | None:
        """Ordered ends s, t as sources: what reads s must be released no later than what reads t, so the readers are
        paired off as well, but for those of s that are never below t. Each node is one end of one pair."""
        if self.upper_end.get(t) == s:
            return []
        if {s, t} & (self.upper_end.keys() | set(self.upper_end.values())):
            return None
        self.upper_end[t] = s
        self.ends |= {s, t}
        body, reach = self.facts.body, self.facts.reach
        early = [u for u in body.users[s] if t in reach[u]]
        users = self._paired((u for u in body.users[s] if u not in early), body.users[t])
        if users is None or body.kind(s) != body.kind(t) or not all(self.facts.reads_early(u) for u in early):
            return None
        return self._open(users)

    def _open(self, users: Sequence[Pair]) -> list[Pair]:
        """The pairs that are not ordered ends."""
        ended = [(u, z) for u, z in users if self._are_ends(u, z)]
        self.ends.update(*ended)
        return [pair for pair in users if pair not in ended]

    def _are_ends(self, u: int, z: int) -> bool:
        """Node u is never below z, nor does it read later for being folded."""
        return z in self.facts.reach[u] and u not in self.map and self.facts.reads_early(u)

    def _same_roles(self, x: int, y: int, sources: Sequence[Pair]) -> bool:
        """Memory operations take the paired sources as the same address part, data or predicate."""
        body = self.facts.body
        if body.dfg[x].memory is None:
            return True
        p, q = body.memory(x), body.memory(y)
        partner = dict(sources)
        ends = ((p.base, q.base), (p.offset, q.offset), (p.data, q.data), (p.predicate, q.predicate))
        return all(partner.get(a, a) == b if a is not None else b is None for a, b in ends)

    def _by_shape(self, nodes: Iterable[int]) -> list[int]:
        return sorted(nodes, key=lambda i: (self.facts.body.kind(i), self.facts.cones[i], i))

    def _paired(self, mine: Iterable[int], other: Iterable[int]) -> list[Pair] | None:
        """Pairs of what is not shared: known twins first, then by shape and program order. Shared nodes are ends."""
        a, b = set(mine), set(other)
        shared = a & b
        self.ends |= shared
        a, b = a - shared, b - shared
        if len(a) != len(b):
            return None
        known = [(x, self.map[x]) for x in sorted(a) if self.map.get(x) in b]
        a -= {x for x, _ in known}
        b -= {y for _, y in known}
        return [*known, *zip(self._by_shape(a), self._by_shape(b), strict=True)]
