"""The interpreter against plain numpy on nests of every access and combiner kind."""

import numpy as np
import pytest

from mapper.index import Gathered, Index, constant, loop
from mapper.interpret import run
from mapper.ir import Access, Combiner, Graph, GraphError, Loop, Op, Tensor
from mapper.scalar import Acc, Arg, Call, Const, Counter

RNG = np.random.default_rng(7)


def single(op: Op, **arrays: np.ndarray) -> np.ndarray:
    """Run one operator that writes tensor "y"; the last array gives shape and type of y."""
    *feeds, (out_name, out) = arrays.items()
    tensors = [Tensor(n, a.shape, str(a.dtype), "input") for n, a in feeds] + [Tensor("y", out.shape, str(out.dtype))]
    graph = Graph("g", tuple(tensors), (op,), tuple(n for n, _ in feeds), ("y",))
    assert out_name == "y"
    return run(graph, dict(feeds))["y"]


def test_matmul() -> None:
    a, b = RNG.normal(size=(3, 5)).astype(np.float32), RNG.normal(size=(5, 4)).astype(np.float32)
    m, n, k = loop("m"), loop("n"), loop("k")
    op = Op("mm", "MatMul", (Loop("m", 3), Loop("n", 4), Loop("k", 5)), (Access("a", (m, k)), Access("b", (k, n))),
            Access("y", (m, n)), Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"))  # fmt: skip
    np.testing.assert_allclose(single(op, a=a, b=b, y=a @ b), a @ b, rtol=1e-5)


def conv_op(pad: int, stride: int, dilation: int, x: np.ndarray, w: np.ndarray, out: int) -> Op:
    k, c, y, f = loop("k"), loop("c"), loop("y"), loop("f")
    position = y * stride + f * dilation - pad
    guards = (position, x.shape[1] - 1 - position) if pad else ()
    loops = (Loop("k", w.shape[0]), Loop("c", w.shape[1]), Loop("y", out), Loop("f", w.shape[2]))
    return Op("conv", "Conv", loops, (Access("x", (c, position), guards), Access("w", (k, c, f))),
              Access("y", (k, y)), Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"),
              Call("max", (Call("add", (Acc(), Const(0.5))), Const(0.0))))  # fmt: skip


@pytest.mark.parametrize(("pad", "stride", "dilation"), [(0, 1, 1), (2, 1, 1), (1, 2, 1), (2, 3, 2), (5, 1, 1)])
def test_convolution_with_tail(pad: int, stride: int, dilation: int) -> None:
    x, w = RNG.normal(size=(3, 11)).astype(np.float32), RNG.normal(size=(4, 3, 3)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (pad, pad)))
    out = (padded.shape[1] - 2 * dilation - 1) // stride + 1
    windows = np.stack([padded[:, o * stride : o * stride + 2 * dilation + 1 : dilation] for o in range(out)])
    expected = np.maximum(np.einsum("ocf,kcf->ko", windows, w) + 0.5, 0).astype(np.float32)
    op = conv_op(pad, stride, dilation, x, w, out)
    np.testing.assert_allclose(single(op, x=x, w=w, y=expected), expected, rtol=1e-5, atol=1e-5)


def test_gather_wraps_negative_indices() -> None:
    table = RNG.normal(size=(6, 2)).astype(np.float32)
    rows = np.array([0, -1, 3, 3], np.int64)
    i, j = loop("i"), loop("j")
    picked = Index(((Gathered(0, 6), 1),))
    op = Op("g", "Gather", (Loop("i", 4), Loop("j", 2)), (Access("rows", (i,)), Access("table", (picked, j))),
            Access("y", (i, j)), Arg(1))  # fmt: skip
    np.testing.assert_array_equal(single(op, rows=rows, table=table, y=table[rows]), table[rows])


def test_depth_to_space_by_division_and_modulo() -> None:
    x = RNG.normal(size=(4, 3, 5)).astype(np.float32)
    h, w = loop("h"), loop("w")
    source = (h % 2) * 2 + w % 2
    op = Op("d", "DepthToSpace", (Loop("h", 6), Loop("w", 10)), (Access("x", (source, h // 2, w // 2)),),
            Access("y", (h, w)), Arg(0))  # fmt: skip
    expected = x.reshape(2, 2, 3, 5).transpose(2, 0, 3, 1).reshape(6, 10)
    np.testing.assert_array_equal(single(op, x=x, y=expected), expected)


@pytest.mark.parametrize(("kind", "reference"), [
    ("sum", np.sum), ("max", np.max), ("min", np.min), ("prod", np.prod), ("argmax", np.argmax), ("argmin", np.argmin)
])  # fmt: skip
def test_reductions(kind: str, reference) -> None:
    x = RNG.normal(size=(4, 7)).astype(np.float32)
    expected = reference(x, axis=1)
    combiner = Combiner(kind, "float32", "j" if kind.startswith("arg") else None)
    op = Op("r", "Reduce", (Loop("i", 4), Loop("j", 7)), (Access("x", (loop("i"), loop("j"))),),
            Access("y", (loop("i"),)), Arg(0), combiner)  # fmt: skip
    np.testing.assert_allclose(single(op, x=x, y=np.asarray(expected)), expected, rtol=1e-5)


def test_scatter_adds_colliding_writes() -> None:
    x, w = RNG.normal(size=(4,)).astype(np.float32), RNG.normal(size=(3,)).astype(np.float32)
    expected = np.zeros(9, np.float32)
    for i in range(4):
        expected[2 * i : 2 * i + 3] += x[i] * w
    op = Op(
        "t",
        "ConvTranspose",
        (Loop("i", 4), Loop("f", 3)),
        (Access("x", (loop("i"),)), Access("w", (loop("f"),))),
        Access("y", (loop("i") * 2 + loop("f"),)),
        Call("mul", (Arg(0), Arg(1))),
        Combiner("sum", "float32"),
    )
    np.testing.assert_allclose(single(op, x=x, w=w, y=expected), expected, rtol=1e-6)


def test_ordered_loop_reads_its_own_output() -> None:
    x = RNG.normal(size=(6,)).astype(np.float32)
    t = loop("t")
    op = Op("c", "CumSum", (Loop("t", 6, ordered=True),), (Access("x", (t,)), Access("y", (t - 1,), (t - 1,))),
            Access("y", (t,)), Call("add", (Arg(0), Arg(1))))  # fmt: skip
    np.testing.assert_allclose(single(op, x=x, y=np.cumsum(x)), np.cumsum(x), rtol=1e-5)


def test_large_domains_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapper.interpret.CHUNK_POINTS", 10)
    x = RNG.normal(size=(5, 8)).astype(np.float32)
    op = Op("e", "Add", (Loop("i", 5), Loop("j", 8)), (Access("x", (loop("i"), loop("j"))),),
            Access("y", (loop("j"), loop("i"))), Call("add", (Arg(0), Counter("i"))))  # fmt: skip
    expected = (x + np.arange(5)[:, None]).T.astype(np.float32)
    np.testing.assert_allclose(single(op, x=x, y=expected), expected, rtol=1e-6)


def test_an_access_outside_its_tensor_is_refused_by_name() -> None:
    op = Op("bad", "Slice", (Loop("i", 4),), (Access("x", (loop("i") + 1,)),), Access("y", (loop("i"),)), Arg(0))
    with pytest.raises(GraphError, match=r"operator 'bad' \(Slice\) touches element 4 of 'x', extent 4"):
        single(op, x=np.zeros(4, np.float32), y=np.zeros(4, np.float32))


def test_writing_an_element_twice_needs_a_combiner() -> None:
    op = Op("twice", "Sum", (Loop("i", 4),), (Access("x", (loop("i"),)),), Access("y", (constant(0),)), Arg(0))
    with pytest.raises(GraphError, match="'twice' .* several times over i without a combiner"):
        single(op, x=np.zeros(4, np.float32), y=np.zeros(1, np.float32))
