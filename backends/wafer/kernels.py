"""The contest's kernel library: what a choice of execution arguments costs, in integers and exact fractions.

A convolution with arguments (h, w, c, k) takes `h w (c + 1)` by `3 k` elements,

    time   = ceil(H/h) ceil(W/w) ceil(C/c) ceil(K/k) R S / T^2
    memory = (C/c)(K/k) R S + ((W+S-1)/w) ((H+R-1)/h) (K/k)      words per element.

A block is three (dblock) or four (cblock) convolutions side by side that share h and w.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from mapper.kgraph import KernelNode

__all__ = ["Arguments", "Conv", "convolutions", "kernel_memory", "kernel_time"]


@dataclass(frozen=True, slots=True)
class Conv:
    """Formal arguments of one convolution."""

    H: int
    W: int
    R: int
    S: int
    C: int
    K: int
    T: int


@dataclass(frozen=True, slots=True)
class Arguments:
    """Execution arguments of a kernel: h and w are shared, c and k have one entry per convolution."""

    h: int
    w: int
    c: tuple[int, ...]
    k: tuple[int, ...]

    @property
    def tall(self) -> int:
        return self.h * self.w * (max(self.c) + 1)

    @property
    def wide(self) -> int:
        return 3 * sum(self.k)

    @property
    def reads(self) -> int:
        """The split of the features that come in."""
        return self.c[0]

    @property
    def writes(self) -> int:
        """The split of the features that go out: a block writes through its third convolution."""
        return self.k[2] if len(self.k) > 2 else self.k[0]


def convolutions(node: KernelNode) -> tuple[Conv, ...]:
    """The convolutions inside a kernel, in the order of its c and k arguments."""
    H, W, F = node.H, node.W, node.F
    if node.kind == "conv":
        return (Conv(H, W, node.R, node.S, node.C, node.K, node.T),)
    if node.kind == "dblock":
        return (Conv(H, W, 1, 1, F, F // 4, 1), Conv(H, W, 3, 3, F // 4, F // 4, 1), Conv(H, W, 1, 1, F // 4, F, 1))
    return (
        Conv(H, W, 1, 1, F // 2, F // 4, 1),
        Conv(H, W, 3, 3, F // 4, F // 4, 2),
        Conv(H // 2, W // 2, 1, 1, F // 4, F, 1),
        Conv(H, W, 1, 1, F // 2, F, 2),
    )


def kernel_time(node: KernelNode, a: Arguments) -> Fraction:
    """Time per input: that of the slowest convolution."""
    return max(_time(conv, a, c, k) for conv, c, k in zip(convolutions(node), a.c, a.k, strict=True))


def _time(conv: Conv, a: Arguments, c: int, k: int) -> Fraction:
    turns = -(-conv.H // a.h) * -(-conv.W // a.w) * -(-conv.C // c) * -(-conv.K // k)
    return Fraction(turns * conv.R * conv.S, conv.T * conv.T)


def kernel_memory(node: KernelNode, a: Arguments) -> Fraction:
    """Words per element: those of the hungriest convolution."""
    return max(_memory(conv, a, c, k) for conv, c, k in zip(convolutions(node), a.c, a.k, strict=True))


def _memory(conv: Conv, a: Arguments, c: int, k: int) -> Fraction:
    weights = Fraction(conv.C * conv.K * conv.R * conv.S, c * k)
    return weights + Fraction((conv.W + conv.S - 1) * (conv.H + conv.R - 1) * conv.K, a.w * a.h * k)
