"""Forms of operators that neither onnx's node cases nor random models have: older opsets, defaults, odd corners."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from mapper.frontends.onnx import ModelError, load_model
from mapper.frontends.onnx.evaluator import NoReference
from mapper.frontends.onnx.operators import claim

from .making import assert_equals_reference, model, node

RNG = np.random.default_rng(11)
INT64 = TensorProto.INT64


def w(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def scan(backwards: int) -> object:
    """y[t] = h + x[t] + z[t], the second sequence read backwards or not."""
    ins = [helper.make_tensor_value_info(n, 1, [3]) for n in ("h", "e", "f")]
    outs = [helper.make_tensor_value_info(n, 1, [3]) for n in ("t", "o")]
    body = helper.make_graph(
        [node("Add", ["h", "e"], ["s"]), node("Add", ["s", "f"], ["t"]), node("Neg", ["t"], ["o"])], "b", ins, outs
    )
    return node("Scan", ["zero", "x", "z"], ["last", "y"], body=body, num_scan_inputs=2,
                scan_input_directions=[0, backwards], scan_output_directions=[backwards])  # fmt: skip


LSTM = {"w": w(1, 16, 3), "r": w(1, 16, 4)}
CASES = {
    "a constant is padded around, opset 2": (node("Pad", "x", pads=[1, 0, 2, 1], value=2.5), {"x": (2, 3)}, {}, 2),
    "a padding takes rows away": (node("Pad", ["x", "p"]), {"x": (4, 5)}, {"p": np.array([-1, 2, 1, -2])}, 13),
    "a pad of some axes": (
        node("Pad", ["x", "p", "v", "a"]), {"x": (2, 3, 4)},
        {"p": np.array([1, 2]), "v": np.float32(3), "a": np.array([-1])}, 18),
    "a slice by attributes": (node("Slice", "x", starts=[1, -3], ends=[9, -1], axes=[0, 2]), {"x": (3, 2, 5)}, {}, 9),
    "a slice without axes": (node("Slice", "x", starts=[1, 0], ends=[3, 2]), {"x": (3, 2, 5)}, {}, 7),
    "a slice down to the start": (
        node("Slice", ["x", "s", "e", "a", "t"]), {"x": (5, 6)},
        {"s": np.array([-1, 4]), "e": np.array([-(2**63), 0]), "a": np.array([0, 1]), "t": np.array([-2, -1])}, 13),
    "a slice that ends one before the first": (
        node("Slice", ["x", "s", "e", "a", "t"]), {"x": (7,)},
        {"s": np.array([5]), "e": np.array([-8]), "a": np.array([0]), "t": np.array([-1])}, 13),
    "rows of a softmax, opset 11": (node("Softmax", "x"), {"x": (2, 3, 4)}, {}, 11),
    "rows of a softmax behind an axis, opset 11": (node("Softmax", "x", axis=2), {"x": (2, 3, 4)}, {}, 11),
    "rows of a log-softmax, opset 11": (node("LogSoftmax", "x", axis=-1), {"x": (2, 3, 4)}, {}, 11),
    "a group norm with a scale per group": (
        node("GroupNormalization", ["x", "s", "t"], num_groups=2), {"x": (2, 6, 3)}, {"s": w(2), "t": w(2)}, 18),
    "a group norm with a scale per channel": (
        node("GroupNormalization", ["x", "s", "t"], num_groups=3), {"x": (2, 6, 3)}, {"s": w(6), "t": w(6)}, 21),
    "an instance norm": (node("InstanceNormalization", "xst"), {"x": (2, 3, 4)}, {"s": w(3), "t": w(3)}, 17),
    "a local response norm of four": (
        node("LRN", "x", size=4, alpha=0.5, beta=0.6, bias=2.0), {"x": (1, 6, 3)}, {}, 13),
    "a local response norm of one": (node("LRN", "x", size=1), {"x": (1, 6, 3)}, {}, 13),
    "a global norm": (node("GlobalLpPool", "x"), {"x": (2, 3, 4, 5)}, {}, 18),
    "a global norm of three": (node("GlobalLpPool", "x", p=3), {"x": (2, 3, 4)}, {}, 18),
    "a global maximum": (node("GlobalMaxPool", "x"), {"x": (2, 3, 4, 5)}, {}, 18),
    "a sum of one operand": (node("Einsum", "x", equation="ijk->kj"), {"x": (2, 3, 4)}, {}, 18),
    "a trace": (node("Einsum", "x", equation="bii->b"), {"x": (2, 3, 3)}, {}, 18),
    "a plain permutation by letters": (node("Einsum", "x", equation="ijk->kij"), {"x": (2, 3, 4)}, {}, 18),
    "three operands": (
        node("Einsum", ["x", "v", "z"], equation="ij,jk,kl->il"), {"x": (2, 3), "z": (4, 2)}, {"v": w(3, 4)}, 18),
    "a wide identity": (node("EyeLike", "x", k=1), {"x": (3, 5)}, {}, 18),
    "an identity below the diagonal": (node("EyeLike", "x", k=-2), {"x": (4, 3)}, {}, 18),
    "an upsampling by attributes": (node("Upsample", "x", scales=[1.0, 1.0, 2.0, 3.0]), {"x": (1, 2, 3, 2)}, {}, 7),
    "one pixel from a row of five": (
        node("Resize", ["x", "", "", "s"], mode="linear", coordinate_transformation_mode="pytorch_half_pixel"),
        {"x": (1, 1, 5)}, {"s": np.array([1, 1, 1])}, 13),
    "a symmetric resize": (
        node("Resize", ["x", "", "s"], mode="linear", coordinate_transformation_mode="half_pixel_symmetric"),
        {"x": (1, 1, 5)}, {"s": np.array([1, 1, 1.5], np.float32)}, 19),
    "a cropped resize": (
        node("Resize", ["x", "roi", "", "s"], mode="linear", coordinate_transformation_mode="tf_crop_and_resize"),
        {"x": (1, 1, 6)}, {"roi": np.array([0, 0, 0.2, 1, 1, 0.9], np.float32), "s": np.array([1, 1, 4])}, 13),
    "an LSTM, batch first": (
        node("LSTM", "xwr", ["y", "h", "c"], hidden_size=4, layout=1), {"x": (2, 3, 3)}, LSTM, 14),
    "an LSTM with peepholes": (
        node("LSTM", ["x", "w", "r", "b", "", "", "", "p"], ["y", "h", "c"], hidden_size=4), {"x": (3, 2, 3)},
        {**LSTM, "b": w(1, 32), "p": w(1, 12)}, 14),
    "an LSTM, backwards, with a state": (
        node("LSTM", ["x", "w", "r", "", "", "h0", "c0"], ["y", "h", "c"], hidden_size=4, direction="reverse"),
        {"x": (3, 2, 3), "h0": (1, 2, 4), "c0": (1, 2, 4)}, LSTM, 14),
    "a GRU that resets before": (
        node("GRU", "xwrb", ["y", "h"], hidden_size=2, linear_before_reset=1), {"x": (3, 2, 3)},
        {"w": w(1, 6, 3), "r": w(1, 6, 2), "b": w(1, 12)}, 14),
    "an RNN in both directions": (
        node("RNN", "xwrb", ["y", "h"], hidden_size=2, direction="bidirectional", activations=["Relu", "Tanh"]),
        {"x": (3, 2, 3)}, {"w": w(2, 2, 3), "r": w(2, 2, 2), "b": w(2, 4)}, 14),
    "a scan forwards": (scan(0), {"x": (4, 3), "z": (4, 3)}, {"zero": np.zeros(3, np.float32)}, 18),
    "a scan in both directions": (scan(1), {"x": (4, 3), "z": (4, 3)}, {"zero": np.zeros(3, np.float32)}, 18),
    "a cache written in a ring": (
        node("TensorScatter", ["x", "u", "i"], axis=1, mode="circular"), {"x": (2, 4, 3), "u": (2, 2, 3)},
        {"i": np.array([3, 1])}, 24),
    "a cache written from the start": (
        node("TensorScatter", ["x", "u"], axis=1), {"x": (2, 4, 3), "u": (2, 2, 3)}, {}, 24),
    "a running sum backwards without its own": (
        node("CumSum", ["x", "a"], exclusive=1, reverse=1), {"x": (3, 5)}, {"a": np.array(-1)}, 14),
    "a normalisation by absolute values": (node("LpNormalization", "x", p=1, axis=0), {"x": (3, 4)}, {}, 18),
    "a shrinking": (node("Shrink", "x", lambd=0.7, bias=0.2), {"x": (4, 5)}, {}, 18),
    "blocks of depth": (node("DepthToSpace", "x", blocksize=2, mode="CRD"), {"x": (1, 8, 2, 3)}, {}, 13),
    "space in depth": (node("SpaceToDepth", "x", blocksize=2), {"x": (1, 2, 4, 6)}, {}, 13),
    "the spread of a batch": (node("MeanVarianceNormalization", "x"), {"x": (2, 3, 4, 5)}, {}, 13),
    "averages of windows, none counted": (
        node("AveragePool", "x", kernel_shape=[3], strides=[2], pads=[1, 1], ceil_mode=1), {"x": (1, 2, 6)}, {}, 19),
    "a convolution back, cut to a shape": (
        node("ConvTranspose", "xw", strides=[2], output_shape=[9]), {"x": (1, 2, 5)}, {"w": w(2, 3, 3)}, 11),
    "slopes per channel": (node("PRelu", "xs"), {"x": (2, 3, 4)}, {"s": w(3, 1)}, 16),
}  # fmt: skip


@pytest.mark.parametrize(("made", "inputs", "tensors", "opset"), CASES.values(), ids=CASES)
def test_it_equals_the_reference(made, inputs, tensors, opset) -> None:
    try:
        assert_equals_reference(model([made], inputs, [name for name in made.output if name], tensors, opset))
    except NoReference as error:  # some forms ONNX's evaluator lacks
        pytest.importorskip("onnxruntime", reason=str(error))
        raise


def test_a_tensor_beyond_all_limits_is_refused_with_its_shape() -> None:
    proto = model([node("ConstantOfShape", "s", ["y"])], {}, ["y"], {"s": np.array([2**30, 2**30])})
    with pytest.raises(ModelError, match="would be 1073741824 x 1073741824 elements"):
        load_model(proto)


@pytest.mark.parametrize(
    ("op_type", "expected"),
    [("Conv", "fabric"), ("Transpose", "movement"), ("If", "reading"), ("SequenceAt", "reading"), ("NonZero", "host")],
)
def test_what_is_claimed_of_an_operator(op_type, expected) -> None:
    assert claim("", op_type) == expected
