"""Exchange: arguments of a stretch of kernels are chosen anew together with all places, so that neighbours agree.

:mod:`.adapters` changes arguments inside fixed boxes; here rectangles may grow and shrink, and everything slides. The
kernels of a stretch of the network choose from tables of *offers* (arguments with the rectangle that they make, near
the present one), all others keep arguments and sides, and every pair of rectangles keeps its order:

    minimise   w_l / 2 sum over edges (|2 x_a + s_a - 2 x_b - s_b| + |2 y_a + t_a - 2 y_b - t_b|)
             + w_a sum over edges ([h_a != h_b] + [w_a != w_b] + [written_a != read_b])
    subject to (s_k, t_k, h_k, w_k, read_k, written_k) in offers(k)
               x_a + s_a <= x_b  or  y_a + t_a <= y_b   for every pair: the one that holds now

solved with CP-SAT. The target time is fixed: no offer is slower.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mapper.kgraph import KernelGraph, KernelNode, PlacedKernel
from mapper.solver import Limits, Model, Solution, Variable, solve

from .kernels import Arguments, convolutions
from .neighbourhoods import Rectangle, centre_distances, kept_relations
from .shapes import Split, least_k, near_arguments
from .solution import arguments_of, rectangle, score
from .trees import Box

__all__ = ["Offer", "exchanged", "offers"]

_LIMITS = Limits(effort=2.0)
_OFFERS = 400  # arguments on offer to a kernel
_AREA = 1.3  # times the present rectangle's, at most
_WIDER = 9  # features written may be split by up to so many more pieces than time and memory ask for
_FOREIGN = 0.1  # of the present area: what an offer with another (h, w) than any partner's ranks behind


@dataclass(frozen=True, slots=True)
class Offer:
    """Arguments of a kernel, turned by 0 or 90 degrees."""

    arguments: Arguments
    rotation: int

    @property
    def sides(self) -> tuple[int, int]:
        """Elements along x and along y."""
        a = self.arguments
        return (a.wide, a.tall) if self.rotation == 0 else (a.tall, a.wide)

    @property
    def row(self) -> tuple[int, ...]:
        """What the model's tables hold: sides, h, w, features read and written."""
        a = self.arguments
        return (*self.sides, a.h, a.w, a.reads, a.writes)


def _variants(node: KernelNode, split: Split, least: Arguments, met: frozenset[int]) -> Iterator[Arguments]:
    """The arguments, and those that read or write as a partner does, or write a little finer."""
    convs, out = convolutions(node), 2 if node.kind != "conv" else 0
    reads = [least.reads]
    if len(convs) > 1:  # a convolution that reads coarser is another row of the table
        reads += sorted(r for r in met if r < least.reads)
    for r in reads:
        first = least.k[0] if r == least.reads else least_k(convs[0], least.h, least.w, r, split)
        if first > convs[0].K:
            continue
        k = (first, *least.k[1:])
        for s in sorted({*range(k[out], k[out] + _WIDER), *(s for s in met if s > k[out])}):
            if s <= convs[out].K:
                yield Arguments(least.h, least.w, (r, *least.c[1:]), (*k[:out], s, *k[out + 1 :]))


def offers(graph: KernelGraph, split: Split, places: Sequence[PlacedKernel], kernel: int) -> tuple[Offer, ...]:
    """What the kernel may become, the present arguments first, then by area and likeness to its partners."""
    now, box = Offer(arguments_of(places[kernel]), places[kernel].rotation), rectangle(places[kernel])
    partners = [arguments_of(places[a if b == kernel else b]) for a, b in graph.wires if kernel in (a, b)]
    splits = {(a.h, a.w) for a in (now.arguments, *partners)}
    met = frozenset(v for a in partners for v in (a.reads, a.writes))
    area, node = box.wide * box.tall, graph.kernels[kernel]
    ranked: dict[Offer, float] = {}
    for least in near_arguments(node, split, int(_AREA * area)):
        for arguments in _variants(node, split, least, met):
            size = arguments.wide * arguments.tall
            for rotation in (0, 90):
                offer = Offer(arguments, rotation)
                over = _overhang(offer, box)
                if size <= _AREA * area and over is not None:
                    foreign = 0.0 if (arguments.h, arguments.w) in splits else _FOREIGN
                    ranked[offer] = size / area + foreign + over / max(graph.width, graph.height)
    best = sorted(ranked, key=lambda o: (ranked[o], o.row))
    return tuple(dict.fromkeys([now, *_once(best)[:_OFFERS]]))


def _once(ranked: Sequence[Offer]) -> list[Offer]:
    """The first offer of every row."""
    return list({o.row: o for o in reversed(ranked)}.values())[::-1]


def _overhang(offer: Offer, box: Box) -> int | None:
    """By how much an offer sticks out of the box; None where it would push its neighbours too far."""
    wide, tall = offer.sides
    if 4 * wide > 5 * box.wide + 24 or 4 * tall > 5 * box.tall + 24:
        return None
    return max(0, wide - box.wide) + max(0, tall - box.tall)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The variables of a kernel: its rectangle, and (h, w, read, written), numbers where they are kept."""

    rectangle: Rectangle
    protocol: Sequence[Variable | int]


def _chosen(model: Model, graph: KernelGraph, box: Box, choice: Sequence[Offer]) -> _Chosen:
    """One of the offers, the first of which is the present one, inside the fabric."""
    columns = list(zip(*(offer.row for offer in choice), strict=True))
    values = [model.integer(min(column), max(column)) for column in columns]
    if len(choice) > 1:
        model.add_allowed_assignments(values, [offer.row for offer in choice])
    model.hint(zip(values, choice[0].row, strict=True))
    x, y = model.integer(0, graph.width), model.integer(0, graph.height)
    model.add(x + values[0] <= graph.width)
    model.add(y + values[1] <= graph.height)
    model.hint(((x, box.x), (y, box.y)))
    kept = choice[0].row[2:] if len(choice) == 1 else values[2:]
    return _Chosen(Rectangle(x, y, values[0], values[1]), kept)


def _differences(model: Model, graph: KernelGraph, chosen: Sequence[_Chosen]) -> list[Variable]:
    """Flags of the adapter units that the stretch can change."""
    flags = []
    for a, b in graph.wires:
        p, q = chosen[a].protocol, chosen[b].protocol
        for u, v in ((p[0], q[0]), (p[1], q[1]), (p[3], q[2])):
            if not (isinstance(u, int) and isinstance(v, int)):
                flag = model.flag()
                model.add(u == v).only_enforce_if(flag.negated())
                flags.append(flag)
    return flags


def exchanged(
    graph: KernelGraph, split: Split, places: Sequence[PlacedKernel], stretch: frozenset[int]
) -> tuple[PlacedKernel, ...] | None:
    """The places with new arguments for the stretch; None where nothing of less wirelength and adapters was found."""
    model, boxes = Model(), [rectangle(place) for place in places]
    choices = [
        offers(graph, split, places, k) if k in stretch else (Offer(arguments_of(place), place.rotation),)
        for k, place in enumerate(places)
    ]
    chosen = [_chosen(model, graph, box, choice) for box, choice in zip(boxes, choices, strict=True)]
    parts = [c.rectangle for c in chosen]
    for axis, a, b in sorted(kept_relations(boxes, frozenset())):
        p, q = parts[a], parts[b]
        model.add(p.y + p.tall <= q.y if axis else p.x + p.wide <= q.x)
    weights = graph.weights
    scale = math.lcm(2, weights.wirelength.denominator * 2, weights.adapter.denominator)
    length = int(weights.wirelength * scale / 2) * sum(centre_distances(model, graph, parts, boxes))
    model.minimize(length + int(weights.adapter * scale) * sum(_differences(model, graph, chosen)))
    found = solve(model, _LIMITS)
    if not found:
        return None
    new = tuple(_read(found, p, c, choice) for p, c, choice in zip(places, chosen, choices, strict=True))
    return new if score(graph, new).total < score(graph, places).total else None


def _read(found: Solution, place: PlacedKernel, chosen: _Chosen, choice: Sequence[Offer]) -> PlacedKernel:
    part, protocol = chosen.rectangle, chosen.protocol
    sides = found.value(part.wide), found.value(part.tall)
    row = (*sides, *(value if isinstance(value, int) else found.value(value) for value in protocol))
    offer = next(o for o in choice if o.row == row)
    a = offer.arguments
    return replace(
        place, x=found.value(part.x), y=found.value(part.y), rotation=offer.rotation, h=a.h, w=a.w, c=a.c, k=a.k
    )
