"""Operators with impossible arguments are refused, and the message says which; the nearest possible ones are taken."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from mapper.frontends.onnx import ModelError, load_model
from mapper.frontends.onnx.reference import random_feeds
from mapper.interpret import run

from .making import model, node

INT64, INT8, INT32 = TensorProto.INT64, TensorProto.INT8, TensorProto.INT32
F = np.float32


def ints(*values):
    return np.array(values, np.int64)


def zeros(*shape):
    return np.zeros(shape, F)


def resized(mode="nearest", scales=(1, 2.0), **words):
    return node("Resize", ["x", "", "s"], mode=mode, **words), {"x": (2, 3)}, {"s": np.array(scales, F)}


def rnn(kind, w, r, x=(2, 1, 3), **words):
    return node(kind, "xwr", hidden_size=2, **words), {"x": x}, {"w": zeros(*w), "r": zeros(*r)}


CASES = {
    "a reshape that copies too far": (
        node("Reshape", "xs"), {"x": (2, 3)}, {"s": ints(2, 3, 0)}, "Reshape copies a dimension that [2, 3] lacks"),
    "two unknown extents": (node("Reshape", "xs"), {"x": (2, 3)}, {"s": ints(-1, -1)}, "to [-1, -1] is not a shape"),
    "an extent below -1": (node("Reshape", "xs"), {"x": (2, 3)}, {"s": ints(-2, 3)}, "to [-2, 3] is not a shape"),
    "an unknown extent that is no integer": (
        node("Reshape", "xs"), {"x": (2, 3)}, {"s": ints(4, -1)}, "[2, 3] cannot be seen as [4, -1]"),
    "an unknown extent beside nothing": (
        node("Reshape", "xs", allowzero=1), {"x": (2, 3)}, {"s": ints(0, -1)}, "[2, 3] cannot be seen as [0, -1]"),
    "another number of elements": (node("Reshape", "xs"), {"x": (2, 3)}, {"s": ints(4, 2)}, "[4, 2]"),
    "a flattening behind the last axis": (node("Flatten", "x", axis=3), {"x": (2, 3)}, {},
        "axis 3 of a tensor of rank 2"),
    "a flattening before the first axis": (
        node("Flatten", "x", axis=-3), {"x": (2, 3)}, {}, "axis -3 of a tensor of rank 2"),
    "a squeeze of two": (node("Squeeze", "xa"), {"x": (1, 2)}, {"a": ints(1)}, "Squeeze of [1, 2] along [1]"),
    "a permutation that repeats": (
        node("Transpose", "x", perm=[0, 0]), {"x": (2, 3)}, {}, "Transpose by [0, 0] of a tensor of rank 2"),
    "a step of none": (
        node("Slice", ["x", "s", "e", "a", "t"]), {"x": (4,)},
        {"s": ints(0), "e": ints(2), "a": ints(0), "t": ints(0)}, "Slice by steps of 0"),
    "starts without ends": (
        node("Slice", "xse"), {"x": (4, 4)}, {"s": ints(0, 1), "e": ints(2)}, "Slice's starts, ends, axes and steps"),
    "parts that do not add up": (
        node("Split", "xs", "yz"), {"x": (5,)}, {"s": ints(2, 2)}, "Split of 5 elements into [2, 2]"),
    "a part below none": (node("Split", "xs", "yz"), {"x": (5,)}, {"s": ints(6, -1)}, "5 elements into [6, -1]"),
    "a concatenation of unlike shapes": (
        node("Concat", "xz", axis=0), {"x": (2, 3), "z": (2, 4)}, {}, "Concat of [2, 3], [2, 4] along axis 0"),
    "a concatenation of unlike ranks": (
        node("Concat", "xz", axis=0), {"x": (2,), "z": (2, 4)}, {}, "Concat of [2], [2, 4] along axis 0"),
    "an expansion of two to three": (
        node("Expand", "xs"), {"x": (2, 1)}, {"s": ints(3, 4)}, "[2, 1] does not expand to [3, 4]"),
    "a tile of another rank": (node("Tile", "xs"), {"x": (2, 3)}, {"s": ints(2)}, "Tile of rank 2 by 1 repeats"),
    "pads of another rank": (node("Pad", "xp"), {"x": (2, 3)}, {"p": ints(0, 1)}, "Pad has impossible pads"),
    "a reflection of the whole": (
        node("Pad", "xp", mode="reflect"), {"x": (3,)}, {"p": ints(1, 3)},
            "Pad by 3 reflects more than the 3 elements"),
    "an edge of nothing": (
        node("Pad", "xp", mode="edge"), {"x": (0,)}, {"p": ints(1, 0)}, "Pad by 1 reflects more than the 0 elements"),
    "depth that is no block": (
        node("DepthToSpace", "x", blocksize=2), {"x": (1, 6, 2, 2)}, {}, "DepthToSpace of [1, 6, 2, 2] by blocks of 2"),
    "space that is no block": (
        node("SpaceToDepth", "x", blocksize=2), {"x": (1, 1, 3, 2)}, {}, "SpaceToDepth of [1, 1, 3, 2] by blocks of 2"),
    "columns that are no block": (
        node("SpaceToDepth", "x", blocksize=2), {"x": (1, 1, 2, 3)}, {}, "SpaceToDepth of [1, 1, 2, 3] by blocks of 2"),
    "an unknown coordinate mode": (
        *resized(coordinate_transformation_mode="middle"), "coordinate_transformation_mode 'middle' is unknown"),
    "an unknown rounding": (*resized(nearest_mode="odd"), "nearest_mode 'odd' is unknown"),
    "an unknown interpolation": (*resized("spline"), "mode 'spline' of Resize is unknown"),
    "too few scales": (*resized(scales=[2.0]), "Resize has 1 scales or sizes for 2 axes"),
    "a scale of none": (*resized(scales=[1, 0.0]), "Resize has 2 scales or sizes for 2 axes"),
    "batches that do not broadcast": (
        node("MatMul", "xz"), {"x": (2, 3, 4), "z": (3, 4, 5)}, {},
            "batches of [2, 3, 4] and [3, 4, 5] do not broadcast"),
    "a product with a number": (node("MatMul", "xz"), {"x": (3,), "z": ()}, {}, "do not multiply"),
    "a product of three axes": (
        node("Gemm", "xz"), {"x": (2, 3, 4), "z": (4, 5)}, {}, "Gemm of ranks 3 and 2, both must be 2"),
    "a bias of another width": (
        node("Gemm", "xzc"), {"x": (2, 3), "z": (3, 5), "c": (4,)}, {}, "the bias [4] does not broadcast to [2, 5]"),
    "shapes that do not broadcast": (
        node("Add", "xz"), {"x": (2, 3), "z": (2, 2)}, {}, "shapes [2, 3] and [2, 2] do not broadcast"),
    "a softmax of a number": (node("Softmax", "x"), {"x": ()}, {}, "Softmax of a scalar"),
    "updates of another shape": (
        node("ScatterND", "xiu"), {"x": (4, 3), "u": (2, 2)}, {"i": ints(0, 1).reshape(2, 1)},
        "ScatterND of [2, 2] into [4, 3] by indices [2, 1]"),
    "updates unlike their indices": (
        node("ScatterElements", "xiu"), {"x": (4, 3), "u": (1, 2)}, {"i": ints(0).reshape(1, 1)},
        "ScatterElements into [4, 3] by indices [1, 1]"),
    "indices wider than the data": (
        node("ScatterElements", "xiu"), {"x": (4, 3), "u": (1, 4)}, {"i": ints(0, 0, 0, 0).reshape(1, 4)},
        "ScatterElements into [4, 3] by indices [1, 4]"),
    "an unknown reduction": (
        node("ScatterElements", "xiu", reduction="xor"), {"x": (4,), "u": (1,)}, {"i": ints(0)},
        "ScatterElements by reduction 'xor'"),
    "a pick behind the end": (node("Gather", "xi"), {"x": (3,)}, {"i": ints(0, 3)}, "Gather reads element 3 of 3"),
    "a pick before the start": (node("Gather", "xi"), {"x": (3,)}, {"i": ints(0, -4)}, "Gather reads element -4 of 3"),
    "picks wider than the table": (
        node("GatherElements", "xi"), {"x": (2, 3)}, {"i": ints(0, 0, 0, 0).reshape(1, 4)},
        "GatherElements of [2, 3] by indices [1, 4]"),
    "picks of another rank": (node("GatherElements", "xi"), {"x": (2, 3)}, {"i": ints(0)}, "GatherElements of [2, 3]"),
    "picks of more axes than there are": (
        node("GatherND", "xi"), {"x": (2, 3)}, {"i": ints(0, 0, 0).reshape(1, 3)},
            "GatherND of [2, 3] by indices [1, 3]"),
    "batches unlike": (
        node("GatherND", "xi", batch_dims=1), {"x": (2, 3)}, {"i": ints(0).reshape(1, 1)}, "with 1 batch axes"),
    "recurrence without a batch": (*rnn("LSTM", (1, 8, 3), (1, 8, 2), x=(2, 3)), "LSTM of ranks 2, 3 and 3"),
    "recurrence of another hidden size": (*rnn("GRU", (1, 8, 3), (1, 8, 2)), "GRU's weights [1, 8, 2] do not fit"),
    "recurrence of one direction": (
        *rnn("RNN", (1, 2, 3), (1, 2, 2), direction="bidirectional"), "do not fit direction 'bidirectional'"),
    "recurrence with an unknown function": (
        *rnn("RNN", (1, 2, 3), (1, 2, 2), activations=["Cube"]), "activation 'Cube' of RNN is unknown"),
    "a transform of the parts": (node("DFT", "x", axis=2), {"x": (1, 4, 2)}, {}, "axis 2", 17),
    "a transform of threes": (node("DFT", "x", axis=1), {"x": (1, 4, 3)}, {}, "DFT over axis 1 of [1, 4, 3]", 17),
    "a transform of none": (node("DFT", "xn", axis=1), {"x": (1, 4, 1)}, {"n": np.array(0)}, "DFT of length 0", 17),
    "a window of nothing": (
        node("MaxPool", "x", kernel_shape=[0]), {"x": (1, 1, 4)}, {}, "MaxPool has an impossible window"),
    "a stride of nothing": (
        node("MaxPool", "x", kernel_shape=[2], strides=[0]), {"x": (1, 1, 4)}, {}, "MaxPool has an impossible window"),
    "a window of two axes on one": (
        node("MaxPool", "x", kernel_shape=[2, 2]), {"x": (1, 1, 4)}, {}, "MaxPool has an impossible window"),
    "strides of two axes on one": (
        node("MaxPool", "x", kernel_shape=[2], strides=[1, 1]), {"x": (1, 1, 4)}, {},
        "MaxPool has 2 strides for 1 spatial dimensions"),
    "a negative pad of a window": (
        node("MaxPool", "x", kernel_shape=[2], pads=[0, -1]), {"x": (1, 1, 4)}, {}, "MaxPool has impossible pads"),
    "a window of a matrix": (node("MaxPool", "x", kernel_shape=[2]), {"x": (1, 4)}, {}, "input of rank 3 or more"),
    "a window wider than the image": (node("MaxPool", "x", kernel_shape=[5]), {"x": (1, 1, 4)}, {}, "MaxPool"),
    "a filter of another rank": (node("Conv", "xw"), {"x": (1, 2, 5)}, {"w": zeros(1, 2)}, "Conv of ranks 3 and 2"),
    "a filter of other channels": (
        node("Conv", "xw"), {"x": (1, 2, 5)}, {"w": zeros(1, 3, 2)},
            "Conv of 1 groups: 2 channels and a kernel [1, 3, 2]"),
    "three groups of four": (
        node("Conv", "xw", group=3), {"x": (1, 3, 5)}, {"w": zeros(4, 1, 2)}, "Conv of 3 groups: 3 channels"),
    "a kernel that differs": (
        node("Conv", "xw", kernel_shape=[3]), {"x": (1, 2, 5)}, {"w": zeros(1, 2, 2)}, "kernel_shape [3] differs"),
    "a bias of two for one": (
        node("Conv", "xwb"), {"x": (1, 2, 5)}, {"w": zeros(1, 2, 2), "b": zeros(2)}, "the bias [2] is not one value"),
    "a bias of two for one, back": (
        node("ConvTranspose", "xwb"), {"x": (1, 2, 5)}, {"w": zeros(2, 1, 2), "b": zeros(2)},
            "the bias [2] is not one"),
    "pads of one side, back": (
        node("ConvTranspose", "xw", pads=[1]), {"x": (1, 2, 5)}, {"w": zeros(2, 1, 2)},
            "ConvTranspose has an impossible"),
    "a stride of nothing, back": (
        node("ConvTranspose", "xw", strides=[0]), {"x": (1, 2, 5)}, {"w": zeros(2, 1, 2)},
        "ConvTranspose has an impossible window"),
    "columns of another image": (
        node("Col2Im", "xib"), {"x": (1, 4, 5)}, {"i": ints(3, 3), "b": ints(2, 2)},
        "Col2Im of columns [1, 4, 5] into an image [3, 3]"),
    "columns of another block": (
        node("Col2Im", "xib"), {"x": (1, 5, 4)}, {"i": ints(3, 3), "b": ints(2, 2)},
        "Col2Im of columns [1, 5, 4] into an image [3, 3]"),
    "columns of an image without blocks": (
        node("Col2Im", "xib"), {"x": (1, 4, 4)}, {"i": ints(3, 3), "b": ints(2)}, "Col2Im has an impossible window"),
    "groups that do not divide": (
        node("GroupNormalization", "xst", num_groups=2), {"x": (1, 3, 2)}, {"s": zeros(3), "t": zeros(3)},
        "2 groups do not divide the channels of [1, 3, 2]", 21),
    "statistics of other channels": (
        node("BatchNormalization", "xstmv"), {"x": (1, 3, 2)},
        {"s": zeros(3), "t": zeros(3), "m": zeros(2), "v": zeros(3)}, "'m' is not one value for each of 3 channels"),
    "terms for one operand": (
        node("Einsum", "x", equation="ij,jk->ik"), {"x": (2, 3)}, {}, "'ij,jk->ik' does not fit 1 operands"),
    "a term of three letters": (node("Einsum", "x", equation="ijk->i"), {"x": (2, 3)}, {}, "term 'ijk'"),
    "a term of one letter": (node("Einsum", "x", equation="i->i"), {"x": (2, 3)}, {}, "term 'i'"),
    "a letter of two extents": (
        node("Einsum", "xz", equation="ij,jk->ik"), {"x": (2, 3), "z": (4, 5)}, {}, "letter 'j' of the equation"),
    "scales of another axis": (
        node("DequantizeLinear", "xs", axis=0), {"x": (INT8, (2, 3))}, {"s": np.ones(3, F)},
        "3 scales for 2 positions on axis 0"),
    "blocks that do not cover": (
        node("DequantizeLinear", "xs", axis=1, block_size=2), {"x": (INT8, (2, 5))}, {"s": np.ones((2, 2), F)},
        "scales [2, 2] do not cover [2, 5] in blocks of 2", 21),
    "angles wider than a head": (
        node("RotaryEmbedding", "xpcs", domain="com.microsoft", num_heads=2), {"x": (1, 2, 4)},
        {"p": ints(0), "c": zeros(3, 2), "s": zeros(3, 2)}, "RotaryEmbedding turns heads of 2 by 2 angles"),
    "heads that do not divide": (
        node("RotaryEmbedding", "xpcs", domain="com.microsoft", num_heads=3), {"x": (1, 2, 4)},
        {"p": ints(0), "c": zeros(3, 1), "s": zeros(3, 1)}, "RotaryEmbedding of [1, 2, 4] by angles [3, 1]"),
    "transposed batches": (
        node("FusedMatMul", "xz", domain="com.microsoft", transBatchA=1), {"x": (2, 3), "z": (3, 2)}, {},
        "FusedMatMul with transposed batches is not supported"),
    "an activation that nobody knows": (
        node("FusedGemm", "xzb", domain="com.microsoft", activation="Cube"), {"x": (2, 3), "z": (3, 2), "b": (2,)}, {},
        "activation 'Cube' of FusedGemm is unknown"),
    "an activation of a convolution that nobody knows": (
        node("FusedConv", "xw", domain="com.microsoft", activation="Cube"), {"x": (1, 1, 4)}, {"w": zeros(1, 1, 2)},
        "activation 'Cube' of FusedConv is unknown"),
    "pooling with channels last": (
        node("QLinearGlobalAveragePool", "aszty", "o", domain="com.microsoft", channels_last=1),
        {"a": (TensorProto.UINT8, (1, 2, 2, 3))},
        {"s": F(1), "z": np.uint8(0), "t": F(1), "y": np.uint8(0)}, "with channels last is not known here"),
    "a cut of another rank": (
        node("Slice", "xse"), {"x": (4,)}, {"s": ints(0, 0), "e": ints(1, 1)}, "Slice's starts, ends, axes and steps"),
    "a sequence of another kind": (node("SequenceAt", "xi"), {"x": (2,)}, {"i": np.array(0)}, "SequenceAt"),
    "bits of another width": (node("BitCast", "x", to=int(INT8)), {"x": (3,)}, {}, "BitCast", 26),
    "an axis before the first": (node("Softmax", "x", axis=-3), {"x": (2, 3)}, {}, "axis -3 of a tensor of rank 2"),
    "a sum behind the last axis": (node("ReduceSum", "xa"), {"x": (2, 3)}, {"a": ints(2)},
        "axis 2 of a tensor of rank 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_is_refused_with_its_reason(case) -> None:
    made, inputs, tensors, words, *opset = case
    domains = [made.domain] if made.domain else []
    with pytest.raises(ModelError) as refusal:
        load_model(model([made], inputs, list(made.output), tensors, *(opset or [18]), domains=domains))
    assert words in str(refusal.value)


HOST = {
    "a maximum that tells where": (node("MaxPool", "x", "yz", kernel_shape=[2]), {"x": (1, 1, 4)}, {}),
    "a drawn mask": (node("Dropout", "xrt"), {"x": (4,)}, {"r": np.array(0.5, F), "t": np.array(True)}),
    "a matrix quantised by rows": (
        node("QLinearMatMul", "aszbtvuw"), {"a": (INT8, (2, 3))},
        {"s": np.ones(2, F), "z": np.zeros(2, np.int8), "b": np.ones((3, 2), np.int8), "t": F(1), "v": np.int8(0),
         "u": F(1), "w": np.int8(0)}),
    "the places that are not zero": (node("NonZero", "x"), {"x": (2, 3)}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("made", "inputs", "tensors"), HOST.values(), ids=HOST)
def test_what_the_fabric_does_not_do_is_left_to_the_host(made, inputs, tensors) -> None:
    graph = load_model(model([made], inputs, list(made.output), tensors))
    assert [n.fate for n in graph.nodes] == ["host"]


FOLDED = {
    "Range": (node("Range", "abc"), [np.array(7), np.array(0), np.array(-3)], [7, 4, 1]),
    "Tile": (node("Tile", "ab"), [ints(1, 2), ints(2)], [1, 2, 1, 2]),
    "Expand": (node("Expand", "ab"), [ints(5), ints(3)], [5, 5, 5]),
    "ConstantOfShape": (
        node("ConstantOfShape", "a", value=numpy_helper.from_array(ints(9))), [ints(3)], [9, 9, 9]),
    "EyeLike": (node("EyeLike", "a", dtype=7), [np.zeros((2, 2), np.int64)], [[1, 0], [0, 1]]),
    "Gather": (node("Gather", "ab", axis=0), [ints(4, 5, 6), ints(-1, 0)], [6, 4]),
    "Where": (node("Where", "abc"), [np.array([True, False]), ints(1), ints(2)], [1, 2]),
    "Concat": (node("Concat", "ab", axis=0), [ints(1), ints(2, 3)], [1, 2, 3]),
    "a shape from the end": (node("Shape", "x", start=-2), [], [3, 4]),
    "a shape up to the end": (node("Shape", "x", end=-1), [], [2, 3]),
    "a shape beyond both ends": (node("Shape", "x", start=-9, end=9), [], [2, 3, 4]),
    "Size": (node("Size", "x"), [], 24),
    "a quantised number": (node("DequantizeLinear", "abc"), [np.int8(7), F(0.5), np.int8(1)], 3.0),
    "MelWeightMatrix": (
        node("MelWeightMatrix", "abcde"),
        [np.array(2), np.array(8), np.array(16), np.array(1.0, F), np.array(8.0, F)], None),
}  # fmt: skip


@pytest.mark.parametrize(("made", "known", "expected"), FOLDED.values(), ids=FOLDED)
def test_known_values_are_computed_while_the_model_is_read(made, known, expected) -> None:
    tensors = dict(zip("abcde", known, strict=False))
    graph = load_model(model([made], {"x": (2, 3, 4)}, ["y"], tensors))
    assert [n.fate for n in graph.nodes] == ["folded"]
    if expected is not None:
        np.testing.assert_array_equal(run(graph, random_feeds(graph, 0))["y"], expected)


@pytest.mark.parametrize("made", [
    node("Range", "abc"), node("Tile", "de"), node("Relu", "x"),
])  # fmt: skip
def test_what_is_large_or_unknown_is_not_computed_beforehand(made) -> None:
    tensors = {
        "a": np.array(0),
        "b": np.array(10**6),
        "c": np.array(1),
        "d": ints(1),
        "e": ints(10**6),
        "f": ints(2, 2),
    }
    graph = load_model(model([made], {"x": (2, 3, 4)}, ["y"], {n: tensors[n] for n in made.input if n in tensors}))
    assert "folded" not in [n.fate for n in graph.nodes]


def test_random_feeds_are_of_unit_size_in_range_and_repeatable() -> None:
    nodes = [node("Mul", ["x", "v"], ["a"]), node("MatMul", ["a", "w"], ["b"]), node("Gather", ["t", "i"], ["c"],
        axis=0),
             node("Cast", ["n"], ["d"], to=1), node("Cast", ["k"], ["e"], to=1), node("Cast", ["o"], ["f"],
                 to=1)]  # fmt: skip
    tensors = {"v": np.ones(400, F), "w": np.ones((400, 300), F), "t": np.ones((5, 100), F)}
    inputs = {"x": (50, 400), "i": (INT64, (900,)), "n": (INT8, (900,)), "k": (INT32, (900,)),
              "o": (TensorProto.BOOL, (900,))}  # fmt: skip
    graph = load_model(model(nodes, inputs, list("bcdef"), tensors))
    feeds, again, other = random_feeds(graph, 3), random_feeds(graph, 3), random_feeds(graph, 4)
    assert all((feeds[name] == again[name]).all() for name in feeds)
    assert (feeds["x"] != other["x"]).any()
    assert 0.95 < feeds["x"].std() < 1.05 and abs(feeds["x"].mean()) < 0.05
    assert 0.5 <= feeds["v"].min() < 0.6 and 1.4 < feeds["v"].max() <= 1.5
    assert 0.045 < feeds["w"].std() < 0.055
    assert (feeds["i"].min(), feeds["i"].max()) == (0, 4)
    assert feeds["n"].min() < -120 and feeds["n"].max() > 120
    assert (feeds["k"].min(), feeds["k"].max()) == (0, 3)
    assert feeds["o"].dtype == bool and 300 < feeds["o"].sum() < 600
