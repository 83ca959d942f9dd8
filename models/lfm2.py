"""Liquid AI's LFM2.5-1.2B: ten gated short convolutions and six grouped-query attentions, as prefill and as decode.

A convolution block is y = out_proj(C * conv(B * x)) with B, C, x from one projection and a depthwise causal
convolution of three taps; an attention block has RMS-normalised, rotated queries and keys, 32 query heads on 8 key
heads. Each is followed by a SwiGLU. Embedding and head share one table. Configuration: the published config.json of
LFM2-1.2B, whose architecture LFM2.5 keeps.

Multiply-accumulates, with H width, F inner width, V vocabulary, D head size, S tokens computed, T keys attended:

    convolution blocks   S (4 H^2 + 3 H) each: the causal Conv pads two on the left only, so it computes S positions
                         (exports that pad both sides and slice compute S + 2)
    attention blocks     S (2 H^2 + 2 H kv D) + 2 S T heads D each: prefill computes the full S x S square
    SwiGLU               3 S H F each;   head: S V H

Prefill of 128 tokens with the logits of all of them is 150 197 501 952; one decoded token at context 1024 (1025 keys
with its own) is 1 195 462 656. Parameters: 1 170 340 608. Decode carries its state openly: per convolution the last
two inputs [1, H, 2], per attention keys and values [1, kv, T, D].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from .attention import Heads, Rotary, causal_mask, rotary_attention, swiglu
from .builder import GraphBuilder

__all__ = ["LFM2_1_2B", "Lfm2Config", "build", "build_decode", "build_tiny", "build_tiny_decode"]

TAPS = 3
EPSILON = 1e-5
THETA = 1e6


@dataclass(frozen=True, slots=True)
class Lfm2Config:
    """Sizes of one member of the family; `attention` lists the layers that attend, all others convolve."""

    hidden: int
    ff: int
    heads: int
    kv_heads: int
    vocabulary: int
    layers: int
    attention: tuple[int, ...]
    dtype: npt.DTypeLike = np.float16

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads


LFM2_1_2B = Lfm2Config(2048, 8192, 32, 8, 65536, 16, (2, 5, 8, 10, 12, 14))
TINY = Lfm2Config(64, 128, 4, 2, 512, 4, (2,), np.float32)


def build(tokens: int = 128, config: Lfm2Config = LFM2_1_2B) -> ModelProto:
    """Prefill: `tokens` tokens at once, logits of all of them."""
    b = GraphBuilder("lfm2_prefill", dtype=config.dtype)
    ids = b.input("input_ids", (1, tokens), np.int64)
    heads = Heads(tokens, tokens, config.heads, config.kv_heads, config.head_size)
    rotary = Rotary.table(b, range(tokens), config.head_size, THETA)
    _network(b, ids, config, heads, rotary, causal_mask(b, tokens), stateful=False)
    return b.model(f"LFM2 prefill of {tokens} tokens, logits of all positions")


def build_decode(context: int = 1024, config: Lfm2Config = LFM2_1_2B) -> ModelProto:
    """Decode: one token after `context` others, whose state comes in and goes out."""
    b = GraphBuilder("lfm2_decode", dtype=config.dtype)
    ids = b.input("input_ids", (1, 1), np.int64)
    heads = Heads(1, context + 1, config.heads, config.kv_heads, config.head_size)
    rotary = Rotary.table(b, range(context, context + 1), config.head_size, THETA)
    _network(b, ids, config, heads, rotary, None, stateful=True)
    return b.model(f"LFM2 decode of one token at context {context}, with explicit state")


def build_tiny(tokens: int = 16) -> ModelProto:
    """Four narrow layers of the same pattern in float32, for tests."""
    return build(tokens, TINY)


def build_tiny_decode(context: int = 32) -> ModelProto:
    """One token of the tiny model."""
    return build_decode(context, TINY)


def _network(
    b: GraphBuilder, ids: str, config: Lfm2Config, heads: Heads, rotary: Rotary, mask: str | None, *, stateful: bool
) -> None:
    hidden, vocabulary = config.hidden, config.vocabulary
    x, table = b.embedding(ids, vocabulary, hidden, name="embed_tokens")
    for layer in range(config.layers):
        state = str(layer) if stateful else ""
        with b.scope(f"layer.{layer}"):
            normed = b.rms_norm(x, hidden, name="operator_norm", epsilon=EPSILON)
            if layer in config.attention:
                mixed = _attention(b, normed, hidden, heads, rotary, mask, state)
            else:
                mixed = _short_conv(b, normed, hidden, heads.tokens, state)
            x = b.op("Add", mixed, x, name="operator_residual")
            normed = b.rms_norm(x, hidden, name="ffn_norm", epsilon=EPSILON)
            with b.scope("ffn"):
                inner = swiglu(b, normed, hidden, config.ff, ("w1", "w3", "w2"))
            x = b.op("Add", inner, x, name="ffn_residual")
    x = b.rms_norm(x, hidden, name="embedding_norm", epsilon=EPSILON)
    logits = b.tied_head(x, table, heads.tokens, hidden, vocabulary)
    b.output(logits, "logits", (1, heads.tokens, vocabulary))


def _attention(b: GraphBuilder, x: str, hidden: int, heads: Heads, rotary: Rotary, mask: str | None, state: str) -> str:
    with b.scope("attn"):
        return rotary_attention(
            b, x, hidden, heads, rotary, epsilon=EPSILON, mask=mask, cache=state, output_name="out_proj"
        )


def _short_conv(b: GraphBuilder, x: str, hidden: int, tokens: int, state: str) -> str:
    """out_proj(C * conv(B * x)): channels first for the convolution, as the state is kept."""
    with b.scope("conv"):
        projected = b.linear(x, hidden, 3 * hidden, name="in_proj")
        gate_in, gate_out, value = b.ops(
            "Split", [b.op("Transpose", projected, name="channels_first", perm=[0, 2, 1])], 3, axis=1, num_outputs=3
        )
        signal = b.op("Mul", gate_in, value, name="gate_in")
        pads = (TAPS - 1, 0)
        if state:
            signal, pads = _with_state(b, signal, hidden, tokens, state), (0, 0)
        mixed = b.conv(signal, hidden, hidden, (TAPS,), name="conv", pads=pads, groups=hidden, bias=False)
        gated = b.op("Mul", gate_out, mixed, name="gate_out")
        return b.linear(b.op("Transpose", gated, name="channels_last", perm=[0, 2, 1]), hidden, hidden, name="out_proj")


def _with_state(b: GraphBuilder, signal: str, hidden: int, tokens: int, state: str) -> str:
    """Past inputs instead of padding; the last two columns are the next step's past."""
    past = b.input(f"past.{state}.conv", (1, hidden, TAPS - 1))
    joined = b.op("Concat", past, signal, name="append", axis=2)
    keep = b.op("Slice", joined, b.ints(tokens), b.ints(tokens + TAPS - 1), b.ints(2), name="keep")
    b.output(keep, f"present.{state}.conv", (1, hidden, TAPS - 1))
    return joined
