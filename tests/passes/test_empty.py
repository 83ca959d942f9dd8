"""Work without iterations: made beforehand, or a fill; on every target the values are the reference's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mapper.frontends.onnx import load_model
from mapper.ir import Op
from mapper.passes import optimise


def model(nodes, inputs, outputs, **weights) -> onnx.ModelProto:
    infos = [[helper.make_tensor_value_info(n, 1, s) for n, s in part.items()] for part in (inputs, outputs)]
    held = [numpy_helper.from_array(a, n) for n, a in weights.items()]
    graph = helper.make_graph([helper.make_node(*words, **more) for *words, more in nodes], "g", *infos, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


CASES = {
    "elementwise": model([("Relu", ["a"], ["y"], {})], {"a": [3, 0]}, {"y": [3, 0]}),
    "a cache without a past": model(
        [("Relu", ["a"], ["r"], {}), ("Concat", ["r", "b"], ["y"], {"axis": 1})],
        {"a": [3, 0], "b": [3, 4]}, {"y": [3, 4], "r": [3, 0]},
    ),
    "an empty slice": model(
        [("Slice", ["a", "i", "i", "one"], ["r"], {}), ("Tanh", ["r"], ["y"], {})],
        {"a": [3, 5]}, {"y": [3, 0]}, i=np.array([2]), one=np.array([1]),
    ),
    "a product over nothing": model(
        [("Gemm", ["a", "b", "c"], ["p"], {}), ("Sigmoid", ["p"], ["y"], {})],
        {"a": [3, 0], "b": [0, 4], "c": [4]}, {"y": [3, 4]},
    ),
    "nothing over nothing": model([("MatMul", ["a", "b"], ["y"], {})], {"a": [3, 0], "b": [0, 0]}, {"y": [3, 0]}),
    "a sum over nothing": model(
        [("ReduceSum", ["a", "one"], ["y"], {"keepdims": 0})], {"a": [3, 0]}, {"y": [3]}, one=np.array([1]),
    ),
    "a scalar over nothing": model([("ReduceSum", ["a"], ["y"], {"keepdims": 0})], {"a": [0, 3]}, {"y": []}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("target", ["cgla", "cgra", "wafer"])
def test_values_on_every_target(benchmark_named, name, target) -> None:
    assert benchmark_named("fuzz").fault(target, CASES[name], {}) == ""


def test_nothing_without_iterations_is_left_to_a_target() -> None:
    for proto in CASES.values():
        graph = optimise(load_model(proto))
        assert all(op.points for op in graph.ops if isinstance(op, Op))
        assert graph.outputs == optimise(graph).outputs


def test_a_product_over_nothing_reads_its_bias_alone() -> None:
    graph = optimise(load_model(CASES["a product over nothing"]))
    assert [op.inputs for op in graph.ops if isinstance(op, Op)] == [("c",)]
