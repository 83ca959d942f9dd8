"""What the graphs compute: attention against its definition, decode against prefill, causality, masks, float16."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from mapper.models import build, lfm2
from mapper.models.attention import Heads, Rotary, attend, causal_mask
from mapper.models.builder import GraphBuilder

from . import counting


def run(model, feeds):
    results = ReferenceEvaluator(model).run(None, feeds)
    return {value.name: result for value, result in zip(model.graph.output, results, strict=True)}


@pytest.mark.parametrize("kv", [1, 2, 4])
def test_grouped_attention_is_attention_with_repeated_keys(kv):
    tokens, heads, size = 5, 4, 6
    b = GraphBuilder("attention")
    q = b.input("q", (1, heads, tokens, size))
    k, v = b.input("k", (1, kv, tokens, size)), b.input("v", (1, kv, tokens, size))
    merged = attend(b, q, k, v, Heads(tokens, tokens, heads, kv, size), causal_mask(b, tokens))
    b.output(merged, "y", (1, tokens, heads * size))
    model = b.model("attention")
    feeds = counting.random_inputs(model, seed=3)

    keys, values = (np.repeat(feeds[n], heads // kv, axis=1) for n in "kv")
    scores = np.einsum("bhqd,bhkd->bhqk", feeds["q"], keys) / np.sqrt(size)
    weights = np.exp(np.where(np.tri(tokens, dtype=bool), scores, -np.inf))
    weights /= weights.sum(-1, keepdims=True)
    expected = np.einsum("bhqk,bhkd->bqhd", weights, values).reshape(1, tokens, heads * size)
    np.testing.assert_allclose(run(model, feeds)["y"], expected, rtol=1e-5, atol=1e-6)


def test_rotation_turns_pairs_of_halves_by_the_position():
    tokens, size, theta = 4, 6, 100.0
    b = GraphBuilder("rotary")
    x = b.input("x", (1, 1, tokens, size))
    b.output(Rotary.table(b, range(10, 10 + tokens), size, theta).rotate(b, x, "rope"), "y", (1, 1, tokens, size))
    model = b.model("rotary")
    feeds = counting.random_inputs(model, seed=4)

    pairs = feeds["x"][..., : size // 2] + 1j * feeds["x"][..., size // 2 :]
    angles = np.arange(10, 10 + tokens)[:, None] / theta ** (np.arange(size // 2) / (size // 2))
    turned = pairs * np.exp(1j * angles)
    expected = np.concatenate([turned.real, turned.imag], axis=-1)
    np.testing.assert_allclose(run(model, feeds)["y"], expected, rtol=1e-5, atol=1e-5)


def test_lfm2_decodes_token_by_token_what_prefill_computes_at_once():
    tokens = 6
    prefill = counting.with_random_weights(lfm2.build_tiny(tokens), seed=5)
    feeds = counting.random_inputs(prefill, seed=6)
    expected = run(prefill, feeds)["logits"]
    state: dict[str, np.ndarray] = {}
    for step in range(tokens):
        decode = counting.with_random_weights(lfm2.build_tiny_decode(step), seed=5)
        blank = {v.name: np.zeros(counting.static_shape(v.type), np.float32) for v in decode.graph.input}
        results = run(decode, blank | state | {"input_ids": feeds["input_ids"][:, step : step + 1]})
        np.testing.assert_allclose(results.pop("logits")[:, 0], expected[:, step], rtol=1e-4, atol=1e-5)
        state = {name.replace("present", "past"): value for name, value in results.items()}


@pytest.mark.parametrize("name", ["gpt2-tiny", "lfm2-tiny", "qwen3-tiny"])
def test_no_token_sees_a_later_one(name):
    model = counting.with_random_weights(build(name), seed=7)
    feeds = counting.random_inputs(model, seed=8)
    before = run(model, feeds)["logits"]
    feeds["input_ids"][0, 5] ^= 1
    after = run(model, feeds)["logits"]
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (np.abs(before - after)[0, 5:].max(axis=-1) > 1e-4).all()


def test_a_masked_token_of_bert_is_not_seen():
    model = counting.with_random_weights(build("bert-tiny"), seed=9)
    feeds = counting.random_inputs(model, seed=10)
    feeds["attention_mask"] = np.array([[1, 1, 1, 1, 1, 1, 0, 0]])
    before = run(model, feeds)["last_hidden_state"]
    feeds["input_ids"][0, 6:] ^= 1
    np.testing.assert_array_equal(before[:, :6], run(model, feeds)["last_hidden_state"][:, :6])


def test_float16_follows_float32():
    model, narrow = (
        counting.with_random_weights(lfm2.build(8, replace(lfm2.TINY, dtype=kind)), seed=11)
        for kind in (np.float32, np.float16)
    )
    feeds = counting.random_inputs(model, seed=12)
    exact, rounded = run(model, feeds)["logits"], run(narrow, feeds)["logits"]
    assert rounded.dtype == np.float16
    np.testing.assert_allclose(rounded, exact, atol=0.02 * np.abs(exact).max())
