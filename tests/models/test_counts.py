"""Multiply-accumulates and parameters against the published figures, counted from inferred shapes."""

from __future__ import annotations

import functools

import pytest

from mapper.models import build, lfm2, names, whisper_tiny

from . import counting


@functools.cache
def zoo(name):
    return build(name)


PUBLISHED_MACS = {
    "bert-base": 11_173_625_856,
    "lfm2.5-1.2b": 150_197_501_952,
    "lfm2.5-1.2b-decode": 1_195_462_656,
    "mobilenetv2": 300_774_272,
    "resnet50": 4_089_184_256,
}
PUBLISHED_PARAMETERS = {
    "bert-base": 108_891_648,  # 109 482 240 with the pooler's 768 x 768 + 768
    "gpt2": 124_439_808,
    "lfm2-tiny": 193_696,
    "lfm2.5-1.2b": 1_170_340_608,
    "lfm2.5-1.2b-decode": 1_170_340_608,
    "mobilenetv2": 3_504_872,
    "qwen3-0.6b": 596_049_920,
    "resnet50": 25_557_032,
    "whisper-tiny.en": 37_760_256,
}


@pytest.mark.parametrize(("name", "expected"), PUBLISHED_MACS.items())
def test_macs_are_the_published_ones(name, expected):
    assert counting.macs(zoo(name)) == expected


@pytest.mark.parametrize(("name", "expected"), PUBLISHED_PARAMETERS.items())
def test_parameters_are_the_published_ones(name, expected):
    assert counting.parameters(zoo(name)) == expected


# Models whose papers give no such figure: layer by layer, from the configuration.


def test_gpt2_macs():
    tokens, width = 128, 768
    layer = tokens * 12 * width**2 + 2 * tokens**2 * width
    assert counting.macs(zoo("gpt2")) == 12 * layer + tokens * width * 50257


def test_qwen3_macs():
    tokens, width, query, kv = 128, 1024, 2048, 1024
    layer = tokens * (width * (2 * query + 2 * kv) + 3 * width * 3072) + 2 * tokens**2 * query
    assert counting.macs(zoo("qwen3-0.6b")) == 28 * layer + tokens * width * 151936


def test_whisper_macs():
    tokens, audio, width, inner = 32, 1500, 384, 1536
    stem = 3000 * width * 80 * 3 + audio * width * width * 3
    encoder = audio * (4 * width**2 + 2 * width * inner) + 2 * audio**2 * width
    own = tokens * 4 * width**2 + 2 * tokens**2 * width
    cross = (2 * tokens + 2 * audio) * width**2 + 2 * tokens * audio * width
    decoder = own + cross + tokens * 2 * width * inner
    assert counting.macs(zoo("whisper-tiny.en")) == stem + 4 * (encoder + decoder) + tokens * width * 51864


def test_whisper_parameters_without_the_stored_sinusoids():
    config = whisper_tiny.WHISPER_TINY_EN
    learned = counting.parameters(zoo("whisper-tiny.en")) - config.audio_positions * config.hidden
    assert learned == 37_184_256


def unet_layers():
    """(positions, weights of one position, biases) of every convolution, from the paper's figure 1."""
    down = [(570, 1, 64), (568, 64, 64), (282, 64, 128), (280, 128, 128), (138, 128, 256), (136, 256, 256)]
    down += [(66, 256, 512), (64, 512, 512), (30, 512, 1024), (28, 1024, 1024)]
    up = [(54, 1024, 512), (52, 512, 512), (102, 512, 256), (100, 256, 256), (198, 256, 128), (196, 128, 128)]
    up += [(390, 128, 64), (388, 64, 64)]
    yield from ((edge**2, 9 * fan_in * fan_out, fan_out) for edge, fan_in, fan_out in down + up)
    yield 388**2, 64 * 2, 2


def unet_upsamplings():
    """(input positions, weights, biases) of the four transposed convolutions."""
    yield from ((edge**2, 4 * c * (c // 2), c // 2) for edge, c in ((28, 1024), (52, 512), (100, 256), (196, 128)))


def test_unet_counts():
    layers = [*unet_layers(), *unet_upsamplings()]
    macs = sum(positions * weights for positions, weights, _ in layers)
    assert counting.macs(zoo("unet")) == macs == 150_428_424_448
    assert counting.parameters(zoo("unet")) == sum(weights + biases for _, weights, biases in layers) == 31_030_658


# LFM2: parts, family, operators.


def lfm2_macs(config, computed, attended):
    """The closed form of the architecture's description."""
    h, size = config.hidden, config.head_size
    attention = computed * (2 * h * h + 2 * h * config.kv_heads * size) + 2 * computed * attended * config.heads * size
    convolution = computed * (4 * h * h + 3 * h)
    ffn = computed * 3 * h * config.ff
    mixing = len(config.attention) * attention + (config.layers - len(config.attention)) * convolution
    return mixing + config.layers * ffn + computed * config.vocabulary * h


FAMILY = [  # hidden, ff, heads, parameters, prefill of 128, decode at 1024
    (1024, 4608, 16, 354_483_968, 45_570_850_816, 367_044_608),
    (1536, 6912, 24, 742_489_344, 95_334_039_552, 761_330_688),
    (2048, 8192, 32, 1_170_340_608, 150_197_501_952, 1_195_462_656),
]


@pytest.mark.parametrize(("hidden", "ff", "heads", "parameters", "prefill", "decode"), FAMILY)
def test_the_lfm2_family(hidden, ff, heads, parameters, prefill, decode):
    base = lfm2.LFM2_1_2B
    config = lfm2.Lfm2Config(hidden, ff, heads, base.kv_heads, base.vocabulary, base.layers, base.attention)
    model = lfm2.build(128, config)
    assert counting.parameters(model) == parameters
    assert counting.macs(model) == lfm2_macs(config, 128, 128) == prefill
    assert counting.macs(lfm2.build_decode(1024, config)) == lfm2_macs(config, 1, 1025) == decode


def test_tiny_lfm2_matches_an_export_but_for_its_two_extra_positions():
    prefill, decode = zoo("lfm2-tiny"), zoo("lfm2-tiny-decode")
    assert counting.macs(prefill, "MatMul") + counting.macs(prefill, "Gemm") == 3_112_960
    assert counting.macs(prefill, "Conv") == 10_368 * 16 // 18  # the export pads both sides: 18 positions for 16
    assert counting.macs(decode, "MatMul") + counting.macs(decode, "Gemm") == 196_736
    assert counting.macs(decode, "Conv") == 576


def test_lfm2_has_the_operators_of_an_export():
    seen = counting.histogram(zoo("lfm2.5-1.2b"))
    expected = {"Pow": 45, "ReduceMean": 45, "Sqrt": 45, "Reciprocal": 45, "Sigmoid": 16, "Neg": 12, "Conv": 10}
    assert {kind: seen[kind] for kind in expected} == expected
    assert seen["MatMul"] + seen["Gemm"] == 105
    assert seen["Softmax"] == 6


def test_lfm2_decode_state_goes_in_and_comes_out():
    model = zoo("lfm2.5-1.2b-decode")
    inputs = {v.name: counting.static_shape(v.type) for v in model.graph.input}
    outputs = {v.name: counting.static_shape(v.type) for v in model.graph.output}
    assert inputs.pop("input_ids") == (1, 1)
    assert outputs.pop("logits") == (1, 1, 65536)
    assert {name.replace("past", "present") for name in inputs} == outputs.keys()
    assert sum(name.endswith(".conv") for name in inputs) == 10
    assert inputs["past.2.key"] == (1, 8, 1024, 64) and outputs["present.2.key"] == (1, 8, 1025, 64)
    assert inputs["past.0.conv"] == outputs["present.0.conv"] == (1, 2048, 2)
    kv_bytes = sum(2 * a * b * c * d for a, b, c, d in (s for n, s in inputs.items() if not n.endswith(".conv")))
    assert kv_bytes == 12_582_912


def test_every_published_model_is_counted():
    full = {name for name in names() if not name.endswith(("-tiny", "-mini")) and "-tiny-" not in name}
    assert full - PUBLISHED_PARAMETERS.keys() == {"unet"}
