"""The com.microsoft operators that onnxruntime and optimum write when they fuse a transformer.

Each is what its unfused ONNX operators are: bias and activation joined to a product, a sum joined to a normalisation,
attention as two products around a softmax. Where it is a chain of standard operators it is written as such a chain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from onnx import AttributeProto, helper

from mapper.index import Gathered, Index, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Acc, Cast, Counter, Scalar

from .context import Context, Reads
from .conv import bias_of, conv_nest, grouped
from .elementwise import gelu, swish
from .errors import ModelError
from .nests import accumulator, call, computed, identity, loops_over, names_of, pointwise
from .node import Node
from .normalise import layer_normalise, rms_normalise
from .opaque import send_to_host
from .products import fused_matmul

__all__ = ["TABLE"]

_ACTIVATIONS: Mapping[str, Callable[[Scalar, Sequence[float]], Scalar]] = {
    "": lambda x, p: x,
    "Relu": lambda x, p: call("max", x, 0.0),
    "Sigmoid": lambda x, p: call("sigmoid", x),
    "Tanh": lambda x, p: call("tanh", x),
    "LeakyRelu": lambda x, p: call("where", call("less", x, 0.0), call("mul", x, p[0] if p else 0.01), x),
    "Clip": lambda x, p: call("min", call("max", x, p[0]), p[1]) if len(p) > 1 else x,
    "HardSigmoid": lambda x, p: call(
        "max", call("min", call("add", call("mul", x, p[0] if p else 0.2), p[1] if len(p) > 1 else 0.5), 1.0), 0.0
    ),
}


def _unary(body: Callable[[Scalar], Scalar]) -> Callable[[Context, Node], None]:
    def lower(c: Context, node: Node) -> None:
        x, bias = node.input(0), node.input(1)
        out = c.output(node, 0, c.shape(x), c.dtype(x))
        value: Callable[..., Scalar] = lambda v, *b: body(call("add", v, b[0]) if b else v)  # noqa: E731
        pointwise(c, node, [x, bias] if bias else [x], out, value)

    return lower


def quick_gelu(c: Context, node: Node) -> None:
    x, alpha = node.input(0), node.float("alpha", 1.702)
    pointwise(c, node, [x], c.output(node, 0, c.shape(x), c.dtype(x)), lambda v: swish(v, alpha))


def skip_norm(c: Context, node: Node) -> None:
    """norm(input + skip (+ bias)) * gamma (+ beta), and the sum itself where it is wanted."""
    simplified = node.op_type.startswith("SkipSimplified")
    x, skip, gamma = node.inputs[:3]
    beta, bias = ("", node.input(3)) if simplified else (node.input(3), node.input(4))
    shape, dtype = c.shape(x), c.dtype(x)
    out = c.output(node, 0, shape, dtype)
    total = c.output(node, 3, shape, dtype) if node.output(3) else c.temporary(node, "sum", shape, dtype)
    operands = [x, skip, *([bias] if bias else [])]
    add: Callable[..., Scalar] = lambda a, b, *d: call("add", call("add", a, b), d[0]) if d else call("add", a, b)  # noqa: E731
    pointwise(c, node, operands, total, add, label="sum")
    node = _with_epsilon(node, 1e-12 if not simplified else 1e-6)
    axes = (len(shape) - 1,)
    if simplified:
        rms_normalise(c, node, total, gamma, out, axes)
    else:
        layer_normalise(c, node, total, gamma, beta, out, axes)


def _with_epsilon(node: Node, default: float) -> Node:
    if node.has("epsilon"):
        return node
    extra: dict[str, AttributeProto] = {"epsilon": helper.make_attribute("epsilon", default)}
    return replace(node, attributes={**node.attributes, **extra})


def fused_conv(c: Context, node: Node) -> None:
    """Conv, its bias, an optional residual, and an activation."""
    x, w, bias, residual = node.input(0), node.input(1), node.input(2), node.input(3)
    channels, window = grouped(c, node, x, w)
    extent = channels.groups * channels.outputs
    out = c.output(node, 0, (c.shape(x)[0], extent, *window.outputs), c.dtype(x))
    activation = _activation(node)
    biased = bias_of(c, node, bias, extent)

    def finish(reads: Reads, k: Index) -> Callable[[Scalar], Scalar]:
        add_bias = biased(reads, k) if biased is not None else lambda acc: acc
        extra = reads(residual, (loop("b"), k, *window.output_loops())) if residual else None

        def tail(acc: Scalar) -> Scalar:
            value = add_bias(acc)
            return activation(value if extra is None else call("add", value, extra))

        return tail

    conv_nest(c, node, x, w, out, channels, window, finish=finish)


def _activation(node: Node) -> Callable[[Scalar], Scalar]:
    name, parameters = node.text("activation"), node.floats("activation_params") or ()
    if name not in _ACTIVATIONS:
        raise ModelError(f"activation {name!r} of {node.op_type} is unknown", node.name)
    return lambda x: _ACTIVATIONS[name](x, parameters)


# Products with packed weights --------------------------------------------------------------------------------------


def matmul_bits(c: Context, node: Node) -> None:
    """MatMulNBits: y[.., m, n] = sum over k of a[.., m, k] * (q[n, k] - zero[n, block]) * scale[n, block].

    Weights are packed low half first in bytes [n, blocks, block * bits / 8]; the nest unpacks them as it reads, so
    what moves is the packed bytes.
    """
    a, packed, scales, zeros, groups, bias = (node.input(i) for i in range(6))
    bits, block = node.int("bits", 4), node.int("block_size")
    k_extent, n_extent = node.int("K"), node.int("N")
    shape = c.shape(a)
    if bits not in (2, 4, 8) or groups or (zeros and c.dtype(zeros) != "uint8") or not shape or shape[-1] != k_extent:
        return send_to_host(c, node)
    out = c.output(node, 0, (*shape[:-1], n_extent), c.dtype(a))
    names = [f"b{i}" for i in range(len(shape) - 2)] + (["m"] if len(shape) > 1 else [])
    rows, n, k = tuple(loop(x) for x in names), loop("n"), loop("k")
    per_byte, blocks = 8 // bits, -(-k_extent // block)
    reads = Reads(c)
    left = computed(reads(a, (*rows, k)), c.dtype(a))
    byte = reads(packed, (n, k // block, (k % block) // per_byte))
    weight = _field(byte, call("mod", Counter("k"), per_byte), bits)
    place = n * blocks + k // block
    scale_at = (place,) if len(c.shape(scales)) == 1 else (n, k // block)
    zero: Scalar | int = 1 << (bits - 1)
    if zeros:
        row = -(-blocks * bits // 8)
        slot = n * row + (k // block) // per_byte
        at = (slot,) if len(c.shape(zeros)) == 1 else (n, (k // block) // per_byte)
        zero = _field(
            reads(zeros, at), call("mod", call("floor", call("div", Counter("k"), float(block))), per_byte), bits
        )
    value = call("mul", Cast("float32", call("sub", weight, zero)), computed(reads(scales, scale_at), c.dtype(scales)))
    loops = (*(Loop(x, e) for x, e in zip(names, shape, strict=False)), Loop("n", n_extent), Loop("k", k_extent))
    tail = call("add", Acc(), computed(reads(bias, (n,)), c.dtype(bias))) if bias else None
    combiner = Combiner("sum", accumulator(c.dtype(a)))
    c.nest(node, loops, reads, Access(out, (*rows, n)), call("mul", left, value), combiner, tail, counted=True)
    return None


def gather_blocks(c: Context, node: Node) -> None:
    """GatherBlockQuantized: rows of a table in blocks of integers, (q - zero) * scale; only the rows asked for move.

    Tables are 4-bit, or bytes that hold 8 / `bits` integers each, low bits first.
    """
    table, indices, scales, zeros = (node.input(i) for i in range(4))
    shape, picks = c.shape(table), c.shape(indices)
    packed = c.dtype(table) == "uint8" and node.int("bits", 4) < 8
    per_byte, rank = 8 // node.int("bits", 4) if packed else 1, len(shape)
    axis, block = node.int("quantize_axis", 1) % rank, node.int("block_size", 128)
    if node.int("gather_axis") != 0 or axis != rank - 1 or rank < 2:
        return send_to_host(c, node)
    width = shape[-1] * per_byte
    out = c.output(node, 0, (*picks, *shape[1:-1], width), c.dtype(scales))
    reads, at = Reads(c), identity(len(picks) + rank - 1)
    row = Index(((Gathered(reads.position(indices, at[: len(picks)]), shape[0]), 1),))
    inner, last, column = at[len(picks) : -1], at[-1], Counter(names_of(len(at))[-1])
    element = reads(table, (row, *inner, last // per_byte))
    value: Scalar = Cast("int32", element)
    zero: Scalar | int = 1 << (node.int("bits", 4) - 1) if packed else 0
    if packed:
        value = _field(element, call("mod", column, per_byte), node.int("bits", 4))
    if zeros:
        block_number = call("floor", call("div", column, float(block)))
        read = reads(zeros, (row, *inner, (last // block) // per_byte))
        zero = _field(read, call("mod", block_number, per_byte), node.int("bits", 4)) if packed else Cast("int32", read)
    scale = computed(reads(scales, (row, *inner, last // block)), c.dtype(scales))
    body = call("mul", Cast("float32", call("sub", value, zero)), scale)
    c.nest(node, loops_over(c.shape(out)), reads, Access(out, at), body)
    return None


def _field(byte: Scalar, position: Scalar, bits: int) -> Scalar:
    """Bit field `position` of a byte, as int32."""
    wide = Cast("int32", byte)
    if bits == 8:
        return wide
    shift = Cast("int32", call("mul", position, bits))
    return call("bit_and", call("shift_right", wide, shift), (1 << bits) - 1)


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "Gelu": _unary(gelu), "BiasGelu": _unary(gelu), "FastGelu": _unary(lambda x: gelu(x, approximate=True)),
    "QuickGelu": quick_gelu, "FusedMatMul": fused_matmul, "SkipLayerNormalization": skip_norm,
    "SkipSimplifiedLayerNormalization": skip_norm, "FusedConv": fused_conv, "MatMulNBits": matmul_bits,
    "GatherBlockQuantized": gather_blocks, "TransposeMatMul": fused_matmul,
}  # fmt: skip
