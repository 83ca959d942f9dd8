"""Each pass keeps what a graph computes; what it is for is asserted by name and number."""

from __future__ import annotations

import numpy as np
import pytest

from mapper.index import constant, loop
from mapper.interpret import run
from mapper.ir import Access, Combiner, Graph, Loop, Op, SourceNode, Tensor, View
from mapper.passes import account, fold_scales, forward_reads, fuse_elementwise, optimise, prepare, remove_dead
from mapper.scalar import Acc, Arg, Call, Cast

RNG = np.random.default_rng(11)
F = "float32"


def pointwise(name: str, function: str, out: str, *inputs: str, shape=(3, 4), axes=("i", "j")) -> Op:
    """out[i, j] = function(inputs[i, j]); an input written "b:j" is a vector over j."""
    reads = []
    for text in inputs:
        tensor, _, only = text.partition(":")
        reads.append(Access(tensor, tuple(loop(a) for a in (only or "".join(axes)))))
    loops = tuple(Loop(a, e) for a, e in zip(axes, shape, strict=True))
    body = Call(function, tuple(Arg(i) for i in range(len(inputs))))
    return Op(name, function, loops, tuple(reads), Access(out, tuple(loop(a) for a in axes)), body, sources=(name,))


def matmul(name: str, out: str, a: str, b: str, tail=None, extra=()) -> Op:
    m, n, k = loop("m"), loop("n"), loop("k")
    loops = (Loop("m", 3), Loop("n", 4), Loop("k", 5))
    reads = (Access(a, (m, k)), Access(b, (k, n)), *extra)
    product = Call("mul", (Arg(0), Arg(1)))
    return Op(name, "MatMul", loops, reads, Access(out, (m, n)), product, Combiner("sum", F), tail, (name,), 60)


def tensors(**shapes):
    """Tensors by name; `x` is an input, names in capitals are weights, others activations."""
    roles = {True: "weight", False: "activation"}
    return tuple(Tensor(n, s, F, "input" if n.startswith("x") else roles[n.isupper()]) for n, s in shapes.items())


def graph(ops, outputs=("y",), nodes=None, **shapes) -> Graph:
    found = tensors(**shapes)
    names = nodes or tuple(SourceNode(op.name, op.op_type, "mapped", op.macs) for op in ops)
    inputs = tuple(t.name for t in found if t.role == "input")
    return Graph("g", found, tuple(ops), inputs, tuple(outputs), names, sum(op.macs for op in ops))


def same(before: Graph, after: Graph) -> None:
    feeds = {t.name: RNG.standard_normal(t.shape).astype(F) for t in before.tensors if t.role in ("input", "weight")}
    expected, got = run(before, feeds), run(after, feeds)
    for name in before.outputs:
        np.testing.assert_allclose(got[name], expected[name], rtol=2e-5, atol=1e-5)


def test_a_chain_joins_the_tail_of_its_producer() -> None:
    ops = [matmul("mm", "t", "x", "W"), pointwise("add", "add", "u", "t", "B:j"), pointwise("act", "tanh", "y", "u")]
    before = graph(ops, x=(3, 5), W=(5, 4), B=(4,), t=(3, 4), u=(3, 4), y=(3, 4))
    after = fuse_elementwise(before)
    (op,) = after.ops
    assert isinstance(op, Op) and op.sources == ("mm", "add", "act") and op.macs == 60
    assert op.tail == Call("tanh", (Call("add", (Acc(), Arg(2))),))
    assert op.reads[2] == Access("B", (loop("n"),))  # the consumer's j is the producer's n
    assert [t.name for t in after.tensors] == ["x", "W", "B", "y"]
    same(before, after)


def test_a_residual_sum_waits_for_its_other_operand() -> None:
    ops = [matmul("one", "t", "x", "W"), matmul("two", "u", "x", "V"), pointwise("add", "add", "y", "t", "u")]
    before = graph(ops, x=(3, 5), W=(5, 4), V=(5, 4), t=(3, 4), u=(3, 4), y=(3, 4))
    after = fuse_elementwise(before)
    assert [op.sources for op in after.ops] == [("one",), ("two", "add")]
    same(before, after)


@pytest.mark.parametrize("reason", ["another reader", "an output", "a view between"])
def test_what_others_want_is_not_fused_away(reason) -> None:
    ops = [matmul("mm", "t", "x", "W"), pointwise("act", "tanh", "y", "t")]
    outputs = ["y"]
    if reason == "another reader":
        ops.append(pointwise("also", "neg", "z", "t"))
        outputs.append("z")
    elif reason == "an output":
        outputs.append("t")
    else:
        ops[1:] = [View("v", "Reshape", "t", "z", ("v",)), pointwise("act", "tanh", "y", "z")]
    before = graph(ops, outputs, x=(3, 5), W=(5, 4), t=(3, 4), y=(3, 4), z=(3, 4))
    after = fuse_elementwise(before)
    assert len(after.ops) == len(before.ops)


def test_what_two_readers_want_is_fused_once_these_are_one() -> None:
    """x W * sigmoid(x W) + r: the product is read by two operators, then by one."""
    ops = [matmul("mm", "t", "x", "W"), pointwise("gate", "sigmoid", "u", "t"), pointwise("mul", "mul", "v", "t", "u"),
           pointwise("add", "add", "y", "v", "xr")]  # fmt: skip
    before = graph(ops, x=(3, 5), W=(5, 4), t=(3, 4), u=(3, 4), v=(3, 4), xr=(3, 4), y=(3, 4))
    after = fuse_elementwise(before)
    (op,) = after.ops
    assert isinstance(op, Op) and [read.tensor for read in op.reads] == ["x", "W", "xr"]
    assert op.tail == Call("add", (Call("mul", (Acc(), Call("sigmoid", (Acc(),)))), Arg(2)))
    same(before, after)


def test_two_readers_that_stay_two_keep_the_value() -> None:
    ops = [matmul("mm", "t", "x", "W"), pointwise("a", "neg", "y", "t"), pointwise("b", "tanh", "z", "t")]
    before = graph(ops, ("y", "z"), x=(3, 5), W=(5, 4), t=(3, 4), y=(3, 4), z=(3, 4))
    assert fuse_elementwise(before).ops == before.ops


def test_rounding_to_the_vanished_type_is_kept() -> None:
    half = Tensor("t", (3, 4), "float16")
    ops = (matmul("mm", "t", "x", "W"), pointwise("act", "tanh", "y", "t"))
    before = Graph("g", (*tensors(x=(3, 5), W=(5, 4)), half, Tensor("y", (3, 4), F)), ops, ("x",), ("y",))
    (op,) = fuse_elementwise(before).ops
    assert isinstance(op, Op) and op.tail == Call("tanh", (Cast("float16", Acc()),))


def test_a_transposed_reader_is_not_in_place() -> None:
    i, j = loop("i"), loop("j")
    turn = Op("t", "Add", (Loop("i", 4), Loop("j", 4)), (Access("u", (j, i)), Access("u", (i, j))), Access("y", (i, j)),
              Call("add", (Arg(0), Arg(1))))  # fmt: skip
    first = pointwise("n", "neg", "u", "x", shape=(4, 4))
    before = graph([first, turn], x=(4, 4), u=(4, 4), y=(4, 4))
    assert fuse_elementwise(before).ops == before.ops


def test_weights_are_prepared_and_outputs_are_not() -> None:
    ops = [pointwise("s", "sqrt", "t", "W"), pointwise("m", "mul", "y", "x", "t"), pointwise("n", "neg", "z", "W")]
    before = graph(ops, ["y", "z"], x=(3, 4), W=(3, 4), t=(3, 4), y=(3, 4), z=(3, 4))
    after = prepare(before)
    assert [op.name for op in after.prepare] == ["s"] and after.tensor("t").role == "weight"
    assert [op.name for op in after.ops] == ["m", "n"]


def norm_graph() -> Graph:
    """tanh((x W + B) * S + T), as a convolution, its bias and a batch normalisation make it."""
    inner = Call("mul", (Call("add", (Acc(), Arg(2))), Arg(3)))
    tail = Call("tanh", (Call("add", (inner, Arg(4))),))
    extra = tuple(Access(n, (loop("n"),)) for n in "BST")
    op = matmul("mm", "y", "x", "W", tail, extra)
    return graph([op], x=(3, 5), W=(5, 4), B=(4,), S=(4,), T=(4,), y=(3, 4))


def test_a_scale_per_column_moves_into_the_weight() -> None:
    before = norm_graph()
    after = fold_scales(before)
    (op,) = after.ops
    assert isinstance(op, Op) and op.tail == Call("tanh", (Call("add", (Acc(), Arg(2))),)) and len(op.reads) == 3
    assert [p.write.tensor for p in after.prepare] == ["W.scaled/mm", "W.shift/mm"]
    same(before, after)


def test_a_scale_per_row_stays_because_the_weight_has_no_rows() -> None:
    tail = Call("mul", (Acc(), Arg(2)))
    op = matmul("mm", "y", "x", "W", tail, (Access("R", (loop("m"),)),))
    before = graph([op], x=(3, 5), W=(5, 4), R=(3,), y=(3, 4))
    assert fold_scales(before) == before


def test_a_sum_used_twice_outside_the_affine_part_stays() -> None:
    tail = Call("add", (Call("mul", (Acc(), Arg(2))), Acc()))
    op = matmul("mm", "y", "x", "W", tail, (Access("S", (loop("n"),)),))
    before = graph([op], x=(3, 5), W=(5, 4), S=(4,), y=(3, 4))
    assert fold_scales(before) == before


def test_dead_work_goes_and_inputs_stay() -> None:
    ops = [pointwise("a", "neg", "t", "x"), pointwise("b", "exp", "u", "x2"), pointwise("c", "abs", "y", "t")]
    before = graph(ops, x=(3, 4), x2=(3, 4), t=(3, 4), u=(3, 4), y=(3, 4))
    after = remove_dead(before)
    assert [op.name for op in after.ops] == ["a", "c"]
    assert [t.name for t in after.tensors] == ["x", "x2", "t", "y"]


def test_fates_after_the_pipeline() -> None:
    ops = [
        pointwise("root", "sqrt", "t", "W", shape=(5, 4)), matmul("mm", "u", "x", "t"),
        pointwise("act", "tanh", "y", "u"), pointwise("dead", "neg", "z", "x", shape=(3, 5)),
    ]  # fmt: skip
    before = graph(ops, x=(3, 5), W=(5, 4), t=(5, 4), u=(3, 4), y=(3, 4), z=(3, 5))
    after = optimise(before)
    assert {n.name: n.fate for n in after.nodes} == {
        "root": "folded",
        "mm": "mapped",
        "act": "fused",
        "dead": "removed",
    }
    assert after.macs == sum(op.macs for op in after.ops) == 60
    assert account(after) == after
    same(before, after)


def test_constants_index_zero_are_covered() -> None:
    """A reduction that keeps its axis writes element 0 there; what follows still fuses."""
    i, j = loop("i"), loop("j")
    total = Op("sum", "ReduceSum", (Loop("i", 3), Loop("j", 4)), (Access("x", (i, j)),), Access("t", (i, constant(0))),
               Arg(0), Combiner("sum", F), sources=("sum",))  # fmt: skip
    before = graph([total, pointwise("act", "tanh", "y", "t", shape=(3, 1))], x=(3, 4), t=(3, 1), y=(3, 1))
    after = fuse_elementwise(before)
    assert len(after.ops) == 1
    same(before, after)


def transposed_product() -> Graph:
    """x W with W given as [n, k] and transposed by a nest of its own."""
    i, j = loop("i"), loop("j")
    turn = Op("turn", "Transpose", (Loop("i", 5), Loop("j", 4)), (Access("u", (j, i)),), Access("t", (i, j)), Arg(0),
              sources=("turn",))  # fmt: skip
    u = Tensor("u", (4, 5), F, "input")
    found = tensors(x=(3, 5), t=(5, 4), y=(3, 4))
    return Graph("g", (*found, u), (turn, matmul("mm", "y", "x", "t")), ("x", "u"), ("y",))


def test_a_transposed_operand_is_read_where_it_lies() -> None:
    before = transposed_product()
    (op,) = forward_reads(before).ops
    assert isinstance(op, Op) and op.reads[1] == Access("u", (loop("n"), loop("k")))
    assert op.sources == ("mm", "turn")
    same(before, forward_reads(before))


def test_a_copy_that_somebody_needs_whole_stays() -> None:
    before = transposed_product()
    view = View("v", "Reshape", "t", "z", ("v",))
    more = Graph("g", (*before.tensors, Tensor("z", (20,), F)), (*before.ops, view), ("x", "u"), ("y", "z"))
    assert forward_reads(more) == more


def test_dequantised_weights_move_as_bytes() -> None:
    i, j = loop("i"), loop("j")
    body = Call("mul", (Cast(F, Call("sub", (Cast("int32", Arg(0)), Arg(1)))), Arg(2)))
    wide = Op("dq", "DequantizeLinear", (Loop("i", 5), Loop("j", 4)),
              (Access("q", (i, j)), Access("Z", (j,)), Access("S", (j,))), Access("t", (i, j)), body,
              sources=("dq",))  # fmt: skip
    found = (
        Tensor("q", (5, 4), "int8", "weight"),
        Tensor("Z", (4,), "int32", "weight"),
        *tensors(x=(3, 5), S=(4,), t=(5, 4), y=(3, 4)),
    )
    before = Graph("g", found, (wide, matmul("mm", "y", "x", "t")), ("x",), ("y",))
    after = forward_reads(before)
    (op,) = after.ops
    assert isinstance(op, Op) and [r.tensor for r in op.reads] == ["x", "q", "Z", "S"]
    feeds = {
        "q": RNG.integers(-100, 100, (5, 4)).astype(np.int8), "Z": RNG.integers(-9, 9, 4).astype(np.int32),
        "x": RNG.standard_normal((3, 5)).astype(F), "S": RNG.standard_normal(4).astype(F),
    }  # fmt: skip
    np.testing.assert_allclose(run(after, feeds)["y"], run(before, feeds)["y"], rtol=2e-5, atol=1e-4)


def test_a_transpose_after_a_product_becomes_its_writing_order() -> None:
    i, j = loop("i"), loop("j")
    turn = Op("turn", "Transpose", (Loop("i", 4), Loop("j", 3)), (Access("t", (j, i)),), Access("y", (i, j)), Arg(0))
    before = graph([matmul("mm", "t", "x", "W"), turn], x=(3, 5), W=(5, 4), t=(3, 4), y=(4, 3))
    (op,) = fuse_elementwise(before).ops
    assert op.write == Access("y", (loop("n"), loop("m"))) and op.combiner is not None
    same(before, fuse_elementwise(before))


def test_a_slice_is_not_a_whole_tensor() -> None:
    part = pointwise("part", "neg", "y", "t", shape=(2, 4))
    before = graph([matmul("mm", "t", "x", "W"), part], x=(3, 5), W=(5, 4), t=(3, 4), y=(2, 4))
    assert fuse_elementwise(before).ops == before.ops
