"""The inner loop of the annealing: a binary slicing tree in arrays, its curves, moves and the search itself.

Nodes 0 .. n-1 are leaves, n .. 2n-2 cuts (0: rows, 1: columns). Every cut keeps two curves: `low[w]`, the least height
at width w, and `thin[h]`, the least width at height h. Rows add `low`, columns add `thin`, the other one is
its inverse; so a move costs one addition and one inversion per node on the way to the root. Curves live in two slots a
node: a move writes the idle slot and flips, a rejected move flips back.

    cost = w_t target + w_l wirelength + pressure * rows over the fabric's height

The target is a coordinate of the search: curves of all kernels at all targets lie in one table. Random numbers are
a multiplicative congruential generator in 64-bit integers, so compiled and plain runs agree to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mapper.signals import aside

from .compiled import compiled

__all__ = ["OVERHANG", "Curves", "Forest", "Schedule", "Wires", "anneal", "read_boxes"]

Array = npt.NDArray[Any]
FAR = 1 << 13
OVERHANG = 48  # a tree may stick out of the fabric by this much while the search is on


class Curves(NamedTuple):
    """low[target, kind, w] and thin[target, kind, h] of the kernels; the `kind` of each; weighted time of a target."""

    low: Array
    thin: Array
    kind: Array
    time_cost: Array


class Wires(NamedTuple):
    """Edges as pairs, and per kernel its neighbours in a padded table (-1)."""

    source: Array
    target: Array
    near: Array
    degree: Array


class Forest(NamedTuple):
    """One tree: children, parent, cut, kernel of each leaf; scalars: 0 root, 1 target index, 2 width."""

    left: Array
    right: Array
    parent: Array
    cut: Array
    kernel: Array
    scalar: Array


class Work(NamedTuple):
    """Curve slots of the cuts (with a flag where the inverse is there), boxes of all nodes, and scratch."""

    low: Array
    thin: Array
    slot: Array
    inverted: Array
    box: Array
    stack: Array
    changed: Array
    mark: Array


class Schedule(NamedTuple):
    """Moves; temperature and pressure go geometrically from first to last; weights and move kinds."""

    moves: int
    hot: float
    cold: float
    soft: float
    hard: float
    length_weight: float
    seed: int
    free_width: int


@compiled
def _random(state: Array, bound: int) -> int:
    """The next number in 0 .. bound - 1."""
    state[0] = state[0] * 48271 % 2147483647
    return int(state[0] % bound)


@compiled
def _invert(falling: Array, result: Array) -> None:
    """result[y] = the least x with falling[x] <= y, FAR where there is none."""
    bound, least = len(result), FAR
    for y in range(bound):
        result[y] = FAR
    for x in range(len(falling) - 1, -1, -1):
        if falling[x] < bound:
            result[falling[x]] = x
    for y in range(bound):
        least = min(least, result[y])
        result[y] = least


@compiled
def _low(node: int, curves: Curves, tree: Forest, work: Work) -> Array:
    """Least heights of a node; of a column cut they are made when first asked for."""
    if node < len(tree.kernel):
        return curves.low[tree.scalar[1], curves.kind[tree.kernel[node]]]  # type: ignore[no-any-return]
    slot = work.slot[node]
    if tree.cut[node] == 1 and work.inverted[slot, node] == 0:
        _invert(work.thin[slot, node], work.low[slot, node])
        work.inverted[slot, node] = 1
    return work.low[slot, node]  # type: ignore[no-any-return]


@compiled
def _thin(node: int, curves: Curves, tree: Forest, work: Work) -> Array:
    """Least widths of a node; of a row cut they are made when first asked for."""
    if node < len(tree.kernel):
        return curves.thin[tree.scalar[1], curves.kind[tree.kernel[node]]]  # type: ignore[no-any-return]
    slot = work.slot[node]
    if tree.cut[node] == 0 and work.inverted[slot, node] == 0:
        _invert(work.low[slot, node], work.thin[slot, node])
        work.inverted[slot, node] = 1
    return work.thin[slot, node]  # type: ignore[no-any-return]


@compiled
def _add(a: Array, b: Array, total: Array) -> None:
    """total = min(a + b, FAR) in two passes of 16-bit arithmetic, which compilers turn into vector code."""
    for i in range(len(total)):
        total[i] = np.int16(a[i] + b[i])
    for i in range(len(total)):
        if total[i] > FAR:
            total[i] = FAR


@compiled
def _combine(node: int, curves: Curves, tree: Forest, work: Work) -> None:
    """The curve of a cut from its children's, in its idle slot, which becomes the current one."""
    slot = 1 - work.slot[node]
    if tree.cut[node] == 0:
        a, b = _low(tree.left[node], curves, tree, work), _low(tree.right[node], curves, tree, work)
        _add(a, b, work.low[slot, node])
    else:
        a, b = _thin(tree.left[node], curves, tree, work), _thin(tree.right[node], curves, tree, work)
        _add(a, b, work.thin[slot, node])
    work.inverted[slot, node] = 0
    work.slot[node] = slot


@compiled
def _refresh(first: int, second: int, curves: Curves, tree: Forest, work: Work) -> int:
    """Recompute the cuts from `first` and `second` up to the root, each once; returns how many, listed in `changed`."""
    leaves, count = len(tree.kernel), 0
    work.mark[:] = 0
    node = first
    while node >= 0:
        work.mark[node] = 1
        node = tree.parent[node]
    node = second
    while node >= 0 and work.mark[node] == 0:
        if node >= leaves:
            _combine(node, curves, tree, work)
            work.changed[count] = node
            count += 1
        node = tree.parent[node]
    node = first
    while node >= 0:
        if node >= leaves:
            _combine(node, curves, tree, work)
            work.changed[count] = node
            count += 1
        node = tree.parent[node]
    return count


@compiled
def _rebuild(curves: Curves, tree: Forest, work: Work) -> int:
    """Recompute every cut, children first."""
    leaves, top, count = len(tree.kernel), 1, 0
    work.stack[0] = tree.scalar[0]
    while top > 0:
        top -= 1
        node = work.stack[top]
        if node >= leaves:
            work.changed[count] = node
            count += 1
            work.stack[top], work.stack[top + 1] = tree.left[node], tree.right[node]
            top += 2
    for i in range(count - 1, -1, -1):
        _combine(work.changed[i], curves, tree, work)
    return count


@compiled
def _outline(curves: Curves, tree: Forest, work: Work, size: Array) -> int:
    """Width and height of the root that stick out least, to `size`; returns by how much, FAR if by too much."""
    low = _low(tree.scalar[0], curves, tree, work)
    width, height = tree.scalar[2], work.thin.shape[2] - OVERHANG - 1
    fabric = len(low) - OVERHANG - 1
    least = FAR
    for w in range(width, width + 1 if width < fabric else len(low)):
        excess = max(0, w - fabric) + max(0, low[w] - height)
        if excess < least:
            least, size[0], size[1] = excess, w, low[w]
        if w - fabric >= least:
            break
    return FAR if least > OVERHANG else least


@compiled
def _place(curves: Curves, tree: Forest, work: Work, size: Array) -> int:
    """Boxes (x, y, width, height) of all nodes; returns by how much the root sticks out, FAR if by too much."""
    leaves, root, top = len(tree.kernel), tree.scalar[0], 1
    box, stack = work.box, work.stack
    excess = _outline(curves, tree, work, size)
    if excess == FAR:
        return FAR
    box[root, 0], box[root, 1], box[root, 2], box[root, 3] = 0, 0, size[0], size[1]
    stack[0] = root
    while top > 0:
        top -= 1
        node = stack[top]
        if node < leaves:
            continue
        a, b = tree.left[node], tree.right[node]
        x, y, wide, tall = box[node, 0], box[node, 1], box[node, 2], box[node, 3]
        if tree.cut[node] == 0:
            first = _low(a, curves, tree, work)[wide]
            box[a, 0], box[a, 1], box[a, 2], box[a, 3] = x, y, wide, first
            box[b, 0], box[b, 1], box[b, 2] = x, y + first, wide
            box[b, 3] = _low(b, curves, tree, work)[wide]
        else:
            first = _thin(a, curves, tree, work)[tall]
            box[a, 0], box[a, 1], box[a, 2], box[a, 3] = x, y, first, tall
            box[b, 0], box[b, 1], box[b, 3] = x + first, y, tall
            box[b, 2] = _thin(b, curves, tree, work)[tall]
        stack[top], stack[top + 1] = a, b
        top += 2
    return excess


@compiled
def _length(wires: Wires, tree: Forest, work: Work, leaf_of: Array) -> int:
    """Twice the wirelength between box centres."""
    total, box = 0, work.box
    for e in range(len(wires.source)):
        a, b = leaf_of[wires.source[e]], leaf_of[wires.target[e]]
        total += abs(2 * box[a, 0] + box[a, 2] - 2 * box[b, 0] - box[b, 2])
        total += abs(2 * box[a, 1] + box[a, 3] - 2 * box[b, 1] - box[b, 3])
    return total


@compiled
def _replace_child(tree: Forest, parent: int, old: int, new: int) -> None:
    if parent < 0:
        tree.scalar[0] = new
    elif tree.left[parent] == old:
        tree.left[parent] = new
    else:
        tree.right[parent] = new
    tree.parent[new] = parent


@compiled
def _within(tree: Forest, node: int, ancestor: int) -> bool:
    while node >= 0:
        if node == ancestor:
            return True
        node = tree.parent[node]
    return False


@compiled
def _swap_subtrees(tree: Forest, a: int, b: int) -> bool:
    if _within(tree, a, b) or _within(tree, b, a):
        return False
    above_a, above_b = tree.parent[a], tree.parent[b]
    if above_a == above_b:
        tree.left[above_a], tree.right[above_a] = tree.right[above_a], tree.left[above_a]
        return True
    _replace_child(tree, above_a, a, b)
    _replace_child(tree, above_b, b, a)
    return True


@compiled
def _move_subtree(tree: Forest, a: int, b: int, cut: int, before: int) -> int:
    """Take `a` out and put it beside `b`; returns the node above which curves changed at the old place, or -2."""
    above = tree.parent[a]
    if above < 0 or above == b or _within(tree, b, a):
        return -2
    sibling = tree.right[above] if tree.left[above] == a else tree.left[above]
    if sibling == b and tree.cut[above] == cut and (tree.left[above] == a) == (before == 1):
        return -2
    _replace_child(tree, tree.parent[above], above, sibling)
    _replace_child(tree, tree.parent[b], b, above)
    tree.cut[above] = cut
    tree.parent[a], tree.parent[b] = above, above
    if before == 1:
        tree.left[above], tree.right[above] = a, b
    else:
        tree.left[above], tree.right[above] = b, a
    return int(sibling)


@compiled
def _partner(state: Array, leaf: int, wires: Wires, tree: Forest, leaf_of: Array) -> int:
    """Half the time a leaf that holds a neighbour of this one in the network, else any leaf."""
    kernel = tree.kernel[leaf]
    if wires.degree[kernel] > 0 and _random(state, 2) == 0:
        return int(leaf_of[wires.near[kernel, _random(state, wires.degree[kernel])]])
    return _random(state, len(tree.kernel))


@compiled
def _propose(state: Array, curves: Curves, wires: Wires, tree: Forest, leaf_of: Array, ends: Array, free: int) -> bool:
    """Change the tree at random; the two nodes whose ancestors' curves changed go to `ends` (-1: all, -2: none)."""
    leaves = len(tree.kernel)
    cuts = leaves - 1
    kind = _random(state, 100)
    if kind < 25:
        a = _random(state, leaves)
        b = _partner(state, a, wires, tree, leaf_of)
        if kind < 12:
            b = int(leaf_of[min(max(tree.kernel[a] + _random(state, 7) - 3, 0), leaves - 1)])
        if a == b:
            return False
        tree.kernel[a], tree.kernel[b] = tree.kernel[b], tree.kernel[a]
        leaf_of[tree.kernel[a]], leaf_of[tree.kernel[b]] = a, b
        ends[0], ends[1] = a, b
        return True
    if kind < 35:
        a = leaves + _random(state, cuts)
        tree.cut[a] = 1 - tree.cut[a]
        if _random(state, 2) == 0:
            tree.left[a], tree.right[a] = tree.right[a], tree.left[a]
        ends[0], ends[1] = a, a
        return True
    if kind < 45:
        a = leaves + _random(state, cuts)
        tree.left[a], tree.right[a] = tree.right[a], tree.left[a]
        ends[0], ends[1] = -2, -2
        return True
    if kind < 88:
        a = _random(state, leaves)
        b = _partner(state, a, wires, tree, leaf_of)
        for _ in range(_random(state, 4)):
            if tree.parent[b] >= 0:
                b = tree.parent[b]
        if kind >= 78 and tree.parent[a] >= 0:
            a = tree.parent[a]
        sibling = _move_subtree(tree, a, b, _random(state, 2), _random(state, 2))
        if sibling == -2:
            return False
        ends[0], ends[1] = a, sibling
        return True
    if kind < 96:
        a, b = _random(state, 2 * leaves - 1), _random(state, 2 * leaves - 1)
        if a == tree.scalar[0] or b == tree.scalar[0] or not _swap_subtrees(tree, a, b):
            return False
        ends[0], ends[1] = a, b
        return True
    if kind < 98 and free > 0:
        width = tree.scalar[2] + _random(state, 2 * free + 1) - free
        if width < 1 or width >= curves.low.shape[2] - OVERHANG or width == tree.scalar[2]:
            return False
        tree.scalar[2] = width
        ends[0], ends[1] = -2, -2
        return True
    target = tree.scalar[1] + 2 * _random(state, 2) - 1
    if target < 0 or target >= len(curves.time_cost):
        return False
    tree.scalar[1] = target
    ends[0], ends[1] = -1, -1
    return True


@compiled
def _copy(source: Forest, target: Forest) -> None:
    target.left[:] = source.left
    target.right[:] = source.right
    target.parent[:] = source.parent
    target.cut[:] = source.cut
    target.kernel[:] = source.kernel
    target.scalar[:] = source.scalar


@compiled
def _update(curves: Curves, tree: Forest, work: Work, ends: Array) -> int:
    if ends[0] == -2:
        return 0
    if ends[0] == -1:
        return _rebuild(curves, tree, work)
    return _refresh(ends[0], ends[1], curves, tree, work)


@compiled
def _leaf_index(tree: Forest, leaf_of: Array) -> None:
    for leaf in range(len(tree.kernel)):
        leaf_of[tree.kernel[leaf]] = leaf


@compiled
def _search(
    curves: Curves, wires: Wires, tree: Forest, old: Forest, best: Forest, work: Work, plan: Schedule, deviate: Array
) -> float:
    """Metropolis search with falling temperature and rising pressure; the best tree that fits goes to `best`."""
    state = np.array([plan.seed % 2147483646 + 1], dtype=np.int64)
    leaf_of, ends = np.zeros(len(tree.kernel), dtype=np.int64), np.zeros(2, dtype=np.int64)
    _leaf_index(tree, leaf_of)
    _rebuild(curves, tree, work)
    size = np.zeros(2, dtype=np.int64)
    excess = _place(curves, tree, work, size)
    base = curves.time_cost[tree.scalar[1]] + plan.length_weight * 0.5 * _length(wires, tree, work, leaf_of)
    least = base if excess == 0 else 1e18
    _copy(tree, best)
    temperature, pressure, period = plan.hot, plan.soft, max(1, plan.moves // 1000)
    cooling, pressing = (plan.cold / plan.hot) ** 0.001, (plan.hard / plan.soft) ** 0.001
    _copy(tree, old)
    for move in range(plan.moves):
        if move % period == 0 and move > 0:
            temperature, pressure = temperature * cooling, pressure * pressing
        if not _propose(state, curves, wires, tree, leaf_of, ends, plan.free_width):
            continue
        count = _update(curves, tree, work, ends)
        new_excess = _place(curves, tree, work, size)
        accepted = False
        if new_excess < FAR:
            new_base = curves.time_cost[tree.scalar[1]]
            new_base += plan.length_weight * 0.5 * _length(wires, tree, work, leaf_of)
            rise = new_base + pressure * new_excess - base - pressure * excess
            accepted = rise <= temperature * deviate[_random(state, len(deviate))]
        if accepted:
            base, excess = new_base, new_excess
            _copy(tree, old)
            if excess == 0 and base < least - 1e-9:
                least = base
                _copy(tree, best)
        else:
            for i in range(count):
                work.slot[work.changed[i]] = 1 - work.slot[work.changed[i]]
            _copy(old, tree)
            _leaf_index(tree, leaf_of)
    return least


def _work(curves: Curves, leaves: int) -> Work:
    nodes, width, height = 2 * leaves - 1, curves.low.shape[2], curves.thin.shape[2]
    return Work(
        low=np.zeros((2, nodes, width), dtype=np.int16),
        thin=np.zeros((2, nodes, height), dtype=np.int16),
        slot=np.zeros(nodes, dtype=np.int64),
        inverted=np.zeros((2, nodes), dtype=np.int64),
        box=np.zeros((nodes, 4), dtype=np.int64),
        stack=np.zeros(nodes + 2, dtype=np.int64),
        changed=np.zeros(nodes, dtype=np.int64),
        mark=np.zeros(nodes, dtype=np.int64),
    )


def copied(tree: Forest) -> Forest:
    return Forest(*(part.copy() for part in tree))


def anneal(curves: Curves, wires: Wires, tree: Forest, plan: Schedule) -> tuple[float, Forest, Forest]:
    """Search from `tree`; returns the least cost inside the fabric (1e18: never, or an end was asked for meanwhile),
    its tree, and the last tree."""
    deviate = -np.log((np.arange(4096) + 0.5) / 4096)  # exponential deviates: accept if rise <= temperature * one
    current, old, best, work = copied(tree), copied(tree), copied(tree), _work(curves, len(tree.kernel))
    least = aside(lambda: _search(curves, wires, current, old, best, work, plan, deviate))
    return 1e18 if least is None else float(least), best, current


def read_boxes(curves: Curves, tree: Forest) -> tuple[int, Array]:
    """How far the tree sticks out, and per kernel the columns x, y, width, height."""
    work = _work(curves, len(tree.kernel))
    _rebuild(curves, tree, work)
    excess = _place(curves, tree, work, np.zeros(2, dtype=np.int64))
    boxes = np.zeros((len(tree.kernel), 4), dtype=np.int64)
    for leaf, kernel in enumerate(tree.kernel):
        boxes[kernel] = work.box[leaf]
    return excess, boxes
