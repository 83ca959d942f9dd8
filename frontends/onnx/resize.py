"""Resize and Upsample: each axis is interpolated on its own.

Output o of an axis lies at input coordinate x(o). Nearest reads one element, linear and cubic a weighted few: element
i weighs kernel((i - x) s) with s = min(scale, 1) under antialiasing, 1 otherwise. Coordinates are known while the
model is read, so the taps are two small tables, positions and weights; where positions advance evenly they become an
affine access (a division for whole factors) and no table is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mapper.index import Gathered, Index, constant, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Acc, Scalar

from .context import KNOWN_BYTES, Context, Reads
from .errors import ModelError
from .nests import accumulator, axis_of, call, computed, identity, loops_over, names_of
from .node import Node

__all__ = ["TABLE"]

MOST_TAPS = KNOWN_BYTES // 8


@dataclass(frozen=True, slots=True)
class AxisPlan:
    """One axis: extents, scale, and the region of interest (start and end, as fractions)."""

    axis: int
    inputs: int
    outputs: int
    scale: float
    start: float = 0.0
    end: float = 1.0


def resize(c: Context, node: Node) -> None:
    x = node.input(0)
    shape = c.shape(x)
    plans = [p for p in _plans(c, node, shape) if not _keeps(node, p)]
    target = list(shape)
    for plan in plans:
        target[plan.axis] = plan.outputs
    if not plans:
        return c.rename(node, x)
    if any(p.outputs * max(p.inputs, 1) > 1 << 26 for p in plans):
        raise ModelError(f"{node.op_type} to {target} is larger than what is taken", node.name)
    if node.text("mode", "nearest") == "nearest":
        out = c.output(node, 0, target, c.dtype(x))
        _nearest(c, node, x, out, plans)
        return None
    for plan in plans:
        part = list(c.shape(x))
        part[plan.axis] = plan.outputs
        out = (
            c.output(node, 0, part, c.dtype(x))
            if plan is plans[-1]
            else c.temporary(node, f"axis{plan.axis}", part, c.dtype(x))
        )
        _interpolate(c, node, x, out, plan)
        x = out
    return None


def _keeps(node: Node, plan: AxisPlan) -> bool:
    return plan.inputs == plan.outputs and plan.scale == 1.0 and _mode(node) != "tf_crop_and_resize"


def _mode(node: Node) -> str:
    if node.op_type == "Upsample" or node.version < 11:
        return "asymmetric"
    return node.text("coordinate_transformation_mode", "half_pixel")


def _plans(c: Context, node: Node, shape: Sequence[int]) -> list[AxisPlan]:
    """The axes with their scales, from whichever of scales and sizes is given."""
    rank = len(shape)
    axes = [axis_of(a, rank, node.name) for a in node.ints("axes") or range(rank)]
    scales_at = 1 if node.version < 11 else 2
    scales: tuple[float, ...] = node.floats("scales") or ()
    sizes: tuple[int, ...] = ()
    if node.input(scales_at):
        scales = tuple(float(v) for v in c.need(node, scales_at, "scales").reshape(-1))
    if node.input(3) and not scales:
        sizes = c.ints(node, 3, "sizes")
    given = len(sizes or scales)
    if given != len(axes) or any(v <= 0 for v in scales) or any(v < 0 for v in sizes):
        raise ModelError(f"{node.op_type} has {given} scales or sizes for {len(axes)} axes", node.name)
    if sizes:
        plans = _sized(node, shape, axes, sizes)
    else:
        plans = [AxisPlan(a, shape[a], math.floor(shape[a] * s), s) for a, s in zip(axes, scales, strict=True)]
    if _mode(node) != "tf_crop_and_resize":
        return plans
    roi = [float(v) for v in c.need(node, 1, "roi").reshape(-1)]
    half = len(roi) // 2
    return [replace(p, start=roi[i], end=roi[half + i]) for i, p in enumerate(plans)]


def _sized(node: Node, shape: Sequence[int], axes: Sequence[int], sizes: Sequence[int]) -> list[AxisPlan]:
    ratios = [s / shape[a] if shape[a] else 1.0 for s, a in zip(sizes, axes, strict=True)]
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return [AxisPlan(a, shape[a], s, r) for a, s, r in zip(axes, sizes, ratios, strict=True)]
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return [AxisPlan(a, shape[a], math.floor(ratio * shape[a] + 0.5), ratio) for a in axes]


def _coordinates(node: Node, plan: AxisPlan) -> np.ndarray:
    """x(o) for every output of the axis."""
    mode, wide = _mode(node), plan.scale * plan.inputs
    o = np.arange(plan.outputs, dtype=np.float64)
    if mode == "asymmetric":
        return o / plan.scale
    if mode == "align_corners":
        return o * 0 if wide == 1 else o * (plan.inputs - 1) / (wide - 1)
    if mode == "tf_crop_and_resize":
        span = (plan.end - plan.start) * (plan.inputs - 1)
        moved = o * 0 + span / 2 if wide == 1 else o * span / (wide - 1)
        return moved + plan.start * (plan.inputs - 1)
    if mode not in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        raise ModelError(f"coordinate_transformation_mode {mode!r} is unknown", node.name)
    shift = plan.inputs / 2 * (1 - plan.outputs / wide) if mode == "half_pixel_symmetric" else 0.0
    if mode == "pytorch_half_pixel" and wide == 1:
        return o * 0 - 0.5
    return shift + (o + 0.5) / plan.scale - 0.5


# Nearest -----------------------------------------------------------------------------------------------------------

_ROUNDINGS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _nearest(c: Context, node: Node, x: str, out: str, plans: Sequence[AxisPlan]) -> None:
    older = node.op_type == "Upsample" or node.version < 11
    rounding = "floor" if older else node.text("nearest_mode", "round_prefer_floor")
    if rounding not in _ROUNDINGS:
        raise ModelError(f"nearest_mode {rounding!r} is unknown", node.name)
    at = list(identity(len(c.shape(out))))
    reads, inside = Reads(c), list[Scalar]()
    for plan in plans:
        x_of = _coordinates(node, plan)
        places = np.clip(_ROUNDINGS[rounding](x_of), 0, max(plan.inputs - 1, 0)).astype(np.int64)
        if _mode(node) == "tf_crop_and_resize":
            inside.append(_inside(c, node, reads, plan, x_of, at[plan.axis]))
        at[plan.axis] = _place(c, node, reads, plan, places, at[plan.axis])
    value = reads(x, at)
    for condition in inside:
        value = call("where", condition, value, node.float("extrapolation_value"))
    shape = c.shape(out)
    c.nest(node, loops_over(shape), reads, Access(out, identity(len(shape))), value)


def _inside(c: Context, node: Node, reads: Reads, plan: AxisPlan, x_of: np.ndarray, at: Index) -> Scalar:
    """Whether the coordinate lies in the image, as a table."""
    valid = (x_of >= 0) & (x_of <= plan.inputs - 1)
    return reads(c.constant(c.fresh(f"{node.name}.inside{plan.axis}"), valid, "bool"), (at,))


def _place(c: Context, node: Node, reads: Reads, plan: AxisPlan, places: np.ndarray, at: Index) -> Index:
    """The position read: even steps and whole factors as an index, anything else through a table."""
    found: list[int] = places.tolist()
    step = found[1] - found[0] if len(found) > 1 else 0
    if found == [found[0] + i * step for i in range(len(found))]:
        return at * step + found[0]
    for factor, top in ((plan.outputs // max(plan.inputs, 1), 1), (plan.outputs, plan.inputs)):
        if factor > 0 and found == [i * top // factor for i in range(len(found))]:
            return (at * top) // factor
    table = c.constant(c.fresh(f"{node.name}.positions{plan.axis}"), places, "int64")
    return Index(((Gathered(reads.position(table, (at,)), plan.inputs), 1),))


# Linear and cubic --------------------------------------------------------------------------------------------------


def _kernel(node: Node) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """The interpolation kernel and its radius."""
    mode = node.text("mode", "nearest")
    if mode in ("linear", "bilinear"):
        return lambda t: np.maximum(0.0, 1.0 - np.abs(t)), 1.0
    if mode != "cubic":
        raise ModelError(f"mode {mode!r} of {node.op_type} is unknown", node.name)
    a = node.float("cubic_coeff_a", -0.75)

    def cubic(t: np.ndarray) -> np.ndarray:
        t = np.abs(t)
        near = (a + 2) * t**3 - (a + 3) * t**2 + 1
        far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
        return np.where(t <= 1, near, np.where(t < 2, far, 0.0))

    return cubic, 2.0


def _taps(node: Node, plan: AxisPlan) -> tuple[np.ndarray, np.ndarray]:
    """Positions and weights, [outputs, taps]; positions outside the image stand for its edge."""
    kernel, radius = _kernel(node)
    x = _coordinates(node, plan)
    shrink = min(plan.scale, 1.0) if node.int("antialias") else 1.0
    reach = math.ceil(radius / shrink)
    positions = np.floor(x).astype(np.int64)[:, None] + np.arange(1 - reach, reach + 1)
    weights = kernel((positions - x[:, None]) * shrink)
    outside = (positions < 0) | (positions >= plan.inputs)
    if node.int("exclude_outside"):
        weights = np.where(outside, 0.0, weights)
    total = weights.sum(axis=1, keepdims=True)
    if node.int("antialias") or node.int("exclude_outside"):
        weights = weights / np.where(total == 0, 1.0, total)
    return np.clip(positions, 0, plan.inputs - 1), weights


def _interpolate(c: Context, node: Node, x: str, out: str, plan: AxisPlan) -> None:
    positions, weights = _taps(node, plan)
    shape, names = c.shape(out), names_of(len(c.shape(out)))
    if positions.size > MOST_TAPS:
        raise ModelError(f"{node.op_type} along axis {plan.axis} needs {positions.size} weights", node.name)
    kind = accumulator(c.dtype(x))
    index_table = c.constant(c.fresh(f"{node.name}.positions{plan.axis}"), positions, "int64")
    weight_table = c.constant(c.fresh(f"{node.name}.weights{plan.axis}"), weights.astype(kind), kind)
    reads, own, tap = Reads(c), loop(names[plan.axis]), loop("f")
    if positions.size == 1:
        place: Index = constant(int(positions[0, 0]))
    else:
        place = Index(((Gathered(reads.position(index_table, (own, tap)), plan.inputs), 1),))
    at = [place if i == plan.axis else loop(n) for i, n in enumerate(names)]
    body = call("mul", computed(reads(x, at), c.dtype(x)), reads(weight_table, (own, tap)))
    tail: Scalar | None = None
    if _mode(node) == "tf_crop_and_resize":
        inside = _inside(c, node, reads, plan, _coordinates(node, plan), own)
        tail = call("where", inside, Acc(), node.float("extrapolation_value"))
    loops = (*loops_over(shape), Loop("f", positions.shape[1]))
    c.nest(
        node, loops, reads, Access(out, identity(len(shape))), body, Combiner("sum", kind), tail,
        label=f"axis{plan.axis}",
    )  # fmt: skip


TABLE: Mapping[str, Callable[[Context, Node], None]] = {"Resize": resize, "Upsample": resize}
