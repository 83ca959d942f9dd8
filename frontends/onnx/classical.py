"""Operators of ai.onnx.ml that are loop nests: thresholds and picks of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .context import Context
from .errors import ModelError
from .gather import gather_into
from .nests import call, pointwise
from .node import Node
from .opaque import TEXT, send_to_host

__all__ = ["TABLE"]


def binarizer(c: Context, node: Node) -> None:
    """1 above the threshold, 0 elsewhere."""
    x, threshold = node.input(0), node.float("threshold", 0.0)
    out = c.output(node, 0, c.shape(x), c.dtype(x))
    pointwise(c, node, [x], out, lambda v: call("where", call("greater", v, threshold), 1, 0))


def array_feature_extractor(c: Context, node: Node) -> None:
    """Columns of the last axis, picked by number."""
    x, picks = node.input(0), node.input(1)
    if c.dtype(x) == "string":
        return send_to_host(c, node, TEXT)
    shape, count = c.shape(x), c.tensor(picks).elements
    if not shape:
        raise ModelError("ArrayFeatureExtractor of a scalar", node.name)
    flat = c.temporary(node, "picks", (count,), c.dtype(picks))
    c.view(node, picks, flat)
    rows = shape[:-1] or (1,)
    out = c.output(node, 0, (*rows, count), c.dtype(x))
    table = x
    if len(shape) == 1:
        table = c.temporary(node, "row", (1, *shape), c.dtype(x))
        c.view(node, x, table)
    gather_into(c, node, table, flat, len(rows), out)
    return None


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "Binarizer": binarizer, "ArrayFeatureExtractor": array_feature_extractor,
}  # fmt: skip
