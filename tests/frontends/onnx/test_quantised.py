"""Quantised constants, and the evaluator's gaps."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from mapper.frontends.onnx import load_model
from mapper.frontends.onnx.reference import reference_outputs
from mapper.interpret import run

from .making import assert_equals_reference, model, node

QUANTISED = {"s": np.float32(0.25), "z": np.int8(3)}


@pytest.mark.parametrize("opset", [13, 17, 19, 21])
def test_a_quantised_number_is_known_and_a_quantised_table_stays_narrow(opset) -> None:
    nodes = [node("DequantizeLinear", ["c", "s", "z"], ["d"]), node("DequantizeLinear", ["t", "s", "z"], ["e"]),
             node("Mul", ["x", "d"], ["m"]), node("Add", ["m", "e"])]  # fmt: skip
    table = np.arange(6, dtype=np.int8).reshape(2, 3)
    proto = model(nodes, {"x": (2, 3)}, ["y"], {**QUANTISED, "c": np.int8(11), "t": table}, opset=opset)
    graph = load_model(proto)
    assert [op.op_type for op in graph.nests] == ["DequantizeLinear", "Mul", "Add"]
    assert graph.tensor("t").bytes == 6
    assert_equals_reference(proto)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-30, -2.0, 3.0])
def test_equal_numbers_are_quantised_as_the_reference_does(value) -> None:
    """Nothing but zeros has scale 1/255: the function body of the schema would divide by zero."""
    outs = [helper.make_tensor_value_info("y", TensorProto.UINT8, None),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("z", TensorProto.UINT8, None)]  # fmt: skip
    ins = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])]
    proto = helper.make_model(helper.make_graph([node("DynamicQuantizeLinear", "x", "ysz")], "g", ins, outs))
    feeds = {"x": np.full((2, 3), value, np.float32)}
    found, expected = run(load_model(proto), feeds), reference_outputs(proto, feeds)[0]
    for name in "ysz":
        np.testing.assert_array_equal(found[name], expected[name])
    assert value or found["s"] == np.float32(1) / np.float32(255)


@pytest.mark.parametrize("opset", [10, 13, 18])
def test_the_reference_of_an_older_dequantisation_is_onnx_itself(opset) -> None:
    proto = model([node("DequantizeLinear", "xsz")], {"x": (TensorProto.INT8, (3,))}, ["y"], QUANTISED, opset=opset)
    found, source = reference_outputs(proto, {"x": np.array([3, 4, -1], np.int8)})
    assert source == "the ONNX reference"
    np.testing.assert_array_equal(found["y"], np.array([0.0, 0.25, -1.0], np.float32))
