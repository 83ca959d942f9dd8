"""The ONNX reference on the very values that our graph runs on.

Trained weights would make files huge and constant weights hide a wrong tile, so weights get seeded random values, the
same on both sides: by name, in place of initializers, large constants and blocks of ConstantOfShape. Inputs that are
used as indices stay inside the extent that they index.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

from mapper import dtypes
from mapper.ir import Graph, Op, Tensor, View
from mapper.scalar import Arg, Call, Counter, ml_info, parts

from .evaluator import NoReference, evaluate_model
from .load import read_model
from .node import Array, subgraphs

__all__ = ["NoReference", "random_feeds", "reference_outputs", "stored_feeds"]


def random_feeds(graph: Graph, seed: int) -> dict[str, Array]:
    """Values for every input and weight of `graph`, by tensor name, the same for the same seed."""
    prepared = {name for op in graph.prepare for name in op.outputs}
    limits = _index_limits(graph)
    return {
        t.name: _values(t, limits.get(t.name), seed)
        for t in graph.tensors
        if t.role in ("input", "weight") and t.name not in prepared and t.data is None
    }


def _index_limits(graph: Graph) -> dict[str, int]:
    """The smallest extent that each tensor indexes, through views and casts as well.

    A tensor indexes where a read or write gathers through it, and where a body compares it with a loop's counter.
    """
    limits: dict[str, int] = {}
    for op in reversed((*graph.prepare, *graph.ops)):
        if isinstance(op, View) and op.output in limits:
            limits[op.input] = min(limits[op.output], limits.get(op.input, limits[op.output]))
        if not isinstance(op, Op):
            continue
        for access in (*op.reads, op.write):
            for atom in (g for i in access.index for g in i.gathered):
                name = op.reads[atom.read].tensor
                limits[name] = min(atom.extent, limits.get(name, atom.extent))
        for name, extent in _compared(op):
            limits[name] = min(extent, limits.get(name, extent))
        if op.is_movement and op.write.tensor in limits:
            for name in op.inputs:
                limits[name] = min(limits[op.write.tensor], limits.get(name, limits[op.write.tensor]))
    return limits


def _compared(op: Op) -> Iterator[tuple[str, int]]:
    """Tensors that the body holds against a counter, with the extent of its loop."""
    for part in parts(op.body):
        if isinstance(part, Call) and part.function == "equal" and isinstance(part.args[1], Counter):
            for leaf in parts(part.args[0]):
                if isinstance(leaf, Arg):
                    yield op.reads[leaf.read].tensor, op.extents[part.args[1].loop]


def _values(tensor: Tensor, limit: int | None, seed: int) -> Array:
    rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode("utf-8", "replace"))])
    kind = dtypes.numpy_type(tensor.dtype)
    if tensor.dtype == "bool":
        return rng.integers(0, 2, tensor.shape).astype(bool)
    if dtypes.is_integer(tensor.dtype):
        low, high = (0, limit - 1) if limit else _range_of(tensor)
        return rng.integers(low, max(high, low), tensor.shape, endpoint=True).astype(kind)
    if tensor.dtype == "string":
        return np.array([f"s{i}" for i in range(tensor.elements)], object).reshape(tensor.shape)
    return _floats(rng, tensor).astype(kind)


def _range_of(tensor: Tensor) -> tuple[int, int]:
    low, high = ml_info(tensor.dtype)
    return (low, high) if dtypes.BITS[tensor.dtype] <= 8 else (0, 3)


def _floats(rng: np.random.Generator, tensor: Tensor) -> Array:
    """Inputs of unit size; matrices scaled by their fan-in; vectors about one (they scale, or are variances)."""
    if tensor.role == "input":
        return rng.standard_normal(tensor.shape, np.float32)
    if len(tensor.shape) < 2:
        return rng.uniform(0.5, 1.5, tensor.shape)
    fan_in = math.prod(tensor.shape[1:]) if len(tensor.shape) != 2 else max(tensor.shape)
    return rng.standard_normal(tensor.shape, np.float32) / math.sqrt(max(fan_in, 1))


def reference_outputs(model: ModelProto | Path | str, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], str]:
    """Outputs of the model with weights replaced by `feeds`, and what evaluated it. Raises NoReference."""
    source = read_model(Path(model)) if isinstance(model, (str, Path)) else model
    replaced = ModelProto()
    replaced.CopyFrom(source)
    for graph in _graphs(replaced.graph):
        _replace_weights(graph, feeds)
    wanted = {v.name for v in replaced.graph.input} - {t.name for t in replaced.graph.initializer}
    inputs = {name: feeds[name] for name in wanted if name in feeds}
    return evaluate_model(replaced, inputs)


def stored_feeds(model: ModelProto, graph: Graph) -> dict[str, Array]:
    """The model's own values for every weight of `graph` (they are read here and nowhere else)."""
    weights = {t.name: t for t in graph.tensors if t.role == "weight"}
    found: dict[str, Array] = {}
    for part in _graphs(model.graph):
        found |= {t.name: numpy_helper.to_array(t) for t in part.initializer if t.name in weights}
        for node in part.node:
            if node.op_type not in ("Constant", "ConstantOfShape") or node.output[0] not in weights:
                continue
            weight = weights[node.output[0]]
            values = [numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"]
            fill = values[0] if values else np.zeros(1, np.float32)
            found[weight.name] = fill if node.op_type == "Constant" else np.full(weight.shape, fill.reshape(-1)[0])
    return found


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    pending = [graph]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            pending.extend(subgraphs(node))


def _replace_weights(graph: GraphProto, feeds: Mapping[str, Array]) -> None:
    """Initializers, constants and ConstantOfShape nodes whose tensor is in `feeds` get its values."""
    for tensor in graph.initializer:
        if tensor.name in feeds:
            tensor.CopyFrom(_proto(feeds[tensor.name], tensor.name))
    nodes = [n for n in graph.node if not (n.op_type in ("Constant", "ConstantOfShape") and n.output[0] in feeds)]
    for node in graph.node:
        if node.op_type in ("Constant", "ConstantOfShape") and node.output[0] in feeds:
            graph.initializer.append(_proto(feeds[node.output[0]], node.output[0]))
    del graph.node[:]
    graph.node.extend(nodes)


def _proto(array: Array, name: str) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array), name)
