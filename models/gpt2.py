"""GPT-2 (Radford et al., 2019), the smallest: twelve pre-norm decoder layers, prefill of 128 tokens.

Word and position embeddings are added; each layer is a causal self-attention of twelve heads with one joint
projection for queries, keys and values, and a feed-forward with the tanh form of GELU. The head is the word table
again. Configuration: the published config.json of gpt2. 124 439 808 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from .attention import Heads, attend, causal_mask, split_heads
from .builder import GraphBuilder

__all__ = ["GPT2", "Gpt2Config", "build", "build_tiny"]


@dataclass(frozen=True, slots=True)
class Gpt2Config:
    """Sizes of one member of the family; the feed-forward is four times as wide as the model."""

    hidden: int
    heads: int
    layers: int
    vocabulary: int
    positions: int


GPT2 = Gpt2Config(768, 12, 12, 50257, 1024)
TINY = Gpt2Config(32, 4, 2, 128, 16)


def build(tokens: int = 128, config: Gpt2Config = GPT2) -> ModelProto:
    """Prefill of `tokens` tokens, logits of all of them."""
    hidden = config.hidden
    b = GraphBuilder("gpt2_prefill")
    words, table = b.embedding(b.input("input_ids", (1, tokens), np.int64), config.vocabulary, hidden, name="wte")
    places, _ = b.embedding(b.ints(*range(tokens)), config.positions, hidden, name="wpe")
    x = b.op("Add", words, places, name="embed")
    mask = causal_mask(b, tokens)
    heads = Heads(tokens, tokens, config.heads, config.heads, hidden // config.heads)
    for layer in range(config.layers):
        with b.scope(f"layer.{layer}"):
            x = _layer(b, x, hidden, heads, mask)
    x = b.layer_norm(x, hidden, name="ln_f")
    b.output(b.tied_head(x, table, tokens, hidden, config.vocabulary), "logits", (1, tokens, config.vocabulary))
    return b.model(f"GPT-2 prefill of {tokens} tokens, logits of all positions")


def build_tiny(tokens: int = 8) -> ModelProto:
    """Two narrow layers, for tests."""
    return build(tokens, TINY)


def _layer(b: GraphBuilder, x: str, hidden: int, heads: Heads, mask: str) -> str:
    normed = b.layer_norm(x, hidden, name="ln_1")
    with b.scope("attn"):
        joint = b.linear(normed, hidden, 3 * hidden, name="c_attn", bias=True)
        parts = b.ops("Split", [joint], 3, axis=-1, num_outputs=3)
        q, k, v = (
            split_heads(b, part, heads.tokens, heads.kv, heads.size, f"{kind}_heads")
            for part, kind in zip(parts, "qkv", strict=True)
        )
        mixed = b.linear(attend(b, q, k, v, heads, mask), hidden, hidden, name="c_proj", bias=True)
    x = b.op("Add", x, mixed, name="attn_residual")
    normed = b.layer_norm(x, hidden, name="ln_2")
    with b.scope("mlp"):
        inner = b.gelu_tanh(b.linear(normed, hidden, 4 * hidden, name="c_fc", bias=True))
        inner = b.linear(inner, 4 * hidden, hidden, name="c_proj", bias=True)
    return b.op("Add", x, inner, name="mlp_residual")
