"""Operators with few elements and expected numbers by hand or by numpy: defaults of attributes, modes, arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from .making import node
from .valued import (
    LINE,
    F,
    X,
    evaluated,
    gelu,
    joined,
    sigmoid,
    tanh_gelu,
    values,
)

UNARY = {
    "LeakyRelu": lambda x: np.where(x < 0, 0.01 * x, x),
    "Elu": lambda x: np.where(x < 0, np.exp(x) - 1, x),
    "Celu": lambda x: np.maximum(x, 0) + np.minimum(np.exp(x) - 1, 0),
    "Selu": lambda x: 1.0507009873554805 * np.where(x <= 0, 1.6732632423543772 * (np.exp(x) - 1), x),
    "ThresholdedRelu": lambda x: np.where(x > 1, x, 0),
    "HardSigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "Gelu": gelu,
    "Swish": lambda x: x * sigmoid(x),
    "Shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "IsInf": np.isinf,
}


@pytest.mark.parametrize("kind", UNARY)
def test_activations_by_default(kind) -> None:
    (found,) = values(node(kind, "x"), {"x": X}, 24 if kind == "Swish" else 20)
    np.testing.assert_allclose(found, UNARY[kind](X.astype(float)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("LeakyRelu", {"alpha": 0.5}, [-1, 0, 4]), ("Elu", {"alpha": 2.0}, [2 * math.exp(-2) - 2, 0, 4]),
        ("Celu", {"alpha": 2.0}, [2 * math.exp(-1) - 2, 0, 4]), ("ThresholdedRelu", {"alpha": 4.0}, [0, 0, 0]),
        ("HardSigmoid", {"alpha": 0.1, "beta": 0.25}, [0.05, 0.25, 0.65]), ("Shrink", {"lambd": 3.0, "bias": 1.0},
            [0, 0, 3]),
        ("Selu", {"alpha": 2.0, "gamma": 3.0}, [6 * math.exp(-2) - 6, 0, 12]),
        ("Swish", {"alpha": 0.5}, [-2 / (1 + math.e), 0, 4 / (1 + math.exp(-2))]),
        ("Gelu", {"approximate": "tanh"}, [tanh_gelu(-2), 0, tanh_gelu(4)]),
        ("Clip", {}, [-2, 0, 4]),
    ],
)  # fmt: skip
def test_activations_with_parameters(kind, words, expected) -> None:
    (found,) = values(node(kind, "x", **words), {"x": np.array([-2, 0, 4], F)}, 24)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "expected"),
    [({}, [1, 1, 0]), ({"detect_negative": 0}, [1, 0, 0]), ({"detect_positive": 0}, [0, 1, 0]),
     ({"detect_positive": 0, "detect_negative": 0}, [0, 0, 0])],
)  # fmt: skip
def test_which_infinities_are_told(words, expected) -> None:
    (found,) = values(node("IsInf", "x", **words), {"x": np.array([np.inf, -np.inf, 3], F)}, 20)
    np.testing.assert_array_equal(found, np.array(expected, bool))


A, B, C = np.array([6, -4], F), np.array([4, 3], F), np.array([2, 10], F)


@pytest.mark.parametrize(("kind", "expected"), [("Max", [6, 10]), ("Min", [2, -4]), ("Sum", [12, 9]), ("Mean", [4, 3])])
def test_three_operands(kind, expected) -> None:
    np.testing.assert_allclose(values(node(kind, "xzu"), joined(A, B, C))[0], expected)
    np.testing.assert_allclose(values(node(kind, "x"), joined(A))[0], A)


RESIZES = [
    # mode, coordinates, scales or sizes, expected of [1, 2, 4, 8]
    ({}, 2.0, [1, 1, 2, 2, 4, 4, 8, 8]),
    ({"coordinate_transformation_mode": "asymmetric"}, 2.0, [1, 1, 2, 2, 4, 4, 8, 8]),
    ({"coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}, 2.0, [1, 2, 2, 4, 4, 8, 8, 8]),
    ({"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, 2.0, [1, 1, 2, 2, 4, 4, 8, 8]),
    ({"coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "round_prefer_ceil"}, 2.0, [1, 2, 2, 4, 4, 8, 8, 8]),
    ({"coordinate_transformation_mode": "align_corners"}, 2.0, [1, 1, 2, 2, 4, 4, 8, 8]),
    ({"coordinate_transformation_mode": "align_corners"}, 0.25, [1]),
    ({"coordinate_transformation_mode": "pytorch_half_pixel"}, 0.25, [1]),
    ({}, 0.5, [1, 4]), ({}, 0.75, [1, 2, 8]),
    ({"mode": "linear"}, 2.0, [1, 1.25, 1.75, 2.5, 3.5, 5, 7, 8]),
    ({"mode": "linear"}, 0.5, [1.5, 6]),
    ({"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, 2.0, [1, 1.5, 2, 3, 4, 6, 8, 8]),
    ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, 1.75, [1, 1.5, 2, 3, 4, 6, 8]),
    ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, 0.25, [1]),
    ({"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}, 0.25, [1]),
    ({"mode": "linear", "antialias": 1}, 0.5, [1.75, 5.75]),
    ({"mode": "linear", "antialias": 1, "exclude_outside": 1}, 0.5, [13 / 7, 38 / 7]),
    ({"mode": "cubic", "coordinate_transformation_mode": "asymmetric"}, 2.0, None),
    ({"mode": "cubic", "coordinate_transformation_mode": "asymmetric", "cubic_coeff_a": -0.5}, 2.0, None),
]  # fmt: skip


def expected_cubic(a):
    """Half-way between elements: weights a/8 outside and (4 - a)/8 inside."""
    edge = np.array([1, 1, 2, 4, 8, 8, 8], float)
    half = [a / 8 * (edge[i] + edge[i + 3]) + (4 - a) / 8 * (edge[i + 1] + edge[i + 2]) for i in range(4)]
    return [v for pair in zip(edge[1:5], half, strict=True) for v in pair]


@pytest.mark.parametrize(("words", "scale", "expected"), RESIZES)
def test_an_axis_is_resized(words, scale, expected) -> None:
    if expected is None:
        expected = expected_cubic(words.get("cubic_coeff_a", -0.75))
    (found,) = values(node("Resize", ["x", "", "s"], **words), {"x": LINE}, 19, {"s": np.array([scale], F)})
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("policy", "shape"), [("stretch", (4, 4)), ("not_larger", (2, 4)), ("not_smaller", (4, 8))])
def test_sizes_and_proportions(policy, shape) -> None:
    made = node("Resize", ["x", "", "", "s"], keep_aspect_ratio_policy=policy)
    x = np.arange(8, dtype=F).reshape(2, 4)
    (found,) = values(made, {"x": x}, 19, {"s": np.array([4, 4])})
    np.testing.assert_array_equal(found, x.repeat(shape[0] // 2, 0).repeat(shape[1] // 4, 1))


def test_what_lies_outside_a_crop_has_a_value_of_its_own() -> None:
    for mode in ("nearest", "linear"):
        words = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0, "mode": mode}
        crop = {"r": np.array([0, 2], F), "s": np.array([1.75], F)}
        (found,) = values(node("Resize", ["x", "r", "s"], **words), {"x": LINE}, 19, crop)
        np.testing.assert_array_equal(found, [1, 2, 4, 8, 7, 7, 7])


@pytest.mark.parametrize(
    ("words", "expected"),
    [({}, [0, 0, 0, 1, 1, 1]), ({"threshold": 1.0}, [0, 0, 0, 0, 0, 1])],
)  # fmt: skip
def test_a_threshold(words, expected) -> None:
    (found,) = values(node("Binarizer", "x", domain="ai.onnx.ml", **words), {"x": X})
    np.testing.assert_array_equal(found.ravel(), expected)


@pytest.mark.parametrize(("x", "expected"), [(X, [[0, -2], [3, 0.25]]), (X[0], [[0, -2]])])
def test_features_by_number(x, expected) -> None:
    made = node("ArrayFeatureExtractor", "xp", domain="ai.onnx.ml")
    np.testing.assert_array_equal(values(made, {"x": x, "p": np.array([2, 0])})[0], expected)


Q = np.array([[-128, 0, 127], [3, -5, 64]], np.int8)


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_quantised_along_an_axis(axis) -> None:
    extent = 2 if axis == 0 else 3
    scale, zero = np.array([0.5, 0.25, 2], F)[:extent], np.array([3, -2, 0], np.int8)[:extent]
    along = (lambda v: v[:, None]) if axis == 0 else (lambda v: v)
    words = {} if axis is None else {"axis": axis}
    want = (Q.astype(int) - along(zero.astype(int))) * along(scale)
    (found,) = values(node("DequantizeLinear", "qsz", **words), {"q": Q}, 13, {"s": scale, "z": zero})
    np.testing.assert_array_equal(found, want)
    (again,) = values(node("QuantizeLinear", "xsz", **words), {"x": want.astype(F)}, 13, {"s": scale, "z": zero})
    np.testing.assert_array_equal(again, Q)


def test_quantised_in_blocks() -> None:
    x, scale = np.arange(10, dtype=np.int8).reshape(2, 5), np.array([[1, 10, 100], [2, 4, 8]], F)
    (found,) = values(node("DequantizeLinear", "qs", axis=1, block_size=2), {"q": x}, 21, {"s": scale})
    np.testing.assert_array_equal(found, x * scale.repeat(2, axis=1)[:, :5])


def test_quantised_values_saturate_and_ties_go_to_even() -> None:
    x = np.array([-1000, -0.5, 0.5, 1.5, 2.5, 1000], F)
    (found,) = values(node("QuantizeLinear", "xs"), {"x": x}, 18, {"s": F(1)})
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [0, 0, 0, 2, 2, 255])
    (found,) = values(node("QuantizeLinear", "xsz"), {"x": x}, 18, {"s": F(1), "z": np.int8(1)})
    np.testing.assert_array_equal(found, [-128, 1, 1, 3, 3, 127])


def test_a_quantised_product_by_columns() -> None:
    """(a - 1) (b - zero) = [[-1, 6], [3, 4]]; times scales 0.5 * [2, 4] / 0.5, plus 10."""
    weights = {"s": F(0.5), "z": np.uint8(1), "b": np.array([[1, 2], [3, 5]], np.uint8), "t": np.array([2, 4], F),
               "v": np.array([1, 2], np.uint8), "u": F(0.5), "w": np.uint8(10)}  # fmt: skip
    a = np.array([[2, 3], [1, 2]], np.uint8)
    (found,) = values(node("QLinearMatMul", "aszbtvuw"), {"a": a}, 18, weights)
    left, right = a.astype(int) - 1, weights["b"].astype(int) - [1, 2]
    np.testing.assert_array_equal(found, (left @ right) * [2, 4] + 10)


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("ReduceSum", {}, [[1.75]]), ("ReduceMean", {"keepdims": 0}, 1.75 / 6), ("ReduceMax", {}, [[3]]),
        ("ReduceMin", {}, [[-2]]), ("ReduceL1", {}, [[6.75]]), ("ReduceSumSquare", {}, [[14.3125]]),
        ("ReduceL2", {}, [[math.sqrt(14.3125)]]), ("ReduceLogSumExp", {"keepdims": 0}, math.log(np.exp(X).sum())),
        ("ReduceProd", {}, [[0]]), ("ReduceSum", {"noop_with_empty_axes": 1}, X),
        ("ReduceMean", {"noop_with_empty_axes": 1}, X),
    ],
)  # fmt: skip
def test_reductions_over_everything(kind, words, expected) -> None:
    np.testing.assert_allclose(values(node(kind, "x", **words), {"x": X})[0], expected, rtol=1e-6)


@pytest.mark.parametrize("words", [{}, {"axis": 1}, {"keepdims": 0}, {"axis": -1, "select_last_index": 1}])
@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
def test_where_the_extremes_are(kind, words) -> None:
    x = np.array([[1, 5, 5, 1], [1, 2, 9, 9]], F)
    axis, keep = words.get("axis", 0), bool(words.get("keepdims", 1))
    find = np.argmax if kind == "ArgMax" else np.argmin
    want = x.shape[axis] - 1 - find(np.flip(x, axis), axis) if "select_last_index" in words else find(x, axis)
    (found,) = values(node(kind, "x", **words), {"x": x})
    np.testing.assert_array_equal(found, np.expand_dims(want, axis) if keep else want)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "Hardmax"])
def test_shares_by_default(kind, opset) -> None:
    """Before opset 13 over everything behind the first axis, from then on over the last one."""
    x = np.array([[[1, 3], [2, 0]], [[0, 1], [5, 2]]], F)
    rows = x.reshape(2, 4) if opset < 13 else x.reshape(4, 2)
    shares = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    hard = (rows == rows.max(1, keepdims=True)).astype(F)
    want = {"Softmax": shares, "LogSoftmax": np.log(shares), "Hardmax": hard}[kind].reshape(x.shape)
    if kind == "Hardmax" and opset < 13:
        return
    np.testing.assert_allclose(values(node(kind, "x"), {"x": x}, opset)[0], want, rtol=1e-5)


def test_defaults_of_corrected_operators() -> None:
    x = np.arange(6, dtype=F).reshape(1, 2, 3)
    np.testing.assert_allclose(evaluated(node("LRN", "x", size=1), {"x": x}), x / (1 + 1e-4 * x**2) ** 0.75, rtol=1e-6)
    want = np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True))
    np.testing.assert_allclose(evaluated(node("LogSoftmax", "x"), {"x": x}), want, rtol=1e-5)
    np.testing.assert_allclose(evaluated(node("LpPool", "x", kernel_shape=[2]), {"x": x}),
                               np.sqrt(x[..., :2] ** 2 + x[..., 1:] ** 2), rtol=1e-6)  # fmt: skip
    ones = {"s": np.ones(2, F), "b": np.zeros(2, F), "m": np.zeros(2, F), "v": np.full(2, 1e-5, F)}
    found = evaluated(node("BatchNormalization", "xsbmv"), {"x": x}, 9, ones)
    np.testing.assert_allclose(found, x / math.sqrt(2e-5), rtol=1e-5)


def test_scales_of_the_second_axis_by_default() -> None:
    q, weights = np.array([[[1, 2], [3, 4]]], np.int8), {"s": np.array([2, 10], F), "z": np.array([1, 0], np.int8)}
    for words, want in (({}, [[[0, 2], [30, 40]]]), ({"axis": 2}, [[[0, 20], [4, 40]]])):
        np.testing.assert_array_equal(evaluated(node("DequantizeLinear", "qsz", **words), {"q": q}, 13, weights), want)


def test_windows_of_two_axes_with_dilation_padding_and_a_last_one_that_ends_outside() -> None:
    x = np.arange(20, dtype=F).reshape(1, 1, 4, 5)
    words = {"kernel_shape": [2, 3], "strides": [1, 2], "dilations": [2, 1], "pads": [1, 0, 0, 1]}
    padded = np.pad(x[0, 0], [(1, 0), (0, 1)], constant_values=-np.inf)
    want = [[max(padded[r + 2 * i, 2 * c + j] for i in range(2) for j in range(3) if 2 * c + j < 6) for c in range(2)]
            for r in range(3)]  # fmt: skip
    for kind in (evaluated, lambda *a: values(*a)[0]):
        np.testing.assert_array_equal(kind(node("MaxPool", "x", **words), {"x": x}, 22), [[want]])


def test_transposed_convolutions_of_two_axes_with_a_bias() -> None:
    x, w = np.array([[[[1, 2], [3, 4]]]], F), np.array([[[[1, 10]], [[2, 0]]]], F)
    weights = {"w": w, "b": np.array([0.5, -1], F)}
    first = [[1.5, 12.5, 20.5], [3.5, 34.5, 40.5]]
    second = [[1, 3, -1], [5, 7, -1]]
    for kind in (evaluated, lambda *a: values(*a)[0]):
        np.testing.assert_allclose(kind(node("ConvTranspose", "xwb"), {"x": x}, 18, weights), [[first, second]])


@pytest.mark.parametrize("words", [{}, {"axis": 1}, {"epsilon": 0.25}])
def test_norms_of_the_last_axes(words) -> None:
    x = np.sin(np.arange(12, dtype=F)).reshape(2, 2, 3) + 1
    axes = tuple(range(words.get("axis", 2), 3))
    scale, bias = np.arange(1, 4, dtype=F), np.array([0, -1, 2], F)
    middle, spread = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    inverse = 1 / np.sqrt(spread + words.get("epsilon", 1e-5))
    y, m, i = values(node("LayerNormalization", "xsb", "ymi", **words), {"x": x}, 18, {"s": scale, "b": bias})
    np.testing.assert_allclose(y, (x - middle) * inverse * scale + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(m, middle, rtol=1e-5)
    np.testing.assert_allclose(i, inverse, rtol=1e-5)
    root = np.sqrt((x**2).mean(axes, keepdims=True) + words.get("epsilon", 1e-5))
    (y,) = values(node("RMSNormalization", "xs", **words), {"x": x}, 23, {"s": scale})
    np.testing.assert_allclose(y, x / root * scale, rtol=1e-5)


@pytest.mark.parametrize(("upper", "offset"), [(1, None), (0, None), (1, 1), (0, -1), (1, -2)])
@pytest.mark.parametrize("kind", [F, bool])
def test_triangles(upper, offset, kind) -> None:
    x = np.ones((3, 4), kind)
    weights = {} if offset is None else {"k": np.array(offset)}
    words = {} if upper else {"upper": 0}
    (found,) = values(node("Trilu", ["x", *weights], **words), {"x": x}, 18, weights)
    np.testing.assert_array_equal(found, (np.triu if upper else np.tril)(x, offset or 0))


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("steps", [3, 40])
def test_recurrences_of_identity(layout, direction, steps) -> None:
    """h = relu(x + h): running sums, from either end, for short and for long sequences."""
    ways = 2 if direction == "bidirectional" else 1
    x = (np.arange(steps * 2, dtype=F) % 5).reshape(steps, 2, 1)
    ones = np.ones((ways, 1, 1), F)
    made = node("RNN", "xwr", "yh", hidden_size=1, direction=direction, layout=layout, activations=["Relu"] * ways)
    y, h = values(made, {"x": x.swapaxes(0, 1).copy() if layout else x}, 14, {"w": ones, "r": ones})
    sums = {"forward": [x.cumsum(0)], "reverse": [x[::-1].cumsum(0)[::-1]]}
    want = np.stack(sums.get(direction, sums["forward"] + sums["reverse"]), axis=1)
    np.testing.assert_array_equal(y, want.transpose(2, 0, 1, 3) if layout else want)
    last = np.broadcast_to(x.sum(0), (ways, 2, 1))
    np.testing.assert_array_equal(h, last.swapaxes(0, 1) if layout else last)
