"""Transformers over tokens, without a cache."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from .mini import Builder, Mini, Outputs

__all__ = ["LLAMA", "MINIS", "lfm2_config"]

STEPS, WORDS = 6, 64
SMALL = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = LlamaConfig(**SMALL, num_key_value_heads=2, intermediate_size=48, attn_implementation="sdpa")


def _tokens(steps: int = STEPS) -> torch.Tensor:
    return torch.randint(0, WORDS, (1, steps))


def _causal(module: torch.nn.Module, *, fixed: bool = False) -> Mini:
    inputs = {"input_ids": _tokens(), "attention_mask": torch.ones(1, STEPS, dtype=torch.int64)}
    free = {name: {1: "steps"} for name in inputs}
    module.config.use_cache = False
    return Mini(Outputs(module, list(inputs), ["logits"]), inputs, ("logits",), {} if fixed else free)


def bert() -> Mini:
    config = BertConfig(**SMALL, intermediate_size=48)
    inputs = {"input_ids": _tokens(), "attention_mask": torch.ones(1, STEPS, dtype=torch.int64),
              "token_type_ids": torch.zeros(1, STEPS, dtype=torch.int64)}  # fmt: skip
    free = {name: {1: "steps"} for name in inputs}
    return Mini(Outputs(BertForSequenceClassification(config), list(inputs), ["logits"]), inputs, ("logits",), free)


def gpt2() -> Mini:
    return _causal(GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_embd=32, n_layer=2, n_head=4, n_positions=16)))


def llama() -> Mini:
    return _causal(LlamaForCausalLM(LLAMA))


def llama_half() -> Mini:
    """16-bit weights and activations, fixed length."""
    return _causal(LlamaForCausalLM(LLAMA).to(torch.float16), fixed=True)


def qwen3() -> Mini:
    return _causal(Qwen3ForCausalLM(Qwen3Config(**SMALL, num_key_value_heads=2, intermediate_size=48, head_dim=8)))


def gemma2() -> Mini:
    """Soft caps and sliding windows."""
    config = Gemma2Config(**SMALL, num_key_value_heads=2, intermediate_size=48, head_dim=8, sliding_window=4)
    return _causal(Gemma2ForCausalLM(config))


def lfm2_config() -> Lfm2Config:
    kinds = ["conv", "full_attention"]
    return Lfm2Config(**SMALL, num_key_value_heads=2, intermediate_size=48, layer_types=kinds, block_multiple_of=8)


def lfm2() -> Mini:
    return _causal(Lfm2ForCausalLM(lfm2_config()))


def mixtral() -> Mini:
    """A mixture of experts: two of four are chosen for each token."""
    config = MixtralConfig(**SMALL, num_key_value_heads=2, intermediate_size=48, num_local_experts=4)
    config._experts_implementation = "batched_mm"
    return _causal(MixtralForCausalLM(config), fixed=True)


def t5() -> Mini:
    config = T5Config(vocab_size=WORDS, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    config.use_cache = False
    inputs = {"input_ids": _tokens(), "decoder_input_ids": _tokens(4)}
    module = T5ForConditionalGeneration(config)
    return Mini(Outputs(module, list(inputs), ["logits"]), inputs, ("logits",))


MINIS: Mapping[str, Builder] = {
    "bert": bert, "gpt2": gpt2, "llama-prefill": llama, "llama-half": llama_half, "qwen3": qwen3, "gemma2": gemma2,
    "lfm2": lfm2, "mixtral": mixtral, "t5": t5,
}  # fmt: skip
