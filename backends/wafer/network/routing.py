"""Tensors over the mesh: bundles of parallel lanes, a routing colour each, and the load of every link.

A link carries one word a cycle, so a large tensor travels as a *bundle*: `lanes` parallel trees, each the first one
displaced by a diagonal stride. For a path with one turn the stride is chosen so that the lanes nest like the strings of
a harp and never meet:  right-down and left-up (1, -1),  right-up and left-down (1, 1);  straight paths are displaced
sideways.

    lanes >= words / target cycles      as far as both rectangles are wide enough
    colour(bundle) differs from the colour of every bundle that passes one of its routers     (first fit)
    routers hold at most `colours` colours

A tensor with several readers travels as one tree: each further reader is joined from the nearest point of the tree. If
the lanes of a tree would meet, its readers are served one by one. Candidates are tried in order: row first, column
first, fewer lanes, and at last a search around what is in the way.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mapper.mapping import Infeasible

from .floorplan import Box, Floor
from .flow import Edge

__all__ = ["Bundle", "Mesh", "Place", "distance", "route_all"]

Place = tuple[int, int]
Link = tuple[Place, Place]
Words = npt.NDArray[np.float64]
TRIES = 60
_STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass(frozen=True, slots=True)
class Bundle:
    """`edge`'s tensor from its source to `targets` along `links`, in `lanes` copies displaced by `stride`."""

    edge: Edge
    targets: tuple[int | None, ...]
    links: tuple[Link, ...]
    lanes: int
    stride: Place
    colour: int


@dataclass(frozen=True, slots=True)
class _Path:
    """Candidate: the routers of lane 0 in order."""

    places: tuple[Place, ...]
    lanes: int
    stride: Place


@dataclass
class Mesh:
    """Routers with the colours that they hold, and the words that each link carries per inference."""

    floor: Floor
    colours: int
    bytes_per_word: float
    target_cycles: float
    boxes: Sequence[Box]
    used: npt.NDArray[np.bool_] = field(init=False)
    dead: npt.NDArray[np.bool_] = field(init=False)
    load: Words = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.floor.height, self.floor.width)
        self.used = np.zeros((self.colours, *shape), bool)
        self.dead = np.zeros(shape, bool)
        for place in self.floor.dead:
            self.dead[place] = True
        self.load = np.zeros((4, *shape))

    def wanted_lanes(self, size: int) -> int:
        return max(1, math.ceil(size / self.bytes_per_word / self.target_cycles))


def distance(a: Box, b: Box) -> int:
    """Links between the nearest cores of two boxes."""
    rows = max(0, b.row - (a.row + a.height - 1), a.row - (b.row + b.height - 1))
    columns = max(0, b.column - (a.column + a.width - 1), a.column - (b.column + b.width - 1))
    return rows + columns


def route_all(mesh: Mesh, edges: Sequence[Edge]) -> tuple[Bundle, ...] | Infeasible:
    """Bundles for all edges, the heaviest first; Infeasible names the tensor that finds no free colour."""
    order = sorted(range(len(edges)), key=lambda n: (-edges[n].bytes, n))
    found: dict[int, list[Bundle]] = {}
    for number in order:
        bundles = _route(mesh, edges[number])
        if bundles is None:
            return Infeasible("routing colours", mesh.colours + 1, mesh.colours, "colours", edges[number].tensor,
                              ("a machine with more colours", "a smaller model"))  # fmt: skip
        found[number] = bundles
    return tuple(bundle for number in range(len(edges)) for bundle in found[number])


def _route(mesh: Mesh, edge: Edge) -> list[Bundle] | None:
    """One tree for all readers if its lanes stay apart, else a bundle per reader."""
    if edge.source is not None and len(edge.targets) > 1:
        tree = _tree(mesh, edge)
        if tree is not None:
            return [tree]
    found = []
    for target in edge.targets:
        bundle = _bundle(mesh, edge, target)
        if bundle is None:
            return None
        found.append(bundle)
    return found


def _bundle(mesh: Mesh, edge: Edge, target: int | None) -> Bundle | None:
    """The first candidate whose links all stay within the target, else the one with the least load."""
    best: tuple[float, Bundle] | None = None
    tried = 0
    for path in _candidates(mesh, edge, target):
        links = tuple(zip(path.places, path.places[1:], strict=False))
        bundle = _coloured(mesh, Bundle(edge, (target,), links, path.lanes, path.stride, -1))
        if bundle is None:
            continue
        words = hottest_words(mesh, bundle) + edge.bytes / mesh.bytes_per_word / path.lanes
        tried += 1
        if best is None or words < best[0]:
            best = words, bundle
        if words <= mesh.target_cycles or tried >= TRIES:
            break
    if best is None:
        best = _detour(mesh, edge, target)
    return _claimed(mesh, best[1]) if best else None


def _detour(mesh: Mesh, edge: Edge, target: int | None) -> tuple[float, Bundle] | None:
    """One lane around what is in the way."""
    places = _around(mesh, edge, target)
    if places is None:
        return None
    links = tuple(zip(places, places[1:], strict=False))
    bundle = _coloured(mesh, Bundle(edge, (target,), links, 1, (0, 0), -1))
    return (0.0, bundle) if bundle else None


def _claimed(mesh: Mesh, bundle: Bundle) -> Bundle:
    """The bundle, its colour taken in all its routers and its load charged."""
    if bundle.links:
        rows, columns = _displaced(_routers(bundle), bundle)
        mesh.used[bundle.colour, rows, columns] = True
        _charge(mesh, bundle)
    return bundle


def _routers(bundle: Bundle) -> npt.NDArray[np.int64]:
    return np.array(list(dict.fromkeys(place for link in bundle.links for place in link)))


def _coloured(mesh: Mesh, bundle: Bundle) -> Bundle | None:
    """The bundle with the first colour that all its routers have free; None if there is none or the way is barred."""
    if not bundle.links:
        return replace(bundle, colour=0)
    rows, columns = _displaced(_routers(bundle), bundle)
    inside = (rows >= 0).all() and (rows < mesh.floor.height).all()
    if not inside or (columns < 0).any() or (columns >= mesh.floor.width).any() or mesh.dead[rows, columns].any():
        return None
    if bundle.lanes > 1 and len(np.unique(rows * mesh.floor.width + columns)) < len(rows):
        return None
    for colour in range(mesh.colours):
        if not mesh.used[colour, rows, columns].any():
            return replace(bundle, colour=colour)
    return None


def _displaced(places: npt.NDArray[np.int64], bundle: Bundle) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of the places on all lanes."""
    lane = np.arange(bundle.lanes)[:, None]
    rows = places[None, :, 0] + lane * bundle.stride[0]
    columns = places[None, :, 1] + lane * bundle.stride[1]
    return rows.ravel(), columns.ravel()


def _charge(mesh: Mesh, bundle: Bundle) -> None:
    words = bundle.edge.bytes / mesh.bytes_per_word / bundle.lanes
    starts = np.array([here for here, _ in bundle.links])
    ends = np.array([there for _, there in bundle.links])
    for direction, step in enumerate(_STEPS):
        going = ((ends - starts) == step).all(axis=1)
        if going.any():
            rows, columns = _displaced(starts[going], bundle)
            mesh.load[direction, rows, columns] += words


def hottest_words(mesh: Mesh, bundle: Bundle) -> float:
    """Words per inference on the busiest link that the bundle uses."""
    found = 0.0
    starts = np.array([here for here, _ in bundle.links]).reshape(-1, 2)
    ends = np.array([there for _, there in bundle.links]).reshape(-1, 2)
    for direction, step in enumerate(_STEPS):
        going = ((ends - starts) == step).all(axis=1)
        if going.any():
            rows, columns = _displaced(starts[going], bundle)
            found = max(found, float(mesh.load[direction, rows, columns].max()))
    return found


def _candidates(mesh: Mesh, edge: Edge, target: int | None) -> Iterator[_Path]:
    """Paths to try, the preferred ones first."""
    wanted = mesh.wanted_lanes(edge.bytes)
    if edge.source is None or target is None:
        yield from _edge_paths(mesh, edge, target, wanted)
    else:
        a, b = mesh.boxes[edge.source], mesh.boxes[target]
        for lanes in (wanted, 2 * wanted, 3 * wanted, *(wanted >> n for n in range(1, wanted.bit_length()))):
            yield from _straight(a, b, lanes)
            yield from _turning(a, b, lanes)


def _edge_paths(mesh: Mesh, edge: Edge, target: int | None, wanted: int) -> Iterator[_Path]:
    """Straight along rows: in from the west edge, or out to the east edge."""
    box = mesh.boxes[target if target is not None else edge.source]  # type: ignore[index]
    lanes = min(wanted, box.height)
    while lanes >= 1:
        for row in range(box.row, box.row + box.height - lanes + 1, max(1, lanes)):
            first, last = (0, box.column) if target is not None else (box.column + box.width - 1, mesh.floor.width - 1)
            yield _Path(tuple((row, column) for column in range(first, last + 1)), lanes, (1, 0))
        lanes //= 2


def _straight(a: Box, b: Box, lanes: int) -> Iterator[_Path]:
    """Along rows or columns that both boxes share."""
    low, high = max(a.row, b.row), min(a.row + a.height, b.row + b.height)
    if high - low >= lanes:
        start, end = (a.column + a.width - 1, b.column) if a.column < b.column else (a.column, b.column + b.width - 1)
        for row in _spread(low, high - lanes):
            yield _Path(_walk((row, start), (row, end), False), lanes, (1, 0))
    low, high = max(a.column, b.column), min(a.column + a.width, b.column + b.width)
    if high - low >= lanes:
        start, end = (a.row + a.height - 1, b.row) if a.row < b.row else (a.row, b.row + b.height - 1)
        for column in _spread(low, high - lanes):
            yield _Path(_walk((start, column), (end, column), False), lanes, (0, 1))


def _spread(low: int, high: int) -> list[int]:
    """A few places between two, the middle first."""
    middle = (low + high) // 2
    return list(dict.fromkeys((middle, low, high, (low + middle) // 2, (middle + high) // 2)))


def _turning(a: Box, b: Box, lanes: int) -> Iterator[_Path]:
    """With one turn, between the squares of `lanes` x `lanes` cores of both boxes that lie nearest."""
    if lanes > min(a.height, a.width, b.height, b.width):
        return
    (ra, rb), (ca, cb) = _facing(a.row, a.height, b.row, b.height, lanes), _facing(a.column, a.width, b.column, b.width,
                                                                                   lanes)  # fmt: skip
    falling = (rb - ra) * (cb - ca) > 0
    stride = (1, -1) if falling else (1, 1)
    shift = lanes - 1 if falling else 0
    for column_first in (False, True):
        yield _Path(_walk((ra, ca + shift), (rb, cb + shift), column_first), lanes, stride if lanes > 1 else (0, 0))


def _facing(a: int, a_size: int, b: int, b_size: int, lanes: int) -> tuple[int, int]:
    """First rows (or columns) of `lanes` in both ranges, as near to each other as can be."""
    a_last, b_last = a + a_size - lanes, b + b_size - lanes
    if a_last < b:
        return a_last, b
    if b_last < a:
        return a, b_last
    both = (max(a, b) + min(a_last, b_last)) // 2
    return both, both


def _walk(start: Place, end: Place, column_first: bool) -> tuple[Place, ...]:
    """The routers from start to end with one turn."""
    turn = (end[0], start[1]) if column_first else (start[0], end[1])
    return (*_line(start, turn), *_line(turn, end)[1:])


def _line(start: Place, end: Place) -> tuple[Place, ...]:
    rows, columns = end[0] - start[0], end[1] - start[1]
    count = abs(rows) + abs(columns)
    down, right = (rows > 0) - (rows < 0), (columns > 0) - (columns < 0)
    return tuple((start[0] + i * down, start[1] + i * right) for i in range(count + 1))


def _tree(mesh: Mesh, edge: Edge) -> Bundle | None:
    """One tree with a lane: every reader is joined to the nearest router of the tree, the nearest reader first."""
    if mesh.wanted_lanes(edge.bytes) > 1 or edge.source is None:
        return None
    source = mesh.boxes[edge.source]
    targets = sorted((t for t in edge.targets if t is not None), key=lambda t: (distance(source, mesh.boxes[t]), t))
    first = next(_candidates(mesh, Edge(edge.tensor, edge.source, (targets[0],), 1), targets[0]))
    places, links = set(first.places), list(zip(first.places, first.places[1:], strict=False))
    reached = np.array(first.places)
    for target in targets[1:]:
        branch = _branch(reached, mesh.boxes[target], places)
        links += zip(branch, branch[1:], strict=False)
        places.update(branch)
        reached = np.concatenate([reached, np.array(branch)])
    bundle = _coloured(mesh, Bundle(edge, tuple(targets), tuple(links), 1, (0, 0), -1))
    return _claimed(mesh, bundle) if bundle else None


def _branch(reached: npt.NDArray[np.int64], box: Box, places: set[Place]) -> tuple[Place, ...]:
    """A path from the nearest router of the tree into the box that touches the tree at its start only."""
    row = np.clip(reached[:, 0], box.row, box.row + box.height - 1)
    column = np.clip(reached[:, 1], box.column, box.column + box.width - 1)
    nearest = int(np.argmin(abs(reached[:, 0] - row) + abs(reached[:, 1] - column)))
    start = (int(reached[nearest, 0]), int(reached[nearest, 1]))
    walk = _walk(start, (int(row[nearest]), int(column[nearest])), False)
    last = max(at for at, place in enumerate(walk) if place in places)
    return walk[last:]


def _around(mesh: Mesh, edge: Edge, target: int | None) -> tuple[Place, ...] | None:
    """Shortest path for one lane over working routers that have a colour left, breadth first."""
    full = mesh.used.all(axis=0) | mesh.dead
    starts = _cells(mesh.boxes[edge.source]) if edge.source is not None else [(r, 0) for r in range(mesh.floor.height)]
    goal = mesh.boxes[target] if target is not None else Box(0, mesh.floor.width - 1, mesh.floor.height, 1)
    parent: dict[Place, Place | None] = {place: None for place in starts if not full[place]}
    queue = deque(parent)
    while queue:
        here = queue.popleft()
        if 0 <= here[0] - goal.row < goal.height and 0 <= here[1] - goal.column < goal.width:
            return _back(parent, here)
        for down, right in _STEPS:
            there = (here[0] + down, here[1] + right)
            inside = 0 <= there[0] < mesh.floor.height and 0 <= there[1] < mesh.floor.width
            if inside and there not in parent and not full[there]:
                parent[there] = here
                queue.append(there)
    return None


def _cells(box: Box) -> list[Place]:
    """The border cores of a box, where detours start."""
    rows, columns = range(box.row, box.row + box.height), range(box.column, box.column + box.width)
    ends = {(r, c) for r in (rows[0], rows[-1]) for c in columns} | {
        (r, c) for r in rows for c in (columns[0], columns[-1])
    }
    return sorted(ends)


def _back(parent: dict[Place, Place | None], here: Place) -> tuple[Place, ...]:
    found = [here]
    while (before := parent[found[-1]]) is not None:
        found.append(before)
    return tuple(found[::-1])
