"""Results that stay in the local memories that they are computed in, for the operators that follow: no DRAIN, no LOAD.

A row reads its own local memory only. So a result stays for a chain of readers (:mod:`.chains`) if

* one cut of it over lanes and replicas serves all of them; what their other operands move follows from it;
* all operations on it stand in one row of each body (`Region.one_row`), so no reduction of it runs down the rows;
* bodies take rows of equal height, the *pitch*, and each reader's replicas start as many rows further down as its loads
  stand above the writer's stores;
* its part has room in local memory beside what the operators bring themselves.

A chain is planned so if that moves less: bytes of LOAD and DRAIN, then energy; cycles under `latency`, energy x cycles
under `edp`. The plans for less local memory are candidates too, so more memory never moves more.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from mapper.arrays import Bodies, Inside, PlacedBody, Room, StagePlan, backing_bytes, body_copies, body_runs
from mapper.dfg import Dfg
from mapper.dtypes import bytes_of
from mapper.ir import Graph, Op
from mapper.kernels.body import main_body, tail_body
from mapper.mapping import Buffer, Infeasible, TileLoop
from mapper.planning import weight, without_names
from mapper.request import Request
from mapper.tiling.engine import Tiling, tilings
from mapper.tiling.spatial import doubled

from .chains import Chain, Cut, Piece, chains, cuts
from .rules import CHAIN, LaneRules, along

__all__ = ["kept_plans"]

CLOSE = 0.9  # of the busiest choice of rows and columns
FAIR = 0.4  # of the units that a product could fill
WAYS = 4  # of giving parts to lanes that are tried
MOST = 0.7  # of the lanes that the busiest way fills
ROUNDS = 6  # tries to make all replicas fit
WORTH = 0.02  # of what a chain moves: less is not looked at


def kept_plans(graph: Graph, request: Request, rules: LaneRules, plain: Sequence[StagePlan]) -> list[StagePlan]:
    """`plain` with the plans of those chains that gain most by keeping their results; no operator is in two."""
    search, plans = _Search(graph, request, Bodies(rules)), list(plain)
    known: dict[Hashable, tuple[float, tuple[StagePlan, ...]]] = {}
    gains: list[_Gain] = []
    for chain in chains(graph, [plan.op for plan in plain]):
        before = plain[chain.first : chain.first + len(chain.ops)]
        alike = (tuple(without_names(graph, op) for op in chain.ops), _lanes(before[0]))
        if alike not in known:
            known[alike] = search.best(chain, rules, before)
        gains.append(_Gain(chain, *known[alike]))
    for gain in _most(gains):
        tensors = frozenset({gain.chain.tensor})
        for at, (op, plan) in enumerate(zip(gain.chain.ops, gain.plans, strict=True), gain.chain.first):
            plans[at] = replace(plan, op=op, inside=replace(plan.inside, tensors=tensors))
    return plans


@dataclass(frozen=True, slots=True)
class _Gain:
    """What a chain gains in the first figure of its value, and its plans then."""

    chain: Chain
    gain: float
    plans: tuple[StagePlan, ...]

    @property
    def end(self) -> int:
        return self.chain.first + len(self.chain.ops)


def _most(gains: Sequence[_Gain]) -> list[_Gain]:
    """The chains that together gain most, none of which share an operator: weighted interval scheduling, from the back.
    `gains` come in order of their first operators."""
    best: list[tuple[float, list[_Gain]]] = [(0.0, [])]
    starts = [gain.chain.first for gain in gains]
    for at in reversed(range(len(gains))):
        after = best[len(gains) - bisect_left(starts, gains[at].end)]
        with_it = (gains[at].gain + after[0], [gains[at], *after[1]])
        best.append(max(best[-1], with_it, key=lambda entry: entry[0]))
    return [gain for gain in best[-1][1] if gain.plans]


def _lanes(plan: StagePlan) -> int:
    return along("lane", plan.loops)


@dataclass(frozen=True, slots=True)
class _Search:
    """Plans chains; bodies do not depend on how much local memory there is."""

    graph: Graph
    request: Request
    bodies: Bodies

    def best(self, chain: Chain, rules: LaneRules, before: Sequence[StagePlan]) -> tuple[float, tuple[StagePlan, ...]]:
        """The best plans for this much local memory or less and what they gain over `before`; none if they do not."""
        found: tuple[StagePlan, ...] = ()
        old = least = self._value(rules, before)
        sizes: LaneRules | None = rules if self._is_worth(chain, rules, before) else None
        while sizes is not None:
            plans = self._near(chain, sizes, _lanes(before[0]))
            if plans is not None and (value := self._value(rules, plans)) < least:
                found, least = plans, value
            sizes = sizes.smaller
        return old[0] - least[0], found

    def _is_worth(self, chain: Chain, rules: LaneRules, before: Sequence[StagePlan]) -> bool:
        """Could what the result alone moves be felt?"""
        could = self.graph.tensor(chain.tensor).bytes * len(chain.ops)
        return could > WORTH * self._moved_bytes(rules, before)

    def _moved_bytes(self, rules: LaneRules, plans: Sequence[StagePlan]) -> int:
        """LOAD and DRAIN."""
        return sum(sum(backing_bytes(self.graph, plan, rules.axes)) for plan in plans)

    def _near(self, chain: Chain, rules: LaneRules, lanes: int) -> tuple[StagePlan, ...] | None:
        """Plans under the busiest cut over lanes, of a few, with which products are near their bound and busy."""
        found = cuts(self.graph, chain, lanes, rules.machine.fabric.rows)
        ways = dict.fromkeys(cut.lanes for cut in found if cut.busy[0] >= MOST * found[0].busy[0])
        for way in tuple(ways)[:WAYS]:
            plans = self._fitting(chain, rules, lanes, way)
            if plans is not None and all(self._is_good(rules, plan) for plan in plans if plan.op.macs):
                return plans
        return None

    def _is_good(self, rules: LaneRules, plan: StagePlan) -> bool:
        """Does a product move its operands near their bound, and run on a fair part of what it could fill?"""
        op, room = plan.op, self._room(rules, plan.op)
        places = rules.lanes(op, room) * room.replicas * room.copies
        busy = op.points / body_runs(plan)[0]
        near_bytes = rules.near_bytes(self.graph, op, _lanes(plan), plan.inside.tensors)
        return self._moved_bytes(rules, (plan,)) <= near_bytes and busy >= FAIR * min(places, op.points)

    def _room(self, rules: LaneRules, op: Op) -> Room:
        """The most copies and replicas of an operator that can be hoped to fit."""
        return rules.first_room(main_body(self.graph, op, rules.style), tail_body(self.graph, op, rules.style))

    def _value(self, rules: LaneRules, plans: Sequence[StagePlan]) -> tuple[float, float]:
        """What the request minimises, then what it does not."""
        weights = [weight(self.graph, rules, plan) for plan in plans]
        pj, cycles = sum(each.pj for each in weights), sum(each.cycles for each in weights)
        if self.request.objective == "latency":
            return cycles, pj
        if self.request.objective == "edp":
            return pj * cycles, pj
        return self._moved_bytes(rules, plans), pj

    def _fitting(
        self, chain: Chain, rules: LaneRules, lanes: int, way: tuple[Piece, ...]
    ) -> tuple[StagePlan, ...] | None:
        """Plans with as many replicas as have rows; None if none have, or local memory is too small."""
        rows = replicas = rules.machine.fabric.rows
        for _ in range(ROUNDS):
            cut = next(cut for cut in cuts(self.graph, chain, lanes, replicas) if cut.lanes == way)
            made = self._plans(chain, rules, cut)
            if made is None:
                return None
            plans = _aligned(made)
            fit = min((rows - plan.first_row) // plan.pitch_rows for plan in plans)
            if along("replica", plans[0].loops) <= fit:
                return plans
            replicas = min(fit, replicas - 1)
            if replicas < 1:
                return None
        return None

    def _plans(self, chain: Chain, rules: LaneRules, cut: Cut) -> list[_Made] | None:
        """A plan of each operator under one cut."""
        tensor = self.graph.tensor(chain.tensor)
        part = math.prod(cut.size(d, extent) for d, extent in enumerate(tensor.shape))
        inside = Inside("lmm", frozenset({chain.tensor}), bytes_of(part, tensor.dtype))
        found = []
        for at in range(len(chain.ops)):
            made = self._made(chain, at, rules, cut, inside)
            if made is None:
                return None
            found.append(made)
        return found

    def _made(self, chain: Chain, at: int, rules: LaneRules, cut: Cut, inside: Inside) -> _Made | None:
        """Tile and place operator `at`, with fewer and fewer copies in a body until it has a place."""
        op = chain.ops[at]
        room = self._room(rules, op)
        while True:
            found: list[Tiling] = []
            hierarchy = inside.less(rules.hierarchy(op, room))
            for inner in _inner(chain, at, cut, rules, room.copies):
                spatial = (*cut.loops(chain, at), *inner)
                more = tilings(
                    self.graph, op, hierarchy, spatial=spatial, homes=inside.home, effort=self.request.effort
                )
                found += () if isinstance(more, Infeasible) else more
            if not found:
                return None
            made = self._placed(chain, at, rules, *rules.program(self.graph, op, found, inside.home), inside)
            smaller = rules.next_room(room, None)
            if made is not None or smaller is None:
                return made
            room = smaller

    def _placed(
        self,
        chain: Chain,
        at: int,
        rules: LaneRules,
        loops: tuple[TileLoop, ...],
        buffers: tuple[Buffer, ...],
        inside: Inside,
    ) -> _Made | None:
        """The plan of a program, if its bodies have a place with all loads of the tensor in one row."""
        op, copies = chain.ops[at], body_copies(loops, rules.body_axes)
        main, end = main_body(self.graph, op, rules.style, copies), tail_body(self.graph, op, rules.style, copies)
        if at:
            main = _tied(main, chain.tensor)
        body = self.bodies.place(main)
        tail = self.bodies.place(end) if end is not None else None
        if body is None or (end is not None and tail is None):
            return None
        return _Made(StagePlan(op, loops, buffers, body, tail, inside), main, end)


@dataclass(frozen=True, slots=True)
class _Made:
    """A plan before its rows are aligned, with its bodies under the operator's own names."""

    plan: StagePlan
    main: Dfg
    tail: Dfg | None


def _tied(dfg: Dfg, tensor: str) -> Dfg:
    """The body with all loads of a tensor in one row."""
    regions = tuple(replace(r, one_row=r.one_row or r.tensor == tensor) for r in dfg.regions)
    return replace(dfg, regions=regions)


def _inner(chain: Chain, at: int, cut: Cut, rules: LaneRules, copies: int) -> list[tuple[TileLoop, ...]]:
    """Copies inside a body: columns along results, rows along a reduction of the writer; the busiest choices."""
    op, columns = chain.ops[at], min(rules.machine.fabric.columns, copies)
    left = dict(op.extents)
    for loop in cut.loops(chain, at):
        left[loop.loop] = loop.step
    wide = [TileLoop(name, 0, doubled(min(columns, left[name])), "column") for name in _parallel(op) if left[name] > 1]
    deep = [TileLoop(name, 0, min(CHAIN, copies // columns, left[name]), "row") for name in _mergeable(op) if not at]
    across: list[TileLoop | None] = [*wide] if wide else [None]
    down: list[TileLoop | None] = [loop for loop in deep if loop.trips > 1] or [None]
    choices = [tuple(loop for loop in pair if loop is not None) for pair in product(down, across)]
    busy = [math.prod(left[c.loop] / math.ceil(left[c.loop] / c.trips) for c in choice) for choice in choices]
    return [choice for choice, units in zip(choices, busy, strict=True) if units >= CLOSE * max(busy)]


def _parallel(op: Op) -> Iterator[str]:
    return (loop.name for loop in op.loops if loop.name in op.output_loops and not loop.ordered)


def _mergeable(op: Op) -> Iterator[str]:
    """Reducing loops whose copies can be combined."""
    if op.combiner is None or op.combiner.kind.startswith("arg"):
        return iter(())
    return (loop.name for loop in op.loops if loop.name not in op.output_loops and not loop.ordered and loop.extent > 1)


# ---- rows


def _aligned(made: Sequence[_Made]) -> tuple[StagePlan, ...]:
    """The plans with a common pitch, each reader displaced so that it loads where the writer stores."""
    stored = _stored_row(made[0])
    loads = [_row(each.plan.body, each.main, _tied_region(each)) for each in made[1:]]
    first = max(0, *(load - stored for load in loads))
    replicas = along("replica", made[0].plan.loops)
    bodies = max(each.plan.body.length + 1 for each in made)
    tails = max((each.plan.tail.length + 1 for each in made if each.plan.tail is not None), default=0)
    pitch = max(bodies, math.ceil(tails / replicas))
    starts = (first, *(first + stored - load for load in loads))
    return tuple(replace(each.plan, first_row=at, pitch_rows=pitch) for each, at in zip(made, starts, strict=True))


def _tied_region(reader: _Made) -> int:
    (tensor,) = reader.plan.inside.tensors
    return next(region.id for region in reader.main.regions if region.tensor == tensor and region.one_row)


def _stored_row(writer: _Made) -> int:
    """Row of the final stores of the writer's first replica, counted from that replica's first row. A tail is displaced
    so that it loads partial results in the row that stored them."""
    (tensor,) = writer.plan.inside.tensors
    if writer.tail is None or writer.plan.tail is None:
        return _row(writer.plan.body, writer.main, _region(writer.main, tensor, partial=False))
    partial = _row(writer.plan.body, writer.main, _region(writer.main, tensor, partial=True))
    taken = _row(writer.plan.tail, writer.tail, _region(writer.tail, tensor, partial=True))
    return partial - taken + _row(writer.plan.tail, writer.tail, _region(writer.tail, tensor, partial=False))


def _region(dfg: Dfg, tensor: str, partial: bool) -> int:
    """The region of a written tensor's partial results, or of its final ones."""
    return next(region.id for region in dfg.regions if region.tensor == tensor and region.one_row == partial)


def _row(placed: PlacedBody, dfg: Dfg, region: int) -> int:
    """The row in which all operations on a region stand."""
    on_it = {node.id for node in dfg.nodes if node.memory is not None and node.memory.region == region}
    (row,) = {place.cycle for place in placed.mapping.placed if place.node in on_it}
    return row
