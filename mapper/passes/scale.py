"""Batch-norm folding, in general form: what scales a sum of products per channel scales the weight instead.

    tail(s * sum(x * w) + t)  ->  tail(sum(x * (s w)) + t)

where s and t come from weights alone, and every loop that selects an element of s also selects one of w. Both s w and
t are computed once, in `Graph.prepare`. Rounding differs in the last place, as it does in every tool that folds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mapper.ir import Access, AnyOp, Graph, Loop, Op, Tensor
from mapper.scalar import Acc, Arg, Call, Cast, Const, Scalar, parts, substitute

__all__ = ["fold_scales"]


@dataclass(frozen=True, slots=True)
class Affine:
    """`tree` equals `scale * Acc + shift`; None stands for 1 and 0."""

    tree: Scalar
    scale: Scalar | None = None
    shift: Scalar | None = None


def fold_scales(graph: Graph) -> Graph:
    """`graph` with constant scales of sums of products folded into their weights."""
    fixed = {t.name for t in graph.tensors if t.role in ("weight", "constant")}
    ops: list[AnyOp] = []
    early: list[AnyOp] = []
    tensors: list[Tensor] = []
    for op in graph.ops:
        found = _folded(graph, op, fixed) if isinstance(op, Op) else None
        if found is None:
            ops.append(op)
        else:
            folded, more, made = found
            ops.append(folded)
            early.extend(more)
            tensors.extend(made)
    return replace(graph, ops=tuple(ops), prepare=(*graph.prepare, *early), tensors=(*graph.tensors, *tensors))


def _folded(graph: Graph, op: Op, fixed: set[str]) -> tuple[Op, list[Op], list[Tensor]] | None:
    number = _weight_read(graph, op, fixed)
    if number is None or op.tail is None:
        return None
    allowed = {i for i in op.tail_reads if op.reads[i].tensor in fixed and not op.reads[i].guards}
    allowed = {i for i in allowed if op.reads[i].loops <= op.reads[number].loops}
    affine = _affine_part(op.tail, allowed)
    if affine is None or affine.scale is None:
        return None
    return _rewritten(graph, op, number, affine)


def _weight_read(graph: Graph, op: Op, fixed: set[str]) -> int | None:
    """The read of a weight, if the body is a product of just that and one other read, summed."""
    if op.combiner is None or op.combiner.kind != "sum" or not isinstance(op.body, Call) or op.body.function != "mul":
        return None
    if not all(isinstance(a, Arg) for a in op.body.args):
        return None
    weights = [
        a.read for a in op.body.args
        if isinstance(a, Arg) and op.reads[a.read].tensor in fixed and not op.reads[a.read].guards
    ]  # fmt: skip
    if len(weights) != 1 or any(i.gathered for i in op.reads[weights[0]].index):
        return None
    dtype = graph.tensor(op.reads[weights[0]].tensor).dtype
    return weights[0] if dtype in ("float32", "float64") else None


def _affine_part(tail: Scalar, allowed: set[int]) -> Affine | None:
    """The largest tree around the combined value that is affine in it, and in which all its uses lie."""
    best: Affine | None = None
    known: dict[Scalar, Affine] = {}
    for part in parts(tail):
        affine = Affine(part) if isinstance(part, Acc) else _extended(part, known, allowed)
        if affine is not None:
            known[part] = best = affine
    if best is None:
        return None
    rest = sum(isinstance(p, Acc) for p in parts(_replaced(tail, best.tree, Const(0))))
    return best if rest == 0 else None


def _extended(part: Scalar, known: dict[Scalar, Affine], allowed: set[int]) -> Affine | None:
    if not isinstance(part, Call) or part.function not in ("add", "sub", "mul"):
        return None
    first, second = part.args
    if second in known and part.function != "sub":
        first, second = second, first
    if first not in known or not _fixed_tree(second, allowed):
        return None
    inner = known[first]
    if part.function == "mul":
        scale = second if inner.scale is None else Call("mul", (inner.scale, second))
        return Affine(part, scale, None if inner.shift is None else Call("mul", (inner.shift, second)))
    if inner.shift is None:
        shift = second if part.function == "add" else Call("neg", (second,))
    else:
        shift = Call(part.function, (inner.shift, second))
    return Affine(part, inner.scale, shift)


def _fixed_tree(tree: Scalar, allowed: set[int]) -> bool:
    """A tree over constants and allowed reads, at least one of them."""
    found = list(parts(tree))
    reads = [p.read for p in found if isinstance(p, Arg)]
    return bool(reads) and allowed.issuperset(reads) and all(isinstance(p, (Arg, Call, Const)) for p in found)


def _replaced(tree: Scalar, old: Scalar, new: Scalar) -> Scalar:
    if tree == old:
        return new
    if isinstance(tree, Call):
        return Call(tree.function, tuple(_replaced(a, old, new) for a in tree.args))
    if isinstance(tree, Cast):
        return Cast(tree.dtype, _replaced(tree.value, old, new), tree.saturate)
    return tree


def _rewritten(graph: Graph, op: Op, number: int, affine: Affine) -> tuple[Op, list[Op], list[Tensor]] | None:
    assert affine.scale is not None and op.tail is not None and op.combiner is not None
    weight = op.reads[number]
    source = graph.tensor(weight.tensor)
    scaled = Tensor(f"{source.name}.scaled/{op.name}", source.shape, source.dtype, "weight")
    first = _nest(op, f"{op.name}.scale", affine.scale, weight, scaled.name, number)
    reads = list(op.reads)
    reads[number] = replace(weight, tensor=scaled.name)
    made, early, value = [scaled], [first], _shifted(affine.shift)
    vector = _shared_access(op, affine.shift)
    if vector is not None and affine.shift is not None:
        kind = "float64" if source.dtype == "float64" else "float32"
        shape = graph.tensor(vector.tensor).shape
        offset = Tensor(f"{source.name}.shift/{op.name}", shape, kind, "weight")
        early.append(_nest(op, f"{op.name}.shift", affine.shift, vector, offset.name))
        made.append(offset)
        reads.append(replace(vector, tensor=offset.name))
        value = Call("add", (Acc(), Arg(len(reads) - 1)))
    tail = _replaced(op.tail, affine.tree, value)
    return _compact(replace(op, reads=tuple(reads), tail=None if tail == Acc() else tail)), early, made


def _shifted(shift: Scalar | None) -> Scalar:
    return Acc() if shift is None else Call("add", (Acc(), shift))


def _shared_access(op: Op, shift: Scalar | None) -> Access | None:
    """The access of the shift's reads, if they all read alike; a lone read needs no new vector."""
    numbers = [p.read for p in parts(shift) if isinstance(p, Arg)] if shift is not None else []
    accesses = [op.reads[n] for n in numbers]
    if not accesses or isinstance(shift, Arg) or any(a.index != accesses[0].index for a in accesses):
        return None
    return accesses[0]


def _nest(op: Op, name: str, tree: Scalar, place: Access, target: str, weight: int | None = None) -> Op:
    """target[place] = tree (times the weight at that place), over the loops that the place needs."""
    numbers = sorted({p.read for p in parts(tree) if isinstance(p, Arg)} | ({weight} if weight is not None else set()))
    args: dict[int, Scalar] = {n: Arg(i) for i, n in enumerate(numbers)}
    body = substitute(tree, args)
    if weight is not None:
        body = Call("mul", (args[weight], body))
    loops = tuple(Loop(loop.name, loop.extent) for loop in op.loops if loop.name in place.loops)
    reads = tuple(op.reads[n] for n in numbers)
    return Op(name, "Scale", loops, reads, Access(target, place.index), body, sources=op.sources[1:])


def _compact(op: Op) -> Op:
    """`op` without the reads that nothing uses any more."""
    used = sorted(op.body_reads | op.tail_reads)
    args: dict[int, Scalar] = {n: Arg(i) for i, n in enumerate(used)}
    if len(used) == len(op.reads) or any(i.gathered for read in op.reads for i in read.index):
        return op
    tail = None if op.tail is None else substitute(op.tail, args)
    return replace(op, reads=tuple(op.reads[n] for n in used), body=substitute(op.body, args), tail=tail)
