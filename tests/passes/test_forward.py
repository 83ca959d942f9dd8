"""What is read where it lies, and what is not: each condition alone, on a nest and one reader of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from mapper.index import Gathered, Index, loop
from mapper.interpret import run
from mapper.ir import Access, Graph, Loop, Op, Tensor
from mapper.passes import forward_reads
from mapper.scalar import Arg, Call, Cast, Const, Counter

F = "float32"
LINE, COLUMN = loop("i"), loop("j")
LOOPS = (Loop("i", 3), Loop("j", 5))
WHOLE = (LINE, COLUMN)
WIDEN = Cast(F, Arg(0))
PADDED = Access("w", (LINE, COLUMN - 1), (COLUMN - 1,))


def widening(**changes: object) -> Op:
    """w = float(q)."""
    op = Op("widen", "Cast", LOOPS, (Access("q", WHOLE),), Access("w", WHOLE), WIDEN)
    return replace(op, **changes)  # type: ignore[arg-type]


def reader(**changes: object) -> Op:
    """y = |w|."""
    op = Op("abs", "Abs", LOOPS, (Access("w", WHOLE),), Access("y", WHOLE), Call("abs", (Arg(0),)))
    return replace(op, **changes)  # type: ignore[arg-type]


def graph(
    *ops: Op, types: Mapping[str, str] = {}, outputs: tuple[str, ...] = ("y",), **shapes: tuple[int, ...]
) -> Graph:
    made = {op.write.tensor for op in ops}
    every = {"q": (3, 5), "w": (3, 5), "y": (3, 5)} | shapes
    kinds = {"q": "int8"} | dict(types)
    tensors = tuple(Tensor(name, shape, kinds.get(name, F), "activation" if name in made else "input")
                    for name, shape in every.items())  # fmt: skip
    return Graph("g", tensors, ops, tuple(t.name for t in tensors if t.role == "input"), outputs)


def test_a_widened_tensor_is_read_narrow() -> None:
    before = graph(widening(), reader())
    (op,) = forward_reads(before).ops
    assert isinstance(op, Op) and op.reads == (Access("q", WHOLE),) and op.body == Call("abs", (WIDEN,))
    feeds = {"q": np.arange(-7, 8, dtype=np.int8).reshape(3, 5)}
    np.testing.assert_array_equal(run(forward_reads(before), feeds)["y"], run(before, feeds)["y"])


SCALED = Call("mul", (WIDEN, Arg(1)))
KEPT = {
    "an output": graph(widening(), reader(), outputs=("y", "w")),
    "no wider": graph(widening(), reader(), types={"q": "int32"}),
    "no conversion": graph(widening(body=Call("neg", (Arg(0),))), reader(), types={"q": "float16", "w": F}),
    "where it stands": graph(widening(body=Call("add", (WIDEN, Cast(F, Counter("j"))))), reader()),
    "as many loops": graph(widening(reads=(Access("q", WHOLE), Access("s", WHOLE)), body=SCALED), reader(), s=(3, 5)),
    "a broadcast": graph(widening(reads=(Access("q", (LINE,)),)), reader(), q=(3,)),
    "a guard": graph(widening(reads=(Access("q", WHOLE, (COLUMN - 1,)),)), reader()),
    "an order": graph(widening(loops=(Loop("i", 3, ordered=True), Loop("j", 5))), reader()),
    "a gathered read": graph(
        widening(reads=(Access("q", (LINE, Index(((Gathered(1, 5), 1),)))), Access("c", (COLUMN,)))), reader(),
        c=(5,), types={"c": "int64"},
    ),
    "padding of two operands": graph(
        widening(reads=(Access("q", WHOLE), Access("s", (COLUMN,))), body=SCALED),
        reader(reads=(PADDED,)), s=(5,),
    ),
    "padding that no element widens to": graph(
        widening(body=Call("add", (WIDEN, Const(0.5)))), reader(reads=(PADDED,)),
    ),
    "an index that moves": graph(
        widening(), reader(reads=(Access("w", (LINE, Index(((Gathered(1, 5), 1),)))), Access("c", (COLUMN,)))),
        c=(5,), types={"c": "int64"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", KEPT)
def test_what_is_written_all_the_same(reason: str) -> None:
    assert forward_reads(KEPT[reason]) == KEPT[reason]


@pytest.mark.parametrize(("zero", "fill"), [(0, 0), (3, 3)])
def test_padding_becomes_the_element_that_widens_to_it(zero: int, fill: int) -> None:
    """y = |w| shifted by one column, w = float(q - zero): the padding 0 of w is the element `zero` of q."""
    body = Cast(F, Call("sub", (Arg(0), Const(zero)))) if zero else WIDEN
    before = graph(widening(body=body), reader(reads=(PADDED,)))
    (op,) = forward_reads(before).ops
    assert isinstance(op, Op) and op.reads == (Access("q", PADDED.index, PADDED.guards, fill),)
    feeds = {"q": np.arange(15, dtype=np.int8).reshape(3, 5)}
    np.testing.assert_array_equal(run(forward_reads(before), feeds)["y"], run(before, feeds)["y"])


def test_a_copy_keeps_any_padding() -> None:
    turned = widening(reads=(Access("q", (COLUMN, LINE)),), body=Arg(0))
    before = graph(turned, reader(reads=(replace(PADDED, fill=7.0),)), types={"q": F}, q=(5, 3))
    (op,) = forward_reads(before).ops
    assert isinstance(op, Op) and op.reads == (Access("q", (COLUMN - 1, LINE), (COLUMN - 1,), 7.0),)


def test_a_broadcast_has_padding_that_its_source_has_not() -> None:
    spread = widening(reads=(Access("q", (LINE,)),), body=Arg(0))
    before = graph(spread, reader(reads=(PADDED,)), types={"q": F}, q=(3,))
    assert forward_reads(before) == before
