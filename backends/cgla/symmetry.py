"""Symmetries of a loop body, for proofs: which nodes can be told apart only by their names.

Rows, columns and registers depend on the kinds of nodes and on who shares what, never on operation names. So the
body becomes a graph over nodes, host constants, regions and descriptors with labelled edges, and every automorphism
of that graph turns a legal placement into a legal placement. The group is broken along a stabiliser chain (Puget):
a base node must not lie below any node of its orbit, the next base node below none of its orbit under those
automorphisms that keep all earlier base nodes, and so on. Of all images of a placement the one that is smallest
in the base nodes' rows, taken in order, meets every one of these inequalities; so a model with them loses no solution
up to renaming.

Orbits are found by colour refinement with individualisation: v can go to w if, marked alike, both graphs refine to
equal colours, again and again until every vertex has a colour of its own and the edges agree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .rules import Body

Vertex = tuple[str, int]
Colouring = Mapping[Vertex, int]
Automorphism = Mapping[Vertex, Vertex]
Labels = Mapping[Vertex, tuple[tuple[int, Vertex], ...]]  # vertex -> (number of role and direction, neighbour)

SEARCH_LIMIT = 50  # refinements that one question may take; an orbit that is cut short is smaller, never wrong


@dataclass(frozen=True)
class _Graph:
    """The labelled graph of a body: what a vertex is, and its neighbours by role."""

    kinds: Mapping[Vertex, tuple[str, int, int]]
    labels: Labels


def orbits(body: Body) -> tuple[tuple[int, ...], ...]:
    """Tuples (base node, the other nodes of its orbit): every placement has an image in which the base is in no lower
    row than any of them, for all tuples at once."""
    graph = _graph(body)
    chain: list[tuple[Vertex, Colouring]] = []
    colour = _refined(graph, _numbered(graph.kinds))
    while (base := _next_base(body, colour)) is not None:
        chain.append((base, colour))
        colour = _refined(graph, _marked(colour, base))
    known: list[Automorphism] = []  # of the levels below, which keep the base of this level and move its images
    found = [_orbit(graph, base, colour, known) for base, colour in reversed(chain)]
    return _without_implied([orbit for orbit in reversed(found) if len(orbit) > 1])


def _orbit(graph: _Graph, base: Vertex, colour: Colouring, known: list[Automorphism]) -> tuple[int, ...]:
    """The base and its images, one question per class of candidates that `known` exchanges; adds to `known`."""
    left = sorted(v for v in colour if colour[v] == colour[base] and v != base)
    deeper, images = tuple(known), []
    while left:
        alike = _reachable(left[0], deeper)
        mapping = _automorphism(graph, _marked(colour, base), _marked(colour, left[0]), [SEARCH_LIMIT])
        if mapping is not None:
            known.append(mapping)
            images += [v for v in left if v in alike]
        left = [v for v in left if v not in alike]
    return (base[1], *sorted(v[1] for v in images))


def _reachable(start: Vertex, mappings: Sequence[Automorphism]) -> set[Vertex]:
    reached, todo = {start}, [start]
    while todo:
        v = todo.pop()
        new = {mapping[v] for mapping in mappings} - reached
        reached |= new
        todo.extend(new)
    return reached


def _next_base(body: Body, colour: Colouring) -> Vertex | None:
    """A node that others resemble, of the smallest class: symmetries inside a part outlive those among parts."""
    size = Counter(colour.values())
    moving = [v for v in colour if v[0] == "node" and size[colour[v]] > 1]
    return min(moving, key=lambda v: (size[colour[v]], -len(body.sources[v[1]]), v[1]), default=None)


def _without_implied(found: list[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """Leaves out images that a later base of the same orbit orders already."""
    kept = []
    for number, (base, *images) in enumerate(found):
        implied = {w for later, *others in found[number + 1 :] if later in images for w in others}
        kept.append((base, *(w for w in images if w not in implied)))
    return tuple(kept)


# ---- the graph


def _graph(body: Body) -> _Graph:
    kinds: dict[Vertex, tuple[str, int, int]] = {}
    edges: dict[tuple[Vertex, Vertex], set[str]] = defaultdict(set)
    splittable = {region.id for region in body.dfg.regions if region.may_split}
    for i in body.ids:
        node = body.dfg[i]
        kinds["node", i] = (node.kind, node.op == "LDDMQ", body.need(i) if node.memory else 0)
        for host in body.hosts.get(i, ()):
            kinds["host", host] = ("host", host in body.dfg.loop_host, 0)
            edges[("node", i), ("host", host)].add("host")
        for source in body.sources[i]:
            edges[("node", source), ("node", i)].add(_role(body, source, i))
        if node.memory is not None:
            region, descriptor = ("region", node.memory.region), ("lmm", node.memory.descriptor)
            kinds[region], kinds[descriptor] = ("region", node.memory.region in splittable, 0), ("lmm", 0, 0)
            edges[("node", i), region].add("region")
            edges[("node", i), descriptor].add("lmm")
            if node.memory.pair is not None:
                edges[("node", i), ("node", node.memory.pair)].add("pair")
    return _Graph(kinds, _labels(kinds, edges))


def _labels(kinds: Mapping[Vertex, object], edges: Mapping[tuple[Vertex, Vertex], set[str]]) -> Labels:
    """Several roles between two vertices make one label; its number is even at the source, odd at the user."""
    joined = {ends: "+".join(sorted(roles)) for ends, roles in edges.items()}
    number = {role: 2 * n for n, role in enumerate(sorted(set(joined.values())))}
    labels: dict[Vertex, list[tuple[int, Vertex]]] = {v: [] for v in kinds}
    for (a, b), role in joined.items():
        labels[a].append((number[role], b))
        labels[b].append((number[role] + 1, a))
    return {v: tuple(sorted(ends)) for v, ends in labels.items()}


def _role(body: Body, source: int, user: int) -> str:
    use = body.dfg[user].memory
    if use is None:
        return "operand"
    slots = (("base", use.base), ("offset", use.offset), ("data", use.data), ("predicate", use.predicate))
    return " ".join(name for name, value in slots if value == source)


# ---- refinement and the search for an automorphism


def _refined(graph: _Graph, colour: Colouring) -> Colouring:
    """Vertices keep one colour while their coloured neighbourhoods agree. Equal inputs up to an automorphism give
    equal colours: a colour's number depends on what it stands for alone."""
    while True:
        around = {v: (colour[v], tuple(sorted((role, colour[w]) for role, w in graph.labels[v]))) for v in colour}
        finer = _numbered(around)
        if len(set(finer.values())) == len(set(colour.values())):
            return finer
        colour = finer


def _numbered(keys: Mapping[Vertex, Any]) -> Colouring:
    numbers = {key: n for n, key in enumerate(sorted(set(keys.values())))}
    return {vertex: numbers[key] for vertex, key in keys.items()}


def _marked(colour: Colouring, vertex: Vertex) -> Colouring:
    return {**colour, vertex: -1}


def _automorphism(graph: _Graph, one: Colouring, other: Colouring, left: list[int]) -> Automorphism | None:
    """A bijection that turns colouring `one` into `other` and keeps all edges; `left` questions may be asked."""
    left[0] -= 1
    one, other = _refined(graph, one), _refined(graph, other)
    size = Counter(one.values())
    if left[0] < 0 or size != Counter(other.values()):
        return None
    open_vertices = [v for v in one if size[one[v]] > 1]
    if not open_vertices:
        return _checked(graph, one, other)
    pivot = min(open_vertices, key=lambda v: (size[one[v]], v))
    targets = sorted((v for v in other if other[v] == one[pivot]), key=lambda v: (v != pivot, v))  # rather stay
    branches = (_automorphism(graph, _marked(one, pivot), _marked(other, v), left) for v in targets)
    return next((mapping for mapping in branches if mapping is not None), None)


def _checked(graph: _Graph, one: Colouring, other: Colouring) -> Automorphism | None:
    """The mapping of equal colours, if it keeps kinds and edges."""
    back = {number: v for v, number in other.items()}
    image = {v: back[number] for v, number in one.items()}
    kept = all(
        graph.kinds[v] == graph.kinds[w]
        and tuple(sorted((role, image[end]) for role, end in graph.labels[v])) == graph.labels[w]
        for v, w in image.items()
    )
    return image if kept else None
