"""Where ONNX's evaluator errs, the corrected operators give what the operators' pages say: small cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from mapper.frontends.onnx import load_model
from mapper.frontends.onnx.evaluator import evaluate_model
from mapper.frontends.onnx.reference import random_feeds

from .making import assert_equals_reference, model, node


def evaluated(nodes, inputs, opset=18, **weights):
    shapes = {name: array.shape for name, array in inputs.items()}
    found, by = evaluate_model(model(nodes, shapes, ["y"], weights, opset), inputs)
    assert by == "the ONNX reference"
    return found["y"]


@pytest.mark.parametrize("opset", [11, 13])
def test_logarithms_of_small_shares_do_not_underflow(opset) -> None:
    found = evaluated([node("LogSoftmax", ["x"], axis=1)], {"x": np.array([[0, -101, -500]], np.float32)}, opset)
    np.testing.assert_array_equal(found, [[0, -101, -500]])


def test_a_share_of_the_absolute_values() -> None:
    found = evaluated([node("LpNormalization", ["x"], p=1, axis=0)], {"x": np.array([[1, 0], [-3, 0]], np.float32)})
    np.testing.assert_array_equal(found, [[0.25, 0], [-0.75, 0]])
    found = evaluated([node("LpNormalization", ["x"])], {"x": np.array([[3, -4], [0, 2]], np.float32)})
    np.testing.assert_allclose(found, [[0.6, -0.8], [0, 1]], rtol=1e-7)


@pytest.mark.parametrize(("words", "rows"), [({}, [6]), ({"axis": 0}, [12]), ({"axis": -1}, [2]), ({"axis": 2}, [2])])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_shares_of_rows_behind_an_axis(kind, words, rows) -> None:
    """Before opset 13: one softmax over everything from the axis on."""
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2) / 3
    powers = np.exp(x.reshape(-1, *rows).astype(np.float64))
    shares = (powers / powers.sum(axis=1, keepdims=True)).reshape(x.shape)
    found = evaluated([node(kind, ["x"], **words)], {"x": x}, 11)
    np.testing.assert_allclose(found, shares if kind == "Softmax" else np.log(shares), rtol=1e-5)


@pytest.mark.parametrize(("size", "reach"), [(1, (0, 1)), (3, (1, 2)), (4, (1, 3)), (2, (0, 2))])
def test_squares_of_neighbouring_channels(size, reach) -> None:
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 5, 1)
    sums = [sum(v * v for v in range(max(1, c - reach[0]), min(6, c + reach[1]))) for c in range(1, 6)]
    expected = [c / (1.5 + 0.5 / size * s) ** 0.5 for c, s in zip(range(1, 6), sums, strict=True)]
    found = evaluated([node("LRN", ["x"], size=size, alpha=0.5, beta=0.5, bias=1.5)], {"x": x})
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize("number", range(60))
def test_a_random_model_is_evaluated_as_onnxruntime_does(benchmark_named, number) -> None:
    runtime = pytest.importorskip("onnxruntime")
    (case,) = benchmark_named("fuzz").grown_cases(number, 1, 4)
    case.model.ir_version = 8
    graph = load_model(case.model, case.dims)
    feeds = {name: random_feeds(graph, 0)[name] for name in (v.name for v in case.model.graph.input)}
    options = runtime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL, 4
    session = runtime.InferenceSession(case.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = session.run([v.name for v in case.model.graph.output], feeds)
    found = evaluate_model(case.model, feeds)[0].values()
    for got, want in zip(found, wanted, strict=True):
        slack = 1e-3 * np.abs(want).max(initial=0) if want.dtype.kind == "f" else 1 if want.dtype.itemsize == 1 else 0
        np.testing.assert_allclose(got.astype(float), want.astype(float), rtol=1e-3, atol=slack)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 2, 5)])
def test_batch_normalisation_before_opset_14_is_inference(shape) -> None:
    x, draw = np.random.default_rng(2).normal(size=shape).astype(np.float32), np.random.default_rng(3)
    s, b, m, v = (draw.uniform(0.5, 2, 3).astype(np.float32) for _ in range(4))
    found = evaluated([node("BatchNormalization", "xsbmv", epsilon=0.25)], {"x": x}, 9, s=s, b=b, m=m, v=v)
    for c in range(3):
        np.testing.assert_allclose(found[:, c], s[c] * (x[:, c] - m[c]) / np.sqrt(v[c] + 0.25) + b[c], rtol=1e-5)


def test_a_maximum_tells_where_it_was() -> None:
    nodes = [node("MaxPool", ["x"], ["m", "i"], kernel_shape=[2]), node("Cast", ["i"], ["y"], to=1)]
    np.testing.assert_array_equal(evaluated(nodes, {"x": LINE[..., ::-1].copy()}), [[[0, 1, 2, 3]]])


LINE = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)


def test_a_loop_stacks_what_its_turns_deliver() -> None:
    infos = [helper.make_tensor_value_info(n, t, s) for n, t, s in (("i", 7, []), ("go", 9, []), ("s", 1, [1, 2]))]
    outs = [helper.make_tensor_value_info(n, t, s) for n, t, s in (("ok", 9, []), ("t", 1, [1, 2]), ("u", 1, [1, 2]))]
    nodes = [node("Identity", ["go"], ["ok"]), node("Add", ["s", "x"], ["t"]), node("Neg", ["t"], ["u"])]
    body = helper.make_graph(nodes, "body", infos, outs)
    loop = node("Loop", ["n", "yes", "x"], ["last", "y"], body=body)
    found = evaluated([loop], {"x": np.array([[1, 2]], np.float32)}, n=np.array(3), yes=np.array(True))
    np.testing.assert_array_equal(found, [[[-2, -4]], [[-3, -6]], [[-4, -8]]])


def test_a_scan_may_read_backwards_and_write_backwards() -> None:
    ins = [helper.make_tensor_value_info(n, 1, []) for n in ("s", "e")]
    outs = [helper.make_tensor_value_info(n, 1, []) for n in ("t", "o")]
    body = helper.make_graph([node("Add", ["s", "e"], ["t"]), node("Identity", ["t"], ["o"])], "body", ins, outs)
    scan = node("Scan", ["zero", "x"], ["last", "y"], body=body, num_scan_inputs=1, scan_input_directions=[1],
                scan_output_directions=[1])  # fmt: skip
    found = evaluated([scan], {"x": np.array([1, 10, 100], np.float32)}, zero=np.float32(0))
    np.testing.assert_array_equal(found, [111, 110, 100])


def test_a_global_maximum_keeps_every_axis() -> None:
    np.testing.assert_array_equal(evaluated([node("GlobalMaxPool", ["x"])], {"x": LINE}), [[[5]]])


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("MaxPool", {"auto_pad": "SAME_LOWER", "strides": [2]}, [1, 3, 5]),
        ("MaxPool", {"auto_pad": "SAME_UPPER", "strides": [2]}, [2, 4, 5]),
        ("MaxPool", {"pads": [0, 1]}, [2, 3, 4, 5, 5]),
        ("MaxPool", {"strides": [2], "ceil_mode": 1}, [2, 4, 5]),
        ("MaxPool", {"strides": [2], "dilations": [2]}, [3, 5]),
        ("MaxPool", {"auto_pad": "SAME_UPPER", "strides": [3]}, [2, 5]),
        ("MaxPool", {"auto_pad": "SAME_UPPER", "dilations": [2]}, [2, 3, 4, 5, 4]),
        ("AveragePool", {"pads": [1, 0], "count_include_pad": 1}, [0.5, 1.5, 2.5, 3.5, 4.5]),
        ("AveragePool", {"pads": [1, 0]}, [1, 1.5, 2.5, 3.5, 4.5]),
        ("AveragePool", {"strides": [2], "ceil_mode": 1, "count_include_pad": 1}, [1.5, 3.5, 5]),
        ("LpPool", {"pads": [0, 1], "p": 1}, [3, 5, 7, 9, 5]),
    ],
)
def test_windows(kind, words, expected) -> None:
    found = evaluated([node(kind, ["x"], kernel_shape=[2], **words)], {"x": LINE}, opset=22)
    np.testing.assert_allclose(found, [[expected]])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, [[1, 10, 0], [300, 3000, 0]]),
        ({"output_padding": [1]}, [[1, 10, 0, 0], [300, 3000, 0, 0]]),
        ({"pads": [1, 0]}, [[10, 0], [3000, 0]]),
        ({"auto_pad": "SAME_UPPER"}, [[1, 10, 0], [300, 3000, 0]]),
        ({"output_shape": [2]}, [[10, 0], [3000, 0]]),
        ({"output_shape": [2], "auto_pad": "SAME_UPPER"}, [[1, 10], [300, 3000]]),
        ({"dilations": [2]}, [[1, 0, 10, 0], [300, 0, 3000, 0]]),
    ],
)
def test_a_transposed_convolution_by_groups(words, expected) -> None:
    """Two groups of one channel; stride 3, so that filters [1, 10, 0] and [100, 1000, 0] stand apart."""
    up = node("ConvTranspose", ["x", "w"], strides=[3], group=2, **words)
    filters = np.array([[[1, 10, 0]], [[100, 1000, 0]]], np.float32)[..., : 2 if "dilations" in words else 3]
    found = evaluated([up], {"x": np.array([[[1], [3]]], np.float32)}, w=filters)
    wanted = np.array([expected])[..., : found.shape[-1]]
    np.testing.assert_array_equal(found, wanted)


def test_negative_padding_takes_elements_away() -> None:
    pads = np.array([0, 0, -1, 0, 0, 2])
    found = evaluated([node("Pad", ["x", "pads"])], {"x": LINE}, pads=pads)
    np.testing.assert_array_equal(found, [[[2, 3, 4, 5, 0, 0]]])


def test_a_widened_triangle_is_not_read_through_other_loops() -> None:
    """Found by random models: the triangle asked for the counters of the sum around it."""
    nodes = [node("DequantizeLinear", ["x", "s"], ["a"]), node("Trilu", ["a"], ["b"], upper=1),
             node("LRN", ["b"], ["y"], alpha=0.5, size=3)]  # fmt: skip
    assert_equals_reference(model(nodes, {"x": (3, (2, 3, 5, 4))}, ["y"], {"s": np.float32(0.1)}, 19))
