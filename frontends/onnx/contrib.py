"""com.microsoft operators that are a few standard ones: each is written as the function body that it stands for.

So is DynamicQuantizeLinear: the body of its schema divides by zero where every element is zero. A body is ONNX's own
text for functions; inputs that a node leaves out are left out in the body as well. What is walked is the body, so
everything that holds for its operators (widths, counts, fates) holds for the fused one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from onnx import FunctionProto, parser

from .context import Context
from .errors import ModelError
from .node import Node
from .validity import require_valid

__all__ = ["BODIES", "contrib_body"]

Body = Callable[[Context, Node], str]
MOST_INPUTS = 12  # those that a node leaves out are empty names
_SIGNATURE = '<domain: "com.microsoft", opset_import: ["": 20, "com.microsoft": 1]> body ({}) => ({})\n{{\n{}\n}}'
_ACTIVATIONS = {
    "": "Identity(v)", "identity": "Identity(v)", "relu": "Relu(v)", "gelu": "Gelu(v)", "tanh": "Tanh(v)",
    "sigmoid": "Sigmoid(v)", "silu": "com.microsoft.QuickGelu<alpha = 1.0>(v)", "leakyrelu": "LeakyRelu(v)",
}  # fmt: skip


def contrib_body(c: Context, node: Node) -> FunctionProto | None:
    """The function that `node` stands for; None for other operators. Raises ModelError for a form that it lacks."""
    make = STANDARD.get(node.op_type) if node.domain == "" else BODIES.get(node.op_type)
    if make is None or node.domain not in ("", "com.microsoft"):
        return None
    require_valid(node)
    inputs = ", ".join(f"i{n}" for n in range(max(len(node.inputs), MOST_INPUTS)))
    outputs = ", ".join(f"o{n}" for n in range(len(node.outputs)))
    lines = [line.strip().replace("<>", "") for line in make(c, node).strip().splitlines()]
    function: FunctionProto = parser.parse_function(_SIGNATURE.format(inputs, outputs, "\n".join(lines)))
    return function


def _plus(node: Node, value: str, position: int, out: str) -> str:
    """`out` = `value` + input `position`, where there is one."""
    return f"{out} = Add({value}, i{position})" if node.input(position) else f"{out} = Identity({value})"


def _activated(node: Node, name: str, out: str) -> str:
    if name.lower() not in _ACTIVATIONS:
        raise ModelError(f"activation {name!r} of {node.op_type} is unknown", node.name)
    return f"{out} = {_ACTIVATIONS[name.lower()]}"


def _i(node: Node, name: str, default: int = 0) -> str:
    return f"{name} = {node.int(name, default)}"


# Floating point ----------------------------------------------------------------------------------------------------


def _fused_gemm(c: Context, node: Node) -> str:
    scales = f"alpha = {node.float('alpha', 1.0)!r}, beta = {node.float('beta', 1.0)!r}"
    product = f"v = Gemm<{scales}, {_i(node, 'transA')}, {_i(node, 'transB')}>(i0, i1, i2)"
    return f"{product}\n{_activated(node, node.text('activation'), 'o0')}"


def _gemm_gelu(c: Context, node: Node) -> str:
    return f"p = MatMul(i0, i1)\n{_plus(node, 'p', 2, 'v')}\no0 = com.microsoft.FastGelu(v)"


def _bias_add(c: Context, node: Node) -> str:
    return "v = Add(i0, i1)\no0 = Add(v, i2)"


def _bias_split_gelu(c: Context, node: Node) -> str:
    return "v = Add(i0, i1)\na, g = Split<axis = -1, num_outputs = 2>(v)\nt = Gelu(g)\no0 = Mul(a, t)"


def _bias_softmax(c: Context, node: Node) -> str:
    return f"v = Add(i0, i1)\no0 = Softmax<{_i(node, 'axis', 1)}>(v)"


def _embed(c: Context, node: Node) -> str:
    """Words, positions and segments summed, normalised; how many words each row has where that is asked for."""
    steps, epsilon = c.shape(node.input(0))[-1], node.float("epsilon", 1e-12)
    lines = ["w = Gather(i2, i0)"]
    if node.input(8):
        lines.append("p = Gather(i3, i8)")
    else:
        lines += [
            "a = Constant<value_ints = [0]>()",
            f"b = Constant<value_ints = [{steps}]>()",
            "p = Slice(i3, a, b, a)",
        ]
    lines.append("s = Add(w, p)")
    lines.append("g = Gather(i4, i1)\nt = Add(s, g)" if node.input(1) else "t = Identity(s)")
    lines.append(f"o0 = LayerNormalization<axis = -1, epsilon = {epsilon!r}>(t, i5, i6)")
    if node.output(1):
        ends = "one = Constant<value_ints = [1]>()\no1 = ReduceSum<keepdims = 0>(i7, one)"
        rows = c.shape(node.input(0))[0]
        lines.append(ends if node.input(7) else f"o1 = Constant<value = int32[{rows}] {{{', '.join(['0'] * rows)}}}>()")
    if node.output(2):
        lines.append("o2 = Identity(t)")
    return "\n".join(lines)


def _nhwc(inner: str, attributes: tuple[str, ...], extra: str = "") -> Body:
    """An operator on [batch, height, width, channels]."""

    def body(c: Context, node: Node) -> str:
        rank = len(c.shape(node.input(0)))
        first, last = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
        given = [f"{a} = {list(node.ints(a) or ())}" for a in attributes if node.ints(a) is not None]
        given += [f"{a} = {node.int(a)}" for a in ("group", "ceil_mode") if node.has(a)]
        given += [f'{a} = "{node.text(a)}"' for a in ("auto_pad", "activation") if node.has(a)]
        rest = f", i{', i'.join(str(n) for n in range(1, len(node.inputs)))}" if len(node.inputs) > 1 else ""
        return f"""x = Transpose<perm = {first}>(i0)
            y = {inner}<{", ".join(given)}>(x{rest})
            o0 = Transpose<perm = {last}>(y)"""

    return body


_WINDOW = ("kernel_shape", "strides", "pads", "dilations")


def _group_norm(c: Context, node: Node) -> str:
    """GroupNorm and SkipGroupNorm on channels-last pictures, an optional SiLU after."""
    skip = node.op_type == "SkipGroupNorm"
    lines = ["x = Add(i0, i3)" if skip else "x = Identity(i0)"]
    lines.append(_plus(node, "x", 4, "s") if skip else "s = Identity(x)")
    shape = c.shape(node.input(0))
    order, back = ([0, 3, 1, 2], [0, 2, 3, 1]) if node.int("channels_last", 1) else ([0, 1, 2, 3], [0, 1, 2, 3])
    channels = shape[3 if node.int("channels_last", 1) else 1]
    epsilon, groups = node.float("epsilon", 1e-5), node.int("groups")
    lines.append(f"t = Transpose<perm = {order}>(s)")
    ones = ", ".join(["1"] * groups), ", ".join(["0"] * groups)
    lines.append(f"a = Constant<value = float[{groups}] {{{ones[0]}}}>()")
    lines.append(f"b = Constant<value = float[{groups}] {{{ones[1]}}}>()")
    lines.append(f"k = Constant<value_ints = [0, {groups}, -1]>()\nr = Reshape(t, k)")
    lines.append(f"n = InstanceNormalization<epsilon = {epsilon!r}>(r, a, b)\nz = Shape(t)\nm = Reshape(n, z)")
    lines.append(f"e = Constant<value_ints = [{channels}, 1, 1]>()\ng = Reshape(i1, e)\nh = Reshape(i2, e)")
    lines.append(f"u = Mul(m, g)\nw = Add(u, h)\nv = Transpose<perm = {back}>(w)")
    lines.append(_activated(node, "silu" if node.int("activation") else "", "o0"))
    if node.output(1):
        lines.append("o1 = Identity(s)")
    return "\n".join(lines)


# Integers ----------------------------------------------------------------------------------------------------------


def _dynamic_quantize(c: Context, node: Node) -> str:
    """DynamicQuantizeLinear; nothing but zeros has scale 1 / 255, as in ONNX's reference evaluator."""
    return """zero = Constant<value_float = 0.0>()
        one = Constant<value_float = 1.0>()
        top = Constant<value_float = 255.0>()
        least = ReduceMin<keepdims = 0>(i0)
        low = Min(least, zero)
        most = ReduceMax<keepdims = 0>(i0)
        high = Max(most, zero)
        span = Sub(high, low)
        flat = Equal(span, zero)
        width = Where(flat, one, span)
        o1 = Div(width, top)
        below = Div(low, o1)
        offset = Sub(zero, below)
        clipped = Clip(offset, zero, top)
        whole = Round(clipped)
        o2 = Cast<to = 2>(whole)
        o0 = QuantizeLinear(i0, o1, o2)"""


def _dynamic_matmul(c: Context, node: Node) -> str:
    return f"""q, s, z = DynamicQuantizeLinear(i0)
        n = MatMulInteger(q, i1, z, i3)
        f = Cast<to = 1>(n)
        t = Mul(s, i2)
        p = Mul(f, t)
        {_plus(node, "p", 4, "o0")}"""


def _matmul_to_float(c: Context, node: Node) -> str:
    return f"""n = MatMulInteger(i0, i1, i4, i5)
        f = Cast<to = 1>(n)
        t = Mul(i2, i3)
        p = Mul(f, t)
        {_plus(node, "p", 6, "o0")}"""


def _quantised_gemm(c: Context, node: Node) -> str:
    """QGemm: an integer product, its bias in the product's scale, requantised where an output scale is given."""
    lines = ["a = Transpose(i0)" if node.int("transA") else "a = Identity(i0)"]
    lines.append("b = Transpose(i3)" if node.int("transB") else "b = Identity(i3)")
    lines.append(f"n = MatMulInteger(a, b, i2, i5)\n{_plus(node, 'n', 6, 'm')}\nf = Cast<to = 1>(m)")
    lines.append(f"s = Mul(i1, i4)\nk = Constant<value_float = {node.float('alpha', 1.0)!r}>()\nt = Mul(s, k)")
    lines.append("y = Mul(f, t)")
    lines.append("o0 = QuantizeLinear(y, i7, i8)" if node.input(7) else "o0 = Identity(y)")
    return "\n".join(lines)


def _quantised_attention(c: Context, node: Node) -> str:
    given = [f"{a} = {node.int(a)}" for a in ("num_heads", "unidirectional") if node.has(a)]
    given += [f"{a} = {node.float(a)!r}" for a in ("scale", "mask_filter_value") if node.has(a)]
    outputs = "o0, o1" if node.output(1) else "o0"
    return f"""x = DequantizeLinear(i0, i3, i6)
        w = DequantizeLinear<axis = 1>(i1, i4, i7)
        {outputs} = com.microsoft.Attention<{", ".join(given)}>(x, w, i2, i5, i8)"""


def _between(operator: str, attributes: tuple[str, ...] = (), inputs: int = 1, lead: int = 0) -> Body:
    """Dequantise, a float operator, quantise: (x, scale, zero) times `inputs`, then the output's scale and zero."""

    def body(c: Context, node: Node) -> str:
        given = [f"{a} = {list(node.ints(a) or ())}" for a in attributes if node.ints(a)]
        given += [f"{a} = {node.int(a)}" for a in ("axis", "keepdims", "ceil_mode", "count_include_pad") if node.has(a)]
        at = [lead + 3 * n for n in range(inputs)]
        lines = [f"x{n} = DequantizeLinear(i{p}, i{p + 1}, i{p + 2})" for n, p in enumerate(at)]
        first = [f"i{n}" for n in range(lead)]
        lines.append(f"y = {operator}<{', '.join(given)}>({', '.join([*first, *(f'x{n}' for n in range(inputs))])})")
        end = lead + 3 * inputs
        lines.append(f"o0 = QuantizeLinear(y, i{end}, i{end + 1})")
        return "\n".join(lines)

    return body


def _joined(c: Context, node: Node) -> str:
    """QLinearConcat: the output's scale and zero come first."""
    count = (len(node.inputs) - 2) // 3
    lines = [f"x{n} = DequantizeLinear(i{2 + 3 * n}, i{3 + 3 * n}, i{4 + 3 * n})" for n in range(count)]
    lines.append(f"y = Concat<axis = {node.int('axis')}>({', '.join(f'x{n}' for n in range(count))})")
    return "\n".join([*lines, "o0 = QuantizeLinear(y, i0, i1)"])


def _pooled(operator: str) -> Body:
    """QLinearAveragePool and QLinearGlobalAveragePool, channels last where asked."""

    def body(c: Context, node: Node) -> str:
        if node.int("channels_last"):
            raise ModelError(f"{node.op_type} with channels last is not known here", node.name, "keep channels first")
        return _between(operator, ("kernel_shape", "strides", "pads"))(c, node)

    return body


def _dynamic_lstm(c: Context, node: Node) -> str:
    """LSTM on weights [directions, inputs, 4 * hidden] of 8 bits, a scale per direction (or column)."""
    axis = "axis = 0" if len(c.shape(node.input(8))) < 2 else "axis = 2"
    if len(c.shape(node.input(8))) > 1:
        raise ModelError("DynamicQuantizeLSTM with a scale per column is not known here", node.name)
    given = [f"{a} = {node.int(a)}" for a in ("hidden_size", "input_forget") if node.has(a)]
    given += [f'direction = "{node.text("direction")}"'] if node.has("direction") else []
    outputs = ", ".join(f"o{n}" for n in range(len(node.outputs)))
    return f"""w = DequantizeLinear<{axis}>(i1, i8, i9)
        r = DequantizeLinear<{axis}>(i2, i10, i11)
        a = Transpose<perm = [0, 2, 1]>(w)
        b = Transpose<perm = [0, 2, 1]>(r)
        {outputs} = LSTM<{", ".join(given)}>(i0, a, b, i3, i4, i5, i6, i7)"""


# Experts -----------------------------------------------------------------------------------------------------------


def _experts(c: Context, node: Node) -> str:
    """MoE: the k likeliest experts of each row, their weights gathered, their outputs weighed and summed.

    y = sum over the k experts of p_e (f(x W1_e^T + b1_e) [* x W3_e^T]) W2_e^T + b2_e; f may be a gated SiLU.
    """
    x, first = c.shape(node.input(0)), c.shape(node.input(2))
    rows, width, k = math.prod(x[:-1]), x[-1], node.int("k", 1)
    kind = node.text("activation_type", "relu").lower()
    if kind == "swiglu" or first[2] != width:
        raise ModelError(f"MoE with activation {kind!r} and weights {list(first)} is not known here", node.name)
    lines = [
        f"flat = Constant<value_ints = [{rows}, 1, {width}]>()\nx = Reshape(i0, flat)",
        f"k = Constant<value_ints = [{k}]>()\none = Constant<value_ints = [1]>()\nlast = Constant<value_ints = [-1]>()",
        *_routed(node),
        *_layer("x4", 2, 3 if node.input(3) else 0, "h"),
        "v = Identity(h)", _activated(node, kind, "f"),
        *(_layer("x4", 6, 7 if node.input(7) else 0, "third") if node.input(6) else ()),
        "m = Mul(f, third)" if node.input(6) else "m = Identity(f)",
        *_layer("m", 4, 5 if node.input(5) else 0, "y"),
        "shares = Unsqueeze(share, two)\nweighed = Mul(y, shares)\nsummed = ReduceSum<keepdims = 0>(weighed, mid)",
        f"back = Constant<value_ints = {list(x)}>()\no0 = Reshape(summed, back)",
    ]  # fmt: skip
    return "\n".join(lines)


def _routed(node: Node) -> list[str]:
    """The chosen experts and their shares of each row."""
    chosen = "top, expert = TopK<axis = -1>(all, k)"
    if node.int("normalize_routing_weights"):
        shares = ["all = Identity(i1)", chosen, "share = Softmax<axis = -1>(top)"]
    else:
        shares = ["all = Softmax<axis = -1>(i1)", chosen, "share = Identity(top)"]
    return [
        *shares, "two = Constant<value_ints = [2, 3]>()", "mid = Constant<value_ints = [1, 2]>()",
        "x4 = Unsqueeze(x, one)",
    ]  # fmt: skip


def _layer(x: str, weight: int, bias: int, out: str) -> list[str]:
    """out [rows, k, 1, n] = x [rows, 1 or k, 1, m] times the chosen experts' weights [rows, k, n, m], transposed."""
    made = f"{out}_"
    lines = [f"{made}w = Gather<axis = 0>(i{weight}, expert)", f"{made}t = Transpose<perm = [0, 1, 3, 2]>({made}w)"]
    product = f"MatMul({x}, {made}t)"
    if not bias:
        return [*lines, f"{out} = {product}"]
    gathered = f"{made}b = Gather<axis = 0>(i{bias}, expert)\n{made}c = Unsqueeze({made}b, {made}a)"
    axis = f"{made}a = Constant<value_ints = [2]>()"
    return [*lines, axis, gathered, f"{made}p = {product}", f"{out} = Add({made}p, {made}c)"]


BODIES: Mapping[str, Body] = {
    "FusedGemm": _fused_gemm, "GemmFastGelu": _gemm_gelu, "BiasAdd": _bias_add, "BiasSplitGelu": _bias_split_gelu,
    "BiasSoftmax": _bias_softmax, "EmbedLayerNormalization": _embed, "GroupNorm": _group_norm,
    "SkipGroupNorm": _group_norm, "NhwcConv": _nhwc("Conv", _WINDOW),
    "NhwcFusedConv": _nhwc("com.microsoft.FusedConv", _WINDOW), "NhwcMaxPool": _nhwc("MaxPool", _WINDOW),
    "DynamicQuantizeMatMul": _dynamic_matmul, "MatMulIntegerToFloat": _matmul_to_float, "QGemm": _quantised_gemm,
    "QAttention": _quantised_attention, "QLinearConcat": _joined, "QLinearSoftmax": _between("Softmax"),
    "QLinearReduceMean": _between("ReduceMean", ("axes",)), "QLinearAveragePool": _pooled("AveragePool"),
    "QLinearGlobalAveragePool": _pooled("GlobalAveragePool"), "QLinearWhere": _between("Where", inputs=2, lead=1),
    "DynamicQuantizeLSTM": _dynamic_lstm, "MoE": _experts,
}  # fmt: skip
STANDARD: Mapping[str, Body] = {"DynamicQuantizeLinear": _dynamic_quantize}
