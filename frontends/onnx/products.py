"""Matrix products: MatMul, Gemm and their fused and integer forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mapper.index import Index, constant, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Acc, Cast, Scalar

from .context import Context, Reads
from .errors import ModelError
from .nests import accumulator, call, computed, spread
from .node import Node

__all__ = ["TABLE", "matmul_into"]


def matmul_shape(c: Context, a: Sequence[int], b: Sequence[int], where: str) -> tuple[int, ...]:
    """Shape of a @ b by numpy's rule. Raises ModelError when the inner extents differ."""
    inner = (a[-1] if a else None, b[-2] if len(b) > 1 else (b[0] if b else None))
    if inner[0] is None or inner[0] != inner[1]:
        raise ModelError(f"matrices {list(a)} and {list(b)} do not multiply", where)
    batch: list[int] = []
    left, right = list(a[:-2]), list(b[:-2])
    rank = max(len(left), len(right))
    for x, y in zip([1] * (rank - len(left)) + left, [1] * (rank - len(right)) + right, strict=True):
        if x != y and 1 not in (x, y):
            raise ModelError(f"batches of {list(a)} and {list(b)} do not broadcast", where)
        batch.append(x if y == 1 else y)
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def matmul_into(
    c: Context,
    node: Node,
    a: str,
    b: str,
    out: str,
    *,
    body: Callable[[Scalar, Scalar], Scalar] | None = None,
    tail: Callable[[Scalar], Scalar] | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    kind: str | None = None,
    label: str = "",
    more: Callable[[Reads, tuple[Index, ...]], Callable[[Scalar], Scalar]] | None = None,
) -> str:
    """out[batch, m, n] = sum over k of a[batch, m, k] * b[batch, k, n]; `more` makes a tail with further reads."""
    left, right = c.shape(a), c.shape(b)
    shape = c.shape(out)
    has_m, has_n = len(left) > 1, len(right) > 1
    batch = [f"b{i}" if len(shape) - has_m - has_n > 1 else "b" for i in range(len(shape) - has_m - has_n)]
    names = [*batch, *(["m"] if has_m else []), *(["n"] if has_n else [])]
    index = tuple(loop(n) for n in names)
    at_batch = index[: len(batch)]
    extents = shape[: len(batch)]
    k = left[-1] if not (transpose_a and has_m) else left[-2]
    row = [loop("k"), loop("m")] if transpose_a else [loop("m"), loop("k")]
    column = [loop("n"), loop("k")] if transpose_b else [loop("k"), loop("n")]
    reads = Reads(c)
    x = computed(reads(a, (*spread(left[:-2], at_batch, extents), *(row if has_m else [loop("k")]))), c.dtype(a))
    y = computed(reads(b, (*spread(right[:-2], at_batch, extents), *(column if has_n else [loop("k")]))), c.dtype(b))
    loops = (*(Loop(n, e) for n, e in zip(names, shape, strict=True)), Loop("k", k))
    product = body(x, y) if body is not None else call("mul", x, y)
    finish = more(reads, index)(Acc()) if more is not None else (tail(Acc()) if tail is not None else None)
    combiner = Combiner("sum", kind or accumulator(c.dtype(a)))
    c.nest(node, loops, reads, Access(out, index), product, combiner, finish, label=label, counted=True)
    return out


def matmul(c: Context, node: Node) -> None:
    a, b = node.inputs
    out = c.output(node, 0, matmul_shape(c, c.shape(a), c.shape(b), node.name), c.dtype(a))
    matmul_into(c, node, a, b, out)


def fused_matmul(c: Context, node: Node) -> None:
    """com.microsoft FusedMatMul: matmul with transposed operands and a factor."""
    if node.int("transBatchA") or node.int("transBatchB"):
        raise ModelError("FusedMatMul with transposed batches is not supported", node.name)
    a, b = node.inputs
    ta, tb = bool(node.int("transA")), bool(node.int("transB"))
    left, right = list(c.shape(a)), list(c.shape(b))
    left[-2:] = left[-2:][::-1] if ta else left[-2:]
    right[-2:] = right[-2:][::-1] if tb else right[-2:]
    alpha = node.float("alpha", 1.0)
    out = c.output(node, 0, matmul_shape(c, left, right, node.name), c.dtype(a))
    tail = (lambda v: call("mul", v, alpha)) if alpha != 1.0 else None
    matmul_into(c, node, a, b, out, transpose_a=ta, transpose_b=tb, tail=tail)


def gemm(c: Context, node: Node) -> None:
    a, b, bias = node.input(0), node.input(1), node.input(2)
    ta, tb = bool(node.int("transA")), bool(node.int("transB"))
    left, right = c.shape(a), c.shape(b)
    if len(left) != 2 or len(right) != 2:
        raise ModelError(f"Gemm of ranks {len(left)} and {len(right)}, both must be 2", node.name)
    shape = matmul_shape(c, left[::-1] if ta else left, right[::-1] if tb else right, node.name)
    alpha, beta = node.float("alpha", 1.0), node.float("beta", 1.0)
    out = c.output(node, 0, shape, c.dtype(a))
    if bias and not _spreads(c.shape(bias), shape):
        raise ModelError(f"the bias {list(c.shape(bias))} does not broadcast to {list(shape)}", node.name)

    def finish(reads: Reads, index: tuple[Index, ...]) -> Callable[[Scalar], Scalar]:
        def tail(acc: Scalar) -> Scalar:
            value = call("mul", acc, alpha) if alpha != 1.0 else acc
            if not bias or beta == 0.0:
                return value
            extra = computed(reads(bias, spread(c.shape(bias), index, shape)), c.dtype(bias))
            return call("add", value, call("mul", extra, beta) if beta != 1.0 else extra)

        return tail

    plain = alpha == 1.0 and (not bias or beta == 0.0)
    matmul_into(c, node, a, b, out, transpose_a=ta, transpose_b=tb, more=None if plain else finish)


def _spreads(shape: Sequence[int], target: Sequence[int]) -> bool:
    tail = target[len(target) - len(shape) :] if shape else ()
    return len(shape) <= len(target) and all(e in (1, t) for e, t in zip(shape, tail, strict=True))


def matmul_integer(c: Context, node: Node) -> None:
    """Integers minus their zero points, multiplied and summed in int32."""
    a, b = node.input(0), node.input(1)
    out = c.output(node, 0, matmul_shape(c, c.shape(a), c.shape(b), node.name), "int32")
    integer_product(c, node, a, b, out, node.input(2), node.input(3))


def integer_product(
    c: Context,
    node: Node,
    a: str,
    b: str,
    out: str,
    zero_a: str,
    zero_b: str,
    finish: Callable[[Reads, tuple[Index, ...]], Callable[[Scalar], Scalar]] | None = None,
) -> None:
    """Sum over k of (a - zero_a)(b - zero_b); zero points may be per row of a and per column of b."""
    left, right, shape = c.shape(a), c.shape(b), c.shape(out)
    batch = tuple(f"b{i}" for i in range(len(shape) - 2))
    names = (*batch, "m", "n")
    index = tuple(loop(n) for n in names)
    extents = shape[:-2]
    reads = Reads(c)
    x = reads(a, (*spread(left[:-2], index[:-2], extents), loop("m"), loop("k")))
    y = reads(b, (*spread(right[:-2], index[:-2], extents), loop("k"), loop("n")))
    x = centred(reads, c, x, zero_a, loop("m"), left[-2])
    y = centred(reads, c, y, zero_b, loop("n"), right[-1])
    loops = (*(Loop(n, e) for n, e in zip(names, shape, strict=True)), Loop("k", left[-1]))
    tail = finish(reads, index)(Acc()) if finish is not None else None
    c.nest(node, loops, reads, Access(out, index), call("mul", x, y), Combiner("sum", "int32"), tail, counted=True)


def centred(reads: Reads, c: Context, x: Scalar, zero: str, index: Index, extent: int) -> Scalar:
    """int32(x) - int32(zero point), the zero point a scalar or one per `index`."""
    wide = Cast("int32", x)
    if not zero:
        return wide
    at = tuple(index if e == extent and e > 1 else constant(0) for e in c.shape(zero))
    value = reads(zero, at)
    return call("sub", wide, Cast("int32", value))


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "MatMul": matmul, "Gemm": gemm, "FusedMatMul": fused_matmul, "MatMulInteger": matmul_integer,
}  # fmt: skip
