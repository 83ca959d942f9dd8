"""Convolutions, their transposes, pooling and resizing, over one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from .growth import Growth, Value


def _image(g: Growth, most: int = 400) -> Value | None:
    """A tensor of batch, channels and one to three more dimensions; made from a smaller one where there is none."""
    x = g.pick(rank=g.rng.choice((3, 4, 4, 4, 5)), filled=True, most=most)
    if x is None:
        x = g.pick(least=3, filled=True, most=most)
    return x if x is not None and x.rank <= 5 else None


def _windows(
    g: Growth, spatial: Sequence[int], dilated: bool = True
) -> tuple[list[int], list[int], dict[str, object]] | None:
    """Kernel extents, output extents and attributes of a window that fits."""
    n = len(spatial)
    kernel = [g.rng.choice((1, 2, 3)) for _ in range(n)]
    strides = [g.rng.choice((1, 1, 2, 3)) for _ in range(n)]
    dilations = [g.rng.choice((1, 1, 2)) if dilated else 1 for _ in range(n)]
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    attributes: dict[str, object] = {"kernel_shape": kernel, "strides": strides}
    if dilated:
        attributes["dilations"] = dilations
    style = g.rng.choice(("pads", "pads", "pads", "none", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if style[0] == "S":  # together with dilations the runtimes disagree
        attributes.pop("dilations", None)
        attributes["auto_pad"] = style
        return kernel, [-(-e // s) for e, s in zip(spatial, strides, strict=True)], attributes
    pads = [g.rng.randint(0, (k - 1) if style == "pads" else 0) for k in (*kernel, *kernel)]
    if style == "pads":
        attributes["pads"] = pads
    elif style == "VALID":
        attributes["auto_pad"] = style
    out = [(e + pads[i] + pads[n + i] - spans[i]) // strides[i] + 1 for i, e in enumerate(spatial)]
    return (kernel, out, attributes) if min(out) >= 1 else None


def _divisor(g: Growth, number: int) -> int:
    return g.rng.choice([d for d in range(1, number + 1) if number % d == 0])


def conv(g: Growth) -> None:
    x = _image(g)
    found = x and _windows(g, x.shape[2:])
    if not x or not found:
        return
    kernel, out, attributes = found
    groups = _divisor(g, x.shape[1]) if g.chance(0.5) else 1
    filters = groups * g.rng.choice((1, 2, 3))
    if x.shape[0] * filters * prod(out) > 500:
        return
    bias = [g.weight(filters)] if g.chance(0.6) else []
    y = g.op("Conv", [x, g.weight(filters, x.shape[1] // groups, *kernel), *bias], (x.shape[0], filters, *out),
             group=groups, **attributes)  # fmt: skip
    _after(g, y)


def _after(g: Growth, y: Value) -> None:
    """What stands behind a convolution: normalisation, activation, both, nothing."""
    c = y.shape[1]
    if g.chance(0.4):
        variance = g.constant(g.arrays.uniform(0.5, 1.5, c).astype(np.float32))
        y = g.op("BatchNormalization", [y, *(g.weight(c) for _ in range(3)), variance], y.shape)
    if g.chance(0.5):
        g.op(g.rng.choice(("Relu", "Tanh", "Sigmoid", "LeakyRelu")), [y], y.shape)


def conv_transpose(g: Growth) -> None:
    x = _image(g, 150)
    if not x:
        return
    spatial, groups = x.shape[2:], _divisor(g, x.shape[1]) if g.chance(0.4) else 1
    n = len(spatial)
    kernel, strides = ([g.rng.choice((1, 2, 3)) for _ in range(n)] for _ in range(2))
    dilations = [g.rng.choice((1, 1, 2)) for _ in range(n)]
    extra = [g.rng.randint(0, max(s, d) - 1) for s, d in zip(strides, dilations, strict=True)]
    pads = [g.rng.randint(0, k - 1) for k in (*kernel, *kernel)]
    out = [
        strides[i] * (e - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1 - pads[i] - pads[n + i]
        for i, e in enumerate(spatial)
    ]
    filters = g.rng.choice((1, 2))
    if min(out) < 1 or x.shape[0] * filters * groups * prod(out) > 500:
        return
    bias = [g.weight(filters * groups)] if g.chance(0.5) else []
    g.op("ConvTranspose", [x, g.weight(x.shape[1], filters, *kernel), *bias], (x.shape[0], filters * groups, *out),
         group=groups, strides=strides, dilations=dilations, output_padding=extra, pads=pads)  # fmt: skip


def pool(g: Growth) -> None:
    x = _image(g)
    kind = g.rng.choice(("MaxPool", "AveragePool", "LpPool"))
    dilated = kind == "MaxPool" or (kind == "AveragePool" and g.opset >= 19)
    found = x and _windows(g, x.shape[2:], dilated)
    if not x or not found:
        return
    _, out, attributes = found
    if kind == "AveragePool":
        attributes["count_include_pad"] = g.rng.randint(0, 1)
    if kind == "LpPool":
        attributes["p"] = g.rng.choice((1, 2))
    g.op(kind, [x], (*x.shape[:2], *out), exact=x.exact and kind == "MaxPool", **attributes)


def ceiling_pool(g: Growth) -> None:
    """Windows that begin inside and end outside."""
    x = _image(g)
    if x and min(x.shape[2:]) >= 3:
        out = [-(-(e - 2) // 2) + 1 for e in x.shape[2:]]
        kind = g.rng.choice(("MaxPool", "AveragePool"))
        n = len(out)
        if all((o - 1) * 2 < e for o, e in zip(out, x.shape[2:], strict=True)):
            g.op(kind, [x], (*x.shape[:2], *out), exact=x.exact and kind == "MaxPool", ceil_mode=1,
                 kernel_shape=[2] * n, strides=[2] * n)  # fmt: skip


def whole(g: Growth) -> None:
    x = _image(g)
    if x:
        kind = g.rng.choice(("GlobalAveragePool", "GlobalMaxPool"))
        g.op(kind, [x], (*x.shape[:2], *(1 for _ in x.shape[2:])), exact=x.exact and kind == "GlobalMaxPool")


def resize(g: Growth) -> None:
    x = g.pick(rank=4, filled=True, most=120)
    if not x:
        return
    b, c, h, w = x.shape
    mode = g.rng.choice(("nearest", "linear", "linear", "cubic"))
    place = g.rng.choice(("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"))
    extra = {"nearest_mode": g.rng.choice(("round_prefer_floor", "floor"))} if mode == "nearest" else {}
    if g.chance(0.5):
        tall, wide = g.rng.randint(1, 2 * h), g.rng.randint(1, 2 * w)
        inputs = [x, "", "", g.ints(b, c, tall, wide)]
    else:
        up = g.rng.choice((2.0, 1.5, 0.5))
        tall, wide = int(h * up), int(w * 2)
        inputs = [x, "", g.constant(np.array([1, 1, up, 2], np.float32))]
    if tall and wide:
        g.op("Resize", inputs, (b, c, tall, wide), mode=mode, coordinate_transformation_mode=place, **extra)


def lrn(g: Growth) -> None:
    x = g.pick(rank=4, filled=True)
    if x:
        g.op("LRN", [x], x.shape, size=g.rng.choice((1, 3, 5)), alpha=0.5)


STEPS = (conv, conv, conv, conv_transpose, pool, pool, ceiling_pool, whole, resize, lrn)
