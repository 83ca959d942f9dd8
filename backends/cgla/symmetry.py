"""Interchangeable parts of a loop body, for proofs: which copies can be told apart only by their names.

Rows, columns and registers depend on the kinds of nodes and on who shares what, never on operation names. So the
body becomes a graph over nodes, host constants, regions and descriptors with labelled edges; colour refinement
separates what is different. Vertices of a colour of their own are fixed points; the components that remain when they
are taken away are compared with an isomorphism test, and equal ones may be exchanged in any legal placement. A model
may then demand that the rows of one node and its images do not decrease from copy to copy, without losing a solution
up to renaming.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import networkx as nx
from networkx.algorithms.isomorphism import DiGraphMatcher, categorical_edge_match, categorical_node_match

from .rules import Body

LARGEST_COMPONENT = 200


def interchangeable(body: Body) -> tuple[tuple[int, ...], ...]:
    """Tuples of nodes, one per copy of a part, whose copies may be permuted freely: one anchor node for each part."""
    return tuple(sorted(min(part, key=lambda images: _anchor_rank(body, images)) for part in copies_of_parts(body)))


def _anchor_rank(body: Body, images: tuple[int, ...]) -> tuple[int, int]:
    return -len(body.sources[images[0]]), -images[0]


def copies_of_parts(body: Body) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Per part that has copies: for each of its nodes the tuple (node, its image in each further copy)."""
    graph = _graph(body)
    colour = _refined(graph)
    for vertex, number in colour.items():
        graph.nodes[vertex]["colour"] = number
    frequency = Counter(colour.values())
    moving = graph.subgraph([v for v in graph if frequency[colour[v]] > 1])
    parts: dict[tuple[int, ...], list[nx.DiGraph]] = defaultdict(list)
    for component in nx.weakly_connected_components(moving):
        key = tuple(sorted(colour[v] for v in component))
        parts[key].append(_ordered(moving.subgraph(component)))
    found: list[tuple[tuple[int, ...], ...]] = []
    for copies in parts.values():
        if len(copies) > 1 and len(copies[0]) <= LARGEST_COMPONENT:
            found += _isomorphic(sorted(copies, key=_smallest))
    return tuple(sorted(found))


def _ordered(part: nx.DiGraph) -> nx.DiGraph:
    """The same graph with vertices and edges in sorted order, so that the matcher repeats its answer."""
    result = nx.DiGraph()
    result.add_nodes_from(sorted(part.nodes(data=True), key=lambda entry: entry[0]))
    result.add_edges_from(sorted(part.edges(data=True), key=lambda entry: entry[:2]))
    return result


def _smallest(part: nx.DiGraph) -> int:
    return min((v[1] for v in part if v[0] == "node"), default=-1)


def _graph(body: Body) -> nx.DiGraph:
    graph = nx.DiGraph()
    for i in body.ids:
        node = body.dfg[i]
        graph.add_node(("node", i), kind=(node.kind, node.op == "LDDMQ", body.need(i) if node.memory else 0))
    for i in body.ids:
        for host in body.hosts.get(i, ()):
            graph.add_node(("host", host), kind=("host", host in body.dfg.loop_host))
            _link(graph, ("node", i), ("host", host), "host")
        for source in body.sources[i]:
            _link(graph, ("node", source), ("node", i), _role(body, source, i))
        if body.dfg[i].memory is not None:
            region, descriptor = ("region", body.memory(i).region), ("lmm", body.memory(i).descriptor)
            split = body.memory(i).region in {r.id for r in body.dfg.regions if r.may_split}
            graph.add_node(region, kind=("region", split))
            graph.add_node(descriptor, kind=("lmm",))
            _link(graph, ("node", i), region, "region")
            _link(graph, ("node", i), descriptor, "lmm")
            partner = body.memory(i).pair
            if partner is not None:
                _link(graph, ("node", i), ("node", partner), "pair")
    return graph


def _role(body: Body, source: int, user: int) -> str:
    use = body.dfg[user].memory
    if use is None:
        return "operand"
    slots = (("base", use.base), ("offset", use.offset), ("data", use.data), ("predicate", use.predicate))
    return " ".join(name for name, value in slots if value == source)


def _link(graph: nx.DiGraph, a: tuple[str, int], b: tuple[str, int], role: str) -> None:
    """Adds a role to the edge; several roles between two vertices make one label."""
    roles = {role, *graph.edges[a, b]["role"].split("+")} if graph.has_edge(a, b) else {role}
    graph.add_edge(a, b, role="+".join(sorted(roles)))


def _refined(graph: nx.DiGraph) -> Mapping[tuple[str, int], int]:
    """Colour refinement: vertices keep one colour while their coloured neighbourhoods agree."""
    vertices = sorted(graph)
    colour = _numbered({v: (graph.nodes[v]["kind"],) for v in vertices})
    while True:
        around = {
            v: (_ends(graph.in_edges(v, data="role"), 0, colour), _ends(graph.out_edges(v, data="role"), 1, colour))
            for v in vertices
        }
        finer = _numbered({v: (colour[v], around[v]) for v in vertices})
        if max(finer.values(), default=0) == max(colour.values(), default=0):
            return finer
        colour = finer


def _ends(edges: Iterable[Any], end: int, colour: Mapping[tuple[str, int], int]) -> tuple[tuple[str, int], ...]:
    """Roles and far colours of the edges at a vertex."""
    return tuple(sorted((edge[2], colour[edge[end]]) for edge in edges))


def _numbered(keys: Mapping[tuple[str, int], tuple[object, ...]]) -> dict[tuple[str, int], int]:
    numbers = {key: n for n, key in enumerate(sorted(set(keys.values()), key=repr))}
    return {vertex: numbers[key] for vertex, key in keys.items()}


def _isomorphic(copies: list[nx.DiGraph]) -> list[tuple[tuple[int, ...], ...]]:
    """Truly isomorphic copies, as tuples (node, its image in each further copy) per node of the first copy."""
    found: list[tuple[tuple[int, ...], ...]] = []
    left = copies
    while left:
        first, others, left = left[0], left[1:], []
        images = {v[1]: [v[1]] for v in first if v[0] == "node"}
        for other in others:
            matcher = DiGraphMatcher(
                first, other, categorical_node_match("colour", -1), categorical_edge_match("role", "")
            )
            image = next(matcher.isomorphisms_iter(), None)
            if image is None:
                left.append(other)
                continue
            for i in images:
                images[i].append(image["node", i][1])
        if any(len(copies_of_node) > 1 for copies_of_node in images.values()):
            found.append(tuple(tuple(images[i]) for i in sorted(images)))
    return found
