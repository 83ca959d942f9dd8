"""Several tensors as one: along an axis that they have, or along a new one.

One nest over the result chooses by its coordinate. A body grows with what it chooses between and has to fit the fabric,
so many tensors are joined in groups first, at the price of one more copy for each level.
"""

from __future__ import annotations

from collections.abc import Sequence

from mapper.ir import Access
from mapper.scalar import Const, Counter, Scalar

from .context import Context, Reads
from .nests import call, identity, loops_over, names_of
from .node import Node

__all__ = ["WIDEST", "chosen_part", "concatenate", "stack_into"]

WIDEST = 8  # tensors stacked by one nest; a concatenation takes twice as many


def concatenate(c: Context, node: Node, names: Sequence[str], axis: int, out: str, label: str = "") -> str:
    """The inputs one after the other along `axis`, as `out`."""
    shape = c.shape(out)
    if len(names) > 2 * WIDEST:
        names = [_part(c, node, group, axis, f"{label}{i}") for i, group in enumerate(_groups(names, 2 * WIDEST))]
        return concatenate(c, node, names, axis, out, label)
    at = identity(len(shape))
    reads, offset = Reads(c), 0
    parts: list[tuple[int, Scalar]] = []
    for name in names:
        extent = c.shape(name)[axis]
        if extent == 0:
            continue
        place = at[axis] - offset
        index = [place if i == axis else a for i, a in enumerate(at)]
        parts.append((offset + extent, reads(name, index, (place, extent - 1 - place) if len(names) > 1 else ())))
        offset += extent
    body = chosen_part(parts, Counter(names_of(len(shape))[axis]))
    c.nest(node, loops_over(shape), reads, Access(out, at), body, label=label)
    return out


def _groups(names: Sequence[str], most: int) -> list[Sequence[str]]:
    """The names in as few groups of at most `most` as there can be, of nearly equal size."""
    count = -(-len(names) // most)
    return [names[i * len(names) // count : (i + 1) * len(names) // count] for i in range(count)]


def _part(c: Context, node: Node, names: Sequence[str], axis: int, label: str) -> str:
    """Some inputs of a concatenation joined in a tensor of their own."""
    first = c.shape(names[0])
    total = sum(c.shape(name)[axis] for name in names)
    out = c.temporary(node, f"part{label}", (*first[:axis], total, *first[axis + 1 :]), c.dtype(names[0]))
    return concatenate(c, node, names, axis, out, f"part{label}")


def stack_into(
    c: Context, node: Node, parts: Sequence[str], axis: int, out: str, label: str, reverse: bool = False
) -> str:
    """out = the parts along a new `axis` (from the last on in reverse), in groups where they are many."""
    shape = c.shape(out)
    chosen = list(reversed(parts)) if reverse else list(parts)
    if len(chosen) > WIDEST:
        stacked = []
        for i, group in enumerate(_groups(chosen, WIDEST)):
            own = f"{label}.part{i}"
            into = c.temporary(node, own, (*shape[:axis], len(group), *shape[axis + 1 :]), c.dtype(out))
            stacked.append(stack_into(c, node, group, axis, into, own))
        return concatenate(c, node, stacked, axis, out, label)
    at, reads = identity(len(shape)), Reads(c)
    slot, rest = at[axis], (*at[:axis], *at[axis + 1 :])
    one = len(chosen) == 1
    options = [(i + 1, reads(name, rest, () if one else (slot - i, i - slot))) for i, name in enumerate(chosen)]
    body = chosen_part(options, Counter(names_of(len(shape))[axis]))
    c.nest(node, loops_over(shape), reads, Access(out, at), body, label=label)
    return out


def chosen_part(parts: Sequence[tuple[int, Scalar]], counter: Scalar) -> Scalar:
    """The first part whose end lies beyond the counter, by halving: depth grows with the logarithm."""
    if not parts:
        return Const(0)
    if len(parts) == 1:
        return parts[0][1]
    middle = len(parts) // 2
    condition = call("less", counter, parts[middle - 1][0])
    return call("where", condition, chosen_part(parts[:middle], counter), chosen_part(parts[middle:], counter))
