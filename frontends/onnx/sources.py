"""Operators that make tensors out of nothing, or out of shapes: constants, ranges, fills, identity matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.ir import Access
from mapper.scalar import Cast, Const, Counter

from .context import KNOWN_BYTES, Context, Reads
from .errors import ModelError
from .movement import fill
from .nests import call, identity, loops_over, names_of
from .node import Array, Node, dtype_name

__all__ = ["TABLE"]


def constant(c: Context, node: Node) -> None:
    """Small tables keep their values; a large one is a weight, of which only the shape is kept."""
    value = _value(node)
    attribute = node.attributes.get("value")
    dtype = dtype_name(attribute.t.data_type, node.name) if attribute is not None else _dtype(value)
    name = node.output(0)
    c.fates[node.source] = "folded"
    if dtype == "string" or dtypes.bytes_of(value.size, dtype) <= KNOWN_BYTES:
        c.constant(name, value, dtype)
    else:
        c.declare(name, value.shape, dtype, "weight")


def _dtype(value: Array) -> str:
    return {"f": "float32", "i": "int64"}.get(value.dtype.kind, "string")


def _value(node: Node) -> Array:
    kinds: Mapping[str, Callable[[], Any]] = {
        "value_float": lambda: np.float32(node.float("value_float")),
        "value_floats": lambda: np.array(node.floats("value_floats"), np.float32),
        "value_int": lambda: np.int64(node.int("value_int")),
        "value_ints": lambda: np.array(node.ints("value_ints"), np.int64),
        "value_string": lambda: np.array(node.text("value_string"), object),
        "value_strings": lambda: np.array(node.texts("value_strings"), object),
    }
    for name, make in kinds.items():
        if node.has(name):
            return np.asarray(make())
    try:
        value = node.array("value")
    except Exception as fault:  # to_array raises many kinds
        raise ModelError("Constant holds a tensor that cannot be decoded", node.name) from fault
    if value is None:
        raise ModelError("Constant holds no dense tensor", node.name, "sparse constants are not supported")
    return np.asarray(value)


def constant_of_shape(c: Context, node: Node) -> None:
    """A block of equal floats of the model itself is a weight that the exporter left out; others are fills."""
    shape = c.ints(node, 0, "shape")
    value = node.array("value")
    value = np.zeros(1, np.float32) if value is None else value
    attribute = node.attributes.get("value")
    dtype = dtype_name(attribute.t.data_type, node.name) if attribute is not None else "float32"
    if dtypes.is_float(dtype) and not node.scope.prefix and node.scope.parent is None:
        c.declare(node.output(0), shape, dtype, "weight")
        elements = math.prod(shape)
        if elements == 1:
            c.known[node.output(0)] = np.full(shape, value.reshape(-1)[0])
        c.unclaimed[node.output(0)] = elements
        c.params[""] = c.params.get("", 0) + elements
        c.fates[node.source] = "folded"
    else:
        fill(c, node, shape, value.reshape(-1)[0].item(), dtype)


def range_(c: Context, node: Node) -> None:
    start, limit, delta = (
        c.need(node, i, what).reshape(-1)[0].item() for i, what in enumerate(("start", "limit", "delta"))
    )
    if delta == 0:
        raise ModelError("Range by steps of 0", node.name)
    shape = (max(0, math.ceil((limit - start) / delta)),)
    out = c.output(node, 0, shape, c.dtype(node.input(0)))
    body = Cast(c.dtype(out), call("add", call("mul", Counter("n"), delta), start))
    c.nest(node, loops_over(shape), Reads(c), Access(out, identity(1)), body)


def eye_like(c: Context, node: Node) -> None:
    x = node.input(0)
    shape = c.shape(x)
    if len(shape) != 2:
        raise ModelError(f"EyeLike of rank {len(shape)}", node.name)
    dtype = dtype_name(node.int("dtype"), node.name) if node.has("dtype") else c.dtype(x)
    out = c.output(node, 0, shape, dtype)
    rows, columns = names_of(2)
    body = call("where", call("equal", call("sub", Counter(columns), Counter(rows)), node.int("k")), Const(1), Const(0))
    c.nest(node, loops_over(shape), Reads(c), Access(out, identity(2)), body)


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "Constant": constant, "ConstantOfShape": constant_of_shape, "Range": range_, "EyeLike": eye_like,
}  # fmt: skip
