"""Tensors that live on both sides of the wafer's edge get a copy on each, so that each crosses the edge once.

An input that several operators read, or one operator through overlapping windows, would be fetched from outside once
per reader and halo. It comes in once instead: a nest that moves it makes the copy that all operators read. In the same
way a result that the host wants and operators read again is written on the wafer, and a nest moves it out. Views of
such tensors exist on both sides; operators of the host keep the outer one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mapper.index import loop
from mapper.ir import Access, AnyOp, Graph, Loop, Op, Opaque, Tensor, View
from mapper.scalar import Arg

__all__ = ["legalise_network"]

SUFFIX = "@wafer"


def legalise_network(graph: Graph) -> Graph:
    """The graph with edge copies where they save traffic; the same results."""
    doubled = frozenset(_entering(graph)) | frozenset(_leaving(graph))
    if not doubled:
        return graph
    names = {t.name for t in graph.tensors if graph.root(t.name) in doubled}
    inner = [replace(graph.tensor(n), name=n + SUFFIX, role="activation", data=None) for n in sorted(names)]
    ops = [new for op in graph.ops for new in _rewritten(graph, op, names, doubled)]
    entering = [_move(graph.tensor(n), n, n + SUFFIX) for n in graph.inputs if n in doubled]
    return replace(graph, tensors=(*graph.tensors, *inner), ops=(*entering, *ops))


def _entering(graph: Graph) -> Iterator[str]:
    """Inputs that are read more than once, or through windows that overlap."""
    for name in graph.inputs:
        reads = [access for op in graph.nests for access in op.reads if graph.root(access.tensor) == name]
        overlapping = any(len(index.loops) > 1 for access in reads for index in access.index)
        plain = reads and graph.tensor(name).shape and not any(i.gathered for access in reads for i in access.index)
        if plain and (len(reads) > 1 or overlapping) and graph.tensor(name).elements > 1:
            yield name


def _leaving(graph: Graph) -> Iterator[str]:
    """Results of operators that the host wants and that operators read again."""
    wanted = {graph.root(name) for name in graph.outputs}
    wanted |= {graph.root(name) for op in graph.ops if isinstance(op, Opaque) for name in op.inputs}
    for op in graph.nests:
        name = op.write.tensor
        own = any(access.tensor == name for access in op.reads)
        read = any(graph.root(a.tensor) == name for other in graph.nests if other is not op for a in other.reads)
        if name in wanted and read and not own and graph.tensor(name).shape:
            yield name


def _rewritten(graph: Graph, op: AnyOp, names: set[str], doubled: frozenset[str]) -> Iterator[AnyOp]:
    """`op` on the inner tensors, with what must exist outside as well."""
    if isinstance(op, View):
        yield op
        if op.output in names:
            yield replace(op, name=op.name + SUFFIX, input=op.input + SUFFIX, output=op.output + SUFFIX)
    elif isinstance(op, Op):
        yield replace(op, reads=tuple(_inside(a, names) for a in op.reads), write=_inside(op.write, names))
        if op.write.tensor in doubled:
            name = op.write.tensor
            yield _move(graph.tensor(name), name + SUFFIX, name)
    else:
        yield op


def _inside(access: Access, names: set[str]) -> Access:
    return replace(access, tensor=access.tensor + SUFFIX) if access.tensor in names else access


def _move(tensor: Tensor, source: str, target: str) -> Op:
    """A nest that copies a tensor element by element."""
    loops = tuple(Loop(f"d{axis}", extent) for axis, extent in enumerate(tensor.shape))
    index = tuple(loop(each.name) for each in loops)
    into = target.endswith(SUFFIX)
    return Op(f"{'enter' if into else 'leave'} {tensor.name}", "Move", loops, (Access(source, index),),
              Access(target, index), Arg(0))  # fmt: skip
