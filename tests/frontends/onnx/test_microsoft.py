"""com.microsoft operators against onnxruntime, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

from mapper.frontends.onnx import load_model
from mapper.frontends.onnx.host import run_opaque
from mapper.frontends.onnx.reference import stored_feeds
from mapper.interpret import run
from mapper.passes import optimise

from .making import model, node

onnxruntime = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(5)


def weights(*shape):
    return (RNG.standard_normal(shape) / 3).astype(np.float32)


def ms(op_type, inputs, outputs=("y",), **attributes):
    return node(op_type, inputs, outputs, domain="com.microsoft", **attributes)


PACKED = RNG.integers(0, 256, (6, 2, 16)).astype(np.uint8)
ZEROS = RNG.integers(0, 256, (6, 1)).astype(np.uint8)
ANGLES = RNG.uniform(0, 3, (16, 4)).astype(np.float32)
WIDE = RNG.uniform(0, 3, (16, 8)).astype(np.float32)
CASES = {
    "BiasGelu": ([ms("BiasGelu", "xb")], {"x": (2, 3, 8)}, {"b": weights(8)}),
    "FastGelu": ([ms("FastGelu", "xb")], {"x": (2, 3, 8)}, {"b": weights(8)}),
    "QuickGelu": ([ms("QuickGelu", "x")], {"x": (2, 3, 8)}, {}),
    "FusedMatMul": ([ms("FusedMatMul", "ab", transB=1, alpha=0.25)], {"a": (2, 3, 4), "b": (2, 5, 4)}, {}),
    "SkipLayerNorm": (
        [ms("SkipLayerNormalization", ["x", "s", "g", "be", "bi"])], {"x": (2, 3, 8), "s": (2, 3, 8)},
        {"g": weights(8), "be": weights(8), "bi": weights(8)}),
    "SkipSimplifiedLayerNorm": (
        [ms("SkipSimplifiedLayerNormalization", ["x", "s", "g"], ["y", "", "", "sum"])],
        {"x": (2, 3, 8), "s": (2, 3, 8)}, {"g": weights(8)}),
    "FusedConv": (
        [ms("FusedConv", ["x", "w", "b"], activation="Relu", pads=[1, 1, 1, 1])], {"x": (1, 3, 6, 6)},
        {"w": weights(4, 3, 3, 3), "b": weights(4)}),
    "MatMulNBits": (
        [ms("MatMulNBits", ["x", "q", "s"], K=64, N=6, bits=4, block_size=32)], {"x": (2, 3, 64)},
        {"q": PACKED, "s": weights(6, 2)}),
    "MatMulNBits with zero points": (
        [ms("MatMulNBits", ["x", "q", "s", "z"], K=64, N=6, bits=4, block_size=32)], {"x": (3, 64)},
        {"q": PACKED, "s": weights(6, 2), "z": ZEROS}),
    "MultiHeadAttention": (
        [ms("MultiHeadAttention", "qkv", num_heads=2)], {"q": (1, 4, 16), "k": (1, 6, 16), "v": (1, 6, 16)}, {}),
    "MultiHeadAttention with bias": (
        [ms("MultiHeadAttention", ["q", "k", "v", "b"], num_heads=2)],
        {"q": (1, 4, 16), "k": (1, 4, 16), "v": (1, 4, 16)}, {"b": weights(48)}),
    "Attention": (
        [ms("Attention", ["x", "w", "b"], num_heads=2, unidirectional=1)], {"x": (1, 5, 12)},
        {"w": weights(12, 36), "b": weights(36)}),
    "RotaryEmbedding": (
        [ms("RotaryEmbedding", ["x", "p", "c", "s"])], {"x": (1, 5, 16)},
        {"p": np.array([[3, 4, 5, 6, 7]]), "c": np.cos(ANGLES), "s": np.sin(ANGLES)}),
    "RotaryEmbedding interleaved, 4-D, offset": (
        [ms("RotaryEmbedding", ["x", "p", "c", "s"], interleaved=1)], {"x": (1, 2, 5, 8)},
        {"p": np.array([2]), "c": np.cos(ANGLES), "s": np.sin(ANGLES)}),
    "GroupQueryAttention": (
        [ms("GroupQueryAttention", ["q", "k", "v", "pk", "pv", "len", "total"], ["y", "nk", "nv"],
            num_heads=4, kv_num_heads=2)],
        {"q": (1, 1, 32), "k": (1, 1, 16), "v": (1, 1, 16), "pk": (1, 2, 7, 8), "pv": (1, 2, 7, 8)},
        {"len": np.array([7], np.int32), "total": np.array(8, np.int32)}),
    "GroupQueryAttention packed, rotary, window, cap": (
        [ms("GroupQueryAttention", ["q", "", "", "pk", "pv", "len", "total", "c", "s"], ["y", "nk", "nv"],
            num_heads=4, kv_num_heads=2, do_rotary=1, local_window_size=4, softcap=5.0)],
        {"q": (1, 1, 128), "pk": (1, 2, 7, 16), "pv": (1, 2, 7, 16)},
        {"len": np.array([7], np.int32), "total": np.array(8, np.int32), "c": np.cos(WIDE), "s": np.sin(WIDE)}),
    "GroupQueryAttention prompt, rotary interleaved": (
        [ms("GroupQueryAttention", ["q", "k", "v", "pk", "pv", "len", "total", "c", "s"], ["y", "nk", "nv"],
            num_heads=4, kv_num_heads=2, do_rotary=1, rotary_interleaved=1)],
        {"q": (1, 5, 64), "k": (1, 5, 32), "v": (1, 5, 32), "pk": (1, 2, 0, 16), "pv": (1, 2, 0, 16)},
        {"len": np.array([4], np.int32), "total": np.array(5, np.int32), "c": np.cos(WIDE), "s": np.sin(WIDE)}),
    "MultiHeadAttention with a past, additive bias": (
        [ms("MultiHeadAttention", ["q", "k", "v", "", "", "add", "pk", "pv"], ["y", "nk", "nv"], num_heads=2)],
        {"q": (2, 3, 16), "k": (2, 3, 16), "v": (2, 3, 16), "pk": (2, 2, 4, 8), "pv": (2, 2, 4, 8)},
        {"add": weights(1, 2, 3, 7)}),
    "MultiHeadAttention with keys in heads, padding": (
        [ms("MultiHeadAttention", ["q", "k", "v", "", "mask"], num_heads=2)],
        {"q": (1, 3, 16), "k": (1, 2, 5, 8), "v": (1, 2, 5, 8)}, {"mask": np.array([[1, 1, 1, 0, 0]], np.int32)}),
    "MultiHeadAttention causal": (
        [ms("MultiHeadAttention", "qkv", num_heads=2, unidirectional=1)],
        {"q": (1, 4, 16), "k": (1, 4, 16), "v": (1, 4, 16)}, {}),
    "Attention with a past": (
        [ms("Attention", ["x", "w", "b", "", "past"], ["y", "present"], num_heads=2, unidirectional=1)],
        {"x": (1, 2, 12), "past": (2, 1, 2, 3, 6)}, {"w": weights(12, 36), "b": weights(36)}),
    "Attention with lengths": (
        [ms("Attention", ["x", "w", "b", "mask"], num_heads=2)], {"x": (2, 5, 12)},
        {"w": weights(12, 36), "b": weights(36), "mask": np.array([3, 5], np.int32)}),
    "Attention with a mask, other widths": (
        [ms("Attention", ["x", "w", "b", "mask"], num_heads=2, qkv_hidden_sizes=[16, 16, 12])], {"x": (2, 4, 12)},
        {"w": weights(12, 44), "b": weights(44), "mask": np.array([[1, 1, 1, 0], [1, 1, 0, 0]], np.int32)}),
    "RotaryEmbedding of part of a head": (
        [ms("RotaryEmbedding", ["x", "p", "c", "s"], num_heads=2, rotary_embedding_dim=8)], {"x": (1, 5, 24)},
        {"p": np.array([[3, 4, 5, 6, 7]]), "c": np.cos(ANGLES), "s": np.sin(ANGLES)}),
}  # fmt: skip
SCALES = {"s": np.float32(0.05), "z": np.uint8(120), "t": np.float32(0.04), "y": np.uint8(130),
          "u": np.float32(0.1), "w": np.uint8(128)}  # fmt: skip
BYTES, SIGNED = RNG.integers(0, 256, (3, 4)).astype(np.uint8), RNG.integers(-90, 90, (8, 6)).astype(np.int8)
BODIES = {
    "FusedGemm": (
        [ms("FusedGemm", "abc", activation="Relu", transB=1, alpha=0.5)], {"a": (3, 4)},
        {"b": weights(5, 4), "c": weights(5)}),
    "EmbedLayerNormalization": (
        [ms("EmbedLayerNormalization", ["i", "j", "w", "p", "g", "ga", "be", "mask"], ["y", "counts"])], {},
        {"i": np.array([[1, 5, 2]], np.int32), "j": np.array([[0, 1, 1]], np.int32), "w": weights(7, 8),
         "p": weights(4, 8), "g": weights(2, 8), "ga": weights(8), "be": weights(8),
         "mask": np.array([[1, 1, 0]], np.int32)}),
    "DynamicQuantizeMatMul": (
        [ms("DynamicQuantizeMatMul", ["x", "q", "s", "", "b"])], {"x": (2, 3, 8)},
        {"q": SIGNED, "s": np.float32(0.02), "b": weights(6)}),
    "MatMulIntegerToFloat": (
        [ms("MatMulIntegerToFloat", ["x", "q", "s", "t", "z", "", "b"])], {},
        {"x": RNG.integers(0, 256, (3, 8)).astype(np.uint8), "q": SIGNED, "s": np.float32(0.1),
         "t": np.float32(0.02), "z": np.uint8(100), "b": weights(6)}),
    "QGemm": (
        [ms("QGemm", ["x", "s", "z", "q", "t", "v", "", "u", "w"])], {},
        {"x": RNG.integers(0, 256, (3, 8)).astype(np.uint8), "q": SIGNED, "v": np.int8(0), **SCALES}),
    "QAttention": (
        [ms("QAttention", ["x", "q", "b", "s", "t", "", "z", "v"], num_heads=2)], {},
        {"x": RNG.integers(0, 256, (1, 3, 8)).astype(np.uint8), "q": RNG.integers(-90, 90, (8, 24)).astype(np.int8),
         "b": weights(24), "v": np.int8(0), **SCALES}),
    "QLinearAdd": ([ms("QLinearAdd", ["a", "s", "z", "b", "t", "y", "u", "w"], ["o"])], {},
                   {"a": BYTES, "b": BYTES[:1], **SCALES}),
    "QLinearMul": ([ms("QLinearMul", ["a", "s", "z", "b", "t", "y", "u", "w"], ["o"])], {},
                   {"a": BYTES, "b": BYTES[:, :1], **SCALES}),
    "QLinearSigmoid": ([ms("QLinearSigmoid", ["a", "s", "z", "t", "y"], ["o"])], {}, {"a": BYTES, **SCALES}),
    "QLinearLeakyRelu": (
        [ms("QLinearLeakyRelu", ["a", "s", "z", "t", "y"], ["o"], alpha=0.2)], {}, {"a": BYTES, **SCALES}),
    "QLinearConcat": ([ms("QLinearConcat", ["u", "w", "a", "s", "z", "b", "t", "y"], ["o"], axis=0)], {},
                      {"a": BYTES, "b": BYTES[:2], **SCALES}),
    "QLinearAveragePool": (
        [ms("QLinearAveragePool", ["a", "s", "z", "t", "y"], ["o"], kernel_shape=[2, 2])], {},
        {"a": RNG.integers(0, 256, (1, 2, 4, 4)).astype(np.uint8), **SCALES}),
    "QLinearGlobalAveragePool": (
        [ms("QLinearGlobalAveragePool", ["a", "s", "z", "t", "y"], ["o"])], {},
        {"a": RNG.integers(0, 256, (1, 2, 4, 4)).astype(np.uint8), **SCALES}),
    "NhwcMaxPool": (
        [ms("NhwcMaxPool", "a", ["o"], kernel_shape=[2, 2], strides=[2, 2])], {},
        {"a": RNG.integers(0, 256, (1, 4, 4, 3)).astype(np.uint8)}),
    "DynamicQuantizeLSTM": (
        [ms("DynamicQuantizeLSTM", ["x", "q", "r", "b", "", "", "", "", "s", "v", "t", "v"], ["h"], hidden_size=4)],
        {"x": (3, 1, 2)},
        {"q": RNG.integers(-90, 90, (1, 2, 16)).astype(np.int8), "r": RNG.integers(-90, 90, (1, 4, 16)).astype(np.int8),
         "b": weights(1, 32), "v": np.array([0], np.int8), "s": np.array([0.01], np.float32),
         "t": np.array([0.02], np.float32)}),
    "GatherBlockQuantized": (
        [ms("GatherBlockQuantized", ["q", "i", "s"], block_size=16, gather_axis=0, quantize_axis=1, bits=4)], {},
        {"q": RNG.integers(0, 256, (6, 16)).astype(np.uint8), "i": np.array([[4, 0, 5]]), "s": weights(6, 2)}),
    "MoE": (
        [ms("MoE", ["x", "r", "f", "fb", "g", "gb"], k=2, activation_type="silu")], {"x": (3, 8), "r": (3, 4)},
        {"f": weights(4, 6, 8), "fb": weights(4, 6), "g": weights(4, 8, 6), "gb": weights(4, 8)}),
    "MoE normalised": (
        [ms("MoE", ["x", "r", "f", "", "g"], k=2, activation_type="gelu", normalize_routing_weights=1)],
        {"x": (3, 8), "r": (3, 4)}, {"f": weights(4, 6, 8), "g": weights(4, 8, 6)}),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "inputs", "tensors"), BODIES.values(), ids=BODIES.keys())
def test_a_body_equals_onnxruntime(nodes, inputs, tensors) -> None:
    """Products of dynamically quantised values may differ by a step where rounding ties."""
    used = {name for n in nodes for name in n.input}
    tensors = {name: np.asarray(array) for name, array in tensors.items() if name in used}
    outputs = [name for n in nodes for name in n.output if name]
    proto = model(nodes, inputs, outputs, tensors, domains=["com.microsoft"])
    proto.ir_version = 8
    for value in proto.graph.output:
        value.type.Clear()
    feeds = {name: weights(*shape) for name, shape in inputs.items()}
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, feeds)
    graph = load_model(proto)
    values = run(optimise(graph), feeds | stored_feeds(proto, graph), run_opaque)
    for name, want in zip(outputs, wanted, strict=True):
        assert values[name].dtype == want.dtype
        slack = 1 if want.dtype.kind in "iu" else 2e-3 * max(1.0, np.abs(want).max())
        np.testing.assert_allclose(values[name].astype(np.float64), want.astype(np.float64), rtol=0, atol=slack)


@pytest.mark.parametrize(("nodes", "inputs", "tensors"), CASES.values(), ids=CASES.keys())
def test_equals_onnxruntime(nodes, inputs, tensors) -> None:
    outputs = [name for n in nodes for name in n.output if name]
    proto = model(nodes, inputs, outputs, tensors, domains=["com.microsoft"])
    proto.ir_version = 8
    feeds = {name: weights(*shape) for name, shape in inputs.items()}
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, feeds)
    graph = load_model(proto)
    for candidate in (graph, optimise(graph)):
        values = run(candidate, feeds | stored_feeds(proto, graph))
        for name, want in zip(outputs, wanted, strict=True):
            np.testing.assert_allclose(values[name], want, rtol=1e-3, atol=2e-4 * max(1.0, np.abs(want).max()))


def test_four_bit_weights_move_half_a_byte_each() -> None:
    nodes, inputs, tensors = CASES["MatMulNBits"]
    graph = load_model(model(nodes, inputs, ["y"], tensors, domains=["com.microsoft"]))
    assert graph.tensor("q").bytes == 6 * 64 // 2
    assert graph.macs == 2 * 3 * 6 * 64
