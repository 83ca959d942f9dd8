"""Elementwise operators become part of the operator that makes their input, so that the value never leaves it.

A consumer fuses if it reads, in place, a tensor that nobody else wants; what two readers want has one once these are
fused (`x * sigmoid(x)` behind a product). Its body then runs on
the value that the producer would have written: in the producer's tail where elements are combined, in its body
elsewhere. The fused nest stands where the consumer stood, so its other operands are ready.

In place means: the consumer's loops are the tensor's dimensions, one each, in any order, so each element is read once;
a transpose that follows a product becomes the order in which the product writes. Rounding to the type of the vanished
tensor is kept where it would show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mapper.dtypes import BITS, is_float
from mapper.index import Index
from mapper.ir import Access, AnyOp, Graph, Op
from mapper.scalar import Acc, Arg, Call, Cast, Const, Counter, Scalar, parts, substitute

from .types import dimension_loops, type_of

__all__ = ["LARGEST_BODY", "fuse_elementwise", "is_elementwise", "is_short"]

LARGEST_BODY = 96
LONGEST_CHAIN = 56  # dependent operations; a one-way fabric has a row for each, and 64 of them
# dependent operations of the functions that a loop body computes in several (mapper/kernels/functions.py)
_CHAINS = {
    "exp": 12, "expm1": 14, "sqrt": 13, "reciprocal": 8, "div": 10, "sin": 14, "cos": 14, "log": 17, "log1p": 20,
    "sigmoid": 21, "erf": 22, "tanh": 24, "pow": 30, "softplus": 31, "round": 3, "floor": 3, "ceil": 3, "mod": 12,
}  # fmt: skip
_QUANTISED = 13  # a cast to a float of 8 bits or less: narrowed and widened again


def fuse_elementwise(graph: Graph) -> Graph:
    """`graph` with elementwise operators fused into the producers of their inputs, chains included."""
    readers = {name: len(ops) for name, ops in graph.consumers.items()}
    kept = set(graph.outputs)
    slots: list[AnyOp | None] = []
    place: dict[str, int] = {}
    for op in graph.ops:
        while (found := _with_a_producer(graph, op, slots, place, readers, kept)) is not None:
            name, fused = found
            producer, slots[place[name]] = slots[place[name]], None
            for both in set(op.inputs) & set(producer.inputs if producer is not None else ()):
                readers[both] -= 1
            op = fused
        for name in op.outputs:
            place[name] = len(slots)
        slots.append(op)
    ops = tuple(op for op in slots if op is not None)
    used = {name for op in (*graph.prepare, *ops) for name in (*op.inputs, *op.outputs)} | {
        *graph.inputs,
        *graph.outputs,
    }
    return replace(graph, ops=ops, tensors=tuple(t for t in graph.tensors if t.name in used))


def _with_a_producer(
    graph: Graph,
    op: AnyOp,
    slots: Sequence[AnyOp | None],
    place: Mapping[str, int],
    readers: Mapping[str, int],
    kept: set[str],
) -> tuple[str, Op] | None:
    """An input that only this elementwise operator reads, and the operator fused into the maker of that input; the
    latest made first, so that all else is ready."""
    if not isinstance(op, Op) or not is_elementwise(op):
        return None
    own = [name for name in set(op.inputs) if name in place and readers[name] == 1 and name not in kept]
    for name in sorted(own, key=lambda name: -place[name]):
        producer = slots[place[name]]
        fused = _fused(graph, producer, op, name) if isinstance(producer, Op) else None
        if fused is not None:
            return name, fused
    return None


def is_elementwise(op: Op) -> bool:
    """One value per point, nothing combined, no loop ordered, no read through an index, each loop a dimension."""
    if op.combiner is not None or op.tail is not None or any(loop.ordered for loop in op.loops):
        return False
    plain = dimension_loops(op.write)
    gathers = any(i.gathered for read in op.reads for i in read.index)
    return plain is not None and len(plain) == len(op.loops) and not gathers


def _write_map(producer: Op) -> tuple[Index, ...] | None:
    """The index of each dimension that the producer writes, if it writes each element once, all loops ahead."""
    if producer.write.guards or any(loop.ordered for loop in producer.loops):
        return None
    if any(i.gathered or not i.is_affine for i in producer.write.index):
        return None
    return producer.write.index


def _fused(graph: Graph, producer: Op, consumer: Op, name: str) -> Op | None:
    """The producer with the consumer's arithmetic added, or None where that is not the same computation."""
    target = _write_map(producer)
    reads = [read for read in consumer.reads if read.tensor == name]
    if target is None or any(read != reads[0] for read in reads) or name in producer.inputs:
        return None
    loops = dimension_loops(reads[0])
    if loops is None or not _covers(graph, producer) or len(loops) != len(consumer.loops):
        return None
    if tuple(consumer.extents[each] for each in loops) != graph.tensor(name).shape:
        return None
    if producer.combiner is not None and producer.combiner.kind.startswith("arg"):
        return None
    names = dict(zip(loops, target, strict=True))
    return _merged(graph, producer, consumer, name, names)


def _covers(graph: Graph, producer: Op) -> bool:
    """Every element of the output is written: each dimension by a loop (or loops) that spans it."""
    shape = graph.tensor(producer.write.tensor).shape
    for index, extent in zip(producer.write.index, shape, strict=True):
        reach = index.const + sum(c * (producer.extents[str(a)] - 1) for a, c in index.terms)
        count = 1
        for atom, _ in index.terms:
            count *= producer.extents[str(atom)]
        if index.const != 0 or count != extent or reach != extent - 1:
            return False
    return len(producer.write.index) == len(shape)


def _merged(graph: Graph, producer: Op, consumer: Op, name: str, names: Mapping[str, Index]) -> Op | None:
    before = producer.tail if producer.combiner is not None or producer.tail is not None else producer.body
    before = Acc() if before is None else before
    value = _rounded(graph, producer, before, graph.tensor(name).dtype)
    reads, args = list(producer.reads), dict[int, Scalar]()
    for number, read in enumerate(consumer.reads):
        if read.tensor == name:
            args[number] = value
        else:
            args[number] = Arg(len(reads))
            moved = tuple(i.renamed(names) for i in read.index)
            reads.append(Access(read.tensor, moved, tuple(g.renamed(names) for g in read.guards), read.fill))
    counters = _renamed_counters(consumer.body, names)
    if counters is None:
        return None
    after = substitute(counters, args)
    if not is_short(after):
        return None
    write = Access(consumer.write.tensor, tuple(i.renamed(names) for i in consumer.write.index))
    merged = replace(
        producer, reads=tuple(reads), write=write, sources=tuple(dict.fromkeys(producer.sources + consumer.sources)),
        macs=producer.macs + consumer.macs,
    )  # fmt: skip
    if producer.combiner is None and producer.tail is None:
        return replace(merged, body=after)
    return replace(merged, tail=after)


def is_short(body: Scalar, largest: int = LARGEST_BODY) -> bool:
    """Whether an array can be hoped to hold a body: at most `largest` parts, and no chain longer than its rows."""
    return sum(1 for _ in parts(body)) <= largest and _chain(body) <= LONGEST_CHAIN


def _chain(body: Scalar) -> int:
    """About how many operations depend on each other, from the first read to the value."""
    if isinstance(body, Call):
        return _CHAINS.get(body.function, 1) + max((_chain(a) for a in body.args), default=0)
    if isinstance(body, Cast):
        return (_QUANTISED if is_float(body.dtype) and BITS[body.dtype] <= 8 else 1) + _chain(body.value)
    return 0


def _renamed_counters(body: Scalar, names: Mapping[str, Index]) -> Scalar | None:
    """`body` with counters in the producer's loops; None if a counter became more than one loop."""
    if isinstance(body, Counter):
        terms = names[body.loop].terms
        if len(terms) == 1 and terms[0][1] == 1 and names[body.loop].const == 0:
            return Counter(str(terms[0][0]))
        return None if terms else Const(0)
    if isinstance(body, Cast):
        inner = _renamed_counters(body.value, names)
        return None if inner is None else Cast(body.dtype, inner, body.saturate)
    if isinstance(body, Call):
        args = [_renamed_counters(a, names) for a in body.args]
        return None if any(a is None for a in args) else Call(body.function, tuple(a for a in args if a is not None))
    return body


def _rounded(graph: Graph, producer: Op, value: Scalar, dtype: str) -> Scalar:
    """`value`, cast to the type that the vanished tensor had unless it is of that type already."""
    held = producer.combiner.accumulator if producer.combiner is not None else None
    return value if type_of(graph, producer, value, held) == dtype else Cast(dtype, value)
