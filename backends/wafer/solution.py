"""From boxes to a placement: arguments, corners, the score in exact numbers, and the benchmark's JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mapper.kgraph import KernelGraph, KernelNode, PlacedKernel

from .kernels import Arguments, convolutions, kernel_time
from .trees import Box

__all__ = ["Score", "arguments_of", "levelled", "placed", "rectangle", "score", "solution_json", "wirelength"]


@dataclass(frozen=True, slots=True)
class Score:
    """The parts of the contest's objective and their weighted sum."""

    time: Fraction
    wirelength: Fraction
    adapter: int
    total: Fraction


def arguments_of(place: PlacedKernel) -> Arguments:
    return Arguments(place.h, place.w, place.c, place.k)


def rectangle(place: PlacedKernel) -> Box:
    """The elements that a placed kernel covers."""
    a = arguments_of(place)
    wide, tall = (a.wide, a.tall) if place.rotation == 0 else (a.tall, a.wide)
    return Box(place.x, place.y, wide, tall)


def placed(name: str, box: Box, arguments: Arguments, rotation: int) -> PlacedKernel:
    """The kernel in the middle of its box."""
    wide, tall = (arguments.wide, arguments.tall) if rotation == 0 else (arguments.tall, arguments.wide)
    x, y = box.x + (box.wide - wide) // 2, box.y + (box.tall - tall) // 2
    return PlacedKernel(name, x, y, rotation, arguments.h, arguments.w, arguments.c, arguments.k)


def levelled(node: KernelNode, box: Box, arguments: Arguments, rotation: int) -> Arguments:
    """Arguments whose rectangle can stand exactly in the middle of the box, by one more c or k where that fits.

    Centres of odd and even extents never align: each such edge costs half a unit of wirelength.
    """
    wide, tall = (box.wide, box.tall) if rotation == 0 else (box.tall, box.wide)
    convs, c, k = convolutions(node), list(arguments.c), list(arguments.k)
    if (wide - arguments.wide) % 2 and arguments.wide + 3 <= wide:
        growing = [i for i, conv in enumerate(convs) if k[i] < conv.K]
        if growing:
            k[growing[-1]] += 1
    lanes, most = arguments.h * arguments.w, max(c)
    if (tall - arguments.tall) % 2 and lanes % 2 and arguments.tall + lanes <= tall:
        growing = [i for i, conv in enumerate(convs) if c[i] == most < conv.C]
        if growing:
            c[growing[-1]] += 1
    return Arguments(arguments.h, arguments.w, tuple(c), tuple(k))


def wirelength(graph: KernelGraph, boxes: Sequence[Box]) -> Fraction:
    """Sum over edges of the L1 distance of box centres."""
    centres = [box.twice_centre for box in boxes]
    doubled = sum(abs(centres[a][0] - centres[b][0]) + abs(centres[a][1] - centres[b][1]) for a, b in graph.wires)
    return Fraction(doubled, 2)


def adapter_units(a: Arguments, b: Arguments) -> int:
    """Terms of the protocol on which producer `a` and consumer `b` differ: h, w, features written against read."""
    return (a.h != b.h) + (a.w != b.w) + (a.writes != b.reads)


def score(graph: KernelGraph, places: Sequence[PlacedKernel]) -> Score:
    """Places in the order of graph.kernels."""
    arguments = [arguments_of(place) for place in places]
    time = max(kernel_time(node, a) for node, a in zip(graph.kernels, arguments, strict=True))
    length = wirelength(graph, [rectangle(place) for place in places])
    units = sum(adapter_units(arguments[a], arguments[b]) for a, b in graph.wires)
    weights = graph.weights
    return Score(time, length, units, weights.time * time + weights.wirelength * length + weights.adapter * units)


def solution_json(graph: KernelGraph, places: Sequence[PlacedKernel]) -> str:
    """The benchmark's solution file, one kernel a line."""
    lines = [
        f"  {json.dumps(p.name)}: "
        + json.dumps(
            {
                "x": p.x,
                "y": p.y,
                "rotation": p.rotation,
                "exec": {"h": p.h, "w": p.w, "c": list(p.c), "k": list(p.k)},
            }
        )
        for p in places
    ]
    return f'{{"benchmark": {json.dumps(graph.name)},\n "kernels": {{\n' + ",\n".join(lines) + "\n }}\n"
