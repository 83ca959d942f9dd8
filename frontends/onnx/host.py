"""Runs opaque operators through ONNX's reference evaluator, for simulation and comparison."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from mapper.ir import Opaque

from .corrections import corrections
from .evaluator import fix_draws
from .node import Array

__all__ = ["run_opaque"]


def run_opaque(op: Opaque, values: Sequence[Array]) -> list[Array]:
    """The outputs of `op` (its payload is the encoded node) for the values of its inputs."""
    model = ModelProto.FromString(op.payload)
    graph = model.graph
    fix_draws(graph)
    present = [name for name in graph.node[0].input if name]
    for name in present:
        graph.input.add(name=name)
    for position, name in enumerate(graph.node[0].output):
        if not name:
            graph.node[0].output[position] = name = f"o{position}"
        graph.output.add(name=name)
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(model, new_ops=corrections(model)).run(None, dict(zip(present, values, strict=True)))
    return [np.asarray(value) for value in found]
