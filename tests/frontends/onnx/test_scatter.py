"""Reads and writes through several indices: values equal the reference, and what is known beforehand is affine."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from mapper.frontends.onnx import ModelError, load_model
from mapper.ir import Op, Opaque

from .making import assert_equals_reference, model, node

INT = TensorProto.INT64


def is_direct(proto) -> bool:
    """One nest without an indirect access or a comparison of indices."""
    nests = [op for op in load_model(proto).ops if isinstance(op, Op)]
    gathered = any(i.gathered for op in nests for read in op.reads for i in read.index)
    return len(nests) == 1 and nests[0].is_movement and not gathered


def rows(*axes: np.ndarray) -> np.ndarray:
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.int64)


@pytest.mark.parametrize(
    ("axes", "direct"),
    [
        ((np.arange(2), np.arange(1, 4)), True),  # x[:, 1:4] = u, as exporters write it
        ((np.array([1]), np.arange(0, 6, 2)), True),  # every other place of one row
        ((np.arange(1, -1, -1), np.arange(5, -1, -1)), True),  # backwards
        ((np.arange(-2, 0), np.array([-1])), True),  # from the end
        ((np.array([0, 1]), np.array([0, 1, 4])), False),  # no line
    ],
)
def test_a_scatter_at_known_places_is_one_movement_where_they_are_even(axes, direct) -> None:
    indices = rows(*axes)
    proto = model(
        [node("ScatterND", ["x", "i", "u"])], {"x": (2, 6, 3), "u": (*indices.shape[:2], 3)}, ["y"], {"i": indices}
    )
    assert is_direct(proto) is direct
    assert_equals_reference(proto)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_a_scatter_at_places_that_come_with_the_run(reduction) -> None:
    inputs = {"x": (4, 3, 2), "i": (INT, (2, 1)), "u": (2, 3, 2)}
    attributes = {} if reduction == "none" else {"reduction": reduction}
    proto = model([node("ScatterND", ["x", "i", "u"], **attributes)], inputs, ["y"])
    assert not any(isinstance(op, Opaque) for op in load_model(proto).ops)
    assert_equals_reference(proto, seed=1)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_elements_are_scattered_where_the_indices_cover_less_than_the_data(axis) -> None:
    inputs = {"x": (3, 4, 3), "i": (INT, (2, 2, 2)), "u": (2, 2, 2)}
    assert_equals_reference(model([node("ScatterElements", ["x", "i", "u"], axis=axis)], inputs, ["y"]))


def test_a_gather_over_two_axes_keeps_known_coordinates_affine() -> None:
    even = model(
        [node("GatherND", ["x", "i"])], {"x": (4, 5, 2)}, ["y"], {"i": rows(np.arange(3), np.arange(4, 0, -1))}
    )
    assert is_direct(even)
    assert_equals_reference(even)
    free = model([node("GatherND", ["x", "i"], batch_dims=1)], {"x": (4, 5, 2), "i": (INT, (4, 3, 1))}, ["y"])
    assert not is_direct(free)
    assert_equals_reference(free)


def test_a_known_index_outside_is_refused_by_name() -> None:
    proto = model([node("GatherND", ["x", "i"])], {"x": (4, 5)}, ["y"], {"i": np.array([[0, 5]])})
    with pytest.raises(ModelError, match="GatherND reads element 5 of 5"):
        load_model(proto)
    proto = model([node("ScatterND", ["x", "i", "u"])], {"x": (4, 5), "u": (3,)}, ["y"], {"i": np.array([[0, 1]])})
    with pytest.raises(ModelError, match=r"ScatterND of \[3\] into \[4, 5\]"):
        load_model(proto)


def test_comparisons_beyond_the_limit_go_to_the_host_by_name() -> None:
    big = {"x": (1 << 15, 1), "i": (INT, (1 << 14, 1)), "u": (1 << 14, 1)}
    (op,) = load_model(model([node("ScatterND", ["x", "i", "u"])], big, ["y"])).ops
    assert isinstance(op, Opaque) and "comparing each index" in op.reason
