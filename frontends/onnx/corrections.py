"""Operators that ONNX's reference evaluator (onnx 1.23) gets wrong or lacks, written after the operators' own pages.

- Softmax and LogSoftmax before opset 13 normalise rows of the matrix split at `axis` (1 by default), the evaluator
  normalises the last axis;
- BatchNormalization before opset 14 with one output is inference, the evaluator takes the batch's own statistics;
- LogSoftmax of values far below the largest is the logarithm of a number that underflows there;
- LRN sums over channels, the evaluator stops after as many channels as there are images in the batch;
- LpNormalization divides by a norm of absolute values, the evaluator by that of the values as they are;
- DequantizeLinear before opset 19 and Scatter are absent there;
- Loop stacks what a turn delivers along a new axis, the evaluator joins it along the first one;
- Scan knows directions and axes, the evaluator only the default ones;
- GlobalMaxPool keeps every axis, the evaluator drops one unless two axes hold positions;
- ConvTranspose has groups, dilations and output padding, which the evaluator confuses in part;
- MaxPool, AveragePool and LpPool have other windows there if padding differs before and behind, or is SAME;
- Pad takes elements away where its pads are negative, the evaluator refuses them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from onnx import ModelProto
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_max_pool import MaxPool
from onnx.reference.ops.op_pad import Pad_18
from onnx.reference.ops.op_scatter_elements import ScatterElements

from .node import Array

__all__ = ["corrections", "is_coerced"]


class _Correction(OpRun):
    op_domain = ""


class _CoercedSoftmax(_Correction):
    """Rows of the matrix that the input becomes when split at `axis`."""

    def _run(self, x: Array, axis: int = 1) -> tuple[Array]:
        rows = x.reshape(math.prod(x.shape[: axis % max(x.ndim, 1)]), -1)
        return (self._of(rows).reshape(x.shape).astype(x.dtype),)

    def _of(self, rows: Array) -> Array:
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


class _CoercedLogSoftmax(_CoercedSoftmax):
    def _of(self, rows: Array) -> Array:
        return _log_softmax(rows, 1)


class _StableLogSoftmax(_Correction):
    def _run(self, x: Array, axis: int = -1) -> tuple[Array]:
        return (_log_softmax(x, axis).astype(x.dtype),)


def _log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


class _InferenceBatchNorm(_Correction):
    def _run(
        self, x: Array, scale: Array, bias: Array, mean: Array, var: Array, epsilon: float = 1e-5, **_: Any
    ) -> tuple[Array]:
        s, b, m, v = (a.reshape(-1, *(1,) * (x.ndim - 2)) for a in (scale, bias, mean, var))
        return ((s * (x - m) / np.sqrt(v + np.float32(epsilon)) + b).astype(x.dtype),)


class _ChannelLRN(_Correction):
    def _run(self, x: Array, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int = 1) -> tuple[Array]:
        before, channels = (size - 1) // 2, x.shape[1]
        squares = np.stack(
            [(x[:, max(0, c - before) : min(channels, c - before + size)] ** 2).sum(axis=1) for c in range(channels)],
            axis=1,
        )
        return ((x / (bias + (alpha / size) * squares) ** beta).astype(x.dtype),)


class _AbsoluteNorm(_Correction):
    def _run(self, x: Array, axis: int = -1, p: int = 2) -> tuple[Array]:
        norm = (np.abs(x) ** p).sum(axis=axis, keepdims=True) ** (1.0 / p)
        return (np.where(norm == 0, 0, x / norm).astype(x.dtype),)


class _FirstDequantize(_Correction):
    """One scale, or one per position on `axis`."""

    def _run(self, x: Array, scale: Array, zero: Array | None = None, axis: int = 1, **_: Any) -> tuple[Array]:
        shape = [-1 if d == axis % x.ndim else 1 for d in range(x.ndim)] if scale.size > 1 else [1] * x.ndim
        offset = 0 if zero is None else zero.astype(np.int64).reshape(shape)
        return ((x.astype(np.int64) - offset).astype(scale.dtype) * scale.reshape(shape),)


class _Scatter(ScatterElements):
    op_domain = ""


class _AllMaxPool(_Correction):
    """The maximum over all positions."""

    def _run(self, x: Array) -> tuple[Array]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


@dataclass(frozen=True, slots=True)
class _Windows:
    """The windows of a pooling operator over `x`: per axis of positions, extents and where the padding lies."""

    kernel: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    before: Sequence[int]
    behind: Sequence[int]
    out: Sequence[int]

    @staticmethod
    def of(spatial: Sequence[int], words: dict[str, Any]) -> _Windows:
        n, kernel, style = len(spatial), words["kernel_shape"], words.get("auto_pad") or "NOTSET"
        strides, dilations = (words.get(name) or [1] * n for name in ("strides", "dilations"))
        spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
        pads = words.get("pads") or [0] * 2 * n
        if style.startswith("SAME"):
            totals = [max(0, (-(-e // s) - 1) * s + r - e) for e, s, r in zip(spatial, strides, spans, strict=True)]
            pads = _shared(totals, more_behind=style == "SAME_UPPER")
        out = []
        for i, (extent, stride, span) in enumerate(zip(spatial, strides, spans, strict=True)):
            room = extent + pads[i] + pads[n + i] - span
            count = (-(-room // stride) if words.get("ceil_mode") else room // stride) + 1
            out.append(count - ((count - 1) * stride >= extent + pads[i]))
        return _Windows(kernel, strides, dilations, pads[:n], pads[n:], out)

    def taps(self, x: Array, padding: Any, beyond: Any) -> Array:
        """[tap, batch, channel, position...]: elements, `padding` in the padding, `beyond` where a last window ends."""
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True)]
        ends = [(o - 1) * s + r for o, s, r in zip(self.out, self.strides, spans, strict=True)]
        inner = np.pad(x, [(0, 0), (0, 0), *zip(self.before, self.behind, strict=True)], constant_values=padding)
        more = [(0, max(0, e - have)) for e, have in zip(ends, inner.shape[2:], strict=True)]
        whole: Any = np.pad(inner, [(0, 0), (0, 0), *more], constant_values=beyond)
        steps = (self.dilations, self.strides, self.out)
        return np.stack([
            whole[(..., *(slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, s, o in zip(tap, *steps, strict=True)))]
            for tap in product(*(range(k) for k in self.kernel))
        ])  # fmt: skip


class _WindowMax(MaxPool):
    """The largest element of each window; where they stand is left to the evaluator."""

    op_domain = ""

    def _run(self, x: Array, **words: Any) -> Any:  # type: ignore[override]
        if len(self.onnx_node.output) > 1:
            return super()._run(x, **words)  # type: ignore[no-untyped-call]
        least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        return (_Windows.of(x.shape[2:], words).taps(x, least, least).max(axis=0),)


class _WindowMean(_Correction):
    def _run(self, x: Array, count_include_pad: int = 0, **words: Any) -> tuple[Array]:
        windows = _Windows.of(x.shape[2:], words)
        counted = windows.taps(np.ones_like(x), float(count_include_pad), 0.0).sum(axis=0)
        return ((windows.taps(x, 0, 0).sum(axis=0) / counted).astype(x.dtype),)


class _WindowNorm(_Correction):
    def _run(self, x: Array, p: int = 2, **words: Any) -> tuple[Array]:
        powers = _Windows.of(x.shape[2:], words).taps(np.abs(x) ** p, 0, 0).sum(axis=0)
        return ((powers ** (1 / p)).astype(x.dtype),)


def _shared(totals: Sequence[int], more_behind: bool) -> list[int]:
    """Padding before each axis, then behind each."""
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return [*small, *large] if more_behind else [*large, *small]


class _ScatteredConv(_Correction):
    """Each input element adds its multiple of the filter to the outputs that it reaches; then the padding is cut."""

    def _run(self, x: Array, w: Array, bias: Array | None = None, **words: Any) -> tuple[Array]:
        n, groups = x.ndim - 2, words.get("group") or 1
        strides, dilations = (words.get(name) or [1] * n for name in ("strides", "dilations"))
        kernel = w.shape[2:]
        reach = [s * (e - 1) + d * (k - 1) + 1
                 for s, e, d, k in zip(strides, x.shape[2:], dilations, kernel, strict=True)]  # fmt: skip
        full = [r + p for r, p in zip(reach, words.get("output_padding") or [0] * n, strict=True)]
        y: Any = np.zeros((x.shape[0], groups, w.shape[1], *full), np.float64)
        grouped = x.reshape(x.shape[0], groups, -1, *x.shape[2:]).astype(np.float64)
        filters: Any = w.reshape(groups, -1, *w.shape[1:]).astype(np.float64)
        for tap in product(*(range(k) for k in kernel)):
            places = tuple(slice(t * d, t * d + s * (e - 1) + 1, s)
                           for t, d, s, e in zip(tap, dilations, strides, x.shape[2:], strict=True))  # fmt: skip
            y[(..., *places)] += np.einsum("bgi...,gio->bgo...", grouped, filters[(..., *tap)])
        y = y.reshape(x.shape[0], -1, *full)
        before, extents = _kept(full, x.shape[2:], strides, words)
        y = y[(..., *(slice(b, b + e) for b, e in zip(before, extents, strict=True)))]
        if bias is not None:
            y = y + bias.reshape(-1, *(1,) * n)
        return (y.astype(x.dtype),)


def _kept(
    full: Sequence[int], spatial: Sequence[int], strides: Sequence[int], words: dict[str, Any]
) -> tuple[list[int], list[int]]:
    """Where the output begins in the full result, and its extents."""
    n, style = len(full), words.get("auto_pad") or "NOTSET"
    asked = words.get("output_shape")
    if asked or style.startswith("SAME"):
        extents = list(asked)[-n:] if asked else [e * s for e, s in zip(spatial, strides, strict=True)]
        totals = [max(0, f - e) for f, e in zip(full, extents, strict=True)]
        return _shared(totals, more_behind=style == "SAME_UPPER")[:n], extents
    pads = words.get("pads") or [0] * 2 * n
    return list(pads[:n]), [f - b - a for f, b, a in zip(full, pads[:n], pads[n:], strict=True)]


class _CroppingPad(Pad_18):
    """Padding below zero takes elements away."""

    op_domain = ""

    def _run(self, x: Array, pads: Array, value: Any = None, axes: Any = None, mode: str = "constant") -> Any:
        n = len(pads) // 2
        places: list[Any] = [slice(None)] * x.ndim
        for i, axis in enumerate(range(x.ndim) if axes is None else axes):
            before, behind = int(pads[i]), int(pads[n + i])
            places[axis] = slice(max(0, -before), x.shape[axis] - max(0, -behind))
        return super()._run(x[tuple(places)], np.maximum(pads, 0), value, axes, mode=mode)  # type: ignore[no-untyped-call]


class _Body(_Correction):
    """An operator with a body, which sees the values around it."""

    def need_context(self) -> bool:
        return True

    def _turn(self, context: Any, inputs: dict[str, Any], **words: Any) -> list[Array]:
        return self._run_body({**(context or {}), **inputs}, **words)  # type: ignore[no-any-return,attr-defined]


class _StackingLoop(_Body):
    def _run(
        self, trips: Any, go: Any, *states: Array, context: Any = None, body: Any = None, attributes: Any = None,
        bindings: Any = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        names, kept, rows, turn = self.body.input_names, list(states), [], 0  # type: ignore[attr-defined]
        while (go is None or go) and (trips is None or turn < trips):
            counter = np.array(turn, np.int64)
            given = dict(zip(names, (counter, np.array(True), *kept), strict=True))
            go, *found = self._turn(context, given, attributes=attributes, bindings=bindings)
            kept, turn = found[: len(states)], turn + 1
            rows.append(found[len(states) :])
        stacked = [np.stack(column) for column in zip(*rows, strict=True)]
        missing = len(self.body.output_names) - 1 - len(states) - len(stacked)  # type: ignore[attr-defined]
        return (*kept, *stacked, *(np.empty(0, np.float32) for _ in range(missing)))


class _AnyScan(_Body):
    def _run(
        self, *inputs: Array, context: Any = None, body: Any = None, attributes: Any = None, bindings: Any = None,
        num_scan_inputs: int = 1, scan_input_axes: Any = None, scan_input_directions: Any = None,
        scan_output_axes: Any = None, scan_output_directions: Any = None,
    ) -> tuple[Array, ...]:  # fmt: skip
        states, scanned = list(inputs[:-num_scan_inputs]), inputs[-num_scan_inputs:]
        rows = list(_rows(scanned, scan_input_axes, scan_input_directions))
        names, outputs, held = self.body.input_names, [], len(states)  # type: ignore[attr-defined]
        for items in zip(*rows, strict=True):
            found = self._turn(context, dict(zip(names, (*states, *items), strict=True)), bindings=bindings)
            states = found[:held]
            outputs.append(found[held:])
        columns = [np.stack(column) for column in zip(*outputs, strict=True)]
        ways, axes = scan_output_directions or [0] * len(columns), scan_output_axes or [0] * len(columns)
        turned = [column[::-1] if way else column for column, way in zip(columns, ways, strict=True)]
        return (*states, *(np.moveaxis(column, 0, axis) for column, axis in zip(turned, axes, strict=True)))


def _rows(scanned: Sequence[Array], axes: Any, ways: Any) -> Iterator[Array]:
    """Each scanned input with its axis first, in the order in which it is read."""
    for i, array in enumerate(scanned):
        row = np.moveaxis(array, axes[i] if axes else 0, 0)
        yield row[::-1] if ways and ways[i] else row


_ALWAYS = {"LRN": _ChannelLRN, "Scatter": _Scatter, "GlobalMaxPool": _AllMaxPool, "ConvTranspose": _ScatteredConv,
           "Loop": _StackingLoop, "Scan": _AnyScan, "MaxPool": _WindowMax, "AveragePool": _WindowMean,
           "LpPool": _WindowNorm, "LpNormalization": _AbsoluteNorm}  # fmt: skip
_COERCED = {"Softmax": _CoercedSoftmax, "LogSoftmax": _CoercedLogSoftmax}
_NAMED = {
    **_ALWAYS,
    **_COERCED,
    "BatchNormalization": _InferenceBatchNorm,
    "DequantizeLinear": _FirstDequantize,
    "Pad": _CroppingPad,
}
_StableLogSoftmax.__name__ = "LogSoftmax"
for _name, _operator in _NAMED.items():  # the evaluator finds operators by class name
    _operator.__name__ = _name


def opset_of(model: ModelProto) -> int:
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def is_coerced(model: ModelProto, op_type: str) -> bool:
    """Whether an operator of `model` is a softmax that splits its input at `axis`."""
    return opset_of(model) < 13 and op_type in _COERCED


def corrections(model: ModelProto) -> list[type[OpRun]]:
    """The operators that the evaluator should take from here for `model`."""
    opset = opset_of(model)
    found: list[type[OpRun]] = list(_ALWAYS.values())
    if opset < 9:
        found.remove(_AnyScan)
    if opset >= 11:
        found.append(_CroppingPad)
    if opset < 19:
        found.append(_FirstDequantize)
    found += _COERCED.values() if opset < 13 else [_StableLogSoftmax]
    norms = [n for n in model.graph.node if n.op_type == "BatchNormalization"]
    if opset < 14 and all(len(n.output) == 1 for n in norms):
        found.append(_InferenceBatchNorm)
    return found
