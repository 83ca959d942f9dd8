"""Qwen3-0.6B, prefill: 28 pre-norm layers of grouped-query attention and SwiGLU.

Queries and keys are RMS-normalised per head and rotated; 16 query heads of size 128 share 8 key heads, so the
attention is wider (2048) than the model (1024). Embedding and head share one table. Configuration: the published
config.json of Qwen/Qwen3-0.6B. Parameters: 596 049 920.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from .attention import Heads, Rotary, causal_mask, rotary_attention, swiglu
from .builder import GraphBuilder

__all__ = ["QWEN3_0_6B", "Qwen3Config", "build", "build_tiny"]

EPSILON = 1e-6
THETA = 1e6


@dataclass(frozen=True, slots=True)
class Qwen3Config:
    """Sizes of one member of the family."""

    hidden: int
    ff: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    layers: int
    dtype: npt.DTypeLike = np.float16


QWEN3_0_6B = Qwen3Config(1024, 3072, 16, 8, 128, 151936, 28)
TINY = Qwen3Config(32, 64, 4, 2, 16, 128, 2, np.float32)


def build(tokens: int = 128, config: Qwen3Config = QWEN3_0_6B) -> ModelProto:
    """Prefill of `tokens` tokens, logits of all of them."""
    hidden, vocabulary = config.hidden, config.vocabulary
    b = GraphBuilder("qwen3_prefill", dtype=config.dtype)
    heads = Heads(tokens, tokens, config.heads, config.kv_heads, config.head_size)
    rotary = Rotary.table(b, range(tokens), config.head_size, THETA)
    mask = causal_mask(b, tokens)
    x, table = b.embedding(b.input("input_ids", (1, tokens), np.int64), vocabulary, hidden, name="embed_tokens")
    for layer in range(config.layers):
        with b.scope(f"layer.{layer}"):
            x = _block(b, x, config, heads, rotary, mask)
    x = b.rms_norm(x, hidden, name="norm", epsilon=EPSILON)
    b.output(b.tied_head(x, table, tokens, hidden, vocabulary), "logits", (1, tokens, vocabulary))
    return b.model(f"Qwen3 prefill of {tokens} tokens, logits of all positions")


def build_tiny(tokens: int = 8) -> ModelProto:
    """Two narrow layers in float32, for tests."""
    return build(tokens, TINY)


def _block(b: GraphBuilder, x: str, config: Qwen3Config, heads: Heads, rotary: Rotary, mask: str) -> str:
    normed = b.rms_norm(x, config.hidden, name="input_norm", epsilon=EPSILON)
    with b.scope("attn"):
        mixed = rotary_attention(b, normed, config.hidden, heads, rotary, epsilon=EPSILON, mask=mask)
    x = b.op("Add", x, mixed, name="attn_residual")
    normed = b.rms_norm(x, config.hidden, name="post_attention_norm", epsilon=EPSILON)
    with b.scope("mlp"):
        inner = swiglu(b, normed, config.hidden, config.ff, ("gate_proj", "up_proj", "down_proj"))
    return b.op("Add", x, inner, name="mlp_residual")
