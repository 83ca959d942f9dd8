"""The geometry of sliding windows: kernel, strides, dilations and padding, per spatial dimension.

Output extent, for an input of extent I, kernel F, stride s, dilation d, padding p before and q after:
    O = floor((I + p + q - d (F - 1) - 1) / s) + 1   (ceil with ceil_mode, without windows that start in the padding)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mapper.index import Index, loop

from .errors import ModelError
from .node import Node

__all__ = ["Window", "kernel_loops", "spatial", "window_of"]

_AXES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}


def spatial(rank: int) -> tuple[str, ...]:
    """Output loops of the spatial dimensions: oy, ox."""
    return tuple(f"o{a}" for a in _AXES.get(rank, tuple(f"s{i}" for i in range(rank))))


def kernel_loops(rank: int) -> tuple[str, ...]:
    """Kernel loops: fy, fx."""
    return tuple(f"f{a}" for a in _AXES.get(rank, tuple(f"s{i}" for i in range(rank))))


@dataclass(frozen=True, slots=True)
class Window:
    """A window over the spatial dimensions of extents `inputs`."""

    inputs: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.inputs)

    def position(self, axis: int) -> Index:
        """The input coordinate (may lie in the padding) of output o and tap f."""
        out, tap = loop(spatial(self.rank)[axis]), loop(kernel_loops(self.rank)[axis])
        return out * self.strides[axis] + tap * self.dilations[axis] - self.begins[axis]

    def positions(self) -> tuple[Index, ...]:
        return tuple(self.position(axis) for axis in range(self.rank))

    def output_loops(self) -> tuple[Index, ...]:
        return tuple(loop(name) for name in spatial(self.rank))

    def guards(self) -> tuple[Index, ...]:
        """The coordinates lie inside the input, only for axes that can leave it."""
        found: list[Index] = []
        for axis in range(self.rank):
            at, reach = self.position(axis), self.dilations[axis] * (self.kernel[axis] - 1)
            last = (self.outputs[axis] - 1) * self.strides[axis] + reach - self.begins[axis]
            if self.begins[axis] > 0 or last >= self.inputs[axis]:
                found += [at, self.inputs[axis] - 1 - at]
        return tuple(found)


def window_of(node: Node, inputs: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of a convolution or pooling node. Raises ModelError for a geometry that makes no output."""
    rank = len(inputs)
    strides = _given(node, "strides", rank, 1)
    dilations = _given(node, "dilations", rank, 1)
    if len(kernel) != rank or any(v < 1 for v in (*kernel, *strides, *dilations)):
        hint = f"kernel {list(kernel)}, strides {list(strides)}, dilations {list(dilations)}"
        raise ModelError(f"{node.op_type} has an impossible window", node.name, hint)
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    begins, ends = _padding(node, inputs, reach, strides)
    outputs = []
    for i in range(rank):
        room = inputs[i] + begins[i] + ends[i] - reach[i]
        if room < 0:
            raise ModelError(
                f"{node.op_type}'s kernel of {kernel[i]} is larger than its input of {inputs[i]}", node.name
            )
        ceiling = node.int("ceil_mode") and node.text("auto_pad", "NOTSET") in ("NOTSET", "")
        count = (-(-room // strides[i]) if ceiling else room // strides[i]) + 1
        if ceiling and (count - 1) * strides[i] >= inputs[i] + begins[i]:
            count -= 1
        outputs.append(count)
    return Window(tuple(inputs), tuple(kernel), strides, dilations, begins, ends, tuple(outputs))


def _given(node: Node, name: str, rank: int, default: int) -> tuple[int, ...]:
    values = node.ints(name) or (default,) * rank
    if len(values) != rank:
        raise ModelError(f"{node.op_type} has {len(values)} {name} for {rank} spatial dimensions", node.name)
    return values


def _padding(
    node: Node, inputs: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank = len(inputs)
    mode = node.text("auto_pad", "NOTSET") or "NOTSET"
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        outputs = [-(-i // s) for i, s in zip(inputs, strides, strict=True)]
        total = [max((o - 1) * s + r - i, 0) for o, s, r, i in zip(outputs, strides, reach, inputs, strict=True)]
        small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        return (small, large) if mode == "SAME_UPPER" else (large, small)
    if mode == "VALID":
        return (0,) * rank, (0,) * rank
    pads = _given(node, "pads", 2 * rank, 0)
    if any(p < 0 or p > 1 << 31 for p in pads):
        raise ModelError(f"{node.op_type} has impossible pads", node.name)
    return pads[:rank], pads[rank:]
