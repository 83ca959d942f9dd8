"""Whisper tiny.en (Radford et al., 2022): 30 s of audio to text, encoder and one decoder pass in one graph.

Two convolutions over 80 mel bands halve 3000 frames to 1500 positions; four pre-norm encoder layers; four decoder
layers with causal self-attention and attention to the encoder; the head is the token table again. Keys have no bias.
Configuration: the published config.json of openai/whisper-tiny.en. The encoder's sinusoidal positions are stored as a
table of 1500 x 384 and counted, as the published checkpoint does: 37 760 256 parameters (37 184 256 without it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from .attention import Heads, attend, causal_mask, split_heads
from .builder import GraphBuilder

__all__ = ["WHISPER_TINY_EN", "WhisperConfig", "build", "build_mini"]


@dataclass(frozen=True, slots=True)
class WhisperConfig:
    """Sizes of one member of the family; `layers` in the encoder and as many in the decoder."""

    hidden: int
    ff: int
    heads: int
    layers: int
    vocabulary: int
    mels: int
    audio_positions: int
    text_positions: int


WHISPER_TINY_EN = WhisperConfig(384, 1536, 6, 4, 51864, 80, 1500, 448)
MINI = WhisperConfig(32, 64, 4, 1, 128, 8, 24, 16)


def build(tokens: int = 32, config: WhisperConfig = WHISPER_TINY_EN) -> ModelProto:
    """Encodes the audio and decodes `tokens` text tokens at once, logits of all of them."""
    b = GraphBuilder("whisper")
    features = b.input("input_features", (1, config.mels, 2 * config.audio_positions))
    ids = b.input("decoder_input_ids", (1, tokens), np.int64)
    with b.scope("encoder"):
        audio = _encoder(b, features, config)
    with b.scope("decoder"):
        text, table = _decoder(b, ids, audio, config, tokens)
    logits = b.tied_head(text, table, tokens, config.hidden, config.vocabulary)
    b.output(logits, "logits", (1, tokens, config.vocabulary))
    return b.model(f"Whisper: 30 s of audio and {tokens} text tokens, logits of all positions")


def build_mini(tokens: int = 4) -> ModelProto:
    """One narrow layer on either side, for tests."""
    return build(tokens, MINI)


def _encoder(b: GraphBuilder, features: str, config: WhisperConfig) -> str:
    hidden, positions = config.hidden, config.audio_positions
    x = b.gelu(b.conv(features, config.mels, hidden, (3,), name="conv1", pads=(1, 1)))
    x = b.gelu(b.conv(x, hidden, hidden, (3,), name="conv2", stride=2, pads=(1, 1)))
    x = b.op("Transpose", x, name="positions_first", perm=[0, 2, 1])
    x = b.op("Add", x, b.weight("embed_positions.weight", (positions, hidden)), name="embed")
    for layer in range(config.layers):
        with b.scope(f"layer.{layer}"):
            x = _attention(b, x, x, config, positions, positions, name="self_attn")
            x = _feed_forward(b, x, config)
    return b.layer_norm(x, hidden, name="layer_norm")


def _decoder(b: GraphBuilder, ids: str, audio: str, config: WhisperConfig, tokens: int) -> tuple[str, str]:
    hidden = config.hidden
    words, table = b.embedding(ids, config.vocabulary, hidden, name="embed_tokens")
    places, _ = b.embedding(b.ints(*range(tokens)), config.text_positions, hidden, name="embed_positions")
    x = b.op("Add", words, places, name="embed")
    mask = causal_mask(b, tokens)
    for layer in range(config.layers):
        with b.scope(f"layer.{layer}"):
            x = _attention(b, x, x, config, tokens, tokens, name="self_attn", mask=mask)
            x = _attention(b, x, audio, config, tokens, config.audio_positions, name="cross_attn")
            x = _feed_forward(b, x, config)
    return b.layer_norm(x, hidden, name="layer_norm"), table


def _attention(
    b: GraphBuilder,
    x: str,
    source: str,
    config: WhisperConfig,
    tokens: int,
    keys: int,
    *,
    name: str,
    mask: str | None = None,
) -> str:
    """x + attention of norm(x) to `source`; when that is x itself, to norm(x)."""
    hidden = config.hidden
    heads = Heads(tokens, keys, config.heads, config.heads, hidden // config.heads)
    normed = b.layer_norm(x, hidden, name=f"{name}_norm")
    source = normed if source == x else source
    with b.scope(name):
        q = b.linear(normed, hidden, hidden, name="q_proj", bias=True)
        k = b.linear(source, hidden, hidden, name="k_proj")
        v = b.linear(source, hidden, hidden, name="v_proj", bias=True)
        q = split_heads(b, q, tokens, heads.query, heads.size, "q_heads")
        k = split_heads(b, k, keys, heads.kv, heads.size, "k_heads")
        v = split_heads(b, v, keys, heads.kv, heads.size, "v_heads")
        mixed = b.linear(attend(b, q, k, v, heads, mask), hidden, hidden, name="out_proj", bias=True)
    return b.op("Add", x, mixed, name=f"{name}_residual")


def _feed_forward(b: GraphBuilder, x: str, config: WhisperConfig) -> str:
    normed = b.layer_norm(x, config.hidden, name="ffn_norm")
    with b.scope("ffn"):
        inner = b.gelu(b.linear(normed, config.hidden, config.ff, name="fc1", bias=True))
        inner = b.linear(inner, config.ff, config.hidden, name="fc2", bias=True)
    return b.op("Add", x, inner, name="ffn_residual")
