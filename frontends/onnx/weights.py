"""Initializers: their shape always, their values only where shape arithmetic may need them."""

from __future__ import annotations

import math

from onnx import TensorProto, numpy_helper

from mapper import dtypes

from .context import KNOWN_BYTES, Context
from .errors import ModelError
from .node import Array, dtype_name

__all__ = ["declare_weight"]

PARAMETER_ELEMENTS = 1024


def declare_weight(c: Context, name: str, tensor: TensorProto, *, model_level: bool) -> None:
    """An initializer. Integers and single elements that fit are known; a weight keeps its shape only."""
    dtype, shape = dtype_name(tensor.data_type, name), tuple(tensor.dims)
    elements = math.prod(shape)
    external = tensor.data_location == TensorProto.EXTERNAL
    small = 0 <= dtypes.bytes_of(elements, dtype) <= KNOWN_BYTES and not external
    table = not dtypes.is_float(dtype) or elements <= 1 or not model_level
    if small and table:
        c.constant(name, _decoded(tensor, name), dtype)
    else:
        c.declare(name, shape, dtype, "weight")
        if small and elements <= PARAMETER_ELEMENTS:
            c.parameters[name] = _decoded(tensor, name)
    if model_level and dtype != "int64":
        c.unclaimed[name] = elements
        c.params[""] = c.params.get("", 0) + elements


def _decoded(tensor: TensorProto, name: str) -> Array:
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as fault:  # to_array raises many kinds
        raise ModelError(f"initializer {name!r} cannot be decoded", name, "its data and its dims disagree") from fault
    if array.shape != tuple(tensor.dims):
        raise ModelError(f"initializer {name!r} holds {array.size} elements for dims {list(tensor.dims)}", name)
    return array
