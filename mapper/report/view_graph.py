"""A graph as data for the page: operators in layers, long graphs folded into blocks.

Layers are longest-path layers; inside a layer operators stand in the order of the mean position of what they read.
Blocks are cut where few tensors are alive: a cut after operator i is good when at most one tensor that lives briefly
passes it. Tensors alive over a quarter of the graph (masks, skip paths) do not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

__all__ = ["blocks", "layers"]

UNFOLDED = 60
BLOCKS = 48

Arrow = tuple[int, int]


def layers(count: int, arrows: Sequence[Arrow]) -> list[tuple[int, int]]:
    """(layer, position) of each of `count` nodes. Arrows that close a cycle are ignored where they stand."""
    before: dict[int, list[int]] = defaultdict(list)
    order = _order(count, arrows)
    rank = {node: place for place, node in enumerate(order)}
    for source, target in arrows:
        if rank[source] < rank[target]:
            before[target].append(source)
    depth = [0] * count
    for node in order:
        depth[node] = max((depth[source] + 1 for source in before[node]), default=0)
    members: dict[int, list[int]] = defaultdict(list)
    for node in order:
        members[depth[node]].append(node)
    place = [(0, 0)] * count
    for layer in sorted(members):
        row = sorted(members[layer], key=lambda node: (_mean([place[s][1] for s in before[node]]), node))
        for position, node in enumerate(row):
            place[node] = (layer, position)
    return place


def _order(count: int, arrows: Sequence[Arrow]) -> list[int]:
    """A topological order, smallest number first; where only cycles are left, the smallest number goes first."""
    waiting, users = [0] * count, defaultdict(list)
    for source, target in arrows:
        if source != target:
            waiting[target] += 1
            users[source].append(target)
    ready, left, order = [n for n in range(count) if not waiting[n]], set(range(count)), []
    heapify(ready)
    while left:
        node = heappop(ready) if ready else min(left)
        if node not in left:
            continue
        left.remove(node)
        order.append(node)
        for user in users[node]:
            waiting[user] -= 1
            if not waiting[user]:
                heappush(ready, user)
    return order


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def blocks(count: int, arrows: Sequence[Arrow]) -> list[int]:
    """The block of each node, in order; one block while the graph is short."""
    if count <= UNFOLDED:
        return [0] * count
    alive = _alive(count, arrows)
    size = max(2, -(-count // BLOCKS))
    found, current, held = [], 0, 0
    for node in range(count):
        found.append(current)
        held += 1
        if (held >= size and alive[node] <= 1) or held >= 3 * size:
            current, held = current + 1, 0
    return found


def _alive(count: int, arrows: Sequence[Arrow]) -> list[int]:
    """Per node, how many briefly living values pass the cut behind it."""
    last: dict[int, int] = {}
    for source, target in arrows:
        last[source] = max(last.get(source, source), target)
    change = [0] * (count + 1)
    for source, target in last.items():
        if target - source <= max(16, count // 4):
            change[source] += 1
            change[target] -= 1
    alive, running = [], 0
    for node in range(count):
        running += change[node]
        alive.append(running)
    return alive
