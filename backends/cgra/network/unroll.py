"""How often an iteration is copied into one loop body, and along which loops: what gives most iterations a cycle.

A body of II cycles with c copies finishes c / II iterations a cycle, less what ragged ends waste. Copies share loads of
equal elements and, along reducing loops, one accumulator; along the others one address chain. So the cost per iteration
falls with every copy until the slots of the fabric or its memory ports are full. From a single copy a beam of bodies
grows, a copy of one loop at a time, while the share of the fabric's slots and ports that an iteration takes falls and
the body stays small enough for the exact search. Of what was met on the way, larger and larger bodies are placed, each
with a better bound on its cycles per iteration than all smaller ones, as long as the placed II keeps the promise.

A large grid also holds the same body several times (:mod:`.strips`). Every way to cut it is climbed by itself, and
placed in the order of what it promises, until none promises more than what is placed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mapper.arrays import Part, Place
from mapper.backends.cgra.bounds import binding, static_bounds
from mapper.backends.cgra.problem import is_memory
from mapper.dfg import Dfg
from mapper.index import loop
from mapper.ir import Op
from mapper.kernels.signature import signature
from mapper.machine import Fabric
from mapper.mapping import TileLoop

from .strips import ACROSS, DOWN, UNROLL

__all__ = ["Sizes", "Way", "best_unrolling", "candidates"]

MOST_NODES = 40  # bodies that the quick search closes nearly always
BEAM = 2  # candidates that grow side by side
TRIES = 2  # bodies placed among equals
MISSES = 2  # sizes in a row without a better body

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
class Way:
    """A part of the grid for each body (None: the grid is not cut), and sizes of bodies on it."""

    part: Part | None
    sizes: Sizes

    @property
    def replicas(self) -> int:
        return 1 if self.part is None else math.prod(self.part.cuts)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Copies per loop, operations of the body, the least cycles that an iteration takes, and its share of the fabric.

    Ragged ends count in `cycles` only: a step of the climb may waste what the next one uses.
    """

    copies: Copies
    nodes: int
    cycles: float
    share: float


@dataclass(frozen=True, slots=True)
class _Choice:
    """Copies whose body was placed, replicas of that body, and the cycles that an iteration takes."""

    loops: tuple[TileLoop, ...]
    cycles: float


def best_unrolling(op: Op, ways: Sequence[Way], most_copies: int, lower: Lower, place: Place) -> tuple[TileLoop, ...]:
    """The copies whose placed body takes the fewest cycles per iteration, as tile loops on the axis `unroll`, inside
    those of its replicas on the axes of :mod:`.strips`.

    `step` is 0: the tiling engine chooses the size of a piece. Without any placed body there are no copies.
    """
    climbed = [(way, candidates(op, way, most_copies, lower)) for way in ways]
    promised = [
        (min(candidate.cycles for candidate in met), -way.replicas, at) for at, (way, met) in enumerate(climbed)
    ]
    best: _Choice | None = None
    for least, _, at in sorted(promised):
        if best is None or least < best.cycles:
            best = _placed(op, *climbed[at], best, lower, place)
    return best.loops if best is not None else ()


def _placed(op: Op, way: Way, met: list[Candidate], best: _Choice | None, lower: Lower, place: Place) -> _Choice | None:
    """The best of what is known and what can be placed this way."""
    misses = 0
    for equals in _front(met):
        before = best
        if best is not None and equals[0].cycles >= best.cycles:
            continue
        for candidate in equals[:TRIES]:
            body = place(lower(dict(candidate.copies)), way.part, best is not None)
            cycles = math.inf if body is None else body.length * _runs(op, candidate.copies, way)
            if cycles < (best.cycles if best is not None else math.inf):
                best = _Choice(_loops(op, candidate.copies, way), cycles)
            if best is not None and best.cycles <= candidate.cycles:
                break
        misses = misses + 1 if best is before else 0
        if misses == MISSES:
            break
    return best


def _loops(op: Op, copies: Copies, way: Way) -> tuple[TileLoop, ...]:
    beside = [TileLoop(name, 0, factor, axis) for name, factor, axis in _replicated(op, copies, way)]
    return (*beside, *(TileLoop(name, 0, factor, UNROLL) for name, factor in copies))


def _replicated(op: Op, copies: Copies, way: Way) -> list[tuple[str, int, str]]:
    """(loop, replicas, axis): along each axis the output loop that wastes least, of these the longest."""
    left = {each.name: -(-each.extent // dict(copies).get(each.name, 1)) for each in op.loops
            if each.name in op.output_loops and not each.ordered}  # fmt: skip
    found = []
    for axis, number in zip((DOWN, ACROSS), way.part.cuts if way.part is not None else (), strict=False):
        if number > 1 and left:
            name = min(left, key=lambda name: (-(-left[name] // number) / left[name], -left[name], name))
            factor = min(number, left[name])
            left[name] = -(-left[name] // factor)
            found += [(name, factor, axis)] if factor > 1 else []
    return found


def candidates(op: Op, way: Way, most_copies: int, lower: Lower) -> list[Candidate]:
    """Every body met on the climb."""
    form = _form(op, lower({}))
    single = _candidate(op, way, form, (), lower)
    met, beam = {single.copies: single}, [single]
    while beam:
        fresh = {c for candidate in beam for c in _grown(op, candidate, most_copies)} - met.keys()
        steps = [_candidate(op, way, form, copies, lower) for copies in sorted(fresh)]
        steps = [step for step in steps if step.nodes <= MOST_NODES]
        met |= {step.copies: step for step in steps}
        worst = max(candidate.share for candidate in beam)
        better = [step for step in steps if step.share < worst]
        beam = sorted(better, key=lambda step: (step.share, step.nodes, step.copies))[:BEAM]
    return [met[copies] for copies in sorted(met)]


def _front(met: list[Candidate]) -> Iterator[list[Candidate]]:
    """Groups of equals, each of more operations and no more cycles per iteration than the one before."""
    least = math.inf
    by_size = sorted(met, key=lambda c: (c.nodes, c.cycles))
    for (_, cycles), group in itertools.groupby(by_size, key=lambda c: (c.nodes, c.cycles)):
        if cycles <= least:
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


def _candidate(op: Op, way: Way, form: object, copies: Copies, lower: Lower) -> Candidate:
    size, runs, fabric = way.sizes.of(op, form, copies, lower), _runs(op, copies, way), way.sizes.fabric
    ports = fabric.ports_per_cycle or fabric.size
    share = max(size.nodes / fabric.size, size.accesses / ports)
    together = math.prod(factor for _, factor in copies)
    return Candidate(copies, size.nodes, size.bound * runs, share / together)


def _runs(op: Op, copies: Copies, way: Way) -> float:
    """Runs of the body per iteration of the nest, ragged ends included; replicas run at once."""
    steps = dict(op.extents)
    for name, factor in (*copies, *((name, factor) for name, factor, _ in _replicated(op, copies, way))):
        steps[name] = -(-steps[name] // factor)
    return math.prod(steps[name] / extent for name, extent in op.extents.items() if extent)
