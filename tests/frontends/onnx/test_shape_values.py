"""Operators that move and choose elements, with expected places by hand or by numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from .making import node
from .valued import (
    LINE,
    F,
    evaluated,
    values,
)


@pytest.mark.parametrize(
    ("pads", "axes", "expected"),
    [([1, -1], None, [0, 1, 2, 4]), ([-2, 0], None, [4, 8]), ([-1, 2], [0], [2, 4, 8, 0, 0])],
)
def test_pads_of_both_signs(pads, axes, expected) -> None:
    weights = {"p": np.array(pads), **({"a": np.array(axes)} if axes else {})}
    made = node("Pad", ["x", "p", "", "a"] if axes else ["x", "p"])
    for kind in (evaluated, lambda *a: values(*a)[0]):
        np.testing.assert_array_equal(kind(made, {"x": LINE}, 18, weights), expected)


@pytest.mark.parametrize(
    ("made", "x", "weights", "shape"),
    [
        (node("Flatten", "x"), (2, 3, 4), {}, (2, 12)), (node("Flatten", "x", axis=0), (2, 3, 4), {}, (1, 24)),
        (node("Flatten", "x", axis=-1), (2, 3, 4), {}, (6, 4)), (node("Flatten", "x", axis=3), (2, 3, 4), {}, (24, 1)),
        (node("Flatten", "x", axis=-3), (2, 3, 4), {}, (1, 24)),
        (node("Squeeze", "x"), (1, 3, 1), {}, (3,)), (node("Squeeze", "xa"), (1, 3, 1), {"a": [-1]}, (1, 3)),
        (node("Unsqueeze", "xa"), (3,), {"a": [-1, 0]}, (1, 3, 1)), (node("Transpose", "x"), (2, 3, 4), {}, (4, 3, 2)),
        (node("Reshape", "xs"), (2, 3, 4), {"s": [0, -1]}, (2, 12)),
        (node("Reshape", "xs", allowzero=1), (0, 3), {"s": [3, 0]}, (3, 0)),
        (node("Expand", "xs"), (3, 1), {"s": [2, 1, 4]}, (2, 3, 4)), (node("Tile", "xr"), (2, 3), {"r": [2, 1]},
            (4, 3)),
    ],
)  # fmt: skip
def test_shapes(made, x, weights, shape) -> None:
    (found,) = values(
        made, {"x": np.arange(math.prod(x), dtype=F).reshape(x)}, 18, {k: np.array(v) for k, v in weights.items()}
    )
    assert found.shape == shape


@pytest.mark.parametrize(("words", "given", "extents"), [
    ({}, [1, 4], [1, 4]), ({"num_outputs": 2}, None, [3, 2]), ({"axis": -1}, [5, 0], [5, 0]),
])  # fmt: skip
def test_parts(words, given, extents) -> None:
    x = np.arange(5, dtype=F)
    weights = {"s": np.array(given)} if given else {}
    found = values(node("Split", "xs" if given else "x", "yz", **words), {"x": x}, 18, weights)
    np.testing.assert_array_equal(found[0], x[: extents[0]])
    np.testing.assert_array_equal(found[1], x[extents[0] :])


@pytest.mark.parametrize("picks", [[0, 2], [-1, -3], [2, 0, 1], [[0, 1], [1, 2]], [[0, 0], [1, 2]], [1]])
def test_known_picks_up_to_both_ends(picks) -> None:
    table = np.array([[1, 2], [3, 4], [5, 6]], F)
    for axis in (0, 1):
        given = table if axis == 0 else table.T.copy()
        (found,) = values(node("Gather", "xp", axis=axis), {"x": given}, 18, {"p": np.array(picks)})
        np.testing.assert_array_equal(found, given.take(picks, axis))


@pytest.mark.parametrize(("words", "axis"), [({}, -1), ({"axis": 0}, 0)])
def test_one_among_three(words, axis) -> None:
    picks = np.array([2, -3, 7])
    (found,) = values(node("OneHot", "idv", **words), {"i": picks}, 18, {"d": np.array(3), "v": np.array([5, 9], F)})
    want = np.array([[5, 5, 9], [9, 5, 5], [5, 5, 5]], F)
    np.testing.assert_array_equal(found, want if axis else want.T)


@pytest.mark.parametrize("words", [{}, {"time_axis": 1, "batch_axis": 0}])
def test_sequences_are_turned(words) -> None:
    x = np.arange(12, dtype=F).reshape(4, 3)
    given, lengths = (x.T.copy() if words else x), np.array([1, 3, 4])
    want = np.stack([np.concatenate([x[:n, b][::-1], x[n:, b]]) for b, n in enumerate(lengths)], axis=1)
    (found,) = values(node("ReverseSequence", "xl", **words), {"x": given, "l": lengths})
    np.testing.assert_array_equal(found, want.T if words else want)
