"""Operators without a single iteration are no work for a fabric.

Where the result has no elements either, it is made before deployment and nothing ever moves; an output of the model
becomes a view of it. Where a reduction runs over nothing, every element of the result is the combiner's identity, as
the tail finishes it: a nest over the output alone, which reads nothing but the tail's operands.
"""

from __future__ import annotations

from dataclasses import replace

from mapper import dtypes
from mapper.ir import AnyOp, Graph, Loop, Op, Tensor, View
from mapper.scalar import Arg, Cast, Const, Scalar, substitute

__all__ = ["settle_empty"]


def settle_empty(graph: Graph) -> Graph:
    """`graph` with its operators of no iteration made beforehand, or made fills."""
    if not any(isinstance(op, Op) and op.points == 0 for op in graph.ops):
        return graph
    early: list[AnyOp] = list(graph.prepare)
    late: list[AnyOp] = []
    tensors = {t.name: t for t in graph.tensors}
    for op in graph.ops:
        if not isinstance(op, Op) or op.points:
            late.append(op)
        elif graph.tensor(op.write.tensor).elements:
            late.append(_filled(op))
        else:
            made, *views = _made(op, graph.tensor(op.write.tensor), op.write.tensor in graph.outputs)
            early.append(made)
            late += views
            tensors[made.write.tensor] = replace(graph.tensor(op.write.tensor), name=made.write.tensor, role="weight")
    return replace(graph, tensors=tuple(tensors.values()), ops=tuple(late), prepare=tuple(early))


def _made(op: Op, tensor: Tensor, wanted: bool) -> tuple[Op, *tuple[View, ...]]:
    """The nest without its reads, which never happen; behind it a view if the model gives the tensor out."""
    nothing = replace(op, loops=_written(op), reads=(), body=Const(0), combiner=None, tail=None)
    if not wanted:
        return (nothing,)
    name = f"{tensor.name}.nothing"
    view = View(f"{op.name}.nothing", op.op_type, name, tensor.name, op.sources)
    return replace(nothing, write=replace(op.write, tensor=name)), view


def _filled(op: Op) -> Op:
    """The nest over the written elements alone; an arg-reduction over nothing has no value and stays."""
    if op.combiner is None or op.combiner.kind.startswith("arg"):
        return op
    start: Scalar = Const(op.combiner.identity)
    if dtypes.is_integer(op.combiner.accumulator):
        start = Const(int(op.combiner.identity))
    start = Cast(op.combiner.accumulator, start)
    read = sorted(op.tail_reads)
    names: dict[int, Scalar] = {old: Arg(new) for new, old in enumerate(read)}
    body = start if op.tail is None else substitute(op.tail, names, start)
    reads = tuple(op.reads[i] for i in read)
    return replace(op, loops=_written(op), reads=reads, body=body, combiner=None, tail=None)


def _written(op: Op) -> tuple[Loop, ...]:
    """The loops of the result; a scalar is one iteration, as wherever nests are made."""
    return tuple(loop for loop in op.loops if loop.name in op.output_loops) or (Loop("one", 1),)
