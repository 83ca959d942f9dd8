"""Is a contest placement legal, and what does it score? Own code, exact rational arithmetic.

A placement gives every kernel a corner, a rotation and execution arguments (h, w, c[], k[]). From these alone the
checker derives the size, time and memory of each convolution, holds them against the rules

* arguments: 1 <= h <= H, 1 <= w <= W, 1 <= c_i <= C_i, 1 <= k_i <= K_i, one (c, k) per convolution of the kernel;
* memory: words per element <= the graph's limit;
* inside: the rotated rectangle lies on the fabric;
* overlap: no two rectangles share an element;

and adds up time (the slowest kernel), wirelength (L1 between exact centres, per edge) and adapter units (per edge,
how many of h, w, producer's k against consumer's c differ; reconstructed, see docs/wafer-contest.md).
It shares nothing with the backend that made the placement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from mapper.kgraph import KernelGraph, KernelNode, PlacedKernel
from mapper.violation import Violation

__all__ = ["ContestScore", "check_contest", "kernel_facts", "score_contest"]


@dataclass(frozen=True, slots=True)
class ContestScore:
    """The three parts and their weighted sum, exact."""

    time: Fraction
    wirelength: Fraction
    adapter: int
    score: Fraction


@dataclass(frozen=True, slots=True)
class _Layer:
    """One convolution as the contest's text defines it."""

    H: int
    W: int
    R: int
    S: int
    C: int
    K: int
    T: int


def _layers(node: KernelNode) -> tuple[_Layer, ...]:
    quarter, half = node.F // 4, node.F // 2
    if node.kind == "conv":
        return (_Layer(node.H, node.W, node.R, node.S, node.C, node.K, node.T),)
    if node.kind == "dblock":
        return (
            _Layer(node.H, node.W, 1, 1, node.F, quarter, 1),
            _Layer(node.H, node.W, 3, 3, quarter, quarter, 1),
            _Layer(node.H, node.W, 1, 1, quarter, node.F, 1),
        )
    return (
        _Layer(node.H, node.W, 1, 1, half, quarter, 1),
        _Layer(node.H, node.W, 3, 3, quarter, quarter, 2),
        _Layer(node.H // 2, node.W // 2, 1, 1, quarter, node.F, 1),
        _Layer(node.H, node.W, 1, 1, half, node.F, 2),
    )


def _time(layer: _Layer, h: int, w: int, c: int, k: int) -> Fraction:
    turns = -(-layer.H // h) * -(-layer.W // w) * -(-layer.C // c) * -(-layer.K // k)
    return Fraction(turns * layer.R * layer.S, layer.T**2)


def _memory(layer: _Layer, h: int, w: int, c: int, k: int) -> Fraction:
    weights = Fraction(layer.C, c) * Fraction(layer.K, k) * layer.R * layer.S
    image = Fraction(layer.W + layer.S - 1, w) * Fraction(layer.H + layer.R - 1, h)
    return weights + image * Fraction(layer.K, k)


def _size(place: PlacedKernel) -> tuple[int, int]:
    """Extent along x and y: all convolutions side by side, three instances of k columns each."""
    tall, wide = place.h * place.w * (max(place.c) + 1), 3 * sum(place.k)
    return (wide, tall) if place.rotation == 0 else (tall, wide)


def check_contest(graph: KernelGraph, places: Sequence[PlacedKernel]) -> tuple[Violation, ...]:
    """Every broken rule; () for a legal placement."""
    found = list(_roll_call(graph, places))
    nodes = {node.name: node for node in graph.kernels}
    sound = []
    for place in places:
        if place.name in nodes:
            faults = _arguments(nodes[place.name], place)
            found += faults
            if not faults:
                sound.append(place)
                found += _memory_fault(graph, nodes[place.name], place)
                found += _inside(graph, place)
    return (*found, *_overlaps(sound))


def _roll_call(graph: KernelGraph, places: Sequence[PlacedKernel]) -> list[Violation]:
    expected = [node.name for node in graph.kernels]
    given = [place.name for place in places]
    faults = [
        Violation("placed once", name, f"{given.count(name)} places", "1 place")
        for name in expected
        if given.count(name) != 1
    ]
    known = set(expected)
    return faults + [Violation("known kernel", name, "no such kernel", "") for name in given if name not in known]


def _arguments(node: KernelNode, place: PlacedKernel) -> list[Violation]:
    layers = _layers(node)
    faults = []
    if len(place.c) != len(layers) or len(place.k) != len(layers):
        found = f"{len(place.c)} c and {len(place.k)} k"
        return [Violation("arguments", node.name, found, f"{len(layers)} of each")]
    ranged = [("h", place.h, node.H), ("w", place.w, node.W)]
    for number, (layer, c, k) in enumerate(zip(layers, place.c, place.k, strict=True), 1):
        ranged += [(f"c{number}", c, layer.C), (f"k{number}", k, layer.K)]
    for label, value, most in ranged:
        if not 1 <= value <= most:
            faults.append(Violation("arguments", node.name, f"{label} = {value}", f"1 to {most}"))
    if place.rotation not in (0, 90):
        faults.append(Violation("rotation", node.name, str(place.rotation), "0 or 90"))
    return faults


def _memory_fault(graph: KernelGraph, node: KernelNode, place: PlacedKernel) -> list[Violation]:
    triples = zip(_layers(node), place.c, place.k, strict=True)
    words = max(_memory(layer, place.h, place.w, c, k) for layer, c, k in triples)
    if words <= graph.memory_limit:
        return []
    return [Violation("memory", node.name, f"{float(words):.2f} words", f"at most {graph.memory_limit}")]


def _inside(graph: KernelGraph, place: PlacedKernel) -> list[Violation]:
    wide, tall = _size(place)
    if 0 <= place.x <= graph.width - wide and 0 <= place.y <= graph.height - tall:
        return []
    found = f"[{place.x}, {place.x + wide}) x [{place.y}, {place.y + tall})"
    return [Violation("inside", place.name, found, f"within {graph.width} x {graph.height}")]


def _overlaps(places: Sequence[PlacedKernel]) -> list[Violation]:
    faults = []
    for a, b in combinations(places, 2):
        (aw, ah), (bw, bh) = _size(a), _size(b)
        if a.x < b.x + bw and b.x < a.x + aw and a.y < b.y + bh and b.y < a.y + ah:
            faults.append(Violation("overlap", f"{a.name} and {b.name}", "shared elements", "none"))
    return faults


def score_contest(graph: KernelGraph, places: Sequence[PlacedKernel]) -> ContestScore:
    """The score of a legal placement, each part exact."""
    place = {p.name: p for p in places}
    times = [
        _time(layer, place[node.name].h, place[node.name].w, c, k)
        for node in graph.kernels
        for layer, c, k in zip(_layers(node), place[node.name].c, place[node.name].k, strict=True)
    ]
    name = {node.id: node.name for node in graph.kernels}
    ends = [(place[name[e.src]], place[name[e.dst]]) for e in graph.edges if e.src in name and e.dst in name]
    wirelength = sum((_distance(a, b) for a, b in ends), Fraction(0))
    adapter = sum(_adapter_units(a, b) for a, b in ends)
    weights = graph.weights
    score = weights.time * max(times) + weights.wirelength * wirelength + weights.adapter * adapter
    return ContestScore(max(times), wirelength, adapter, score)


def kernel_facts(graph: KernelGraph, places: Sequence[PlacedKernel]) -> dict[str, tuple[float, float]]:
    """Per kernel its time (its slowest layer) and the words in its fullest element."""
    place, found = {p.name: p for p in places}, {}
    for node in graph.kernels:
        at = place[node.name]
        split = [(layer, at.h, at.w, c, k) for layer, c, k in zip(_layers(node), at.c, at.k, strict=True)]
        found[node.name] = (float(max(_time(*s) for s in split)), float(max(_memory(*s) for s in split)))
    return found


def _distance(a: PlacedKernel, b: PlacedKernel) -> Fraction:
    (aw, ah), (bw, bh) = _size(a), _size(b)
    return Fraction(abs(2 * a.x + aw - 2 * b.x - bw) + abs(2 * a.y + ah - 2 * b.y - bh), 2)


def _adapter_units(a: PlacedKernel, b: PlacedKernel) -> int:
    """A block writes through its third convolution and reads through its first."""
    written = a.k[2] if len(a.k) > 2 else a.k[0]
    return (a.h != b.h) + (a.w != b.w) + (written != b.c[0])
