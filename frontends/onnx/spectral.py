"""Fourier transforms as products with a matrix of roots of unity, which is a constant of the graph.

    DFT:   y[.., k, o] = sum over n, i of x[.., n, i] * roots[k, n, i, o]
    STFT:  y[b, t, k, o] = sum over n, i of x[b, t step + n, i] * window[n] * roots[k, n, i, o]

i and o are 0 for real and 1 for imaginary parts. What a transform cuts off or fills with zeros is a matter of how many
n there are. A matrix of more than 2^21 elements would be a poor plan; such a transform goes to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mapper import dtypes
from mapper.index import loop
from mapper.ir import Access, Combiner, Loop

from .context import Context, Reads
from .errors import ModelError
from .nests import accumulator, axis_of, call, computed, names_of
from .node import Array, Node
from .opaque import send_to_host

__all__ = ["TABLE", "roots"]

LARGEST = 1 << 21  # elements of a matrix of roots
_TOO_LARGE = "its matrix of roots would be too large"


def roots(length: int, bins: int, used: int, parts: int, inverse: bool, real: bool) -> Array:
    """roots[k, n, i, o] of a transform over `length`, for `bins` results of `used` values of `parts` parts each.

    e^(-2 pi j k n / length), conjugate and over `length` for the inverse. `real`: only the real part of an inverse is
    wanted, of a spectrum whose other half mirrors the one given: all but its ends count twice.
    """
    turn = 2 * np.pi * (np.outer(np.arange(bins), np.arange(used)) % length) / length
    cosine, sine = np.cos(turn), np.sin(turn) * (1 if inverse else -1)
    whole = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], -2)
    if inverse:
        whole /= length
    if real:
        at = np.arange(used)
        whole *= np.where((at == 0) | (2 * at == length), 1, 2)[:, None, None]
    return whole[:, :, :parts, : 1 if real else 2]


def dft(c: Context, node: Node) -> None:
    x, shape = node.input(0), c.shape(node.input(0))
    by_input = node.version >= 20
    given = c.ints(node, 2, "axis")[0] if by_input and node.input(2) else node.int("axis", -2 if by_input else 1)
    axis = axis_of(given, len(shape), node.name)
    inverse, onesided = bool(node.int("inverse")), bool(node.int("onesided"))
    if len(shape) < 2 or axis == len(shape) - 1 or shape[-1] not in (1, 2):
        raise ModelError(f"DFT over axis {axis} of {list(shape)}", node.name, "the last dimension holds 1 or 2 parts")
    real = inverse and onesided
    default = 2 * (shape[axis] - 1) if real else shape[axis]
    length = c.ints(node, 1, "length")[0] if node.input(1) else default
    if length < 1:
        raise ModelError(f"DFT of length {length}", node.name)
    half = length // 2 + 1
    used, bins = min(shape[axis], half if real else length), half if onesided and not inverse else length
    if bins * used * shape[-1] * (1 if real else 2) > LARGEST:
        return send_to_host(c, node, _TOO_LARGE)
    matrix = _matrix(c, node, x, roots(length, bins, used, shape[-1], inverse, real))
    out = c.output(node, 0, (*shape[:axis], bins, *shape[axis + 1 : -1], 1 if real else 2), c.dtype(x))
    names = [*names_of(len(shape))[:-1], "o"]
    names[axis] = "k"
    reads = Reads(c)
    at = [loop(name) for name in names]
    value = computed(reads(x, (*at[:axis], loop("t"), *at[axis + 1 : -1], loop("i"))), c.dtype(x))
    factor = reads(matrix, (loop("k"), loop("t"), loop("i"), loop("o")))
    loops = [Loop(n, e) for n, e in zip(names, c.shape(out), strict=True)] + [Loop("t", used), Loop("i", shape[-1])]
    combiner = Combiner("sum", accumulator(c.dtype(x)))
    c.nest(node, loops, reads, Access(out, tuple(at)), call("mul", value, factor), combiner, counted=True)


def stft(c: Context, node: Node) -> None:
    x, window, shape = node.input(0), node.input(2), c.shape(node.input(0))
    if len(shape) != 3 or shape[-1] not in (1, 2):
        raise ModelError(f"STFT of a signal {list(shape)}", node.name, "it is [batch, length, 1 or 2]")
    step = c.ints(node, 1, "frame step")[0]
    length = c.ints(node, 3, "frame length")[0] if node.input(3) else c.shape(window)[0] if window else shape[1]
    if step < 1 or not 1 <= length <= shape[1] or (window and c.shape(window) != (length,)):
        hint = f"frames of {length}, one every {step}, window {list(c.shape(window)) if window else 'none'}"
        raise ModelError(f"STFT of {shape[1]} samples is impossible", node.name, hint)
    bins = length // 2 + 1 if node.int("onesided", 1) else length
    if bins * length * shape[-1] * 2 > LARGEST:
        return send_to_host(c, node, _TOO_LARGE)
    matrix = _matrix(c, node, x, roots(length, bins, length, shape[-1], False, False))
    frames = (shape[1] - length) // step + 1
    out = c.output(node, 0, (shape[0], frames, bins, 2), c.dtype(x))
    reads = Reads(c)
    value = computed(reads(x, (loop("b"), loop("f") * step + loop("t"), loop("i"))), c.dtype(x))
    if window:
        value = call("mul", value, computed(reads(window, (loop("t"),)), c.dtype(window)))
    factor = reads(matrix, (loop("k"), loop("t"), loop("i"), loop("o")))
    loops = [Loop(n, e) for n, e in zip("bfko", c.shape(out), strict=True)] + [Loop("t", length), Loop("i", shape[-1])]
    write = Access(out, tuple(loop(n) for n in "bfko"))
    combiner = Combiner("sum", accumulator(c.dtype(x)))
    c.nest(node, loops, reads, write, call("mul", value, factor), combiner, counted=True)


def _matrix(c: Context, node: Node, x: str, values: Array) -> str:
    """The roots in the type that products of `x` are computed in."""
    dtype = accumulator(c.dtype(x))
    name = c.fresh(f"{node.outputs[0] or node.name}.roots")
    return c.constant(name, values.astype(dtypes.numpy_type(dtype)), dtype)


TABLE: Mapping[str, Callable[[Context, Node], None]] = {"DFT": dft, "STFT": stft}
