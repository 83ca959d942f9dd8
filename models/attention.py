"""Attention as transformers export it: MatMul, scale, mask, Softmax, MatMul, with rotary positions and shared keys.

Tensors between the projections have the shape [1, heads, tokens, size]. With fewer key heads than query heads the
queries of one group are stacked along the token axis, [1, kv, group * tokens, size], which is the same memory seen
otherwise: keys and values are read once a group and never copied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .builder import GraphBuilder

__all__ = ["Heads", "Rotary", "attend", "causal_mask", "merge_heads", "rotary_attention", "split_heads", "swiglu"]

MASKED = -1e4  # exact in float16 too, and exp of it is zero


@dataclass(frozen=True, slots=True)
class Heads:
    """Geometry of one attention: `tokens` queries attend to `keys` keys; `kv` key heads serve `query` query heads."""

    tokens: int
    keys: int
    query: int
    kv: int
    size: int

    @property
    def group(self) -> int:
        """Query heads that share one key head."""
        return self.query // self.kv


@dataclass(frozen=True, slots=True)
class Rotary:
    """Cosine and sine of every position and frequency, each [tokens, size], as tensors of the graph."""

    cos: str
    sin: str

    @staticmethod
    def table(b: GraphBuilder, positions: range, size: int, theta: float) -> Rotary:
        """angle(p, i) = p / theta^(2i / size), the frequencies laid out twice (rotate-half convention)."""
        frequencies = [theta ** (-2 * i / size) for i in range(size // 2)] * 2
        angles = [[position * frequency for frequency in frequencies] for position in positions]
        cos = np.array([[math.cos(angle) for angle in row] for row in angles], dtype=b.dtype)
        sin = np.array([[math.sin(angle) for angle in row] for row in angles], dtype=b.dtype)
        return Rotary(b.table("rotary/cos", cos), b.table("rotary/sin", sin))

    def rotate(self, b: GraphBuilder, x: str, name: str) -> str:
        """x cos + rotate_half(x) sin, where rotate_half of halves (u, v) is (-v, u)."""
        with b.scope(name):
            first, second = b.ops("Split", [x], 2, axis=-1, num_outputs=2)
            turned = b.op("Concat", b.op("Neg", second), first, name="rotate_half", axis=-1)
            return b.op("Add", b.op("Mul", x, self.cos, name="cos"), b.op("Mul", turned, self.sin, name="sin"))


def causal_mask(b: GraphBuilder, tokens: int) -> str:
    """Adds to scores [.., tokens, tokens]: 0 where the key is no later than the query, else far below zero."""
    return b.table("causal_mask", np.triu(np.full((tokens, tokens), MASKED, dtype=b.dtype), k=1))


def split_heads(b: GraphBuilder, x: str, tokens: int, heads: int, size: int, name: str) -> str:
    """[1, tokens, heads * size] to [1, heads, tokens, size]."""
    with b.scope(name):
        return b.op("Transpose", b.reshape(x, 1, tokens, heads, size), perm=[0, 2, 1, 3])


def merge_heads(b: GraphBuilder, x: str, tokens: int, width: int) -> str:
    """[1, heads, tokens, size] back to [1, tokens, heads * size]."""
    with b.scope("merge"):
        return b.reshape(b.op("Transpose", x, perm=[0, 2, 1, 3]), 1, tokens, width)


def attend(b: GraphBuilder, q: str, k: str, v: str, heads: Heads, mask: str | None = None) -> str:
    """softmax(q k^T / sqrt(size) + mask) v for all heads, merged to [1, tokens, query * size]."""
    stacked = (1, heads.kv, heads.group * heads.tokens)
    if heads.group > 1:
        q = b.reshape(q, *stacked, heads.size, name="stack_queries")
    transposed = b.op("Transpose", k, name="k_transposed", perm=[0, 1, 3, 2])
    scores = b.op("Mul", b.op("MatMul", q, transposed, name="qk"), b.scalar(heads.size**-0.5), name="scores")
    if heads.group > 1:
        scores = b.reshape(scores, 1, heads.query, heads.tokens, heads.keys, name="unstack_scores")
    if mask is not None:
        scores = b.op("Add", scores, mask, name="masked")
    weights = b.softmax(scores)
    if heads.group > 1:
        weights = b.reshape(weights, *stacked, heads.keys, name="stack_weights")
    context = b.op("MatMul", weights, v, name="context")
    if heads.group > 1:
        context = b.reshape(context, 1, heads.query, heads.tokens, heads.size, name="unstack_context")
    return merge_heads(b, context, heads.tokens, heads.query * heads.size)


def rotary_attention(
    b: GraphBuilder,
    x: str,
    width: int,
    heads: Heads,
    rotary: Rotary,
    *,
    epsilon: float,
    mask: str | None = None,
    cache: str = "",
    output_name: str = "o_proj",
) -> str:
    """Grouped-query attention with RMS-normalised, rotated queries and keys and no biases.

    With `cache` (a label such as "2") the past keys and values enter as `past.LABEL.key` and `past.LABEL.value` and
    leave, longer by this step's, as `present.LABEL.*`.
    """

    def project(kind: str, count: int) -> str:
        flat = b.linear(x, width, count * heads.size, name=f"{kind}_proj")
        split = b.reshape(flat, 1, heads.tokens, count, heads.size, name=f"{kind}_split")
        if kind != "v":
            split = b.rms_norm(split, heads.size, name=f"{kind}_norm", epsilon=epsilon)
        return b.op("Transpose", split, name=f"{kind}_heads", perm=[0, 2, 1, 3])

    q = rotary.rotate(b, project("q", heads.query), "q_rope")
    k = rotary.rotate(b, project("k", heads.kv), "k_rope")
    v = project("v", heads.kv)
    if cache:
        k, v = (_extend(b, new, heads, f"{cache}.{kind}") for new, kind in ((k, "key"), (v, "value")))
    return b.linear(attend(b, q, k, v, heads, mask), heads.query * heads.size, width, name=output_name)


def _extend(b: GraphBuilder, new: str, heads: Heads, label: str) -> str:
    """The cache [1, kv, keys - tokens, size] with this step's rows behind it, which is a graph output as well."""
    past = b.input(f"past.{label}", (1, heads.kv, heads.keys - heads.tokens, heads.size))
    present = b.op("Concat", past, new, name=f"append_{label.rpartition('.')[2]}", axis=2)
    b.output(present, f"present.{label}", (1, heads.kv, heads.keys, heads.size))
    return present


def swiglu(b: GraphBuilder, x: str, width: int, inner: int, names: tuple[str, str, str]) -> str:
    """down(silu(gate x) * up x); `names` are what the model calls gate, up and down."""
    gate = b.linear(x, width, inner, name=names[0])
    up = b.linear(x, width, inner, name=names[1])
    silu = b.op("Mul", gate, b.op("Sigmoid", gate), name="silu")
    return b.linear(b.op("Mul", silu, up, name="gated"), inner, width, name=names[2])
