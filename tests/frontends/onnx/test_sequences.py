"""Sequences, spectra, scatters and bounds of folded values, by expected numbers."""

from __future__ import annotations

import numpy as np
import pytest

from mapper.frontends.onnx import ModelError, load_model
from mapper.frontends.onnx.reference import stored_feeds
from mapper.interpret import run

from .making import model, node

F = np.float32
A, B, C = np.array([1, 2], F), np.array([3, 4], F), np.array([5, 6], F)
PAIR = node("SequenceConstruct", "ab", ["s"])


def values(nodes, feeds, weights=None, opset=18):
    proto = model(nodes, {name: array.shape for name, array in feeds.items()}, ["y"], weights or {}, opset)
    graph = load_model(proto)
    return run(graph, feeds | stored_feeds(proto, graph))["y"]


def joined(name="t", **words):
    return node("ConcatFromSequence", [name], **{"axis": 0, **words})


CHANGES = {
    "appended": ([node("SequenceInsert", "sc", ["t"])], [A, B, C]),
    "inserted at the first place": ([node("SequenceInsert", ["s", "c", "zero"], ["t"])], [C, A, B]),
    "inserted before the last": ([node("SequenceInsert", ["s", "c", "last"], ["t"])], [A, C, B]),
    "inserted at the end": ([node("SequenceInsert", ["s", "c", "two"], ["t"])], [A, B, C]),
    "the last erased": ([node("SequenceErase", "s", ["t"])], [A]),
    "the first erased": ([node("SequenceErase", ["s", "zero"], ["t"])], [B]),
    "erased from the end": ([node("SequenceErase", ["s", "last"], ["t"])], [A]),
    "the same": ([node("Identity", "s", ["t"])], [A, B]),
}  # fmt: skip
PLACES = {"zero": np.array(0), "last": np.array(-1), "two": np.array(2), "three": np.array(3), "low": np.array(-3)}


@pytest.mark.parametrize(("changes", "parts"), CHANGES.values(), ids=CHANGES)
def test_a_sequence_changes(changes, parts) -> None:
    feeds = {"a": A, "b": B, "c": C}
    np.testing.assert_array_equal(values([PAIR, *changes, joined()], feeds, PLACES), np.concatenate(parts))
    np.testing.assert_array_equal(values([PAIR, *changes, joined(new_axis=1)], feeds, PLACES), np.stack(parts))
    np.testing.assert_array_equal(
        values([PAIR, *changes, joined(new_axis=1, axis=-1)], feeds, PLACES), np.stack(parts, -1)
    )
    counted = [PAIR, *changes, node("SequenceLength", "t", ["n"]), node("Cast", "n", to=1)]
    assert values(counted, feeds, PLACES) == len(parts)


@pytest.mark.parametrize("place", ["three", "low"])
def test_a_place_outside_a_sequence_is_refused(place) -> None:
    nodes = [PAIR, node("SequenceInsert", ["s", "c", place], ["t"]), joined()]
    with pytest.raises(ModelError, match=f"SequenceInsert at {PLACES[place]} of a sequence of 2"):
        values(nodes, {"a": A, "b": B, "c": C}, PLACES)


@pytest.mark.parametrize(
    ("split", "words", "parts"),
    [
        (None, {}, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]), (np.array(2), {}, [(0, 2), (2, 4), (4, 5)]),
        (np.array([1, 4]), {}, [(0, 1), (1, 5)]), (np.array(5), {}, [(0, 5)]),
    ],
)  # fmt: skip
def test_a_tensor_is_split_into_a_sequence(split, words, parts) -> None:
    x = np.arange(15, dtype=F).reshape(5, 3)
    weights = {} if split is None else {"p": split}
    for axis, given in ((0, x), (1, x.T.copy())):
        made = node("SplitToSequence", ["x", *weights], ["s"], axis=axis, **words)
        for number, (first, end) in enumerate(parts):
            found = values([made, node("SequenceAt", "sn")], {"x": given}, {**weights, "n": np.array(number)})
            np.testing.assert_array_equal(found, given[first:end] if axis == 0 else given[:, first:end])


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("words", [{}, {"inverse": 1}, {"onesided": 1}])
@pytest.mark.parametrize("length", [None, 4, 7])
def test_spectra(parts, words, length) -> None:
    if parts == 2 and "onesided" in words:
        return
    x = np.sin(np.arange(5 * parts, dtype=F) + 1).reshape(1, 5, parts)
    signal = (x[..., 0] + (1j * x[..., 1] if parts == 2 else 0)).astype(complex)
    transform = np.fft.ifft if "inverse" in words else np.fft.fft
    want = transform(signal, length, axis=1)[:, : ((length or 5) // 2 + 1 if "onesided" in words else None)]
    weights = {} if length is None else {"n": np.array(length)}
    found = values([node("DFT", ["x", *weights], axis=1, **words)], {"x": x}, weights, 17)
    np.testing.assert_allclose(found, np.stack([want.real, want.imag], -1), rtol=1e-4, atol=1e-5)
    found = values([node("DFT", ["x", *(weights or [""])], **words)], {"x": x}, weights, 20)
    np.testing.assert_allclose(found, np.stack([want.real, want.imag], -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("onesided", [None, 0, 1])
def test_spectra_of_frames(onesided) -> None:
    x, window = np.cos(np.arange(9, dtype=F)).reshape(1, 9, 1), np.array([1, 2, 2, 1], F)
    words = {} if onesided is None else {"onesided": onesided}
    frames = np.stack([np.fft.fft(x[0, s : s + 4, 0] * window) for s in (0, 2, 4)])
    want = frames if onesided == 0 else frames[:, :3]
    found = values([node("STFT", ["x", "s", "w"], **words)], {"x": x}, {"s": np.array(2), "w": window}, 17)
    np.testing.assert_allclose(found[0], np.stack([want.real, want.imag], -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("step", "weights", "words"),
    [(0, {"w": np.ones(4, F)}, "frames of 4, one every 0"), (1, {"w": np.ones(10, F)}, "frames of 10, one every 1")],
)
def test_frames_that_do_not_fit_are_refused(step, weights, words) -> None:
    with pytest.raises(ModelError, match="STFT of 9 samples is impossible") as refusal:
        values([node("STFT", "xsw")], {"x": np.zeros((1, 9, 1), F)}, {"s": np.array(step), **weights}, 17)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, [9, 2, 8, 4]), ({"reduction": "add"}, [10, 2, 18, 4]), ({"reduction": "mul"}, [9, 2, 168, 4]),
        ({"reduction": "max"}, [9, 2, 8, 4]), ({"reduction": "min"}, [1, 2, 3, 4]),
    ],
)  # fmt: skip
def test_updates_of_elements(words, expected) -> None:
    """Into [1, 2, 3, 4]: 9 at 0, then 7 and 8 at 2; without a reduction the later one stays."""
    feeds = {"x": np.array([1, 2, 3, 4], F), "u": np.array([9, 7, 8], F)}
    found = values([node("ScatterElements", "xiu", **words)], feeds, {"i": np.array([0, -2, 2])})
    np.testing.assert_array_equal(found, expected)
    rows = values([node("ScatterND", "xiu", **words)], feeds, {"i": np.array([[0], [-2], [2]])})
    np.testing.assert_array_equal(rows, expected)
    for axis in (0, 1):
        wide = {name: np.expand_dims(array, 1 - axis) for name, array in feeds.items()}
        index = np.expand_dims(np.array([0, -2, 2]), 1 - axis)
        found = values([node("ScatterElements", "xiu", axis=axis, **words)], wide, {"i": index})
        np.testing.assert_array_equal(found.ravel(), expected)


def test_no_updates_leave_the_data() -> None:
    feeds = {"x": np.array([1, 2], F), "u": np.zeros(0, F)}
    for kind, index in (("ScatterElements", np.zeros(0, np.int64)), ("ScatterND", np.zeros((0, 1), np.int64))):
        np.testing.assert_array_equal(values([node(kind, "xiu")], feeds, {"i": index}), [1, 2])
