"""The rules of the IMAX3 row array as facts about one loop body.

A :class:`Body` is a view of a :class:`mapper.dfg.Dfg` with the tables that every stage asks for: which nodes
must be placed, what each reads from row registers, which may be folded, which are bound to one row, how
memory operations may share a unit, and what share of a row's local memory a region needs.

Vocabulary: a *unit* is (row, column); a *group* is a set of nodes that every legal placement puts in one row;
an exe is *foldable* if its only user is the one store of its result (load-modify-store in one unit).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from mapper.dfg import Dfg, MemoryUse

ROWS = 64
COLUMNS = 4
REGISTERS = 16
LMM_BYTES = 128 * 1024
WORD_BYTES = 4
QUARTER, HALF, WHOLE = 1, 2, 4  # shares of a row's local memory, in columns


@dataclass(frozen=True, slots=True)
class Read:
    """`user` reads `value` from a row register; `distance` is the least row difference when not folded,
    `fold` the exe whose folding turns it into `folded_distance` (None: never folded)."""

    value: int
    user: int
    distance: int
    fold: int | None
    folded_distance: int


@dataclass(frozen=True)
class Body:
    """A loop body seen with the array's rules; everything is derived from `dfg` and `enforce_share`."""

    dfg: Dfg
    enforce_share: bool = True

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Nodes to place, sources first. Markers (no sources, users or self-update) need no place."""
        return tuple(i for i in self.dfg.order if not self._is_marker(i))

    def _is_marker(self, i: int) -> bool:
        node = self.dfg[i]
        linked = self.dfg.predecessors[i] or self.dfg.successors[i]
        return node.kind == "exe" and not linked and not node.self_update

    def kind(self, i: int) -> str:
        return self.dfg[i].kind

    def memory(self, i: int) -> MemoryUse:
        use = self.dfg[i].memory
        assert use is not None, f"node {i} is no memory operation"
        return use

    @cached_property
    def sources(self) -> Mapping[int, tuple[int, ...]]:
        return {i: _distinct(e.src for e in self.dfg.predecessors[i]) for i in self.ids}

    @cached_property
    def users(self) -> Mapping[int, tuple[int, ...]]:
        return {i: _distinct(e.dst for e in self.dfg.successors[i]) for i in self.ids}

    @cached_property
    def values(self) -> tuple[int, ...]:
        """Nodes with a result that a register can hold."""
        return tuple(i for i in self.ids if self.kind(i) in ("exe", "load"))

    @cached_property
    def hosts(self) -> Mapping[int, tuple[int, ...]]:
        """Distinct host constants read from registers, per exe or cex."""
        return {i: _distinct(self.dfg[i].host) for i in self.ids if self.kind(i) in ("exe", "cex")}

    def is_data_only(self, value: int, store: int) -> bool:
        """The store takes `value` as data and not also as part of its address."""
        use = self.dfg[store].memory
        return use is not None and use.data == value and value not in (use.base, use.offset)

    # ---- folding (rule 15)

    @cached_property
    def store_of(self) -> Mapping[int, int]:
        """Foldable exe -> the store that is its only user."""
        found = {}
        for i in self.ids:
            users = self.users[i]
            if self.kind(i) == "exe" and len(users) == 1 and self.is_data_only(i, users[0]):
                found[i] = users[0]
        return found

    @cached_property
    def fold_of(self) -> Mapping[int, int]:
        """Node -> the foldable exe in whose unit it reads registers: the exe, its store, their conditions."""
        governed = {}
        for exe, store in self.store_of.items():
            for i in (exe, store):
                governed[i] = exe
                for source in self.sources[i]:
                    if self.kind(source) == "cex":
                        governed[source] = exe
        return governed

    # ---- what is read from where (rules 4, 5)

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """Every (value, user) that goes through registers, or may: a store can also take its exe's result directly."""
        return tuple(self._read(s, u) for u in self.ids for s in self.sources[u] if self.kind(s) != "cex")

    def _read(self, value: int, user: int) -> Read:
        direct = self.kind(value) == "exe" and self.kind(user) == "store" and self.is_data_only(value, user)
        distance = 0 if direct else 1
        fold = self.fold_of.get(user)
        folded = 0 if direct or self.kind(value) == "load" else 1
        return Read(value, user, distance, fold, folded)

    @cached_property
    def reads_of(self) -> Mapping[int, tuple[Read, ...]]:
        """Reads grouped by the value read."""
        found: dict[int, list[Read]] = {i: [] for i in self.ids}
        for read in self.reads:
            found[read.value].append(read)
        return {i: tuple(reads) for i, reads in found.items()}

    def least_distance(self, read: Read) -> int:
        """Row difference that no legal placement undercuts."""
        return read.distance if read.fold is None else min(read.distance, read.folded_distance)

    # ---- nodes bound to one row (rules 10, 14, 16)

    @cached_property
    def stored_regions(self) -> Mapping[int, tuple[int, ...]]:
        """Stored region -> its nodes that rule 14 binds to one row and one memory group."""
        stored = {self.memory(i).region for i in self.ids if self.kind(i) == "store"}
        may_split = {region.id for region in self.dfg.regions if region.may_split}
        bound: dict[int, list[int]] = {region: [] for region in sorted(stored)}
        for i in self.memory_nodes:
            region = self.memory(i).region
            if region in stored and (region not in may_split or self.kind(i) == "store"):
                bound[region].append(i)
        return {region: tuple(nodes) for region, nodes in bound.items()}

    @cached_property
    def tied_regions(self) -> Mapping[int, tuple[int, ...]]:
        """Region that an earlier run left in one row -> its operations, which stay in one row and memory group too."""
        tied = sorted(region.id for region in self.dfg.regions if region.one_row)
        return {region: tuple(i for i in self.memory_nodes if self.memory(i).region == region) for region in tied}

    @cached_property
    def bound_operations(self) -> frozenset[int]:
        """Memory operations whose region lies in one row and memory group."""
        regions = (*self.stored_regions.values(), *self.tied_regions.values())
        return frozenset(i for nodes in regions for i in nodes)

    @cached_property
    def memory_nodes(self) -> tuple[int, ...]:
        return tuple(i for i in self.ids if self.dfg[i].memory is not None)

    @cached_property
    def partner(self) -> Mapping[int, int]:
        """The other half of an unaligned load."""
        pairs = [(i, self.memory(i).pair) for i in self.memory_nodes if self.memory(i).pair is not None]
        return {a: b for i, j in pairs if j is not None for a, b in ((i, j), (j, i))}

    @cached_property
    def group_of(self) -> Mapping[int, int]:
        """Node -> representative of its group (nodes that every legal placement puts in one row)."""
        parent = {i: i for i in self.ids}

        def find(i: int) -> int:
            while parent[i] != i:
                parent[i] = parent[parent[i]]
                i = parent[i]
            return i

        together = [pair for pair in self.partner.items()]
        together += [(c, u) for c in self.ids if self.kind(c) == "cex" for u in self.users[c]]
        regions = (*self.stored_regions.values(), *self.tied_regions.values())
        together += [(nodes[0], i) for nodes in regions for i in nodes]
        for a, b in together:
            parent[max(find(a), find(b))] = min(find(a), find(b))
        return {i: find(i) for i in self.ids}

    @cached_property
    def groups(self) -> Mapping[int, tuple[int, ...]]:
        """Representative -> the nodes of its group."""
        found: dict[int, list[int]] = defaultdict(list)
        for i in self.ids:
            found[self.group_of[i]].append(i)
        return {g: tuple(nodes) for g, nodes in found.items()}

    # ---- memory operations in one unit (rules 12, 13) and the share of local memory (rule 17)

    def selectors_agree(self, a: int, b: int) -> bool:
        """Both operations can take base and offset through one selector each, read from one row."""
        p, q = self.memory(a), self.memory(b)
        return _agree(p.base, q.base) and _agree(p.offset, q.offset)

    def may_share_unit(self, a: int, b: int, *, folded: bool = False) -> bool:
        """Rules 12, 13. In a folded unit the two operations read different rows: equal indices can be arranged."""
        p, q = self.memory(a), self.memory(b)
        stores = (self.kind(a) == "store") + (self.kind(b) == "store")
        if stores == 2 or (p.region != q.region if stores else p.descriptor != q.descriptor):
            return False
        return (folded and stores == 1) or self.selectors_agree(a, b)

    @cached_property
    def share_needed(self) -> Mapping[int, int | None]:
        """Region -> columns' worth of a row's memory it needs (1, 2 or 4 quarters), None if not known."""
        return {region.id: _share_quarters(region.words, region.share) for region in self.dfg.regions}

    def need(self, i: int) -> int:
        """Quarters of the row's memory that memory node i must have; 1 if unknown or not enforced."""
        return (self.share_needed[self.memory(i).region] or QUARTER) if self.enforce_share else QUARTER

    @cached_property
    def share_known(self) -> bool:
        """Every region in use has a known share."""
        return all(self.share_needed[self.memory(i).region] is not None for i in self.memory_nodes)


def _agree(a: int | None, b: int | None) -> bool:
    return a is None or b is None or a == b


def _distinct(items: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(items))


def _share_quarters(words: int | None, share: float | None) -> int | None:
    """Smallest share that surely holds the double-buffered region, or the share that is known to do."""
    known = [] if share is None else [round(share * 4)]
    if words:
        known += [q for q in (QUARTER, HALF, WHOLE) if 2 * WORD_BYTES * words * 4 <= q * LMM_BYTES]
    return min(known, default=None)
