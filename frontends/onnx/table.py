"""Which lowering an operator has: op_type -> function, by domain. Operators that are absent are expanded by ONNX's
own function body, go to the host, or are refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import (
    classical,
    conv,
    einsum,
    elementwise,
    gather,
    heads,
    microsoft,
    movement,
    normalise,
    pool,
    products,
    quantised,
    recurrent,
    reductions,
    resize,
    scatter,
    sources,
    spectral,
    training,
)
from .context import Context
from .node import Node

__all__ = ["LOWERINGS", "lowering_of"]

Lowering = Callable[[Context, Node], None]

STANDARD: Mapping[str, Lowering] = {
    **elementwise.TABLE, **products.TABLE, **conv.TABLE, **pool.TABLE, **reductions.TABLE, **normalise.TABLE,
    **movement.TABLE, **gather.TABLE, **scatter.TABLE, **sources.TABLE,
    **quantised.TABLE, **einsum.TABLE, **recurrent.TABLE, **resize.TABLE, **spectral.TABLE,
}  # fmt: skip
# older exporters put these in com.microsoft with the meaning they have in ai.onnx
_SHARED = ("QuantizeLinear", "DequantizeLinear", "Trilu", "SimplifiedLayerNormalization")
MICROSOFT: Mapping[str, Lowering] = {
    **{name: STANDARD[name] for name in _SHARED}, **microsoft.TABLE, **heads.TABLE, **quantised.MICROSOFT,
}  # fmt: skip
LOWERINGS: Mapping[str, Mapping[str, Lowering]] = {
    "": STANDARD, "com.microsoft": MICROSOFT, "ai.onnx.ml": classical.TABLE, "ai.onnx.preview.training": training.TABLE,
}  # fmt: skip


def lowering_of(node: Node) -> Lowering | None:
    return LOWERINGS.get(node.domain, {}).get(node.op_type)
