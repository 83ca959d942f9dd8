"""A first legal plan: list scheduling from the last row upwards, with seeded restarts.

Going backwards, the registers of the row above are known as soon as a row is closed: they hold what this row
reads and what rows below still wait for. So the budget of 16 is checked exactly while a row fills. Each restart
draws its taste: how much it prefers deep nodes, nodes that end more waiting values than they start, nodes whose users
were placed last (depth first), late nodes of the program, and how many waiting values it tolerates before it refuses
to start more. A restart that cannot place anything is given up. Folding is used only where a stored region forces it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from .bounds import Bounds
from .columns import arrange
from .rows import RowPlan
from .rules import COLUMNS, REGISTERS, Body

MANY_ROWS = 256  # a first plan may be longer than the array: windows shorten it


@dataclass(frozen=True)
class Clusters:
    """Nodes scheduled as one: groups, merged with the exe of a foldable store."""

    body: Body

    @cached_property
    def forced_folds(self) -> frozenset[int]:
        """Foldable exes that read a load bound to the row of their store."""
        body = self.body
        return frozenset(
            body.fold_of[r.user]
            for r in body.reads
            if r.folded_distance < r.distance
            and r.fold is not None
            and body.group_of[r.value] == body.group_of[body.store_of[r.fold]]
        )

    @cached_property
    def of(self) -> Mapping[int, int]:
        """Node -> cluster."""
        cluster = dict(self.body.group_of)
        for exe, store in self.body.store_of.items():
            merged = {i: cluster[exe] if cluster[i] == cluster[store] else cluster[i] for i in cluster}
            if exe in self.forced_folds or self._is_acyclic(merged):
                cluster = merged
        return cluster

    def _distance(self, value: int, user: int) -> int:
        read = next((r for r in self.body.reads_of[value] if r.user == user), None)
        if read is None:
            return 0
        return read.folded_distance if read.fold in self.forced_folds else read.distance

    def _is_acyclic(self, cluster: Mapping[int, int]) -> bool:
        """No positive distance inside a cluster or around a cycle of clusters."""
        level = dict.fromkeys(cluster.values(), 0)
        for _ in range(len(level) + 1):
            changed = False
            for u in self.body.ids:
                for s in self.body.sources[u]:
                    least = level[cluster[s]] + self._distance(s, u)
                    if level[cluster[u]] < least:
                        level[cluster[u]] = least
                        changed = True
            if not changed:
                return True
        return False

    @cached_property
    def members(self) -> Mapping[int, tuple[int, ...]]:
        found: dict[int, list[int]] = {}
        for i in self.body.ids:
            found.setdefault(self.of[i], []).append(i)
        return {c: tuple(nodes) for c, nodes in found.items()}

    @cached_property
    def below(self) -> Mapping[int, tuple[tuple[int, int], ...]]:
        """Cluster -> (user cluster, least row distance) that must be placed first."""
        found: dict[int, dict[int, int]] = {c: {} for c in self.members}
        for u in self.body.ids:
            for s in self.body.sources[u]:
                a, b = self.of[s], self.of[u]
                if a != b:
                    found[a][b] = max(found[a].get(b, 0), self._distance(s, u))
        return {c: tuple(users.items()) for c, users in found.items()}

    @cached_property
    def above(self) -> Mapping[int, tuple[int, ...]]:
        """Cluster -> clusters that wait for it."""
        found: dict[int, list[int]] = {c: [] for c in self.members}
        for cluster, users in self.below.items():
            for user, _ in users:
                found[user].append(cluster)
        return {c: tuple(clusters) for c, clusters in found.items()}


@dataclass(frozen=True, slots=True)
class Taste:
    """Weights of one restart."""

    depth: float
    pressure: float
    recency: float
    order: float
    tolerance: int
    registers: int
    jitter: Mapping[int, float]

    @staticmethod
    def drawn(clusters: Clusters, draw: random.Random, registers: int) -> Taste:
        noise = draw.uniform(0.0, 2.0)
        return Taste(
            depth=draw.choice((0.0, 0.3, 0.6, 1.0, 2.0)),
            pressure=draw.choice((1.0, 2.0, 5.0, 12.0)),
            recency=draw.choice((0.0, 0.5, 1.0, 3.0)),
            order=draw.choice((0.0, 0.05, 0.3, 2.0)),
            tolerance=draw.randint(8, REGISTERS),
            registers=registers,
            jitter={c: draw.uniform(0.0, noise) for c in clusters.members},
        )

    def varied(self, clusters: Clusters, draw: random.Random) -> Taste:
        """This taste with one weight and the jitter drawn anew."""
        other = Taste.drawn(clusters, draw, self.registers)
        name = draw.choice(("depth", "pressure", "recency", "order", "tolerance"))
        return replace(self, jitter=other.jitter, **{name: getattr(other, name)})


@dataclass
class _State:
    """A schedule in progress: `height` counts rows from the last one upwards."""

    height_of: dict[int, int] = field(default_factory=dict)
    open_at: dict[int, int] = field(default_factory=dict)  # least height of clusters whose users are all placed
    waiting: frozenset[int] = frozenset()  # values that rows below read and that are not placed yet
    constants: frozenset[str] = frozenset()  # host constants that the row below reads
    row: list[int] = field(default_factory=list)  # nodes of the row being filled


def first_plans(
    body: Body, bounds: Bounds, *, restarts: int, seed: int, registers: int = REGISTERS
) -> Iterator[RowPlan]:
    """Plans of the restarts that succeed, in order. Every other restart varies the best taste so far. With more
    `registers` than there are, plans that :mod:`.repair` may mend."""
    clusters = Clusters(body)
    draw = random.Random(seed)
    best: tuple[int, Taste] | None = None
    for restart in range(restarts):
        taste = best[1].varied(clusters, draw) if best and restart % 2 else Taste.drawn(clusters, draw, registers)
        plan = _schedule(body, bounds, clusters, taste)
        if plan is None:
            continue
        yield plan
        if best is None or plan.rows <= best[0]:
            best = plan.rows, taste


def _schedule(body: Body, bounds: Bounds, clusters: Clusters, taste: Taste) -> RowPlan | None:
    state = _State(open_at={c: 0 for c in clusters.members if not clusters.below[c]})
    left = dict.fromkeys(clusters.members)
    for height in range(MANY_ROWS):
        _fill_row(body, bounds, clusters, state, left, height, taste)
        if not left:
            return _plan(body, clusters, state, height + 1)
        if not state.row and height:
            return None
        state.constants = _constants(body, clusters, state.row)
        state.waiting, state.row = _above(body, state.row, state.waiting), []
    return None


def _fill_row(
    body: Body, bounds: Bounds, clusters: Clusters, state: _State, left: dict[int, None], height: int, taste: Taste
) -> None:
    """Adds clusters to the row, best first, until none fits."""
    refused: set[int] = set()
    while True:
        ready = [c for c in left if state.open_at.get(c, MANY_ROWS) <= height and c not in refused]
        if not ready:
            return
        best = max(ready, key=lambda c: (_score(body, bounds, clusters, state, c, height, taste), -c))
        row = [*state.row, *clusters.members[best]]
        if not _starts_too_much(body, state, row, taste) and _row_is_legal(body, clusters, row, state, taste.registers):
            state.row = row
            state.height_of.update(dict.fromkeys(clusters.members[best], height))
            _open(clusters, state, best)
            del left[best]
        else:
            refused.add(best)


def _starts_too_much(body: Body, state: _State, row: Sequence[int], taste: Taste) -> bool:
    """The row would wait for more values than tolerated, and for more than without its newest cluster."""
    if not state.row:
        return False
    after = len(_above(body, row, state.waiting))
    return after > taste.tolerance and after > len(_above(body, state.row, state.waiting))


def _open(clusters: Clusters, state: _State, placed: int) -> None:
    """Notes from which height on clusters may stand that waited for `placed` alone."""
    heights, members = state.height_of, clusters.members
    for cluster in clusters.above[placed]:
        users = [(members[user][0], distance) for user, distance in clusters.below[cluster]]
        if all(user in heights for user, _ in users):
            state.open_at[cluster] = max(heights[user] + distance for user, distance in users)


def _score(
    body: Body, bounds: Bounds, clusters: Clusters, state: _State, cluster: int, height: int, taste: Taste
) -> float:
    """Deep nodes first, nodes that end more waiting values than they start, nodes whose users are recent."""
    members = clusters.members[cluster]
    started = {s for i in members for s in body.sources[i] if body.kind(s) != "cex"} - state.waiting - set(members)
    ended = sum(i in state.waiting for i in members)
    oldest = min((state.height_of[clusters.members[b][0]] for b, _ in clusters.below[cluster]), default=0)
    return (
        taste.depth * max(bounds.heads[i] for i in members)
        + taste.pressure * (ended - len(started))
        - taste.recency * (height - oldest)
        + taste.order * max(members)
        + taste.jitter[cluster]
    )


def _row_is_legal(body: Body, clusters: Clusters, row: Sequence[int], state: _State, registers: int) -> bool:
    kinds = [body.kind(i) for i in row]
    if kinds.count("exe") > COLUMNS or kinds.count("cex") > COLUMNS:
        return False
    above = len(_above(body, row, state.waiting)) + len(_constants(body, clusters, row))
    if above > registers or len(_here(body, clusters, row, state)) > registers:
        return False
    return all(kind == "exe" for kind in kinds) or arrange(body, row, clusters.forced_folds, row=1) is not None


def _here(body: Body, clusters: Clusters, row: Sequence[int], state: _State) -> set[object]:
    """What the registers of this row hold: values and constants for rows below, homes of loads, folded reads."""
    held: set[object] = set(state.waiting) | set(state.constants) | {i for i in row if body.kind(i) == "load"}
    for i in row:
        if body.fold_of.get(i) in clusters.forced_folds:
            held |= set(_register_reads(body, row, i)) | {f"h{h}" for h in body.hosts.get(i, ())}
    return held


def _register_reads(body: Body, row: Sequence[int], i: int) -> list[int]:
    """Values that node i reads from registers; a store reads none from an exe of its own row."""
    return [
        s
        for s in body.sources[i]
        if body.kind(s) != "cex"
        and not (s in row and body.kind(i) == "store" and body.kind(s) == "exe" and body.is_data_only(s, i))
    ]


def _above(body: Body, row: Sequence[int], waiting: frozenset[int]) -> frozenset[int]:
    """Values that the row above holds for this row and the rows below."""
    read = {s for i in row for s in _register_reads(body, row, i)}
    return (waiting | read) - set(row)


def _constants(body: Body, clusters: Clusters, row: Sequence[int]) -> frozenset[str]:
    """Host constants that the row above holds for this row."""
    users = [i for i in row if body.fold_of.get(i) not in clusters.forced_folds]
    return frozenset(f"h{h}" for i in users for h in body.hosts.get(i, ()))


def _plan(body: Body, clusters: Clusters, state: _State, height: int) -> RowPlan:
    """Turns heights into rows; the loop counters may need an empty row on top."""
    top = [i for i, h in state.height_of.items() if h == height - 1]
    crowded = arrange(body, top, clusters.forced_folds, row=0) is None
    hosts = {h for i in top for h in body.hosts.get(i, ())} | set(body.dfg.loop_host)
    rows = height + (crowded or len(hosts) > REGISTERS)
    return RowPlan(rows, {i: rows - 1 - state.height_of[i] for i in body.ids}, clusters.forced_folds)
