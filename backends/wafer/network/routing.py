"""Tensors over the mesh: bundles of parallel lanes, a routing colour each, and the load of every link.

A link carries one word a cycle, so a large tensor travels as a *bundle*: `lanes` parallel trees, each the first one
displaced by a stride.

    lanes >= words / target cycles      as far as both rectangles are wide enough
    colour(bundle) differs from the colour of every bundle that passes one of its routers     (first fit)
    routers hold at most `colours` colours

A tensor with several readers travels as one tree: each further reader is joined from the nearest point of the tree. If
it needs several lanes, each bundle serves the readers that all its lanes pass. Candidates are those of `paths`, and at
last a search around what is in the way. When all lie, those on links slower than the stages are taken up and laid anew.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mapper.mapping import Infeasible

from .flow import Edge
from .packing import Box, Floor
from .paths import Link, Path, Place, between, box_distance, entering, leaving, walk

__all__ = ["Bundle", "Mesh", "hottest_words", "route_all"]

Words = npt.NDArray[np.float64]
TRIES, MANY = 60, 1200  # ways looked at, and while every one so far is slower than the stages
ROUNDS = 3  # in which bundles on links slower than the stages are laid again
PATIENCE = 20_000  # ways beyond `TRIES` that are looked at in all
_STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))


@dataclass(frozen=True, slots=True)
class Bundle:
    """`bytes` of `edge`'s tensor from its source to `targets` along `links`, in `lanes` displaced by `stride`."""

    edge: Edge
    targets: tuple[int | None, ...]
    bytes: int
    links: tuple[Link, ...]
    lanes: int
    stride: Place
    colour: int


@dataclass
class Mesh:
    """Routers with the colours that they hold, and the words that each link carries per inference."""

    floor: Floor
    colours: int
    bytes_per_word: float
    target_cycles: float
    boxes: Sequence[Box]
    patience: int = PATIENCE
    used: npt.NDArray[np.bool_] = field(init=False)
    dead: npt.NDArray[np.bool_] = field(init=False)
    last: npt.NDArray[np.int64] = field(init=False)  # scratch: number of the last place of a bundle at each router
    load: Words = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.floor.height, self.floor.width)
        self.used = np.zeros((self.colours, *shape), bool)
        self.dead = np.zeros(shape, bool)
        for place in self.floor.dead:
            self.dead[place] = True
        self.last = np.zeros(shape, np.int64)
        self.load = np.zeros((4, *shape))


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
    for _ in range(ROUNDS):
        if mesh.patience <= 0:
            break
        slow = [n for n in order if any(_crowded(mesh, bundle) for bundle in found[n])]
        for number in slow:
            _laid_anew(mesh, edges[number], found, number)
    return tuple(bundle for number in range(len(edges)) for bundle in found[number])


def _laid_anew(mesh: Mesh, edge: Edge, found: dict[int, list[Bundle]], number: int) -> None:
    """Take a tensor's bundles up and lay them again among all others; back where they were if that is no better."""
    before = max(hottest_words(mesh, bundle) for bundle in found[number])
    for bundle in found[number]:
        _claim(mesh, bundle, False)
    bundles = _route(mesh, edge)
    if bundles and max(hottest_words(mesh, bundle) for bundle in bundles) < before:
        found[number] = bundles
        return
    for bundle in bundles or ():
        _claim(mesh, bundle, False)
    for bundle in found[number]:
        _claim(mesh, bundle, True)


def _route(mesh: Mesh, edge: Edge) -> list[Bundle] | None:
    """One tree of a lane for all readers, else bundles that each serve as many readers as they pass."""
    if edge.source is not None and len(edge.targets) > 1:
        tree = _tree(mesh, edge)
        if tree is not None:
            return [tree]
    found, waiting = [], list(edge.targets)
    while waiting:
        bundle = _bundle(mesh, edge, waiting) or _detour(mesh, edge, waiting[0])
        if bundle is None:
            return None
        found.append(_claimed(mesh, bundle))
        waiting = [target for target in waiting if target not in bundle.targets]
    return found


def _bundle(mesh: Mesh, edge: Edge, waiting: Sequence[int | None]) -> Bundle | None:
    """The candidate with the least load above the target time, then the most readers, then the fewest links."""
    best: tuple[tuple[float, int, int], Bundle] | None = None
    for target in waiting:
        for number, path in enumerate(_paths(mesh, edge, target)):
            slow = best is None or (best[0][0] > 0.0 and _own_words(mesh, best[1]) <= mesh.target_cycles)
            slow &= mesh.patience > 0
            mesh.patience -= number >= TRIES // len(waiting)
            if number >= (MANY if slow else TRIES) // len(waiting):
                break
            bundle = _coloured(mesh, _served(mesh, edge, path, target, waiting))
            if bundle is None:
                continue
            words = hottest_words(mesh, bundle) + _own_words(mesh, bundle)
            excess = round(max(0.0, words - mesh.target_cycles), 3)
            rank = (excess, -len(bundle.targets), len(bundle.links))
            if best is None or rank < best[0]:
                best = rank, bundle
            if excess == 0.0 and len(waiting) == 1:
                return bundle
    return best[1] if best else None


def _crowded(mesh: Mesh, bundle: Bundle) -> bool:
    """Do others make a link on the way slower than the stages?"""
    return _own_words(mesh, bundle) <= mesh.target_cycles < hottest_words(mesh, bundle)


def _own_words(mesh: Mesh, bundle: Bundle) -> float:
    """What the bundle itself adds to a link: where that alone is too much, other ways do not help."""
    return bundle.bytes / mesh.bytes_per_word / bundle.lanes


def _paths(mesh: Mesh, edge: Edge, target: int | None) -> Iterator[Path]:
    wanted = max(1, math.ceil(edge.bytes_to(target) / mesh.bytes_per_word / mesh.target_cycles))
    if edge.source is not None and target is not None:
        return between(mesh.boxes[edge.source], mesh.boxes[target], wanted)
    if target is not None:
        return entering(mesh.boxes[target], wanted)
    assert edge.source is not None
    return leaving(mesh.boxes[edge.source], wanted, mesh.floor.width)


def _served(mesh: Mesh, edge: Edge, path: Path, target: int | None, waiting: Sequence[int | None]) -> Bundle:
    """The path as a bundle for its target and for every other reader that all its lanes pass."""
    links = tuple(zip(path.places, path.places[1:], strict=False))
    size = edge.bytes_to(target)
    bundle = Bundle(edge, (target,), size, links, path.lanes, path.stride, -1)
    if len(waiting) == 1 or not links:
        return bundle
    rows, columns = (grid.reshape(path.lanes, -1) for grid in _displaced(_routers(bundle), bundle))
    others = []
    for other in waiting:
        if other is not None and other != target and edge.bytes_to(other) <= size:
            box = mesh.boxes[other]
            inside = (rows >= box.row) & (rows < box.row + box.height)
            inside &= (columns >= box.column) & (columns < box.column + box.width)
            if inside.any(axis=1).all():
                others.append(other)
    return replace(bundle, targets=(target, *others))


def _detour(mesh: Mesh, edge: Edge, target: int | None) -> Bundle | None:
    """One lane around what is in the way."""
    places = _around(mesh, edge, target)
    if places is None:
        return None
    links = tuple(zip(places, places[1:], strict=False))
    return _coloured(mesh, Bundle(edge, (target,), edge.bytes_to(target), links, 1, (0, 0), -1))


def _claimed(mesh: Mesh, bundle: Bundle) -> Bundle:
    """The bundle, its colour taken in all its routers and its load charged."""
    _claim(mesh, bundle, True)
    return bundle


def _claim(mesh: Mesh, bundle: Bundle, taken: bool) -> None:
    """Take (or give back) the bundle's colour in its routers, and its load."""
    if bundle.links:
        rows, columns = _displaced(_routers(bundle), bundle)
        mesh.used[bundle.colour, rows, columns] = taken
        _charge(mesh, bundle, 1.0 if taken else -1.0)


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
    if bundle.lanes > 1 and _meets_itself(mesh, rows, columns):
        return None
    for colour in range(mesh.colours):
        if not mesh.used[colour, rows, columns].any():
            return replace(bundle, colour=colour)
    return None


def _meets_itself(mesh: Mesh, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> bool:
    """Do two of the places lie on one router? Of equal ones only the last keeps its number."""
    numbers = np.arange(len(rows))
    mesh.last[rows, columns] = numbers
    return bool((mesh.last[rows, columns] != numbers).any())


def _displaced(places: npt.NDArray[np.int64], bundle: Bundle) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of the places on all lanes."""
    lane = np.arange(bundle.lanes)[:, None]
    rows = places[None, :, 0] + lane * bundle.stride[0]
    columns = places[None, :, 1] + lane * bundle.stride[1]
    return rows.ravel(), columns.ravel()


def _charge(mesh: Mesh, bundle: Bundle, share: float) -> None:
    words = share * _own_words(mesh, bundle)
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


def _tree(mesh: Mesh, edge: Edge) -> Bundle | None:
    """One tree with a lane: every reader is joined to the nearest router of the tree, the nearest reader first."""
    if edge.bytes > mesh.bytes_per_word * mesh.target_cycles or edge.source is None:
        return None
    source = mesh.boxes[edge.source]
    targets = sorted((t for t in edge.targets if t is not None), key=lambda t: (box_distance(source, mesh.boxes[t]), t))
    first = next(between(source, mesh.boxes[targets[0]], 1))
    places, links = set(first.places), list(zip(first.places, first.places[1:], strict=False))
    reached = np.array(first.places)
    for target in targets[1:]:
        branch = _branch(reached, mesh.boxes[target], places)
        links += zip(branch, branch[1:], strict=False)
        places.update(branch)
        reached = np.concatenate([reached, np.array(branch)])
    bundle = _coloured(mesh, Bundle(edge, tuple(targets), edge.bytes, tuple(links), 1, (0, 0), -1))
    return _claimed(mesh, bundle) if bundle else None


def _branch(reached: npt.NDArray[np.int64], box: Box, places: set[Place]) -> tuple[Place, ...]:
    """A path from the nearest router of the tree into the box that touches the tree at its start only."""
    row = np.clip(reached[:, 0], box.row, box.row + box.height - 1)
    column = np.clip(reached[:, 1], box.column, box.column + box.width - 1)
    nearest = int(np.argmin(abs(reached[:, 0] - row) + abs(reached[:, 1] - column)))
    start = (int(reached[nearest, 0]), int(reached[nearest, 1]))
    way = walk(start, (int(row[nearest]), int(column[nearest])), False)
    last = max(at for at, place in enumerate(way) if place in places)
    return way[last:]


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
