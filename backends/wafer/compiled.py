"""Compile hot loops with numba where it is installed; without it the same Python runs, slower, to the same results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """`numba.njit` without fast-math (so that floats round as Python's do) and without the interpreter's lock (so that
    signals are received), cached on disk where that is possible."""
    try:
        from numba import njit
    except ImportError:
        return function
    try:
        fast: Any = njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no writable place for the cache
        fast = njit(nogil=True)(function)
    return cast(Function, fast)
