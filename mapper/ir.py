"""Tensor, Loop, Access, Op, Graph: one meaning of an operator.

An :class:`Op` is a loop nest: an iteration domain of named loops, a quasi-affine :class:`Access` per operand, a
scalar body, and a combiner for elements that several iterations write. Footprints, reuse, multiply-accumulates,
bounds, tilings, loop bodies, the interpreter and the simulator all follow from this definition, never from a table
by operator name. Two companions have no nest: a :class:`View` renames the same bytes, an :class:`Opaque` operator
is known by its bytes only.

A :class:`Graph` checks itself at construction: known tensors, one producer each, operators in topological order,
ranks that agree, accesses that stay inside their tensors (or are guarded). Raises :class:`GraphError` naming the
culprit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from mapper import dtypes
from mapper.index import Gathered, Index, interval
from mapper.scalar import Acc, Arg, Call, Const, Counter, Scalar, parts

__all__ = ["Access", "AnyOp", "Combiner", "Graph", "GraphError", "Loop", "Op", "Opaque", "SourceNode", "Tensor", "View"]

Role = Literal["input", "weight", "constant", "activation"]
Blob = bytes  # Tensor has a property of the name `bytes`
Fate = Literal["mapped", "fused", "view", "folded", "removed", "host"]


class GraphError(ValueError):
    """A graph that breaks its own rules; the message names the operator or tensor."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array. `data` holds the little-endian bytes of a small constant; weights carry no values."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: Role = "activation"
    data: Blob | None = field(default=None, repr=False)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the packed tensor (4-bit elements take half a byte each)."""
        return dtypes.bytes_of(self.elements, self.dtype)

    def array(self) -> np.ndarray:
        """The values of a constant, read-only. Raises ValueError for other tensors."""
        if self.data is None:
            raise ValueError(f"tensor {self.name!r} has no values: its role is {self.role}")
        return np.frombuffer(self.data, dtypes.numpy_type(self.dtype)).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop from 0 to extent - 1. `ordered` loops run in sequence (they read their own earlier output);
    `bounded` marks a trip count that is only known as an upper bound."""

    name: str
    extent: int
    ordered: bool = False
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """Element `index` of `tensor`, one :class:`Index` per dimension.

    Where some guard is negative, nothing is touched: a read delivers `fill`, a write is dropped.
    """

    tensor: str
    index: tuple[Index, ...]
    guards: tuple[Index, ...] = ()
    fill: float | int = 0

    @property
    def loops(self) -> frozenset[str]:
        """Loops on which the element depends (guards do not count)."""
        return frozenset().union(*(i.loops for i in self.index)) if self.index else frozenset()


CombinerKind = Literal["sum", "max", "min", "prod", "and", "or", "argmax", "argmin", "argmax_last", "argmin_last"]


@dataclass(frozen=True, slots=True)
class Combiner:
    """How iterations that write one element combine. Arg-combiners deliver the counter of loop `over`."""

    kind: CombinerKind
    accumulator: str
    over: str | None = None

    @property
    def identity(self) -> float:
        """The value of an element before the first iteration."""
        return {"sum": 0, "prod": 1, "max": -math.inf, "min": math.inf, "and": 1, "or": 0}.get(self.kind, 0)


@dataclass(frozen=True)
class Op:
    """One loop nest.

    `body` is computed at every point of the domain from `reads`; points that agree on the written element are
    combined; `tail` (over `Acc()` and reads that depend on output loops only) runs once per written element.
    `sources` names the model's nodes that the nest came from, `macs` their multiply-accumulates before fusion.
    """

    name: str
    op_type: str
    loops: tuple[Loop, ...]
    reads: tuple[Access, ...]
    write: Access
    body: Scalar
    combiner: Combiner | None = None
    tail: Scalar | None = None
    sources: tuple[str, ...] = ()
    macs: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read, each once, in order of the reads."""
        return tuple(dict.fromkeys(read.tensor for read in self.reads))

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.write.tensor,)

    @cached_property
    def extents(self) -> Mapping[str, int]:
        return {loop.name: loop.extent for loop in self.loops}

    @property
    def points(self) -> int:
        """Iterations of the whole domain."""
        return math.prod(loop.extent for loop in self.loops)

    @cached_property
    def output_loops(self) -> frozenset[str]:
        """Loops that select the written element; the others reduce."""
        return self.write.loops

    @cached_property
    def body_reads(self) -> frozenset[int]:
        """Reads used at every point: by the body or to resolve another read's index."""
        used = {part.read for part in parts(self.body) if isinstance(part, Arg)}
        indirect = {g.read for r in self.reads for i in r.index for g in i.gathered}
        indirect |= {g.read for i in self.write.index for g in i.gathered}
        return frozenset(used | indirect)

    @cached_property
    def tail_reads(self) -> frozenset[int]:
        """Reads used once per output element."""
        if self.tail is None:
            return frozenset()
        return frozenset(part.read for part in parts(self.tail) if isinstance(part, Arg))

    @property
    def is_movement(self) -> bool:
        """Data is only moved: the body selects one read by loop counters, nothing is combined or finished."""
        return self.combiner is None and self.tail is None and _selects(self.body)


def _selects(body: Scalar) -> bool:
    """True for a read, or a choice between reads that depends on loop counters only."""
    if isinstance(body, Call) and body.function == "where":
        condition, *branches = body.args
        by_counter = not any(isinstance(part, Arg) for part in parts(condition))
        return by_counter and all(_selects(branch) for branch in branches)
    return isinstance(body, (Arg, Const))


@dataclass(frozen=True, slots=True)
class View:
    """The same bytes under another name and shape (row-major order kept), perhaps read as another type of equally many
    bits: nothing moves."""

    name: str
    op_type: str
    input: str
    output: str
    sources: tuple[str, ...] = ()

    macs = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.output,)


@dataclass(frozen=True, slots=True)
class Opaque:
    """An operator without a loop-nest form; it runs on the host, and its bytes in and out are charged.

    `payload` is whatever the frontend needs to execute it again (an encoded node), `reason` is shown to users.
    """

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reason: str
    sources: tuple[str, ...] = ()
    payload: bytes = field(default=b"", repr=False)
    macs: int = 0


AnyOp = Op | View | Opaque


@dataclass(frozen=True, slots=True)
class SourceNode:
    """What became of one node of the model: every node has one entry, so nothing is silently dropped."""

    name: str
    op_type: str
    fate: Fate
    macs: int = 0
    params: int = 0


@dataclass(frozen=True)
class Graph:
    """A checked graph. `ops` are in topological order; `nodes` accounts for every node of the model.

    `prepare` holds operators that depend on weights alone (batch-norm folding, weight transposes): they run once,
    before deployment, and the tensors they write have role "weight" for everything that follows.
    """

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[AnyOp, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[SourceNode, ...] = ()
    macs: int = 0
    params: int = 0
    prepare: tuple[AnyOp, ...] = ()

    def __post_init__(self) -> None:
        check_graph(self)

    @cached_property
    def _by_name(self) -> Mapping[str, Tensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    def tensor(self, name: str) -> Tensor:
        """The tensor called `name`. Raises :class:`GraphError` when there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise GraphError(f"graph {self.name!r} has no tensor {name!r}") from None

    @cached_property
    def producer(self) -> Mapping[str, AnyOp]:
        """The operator that writes each tensor."""
        return {out: op for op in (*self.prepare, *self.ops) for out in op.outputs}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[AnyOp, ...]]:
        """The operators that read each tensor, in order."""
        users: dict[str, list[AnyOp]] = {tensor.name: [] for tensor in self.tensors}
        for op in self.ops:
            for name in op.inputs:
                users[name].append(op)
        return {name: tuple(found) for name, found in users.items()}

    def _repr_html_(self) -> str:
        from mapper.report.notebook import graph_html

        return graph_html(self)

    @property
    def nests(self) -> Iterator[Op]:
        """Operators with a loop nest, in order."""
        return (op for op in self.ops if isinstance(op, Op))

    def root(self, name: str) -> str:
        """The tensor whose bytes `name` shares, following views upwards."""
        while isinstance(view := self.producer.get(name), View):
            name = view.input
        return name


def check_graph(graph: Graph) -> None:
    """Raise :class:`GraphError` at the first broken rule."""
    names = [tensor.name for tensor in graph.tensors]
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise GraphError(f"tensor {twice!r} is declared twice in graph {graph.name!r}")
    for tensor in graph.tensors:
        if tensor.dtype not in dtypes.BITS or any(extent < 0 for extent in tensor.shape):
            raise GraphError(f"tensor {tensor.name!r} has shape {tensor.shape} and type {tensor.dtype!r}")
    prepared = {name for op in graph.prepare for name in op.outputs}
    ready = {t.name for t in graph.tensors if t.role != "activation"} - prepared
    for op in (*graph.prepare, *graph.ops):
        _check_order(graph, op, ready)
        if isinstance(op, Op):
            _check_nest(graph, op)
        elif isinstance(op, View):
            _check_view(graph, op)
    for name in graph.outputs:
        graph.tensor(name)
        if name not in ready:
            raise GraphError(f"output {name!r} of graph {graph.name!r} is never produced")


def _check_order(graph: Graph, op: AnyOp, ready: set[str]) -> None:
    own = set(op.outputs) if isinstance(op, Op) and any(loop.ordered for loop in op.loops) else set()
    for name in op.inputs:
        graph.tensor(name)
        if name not in ready and name not in own:
            raise GraphError(f"operator {op.name!r} ({op.op_type}) reads {name!r} before it is produced")
    for name in op.outputs:
        graph.tensor(name)
        if name in ready:
            raise GraphError(f"tensor {name!r} is produced twice, the second time by {op.name!r} ({op.op_type})")
        ready.add(name)


def _check_view(graph: Graph, op: View) -> None:
    source, target = graph.tensor(op.input), graph.tensor(op.output)
    if source.elements != target.elements or dtypes.BITS[source.dtype] != dtypes.BITS[target.dtype]:
        raise GraphError(f"view {op.name!r} turns {source.dtype}{source.shape} into {target.dtype}{target.shape}")


def _check_nest(graph: Graph, op: Op) -> None:
    where = f"operator {op.name!r} ({op.op_type})"
    if len(op.extents) != len(op.loops):
        raise GraphError(f"{where} names a loop twice")
    for part in (*parts(op.body), *(parts(op.tail) if op.tail is not None else ())):
        if isinstance(part, Arg) and not 0 <= part.read < len(op.reads):
            raise GraphError(f"{where} uses read {part.read} of {len(op.reads)}")
        if isinstance(part, Counter) and part.loop not in op.extents:
            raise GraphError(f"{where} uses the counter of loop {part.loop!r}, which it lacks")
    if any(isinstance(part, Acc) for part in parts(op.body)):
        raise GraphError(f"{where} uses the combined value inside its body")
    for access in (*op.reads, op.write):
        _check_access(graph, op, access, where)
    for read in op.tail_reads:
        if not op.reads[read].loops <= op.output_loops:
            raise GraphError(f"{where} reads {op.reads[read].tensor!r} in its tail over loops that it reduces")
    reducing = [loop.name for loop in op.loops if loop.name not in op.output_loops and loop.extent > 1]
    if reducing and op.combiner is None:
        raise GraphError(f"{where} writes an element several times over {', '.join(reducing)} without a combiner")


def _check_access(graph: Graph, op: Op, access: Access, where: str) -> None:
    tensor = graph.tensor(access.tensor)
    if len(access.index) != len(tensor.shape):
        raise GraphError(
            f"{where} indexes {tensor.name!r} of rank {len(tensor.shape)} with {len(access.index)} indices"
        )
    unknown = (
        access.loops.union(*(g.loops for g in access.guards)) - set(op.extents) if op.loops or access.loops else ()
    )
    if unknown:
        raise GraphError(f"{where} indexes {tensor.name!r} by unknown loop {min(unknown)!r}")
    for g in (g for i in access.index for g in i.gathered):
        if not isinstance(g, Gathered) or not 0 <= g.read < len(op.reads):
            raise GraphError(f"{where} gathers {tensor.name!r} through a read that it lacks")
    if access.guards or any(loop.extent == 0 for loop in op.loops):
        return
    ranges = {name: (0, extent - 1) for name, extent in op.extents.items()}
    for index, extent in zip(access.index, tensor.shape, strict=True):
        low, high = interval(index, ranges)
        if low < 0 or high >= extent:
            raise GraphError(f"{where} touches element {low if low < 0 else high} of {tensor.name!r}, extent {extent}")
