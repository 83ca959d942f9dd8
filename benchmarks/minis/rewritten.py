"""Exported models as onnxruntime rewrites them: quantised in its several formats, fused by its optimisers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime import quantization as q
from onnxruntime.quantization import matmul_nbits_quantizer as nbits
from onnxruntime.transformers import float16, optimizer

__all__ = ["missing"]

BLOCK = 16


class _Random(q.CalibrationDataReader):
    """Two random batches for every input of the model."""

    def __init__(self, path: Path) -> None:
        inputs = onnx.load(path, load_external_data=False).graph.input
        self.shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inputs}
        self.left = 2

    def get_next(self) -> dict[str, Any] | None:
        self.left -= 1
        random = np.random.default_rng(self.left + 1)
        feeds = {name: random.standard_normal(shape).astype(np.float32) for name, shape in self.shapes.items()}
        return feeds if self.left >= 0 else None


def _static(source: Path, target: Path, form: Any, **options: Any) -> None:
    q.quantize_static(source, target, _Random(source), quant_format=form, **options)


def qdq(source: Path, target: Path) -> None:
    """QuantizeLinear and DequantizeLinear around each operator, a scale per output channel."""
    _static(source, target, q.QuantFormat.QDQ, per_channel=True, weight_type=q.QuantType.QInt8)


def qdq16(source: Path, target: Path) -> None:
    """16-bit activations, 8-bit weights (com.microsoft forms before opset 21)."""
    _static(source, target, q.QuantFormat.QDQ, activation_type=q.QuantType.QUInt16, weight_type=q.QuantType.QInt8)


def qoperator(source: Path, target: Path) -> None:
    """QLinearConv, QLinearAdd and their like."""
    _static(source, target, q.QuantFormat.QOperator)


def dynamic(source: Path, target: Path) -> None:
    """Integer products with scales found at run time."""
    q.quantize_dynamic(source, target, weight_type=q.QuantType.QInt8)


def _nbits(source: Path, target: Path, form: Any) -> None:
    quantizer = nbits.MatMulNBitsQuantizer(onnx.load(source), block_size=BLOCK, is_symmetric=False, quant_format=form)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target))


def four_bit(source: Path, target: Path) -> None:
    """MatMulNBits."""
    _nbits(source, target, q.QuantFormat.QOperator)


def four_bit_qdq(source: Path, target: Path) -> None:
    """INT4 weights under DequantizeLinear by blocks."""
    upgraded = target.with_suffix(".upgraded")
    onnx.save(onnx.version_converter.convert_version(onnx.load(source), 21), upgraded)
    _nbits(upgraded, target, q.QuantFormat.QDQ)
    upgraded.unlink()


def half(source: Path, target: Path) -> None:
    onnx.save(float16.convert_float_to_float16(onnx.load(source)), target)


def optimised(source: Path, target: Path) -> None:
    """What an inference session runs after its own extended optimisations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _fused(kind: str, heads: int, hidden: int) -> Callable[[Path, Path], None]:
    def rewrite(source: Path, target: Path) -> None:
        logging.disable(logging.WARNING)
        model = optimizer.optimize_model(str(source), kind, num_heads=heads, hidden_size=hidden, only_onnxruntime=False)
        model.save_model_to_file(str(target))

    return rewrite


Rewrite = Callable[[Path, Path], None]
# (an exported model, the suffix of the rewritten one) -> how
REWRITES: Mapping[tuple[str, str], Rewrite] = {
    ("resnet.torchscript", "qdq"): qdq, ("resnet.torchscript", "qoperator"): qoperator,
    ("resnet.torchscript", "optimised"): optimised, ("mobilenetv3.torchscript", "qdq16"): qdq16,
    ("mobilenetv3.torchscript", "optimised"): optimised, ("unet.torchscript", "qdq"): qdq,
    ("vit.torchscript", "qdq"): qdq, ("vit.torchscript", "fused"): _fused("vit", 2, 32),
    ("bert.torchscript", "dynamic"): dynamic, ("bert.torchscript", "fused"): _fused("bert", 4, 32),
    ("bert.torchscript", "optimised"): optimised, ("gpt2.torchscript", "fused"): _fused("gpt2", 4, 32),
    ("gpt2.torchscript", "half"): half, ("llama-prefill.torchscript", "4bit"): four_bit,
    ("llama-prefill.torchscript", "4bit-qdq"): four_bit_qdq, ("llama-decode.torchscript", "4bit"): four_bit,
    ("llama-decode.torchscript", "dynamic"): dynamic, ("llama-decode.torchscript", "optimised"): optimised,
    ("whisper-encoder.torchscript", "fused"): _fused("bart", 2, 32), ("t5.torchscript", "fused"): _fused("t5", 4, 32),
    ("convnext.torchscript", "optimised"): optimised,
    ("swin.torchscript", "fused"): _fused("swin", 2, 16), ("lfm2.torchscript", "4bit"): four_bit,
}  # fmt: skip


def missing(folder: Path, only: str, known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Rewrites what is not `known` yet: (name, extents of free dimensions, or why the tool refused)."""
    for (source, suffix), rewrite in REWRITES.items():
        name = f"{source.split('.')[0]}.{suffix}"
        if only in name and name not in known and isinstance(known.get(source), dict):
            try:
                rewrite(folder / f"{source}.onnx", folder / f"{name}.onnx")
            except Exception as fault:  # a tool's limits are not ours
                yield name, f"{type(fault).__name__}: {str(fault).strip().splitlines()[0][:200]}"
            else:
                yield name, known[source]
