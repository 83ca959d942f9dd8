"""Quantised constants, and the evaluator's gaps."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from mapper.frontends.onnx import load_model
from mapper.frontends.onnx.reference import reference_outputs

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


@pytest.mark.parametrize("opset", [10, 13, 18])
def test_the_reference_of_an_older_dequantisation_is_onnx_itself(opset) -> None:
    proto = model([node("DequantizeLinear", "xsz")], {"x": (TensorProto.INT8, (3,))}, ["y"], QUANTISED, opset=opset)
    found, source = reference_outputs(proto, {"x": np.array([3, 4, -1], np.int8)})
    assert source == "the ONNX reference"
    np.testing.assert_array_equal(found["y"], np.array([0.0, 0.25, -1.0], np.float32))
