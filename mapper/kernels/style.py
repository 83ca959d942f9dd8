"""What the loop bodies of an array look like: its operations, how addresses are made, how constants arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .primitives import PRIMITIVES

__all__ = ["CGLA_STYLE", "CGRA_STYLE", "Style"]


@dataclass(frozen=True, slots=True)
class Style:
    """The shape of loop bodies.

    `operations`: what a PE executes in one step. `addresses`: "counters" when addresses are operations of the body,
    "host" when address units step by themselves. `explicit_phi`: loop-carried values pass through a phi node; else
    accumulators feed themselves inside the unit. `fused`: arithmetic, logic and shift are three stages of one
    operation, with immediates for logic and shift only; else every operation takes one immediate. `chain`: unrolled
    reductions combine one after the other (fewest operations, one a row), else in a balanced tree. `converts_last`: a
    combined value becomes the output's type in a tail body, once, rather than before the store of every iteration.
    """

    name: str
    operations: frozenset[str]
    addresses: Literal["counters", "host"]
    explicit_phi: bool
    fused: bool
    chain: bool
    converts_last: bool
    loop_levels: int = 0


_PLAIN = frozenset(PRIMITIVES) - {"nop", "phi"}

CGRA_STYLE = Style(
    "cgra",
    _PLAIN - {"fma"},
    "counters",
    explicit_phi=True,
    fused=False,
    chain=False,
    converts_last=True,
)
CGLA_STYLE = Style(
    "cgla",
    _PLAIN - {"abs", "neg", "not"},
    "host",
    explicit_phi=False,
    fused=True,
    chain=True,
    converts_last=False,
    loop_levels=2,
)
