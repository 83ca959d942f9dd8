"""The com.microsoft operators that onnxruntime and optimum write when they fuse a transformer.

Each is what its unfused ONNX operators are: bias and activation joined to a product, a sum joined to a normalisation,
attention as two products around a softmax. Where it is a chain of standard operators it is written as such a chain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from onnx import AttributeProto, helper

from mapper.index import Gathered, Index, constant, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Acc, Cast, Counter, Scalar

from .context import Context, Reads
from .conv import bias_of, conv_nest, grouped
from .elementwise import gelu, swish
from .errors import ModelError
from .nests import accumulator, call, computed, pointwise
from .node import Node
from .normalise import layer_normalise, rms_normalise
from .opaque import send_to_host
from .products import fused_matmul
from .reductions import softmax_over

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


def _field(byte: Scalar, position: Scalar, bits: int) -> Scalar:
    """Bit field `position` of a byte, as int32."""
    wide = Cast("int32", byte)
    if bits == 8:
        return wide
    shift = Cast("int32", call("mul", position, bits))
    return call("bit_and", call("shift_right", wide, shift), (1 << bits) - 1)


# Attention ---------------------------------------------------------------------------------------------------------


def multi_head(c: Context, node: Node) -> None:
    """MultiHeadAttention on [batch, sequence, heads * size] operands, bias added first, past keys in front."""
    query, key, value, bias = (node.input(i) for i in range(4))
    heads = node.int("num_heads", 1)
    if not key or not value or any(node.input(i) for i in range(4, 8)) or len(c.shape(query)) != 3:
        return send_to_host(c, node)
    out = c.output(
        node, 0, (*c.shape(query)[:2], c.shape(value)[-1] if len(c.shape(value)) == 3 else 0), c.dtype(query)
    )
    if bias:
        offset, parts = 0, []
        for name, label in ((query, "q"), (key, "k"), (value, "v")):
            parts.append(_biased(c, node, name, bias, offset, label))
            offset += c.shape(name)[-1]
        query, key, value = parts
    causal = bool(node.int("unidirectional"))
    _attend(c, node, query, key, value, out, heads, heads, causal)
    return None


def _biased(c: Context, node: Node, x: str, bias: str, offset: int, label: str) -> str:
    out = c.temporary(node, label, c.shape(x), c.dtype(x))
    b, m, n = loop("b"), loop("m"), loop("n")
    reads = Reads(c)
    body = call("add", reads(x, (b, m, n)), reads(bias, (n + offset,)))
    loops = tuple(Loop(name, e) for name, e in zip("bmn", c.shape(x), strict=True))
    c.nest(node, loops, reads, Access(out, (b, m, n)), body, label=label)
    return out


def _attend(
    c: Context, node: Node, query: str, key: str, value: str, out: str, heads: int, key_heads: int, causal: bool
) -> None:
    """softmax(scale * q k^T) v per head, on [batch, sequence, heads * size]; several heads may share a key head."""
    batch, steps, width = c.shape(query)
    memory, size, dtype = c.shape(key)[1], width // heads, c.dtype(query)
    value_size, share = c.shape(value)[2] // key_heads, heads // key_heads
    scale = node.float("scale") or 1 / math.sqrt(size)
    scores = c.temporary(node, "scores", (batch, heads, steps, memory), accumulator(dtype))
    b, h, m, n, k = (loop(x) for x in "bhmnk")
    reads = Reads(c)
    left = computed(reads(query, (b, m, h * size + k)), dtype)
    right = computed(reads(key, (b, n, (h // share) * size + k)), dtype)
    total = call("mul", Acc(), scale)
    if causal:
        seen = call("less_equal", Counter("n"), call("add", Counter("m"), memory - steps))
        total = call("where", seen, total, -math.inf)
    loops = tuple(Loop(x, e) for x, e in zip("bhmnk", (batch, heads, steps, memory, size), strict=True))
    combiner = Combiner("sum", accumulator(dtype))
    c.nest(
        node, loops, reads, Access(scores, (b, h, m, n)), call("mul", left, right), combiner, total,
        label="scores", counted=True,
    )  # fmt: skip
    weights = c.temporary(node, "weights", c.shape(scores), c.dtype(scores))
    softmax_over(c, node, scores, weights, (3,))
    reads = Reads(c)
    product = call(
        "mul", reads(weights, (b, h, m, n)), computed(reads(value, (b, n, (h // share) * value_size + k)), dtype)
    )
    loops = tuple(Loop(x, e) for x, e in zip("bhmkn", (batch, heads, steps, value_size, memory), strict=True))
    c.nest(node, loops, reads, Access(out, (b, m, h * value_size + k)), product, combiner, label="mix", counted=True)


def attention(c: Context, node: Node) -> None:
    """Attention: one projection to q, k and v, then heads."""
    x, w, bias = node.input(0), node.input(1), node.input(2)
    if any(node.input(i) for i in range(3, 7)) or node.has("qkv_hidden_sizes") or node.int("do_rotary"):
        return send_to_host(c, node)
    batch, steps, width = c.shape(x)
    hidden = c.shape(w)[1] // 3
    out = c.output(node, 0, (batch, steps, hidden), c.dtype(x))
    q, k, v = (_projected(c, node, x, w, bias, i * hidden, hidden, label) for i, label in enumerate("qkv"))
    _attend(c, node, q, k, v, out, node.int("num_heads", 1), node.int("num_heads", 1), bool(node.int("unidirectional")))
    return None


def _projected(c: Context, node: Node, x: str, w: str, bias: str, offset: int, hidden: int, label: str) -> str:
    batch, steps, width = c.shape(x)
    out = c.temporary(node, label, (batch, steps, hidden), c.dtype(x))
    b, m, n, k = (loop(i) for i in "bmnk")
    reads = Reads(c)
    product = call("mul", computed(reads(x, (b, m, k)), c.dtype(x)), computed(reads(w, (k, n + offset)), c.dtype(w)))
    tail = call("add", Acc(), computed(reads(bias, (n + offset,)), c.dtype(bias))) if bias else None
    loops = tuple(Loop(i, e) for i, e in zip("bmnk", (batch, steps, hidden, width), strict=True))
    combiner = Combiner("sum", accumulator(c.dtype(x)))
    c.nest(node, loops, reads, Access(out, (b, m, n)), product, combiner, tail, label=label, counted=True)
    return out


def group_query(c: Context, node: Node) -> None:
    """GroupQueryAttention with separate q, k, v: past keys in front, causal, rotary embedding left to the host."""
    query, key, value, past_key, past_value = (node.input(i) for i in range(5))
    heads, key_heads = node.int("num_heads", 1), node.int("kv_num_heads", 1)
    unusual = node.int("do_rotary") or node.float("softcap") or node.int("local_window_size", -1) > 0
    if not key or not value or unusual or node.int("smooth_softmax") or c.dtype(query) == "bfloat16":
        return send_to_host(c, node)
    dtype = c.dtype(query)
    new_key = _present(c, node, key, past_key, key_heads, 1, "key")
    new_value = _present(c, node, value, past_value, key_heads, 2, "value")
    out = c.output(node, 0, c.shape(query), dtype)
    _attend_cached(c, node, query, new_key, new_value, out, heads, key_heads)
    return None


def _present(c: Context, node: Node, fresh: str, past: str, heads: int, position: int, label: str) -> str:
    """past [batch, heads, before, size] and new [batch, steps, heads * size] as one cache."""
    batch, steps, width = c.shape(fresh)
    size, before = width // heads, c.shape(past)[2] if past else 0
    shape = (batch, heads, before + steps, size)
    dtype = c.dtype(fresh)
    wanted = bool(node.output(position))
    out = c.output(node, position, shape, dtype) if wanted else c.temporary(node, label, shape, dtype)
    b, h, n, k = (loop(x) for x in "bhnk")
    reads, late = Reads(c), loop("n") - before
    new = reads(fresh, (b, late, h * size + k), (late,) if before else ())
    body = new
    if before:
        old = reads(past, (b, h, n, k), (before - 1 - n,))
        body = call("where", call("less", Counter("n"), before), old, new)
    loops = tuple(Loop(x, e) for x, e in zip("bhnk", shape, strict=True))
    c.nest(node, loops, reads, Access(out, (b, h, n, k)), body, label=label)
    return out


def _attend_cached(
    c: Context, node: Node, query: str, key: str, value: str, out: str, heads: int, key_heads: int
) -> None:
    """As :func:`_attend`, causal, with keys and values as [batch, heads, memory, size]."""
    flat_key, flat_value = (_flattened(c, node, name, label) for name, label in ((key, "keys"), (value, "values")))
    _attend(c, node, query, flat_key, flat_value, out, heads, key_heads, causal=True)


def _flattened(c: Context, node: Node, cache: str, label: str) -> str:
    """[batch, heads, memory, size] as [batch, memory, heads * size]."""
    batch, heads, memory, size = c.shape(cache)
    out = c.temporary(node, label, (batch, memory, heads * size), c.dtype(cache))
    b, h, n, k = (loop(x) for x in "bhnk")
    reads = Reads(c)
    body = reads(cache, (b, h, n, k))
    loops = tuple(Loop(x, e) for x, e in zip("bhnk", c.shape(cache), strict=True))
    c.nest(node, loops, reads, Access(out, (b, n, h * size + k)), body, label=label)
    return out


def rotary(c: Context, node: Node) -> None:
    """RotaryEmbedding: pairs (x1, x2) of a head turn by the angle of their position.

    y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin; pairs are halves of the head, or neighbours when interleaved.
    """
    x, positions, cos, sin = node.inputs[:4]
    shape = c.shape(x)
    if node.int("rotary_embedding_dim") or node.int("is_packed_batching"):
        return send_to_host(c, node)
    half = c.shape(cos)[1]
    if len(shape) == 3 and shape[2] % (2 * half) == 0:
        index: tuple[Index, ...] = (loop("b"), loop("s"), loop("h") * (2 * half))
        extents = (shape[0], shape[1], shape[2] // (2 * half))
    elif len(shape) == 4 and shape[3] == 2 * half:
        index, extents = (loop("b"), loop("h"), loop("s"), constant(0)), (shape[0], shape[2], shape[1])
    else:
        raise ModelError(f"RotaryEmbedding of {list(shape)} by angles {list(c.shape(cos))}", node.name)
    _rotate(c, node, (x, positions, cos, sin), index, (*extents, half))
    return None


def _rotate(c: Context, node: Node, names: Sequence[str], index: Sequence[Index], extents: Sequence[int]) -> None:
    x, positions, cos, sin = names
    out, (batch, steps, heads, half) = c.output(node, 0, c.shape(x), c.dtype(x)), extents
    b, s, i, side = loop("b"), loop("s"), loop("i"), loop("side")
    reads = Reads(c)
    single = len(c.shape(positions)) < 2
    at = (constant(0),) * len(c.shape(positions)) if single else (b, s)
    turn = Index(((Gathered(reads.position(positions, at), c.shape(cos)[0]), 1),)) + (s if single else 0)
    guards = (turn, c.shape(cos)[0] - 1 - turn) if single else ()
    interleaved = bool(node.int("interleaved"))

    def element(which: Index) -> tuple[Index, ...]:
        return (*index[:-1], index[-1] + (i * 2 + which if interleaved else which * half + i))

    own, other = reads(x, element(side)), reads(x, element(1 - side))
    c_at, s_at = reads(cos, (turn, i), guards), reads(sin, (turn, i), guards)
    sign = call("where", call("equal", Counter("side"), 0), -1.0, 1.0)
    body = call("add", call("mul", own, c_at), call("mul", sign, call("mul", other, s_at)))
    loops = tuple(Loop(n, e) for n, e in zip(("b", "s", "h", "side", "i"), (batch, steps, heads, 2, half), strict=True))
    c.nest(node, loops, reads, Access(out, element(side)), body)


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "Gelu": _unary(gelu), "BiasGelu": _unary(gelu), "FastGelu": _unary(lambda x: gelu(x, approximate=True)),
    "QuickGelu": quick_gelu, "FusedMatMul": fused_matmul, "SkipLayerNormalization": skip_norm,
    "SkipSimplifiedLayerNormalization": skip_norm, "FusedConv": fused_conv, "MatMulNBits": matmul_bits,
    "MultiHeadAttention": multi_head, "Attention": attention, "GroupQueryAttention": group_query,
    "RotaryEmbedding": rotary,
}  # fmt: skip
