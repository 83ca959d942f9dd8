"""One operator at a time against ONNX's reference, on the forms that the node cases of onnx do not have."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from mapper.frontends.onnx import ModelError, load_model
from mapper.ir import Op, View

from .making import assert_equals_reference, model, node

RNG = np.random.default_rng(3)
INT64 = TensorProto.INT64


def weights(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


CONVOLUTIONS = {
    "grouped": ((1, 6, 7, 8), (4, 3, 3, 3), {"group": 2}),
    "depthwise": ((2, 5, 9, 9), (5, 1, 3, 3), {"group": 5, "pads": [1, 1, 1, 1]}),
    "strided": ((1, 3, 11, 12), (4, 3, 3, 2), {"strides": [2, 3], "pads": [1, 0, 2, 1]}),
    "dilated": ((1, 2, 12, 12), (3, 2, 3, 3), {"dilations": [2, 3]}),
    "one spatial axis": ((2, 3, 16), (4, 3, 5), {"pads": [4, 0]}),
    "three spatial axes": ((1, 2, 5, 6, 4), (3, 2, 2, 3, 2), {}),
    "same upper": ((1, 2, 7, 7), (3, 2, 4, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
}


@pytest.mark.parametrize(("x", "w", "attributes"), CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def test_convolution(x, w, attributes) -> None:
    proto = model([node("Conv", "xwb", **attributes)], {"x": x}, ["y"], {"w": weights(*w), "b": weights(w[0])})
    assert_equals_reference(proto)


def test_a_convolution_is_one_nest_with_a_loop_per_group_and_macs_by_its_shape() -> None:
    proto = model(
        [node("Conv", "xw", group=2, pads=[1, 1, 1, 1])], {"x": (1, 6, 7, 8)}, ["y"], {"w": weights(4, 3, 3, 3)}
    )
    graph = load_model(proto)
    (op,) = graph.ops
    assert isinstance(op, Op)
    assert [loop.name for loop in op.loops] == ["b", "g", "k", "oy", "ox", "c", "fy", "fx"]
    assert graph.macs == op.macs == op.points == 1 * 4 * 7 * 8 * 3 * 3 * 3
    assert graph.params == 4 * 3 * 3 * 3


@pytest.mark.parametrize("attributes", [{}, {"transA": 1}, {"transB": 1, "alpha": 0.5, "beta": 2.0}])
def test_gemm(attributes) -> None:
    a = (4, 3) if attributes.get("transA") else (3, 4)
    b = (5, 4) if attributes.get("transB") else (4, 5)
    assert_equals_reference(
        model([node("Gemm", "abc", **attributes)], {"a": a}, ["y"], {"b": weights(*b), "c": weights(5)})
    )


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3, 4), (4, 5)), ((4,), (2, 4, 3)), ((2, 1, 3, 4), (5, 4, 2)), ((3, 4), (4,))]
)
def test_matmul_broadcasts_batches(a, b) -> None:
    assert_equals_reference(model([node("MatMul", "ab")], {"a": a, "b": b}, ["y"]))


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("include", [0, 1])
def test_average_pool_counts_what_lies_inside(ceil_mode, include) -> None:
    attributes = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1], "count_include_pad": include}
    assert_equals_reference(
        model([node("AveragePool", "x", ceil_mode=ceil_mode, **attributes)], {"x": (1, 2, 7, 8)}, ["y"])
    )


def test_softmax_before_opset_13_normalises_rows_of_a_matrix() -> None:
    proto = model([node("Softmax", "x")], {"x": (2, 3, 4)}, ["y"], opset=9)
    assert_equals_reference(proto)
    (highest, *_) = load_model(proto).nests
    assert highest.output_loops == {"b"}  # maxima over both other axes


@pytest.mark.parametrize(("before", "after"), [((2, 3, 4), (4, 6)), ((2, 3, 4), (2, -1)), ((1, 5), (5,))])
def test_reshape_is_a_view(before, after) -> None:
    proto = model([node("Reshape", "xs")], {"x": before}, ["y"], {"s": np.array(after, np.int64)})
    assert_equals_reference(proto)
    assert [type(op) for op in load_model(proto).ops] == [View]


def test_concat_and_slices_move_data_only() -> None:
    nodes = [
        node("Slice", ["x", "starts", "ends", "axes", "steps"], ["part"]),
        node("Concat", ["part", "x", "part"], ["y"], axis=1),
    ]
    ints = {n: np.array(v, np.int64) for n, v in {"starts": [-1], "ends": [-100], "axes": [1], "steps": [-2]}.items()}
    proto = model(nodes, {"x": (2, 5, 3)}, ["y"], ints)
    assert_equals_reference(proto)
    assert all(op.is_movement for op in load_model(proto).nests)


def test_shape_arithmetic_leaves_nothing_behind() -> None:
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "first"], ["rows"], axis=0),
        node("Mul", ["rows", "first_plus"], ["twice"]),
        node("Concat", ["twice", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["y"]),
    ]
    ints = {n: np.array(v, np.int64) for n, v in {"first": [0], "first_plus": [2], "rest": [-1]}.items()}
    proto = model(nodes, {"x": (4, 6)}, ["y"], ints)
    assert_equals_reference(proto)
    graph = load_model(proto)
    assert [type(op) for op in graph.ops] == [View]
    assert [n.fate for n in graph.nodes] == ["folded", "folded", "folded", "folded", "view"]


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_padding_from_inside(mode) -> None:
    pads = np.array([0, 2, 1, 0, 1, 3], np.int64)
    proto = model([node("Pad", ["x", "p"], mode=mode)], {"x": (2, 4, 5)}, ["y"], {"p": pads}, opset=19)
    assert_equals_reference(proto)


def test_einsum_contracts_pair_by_pair() -> None:
    proto = model([node("Einsum", "abc", equation="ij,jk,kl->il")], {"a": (2, 3), "b": (3, 4), "c": (4, 5)}, ["y"])
    assert_equals_reference(proto)
    assert load_model(proto).macs == 2 * 3 * 4 + 2 * 4 * 5


@pytest.mark.parametrize(("op_type", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_cells(op_type, gates, direction) -> None:
    steps, batch, inputs, hidden, ways = 3, 2, 4, 5, 2 if direction == "bidirectional" else 1
    tensors = {
        "w": weights(ways, gates * hidden, inputs), "r": weights(ways, gates * hidden, hidden),
        "b": weights(ways, 2 * gates * hidden),
    }  # fmt: skip
    proto = model(
        [node(op_type, ["x", "w", "r", "b"], ["y", "h"], hidden_size=hidden, direction=direction)],
        {"x": (steps, batch, inputs)}, ["y", "h"], tensors,
    )  # fmt: skip
    graph = load_model(proto)
    assert graph.macs == ways * steps * batch * gates * hidden * (inputs + hidden)
    if direction == "forward":  # the reference evaluator knows no other direction
        assert_equals_reference(proto)


def test_quantised_convolution_pads_with_its_zero_point() -> None:
    tensors = {
        "xs": np.float32(0.02), "xz": np.uint8(120), "w": RNG.integers(0, 255, (3, 2, 3, 3)).astype(np.uint8),
        "ws": np.array([0.01, 0.02, 0.015], np.float32), "wz": np.array([100, 128, 90], np.uint8),
        "ys": np.float32(0.3), "yz": np.uint8(110), "b": RNG.integers(-500, 500, 3).astype(np.int32),
    }  # fmt: skip
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    proto = model(
        [node("QLinearConv", names, pads=[1, 1, 1, 1])], {"x": (TensorProto.UINT8, (1, 2, 5, 5))}, ["y"], tensors
    )
    graph = load_model(proto)
    assert graph.macs == 3 * 5 * 5 * 2 * 9
    assert {graph.tensor(n).bytes for n in ("w",)} == {54}
    assert_equals_reference(proto)


REFUSALS = {
    "an operator that nobody knows": (node("Frobnicate", "x"), r"operator ai\.onnx\.Frobnicate .* is not known"),
    "a shape that only run time knows": (
        node("Reshape", ["x", "x2"]),
        r"Reshape takes its shape from 'x2', which is known at run time only \(Reshape_0\)"),
    "matrices that do not multiply": (node("MatMul", "xx"), r"matrices \[2, 3\] and \[2, 3\] do not multiply"),
    "an axis too far": (node("Softmax", "x", axis=2), r"axis 2 of a tensor of rank 2"),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals_name_the_culprit(bad, words) -> None:
    with pytest.raises(ModelError, match=words):
        load_model(model([bad], {"x": (2, 3), "x2": (INT64, (2,))}, ["y"]))
