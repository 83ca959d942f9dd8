"""Extents of a declared shape: numbers, names bound by --dim, and sums and products of such names.

A symbolic extent is parsed, never run: integers, names, + - * // % and brackets are all there is.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

from onnx import ValueInfoProto

from .errors import ModelError

__all__ = ["extents_of", "symbolic"]

LONGEST_EXPRESSION = 200
_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv, ast.Div: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip


def extents_of(value: ValueInfoProto, dims: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of an input. Raises ModelError for an extent that neither the file nor `dims` gives."""
    extents = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        own = f"{value.name}.{axis}"
        if own in dims:
            extents.append(dims[own])
        elif dim.WhichOneof("value") == "dim_value":
            if dim.dim_value < 0:
                raise ModelError(f"input {value.name!r} has extent {dim.dim_value} on axis {axis}", value.name)
            extents.append(dim.dim_value)
        else:
            extents.append(symbolic(dim.dim_param or own, dims, value.name))
    return tuple(extents)


def symbolic(text: str, dims: Mapping[str, int], where: str) -> int:
    """The value of a dimension's name or expression. Raises ModelError if a name is unbound."""
    if text in dims:
        return dims[text]
    try:
        tree = ast.parse(text, mode="eval") if len(text) <= LONGEST_EXPRESSION else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    found = None if tree is None else _value(tree.body, dims)
    if found is None:
        raise ModelError(f"dimension {text!r} has no value", where, f"bind it: --dim {text}=1")
    return found


def _value(tree: ast.expr, dims: Mapping[str, int]) -> int | None:
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return tree.value
    if isinstance(tree, ast.Name):
        return dims.get(tree.id)
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        left, right = _value(tree.left, dims), _value(tree.right, dims)
        if left is None or right is None or (right == 0 and not isinstance(tree.op, (ast.Add, ast.Sub, ast.Mult))):
            return None
        return _OPERATORS[type(tree.op)](left, right)
    return None
