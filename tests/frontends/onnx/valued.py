"""One node on few elements: its outputs from the graph, optimised or not, and from the reference; arrays and
activations to ask about."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from mapper.frontends.onnx import load_model
from mapper.frontends.onnx.evaluator import evaluate_model
from mapper.frontends.onnx.reference import stored_feeds
from mapper.interpret import run
from mapper.passes import optimise

from .making import model, node

F = np.float32
X = np.array([[-2.0, -0.5, 0.0], [0.25, 1.0, 3.0]], F)
LINE = np.array([1, 2, 4, 8], F)
PLANES = np.arange(16, dtype=F).reshape(1, 2, 2, 4) ** 2 / 10  # channels last
ONES = np.ones(4, F)
STEP, TURNS = np.array(0.5, F), np.array(2)


def ms(op_type, inputs, outputs=("y",), **attributes):
    return node(op_type, inputs, outputs, domain="com.microsoft", **attributes)


def training(op_type, inputs, outputs, **attributes):
    return node(op_type, inputs, outputs, domain="ai.onnx.preview.training", **attributes)


def values(made, feeds, opset=18, weights=None):
    """The node's outputs, from the graph as it is and optimised."""
    types = {name: (int(TYPES[array.dtype.name]), array.shape) for name, array in feeds.items()}
    domains = [made.domain] if made.domain else []
    outputs = [name for name in made.output if name]
    proto = model([made], types, outputs, weights or {}, opset, domains=domains)
    graph = load_model(proto)
    plain, better = (run(g, feeds | stored_feeds(proto, graph)) for g in (graph, optimise(graph)))
    for name in outputs:
        np.testing.assert_allclose(better[name], plain[name], rtol=1e-5, atol=1e-6)
    return [plain[name] for name in outputs]


TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32,
         "uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "bool": TensorProto.BOOL}  # fmt: skip


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def tanh_gelu(x):
    return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def evaluated(made, feeds, opset=18, weights=None):
    types = {name: (int(TYPES[array.dtype.name]), array.shape) for name, array in feeds.items()}
    return evaluate_model(model([made], types, ["y"], weights or {}, opset), feeds)[0]["y"]


def joined(*names):
    return {name: array for name, array in zip("xzuv", names, strict=False)}
