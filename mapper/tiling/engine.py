"""One tiling engine for every target: an operator's nest over a memory hierarchy, with the least movement found.

Given are the nest (extents, and per operand the loops that move it), the memories from the backing store inwards, and
the axes on which copies run side by side. Sought are a tile per level (any integers, ragged ends included), the order
of the loops that walk over it, which operands stay at which level, and which loops go on the axes, such that

    sum over memories of (bytes read x pJ/B + bytes written x pJ/B) + bytes x hops x pJ/B

is least while the slices kept in each memory fit it. The outermost boundary is searched whole and a beam of its best
tiles is carried inwards (`search.py`, `grid.py`); the finalists are counted exactly (`program.py`) and the best is
returned. With one level inside the backing store and no axes, a search that was not thinned is exhaustive over tiles
that all operands share, and says so.

Nests that agree in everything but names are solved once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Required, TypedDict, Unpack

from mapper.bounds import op_bound_bytes
from mapper.ir import Graph, Op
from mapper.mapping import Buffer, Infeasible, TileLoop

from .grid import Rules
from .hierarchy import Hierarchy
from .nest import Nest, nest_of
from .program import Movement, Program, emit, movement, place
from .search import EFFORTS, QUICK, NoRoom, blocks, is_exhaustive, units_pj
from .spatial import assignments, given
from .state import Spatial, State

__all__ = ["Tiling", "tile", "tilings"]

Proof = Literal["bound", "exhausted-twice", "exhausted", "none"]
ONE_BUFFER = "one operator, one buffer, one tile for all operands"


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tile loops and buffers, with what they move.

    `levels` holds (memory, bytes read, bytes written); `bound` (pJ) is proven for every schedule of this operator;
    `exact_in` names the space of mappings in which none is better, "" if none was searched whole.
    """

    loops: tuple[TileLoop, ...]
    buffers: tuple[Buffer, ...]
    movement_pj: float
    levels: tuple[tuple[str, int, int], ...]
    hop_bytes: int
    bound: float
    proof: Proof
    exact_in: str

    def bytes(self, memory: str) -> int:
        """Bytes read and written at a memory."""
        return sum(read + write for name, read, write in self.levels if name == memory)


@dataclass(frozen=True, slots=True)
class _Key:
    nest: Nest
    hierarchy: Hierarchy
    spatial: tuple[Spatial, ...] | None
    objective: str
    effort: str
    rules: Rules


_solved: dict[_Key, tuple[Tiling, ...] | NoRoom] = {}
_counted: dict[Hashable, Movement] = {}


class Asked(TypedDict, total=False):
    """What may be asked of :func:`tile`. `homes` (required) names the memory where a tensor (a root of views) lives
    between operators.

    `spatial` None lets the engine choose what runs side by side: most copies first, then least movement; a given choice
    is kept (`step` 0 leaves the size of a piece open). `divisors` keeps to sizes that divide, loops in `whole` are not
    cut. Movement is minimised under every `objective`: arithmetic energy does not depend on tiles, and time is served
    first by the utilisation of the axes.
    """

    homes: Required[Callable[[str], str]]
    spatial: tuple[TileLoop, ...] | None
    objective: str
    effort: str
    divisors: bool
    whole: frozenset[str]


def tile(graph: Graph, op: Op, hierarchy: Hierarchy, **asked: Unpack[Asked]) -> Tiling | Infeasible:
    """The best tiling of `op` over `hierarchy` that the engine finds."""
    found = tilings(graph, op, hierarchy, **asked)
    return found if isinstance(found, Infeasible) else found[0]


def tilings(graph: Graph, op: Op, hierarchy: Hierarchy, **asked: Unpack[Asked]) -> tuple[Tiling, ...] | Infeasible:
    """The finalists of :func:`tile`, least movement first: for targets that weigh what the engine does not know."""
    homes, spatial, whole = asked["homes"], asked.get("spatial"), asked.get("whole", frozenset())
    nest = nest_of(graph, op, hierarchy, homes)
    chosen = None if spatial is None else given(spatial, [loop.name for loop in op.loops], hierarchy)
    rules = Rules(asked.get("divisors", False), frozenset(at for at, loop in enumerate(op.loops) if loop.name in whole))
    key = _Key(nest, hierarchy, chosen, asked.get("objective", "movement"), asked.get("effort", "default"), rules)
    names, numbers = [loop.name for loop in op.loops], [str(number) for number in range(len(op.loops))]
    if key not in _solved:
        solved = _solve(graph, op, key, homes)
        _solved[key] = solved if isinstance(solved, NoRoom) else _named(solved, names, numbers)
    found = _solved[key]
    if isinstance(found, NoRoom):
        return Infeasible(found.memory, found.demand_bytes, found.limit_bytes, "bytes", op.name,
                          (f"a larger {found.memory}", "single instead of double buffering"))  # fmt: skip
    return _named(found, numbers, names)


def _named(found: tuple[Tiling, ...], old: Sequence[str], new: Sequence[str]) -> tuple[Tiling, ...]:
    """The same tilings with other names of loops."""
    names = dict(zip(old, new, strict=True))
    return tuple(
        replace(tiling, loops=tuple(replace(loop, loop=names[loop.loop]) for loop in tiling.loops)) for tiling in found
    )


def _solve(graph: Graph, op: Op, key: _Key, homes: Callable[[str], str]) -> tuple[Tiling, ...] | NoRoom:
    """Search under each assignment of loops to axes, count the finalists exactly, the best one first."""
    effort, nest, hierarchy = EFFORTS[key.effort], key.nest, key.hierarchy
    choices = [key.spatial] if key.spatial is not None else _assignments(key)
    finalists: list[tuple[float, int, State, tuple[Spatial, ...]]] = []
    no_room: NoRoom | None = None
    for number, spatial in enumerate(choices):
        found = blocks(nest, hierarchy, spatial, effort, key.rules)
        if isinstance(found, NoRoom):
            no_room = found
            continue
        finalists += [(state.pj, number, state, spatial) for state in found]
    finalists.sort(key=lambda entry: entry[:2])
    counted: dict[Program, Movement] = {}
    for _, _, state, spatial in finalists:
        program = _program(graph, op, key, state, spatial)
        if program is not None and program not in counted:
            counted[program] = _moved(graph, op, key, program, homes)
    if not counted:
        assert no_room is not None
        return no_room
    bound = bound_pj(graph, op, hierarchy, homes)
    whole = key.spatial in (None, ()) and not hierarchy.axes and is_exhaustive(nest, hierarchy, (), effort, key.rules)
    space = ONE_BUFFER + (", sizes that divide" if key.rules.divisors else "")
    ranked: list[Tiling] = []
    for number, (program, moved) in enumerate(sorted(counted.items(), key=lambda entry: entry[1].pj)):
        exhausted = whole and number == 0
        proof: Proof = "bound" if moved.pj <= bound else "exhausted" if exhausted else "none"
        ranked.append(Tiling(program.loops, program.buffers, moved.pj, moved.levels, moved.hop_bytes, bound, proof,
                            space if exhausted else ""))  # fmt: skip
    return tuple(ranked)


def bound_pj(graph: Graph, op: Op, hierarchy: Hierarchy, homes: Callable[[str], str]) -> float:
    """Least energy of what crosses the boundary below the backing store: the provable bytes, each read once there or
    written once there, whichever is cheaper. Tensors that live further in need not cross it."""
    store = hierarchy.levels[0]
    copies = math.prod(axis.axis.extent for axis in hierarchy.axes)
    inside = sum((level.capacity_bytes or 0) * copies for level in hierarchy.levels[1:])
    tensors = [graph.root(access.tensor) for access in (*op.reads, op.write)]
    resident = frozenset(name for name in tensors if hierarchy.index(homes(name)) > 0)
    found = op_bound_bytes(graph, op, inside, resident).bytes
    return found * min(store.read_pj_per_byte, store.write_pj_per_byte)


def _assignments(key: _Key) -> list[tuple[Spatial, ...]]:
    """The assignments of loops to axes worth a whole search: the best by a quick one, as estimated."""
    effort = EFFORTS[key.effort]
    found = assignments(key.nest, key.hierarchy, effort.tries)
    if len(found) <= effort.spatial:
        return found
    scored = []
    for number, spatial in enumerate(found):
        states = blocks(key.nest, key.hierarchy, spatial, QUICK, key.rules)
        pj = math.inf if isinstance(states, NoRoom) else _whole_pj(key, states[0], spatial)
        scored.append((pj, number, spatial))
    return [spatial for _, _, spatial in sorted(scored, key=lambda entry: entry[:2])[: effort.spatial]]


def _whole_pj(key: _Key, state: State, spatial: Sequence[Spatial]) -> float:
    """Energy of a finished state and of what its arithmetic units take and give, as estimated."""
    last = [s for s in spatial if s.below == len(key.hierarchy.levels) - 1]
    return state.pj + units_pj(key.nest, key.hierarchy, state, last)


def _moved(graph: Graph, op: Op, key: _Key, program: Program, homes: Callable[[str], str]) -> Movement:
    """What a program moves: the same in memories of any size."""
    levels = tuple(replace(level, capacity_bytes=0) for level in key.hierarchy.levels)
    asked = key.nest, tuple(op.extents), program, levels, key.hierarchy.axes, key.hierarchy.hop_pj_per_byte
    if asked not in _counted:
        _counted[asked] = movement(graph, op, program, key.hierarchy, homes)
    return _counted[asked]


def _program(graph: Graph, op: Op, key: _Key, state: State, spatial: tuple[Spatial, ...]) -> Program | None:
    """The program of a finished state, None if its slices turn out larger than estimated."""
    numbers = [operand.number for operand in key.nest.operands]
    placed = place(graph, op, emit(op, numbers, key.hierarchy, state.blocks, spatial), key.hierarchy)
    return placed if isinstance(placed, Program) else None
