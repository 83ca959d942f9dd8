"""Counts read off an ONNX model's inferred shapes alone; nothing here knows a builder or the product's own counter."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TypeProto, helper, numpy_helper, shape_inference

Shapes = dict[str, tuple[int, ...]]


def static_shape(kind: TypeProto) -> tuple[int, ...]:
    """The shape; an unknown or symbolic extent is an error."""
    tensor = kind.tensor_type
    assert tensor.HasField("shape")
    assert all(d.HasField("dim_value") for d in tensor.shape.dim)
    return tuple(d.dim_value for d in tensor.shape.dim)


def inferred_shapes(model: ModelProto) -> Shapes:
    """Every tensor's shape as ONNX infers it."""
    graph = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    shapes = {v.name: static_shape(v.type) for v in (*graph.value_info, *graph.input, *graph.output)}
    return shapes | {t.name: tuple(t.dims) for t in graph.initializer}


def macs(model: ModelProto, op_type: str | None = None) -> int:
    """Multiply-accumulates, padding taps included: (elements that drive the sum) x (terms each takes part in)."""
    shapes = inferred_shapes(model)
    return sum(_node_macs(node, shapes) for node in model.graph.node if op_type in (None, node.op_type))


def _node_macs(node: NodeProto, shapes: Shapes) -> int:
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        assert node.op_type not in ("Einsum", "LSTM", "GRU", "RNN", "Attention")
        return 0
    first, second, result = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
    match node.op_type:
        case "Conv":
            return math.prod(result) * math.prod(second[1:])
        case "ConvTranspose":
            return math.prod(first) * math.prod(second[1:])
        case "Gemm":
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            return math.prod(result) * first[0 if transposed else 1]
        case _:
            return math.prod(result) * first[-1]


def parameters(model: ModelProto) -> int:
    """Elements of ConstantOfShape weights and of initializers that are no index vectors."""
    ints = {t.name: t for t in model.graph.initializer}
    built = sum(
        math.prod(numpy_helper.to_array(ints[n.input[0]]).tolist())
        for n in model.graph.node
        if n.op_type == "ConstantOfShape"
    )
    return built + sum(math.prod(t.dims) for t in ints.values() if t.data_type != onnx.TensorProto.INT64)


def histogram(model: ModelProto) -> Counter[str]:
    """Nodes by operator."""
    return Counter(node.op_type for node in model.graph.node)


def index_limit(model: ModelProto, name: str) -> int:
    """Rows of the table that this index input reads; 2 for a mask."""
    shapes = inferred_shapes(model)
    rows = [shapes[n.input[0]][0] for n in model.graph.node if n.op_type == "Gather" and n.input[1] == name]
    return min(rows, default=2)


def random_inputs(model: ModelProto, seed: int) -> dict[str, np.ndarray]:
    """Seeded inputs: normal for floats, in range for indices."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.input:
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = static_shape(value.type)
        if kind == np.int64:
            feeds[value.name] = rng.integers(0, index_limit(model, value.name), shape)
        else:
            feeds[value.name] = rng.standard_normal(shape).astype(kind)
    return feeds


def with_random_weights(model: ModelProto, seed: int) -> ModelProto:
    """The same model with every ConstantOfShape weight drawn at random, since constant weights hide faults."""
    rng = np.random.default_rng(seed)
    ints = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    changed = ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            changed.graph.node.append(node)
            continue
        shape = ints[node.input[0]]
        scale = 1 / math.sqrt(math.prod(shape[1:].tolist())) if len(shape) > 1 else 1.0
        kind = numpy_helper.to_array(node.attribute[0].t).dtype
        drawn = (rng.standard_normal(shape) * scale).astype(kind)
        changed.graph.initializer.append(numpy_helper.from_array(drawn, node.output[0]))
    return changed
