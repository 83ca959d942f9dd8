"""com.microsoft operators against onnxruntime, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest

from mapper.frontends.onnx import load_model
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
