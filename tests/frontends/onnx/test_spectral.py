"""Fourier transforms as products, columns back to images, bits under another type."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from mapper.frontends.onnx import ModelError, load_model
from mapper.frontends.onnx.spectral import roots
from mapper.ir import Opaque, View

from .making import assert_equals_reference, model, node

STEPS = {"step": np.int64(3), "length": np.int64(8), "axis": np.int64(1)}


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_the_matrix_of_roots_is_the_transform(length: int) -> None:
    z = np.random.default_rng(length).normal(size=(length, 2))
    z_complex = z[:, 0] + 1j * z[:, 1]
    forward = np.einsum("ni,knio->ko", z, roots(length, length, length, 2, False, False))
    np.testing.assert_allclose(forward[:, 0] + 1j * forward[:, 1], np.fft.fft(z_complex))
    back = np.einsum("ni,knio->ko", z, roots(length, length, length, 2, True, False))
    np.testing.assert_allclose(back[:, 0] + 1j * back[:, 1], np.fft.ifft(z_complex), atol=1e-15)
    half = z[: length // 2 + 1]
    real = np.einsum("ni,knio->ko", half, roots(length, length, len(half), 2, True, True))
    np.testing.assert_allclose(real[:, 0], np.fft.irfft(half[:, 0] + 1j * half[:, 1], n=length), atol=1e-15)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("length", [5, 8, 11])  # cut, whole, filled with zeros
def test_a_transform_cuts_and_fills(parts: int, length: int) -> None:
    inputs = {"x": (2, 8, parts)}
    nodes = [node("DFT", ["x", "n", "axis"])]
    assert_equals_reference(model(nodes, inputs, ["y"], {"n": np.int64(length), "axis": np.int64(1)}, opset=20))


def test_a_short_time_transform_counts_its_products() -> None:
    proto = model([node("STFT", ["x", "step", "w", "length"])], {"x": (2, 20, 1), "w": (8,)}, ["y"], STEPS)
    graph = load_model(proto)
    frames, bins = (20 - 8) // 3 + 1, 8 // 2 + 1
    assert graph.macs == 2 * frames * bins * 2 * 8
    assert_equals_reference(proto)


def test_a_transform_whose_matrix_would_be_too_large_goes_to_the_host() -> None:
    graph = load_model(model([node("DFT", ["x", "", "axis"])], {"x": (1, 4096, 1)}, ["y"], STEPS, opset=20))
    assert [type(op) for op in graph.ops] == [Opaque]


@pytest.mark.parametrize(
    ("op", "shape", "words"),
    [
        (node("DFT", ["x", "", "last"]), (1, 8, 2), "over axis 2"),
        (node("DFT", ["x", "", "axis"]), (1, 8, 3), "the last dimension holds 1 or 2 parts"),
        (node("STFT", ["x", "step", "", "length"]), (1, 7, 1), "STFT of 7 samples is impossible"),
        (node("STFT", ["x", "step", "", "length"]), (7, 1), r"it is \[batch, length, 1 or 2\]"),
        (node("Col2Im", ["x", "image", "block"]), (1, 4, 10), "channels x 4, 9"),
        (node("Col2Im", ["x", "image", "image"], strides=[0, 1]), (1, 16, 1), "impossible window"),
        (node("BitCast", ["x"], to=TensorProto.INT8), (2,), "BitCast of float32 to int8"),
    ],
)
def test_impossible_forms_are_refused_by_name(op, shape, words) -> None:
    known = STEPS | {"last": np.int64(2), "image": np.array([4, 4]), "block": np.array([2, 2])}
    with pytest.raises(ModelError, match=words):
        load_model(model([op], {"x": shape}, ["y"], known, opset=26))


def test_columns_become_an_image() -> None:
    known = {"image": np.array([6, 5]), "block": np.array([3, 2])}
    op = node("Col2Im", ["x", "image", "block"], pads=[1, 0, 2, 1], strides=[2, 1], dilations=[1, 2])
    assert_equals_reference(model([op], {"x": (2, 3 * 6, 4 * 4)}, ["y"], known))


def test_bits_are_read_as_another_type_without_moving() -> None:
    nodes = [
        node("BitCast", ["x"], ["bits"], to=TensorProto.INT32), node("BitwiseAnd", ["bits", "mask"], ["kept"]),
        node("BitCast", ["kept"], ["y"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    proto = model(nodes, {"x": (3, 4)}, ["y"], {"mask": np.int32(0x7FFFFFFF)}, opset=26)
    assert [op.op_type for op in load_model(proto).ops if isinstance(op, View)] == ["BitCast", "BitCast"]
    assert_equals_reference(proto)
