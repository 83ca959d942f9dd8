"""Decoding with a cache: one new token, keys and values of the earlier ones as inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from .language import LLAMA, WORDS
from .mini import Builder, Mini

__all__ = ["MINIS"]

PAST = 5


class WithCache(torch.nn.Module):
    """A causal model whose cache is a flat list of tensors."""

    def __init__(self, module: torch.nn.Module, layers: int) -> None:
        super().__init__()
        self.module, self.layers = module, layers

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, *past: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        pairs = [(past[2 * i], past[2 * i + 1]) for i in range(self.layers)]
        found = self.module(
            input_ids=input_ids, attention_mask=attention_mask, past_key_values=DynamicCache(pairs), use_cache=True
        )
        present = [t for layer in found.past_key_values.layers for t in (layer.keys, layer.values)]
        return (found.logits, *present)


def _decoder(module: torch.nn.Module, heads: int, size: int, layers: int = 2) -> Mini:
    mask = torch.ones(1, PAST + 1, dtype=torch.int64)
    inputs = {"input_ids": torch.randint(0, WORDS, (1, 1)), "attention_mask": mask}
    free = {"attention_mask": {1: "total"}}
    outputs = ["logits"]
    for layer in range(layers):
        for kind in ("key", "value"):
            inputs[f"past.{layer}.{kind}"] = torch.randn(1, heads, PAST, size)
            free[f"past.{layer}.{kind}"] = {2: "past"}
            outputs.append(f"present.{layer}.{kind}")
    return Mini(WithCache(module, layers), inputs, tuple(outputs), free)


def llama() -> Mini:
    return _decoder(LlamaForCausalLM(LLAMA), 2, 8)


def gpt2() -> Mini:
    config = GPT2Config(vocab_size=WORDS, n_embd=32, n_layer=2, n_head=4, n_positions=16)
    return _decoder(GPT2LMHeadModel(config), 4, 8)


class Window(torch.nn.Module):
    """A preallocated cache, written in place at a position that the caller gives, as serving engines keep it."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.project = torch.nn.Linear(width, 3 * width)

    def forward(
        self, token: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, position: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        query, key, value = self.project(token).chunk(3, -1)
        keys = keys.index_put((position,), key)
        values = values.index_put((position,), value)
        seen = torch.arange(keys.shape[0]) <= position
        scores = (query @ keys.transpose(0, 1)).masked_fill(~seen, -torch.inf)
        return scores.softmax(-1) @ values, keys, values


def window() -> Mini:
    inputs = {"token": torch.randn(1, 16), "keys": torch.randn(8, 16), "values": torch.randn(8, 16),
              "position": torch.tensor([5])}  # fmt: skip
    return Mini(Window(), inputs, ("output", "new_keys", "new_values"))


MINIS: Mapping[str, Builder] = {"llama-decode": llama, "gpt2-decode": gpt2, "static-cache": window}
