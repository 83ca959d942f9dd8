"""How long a layer takes on an accelerator whose spatial mapping is given: steps, stalls, loading and unloading.

The model is that of ZigZag (Mei et al., DATE 2022, "uniform latency model"; rules as of release 3.9.1). Per operand and
memory a transfer recurs once per *period*, the cycles of everything inside its point. It may take the whole period if
the memory has room for two (or an operand's outermost loops move it in pieces that leave room), else only the part in
which its slice is no longer used: the period over the irrelevant loops that end it. A port whose transfers need longer
than they may stalls the array; transfers that share a port compete for the union of their windows. Before the first
step inputs are loaded, after the last results are unloaded, both hidden behind the steps as far as ports are idle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .accelerator import IRRELEVANT, OPERANDS, Accelerator, Layer, MemoryLevel, Terms, points_of

__all__ = ["Latency", "Transfer", "latency", "settle"]

Loops = Sequence[Sequence[tuple[str, int]]]  # temporal loops per memory, inner ones first
PR = {"OX", "FX", "OY", "FY"}


@dataclass(frozen=True, slots=True)
class Latency:
    """Cycles before, during (stalls included) and after the computation."""

    onloading: float
    computation: float
    offloading: float

    @property
    def cycles(self) -> float:
        return self.onloading + self.computation + self.offloading


@dataclass(frozen=True, slots=True)
class Transfer:
    """A recurring transfer at a memory's port: `bits` each `period` cycles, `count` times, in a window of `allowed`
    cycles; it takes `real`."""

    operand: str
    level: int
    direction: str
    bits: float
    period: int
    count: int
    allowed: int
    real: int
    average: int

    @property
    def stall(self) -> int:
        return (self.real - self.allowed) * (self.count - 1)

    @property
    def window(self) -> int:
        return self.allowed * (self.count - 1)


def settle(operand: str, splits: Loops) -> list[list[tuple[str, int]]]:
    """Irrelevant loops at the bottom of a memory belong to the one below: its slice stays through them."""
    found = [list(loops) for loops in splits]
    for level in range(len(found) - 1, 0, -1):
        _drop(operand, found, level)
    for level in range(1, len(found)):  # what was dropped may fall further through memories that became empty
        for lower in range(level, 0, -1):
            _drop(operand, found, lower)
    return found


def _drop(operand: str, splits: list[list[tuple[str, int]]], level: int) -> None:
    while splits[level] and splits[level][0][0] in IRRELEVANT[operand]:
        splits[level - 1].append(splits[level].pop(0))


@dataclass(frozen=True)
class _Flow:
    """Transfers of one operand."""

    terms: Terms
    fractional: Terms
    splits: tuple[tuple[tuple[str, int], ...], ...]

    @cached_property
    def points(self) -> list[dict[str, int]]:
        """Point at which each memory ends; index 0 is what stands still at the array."""
        return [self._still(), *points_of(self.terms.layer, self.splits)]

    def _still(self) -> dict[str, int]:
        point = dict.fromkeys(self.terms.layer.size, 1)
        if self.terms.operand != "O":
            for dimension, factor in self.splits[0]:
                if dimension not in IRRELEVANT[self.terms.operand]:
                    break
                point[dimension] *= factor
        return point

    def cycles(self, level: int) -> int:
        """Period of memory `level`'s slice; -1: of what stands at the array."""
        return math.prod(self.points[level + 1].values())

    def last(self, level: int, relevant: bool) -> int:
        """Product of the outermost loops of memory `level` that all move its slice, or all leave it."""
        found = 1
        for dimension, factor in reversed(self.splits[level] if level >= 0 else ()):
            leaves = dimension in IRRELEVANT[self.terms.operand]
            moves = not leaves and not (self.terms.operand == "I" and dimension in PR)
            if not (moves if relevant else leaves):
                break
            found *= factor
        return found

    def partial(self, level: int) -> bool:
        return self.terms.operand == "O" and bool(self.terms.partial_outside(level, self.points[level + 1]))

    def bits(self, level: int) -> float:
        """Bits of a slice in one instance of memory `level`."""
        return float(self.terms.elements(level, self.points[level + 1])) * self.width(level)

    def width(self, level: int) -> int:
        return self.terms.layer.bits(self.terms.operand, self.partial(level))

    def share(self, level: int) -> float:
        """Share of memory `level` that is in use at a time, slices of the outermost relevant loops apart."""
        elements = float(self.fractional.elements(level, self.points[level + 1])) * self.width(level)
        return (elements // self.last(level, True)) / self.terms.memories[level].bits

    def transfers(self, level: int, double: Sequence[bool]) -> list[Transfer]:
        """All transfers at memory `level`; `double[i]`: may the slice of memory i - 1 be replaced while it is used?"""
        top = level == len(self.terms.memories) - 1
        found = []
        inner, outer = self.partial(level - 1), self.partial(level)
        if self.terms.operand != "O":
            found.append(self._inwards(level, "tl", double))
            if not top:
                found.append(self._outwards(level, "fh", double))
            return found
        found.append(self._inwards(level, "fl", double))
        if inner:
            found.append(self._inwards(level, "tl", double))
        if not top:
            found.append(self._outwards(level, "th", double))
            if outer:
                found.append(self._outwards(level, "fh", double))
        return found

    def _inwards(self, level: int, direction: str, double: Sequence[bool]) -> Transfer:
        """Between memory `level` and what lies below it."""
        elements = float(self.terms.elements(level - 1, self.points[level])) * self.terms.fanout(level)
        return self._transfer(level, direction, level - 1, elements, double)

    def _outwards(self, level: int, direction: str, double: Sequence[bool]) -> Transfer:
        """Between memory `level` and what lies above it."""
        return self._transfer(
            level, direction, level, float(self.terms.elements(level, self.points[level + 1])), double
        )

    def _transfer(self, level: int, direction: str, end: int, elements: float, double: Sequence[bool]) -> Transfer:
        period, bits = self.cycles(end), elements * self.width(end)
        allowed = period if double[end + 1] else period // self.last(end, False)
        _, width = self.terms.memories[level].width(self.terms.operand, direction)
        return Transfer(self.terms.operand, level, direction, bits, period, self.terms.layer.cycles // period, allowed,
                        math.ceil(bits / width), int(bits / period))  # fmt: skip


def latency(layer: Layer, accelerator: Accelerator, splits: Mapping[str, Loops]) -> Latency:
    """Cycles of a mapping; `splits` gives each operand's temporal loops per memory, inner ones first."""
    flows = {
        o: _Flow(Terms(layer, accelerator, o, True), Terms(layer, accelerator, o),
                 tuple(tuple(loops) for loops in settle(o, splits[o])))
        for o in OPERANDS
    }  # fmt: skip
    double = _double_buffered(accelerator, flows)
    active = {(t.operand, t.level, t.direction): t for o, flow in flows.items()
              for level in range(len(flow.terms.memories)) for t in flow.transfers(level, double[o])}  # fmt: skip
    ports = [(flows, memory, carried) for memory in accelerator.memories for carried in _ports(memory)]
    found = [[active[key] for key in _keys(flows, memory, carried) if key in active] for _, memory, carried in ports]
    computation = layer.cycles + max([0, *(_stall(transfers) for transfers in found)])
    loads: dict[tuple[str, int, str], tuple[float, bool]] = {}
    for (_, memory, carried), transfers in zip(ports, found, strict=True):
        both = {"I", "W"} <= {operand for operand, _ in carried}
        width = max(memory.width(o, d)[1] for o, d in carried)
        loads |= {key: (cycles, both) for key, cycles in _loading(transfers, width, computation, flows).items()}
    return Latency(_onloading(flows, loads), computation, _offloading(flows, loads))


def _ports(memory: MemoryLevel) -> list[tuple[tuple[str, str], ...]]:
    """(operand, direction) pairs that share a port, in the order of the file."""
    found: dict[int, list[tuple[str, str]]] = {}
    for (operand, direction, _, _), port in zip(memory.widths, memory.ports, strict=True):
        found.setdefault(port, []).append((operand, direction))
    return [tuple(pairs) for pairs in found.values()]


def _keys(
    flows: Mapping[str, _Flow], memory: MemoryLevel, carried: Sequence[tuple[str, str]]
) -> list[tuple[str, int, str]]:
    return [(o, flows[o].terms.memories.index(memory), d) for o, d in carried]


def _double_buffered(accelerator: Accelerator, flows: Mapping[str, _Flow]) -> dict[str, list[bool]]:
    """Per operand, from the array outwards: is there room for the next slice beside the present one?"""
    together = {memory.name: sum(flows[o].share(flows[o].terms.memories.index(memory)) for o in memory.operands)
                for memory in accelerator.memories}  # fmt: skip
    found: dict[str, list[bool]] = {}
    for operand, flow in flows.items():
        found[operand] = [False]
        for level, memory in enumerate(flow.terms.memories):
            alone, used = flow.share(level), together[memory.name]
            if used > 0.5 and alone <= 1 - used:
                together[memory.name] += alone
            found[operand].append(used <= 0.5 or alone <= 1 - used)
    return found


def _stall(transfers: Sequence[Transfer]) -> float:
    """Cycles by which a port's transfers hold up the array."""
    if not transfers:
        return 0
    if len(transfers) == 1:
        return transfers[0].stall
    late = sum(t.stall for t in transfers if t.stall > 0)
    early = sum(t.stall for t in transfers if t.stall <= 0)
    return late + max(0, early + sum(t.window for t in transfers) - _union(transfers))


def _union(transfers: Sequence[Transfer]) -> int:
    """Cycles of the whole layer in which at least one of the windows is open; periods divide each other."""
    for t in transfers:
        if t.period == t.allowed:
            return t.period * t.count
    ordered = sorted(transfers, key=lambda t: -t.period)
    longest = ordered[0]
    return (longest.period - _closed(ordered, longest.period)) * longest.count


def _closed(ordered: Sequence[Transfer], cycles: int) -> int:
    """Cycles among the first `cycles` of a period in which no window is open."""
    if not ordered:
        return cycles
    first, rest = ordered[0], ordered[1:]
    whole, part = divmod(cycles, first.period)
    each = _closed(rest, first.period) - _closed(rest, first.allowed)
    last = _closed(rest, part) - _closed(rest, first.allowed) if part > first.allowed else 0
    return whole * each + last


def _loading(
    transfers: Sequence[Transfer], width: int, computation: float, flows: Mapping[str, _Flow]
) -> dict[tuple[str, int, str], float]:
    """Cycles of a port before the first or after the last step, per transfer. What happens once is spread over the
    computation as far as the port is idle, but for one slice of the innermost memory."""
    moving = [t for t in transfers if not (t.operand == "O" and t.direction in ("tl", "fh"))]
    found: dict[tuple[str, int, str], float] = {
        (t.operand, t.level, t.direction): t.real for t in moving if t.count > 1
    }
    busy = sum(t.average for t in moving if t.count > 1)
    spare = max(0.0, (width - busy) / width * computation)
    for t in sorted((t for t in moving if t.count == 1), key=lambda t: -t.real):
        least = math.ceil(flows[t.operand].bits(0) / width)
        hidden = min(max(0.0, t.real - least), spare)
        spare -= hidden
        found[t.operand, t.level, t.direction] = t.real - hidden
    return found


def _onloading(flows: Mapping[str, _Flow], loads: Mapping[tuple[str, int, str], tuple[float, bool]]) -> float:
    """Both inputs, level by level; where they share a port one waits for the other, in the better order."""
    shared, half, alone = dict.fromkeys("WI", 0.0), dict.fromkeys("WI", 0.0), dict.fromkeys("WI", 0.0)
    for o in "WI":
        for level in range(len(flows[o].terms.memories) - 1):
            lower, upper = loads[o, level, "fh"], loads[o, level + 1, "tl"]
            cycles = max(lower[0], upper[0])
            if lower[1] and upper[1]:
                shared[o] += cycles
            elif lower[1] or upper[1]:
                half[o] = cycles
            else:
                alone[o] += cycles
    return min(shared[a] + max(shared[b] + half[b] + alone[b], half[a] + alone[a]) for a, b in (("W", "I"), ("I", "W")))


def _offloading(flows: Mapping[str, _Flow], loads: Mapping[tuple[str, int, str], tuple[float, bool]]) -> float:
    """Results, level after level."""
    levels = range(len(flows["O"].terms.memories) - 1)
    return sum(max(loads["O", level, "th"][0], loads["O", level + 1, "fl"][0]) for level in levels)
