"""Small operators of every kind with values, and the copies to unroll them by."""

from __future__ import annotations

import numpy as np

from mapper.index import Gathered, Index, constant, loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.scalar import Acc, Arg, Call, Cast, Const, Counter

RNG = np.random.default_rng(3)
m, n, k, c, y, f = (loop(x) for x in "mnkcyf")


def real(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def case(op: Op, out: tuple[int, ...], dtype: str = "float32", **arrays: np.ndarray) -> tuple[Graph, dict]:
    tensors = [Tensor(name, a.shape, str(a.dtype), "input") for name, a in arrays.items()]
    graph = Graph("g", (*tensors, Tensor("y", out, dtype)), (op,), tuple(arrays), ("y",))
    return graph, arrays


def matmul():
    reads = (Access("a", (m, k)), Access("b", (k, n)), Access("bias", (n,)))
    tail = Call("max", (Call("add", (Acc(), Arg(2))), Const(0.0)))
    op = Op("mm", "MatMul", (Loop("m", 4), Loop("n", 6), Loop("k", 8)), reads, Access("y", (m, n)),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"), tail)  # fmt: skip
    return case(op, (4, 6), a=real(4, 8), b=real(8, 6), bias=real(6))


def quantised_matmul():
    product = Call("mul", (Cast("int32", Arg(0)), Cast("int32", Arg(1))))
    scaled = Call("round", (Call("mul", (Cast("float32", Acc()), Const(0.01))),))
    op = Op("qmm", "QLinearMatMul", (Loop("m", 4), Loop("n", 4), Loop("k", 8)),
            (Access("a", (m, k)), Access("b", (k, n))), Access("y", (m, n)), product, Combiner("sum", "int32"),
            Cast("int8", Call("add", (scaled, Const(3.0))), saturate=True))  # fmt: skip
    small = [RNG.integers(-128, 128, s).astype(np.int8) for s in ((4, 8), (8, 4))]
    return case(op, (4, 4), "int8", a=small[0], b=small[1])


def convolution():
    position = y * 2 + f - 1
    op = Op("conv", "Conv", (Loop("k", 4), Loop("c", 2), Loop("y", 4), Loop("f", 4)),
            (Access("x", (c, position), (position, 8 - position)), Access("w", (k, c, f))), Access("y", (k, y)),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"))  # fmt: skip
    return case(op, (4, 4), x=real(2, 9), w=real(4, 2, 4))


def max_pool():
    position = y * 2 + f - 1
    guarded = Access("x", (c, position), (position, 7 - position), fill=-np.inf)
    op = Op("pool", "MaxPool", (Loop("c", 2), Loop("y", 4), Loop("f", 2)), (guarded,), Access("y", (c, y)), Arg(0),
            Combiner("max", "float32"))  # fmt: skip
    return case(op, (2, 4), x=real(2, 8))


def transposed_convolution():
    target = y * 2 + f - 1
    op = Op("t", "ConvTranspose", (Loop("k", 2), Loop("y", 4), Loop("c", 2), Loop("f", 4)),
            (Access("x", (c, y)), Access("w", (k, c, f))), Access("y", (k, target), (target, 7 - target)),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", "float32"))  # fmt: skip
    return case(op, (2, 8), x=real(2, 4), w=real(2, 2, 4))


def causal_mask():
    masked = Access("x", (m, n), (m - n,), fill=-3.5)
    op = Op(
        "mask", "Mask", (Loop("m", 4), Loop("n", 4)), (masked,), Access("y", (m, n)), Call("mul", (Arg(0), Const(2.0)))
    )
    return case(op, (4, 4), x=real(4, 4))


def gather():
    picked = Index(((Gathered(0, 6), 1),))
    op = Op("gather", "Gather", (Loop("m", 4), Loop("n", 4)), (Access("rows", (m,)), Access("x", (picked, n))),
            Access("y", (m, n)), Arg(1))  # fmt: skip
    return case(op, (4, 4), rows=np.array([0, -1, 3, 3], np.int64), x=real(6, 4))


def append():
    """One row of a cache, at a position that is data."""
    place = Index(((Gathered(0, 6), 1),))
    op = Op("append", "ScatterND", (Loop("n", 4),), (Access("at", (constant(0),)), Access("x", (n,))),
            Access("y", (place, n)), Arg(1))  # fmt: skip
    return case(op, (6, 4), at=np.array([-2], np.int64), x=real(4))


def resize():
    op = Op("resize", "Resize", (Loop("m", 12), Loop("n", 4)), (Access("x", (m // 3, n // 2 + n % 2)),),
            Access("y", (m, n)), Arg(0))  # fmt: skip
    return case(op, (12, 4), x=real(4, 3))


def counted():
    body = Call("where", (Call("less", (Counter("m"), Counter("n"))), Arg(0), Cast("float32", Counter("n"))))
    op = Op("iota", "Range", (Loop("m", 4), Loop("n", 4)), (Access("x", (m, n)),), Access("y", (m, n)), body)
    return case(op, (4, 4), x=real(4, 4))


def running_sum():
    reads = (Access("x", (m,)), Access("y", (m - 1,), (m - 1,)))
    op = Op("sum", "CumSum", (Loop("m", 6, ordered=True),), reads, Access("y", (m,)), Call("add", (Arg(0), Arg(1))))
    return case(op, (6,), x=real(6))


def extreme(kind: str, dtype=np.float32):
    def build():
        op = Op("arg", "ArgMax", (Loop("m", 4), Loop("n", 8)), (Access("x", (m, n)),), Access("y", (m,)), Arg(0),
                Combiner(kind, "int64", "n"))  # fmt: skip
        return case(op, (4,), "int64", x=RNG.integers(0, 4, (4, 8)).astype(dtype))

    return build


def reduction(kind: str):
    def build():
        op = Op("red", "Reduce", (Loop("m", 4), Loop("n", 8)), (Access("x", (m, n)),), Access("y", (m, constant(0))),
                Arg(0), Combiner(kind, "float32"))  # fmt: skip
        return case(op, (4, 1), x=real(4, 8))

    return build


def flags(kind: str):
    def build():
        op = Op("any", "Reduce", (Loop("m", 4), Loop("n", 4)), (Access("x", (m, n)),), Access("y", (m,)), Arg(0),
                Combiner(kind, "bool"))  # fmt: skip
        return case(op, (4,), "bool", x=RNG.integers(0, 2, (4, 4)).astype(bool))

    return build


def half_precision(dtype: str):
    def build():
        import ml_dtypes

        kind = np.float16 if dtype == "float16" else ml_dtypes.bfloat16
        op = Op("half", "Add", (Loop("m", 8),), (Access("a", (m,)), Access("b", (m,))), Access("y", (m,)),
                Call("add", (Arg(0), Arg(1))))  # fmt: skip
        return case(op, (8,), dtype, a=real(8).astype(kind), b=(real(8) * 1e-3).astype(kind))

    return build


CASES = {
    "matmul": (matmul, [{}, {"n": 2}, {"k": 4}, {"m": 2, "n": 3, "k": 2}, {"k": 8}]),
    "quantised matmul": (quantised_matmul, [{}, {"n": 2, "k": 4}]),
    "convolution": (convolution, [{}, {"y": 2, "f": 4}, {"k": 2, "c": 2}]),
    "max pool": (max_pool, [{}, {"f": 2}, {"y": 2, "f": 2}]),
    "transposed convolution": (transposed_convolution, [{}, {"f": 2}, {"c": 2}, {"f": 4}]),
    "causal mask": (causal_mask, [{}, {"m": 2, "n": 2}]),
    "gather": (gather, [{}, {"n": 2}, {"m": 2}]),
    "append": (append, [{}, {"n": 2}]),
    "resize": (resize, [{}, {"m": 3}, {"n": 2}]),
    "counters": (counted, [{}, {"n": 4}]),
    "running sum": (running_sum, [{}]),
    **{kind: (extreme(kind), [{}, {"n": 2}, {"n": 4, "m": 2}]) for kind in ("argmax", "argmin", "argmax_last")},
    "argmin_last of integers": (extreme("argmin_last", np.int32), [{}, {"n": 2}]),
    **{f"reduce {kind}": (reduction(kind), [{}, {"n": 4}]) for kind in ("sum", "prod", "max", "min")},
    **{f"reduce {kind}": (flags(kind), [{}, {"n": 2}]) for kind in ("and", "or")},
    **{dtype: (half_precision(dtype), [{}, {"m": 2}]) for dtype in ("float16", "bfloat16")},
}
