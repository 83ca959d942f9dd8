"""Shape arithmetic: small operators on known values are computed while the model is read.

Only operators whose result is no larger than what is allowed are run, and that is decided from the extents before
anything is allocated. Everything else about them is ONNX's own reference evaluator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator

from mapper import dtypes

from .context import KNOWN_BYTES, Context
from .corrections import corrections
from .node import Array, Node

__all__ = ["fold"]

# The result has at most as many elements as all inputs together.
_NO_LARGER = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "Cast",
        "CastLike",
        "Ceil",
        "Clip",
        "Compress",
        "Concat",
        "Cos",
        "CumSum",
        "Div",
        "Equal",
        "Erf",
        "Exp",
        "Flatten",
        "Floor",
        "Gather",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Mean",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "NonZero",
        "Not",
        "Or",
        "Pow",
        "Range",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceMean",
        "Reshape",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Shape",
        "Sign",
        "Sin",
        "Size",
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Transpose",
        "Trilu",
        "Unique",
        "Unsqueeze",
        "Where",
        "Xor",
        "Reciprocal",
        "Relu",
        "Sigmoid",
        "Tanh",
        "GatherElements",
        "GatherND",
        "ArgMax",
        "ArgMin",
        "TopK",
        "SequenceLength",
    ]
)
_CAN_BROADCAST = frozenset(
    [
        "Add",
        "And",
        "BitwiseAnd",
        "BitwiseOr",
        "BitwiseXor",
        "Div",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Max",
        "Mean",
        "Min",
        "Mod",
        "Mul",
        "Or",
        "Pow",
        "Sub",
        "Sum",
        "Where",
        "Xor",
    ]
)
MOST_ELEMENTS = KNOWN_BYTES // 8


def fold(c: Context, node: Node) -> bool:
    """Compute the node now if its inputs are known and its outputs small; True if that was done."""
    if node.domain or not node.outputs:
        return False
    if node.op_type in ("Shape", "Size"):
        return _fold_shape(c, node)
    values = [c.known.get(name) if name else None for name in node.inputs]
    if any(v is None and name for v, name in zip(values, node.inputs, strict=True)):
        return False
    size = _output_elements(node, values)
    if size is None or size > MOST_ELEMENTS:
        return False
    results = _evaluated(node, values)
    if results is None or any(not isinstance(r, np.ndarray) or r.size > MOST_ELEMENTS for r in results):
        return False
    for name, result in zip(node.outputs, results, strict=False):
        if name:
            c.constant(name, result, _name(result))
    return True


def _name(array: Array) -> str:
    names: Mapping[Any, str] = {dtypes.numpy_type(n): n for n in dtypes.BITS if n != "string"}
    return names.get(array.dtype, "string")


def _fold_shape(c: Context, node: Node) -> bool:
    extents = c.shape(node.input(0))
    if node.op_type == "Size":
        c.constant(node.outputs[0], np.asarray(min(math.prod(extents), 2**63 - 1), np.int64), "int64")
        return True
    rank = len(extents)
    start, end = node.int("start", 0), node.int("end", rank)
    start, end = (max(0, min(rank, e + rank if e < 0 else e)) for e in (start, end))
    c.constant(node.outputs[0], np.array(extents[start:end], np.int64), "int64")
    return True


def _output_elements(node: Node, values: list[Array | None]) -> int | None:
    """An upper bound of the output's elements, from extents alone; None for operators that are not folded."""
    present = [v for v in values if v is not None]
    if node.op_type in ("ConstantOfShape", "Expand", "Tile", "EyeLike"):
        return _filled_elements(node, present)
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):  # a table of integers stays as narrow as it is stored
        return 1 if present[0].size == 1 else None
    if node.op_type == "Range":
        start, limit, delta = (v.reshape(-1)[0].item() for v in present)
        return max(0, math.ceil((limit - start) / delta)) if delta else None
    if node.op_type == "MelWeightMatrix":
        bins, length = (int(v.reshape(-1)[0]) for v in present[:2])
        return bins * (length // 2 + 1) if bins > 0 and length > 0 else None
    if node.op_type == "Gather":
        axis = node.int("axis") % max(present[0].ndim, 1)
        extent = present[0].shape[axis] if present[0].ndim else 1
        return int(present[1].size * max(1, present[0].size // max(1, extent)))
    if node.op_type in _CAN_BROADCAST:
        rank = max(v.ndim for v in present)
        shapes = [(1,) * (rank - v.ndim) + v.shape for v in present]
        return int(math.prod(max(extents) for extents in zip(*shapes, strict=True)))
    return sum(int(v.size) for v in present) if node.op_type in _NO_LARGER else None


def _filled_elements(node: Node, present: list[Array]) -> int | None:
    if node.op_type == "EyeLike":
        return int(present[0].size)
    sizes = [int(v) for v in present[-1].reshape(-1)]
    if any(s < 0 for s in sizes):
        return None
    if node.op_type == "ConstantOfShape":
        fill = node.array("value")
        # a float block is a weight, not shape arithmetic
        weight = (fill is None or fill.dtype.kind not in "iub") and math.prod(sizes) > 1
        return None if weight else math.prod(sizes)
    return int(math.prod(max(s, 1) for s in sizes) * max(1, present[0].size))


def _evaluated(node: Node, values: list[Array | None]) -> list[Array] | None:
    quick = _QUICK.get(node.op_type)
    if quick is not None:
        return [quick(*values)]
    try:
        model = ModelProto.FromString(node.encoded())
        graph = model.graph
        for i, value in enumerate(values):
            if value is not None:
                graph.input.add(name=f"i{i}")
        for name in graph.node[0].output:
            if name:
                graph.output.add(name=name)
        feeds = {f"i{i}": value for i, value in enumerate(values) if value is not None}
        with np.errstate(all="ignore"):
            found = iter(ReferenceEvaluator(model, new_ops=corrections(model)).run(None, feeds))
    except Exception:  # the evaluator raises whatever numpy raises; the lowering then names the fault
        return None
    return [np.asarray(next(found)) if name else np.empty(0) for name in node.outputs]


_QUICK: Mapping[str, Any] = {
    "Add": lambda a, b: np.asarray(np.add(a, b)),
    "Sub": lambda a, b: np.asarray(np.subtract(a, b)),
    "Mul": lambda a, b: np.asarray(np.multiply(a, b)),
    "Identity": lambda a: a,
}
