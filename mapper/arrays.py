"""What an array that runs loop bodies supplies, so that networks can be mapped to it (:mod:`mapper.networks`).

A target with such an array supplies :class:`ArrayRules`: its memory hierarchy with the axes that copies of a body
take, how a body is placed, and how long the phases of a stage last. Everything else is the same for every array: the
tiling engine chooses tiles, loop order and copies; the body with these copies is placed once per distinct structure; if
it does not fit, the operator is tiled again with fewer copies.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mapper import dtypes, store
from mapper.cost import iterations, outputs_per_copy
from mapper.dfg import Dfg
from mapper.ir import Graph, Op
from mapper.kernels.body import main_body, tail_body
from mapper.kernels.signature import signature
from mapper.kernels.style import Style
from mapper.machine import Machine
from mapper.mapping import WRITTEN, Axis, Buffer, Phase, Rect, Stage, TileLoop
from mapper.placement import KernelMapping
from mapper.request import Request
from mapper.tiling.engine import Tiling
from mapper.tiling.hierarchy import Hierarchy
from mapper.traffic import buffer_elements, links

__all__ = [
    "ArrayRules",
    "Bodies",
    "Part",
    "Place",
    "PlacedBody",
    "Room",
    "StagePlan",
    "accumulator",
    "code_of",
    "in_store",
]


@dataclass(frozen=True, slots=True)
class PlacedBody:
    """A placed loop body with its proven lower bound on II (or rows) and why it is not lower."""

    mapping: KernelMapping
    length: int
    bound: int
    why: str


@dataclass(frozen=True, slots=True)
class Inside:
    """What stays on chip while a stage runs: `tensors` live in `memory`, of which `reserved_bytes` are theirs."""

    memory: str = ""
    tensors: frozenset[str] = frozenset()
    reserved_bytes: int = 0

    def home(self, tensor: str) -> str:
        """Where a tensor (a root of views) lives between stages."""
        return self.memory if tensor in self.tensors else STORE

    def less(self, hierarchy: Hierarchy) -> Hierarchy:
        """The hierarchy without the reserved bytes."""
        levels = tuple(
            replace(level, capacity_bytes=level.capacity_bytes - self.reserved_bytes)
            if level.memory == self.memory and level.capacity_bytes is not None
            else level
            for level in hierarchy.levels
        )
        return replace(hierarchy, levels=levels)


STORE = "dram"
NOTHING = Inside()


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage before its phases are known: the operator, its tile program, its bodies, and what stays on chip.

    Where it matters in which rows copies stand: `first_row` of the first one, and rows from one to the next."""

    op: Op
    loops: tuple[TileLoop, ...]
    buffers: tuple[Buffer, ...]
    body: PlacedBody
    tail: PlacedBody | None
    inside: Inside = NOTHING
    first_row: int = 0
    pitch_rows: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """The corner of the array that one of several replicas of a body has to itself, in `cuts` (along rows, along
    columns) of the whole array."""

    rows: int
    columns: int
    cuts: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Room:
    """At most `copies` of an iteration inside one body, and `replicas` of the whole body on the array; `flat` if
    copies inside it do not reduce."""

    copies: int
    replicas: int = 1
    flat: int = 1


class Place(Protocol):
    """Places a body on a part of the array (None: all of it); `quick` says that a smaller body may serve as well."""

    def __call__(self, dfg: Dfg, part: Part | None = None, quick: bool = False, /) -> PlacedBody | None: ...


class ArrayRules(Protocol):
    """What a target adds. `body_axes` are the axes whose instances are copies inside one body."""

    style: Style
    body_axes: frozenset[str]
    keeps: str  # the one memory in which tensors may stay between stages, "" for none

    @property
    def machine(self) -> Machine:
        """The machine that the array is part of."""

    @property
    def smaller(self) -> ArrayRules | None:
        """The same array with less memory, whose plans this one's are held against; None: no smaller one is."""

    def better(self, graph: Graph, own: StagePlan, less: StagePlan) -> StagePlan:
        """Of an operator's plan and the one for `smaller`, the one to use; it never moves more than `less` does."""

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Every axis on which a tile loop may lie."""

    @property
    def question(self) -> str:
        """Everything that :meth:`place` depends on beside the body and the code."""

    @property
    def slots(self) -> int:
        """Operations that the array holds at once."""

    def hierarchy(self, op: Op, room: Room) -> Hierarchy:
        """Memories and axes for `op`, with at most `room.copies` copies in a body and `room.replicas` bodies."""

    def wider(
        self, graph: Graph, op: Op, room: Room, found: Sequence[Tiling], tried: int, place: Place
    ) -> Hierarchy | None:
        """Where to search as well, if none of the finalists `found` is good enough; `tried` such were searched."""

    def first_room(self, dfg: Dfg, tail: Dfg | None) -> Room:
        """How many copies of a single body (and its tail), and replicas of that, can be hoped to fit."""

    def next_room(self, room: Room, plan: StagePlan | None) -> Room | None:
        """A smaller room when `room` gave no plan that fits (`plan` None: a body has no place); None: it did."""

    def copies(self, graph: Graph, op: Op, room: Room, place: Place) -> tuple[TileLoop, ...] | None:
        """The loops whose iterations are copied side by side, `step` 0; None leaves them to the tiling engine."""

    def part(self, loops: Sequence[TileLoop]) -> Part | None:
        """What each replica has to itself; None: the rules place replicas themselves, or there is one."""

    def place(self, dfg: Dfg, part: Part | None, quick: bool) -> PlacedBody | None:
        """The body placed on a part of the array; None if it does not fit, or `quick` did not find out. What `quick`
        finds at its bound is what the whole search finds."""

    def program(self, graph: Graph, op: Op, found: Sequence[Tiling]) -> tuple[tuple[TileLoop, ...], tuple[Buffer, ...]]:
        """Loops and buffers as the array keeps them, made of one of the engine's finalists."""

    def kept(self, graph: Graph, request: Request, plans: Sequence[StagePlan]) -> list[StagePlan]:
        """The plans of a whole graph with results that stay where they were computed, as far as that is better."""

    def phases(self, graph: Graph, plan: StagePlan) -> tuple[tuple[Phase, ...], int, int]:
        """Phases of a stage, its launches, and the bytes configured at each."""

    def rect(self, plan: StagePlan) -> Rect:
        """The part of the array that the stage holds."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a search for a place found."""

    body: PlacedBody | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A search for a place."""

    structure: str
    part: Part | None
    quick: bool

    def settled_by(self, body: PlacedBody | None) -> tuple[_Asked, ...]:
        """The searches that have this answer: a quick one at its bound is that of the whole search too."""
        both = self.quick and body is not None and body.length == body.bound
        return (self, replace(self, quick=False)) if both else (self,)


class Bodies:
    """Bodies of one graph, placed once per distinct structure, in order of first use.

    Bodies that differ in immediates only place and route alike: they share one search, each keeps its own operations.
    What was searched is kept between runs (:mod:`mapper.store`). No answer depends on what else was asked.
    """

    def __init__(self, rules: ArrayRules) -> None:
        self._rules = rules
        self._searched: dict[_Asked, PlacedBody | None] = {}
        self._placed: dict[str, PlacedBody] = {}
        self._of_ops: dict[Hashable, tuple[PlacedBody, PlacedBody | None] | None] = {}
        self.used: list[KernelMapping] = []

    def of(
        self, graph: Graph, op: Op, copies: Mapping[str, int], part: Part | None
    ) -> tuple[PlacedBody, PlacedBody | None] | None:
        """The main body and the tail, if there is one, of an operator of the graph; None if one has no place."""
        asked = op.name, tuple(sorted(copies.items())), part
        if asked not in self._of_ops:
            self._of_ops[asked] = self._both(graph, op, copies, part)
        return self._of_ops[asked]

    def _both(
        self, graph: Graph, op: Op, copies: Mapping[str, int], part: Part | None
    ) -> tuple[PlacedBody, PlacedBody | None] | None:
        body = self.place(main_body(graph, op, self._rules.style, copies), part)
        tail_dfg = tail_body(graph, op, self._rules.style, copies)
        tail = self.place(tail_dfg, part) if tail_dfg is not None else None
        return None if body is None or (tail is None and tail_dfg is not None) else (body, tail)

    def place(self, dfg: Dfg, part: Part | None = None, quick: bool = False) -> PlacedBody | None:
        """The body on its part of the array; None if it does not fit, or a `quick` search did not find out."""
        found = self._answer(dfg, _Asked(signature(dfg, values=False), part, quick))
        if found is None:
            return None
        own = replace(found, mapping=replace(found.mapping, dfg=dfg))
        return self._placed.setdefault(f"{signature(dfg)} {part} {quick}", own)

    def _answer(self, dfg: Dfg, asked: _Asked) -> PlacedBody | None:
        """What was searched for a structure, in this run or an earlier one."""
        if asked not in self._searched:
            known = store.recall(_Answer, self._question(asked))
            if known is None:
                known = _Answer(self._rules.place(dfg, asked.part, asked.quick))
                for settled in asked.settled_by(known.body):
                    store.keep(self._question(settled), known)
            for settled in asked.settled_by(known.body):
                self._searched[settled] = known.body
        return self._searched[asked]

    def _question(self, asked: _Asked) -> str:
        kind = "quick" if asked.quick else "place"
        return f"{kind} {asked.structure} {asked.part} {self._rules.question} {code_of(self._rules)}"

    def index(self, body: PlacedBody | None) -> int | None:
        """Position of a body in `Mapping.bodies`."""
        if body is None:
            return None
        for position, known in enumerate(self.used):
            if known is body.mapping:
                return position
        self.used.append(body.mapping)
        return len(self.used) - 1


def code_of(rules: ArrayRules) -> str:
    """The digest of the code that plans and places under `rules`."""
    return store.code_digest(type(rules).__module__.removesuffix(".network.rules"))


def in_store(_tensor: str) -> str:
    """Between stages every tensor lives in the backing store."""
    return STORE


def body_copies(loops: Sequence[TileLoop], body_axes: frozenset[str]) -> dict[str, int]:
    """Copies of each operator loop inside one body."""
    copies: dict[str, int] = {}
    for item in loops:
        if item.axis in body_axes and item.trips > 1:
            copies[item.loop] = copies.get(item.loop, 1) * item.trips
    return copies


def draft(plan: StagePlan) -> Stage:
    """The stage without phases, for counting iterations and traffic while phases are made."""
    return Stage("", plan.op.name, plan.loops, plan.buffers, Rect(0, 0, 1, 1))


def body_runs(plan: StagePlan) -> tuple[int, int]:
    """How often the body and the tail run, copies counted once."""
    stage = draft(plan)
    return iterations(stage, plan.op), outputs_per_copy(stage, plan.op) if plan.tail is not None else 0


def backing_bytes(graph: Graph, plan: StagePlan, axes: Sequence[Axis]) -> tuple[int, int]:
    """Bytes that a stage brings in from the backing store and sends out to it, partial results both ways."""
    loaded = drained = 0
    home = plan.inside.home
    for link in links(graph, draft(plan), plan.op, {axis.name: axis for axis in axes}, lambda n: home(graph.root(n))):
        access = plan.op.write if link.operand == WRITTEN else plan.op.reads[link.operand]
        dtype = graph.tensor(access.tensor).dtype
        if link.source == "dram":
            loaded += dtypes.bytes_of(link.sent, dtype)
        elif link.target == "dram":
            drained += dtypes.bytes_of(link.received, dtype)
            loaded += dtypes.bytes_of(link.partial_received, dtype)
    return loaded, drained


def accumulator(graph: Graph, op: Op, loops: tuple[TileLoop, ...], depth: int) -> Buffer:
    """Registers for what an operator with a combiner writes while the loops from `depth` on run."""
    assert op.combiner is not None
    buffer = Buffer(WRITTEN, "reg", depth, 0)
    elements = buffer_elements(graph, Stage("", op.name, loops, (), Rect(0, 0, 1, 1)), op, buffer)
    return replace(buffer, bytes=dtypes.bytes_of(elements, op.combiner.accumulator))


def before_axis(
    graph: Graph, op: Op, loops: tuple[TileLoop, ...], buffers: Sequence[Buffer], memory: str, axis: str
) -> tuple[Buffer, ...]:
    """Buffers with the written slice in `memory` moved outside the loops of `axis` that directly enclose it.

    Copies along `axis` combine their results inside the body, so only one instance keeps them.
    """
    moved = []
    for buffer in buffers:
        depth = buffer.depth
        while buffer.operand == WRITTEN and buffer.memory == memory and depth and loops[depth - 1].axis == axis:
            depth -= 1
        if depth != buffer.depth:
            buffer = replace(buffer, depth=depth)
            elements = buffer_elements(graph, Stage("", op.name, loops, (), Rect(0, 0, 1, 1)), op, buffer)
            dtype = op.combiner.accumulator if op.combiner is not None else graph.tensor(op.write.tensor).dtype
            buffer = replace(buffer, bytes=dtypes.bytes_of(elements, dtype))
        moved.append(buffer)
    return tuple(moved)
