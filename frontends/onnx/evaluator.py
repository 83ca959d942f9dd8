"""What a model computes by code that is not ours: ONNX's reference evaluator, else onnxruntime where it is installed.

ONNX's evaluator knows no com.microsoft operators; onnxruntime (with its own optimisations off) knows both. The
evaluator's operators that are wrong are put right.

Found by comparing with the operators' own pages on models of opset 9 (onnx 1.23):

- Softmax and LogSoftmax before opset 13 normalise rows of the matrix split at `axis` (1 by default), the evaluator
  normalises the last axis;
- BatchNormalization before opset 14 with one output is inference, the evaluator takes the batch's own statistics;
- LRN sums over channels, the evaluator stops after as many channels as there are images in the batch;
- DequantizeLinear before opset 19 and Scatter are absent there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_scatter_elements import ScatterElements

from .node import Array

__all__ = ["NoReference", "corrections", "evaluate_model"]

_EVALUATED = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training")


class NoReference(Exception):
    """No independent implementation at hand runs the model; the text says why."""


class _CoercedSoftmax(OpRun):
    """Rows of the matrix that the input becomes when split at `axis`."""

    op_domain = ""

    def _run(self, x: Array, axis: int = 1) -> tuple[Array]:
        rows = x.reshape(math.prod(x.shape[: axis % max(x.ndim, 1)]), -1)
        shifted = np.exp(rows - rows.max(axis=1, keepdims=True))
        return (self._finish(shifted / shifted.sum(axis=1, keepdims=True)).reshape(x.shape).astype(x.dtype),)

    def _finish(self, probabilities: Array) -> Array:
        return probabilities


class _CoercedLogSoftmax(_CoercedSoftmax):
    def _finish(self, probabilities: Array) -> Array:
        return np.asarray(np.log(probabilities))


class _InferenceBatchNorm(OpRun):
    op_domain = ""

    def _run(
        self, x: Array, scale: Array, bias: Array, mean: Array, var: Array, epsilon: float = 1e-5, **_: Any
    ) -> tuple[Array]:
        s, b, m, v = (a.reshape(-1, *(1,) * (x.ndim - 2)) for a in (scale, bias, mean, var))
        return ((s * (x - m) / np.sqrt(v + np.float32(epsilon)) + b).astype(x.dtype),)


class _ChannelLRN(OpRun):
    op_domain = ""

    def _run(self, x: Array, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int = 1) -> tuple[Array]:
        before, channels = (size - 1) // 2, x.shape[1]
        squares = np.stack(
            [(x[:, max(0, c - before) : min(channels, c - before + size)] ** 2).sum(axis=1) for c in range(channels)],
            axis=1,
        )
        return ((x / (bias + (alpha / size) * squares) ** beta).astype(x.dtype),)


class _FirstDequantize(OpRun):
    """One scale, or one per position on `axis`."""

    op_domain = ""

    def _run(self, x: Array, scale: Array, zero: Array | None = None, axis: int = 1, **_: Any) -> tuple[Array]:
        shape = [-1 if d == axis % x.ndim else 1 for d in range(x.ndim)] if scale.size > 1 else [1] * x.ndim
        offset = 0 if zero is None else zero.astype(np.int64).reshape(shape)
        return ((x.astype(np.int64) - offset).astype(scale.dtype) * scale.reshape(shape),)


class _Scatter(ScatterElements):
    op_domain = ""


# the evaluator finds operators by class name
_CoercedSoftmax.__name__, _CoercedLogSoftmax.__name__ = "Softmax", "LogSoftmax"
_InferenceBatchNorm.__name__, _ChannelLRN.__name__ = "BatchNormalization", "LRN"
_FirstDequantize.__name__, _Scatter.__name__ = "DequantizeLinear", "Scatter"


def corrections(model: ModelProto) -> list[type[OpRun]]:
    """The operators that the evaluator should take from here for `model`."""
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    found: list[type[OpRun]] = [_ChannelLRN, _Scatter]
    if opset < 19:
        found.append(_FirstDequantize)
    if opset < 13:
        found += [_CoercedSoftmax, _CoercedLogSoftmax]
    norms = [n for n in model.graph.node if n.op_type == "BatchNormalization"]
    if opset < 14 and all(len(n.output) == 1 for n in norms):
        found.append(_InferenceBatchNorm)
    return found


def evaluate_model(model: ModelProto, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], str]:
    """Outputs of `model` by name, and who computed them. Raises NoReference where neither evaluator runs it.

    An older softmax that leaves its axis out gets it written into `model`.
    """
    own = {f.domain for f in model.functions}
    foreign = sorted({n.domain for n in model.graph.node} - own - set(_EVALUATED))
    if foreign:
        return _by_runtime(model, inputs, f"ONNX's evaluator has no operators of {', '.join(foreign)}")
    try:
        return _by_evaluator(model, inputs), "the ONNX reference"
    except Exception as fault:  # it raises whatever numpy raises
        return _by_runtime(model, inputs, f"ONNX's evaluator fails: {type(fault).__name__}: {str(fault)[:100]}")


def _by_evaluator(model: ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    replaced = corrections(model)
    for node in model.graph.node:
        if _CoercedSoftmax in replaced and node.op_type in ("Softmax", "LogSoftmax") and not node.attribute:
            node.attribute.append(helper.make_attribute("axis", 1))
    with np.errstate(all="ignore"):
        found: list[Any] = ReferenceEvaluator(model, new_ops=replaced).run(None, dict(inputs))  # type: ignore[assignment]
    return {v.name: np.asarray(a) for v, a in zip(model.graph.output, found, strict=True)}


def _by_runtime(model: ModelProto, inputs: Mapping[str, Array], why: str) -> tuple[dict[str, Array], str]:
    """Outputs by onnxruntime, every rewriting of its own switched off."""
    try:
        import onnxruntime
    except ImportError:
        raise NoReference(f"{why}, and onnxruntime is not installed") from None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run(None, dict(inputs))
    except Exception as fault:  # its exceptions have no common base
        text = str(fault).splitlines()[0][:160]
        raise NoReference(f"{why}, and onnxruntime fails: {text}") from None
    return {v.name: np.asarray(a) for v, a in zip(model.graph.output, found, strict=True)}, "onnxruntime"
