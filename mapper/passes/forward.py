"""Values that are cheaper to read where they lie are not copied first.

Two kinds of nest vanish into their readers. *Movement* (a transpose, slice, or broadcast): the reader reads the source
through the composed index. *Widening* (a dequantised or cast tensor): the reader reads the narrow elements and widens
them itself, so that what moves is the narrow tensor. Both only if every reader can, otherwise nothing would be saved;
a composed index must stay affine, and the padding of a guarded read must keep its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from mapper import dtypes
from mapper.index import Index
from mapper.ir import Access, AnyOp, Graph, Op
from mapper.scalar import Arg, Cast, Const, Counter, Scalar, evaluate, parts, substitute

from .types import dimension_loops, index_reads, renumbered, type_of

__all__ = ["absorbed", "composed", "composes", "forward_reads", "is_plain"]

LARGEST_BODY = 24


def forward_reads(graph: Graph) -> Graph:
    """`graph` with movement and widening nests absorbed by the nests that read them."""
    return absorbed(graph, _vanishes)


def absorbed(graph: Graph, vanishes: Callable[[Graph, Op], bool]) -> Graph:
    """`graph` without the nests that vanish: their readers compute the values from what these read."""
    gone: dict[str, Op] = {}
    ops: list[AnyOp] = []
    for op in graph.ops:
        if isinstance(op, Op):
            for name in [name for name in op.inputs if name in gone]:
                op = composed(graph, gone[name], op)
        if isinstance(op, Op) and vanishes(graph, op):
            gone[op.write.tensor] = op
        else:
            ops.append(op)
    tensors = tuple(t for t in graph.tensors if t.name not in gone)
    return replace(graph, ops=tuple(ops), tensors=tensors)


def _vanishes(graph: Graph, op: Op) -> bool:
    name = op.write.tensor
    readers = graph.consumers[name]
    if name in graph.outputs or not readers or not is_plain(op):
        return False
    if not (op.body == Arg(0) and len(op.reads) == 1) and not _widens(graph, op):
        return False
    return all(isinstance(reader, Op) and composes(op, reader) for reader in readers)


def is_plain(op: Op) -> bool:
    """One value per element, at its own place, from unguarded affine reads."""
    if op.combiner is not None or op.tail is not None or any(loop.ordered for loop in op.loops):
        return False
    loops = dimension_loops(op.write)
    if loops is None or len(loops) != len(op.loops) or not op.reads:
        return False
    return all(not read.guards and all(i.is_affine for i in read.index) for read in op.reads)


def _widens(graph: Graph, op: Op) -> bool:
    """A conversion to a wider type, element by element of its first read; other reads are scales of fewer loops.

    A body that asks where it is (a triangle of a matrix) would ask its readers' loops instead."""
    out, main = graph.tensor(op.write.tensor), op.reads[0]
    narrow = graph.tensor(main.tensor)
    if dtypes.BITS[out.dtype] <= dtypes.BITS[narrow.dtype] or out.elements != narrow.elements:
        return False
    body = list(parts(op.body))
    if any(isinstance(part, Counter) for part in body):
        return False
    few = all(read.loops < main.loops for read in op.reads[1:])
    return few and len(body) <= LARGEST_BODY and any(isinstance(part, Cast) for part in body)


def composes(op: Op, reader: Op) -> bool:
    """Whether all of a reader's accesses can take the nest in: affine results, padding that keeps its value, and no
    computed indices."""
    reads = [(at, read) for at, read in enumerate(reader.reads) if read.tensor == op.write.tensor]
    if op.body != Arg(0) and not index_reads(reader).isdisjoint(at for at, _ in reads):
        return False
    return all(_composes(op, read) for _, read in reads)


def _composes(op: Op, read: Access) -> bool:
    if any(not i.is_affine for i in read.index):
        return False
    return not read.guards or _narrow_fill(op, read.fill) is not None


def _narrow_fill(op: Op, fill: float | int) -> float | int | None:
    """What the narrow tensor's padding must hold so that it widens to `fill`; None if no constant does."""
    if op.body == Arg(0):
        return fill if {loop.name for loop in op.loops} == op.reads[0].loops else None
    if len(op.reads) != 1:
        return None
    for part in (Const(0), *parts(op.body)):
        if isinstance(part, Const) and bool(evaluate(op.body, [part.value]) == fill):
            return part.value
    return None


def composed(graph: Graph, gone: Op, reader: Op) -> Op:
    """`reader` with each read of the vanished tensor replaced by the reads behind it."""
    loops = dimension_loops(gone.write)
    assert loops is not None
    reads: list[Access] = []
    args: dict[int, Scalar] = {}
    for number, read in enumerate(reader.reads):
        if read.tensor != gone.write.tensor:
            args[number] = Arg(len(reads))
            reads.append(read)
            continue
        names = dict(zip(loops, read.index, strict=True))
        inner: dict[int, Scalar] = {i: Arg(len(reads) + i) for i in range(len(gone.reads))}
        reads.extend(_behind(gone, read, names))
        args[number] = _of_type(graph, gone, substitute(gone.body, inner))
    moved = {old: new.read for old, new in args.items() if isinstance(new, Arg)}
    body = substitute(reader.body, args)
    tail = None if reader.tail is None else substitute(reader.tail, args)
    sources = tuple(dict.fromkeys(reader.sources + gone.sources))
    write = renumbered(reader.write, moved)
    kept = tuple(renumbered(read, moved) for read in reads)
    return replace(reader, reads=kept, write=write, body=body, tail=tail, sources=sources)


def _behind(gone: Op, read: Access, names: Mapping[str, Index]) -> Iterator[Access]:
    """The vanished nest's reads as the reader sees them."""
    fill = _narrow_fill(gone, read.fill) if read.guards else 0
    for number, source in enumerate(gone.reads):
        index = tuple(i.renamed(names) for i in source.index)
        guards = read.guards if number == 0 else ()
        yield Access(source.tensor, index, guards, fill if fill is not None and number == 0 else 0)


def _of_type(graph: Graph, gone: Op, value: Scalar) -> Scalar:
    """The value in the vanished tensor's type (the body's reads are numbered anew, so it is judged before)."""
    dtype = graph.tensor(gone.write.tensor).dtype
    return value if type_of(graph, gone, gone.body, None) == dtype else Cast(dtype, value)
