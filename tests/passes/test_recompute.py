"""Values vanish exactly where computing them again moves less; no read is left twice; indices keep their reads."""

from __future__ import annotations

import numpy as np
import pytest

from mapper.index import Gathered, Index, loop
from mapper.interpret import run
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.passes import forward_reads, recompute, share_reads
from mapper.scalar import Arg, Call, Cast, Counter, Scalar, parts

F = "float32"
ROWS, COLUMNS = 3, 40
ROW_LOOP, J = loop("i"), loop("j")
LOOPS = (Loop("i", ROWS), Loop("j", COLUMNS))
WHOLE, ROW = (ROW_LOOP, J), (ROW_LOOP,)


def nest(name: str, out: str, body: Scalar, *reads: Access, combiner: str = "", macs: int = 0) -> Op:
    write = Access(out, ROW if combiner else WHOLE)
    return Op(name, name, LOOPS, reads, write, body, Combiner(combiner, F) if combiner else None, None, (name,), macs)


def softmax(body: Scalar | None = None, last: Op | None = None) -> Graph:
    """y = e / sum(e) with e = exp(x - m), m = max(x) along rows; other bodies of e and another last nest on request."""
    x, m, e, s = Access("x", WHOLE), Access("m", ROW), Access("e", WHOLE), Access("s", ROW)
    body = body or Call("exp", (Call("sub", (Arg(0), Arg(1))),))
    ops = (
        nest("max", "m", Arg(0), x, combiner="max"),
        nest("exp", "e", body, x, m),
        nest("sum", "s", Arg(0), e, combiner="sum"),
        last or nest("div", "y", Call("div", (Arg(0), Arg(1))), e, s),
    )
    wide, narrow = (ROWS, COLUMNS), (ROWS,)
    tensors = (Tensor("x", wide, F, "input"), Tensor("m", narrow, F), Tensor("e", wide, F), Tensor("s", narrow, F),
               Tensor("y", wide, F))  # fmt: skip
    return Graph("g", tensors, ops, ("x",), ("y",))


def values(graph: Graph) -> np.ndarray:
    return run(graph, {"x": np.random.default_rng(5).standard_normal((ROWS, COLUMNS)).astype(F)})["y"]


def test_softmax_computes_its_exponentials_twice_rather_than_keep_them() -> None:
    before = softmax()
    after = recompute(before)
    assert [op.sources for op in after.ops] == [("max",), ("sum", "exp"), ("div", "exp")]
    assert [tensor.name for tensor in after.tensors] == ["x", "m", "s", "y"]
    total, last = after.ops[1:]
    assert isinstance(total, Op) and [read.tensor for read in total.reads] == ["x", "m"]
    assert isinstance(last, Op) and [read.tensor for read in last.reads] == ["x", "m", "s"]
    np.testing.assert_array_equal(values(after), values(before))


def bytes_moved(graph: Graph) -> int:
    """Every operand of every nest once."""
    return sum(graph.tensor(name).bytes for op in graph.ops for name in (*set(op.inputs), *op.outputs))


def test_what_is_saved_is_what_the_docstring_says() -> None:
    wide, narrow = 4 * ROWS * COLUMNS, 4 * ROWS
    assert bytes_moved(softmax()) - bytes_moved(recompute(softmax())) == (wide + narrow) + 3 * wide - 2 * (
        wide + narrow
    )


@pytest.mark.parametrize(
    "reason", ["a product", "an output", "where it stands", "a reader of every column", "too long"]
)
def test_values_stay_that_cost_more_to_compute_again(reason: str) -> None:
    e, s = Access("e", WHOLE), Access("s", ROW)
    graph = softmax()
    if reason == "a product":
        maker = nest("exp", "e", Call("mul", (Arg(0), Arg(1))), Access("x", WHOLE), Access("m", ROW), macs=120)
        graph = Graph("g", graph.tensors, (graph.ops[0], maker, *graph.ops[2:]), ("x",), ("y",))
    elif reason == "an output":
        graph = Graph("g", graph.tensors, graph.ops, ("x",), ("y", "e"))
    elif reason == "where it stands":
        graph = softmax(Call("mul", (Arg(0), Cast(F, Counter("j")))))
    elif reason == "a reader of every column":  # y[i, j] = sum over k of e[i, k] s[i]: each of e is used 40 times
        k = loop("k")
        last = Op("all", "All", (*LOOPS, Loop("k", COLUMNS)), (Access("e", (ROW_LOOP, k)), s), Access("y", WHOLE),
                  Call("mul", (Arg(0), Arg(1))), Combiner("sum", F), None, ("all",))  # fmt: skip
        graph = softmax(last=last)
    else:
        body: Scalar = Arg(0)
        for _ in range(5):
            body = Call("exp", (body,))
        graph = softmax(body, nest("div", "y", Call("div", (Arg(0), Arg(1))), e, s))
    assert recompute(graph) == graph


def test_many_operands_are_dearer_than_one_value() -> None:
    """e = x0 + x1 + x2 for two readers: 3 + 1 + 2 slices before, 6 after."""
    inputs = [Access(f"x{at}", WHOLE) for at in range(3)]
    body = Call("add", (Call("add", (Arg(0), Arg(1))), Arg(2)))
    ops = (
        nest("add", "e", body, *inputs),
        nest("neg", "y", Call("neg", (Arg(0),)), Access("e", WHOLE)),
        nest("abs", "z", Call("abs", (Arg(0),)), Access("e", WHOLE)),
    )
    names = {"x0": "input", "x1": "input", "x2": "input", "e": "activation", "y": "activation", "z": "activation"}
    tensors = tuple(Tensor(name, (ROWS, COLUMNS), F, role) for name, role in names.items())
    graph = Graph("g", tensors, ops, ("x0", "x1", "x2"), ("y", "z"))
    assert recompute(graph) == graph


@pytest.mark.parametrize("operands", [2, 8])
def test_a_reader_takes_in_no_more_than_a_body_holds(operands: int) -> None:
    """y = v0 + v1 + .. with each v a sum of 16 terms in x: 33 parts each, 96 at most in a body."""
    term: Scalar = Arg(0)
    for _ in range(16):
        term = Call("add", (term, Arg(0)))
    total: Scalar = Arg(0)
    for at in range(1, operands):
        total = Call("add", (total, Arg(at)))
    makers = tuple(nest(f"n{at}", f"v{at}", term, Access("x", WHOLE)) for at in range(operands))
    last = nest("last", "y", total, *(Access(f"v{at}", WHOLE) for at in range(operands)))
    made = {f"v{at}": "activation" for at in range(operands)} | {"y": "activation"}
    tensors = (Tensor("x", (ROWS, COLUMNS), F, "input"),
               *(Tensor(name, (ROWS, COLUMNS), F, role) for name, role in made.items()))  # fmt: skip
    before = Graph("g", tensors, (*makers, last), ("x",), ("y",))
    after = recompute(before)
    assert len(after.ops) == 1 + max(0, operands - 2)
    op = after.ops[-1]
    assert isinstance(op, Op) and sum(1 for _ in parts(op.body)) <= 96
    np.testing.assert_array_equal(values(after), values(before))


def test_a_computed_index_is_not_computed_by_its_reader() -> None:
    """y[i] = t[c[i]] with c[i] = |x[i]|: an index is a read, not a value."""
    loops = (Loop("i", ROWS),)
    index = Op("abs", "Abs", loops, (Access("x", ROW),), Access("c", ROW), Call("abs", (Arg(0),)))
    gather = Op("gather", "Gather", loops, (Access("c", ROW), Access("t", (Index(((Gathered(0, 9), 1),)),))),
                Access("y", ROW), Arg(1))  # fmt: skip
    tensors = (Tensor("x", (ROWS,), "int64", "input"), Tensor("c", (ROWS,), "int64"), Tensor("t", (9,), F, "input"),
               Tensor("y", (ROWS,), F))  # fmt: skip
    graph = Graph("g", tensors, (index, gather), ("x", "t"), ("y",))
    assert recompute(graph) == graph


def test_equal_reads_become_one() -> None:
    whole = Access("x", WHOLE)
    ops = (nest("square", "y", Call("add", (Call("mul", (Arg(0), Arg(1))), Arg(2))), whole, whole, Access("x", WHOLE)),)
    tensors = (Tensor("x", (ROWS, COLUMNS), F, "input"), Tensor("y", (ROWS, COLUMNS), F))
    before = Graph("g", tensors, ops, ("x",), ("y",))
    (op,) = share_reads(before).ops
    assert isinstance(op, Op) and op.reads == (whole,)
    assert op.body == Call("add", (Call("mul", (Arg(0), Arg(0))), Arg(0)))
    np.testing.assert_array_equal(values(share_reads(before)), values(before))


def scatter(*reads: Access) -> Op:
    """y[c[i], j] takes what the last read holds."""
    at = Gathered(len(reads) - 2, ROWS)
    return Op(
        "scatter",
        "ScatterND",
        LOOPS,
        reads,
        Access("y", (Index(((at, 1),)), J)),
        Arg(len(reads) - 1),
        Combiner("sum", F),
    )


SCATTERED = (Tensor("c", (ROWS,), "int64", "input"), Tensor("x", (ROWS, COLUMNS), F, "input"),
             Tensor("t", (COLUMNS, ROWS), F), Tensor("y", (ROWS, COLUMNS), F))  # fmt: skip


def test_a_scatter_keeps_its_index_when_reads_are_renumbered() -> None:
    x, c = Access("x", WHOLE), Access("c", ROW)
    (op,) = share_reads(Graph("g", SCATTERED, (scatter(x, x, c, x),), ("c", "x"), ("y",))).ops
    assert isinstance(op, Op) and op.reads == (x, c)
    assert op.write.index[0] == Index(((Gathered(1, ROWS), 1),)) and op.body == Arg(0)


def test_a_scatter_keeps_its_index_when_a_copy_of_two_operands_vanishes() -> None:
    """A widened operand with a scale takes two reads where one was, before the read of the index."""
    scale = Tensor("s", (COLUMNS,), F, "input")
    narrow = Tensor("q", (ROWS, COLUMNS), "int8", "input")
    wide = nest("dq", "w", Call("mul", (Cast(F, Arg(0)), Arg(1))), Access("q", WHOLE), Access("s", (J,)))
    write = Access("y", (Index(((Gathered(1, ROWS), 1),)), J))
    op = Op("scatter", "ScatterND", LOOPS, (Access("w", WHOLE), Access("c", ROW)), write, Arg(0), Combiner("sum", F))
    tensors = (*SCATTERED, scale, narrow, Tensor("w", (ROWS, COLUMNS), F))
    graph = Graph("g", tensors, (wide, op), ("c", "q", "s"), ("y",))
    (after,) = forward_reads(graph).ops
    assert isinstance(after, Op) and [read.tensor for read in after.reads] == ["q", "s", "c"]
    assert after.write.index[0] == Index(((Gathered(2, ROWS), 1),))
