"""Layers on accelerators whose spatial mapping is given: what every memory moves, as energy.

The problem is that of ZigZag (Mei et al., IEEE TC 2021; access rules as of release 3.9.1): a layer's loops run on a PE
array with a fixed unrolling; what remains are temporal loops, whose product per dimension is fixed, in any order and
split into any factors; and per operand the places in that order at which its memories begin and end ("uneven").

Let x be a point inside the temporal order: per dimension the product of the factors inside it. What an operand's
memory holds that ends at x, how often it is refilled (total cycles / cycles of x) and in which width partial results
leave it are functions of x alone. So a mapping is a chain of points, per operand one for each memory but the outermost
and one for what stands still at the inputs of the array; its energy is a sum over these points (`chains.py` finds the
least one), and a memory that operands share is the only thing that couples them.

A dimension n unrolled u times runs ceil(n / u) steps; its unrolling counts as n / steps, so that idle places cost
nothing. Widths: an access moves a multiple of the port's least width and costs a share of its greatest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Accelerator", "Layer", "MemoryLevel", "Point", "Terms", "architectures"]

Array = np.ndarray[Any, Any]
OPERANDS = ("I", "W", "O")
PORT_NAMES = {"I": "I1", "W": "I2", "O": "O"}
IRRELEVANT = {"I": ("K",), "W": ("B", "OX", "OY", "D"), "O": ("C", "FX", "FY")}
WINDOWS = (("OX", "FX"), ("OY", "FY"))  # dimensions of the input: positions of the output and of the kernel


@dataclass(frozen=True, slots=True)
class MemoryLevel:
    """One memory of the hierarchy. `widths` gives (least, greatest) bits of an access per direction code: "fh" written
    from outside, "tl" read inwards, "fl" written from inside, "th" read outwards; `serves` the array dimensions that
    one instance feeds; `ports` numbers the port of each entry of `widths`."""

    name: str
    bits: int
    read_pj: float
    write_pj: float
    operands: tuple[str, ...]
    serves: tuple[str, ...]
    widths: tuple[tuple[str, str, int, int], ...]
    ports: tuple[int, ...] = ()

    def width(self, operand: str, direction: str) -> tuple[int, int]:
        """(least, greatest) bits of an access."""
        return next((low, high) for o, d, low, high in self.widths if (o, d) == (operand, direction))


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Memories from inside to outside, dimensions of the array, energy of a multiply-accumulate."""

    name: str
    dimensions: tuple[tuple[str, int], ...]
    mac_pj: float
    memories: tuple[MemoryLevel, ...]

    def chain(self, operand: str) -> tuple[MemoryLevel, ...]:
        """The memories of one operand, from inside to outside."""
        return tuple(memory for memory in self.memories if operand in memory.operands)


def architectures(path: Path) -> dict[str, Accelerator]:
    """Accelerators of a file in the format of benchmarks/data/cost/architectures.json."""
    content = json.loads(path.read_text(encoding="utf-8"))["architectures"]
    return {name: _accelerator(name, value) for name, value in content.items()}


def _accelerator(name: str, value: Mapping[str, Any]) -> Accelerator:
    back = {port: operand for operand, port in PORT_NAMES.items()}
    memories = []
    for item in value["memories_inner_to_outer"]:
        widths, numbers = [], []
        for number, port in enumerate(item["ports"]):
            for carried in port["carries"]:
                operand, direction = carried.split(", ")
                widths.append((back[operand], direction, port["bits_per_cycle_min"], port["bits_per_cycle_max"]))
                numbers.append(number)
        memories.append(
            MemoryLevel(item["name"], int(item["size_bits"]), item["read_pJ_per_access"], item["write_pJ_per_access"],
                        tuple(back[o] for o in item["operands"]), tuple(item["shared_over_array_dims"]),
                        tuple(widths), tuple(numbers))
        )  # fmt: skip
    array = value["array"]
    return Accelerator(name, tuple(array["dims"].items()), array["mac_pJ"], tuple(memories))


@dataclass(frozen=True)
class Layer:
    """A layer on an array. `sizes` per dimension; `unrolled` (array dimension, loop dimension, factor); `input_limits`
    the real extents of the input where padding is not stored; widths in bits."""

    sizes: tuple[tuple[str, int], ...]
    strides: tuple[tuple[str, int], ...]
    unrolled: tuple[tuple[str, str, int], ...]
    input_bits: int
    weight_bits: int
    partial_bits: int
    final_bits: int
    input_limits: tuple[tuple[str, int], ...] = ()

    @cached_property
    def size(self) -> dict[str, int]:
        return dict(self.sizes)

    @property
    def macs(self) -> int:
        return math.prod(self.size.values())

    @cached_property
    def steps(self) -> dict[str, int]:
        """Temporal iterations per dimension."""
        factor = {d: math.prod(f for _, loop, f in self.unrolled if loop == d) for d in self.size}
        return {d: -(-n // factor[d]) for d, n in self.size.items()}

    @cached_property
    def places(self) -> tuple[tuple[str, str, float], ...]:
        """The unrolling with fractional factors: a dimension's size over its steps, idle places left out."""
        found = []
        for dim, loop, factor in self.unrolled:
            others = math.prod(f for _, other, f in self.unrolled if other == loop) / factor
            found.append((dim, loop, self.size[loop] / self.steps[loop] / others))
        return tuple(found)

    @property
    def cycles(self) -> int:
        return math.prod(self.steps.values())

    def bits(self, operand: str, partial: bool = False) -> int:
        if operand == "O":
            return self.partial_bits if partial else self.final_bits
        return self.input_bits if operand == "I" else self.weight_bits


Point = Mapping[str, Any]  # per dimension the product of the temporal factors inside, numbers or broadcastable arrays


@dataclass(frozen=True)
class Terms:
    """Energy and room of one operand's memories as functions of points."""

    layer: Layer
    accelerator: Accelerator
    operand: str
    whole: bool = False  # unrolled factors cut to integers, as time is counted

    @cached_property
    def memories(self) -> tuple[MemoryLevel, ...]:
        return self.accelerator.chain(self.operand)

    @cached_property
    def spatial(self) -> tuple[tuple[tuple[str, float], ...], ...]:
        """Unrolled (dimension, factor) directly below each memory."""
        found, below = [], frozenset[str]()
        places = [(dim, loop, float(math.floor(f + 1e-9)) if self.whole else f) for dim, loop, f in self.layer.places]
        for memory in self.memories:
            new = frozenset(memory.serves) - below
            found.append(tuple((loop, f) for dim, loop, f in places if dim in new))
            below |= frozenset(memory.serves)
        left = tuple((loop, f) for dim, loop, f in places if dim not in below)
        found[-1] = (*found[-1], *left)
        return tuple(found)

    def relevant(self, dimension: str) -> bool:
        return dimension not in IRRELEVANT[self.operand]

    def instances(self, level: int) -> int:
        """Instances of memory `level` in use."""
        return round(math.prod(f for part in self.spatial[level + 1 :] for _, f in part))

    def fanout(self, level: int) -> int:
        """Different slices that one instance of `level` deals out to those directly below."""
        return round(self._unique(level) / self._unique(level + 1))

    def _unique(self, level: int) -> float:
        """Places that hold different data, from `level` outwards."""
        inner, outer = _factors(self.layer, self.spatial[:level]), _factors(self.layer, self.spatial[level:])
        return float(self._slice({d: inner[d] * outer[d] for d in inner}) / self._slice(inner))

    def elements(self, level: int, point: Point) -> Any:
        """Elements in one instance of memory `level` that ends at `point`; level -1: one place of the array."""
        inner = _factors(self.layer, self.spatial[: level + 1])
        return np.rint(self._slice({d: point[d] * inner[d] for d in self.layer.size}))

    def _slice(self, sizes: Point) -> Any:
        """Elements of the operand for iterations of `sizes`: windows overlap, padding is cut off."""
        found: Any = 1.0
        paired = {d for pair in WINDOWS for d in pair} if self.operand == "I" else set()
        for d in self.layer.size:
            if d not in paired and self.relevant(d):
                found = found * sizes[d]
        if self.operand == "I":
            for position, kernel in WINDOWS:
                if position in self.layer.size:
                    found = found * self._window(position, sizes[position], sizes[kernel])
        return found

    def _window(self, position: str, positions: Any, taps: Any) -> Any:
        """Distinct inputs under `positions` x `taps` of a window, at most those that exist."""
        stride = dict(self.layer.strides)[position]
        positions, taps = np.floor(positions + 1e-9), np.floor(taps + 1e-9)
        touched = positions * taps - np.maximum(0, taps - stride) * (positions - 1)
        return np.minimum(touched, dict(self.layer.input_limits).get(position, math.inf))

    def partial_outside(self, level: int, point: Point) -> Any:
        """Do results leave memory `level`, which ends at `point`, unfinished?"""
        open_: Any = any(loop in IRRELEVANT["O"] and f > 1 for part in self.spatial[level + 2 :] for loop, f in part)
        for d in IRRELEVANT["O"]:
            if d in self.layer.size:
                open_ = open_ | (point[d] < self.layer.steps[d])
        return open_

    def words(self, level: int, direction: str, elements: Any, bits: Any, times: Any) -> Any:
        """Accesses of all instances of memory `level`, in words of its greatest width."""
        low, high = self.memories[level].width(self.operand, direction)
        found = np.ceil(elements * bits / low) * (low / high) * times * self.instances(level)
        return np.floor(np.where(np.asarray(bits) > 0, found, 0) + 1e-6)

    def accesses(self, level: int, point: Point) -> list[tuple[int, str, Any]]:
        """(memory, direction, words) over the link between memory `level`, which ends at `point`, and the next; level
        -1 is the array itself."""
        times = self.layer.cycles // _product(point)
        held = self.elements(level, point)
        dealt = held * self.fanout(level + 1)
        if self.operand != "O":
            width = self.layer.bits(self.operand)
            found = [(level + 1, "tl", self.words(level + 1, "tl", dealt, width, times))]
            return found + ([(level, "fh", self.words(level, "fh", held, width, times))] if level >= 0 else [])
        partial = self.partial_outside(level, point)
        bits = np.where(partial, self.layer.partial_bits, self.layer.final_bits)
        back = np.where(partial, self.layer.partial_bits, 0)
        found = [(level + 1, "fl", self.words(level + 1, "fl", dealt, bits, times)),
                 (level + 1, "tl", self.words(level + 1, "tl", dealt, back, times))]  # fmt: skip
        if level >= 0:
            found += [(level, "th", self.words(level, "th", held, bits, times)),
                      (level, "fh", self.words(level, "fh", held, back, times))]  # fmt: skip
        return found

    def pj(self, level: int, point: Point) -> Any:
        """Energy of that link."""
        total: Any = 0.0
        for memory, direction, words in self.accesses(level, point):
            item = self.memories[memory]
            total = total + words * (item.read_pj if direction in ("tl", "th") else item.write_pj)
        return total


def _factors(layer: Layer, parts: Sequence[Sequence[tuple[str, float]]]) -> dict[str, float]:
    """Unrolled factor per dimension over several memories."""
    return {d: math.prod(f for part in parts for loop, f in part if loop == d) for d in layer.size}


def _product(point: Point) -> Any:
    found: Any = 1
    for value in point.values():
        found = found * value
    return found


def points_of(layer: Layer, splits: Sequence[Sequence[tuple[str, int]]]) -> list[dict[str, int]]:
    """The point at which each memory of an operand ends, given its temporal loops per memory, inner ones first."""
    point = dict.fromkeys(layer.size, 1)
    found = []
    for loops in splits:
        for dimension, factor in loops:
            point = {**point, dimension: point[dimension] * factor}
        found.append(point)
    return found
