"""Fused forms of com.microsoft and steps of training, with expected numbers by hand or by numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from .valued import (
    PLANES,
    STEP,
    TURNS,
    F,
    gelu,
    joined,
    ms,
    sigmoid,
    tanh_gelu,
    training,
    values,
)

FIRST, SECOND = np.array([[1, 3]], F), np.array([[0.5, -1]], F)
FUSED = {
    "BiasAdd": (ms("BiasAdd", "xzu"), joined(FIRST, F(2) * FIRST[0], SECOND), lambda: 3 * FIRST + SECOND),
    "BiasSplitGelu": (ms("BiasSplitGelu", "xz"), joined(FIRST, np.array([1, 2], F)),
        lambda: 2 * gelu(np.array([[5.0]]))),
    "BiasSoftmax": (
        ms("BiasSoftmax", "xz", axis=1), joined(FIRST, SECOND), lambda: sigmoid(np.array([[-0.5, 0.5]]))),
    "GemmFastGelu": (
        ms("GemmFastGelu", "xzu"), joined(FIRST, np.eye(2, dtype=F), SECOND[0]), lambda: tanh_gelu(FIRST + SECOND)),
    "GemmFastGelu, no bias": (ms("GemmFastGelu", "xz"), joined(FIRST, np.eye(2, dtype=F)), lambda: tanh_gelu(FIRST)),
    "FusedGemm": (
        ms("FusedGemm", "xzu", transA=1, beta=3.0, activation="Tanh"), joined(FIRST.T.copy() / 9, np.eye(2, dtype=F),
            SECOND),
        lambda: np.tanh(FIRST / 9 + 3 * SECOND)),
    "FusedMatMul": (ms("FusedMatMul", "xz", transA=1, alpha=2.0), joined(FIRST, SECOND), lambda: 2 * FIRST.T @ SECOND),
    "QuickGelu": (ms("QuickGelu", "x"), joined(FIRST), lambda: FIRST * sigmoid(1.702 * FIRST)),
    "QuickGelu of one": (ms("QuickGelu", "x", alpha=1.0), joined(FIRST), lambda: FIRST * sigmoid(FIRST)),
    "NhwcMaxPool": (
        ms("NhwcMaxPool", "x", kernel_shape=[2, 1], strides=[1, 1]), joined(PLANES),
        lambda: PLANES.max(axis=1, keepdims=True)),
    "NhwcConv": (
        ms("NhwcConv", "xz", group=2, pads=[0, 0, 0, 1]), joined(PLANES, np.arange(8, dtype=F).reshape(4, 2, 1, 1)),
        lambda: np.pad(np.stack([k * 2 * PLANES[..., k // 2 * 2] + (2 * k + 1) * PLANES[..., k // 2 * 2 + 1]
                                 for k in range(4)], axis=-1), [(0, 0), (0, 0), (0, 1), (0, 0)])),
}  # fmt: skip


@pytest.mark.parametrize(("made", "feeds", "expected"), FUSED.values(), ids=FUSED)
def test_fused_operators(made, feeds, expected) -> None:
    np.testing.assert_allclose(values(made, feeds)[0], expected(), rtol=1e-4, atol=1e-5)


def grouped(x, groups, epsilon):
    """x [batch, height, width, channels] normalised over each group of channels."""
    parts = x.astype(float).reshape(*x.shape[:3], groups, -1)
    middle, spread = (f(parts, axis=(1, 2, 4), keepdims=True) for f in (np.mean, np.var))
    return ((parts - middle) / np.sqrt(spread + epsilon)).reshape(x.shape)


GAMMA, BETA, LIFT = np.array([1, 2, 3, 4], F), np.array([0, 1, 0, -1], F), np.array([5, 0, 1, 2], F)


@pytest.mark.parametrize("activation", [0, 1])
@pytest.mark.parametrize("last", [None, 0, 1])
def test_norms_of_groups_of_channels(last, activation) -> None:
    x = PLANES if last != 0 else np.moveaxis(PLANES, 3, 1).copy()
    words = {} if last is None else {"channels_last": last}
    made = ms("GroupNorm", "xgb", groups=2, epsilon=0.5, activation=activation, **words)
    (found,) = values(made, {"x": x, "g": GAMMA, "b": BETA})
    want = grouped(PLANES, 2, 0.5) * GAMMA + BETA
    want = want * sigmoid(want) if activation else want
    np.testing.assert_allclose(found, want if last != 0 else np.moveaxis(want, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lifted", [False, True])
def test_norms_of_groups_after_a_skip(lifted) -> None:
    feeds = {"x": PLANES, "g": GAMMA, "b": BETA, "s": PLANES[:, ::-1].copy() ** 2, **({"l": LIFT} if lifted else {})}
    made = ms("SkipGroupNorm", list(feeds), "yz", groups=2, activation=0)
    found, total = values(made, feeds)
    want = PLANES + feeds["s"] + (LIFT if lifted else 0)
    np.testing.assert_allclose(total, want, rtol=1e-6)
    np.testing.assert_allclose(found, grouped(want, 2, 1e-5) * GAMMA + BETA, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("Relu", {}, [0, 2]), ("", {}, [-4, 2]), ("LeakyRelu", {}, [-0.04, 2]),
        ("LeakyRelu", {"activation_params": [0.5]}, [-2, 2]), ("Clip", {"activation_params": [-1.0, 1.5]}, [-1, 1.5]),
        ("HardSigmoid", {}, [0, 0.9]), ("HardSigmoid", {"activation_params": [0.1, 0.6]}, [0.2, 0.8]),
        ("Tanh", {}, np.tanh([-4, 2])), ("Sigmoid", {}, [sigmoid(-4), sigmoid(2)]),
    ],
)  # fmt: skip
def test_fused_convolutions_and_what_follows(kind, words, expected) -> None:
    """-1 * 3 + 1 - 2 = -4 and 2 * 3 + 1 - 5 = 2."""
    made = ms("FusedConv", "xwbz", **({"activation": kind} if kind else {}), **words)
    weights = {"w": np.full((1, 1, 1), 3, F), "b": np.array([1], F)}
    feeds = {"x": np.array([[[-1, 2]]], F), "z": np.array([[[-2, -5]]], F)}
    np.testing.assert_allclose(values(made, feeds, 18, weights)[0], [[expected]], rtol=1e-5, atol=1e-6)


P, G, H, K = np.array([2.0, -1], F), np.array([0.5, 1], F), np.array([1.0, 4], F), np.array([3.0, 1], F)


def test_one_step_of_adagrad() -> None:
    made = training("Adagrad", "rtxgh", "yz", norm_coefficient=0.25, epsilon=0.125, decay_factor=0.5)
    parameter, state = values(made, {"r": STEP, "t": TURNS, "x": P, "g": G, "h": H})
    regular = 0.25 * P + G
    np.testing.assert_allclose(state, H + regular**2, rtol=1e-6)
    np.testing.assert_allclose(parameter, P - 0.5 / 2 * regular / (np.sqrt(H + regular**2) + 0.125), rtol=1e-6)


@pytest.mark.parametrize("mode", ["standard", "nesterov"])
@pytest.mark.parametrize("turns", [0, 1])
def test_one_step_of_momentum(mode, turns) -> None:
    made = training("Momentum", "rtxgh", "yz", alpha=0.75, beta=0.5, norm_coefficient=0.25, mode=mode)
    parameter, state = values(made, {"r": STEP, "t": np.array(turns), "x": P, "g": G, "h": H})
    regular = 0.25 * P + G
    new = 0.75 * H + (0.5 if turns else 1) * regular
    np.testing.assert_allclose(state, new, rtol=1e-6)
    np.testing.assert_allclose(parameter, P - 0.5 * (new if mode == "standard" else regular + 0.75 * new), rtol=1e-6)


@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("words", [{}, {"alpha": 0.5, "beta": 0.75, "norm_coefficient": 0.25, "epsilon": 0.125,
                                        "norm_coefficient_post": 0.125}])  # fmt: skip
def test_one_step_of_adam(words, turns) -> None:
    made = training("Adam", "rtxghk", "yuv", **words)
    parameter, first, second = values(made, {"r": STEP, "t": np.array(turns), "x": P, "g": G, "h": H, "k": K})
    a, b = words.get("alpha", 0.9), words.get("beta", 0.999)
    regular = words.get("norm_coefficient", 0) * P + G
    mean, square = a * H + (1 - a) * regular, b * K + (1 - b) * regular**2
    rate = 0.5 * math.sqrt(1 - b**turns) / (1 - a**turns) if turns else 0.5
    want = (P - rate * mean / (np.sqrt(square) + words.get("epsilon", 0))) * (1 - words.get("norm_coefficient_post", 0))
    np.testing.assert_allclose(first, mean, rtol=1e-5)
    np.testing.assert_allclose(second, square, rtol=1e-5)
    np.testing.assert_allclose(parameter, want, rtol=1e-4)


QUERY, KEY, VALUE = (np.sin(np.arange(n, n + 16, dtype=F) * n).reshape(1, 2, 8) for n in (3, 5, 7))


def attended(query, key, value, heads=2):
    """softmax(q k^T / sqrt(size)) v for each head of [1, steps, heads * size]."""
    q, k, v = (x[0].reshape(-1, heads, x.shape[2] // heads).transpose(1, 0, 2) for x in (query, key, value))
    powers = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[2]))
    mixed = powers / powers.sum(-1, keepdims=True) @ v
    return mixed.transpose(1, 0, 2).reshape(1, query.shape[1], -1)


def test_heads_packed_in_one_tensor_or_in_two() -> None:
    parts = [x.reshape(1, 2, 2, 1, 4) for x in (QUERY, KEY, VALUE)]
    want = attended(QUERY, KEY, VALUE)
    (found,) = values(ms("MultiHeadAttention", "q", num_heads=2), {"q": np.concatenate(parts, axis=3)})
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    feeds = {"q": QUERY, "k": np.concatenate(parts[1:], axis=3)}
    np.testing.assert_allclose(
        values(ms("MultiHeadAttention", "qk", num_heads=2), feeds)[0], want, rtol=1e-5, atol=1e-6
    )
    (found,) = values(ms("MultiHeadAttention", "qkv", num_heads=2, scale=0.0), joined_as("qkv", QUERY, KEY, VALUE))
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)


def joined_as(names, *arrays):
    return dict(zip(names, arrays, strict=True))


def test_keys_and_values_are_kept_without_a_past() -> None:
    x, weights = QUERY, {"w": np.cos(np.arange(192, dtype=F)).reshape(8, 24), "b": np.arange(24, dtype=F) / 10}
    y, present = values(ms("Attention", "xwb", ["y", "p"], num_heads=2), {"x": x}, 18, weights)
    q, k, v = np.split(x @ weights["w"] + weights["b"], 3, axis=2)
    np.testing.assert_allclose(y, attended(q, k, v), rtol=1e-4, atol=1e-5)
    want = np.stack([a.reshape(1, 2, 2, 4).transpose(0, 2, 1, 3) for a in (k, v)])
    np.testing.assert_allclose(present, want, rtol=1e-5, atol=1e-5)


def test_queries_of_one_head_see_no_later_keys() -> None:
    feeds = {"q": QUERY, "k": KEY, "v": VALUE, "n": np.array([1], np.int32), "t": np.array(2, np.int32)}
    (found,) = values(ms("GroupQueryAttention", ["q", "k", "v", "", "", "n", "t"], num_heads=1, kv_num_heads=1), feeds)
    np.testing.assert_allclose(found[:, :1], VALUE[:, :1], rtol=1e-5)
    np.testing.assert_allclose(found[:, 1:], attended(QUERY, KEY, VALUE, 1)[:, 1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 2)])
def test_transposed_products_in_batches(shape) -> None:
    x, z = (np.arange(math.prod(shape), dtype=F).reshape(shape) + n for n in (0, 5))
    (found,) = values(ms("FusedMatMul", "xz", transA=1), {"x": x, "z": z})
    np.testing.assert_allclose(found, x.swapaxes(-1, -2) @ z)
    (found,) = values(ms("FusedMatMul", "xz", transB=1, alpha=0.5), {"x": x, "z": z})
    np.testing.assert_allclose(found, x @ z.swapaxes(-1, -2) / 2)
