"""Random valid ONNX models, grown operator by operator from a number: the same number gives the same model.

Each step draws tensors that fit it, so no model is ever rejected. Values stay of order one, so rounding cannot hide a
mistake; what jumps (comparisons, rounding, arg-extrema, casts) is only applied to *exact* tensors: those that reach it
from an input without any rounding.
"""

from __future__ import annotations

from . import arithmetic, control, images, layout, numbers, picking, products
from .growth import Grown, Growth

__all__ = ["FAMILIES", "Grown", "grown"]

FAMILIES = (arithmetic.STEPS, arithmetic.STEPS, layout.STEPS, layout.STEPS, products.STEPS, images.STEPS, images.STEPS,
            products.STEPS, numbers.STEPS, picking.STEPS, control.STEPS)  # fmt: skip


def grown(number: int, most: int = 8) -> Grown:
    """Model `number`, of a few steps to `most`."""
    g = Growth(number)
    wanted = g.rng.randint(2, most)
    for _ in range(20 * wanted):
        if g.steps >= wanted:
            break
        family = g.rng.choice(FAMILIES)
        g.try_step(g.rng.choice(family))
    return g.finished()
