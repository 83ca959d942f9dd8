"""Which tensors stay on chip between operators that run one after the other.

A tensor that stays is neither written to the backing store nor read from it; while it lives (from its producer to its
last reader) it takes its bytes of the memory, and every operator that runs meanwhile has less room for its tiles. With
x(T) in {0, 1} for tensors and y(i) for operators:

    maximise  sum over T of saved(T) x(T)  -  sum over i of price(i) y(i)
    such that  sum over T alive at i of bytes(T) x(T) <= room y(i)   for every operator i

`price` is what the smaller tiles cost. Solved by CP-SAT in a fixed effort, so that the answer is the same each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mapper.ir import Graph, Op, Opaque
from mapper.solver import Limits, Model, solve

__all__ = ["Candidate", "candidates", "staying"]

LIMITS = Limits(effort=2.0)
SCALE = 1_000_000  # integer steps of the largest saving or price


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tensor with its bytes, the first and the last stage at which it must stand, and how often stages read it."""

    tensor: str
    bytes: int
    first: int
    last: int
    readers: int

    @property
    def stages(self) -> range:
        return range(self.first, self.last + 1)


def candidates(graph: Graph, room_bytes: int) -> tuple[Candidate, ...]:
    """Tensors of at most `room_bytes` that one nest makes and only nests read, no output of the graph among them.

    Stages are numbered like the nests. A tensor that views share is taken to live throughout.
    """
    position = {op.name: at for at, op in enumerate(graph.nests)}
    made = {op.write.tensor: at for at, op in enumerate(graph.nests)}
    readers: Counter[str] = Counter()
    last, always, barred = dict(made), set[str](), {graph.root(name) for name in graph.outputs}
    for op in graph.ops:
        roots = {graph.root(name) for name in (*op.inputs, *op.outputs)}
        if isinstance(op, Op):
            for root in {graph.root(name) for name in op.inputs} & set(made):
                readers[root] += 1
                last[root] = max(last[root], position[op.name])
        else:
            always |= roots
            barred |= roots if isinstance(op, Opaque) else set()
    return tuple(
        Candidate(name, size, *((0, len(position) - 1) if name in always else (at, last[name])), readers[name])
        for name, at in made.items()
        if name not in barred and 0 < (size := graph.tensor(name).bytes) <= room_bytes and readers[name]
    )


def staying(
    found: Sequence[Candidate], room_bytes: int, saved_pj: Sequence[float], price_pj: Sequence[float], seed: int
) -> frozenset[str]:
    """The tensors of `found` that stay; `saved_pj` by candidate, `price_pj` by stage."""
    unit = max([*saved_pj, *price_pj, 0.0]) / SCALE
    if unit <= 0:
        return frozenset()
    model = Model()
    stays = [model.flag(item.tensor) for item in found]
    tight = [model.flag(f"stage{at}") for at in range(len(price_pj))]
    for at, flag in enumerate(tight):
        alive = [item.bytes * stay for item, stay in zip(found, stays, strict=True) if at in item.stages]
        if alive:
            model.add(sum(alive) <= room_bytes * flag)
    gain = sum(round(pj / unit) * stay for pj, stay in zip(saved_pj, stays, strict=True))
    loss = sum(round(max(pj, 0.0) / unit) * flag for pj, flag in zip(price_pj, tight, strict=True))
    model.maximize(gain - loss)
    model.hint([*((stay, 0) for stay in stays), *((flag, 0) for flag in tight)])
    answer = solve(model, Limits(LIMITS.effort, seed=seed))
    return frozenset(item.tensor for item, stay in zip(found, stays, strict=True) if answer and answer.value(stay))
