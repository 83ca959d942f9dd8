"""What a model computes by code that is not ours: ONNX's reference evaluator, else onnxruntime where it is installed.

ONNX's evaluator knows no com.microsoft operators; onnxruntime (with its own optimisations off) knows both. The
evaluator's operators that are wrong are put right (`corrections.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, helper
from onnx.reference import ReferenceEvaluator

from .corrections import corrections, is_coerced
from .node import Array, subgraphs

__all__ = ["NoReference", "evaluate_model", "fix_draws"]

_DRAWING = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
_EVALUATED = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training")


class NoReference(Exception):
    """No independent implementation at hand runs the model; the text says why."""


def fix_draws(graph: GraphProto) -> None:
    """Operators that draw values and name no seed get one, so that whoever evaluates them draws the same."""
    graphs = [graph]
    while graphs:
        for node in graphs.pop().node:
            graphs += subgraphs(node)
            if node.op_type in _DRAWING and not any(a.name == "seed" for a in node.attribute):
                node.attribute.append(helper.make_attribute("seed", 1.0))


def evaluate_model(model: ModelProto, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], str]:
    """Outputs of `model` by name, and who computed them. Raises NoReference where neither evaluator runs it.

    An older softmax that leaves its axis out gets it written into `model`, and draws get a seed.
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
    fix_draws(model.graph)
    for node in model.graph.node:
        if is_coerced(model, node.op_type) and not node.attribute:
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
