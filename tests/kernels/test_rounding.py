"""Small floats inside a body: 8 bits and less are rounded at every cast, 16 bits where they are stored only."""

from __future__ import annotations

import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from mapper import dtypes
from mapper.kernels.body import main_body
from mapper.scalar import Arg, Call, Cast, Const, Scalar, evaluate

sys.path.insert(0, str(Path(__file__).parent))
from lowering import STYLES, pointwise, run_pointwise

SMALLEST = ["float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float4e2m1"]
X = np.random.default_rng(1).normal(scale=2, size=500).astype(np.float32).clip(-5.5, 5.5)


def twice(dtype: str) -> Scalar:
    """2 (x as `dtype`) + 1, as quantising and dequantising in one chain."""
    return Call("add", (Call("mul", (Cast("float32", Cast(dtype, Arg(0))), Const(2.0))), Const(1.0)))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", SMALLEST)
def test_a_quantised_value_is_rounded_where_it_stands(dtype: str, style: str) -> None:
    found = run_pointwise(twice(dtype), (X,), ("float32",), "float32", STYLES[style])
    np.testing.assert_array_equal(found, evaluate(twice(dtype), [X]))
    assert (found != X * np.float32(2) + 1).any()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_inside_a_chain_keep_the_precision_of_a_register(dtype: str, style: str) -> None:
    """Not the value of the nest, which rounds at each cast: the same without the casts, rounded once at the store."""
    found = run_pointwise(twice(dtype), (X,), ("float32",), "float32", STYLES[style])
    np.testing.assert_array_equal(found, X * np.float32(2) + 1)
    stored = run_pointwise(Cast(dtype, twice(dtype)), (X,), ("float32",), dtype, STYLES[style])
    np.testing.assert_array_equal(stored, (X * np.float32(2) + 1).astype(dtypes.numpy_type(dtype)))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", [*SMALLEST, "float16", "bfloat16"])
def test_what_is_stored_is_rounded_once(dtype: str, style: str) -> None:
    """A cast to the type that is stored adds no operation to the store's own."""
    sizes = [len(main_body(*pointwise(tree, ("float32",), dtype, 8), STYLES[style]).nodes)
             for tree in (Arg(0), Cast(dtype, Arg(0)))]  # fmt: skip
    assert sizes[0] == sizes[1]
    found = run_pointwise(Cast(dtype, Arg(0)), (X,), ("float32",), dtype, STYLES[style])
    assert found.dtype == dtypes.numpy_type(dtype)
    np.testing.assert_array_equal(found, X.astype(found.dtype))


def test_a_constant_of_a_small_type_is_rounded_too() -> None:
    body = Call("add", (Arg(0), Cast("float32", Cast("float8e4m3fn", Const(0.3)))))
    found = run_pointwise(body, (X,), ("float32",), "float32", STYLES["cgra"])
    np.testing.assert_array_equal(found, X + np.float32(ml_dtypes.float8_e4m3fn(0.3)))
