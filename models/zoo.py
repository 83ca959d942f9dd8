"""The zoo's table: a name, where its builder lies, and one line on what it is.

A builder is imported when its model is asked for, so that listing the names costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["UnknownModelError", "build", "describe", "names"]


@dataclass(frozen=True, slots=True)
class Row:
    """`function` of `module`, called without arguments, makes the model."""

    module: str
    function: str
    description: str


TABLE: dict[str, Row] = {
    "bert-base": Row("bert_base", "build", "BERT-base encoder without pooler, 128 tokens"),
    "bert-tiny": Row("bert_base", "build_tiny", "two narrow BERT layers, 8 tokens, for tests"),
    "gpt2": Row("gpt2", "build", "GPT-2 124M, prefill of 128 tokens"),
    "gpt2-tiny": Row("gpt2", "build_tiny", "two narrow GPT-2 layers, 8 tokens, for tests"),
    "lfm2-tiny": Row("lfm2", "build_tiny", "four narrow LFM2 layers, prefill of 16 tokens, for tests"),
    "lfm2-tiny-decode": Row("lfm2", "build_tiny_decode", "four narrow LFM2 layers, one token at context 32, for tests"),
    "lfm2.5-1.2b": Row("lfm2", "build", "LFM2.5-1.2B, prefill of 128 tokens, logits of all positions"),
    "lfm2.5-1.2b-decode": Row("lfm2", "build_decode", "LFM2.5-1.2B, one token at context 1024, explicit state"),
    "mobilenetv2": Row("mobilenetv2", "build", "MobileNetV2 1.0 at 224 x 224"),
    "mobilenetv2-tiny": Row("mobilenetv2", "build_tiny", "three narrow inverted residuals at 32 x 32, for tests"),
    "qwen3-0.6b": Row("qwen3", "build", "Qwen3-0.6B, prefill of 128 tokens, logits of all positions"),
    "qwen3-tiny": Row("qwen3", "build_tiny", "two narrow Qwen3 layers, 8 tokens, for tests"),
    "resnet-tiny": Row("resnet50", "build_tiny", "three narrow bottlenecks at 32 x 32, for tests"),
    "resnet50": Row("resnet50", "build", "ResNet-50 v1.5 at 224 x 224"),
    "unet": Row("unet", "build", "U-Net of the 2015 paper, 572 x 572 to 388 x 388"),
    "unet-tiny": Row("unet", "build_tiny", "U-Net of two narrow levels, 44 x 44, for tests"),
    "whisper-tiny-mini": Row("whisper_tiny", "build_mini", "Whisper of one narrow layer a side, for tests"),
    "whisper-tiny.en": Row("whisper_tiny", "build", "Whisper tiny.en, 30 s of audio and 32 text tokens"),
}


class UnknownModelError(KeyError):
    """No model of that name; the message is one line and names the nearest."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the message in quotes


def names() -> tuple[str, ...]:
    """Every model's name, sorted."""
    return tuple(TABLE)


def describe(name: str) -> str:
    """One line on what the model is."""
    return _row(name).description


def build(name: str) -> ModelProto:
    """Makes the model."""
    row = _row(name)
    builder: Callable[[], ModelProto] = getattr(importlib.import_module(f".{row.module}", __package__), row.function)
    return builder()


def _row(name: str) -> Row:
    if name in TABLE:
        return TABLE[name]
    near = difflib.get_close_matches(name, TABLE, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(TABLE)}"
    raise UnknownModelError(f"no model {name!r} in the zoo: {hint}")
