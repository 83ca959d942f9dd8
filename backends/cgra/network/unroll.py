"""How often an iteration is copied into one loop body, and along which loops: what gives most iterations a cycle.

A body of II cycles with c copies finishes c / II iterations a cycle, less what ragged ends waste. Copies share loads of
equal elements and, along reducing loops, one accumulator; along the others one address chain. So the cost per iteration
falls with every copy until the slots of the fabric or its memory ports are full. From a single copy a beam of bodies
grows, a copy of one loop at a time, while the share of the fabric's slots and ports that an iteration takes falls and
the body stays small enough for the exact search. Of what was met on the way, larger and larger bodies are placed, each
with a better bound on its cycles per iteration than all smaller ones, as long as the placed II keeps the promise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from mapper.arrays import Place
from mapper.backends.cgra.bounds import binding, static_bounds
from mapper.backends.cgra.problem import is_memory
from mapper.dfg import Dfg
from mapper.index import loop
from mapper.ir import Op
from mapper.kernels.signature import signature
from mapper.machine import Fabric
from mapper.mapping import TileLoop

__all__ = ["Sizes", "best_unrolling"]

MOST_NODES = 40  # bodies that the quick search closes nearly always
BEAM = 2  # candidates that grow side by side
TRIES = 2  # bodies placed among equals

Copies = tuple[tuple[str, int], ...]
Lower = Callable[[Mapping[str, int]], Dfg]


@dataclass(frozen=True, slots=True)
class Size:
    """What a body needs: operations, loads and stores among them, and the proven lower bound on its II."""

    nodes: int
    accesses: int
    bound: int


@dataclass
class Sizes:
    """Sizes of bodies on one fabric; operators of the same form (same indices, same arithmetic) share them."""

    fabric: Fabric
    _known: dict[tuple[object, tuple[int, ...]], Size] = field(default_factory=dict)

    def of(self, op: Op, form: object, copies: Copies, lower: Lower) -> Size:
        counts = dict(copies)
        key = (form, tuple(counts.get(each.name, 1) for each in op.loops))
        if key not in self._known:
            dfg = lower(counts)
            accesses = sum(is_memory(node) for node in dfg.nodes)
            self._known[key] = Size(len(dfg.nodes), accesses, binding(static_bounds(dfg, self.fabric)).ii)
        return self._known[key]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Copies per loop, operations of the body, the least cycles that an iteration takes, and its share of the fabric.

    Ragged ends count in `cycles` only: a step of the climb may waste what the next one uses.
    """

    copies: Copies
    nodes: int
    cycles: float
    share: float


def best_unrolling(op: Op, sizes: Sizes, most_copies: int, lower: Lower, place: Place) -> tuple[TileLoop, ...]:
    """The copies whose placed body takes the fewest cycles per iteration, as tile loops on the axis `unroll`.

    `step` is 0: the tiling engine chooses the size of a piece. Without any placed body there are no copies.
    """
    best: Copies | None = None
    reached = math.inf
    for equals in _front(candidates(op, sizes, most_copies, lower)):
        before = reached
        for candidate in equals[:TRIES]:
            body = place(lower(dict(candidate.copies)), best is not None)
            if body is not None and (cycles := body.length * _runs(op, candidate.copies)) < reached:
                best, reached = candidate.copies, cycles
            if reached <= candidate.cycles:
                break
        if reached == before:
            break
    return tuple(TileLoop(name, 0, factor, "unroll") for name, factor in best or ())


def candidates(op: Op, sizes: Sizes, most_copies: int, lower: Lower) -> list[Candidate]:
    """Every body met on the climb."""
    form = _form(op, lower({}))
    single = _candidate(op, sizes, form, (), lower)
    met, beam = {single.copies: single}, [single]
    while beam:
        fresh = {c for candidate in beam for c in _grown(op, candidate, most_copies)} - met.keys()
        steps = [_candidate(op, sizes, form, copies, lower) for copies in sorted(fresh)]
        steps = [step for step in steps if step.nodes <= MOST_NODES]
        met |= {step.copies: step for step in steps}
        worst = max(candidate.share for candidate in beam)
        better = [step for step in steps if step.share < worst]
        beam = sorted(better, key=lambda step: (step.share, step.nodes, step.copies))[:BEAM]
    return [met[copies] for copies in sorted(met)]


def _front(met: list[Candidate]) -> Iterator[list[Candidate]]:
    """Groups of equals, each of more operations and fewer cycles per iteration than the one before."""
    least = math.inf
    by_size = sorted(met, key=lambda c: (c.nodes, c.cycles))
    for (_, cycles), group in itertools.groupby(by_size, key=lambda c: (c.nodes, c.cycles)):
        if cycles < least:
            least = cycles
            yield list(group)


def _form(op: Op, single: Dfg) -> object:
    """What sizes of bodies depend on: the single body, and which counters each access is made of."""
    numbers = {each.name: loop(str(number)) for number, each in enumerate(op.loops)}
    indices = tuple(tuple(i.renamed(numbers) for i in access.index) for access in (*op.reads, op.write))
    return signature(single, values=False), indices


def _grown(op: Op, candidate: Candidate, most_copies: int) -> Iterator[Copies]:
    """One copy more along each loop that may be copied."""
    mergeable = op.combiner is not None and not op.combiner.kind.startswith("arg")
    copies = dict(candidate.copies)
    for grown in op.loops:
        more = copies | {grown.name: copies.get(grown.name, 1) + 1}
        free = not grown.ordered and (mergeable or grown.name in op.output_loops)
        if free and more[grown.name] <= grown.extent and math.prod(more.values()) <= most_copies:
            yield tuple((each.name, more[each.name]) for each in op.loops if each.name in more)


def _candidate(op: Op, sizes: Sizes, form: object, copies: Copies, lower: Lower) -> Candidate:
    size, runs, fabric = sizes.of(op, form, copies, lower), _runs(op, copies), sizes.fabric
    ports = fabric.memory_ports.count * len(fabric.port_groups) if fabric.memory_ports is not None else fabric.size
    share = max(size.nodes / fabric.size, size.accesses / ports)
    together = math.prod(factor for _, factor in copies)
    return Candidate(copies, size.nodes, size.bound * runs, share / together)


def _runs(op: Op, copies: Copies) -> float:
    """Runs of the body per iteration of the nest, ragged ends included."""
    extents = op.extents
    return math.prod(-(-extents[name] // factor) / extents[name] for name, factor in copies)
