"""Training: the backward and weight-gradient nests of every operator, for `--set training=true`.

An operator writes Y[w] = combine over its domain of body(R1[i1], R2[i2], ...). With gY the gradient of Y, every read
that depends on a weight gets one nest over the same domain,

    gR[i] += gY[w] d(body)/d(R)            (sum)
    gR[i] += gY[w] [body = Y[w]] d(body)/d(R)   (max, min)

where R is a weight this is its gradient, else it goes on backward. A finishing `tail` becomes a nest of its own first,
so that the sums it starts from are stashed. Partial gradients of a tensor with several readers are added. Views go back
as views.

A scatter over windows (i = s h + r - p) cannot be split over cores, so it is turned into a gather: the element y of R
becomes a loop, h = (y - r + p) / s, and points where that is no whole number inside the extent contribute nothing. With
strides s > 1 the domain is s times as large per axis; its idle points are charged as they run.

The loss is the squared distance from a target, sum (Y - target(Y))^2 / 2 over all outputs; targets are inputs.
Gradients of weights stay on the cores that make them. Activations wait for their backward readers in those readers'
memory (:mod:`.flow`), as residuals do; of a Relu, sigmoid, tanh or exp that is its result alone. Rows that data gathers
from a table get no gradient. Applying the gradients, once per batch, is not part of the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mapper import dtypes
from mapper.errors import Unsupported
from mapper.index import Index, loop
from mapper.ir import Access, AnyOp, Combiner, Graph, Loop, Op, Opaque, Tensor, View
from mapper.passes.types import dimension_loops
from mapper.scalar import Arg, Call, Counter, Scalar, parts, substitute

from .derivative import ONE, ZERO, derivative, from_output, product

__all__ = ["training_graph"]


def gradient_name(name: str) -> str:
    return f"grad({name})"


def target_name(name: str) -> str:
    return f"target({name})"


def training_graph(graph: Graph) -> Graph:
    """The graph with its backward pass. Raises Unsupported for an operator on the way back that has none."""
    return _Backward(_stashed(graph)).run()


# ------------------------------------------------------------------------------------------------ sums before tails
def _stashed(graph: Graph) -> Graph:
    """Combined values that a tail finishes become tensors of their own."""
    tensors, ops = list(graph.tensors), list[AnyOp]()
    for op in graph.ops:
        if isinstance(op, Op) and op.tail is not None and op.combiner is not None and not op.write.guards:
            written = graph.tensor(op.write.tensor)
            held = replace(written, name=f"{written.name}@sum", dtype=op.combiner.accumulator, role="activation")
            tensors.append(held)
            ops += _without_tail(op, held.name)
        else:
            ops.append(op)
    return replace(graph, tensors=tuple(tensors), ops=tuple(ops))


def _without_tail(op: Op, held: str) -> tuple[Op, Op]:
    """The nest that combines into `held`, and the elementwise one that finishes."""
    assert op.tail is not None
    kept, used = sorted(op.body_reads), sorted(op.tail_reads)
    first = _on_reads(op, kept, op.body)
    first = replace(first, name=f"{op.name}@sum", write=replace(op.write, tensor=held), tail=None)
    numbers: dict[int, Scalar] = {old: Arg(new + 1) for new, old in enumerate(used)}
    reads = (replace(op.write, tensor=held), *(op.reads[n] for n in used))
    own = tuple(each for each in op.loops if each.name in op.output_loops)
    last = replace(
        op, loops=own, reads=reads, body=substitute(op.tail, numbers, Arg(0)), combiner=None, tail=None, macs=0
    )
    return first, last


def _on_reads(op: Op, kept: Sequence[int], body: Scalar) -> Op:
    numbers: dict[int, Scalar] = {old: Arg(new) for new, old in enumerate(kept)}
    return replace(op, reads=tuple(op.reads[n] for n in kept), body=substitute(body, numbers))


# ------------------------------------------------------------------------------------------------ the way back
@dataclass(frozen=True, slots=True)
class _Form:
    """A nest's loops and accesses; loops whose counters its body uses; which read is the gradient that goes back."""

    loops: tuple[Loop, ...]
    reads: tuple[Access, ...]
    write: Access
    counted: frozenset[str]
    gradient: int


class _Backward:
    """The running state: which tensors have gradients, their partial sums, and what was added to the graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.needed = _needed(graph)
        self.partial: dict[str, list[str]] = {}
        self.tensors: list[Tensor] = []
        self.ops: list[AnyOp] = []
        self.targets: list[str] = []

    def run(self) -> Graph:
        graph = self.graph
        for name in graph.outputs:
            if name in self.needed:
                self._seed(name)
        for op in reversed(graph.ops):
            for name in op.outputs:
                if name in self.needed and self.partial.get(name):
                    self._back(op, self._total(name))
        for tensor in graph.tensors:
            if tensor.role == "weight" and self.partial.get(tensor.name):
                self._total(tensor.name)
        ops = (*graph.ops, *self.ops)
        macs = sum(op.macs for op in ops)
        inputs = (*graph.inputs, *self.targets)
        return replace(graph, tensors=(*graph.tensors, *self.tensors), ops=ops, inputs=inputs, macs=macs)

    def _seed(self, name: str) -> None:
        """grad(Y) = Y - target(Y)."""
        target, seed = self._tensor(name, target_name(name), "input"), self._new_partial(name)
        self.targets.append(target)
        index = tuple(loop(f"d{axis}") for axis in range(len(self.graph.tensor(name).shape)))
        loops = tuple(Loop(f"d{axis}", n) for axis, n in enumerate(self.graph.tensor(name).shape))
        reads, body = (Access(name, index), Access(target, index)), Call("sub", (Arg(0), Arg(1)))
        self.ops.append(Op(f"loss({name})", "SquaredError", loops, reads, Access(seed, index), body))

    def _tensor(self, like: str, name: str, role: str = "activation") -> str:
        self.tensors.append(replace(self.graph.tensor(like), name=name, role=role, data=None))  # type: ignore[arg-type]
        return name

    def _total(self, name: str) -> str:
        """The gradient of a tensor, its partial gradients added up."""
        found = self.partial[name]
        if len(found) == 1:
            return found[0]
        index = tuple(loop(f"d{axis}") for axis in range(len(self.graph.tensor(name).shape)))
        loops = tuple(Loop(f"d{axis}", n) for axis, n in enumerate(self.graph.tensor(name).shape))
        body: Scalar = Arg(0)
        for number in range(1, len(found)):
            body = Call("add", (body, Arg(number)))
        total = self._tensor(name, f"{gradient_name(name)}@total")
        reads = tuple(Access(part, index) for part in found)
        self.ops.append(Op(total, "AddGradients", loops, reads, Access(total, index), body))
        self.partial[name] = [total]
        return total

    def _back(self, op: AnyOp, gradient: str) -> None:
        """The gradients of what `op` reads."""
        if isinstance(op, View):
            name = self._new_partial(op.input)
            self.ops.append(View(f"{op.name}/{name}", op.op_type, gradient, name, op.sources))
        elif isinstance(op, Opaque):
            raise Unsupported(f"operator {op.op_type!r} runs on the host and has no backward form", op.name,
                              "map it without --set training=true")  # fmt: skip
        else:
            self._back_nest(op, gradient)

    def _back_nest(self, op: Op, gradient: str) -> None:
        """The gradients of a nest's reads; where nothing is combined, reads of one slope share its product with gY."""
        if any(each.ordered for each in op.loops) or (op.combiner and op.combiner.kind not in ("sum", "max", "min")):
            raise Unsupported(f"operator {op.op_type!r} has no backward form on the wafer", op.name,
                              "map it without --set training=true")  # fmt: skip
        op = replace(op, reads=(*op.reads, replace(op.write, fill=0)))
        slopes = {read: _slope(op, read) for read in sorted(op.body_reads) if self._wanted(op, read)}
        shares = op.combiner is None and not op.write.guards
        for slope in dict.fromkeys(s for s in slopes.values() if s != ZERO):
            reads = [read for read, own in slopes.items() if own == slope]
            if shares and (len(reads) > 1 or slope == ONE):
                common = gradient if slope == ONE else self._scaled(op, slope, gradient)
                for read in reads:
                    self._passed_on(op, read, common)
            else:
                for read in reads:
                    self._nest(op, read, slope, gradient)

    def _wanted(self, op: Op, read: int) -> bool:
        access = op.reads[read]
        return access.tensor in self.needed and not any(i.gathered for i in access.index)

    def _scaled(self, op: Op, slope: Scalar, gradient: str) -> str:
        """gY times a slope, of the shape of Y."""
        name = self._tensor(op.write.tensor, f"{gradient}@{len(self.ops)}")
        reads = (*op.reads, replace(op.write, tensor=gradient, fill=0))
        form = _Form(op.loops, reads, replace(op.write, tensor=name), frozenset(), len(op.reads))
        body = product(Arg(len(op.reads)), slope)
        self.ops.append(_backward_nest(op, form, body, self.graph.tensor(op.write.tensor).dtype))
        return name

    def _passed_on(self, op: Op, read: int, gradient: str) -> None:
        """A read of slope one: the gradient itself where the read stands in place, else its sums."""
        access, written = op.reads[read], self.graph.tensor(op.write.tensor)
        tensor = self.graph.tensor(access.tensor)
        in_place = dimension_loops(access) == dimension_loops(op.write) is not None
        if in_place and (tensor.shape, tensor.dtype) == (written.shape, written.dtype):
            self.partial.setdefault(access.tensor, []).append(gradient)
        else:
            self._nest(op, read, ONE, gradient)

    def _new_partial(self, name: str) -> str:
        found = self.partial.setdefault(name, [])
        suffix = f"#{len(found)}" if found else ""
        found.append(self._tensor(name, gradient_name(name) + suffix))
        return found[-1]

    def _nest(self, op: Op, read: int, slope: Scalar, gradient: str) -> None:
        """One read's gradient over the domain of its operator, whose last read is its own result."""
        count = len(op.reads)
        reads = [*op.reads, replace(op.write, tensor=gradient, fill=0)]
        body = product(Arg(count), slope)
        if op.combiner and op.combiner.kind != "sum":
            body = Call("where", (Call("equal", (op.body, Arg(count - 1))), body, ZERO))
        name = self._new_partial(op.reads[read].tensor)
        write = replace(op.reads[read], tensor=name, fill=0)
        counted = {part.loop for part in parts(body) if isinstance(part, Counter)}
        form = _Form(op.loops, tuple(reads), write, frozenset(counted), count)
        gathered = _gathered(form, self.graph.tensor(op.reads[read].tensor).shape)
        self.ops.append(_backward_nest(op, gathered, body, self.graph.tensor(op.reads[read].tensor).dtype))


def _slope(op: Op, read: int) -> Scalar:
    """d(body) / d(read), by the result (the last read) where that suffices."""
    known = from_output(op.body, Arg(len(op.reads) - 1)) if op.combiner is None else None
    if known is None:
        return derivative(op.body, Arg(read))
    return product(known[0], derivative(known[1], Arg(read)))


def _backward_nest(op: Op, form: _Form, body: Scalar, dtype: str) -> Op:
    """The nest, with those reads only that its body uses."""
    form = _guarded(form)
    bare = replace(op, name=f"{op.name}/{form.write.tensor}", op_type=f"{op.op_type}Grad", loops=form.loops,
                   reads=form.reads, write=form.write, body=body, combiner=None, tail=None)  # fmt: skip
    kept = sorted({part.read for part in parts(body) if isinstance(part, Arg)} | _indexing(form))
    nest = _on_reads(bare, kept, body)
    reducing = any(each.name not in nest.output_loops and each.extent > 1 for each in nest.loops)
    if reducing or dimension_loops(nest.write) is None:
        nest = replace(nest, combiner=Combiner("sum", "float64" if dtype == "float64" else "float32"))
    return replace(nest, macs=op.macs)


def _guarded(form: _Form) -> _Form:
    """Guards of the write that depend on loops outside of its index move to the gradient read, which then gives 0."""
    own = tuple(g for g in form.write.guards if g.loops <= form.write.loops)
    moved = tuple(g for g in form.write.guards if g not in own)
    reads, at = list(form.reads), form.gradient
    reads[at] = replace(reads[at], guards=(*reads[at].guards, *moved))
    return replace(form, reads=tuple(reads), write=replace(form.write, guards=own))


def _indexing(form: _Form) -> set[int]:
    """Reads that other reads gather through."""
    return {atom.read for read in form.reads for index in read.index for atom in index.gathered}


def _gathered(form: _Form, shape: Sequence[int]) -> _Form:
    """Written dimensions become loops; those for which no loop can be solved stay as they are."""
    for axis, extent in enumerate(shape):
        form = _solved(form, axis, extent) or form
    return form


def _solved(form: _Form, axis: int, extent: int) -> _Form | None:
    """Written dimension `axis` as a loop, in place of the longest loop that its index can be solved for."""
    index, lengths = form.write.index[axis], {each.name: each.extent for each in form.loops}
    if index in [loop(name) for name, length in lengths.items() if length == extent]:
        return None
    choice = _loop_to_solve(form, axis, lengths)
    if choice is None:
        return None
    name, step = choice
    fresh = f"{name}*"
    remainder = loop(fresh) - index + loop(name) * step
    value = remainder // step
    guards = [value, lengths[name] - 1 - value, *([(remainder % step) * -1] if step > 1 else [])]
    own = tuple(g for g in form.write.guards if g not in (index, extent - 1 - index))
    if any(name in g.loops for g in own):
        return None
    indices = tuple(loop(fresh) if at == axis else i for at, i in enumerate(form.write.index))
    return replace(
        form,
        loops=tuple(Loop(fresh, extent) if each.name == name else each for each in form.loops),
        reads=tuple(_renamed(read, {name: value}, guards) for read in form.reads),
        write=replace(form.write, index=indices, guards=own),
    )


def _loop_to_solve(form: _Form, axis: int, lengths: dict[str, int]) -> tuple[str, int] | None:
    """The longest loop of the index, with its factor, that the gradient read depends on and nothing else written."""
    index = form.write.index[axis]
    others = frozenset[str]().union(*(i.loops for at, i in enumerate(form.write.index) if at != axis))
    gathers = any(i.gathered for access in (*form.reads, form.write) for i in access.index)
    if gathers or not index.is_affine:
        return None
    usable = (form.reads[form.gradient].loops - others) - form.counted
    found = [(lengths[str(a)], str(a), c) for a, c in index.terms if c > 0 and str(a) in usable]
    return max(found)[1:] if found else None


def _renamed(access: Access, names: dict[str, Index], guards: Sequence[Index]) -> Access:
    """The access in the new variables; where these stand for no point of the old domain, nothing is read."""
    (name,) = names
    touched = any(name in i.loops for i in (*access.index, *access.guards))
    if not touched:
        return access
    index = tuple(i.renamed(names) for i in access.index)
    own = tuple(g.renamed(names) for g in access.guards)
    return replace(access, index=index, guards=(*own, *guards))


def _needed(graph: Graph) -> frozenset[str]:
    """Floating-point tensors through which a weight reaches an output."""
    made = {t.name for t in graph.tensors if t.role == "weight" and dtypes.is_float(t.dtype)}
    for op in graph.ops:
        if any(name in made for name in op.inputs):
            made |= {name for name in op.outputs if dtypes.is_float(graph.tensor(name).dtype)}
    return frozenset(made)
