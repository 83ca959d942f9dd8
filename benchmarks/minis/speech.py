"""Networks on sound."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model, WhisperConfig, WhisperForConditionalGeneration, WhisperModel

from .mini import Builder, Mini, Outputs

__all__ = ["MINIS"]

SIZES = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
         "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "vocab_size": 64,
         "num_mel_bins": 8, "max_source_positions": 16, "max_target_positions": 16, "pad_token_id": 0,
         "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}  # fmt: skip


def encoder() -> Mini:
    module = Outputs(WhisperModel(WhisperConfig(**SIZES)).encoder, ["input_features"], ["last_hidden_state"])
    return Mini(module, {"input_features": torch.randn(1, 8, 32)}, ("state",))


def whisper() -> Mini:
    inputs = {"input_features": torch.randn(1, 8, 32), "decoder_input_ids": torch.randint(0, 64, (1, 4)),
              "decoder_attention_mask": torch.ones(1, 4, dtype=torch.int64)}  # fmt: skip
    config = WhisperConfig(**SIZES)
    config.use_cache = False
    module = WhisperForConditionalGeneration(config)
    return Mini(Outputs(module, list(inputs), ["logits"]), inputs, ("logits",))


def wav2vec2() -> Mini:
    config = Wav2Vec2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, conv_dim=(8, 8),
        conv_stride=(5, 2), conv_kernel=(10, 3), num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    inputs = {"input_values": torch.randn(1, 200)}
    return Mini(Outputs(Wav2Vec2Model(config), list(inputs), ["last_hidden_state"]), inputs, ("state",))


MINIS: Mapping[str, Builder] = {"whisper-encoder": encoder, "whisper": whisper, "wav2vec2": wav2vec2}
