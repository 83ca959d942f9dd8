"""BERT-base without pooler (Devlin et al., 2018): twelve post-norm encoder layers over 128 tokens.

Word, position and segment embeddings are added and normalised; each layer is self-attention of twelve heads with
biases, residual, layer norm, a GELU feed-forward of four times the width, residual, layer norm. Configuration: the
published config.json of bert-base-uncased. At 128 tokens 11 173 625 856 multiply-accumulates; 108 891 648 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto

from .attention import MASKED, Heads, attend, split_heads
from .builder import GraphBuilder

__all__ = ["BERT_BASE", "BertConfig", "build", "build_tiny"]

EPSILON = 1e-12


@dataclass(frozen=True, slots=True)
class BertConfig:
    """Sizes of one member of the family."""

    hidden: int
    ff: int
    heads: int
    layers: int
    vocabulary: int
    positions: int
    segments: int


BERT_BASE = BertConfig(768, 3072, 12, 12, 30522, 512, 2)
TINY = BertConfig(32, 64, 4, 2, 128, 16, 2)


def build(tokens: int = 128, config: BertConfig = BERT_BASE) -> ModelProto:
    """Hidden states of `tokens` tokens after the last layer."""
    b = GraphBuilder("bert")
    ids = b.input("input_ids", (1, tokens), np.int64)
    attention_mask = b.input("attention_mask", (1, tokens), np.int64)
    segments = b.input("token_type_ids", (1, tokens), np.int64)
    mask = _additive_mask(b, attention_mask)
    x = _embeddings(b, ids, segments, config, tokens)
    heads = Heads(tokens, tokens, config.heads, config.heads, config.hidden // config.heads)
    for layer in range(config.layers):
        with b.scope(f"layer.{layer}"):
            x = _layer(b, x, config, heads, mask)
    b.output(x, "last_hidden_state", (1, tokens, config.hidden))
    return b.model(f"BERT encoder of {config.layers} layers over {tokens} tokens")


def build_tiny(tokens: int = 8) -> ModelProto:
    """Two narrow layers, for tests."""
    return build(tokens, TINY)


def _additive_mask(b: GraphBuilder, attention_mask: str) -> str:
    """0 where the mask is one, far below zero where it is zero, as [1, 1, 1, tokens]."""
    with b.scope("mask"):
        wide = b.op("Unsqueeze", attention_mask, b.ints(1, 2))
        real = b.op("Cast", wide, to=TensorProto.FLOAT)
        return b.op("Mul", b.op("Sub", b.scalar(1.0), real), b.scalar(MASKED))


def _embeddings(b: GraphBuilder, ids: str, segments: str, config: BertConfig, tokens: int) -> str:
    with b.scope("embeddings"):
        words, _ = b.embedding(ids, config.vocabulary, config.hidden, name="word")
        kinds, _ = b.embedding(segments, config.segments, config.hidden, name="token_type")
        places, _ = b.embedding(b.ints(*range(tokens)), config.positions, config.hidden, name="position")
        total = b.op("Add", b.op("Add", words, kinds), places)
        return b.layer_norm(total, config.hidden, name="norm", epsilon=EPSILON)


def _layer(b: GraphBuilder, x: str, config: BertConfig, heads: Heads, mask: str) -> str:
    hidden = config.hidden
    with b.scope("attn"):
        q, k, v = (
            split_heads(b, b.linear(x, hidden, hidden, name=name, bias=True), heads.tokens, heads.kv, heads.size, kind)
            for name, kind in (("query", "q_heads"), ("key", "k_heads"), ("value", "v_heads"))
        )
        mixed = b.linear(attend(b, q, k, v, heads, mask), hidden, hidden, name="output", bias=True)
    x = b.layer_norm(b.op("Add", mixed, x, name="attn_residual"), hidden, name="attn_norm", epsilon=EPSILON)
    with b.scope("ffn"):
        inner = b.gelu(b.linear(x, hidden, config.ff, name="intermediate", bias=True))
        inner = b.linear(inner, config.ff, hidden, name="output", bias=True)
    return b.layer_norm(b.op("Add", inner, x, name="ffn_residual"), hidden, name="ffn_norm", epsilon=EPSILON)
