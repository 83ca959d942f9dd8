"""Small ONNX models for tests, and the comparison of our graph with ONNX's reference evaluator."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from mapper.frontends.onnx import load_model
from mapper.frontends.onnx.reference import random_feeds, reference_outputs
from mapper.interpret import run
from mapper.passes import optimise

FLOAT = TensorProto.FLOAT


def model(nodes, inputs, outputs, initializers=(), opset=18, functions=(), domains=()) -> ModelProto:
    """A model; `inputs` maps names to shapes or (type, shape), `outputs` lists names, `initializers` maps to arrays."""
    ins = [
        helper.make_tensor_value_info(n, *(s if s and isinstance(s[-1], tuple) else (FLOAT, s)))
        for n, s in dict(inputs).items()
    ]
    outs = [helper.make_tensor_value_info(n, FLOAT, None) for n in outputs]
    weights = [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(initializers).items()]
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(
        helper.make_graph(nodes, "g", ins, outs, weights), opset_imports=imports, functions=list(functions)
    )


def node(op_type, inputs, outputs=("y",), **attributes):
    return helper.make_node(op_type, list(inputs), list(outputs), **attributes)


def assert_equals_reference(proto: ModelProto, seed: int = 0) -> None:
    """Plain and optimised graphs give the reference's outputs on seeded random weights and inputs."""
    graph = load_model(proto)
    feeds = random_feeds(graph, seed)
    expected = reference_outputs(proto, feeds)[0]
    for candidate in (graph, optimise(graph)):
        values = run(candidate, feeds)
        for name, want in expected.items():
            assert values[name].shape == want.shape and values[name].dtype == want.dtype
            if want.dtype.kind == "f":
                slack = 1e-4 * np.abs(want) + 1e-5 * np.abs(want).max()
                assert (np.abs(values[name].astype(np.float64) - want) <= slack).all(), name
            else:
                np.testing.assert_array_equal(values[name], want)
