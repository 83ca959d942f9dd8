"""Operators without a loop-nest form: they run on the host, with the shapes of what they deliver.

Shapes come from ONNX's own inference on the node alone. Where an output's extent depends on values, its upper bound
stands for it; an operator with no bound is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from onnx import ModelProto, helper, numpy_helper, shape_inference

from .context import Context
from .errors import ModelError
from .functions import onnx_type
from .node import Node, dtype_name
from .validity import require_valid, schema_of

__all__ = ["REASONS", "TEXT", "infer_outputs", "send_to_host"]

Outputs = list[tuple[tuple[int, ...], str]]

_BY_VALUES = "how much it delivers depends on values"
_ORDER = "its order of visit depends on values"
_INDIRECT = "it reads through several indices at once that are known at run time only"
_LARGE = "comparing each index with each place would cost more than it moves"
_RANDOM = "its values are drawn at random"
TEXT = "it works on text"

REASONS: Mapping[str, str] = {
    "NonZero": _BY_VALUES, "Compress": _BY_VALUES, "Unique": _BY_VALUES, "NonMaxSuppression": _BY_VALUES,
    "TopK": _ORDER, "ScatterND": _LARGE, "ScatterElements": _LARGE, "Scatter": _LARGE, "GridSample": _INDIRECT,
    "RoiAlign": _INDIRECT, "DeformConv": _INDIRECT, "MaxRoiPool": _INDIRECT, "MaxUnpool": _INDIRECT,
    "Bernoulli": _RANDOM, "Multinomial": _RANDOM, "RandomNormal": _RANDOM, "RandomNormalLike": _RANDOM,
    "RandomUniform": _RANDOM, "RandomUniformLike": _RANDOM, "StringConcat": TEXT, "StringNormalizer": TEXT,
    "StringSplit": TEXT, "RegexFullMatch": TEXT, "TfIdfVectorizer": TEXT, "LabelEncoder": TEXT,
    "Det": "its pivots depend on values", "ImageDecoder": "it decodes a compressed image",
    "TreeEnsemble": "its walk down the trees depends on values",
}  # fmt: skip


def send_to_host(c: Context, node: Node, reason: str = "") -> None:
    """Declare the node's outputs and leave it to the host. Raises ModelError for unknown operators."""
    if schema_of(node) is None:
        domain = node.domain or "ai.onnx"
        hint = "give its body as a local function" if node.domain else "see `mapper ops`"
        raise ModelError(
            f"operator {domain}.{node.op_type} (opset {node.version}) is not known in this form", node.name, hint
        )
    require_valid(node)
    bound = _BOUNDS.get(node.op_type)
    outputs = bound(c, node) if bound is not None else infer_outputs(c, node)
    c.host(node, reason or REASONS.get(node.op_type, "it has no loop-nest form here"), outputs)
    c.fates[node.source] = "host"


def infer_outputs(c: Context, node: Node) -> Outputs:
    """Shapes and types of the outputs by ONNX's inference on this node. Raises ModelError where it cannot tell."""
    try:
        inferred = shape_inference.infer_shapes(_alone(c, node), check_type=True, strict_mode=True, data_prop=True)
    except (shape_inference.InferenceError, RuntimeError, ValueError) as fault:
        text = str(fault).strip().splitlines()[-1]
        raise ModelError(f"{node.op_type} is not valid: {text}", node.name) from None
    found = {v.name: v.type for v in inferred.graph.value_info}
    outputs: Outputs = []
    for i, name in enumerate(node.outputs):
        kind = found.get(f"o{i}")
        if not name:
            outputs.append(((), "float32"))
        elif kind is None or not kind.HasField("tensor_type"):
            raise ModelError(f"{node.op_type} delivers no tensor", node.name, "sequences need lengths known beforehand")
        else:
            dims = kind.tensor_type.shape.dim
            if not kind.tensor_type.HasField("shape") or any(not d.HasField("dim_value") for d in dims):
                raise ModelError(f"the shape of {node.op_type}'s output {name!r} depends on values", node.name)
            outputs.append((tuple(d.dim_value for d in dims), dtype_name(kind.tensor_type.elem_type, node.name)))
    return outputs


def _alone(c: Context, node: Node) -> ModelProto:
    model: ModelProto = ModelProto.FromString(node.encoded())
    for i, name in enumerate(node.inputs):
        if not name:
            continue
        value = c.value(name)
        if value is not None and value.dtype.kind in "biuf":
            model.graph.initializer.append(numpy_helper.from_array(value, f"i{i}"))
        else:
            shape = c.shape(name)
            model.graph.input.append(helper.make_tensor_value_info(f"i{i}", onnx_type(c.dtype(name)), shape))
    return model


def _non_zero(c: Context, node: Node) -> Outputs:
    shape = c.shape(node.input(0))
    return [((len(shape), math.prod(shape)), "int64")]


def _compress(c: Context, node: Node) -> Outputs:
    shape, chosen = c.shape(node.input(0)), math.prod(c.shape(node.input(1)))
    if not node.has("axis"):
        return [((min(math.prod(shape), chosen),), c.dtype(node.input(0)))]
    axis = node.int("axis") % max(len(shape), 1)
    return [((*shape[:axis], min(shape[axis], chosen), *shape[axis + 1 :]), c.dtype(node.input(0)))]


def _unique(c: Context, node: Node) -> Outputs:
    shape, dtype = c.shape(node.input(0)), c.dtype(node.input(0))
    count = shape[node.int("axis")] if node.has("axis") else math.prod(shape)
    axis = node.int("axis") % max(len(shape), 1)
    values = (*shape[:axis], count, *shape[axis + 1 :]) if node.has("axis") else (count,)
    return [(values, dtype), ((count,), "int64"), ((count,), "int64"), ((count,), "int64")][: len(node.outputs)]


def _suppression(c: Context, node: Node) -> Outputs:
    batches, boxes, _ = c.shape(node.input(0))
    classes = c.shape(node.input(1))[1]
    most = c.value(node.input(2)) if node.input(2) else None
    each = boxes if most is None else min(boxes, max(int(most.reshape(-1)[0]), 0))
    return [((batches * classes * each, 3), "int64")]


_BOUNDS: Mapping[str, Callable[[Context, Node], Outputs]] = {
    "NonZero": _non_zero, "Compress": _compress, "Unique": _unique, "NonMaxSuppression": _suppression,
}  # fmt: skip
