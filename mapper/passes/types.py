"""Small questions that passes ask of nests: the loop of each dimension, the element type of a scalar tree, an access
whose operands got new numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mapper.index import Gathered, Index
from mapper.ir import Access, Graph, Op
from mapper.scalar import Acc, Arg, Call, Cast, Const, Scalar

__all__ = ["dimension_loops", "index_reads", "renumbered", "type_of"]

_KEEPS_TYPE = frozenset(
    ["add", "sub", "mul", "div", "neg", "max", "min", "pow", "mod", "abs", "sign", "reciprocal", "square", "sqrt"]
    + ["exp", "log", "log1p", "erf", "sigmoid", "tanh", "softplus", "sin", "cos", "tan", "floor", "ceil", "round"]
    + ["trunc", "where"]
)


def dimension_loops(access: Access) -> tuple[str, ...] | None:
    """The loop of each dimension, if every dimension is exactly one loop of its own and nothing guards."""
    names: list[str] = []
    for index in access.index:
        if index.const or len(index.terms) != 1 or index.terms[0][1] != 1 or not isinstance(index.terms[0][0], str):
            return None
        names.append(index.terms[0][0])
    return tuple(names) if len(set(names)) == len(names) and not access.guards else None


def type_of(graph: Graph, op: Op, value: Scalar, held: str | None) -> str | None:
    """The element type of a tree of `op` where that is certain; "" for constants, which take any. `held` is the
    accumulator's type."""
    if isinstance(value, Arg):
        return graph.tensor(op.reads[value.read].tensor).dtype
    if isinstance(value, Acc):
        return held
    if isinstance(value, Cast):
        return value.dtype
    if isinstance(value, Const):
        return ""
    if isinstance(value, Call) and value.function in _KEEPS_TYPE:
        operands = value.args[1:] if value.function == "where" else value.args
        found = {type_of(graph, op, operand, held) for operand in operands} - {""}
        return found.pop() if len(found) == 1 else None
    return None


def index_reads(op: Op) -> frozenset[int]:
    """Reads whose values are indices of other accesses."""
    accesses = (*op.reads, op.write)
    indices = (i for access in accesses for i in (*access.index, *access.guards))
    return frozenset(atom.read for i in indices for atom in i.gathered)


def renumbered(access: Access, moved: Mapping[int, int]) -> Access:
    """`access` with indices that go through other reads following those to their new numbers."""

    def index(i: Index) -> Index:
        if i.is_affine:
            return i
        terms = ((replace(a, read=moved[a.read]) if isinstance(a, Gathered) else a, c) for a, c in i.terms)
        return Index(tuple(terms), i.const)

    return replace(access, index=tuple(map(index, access.index)), guards=tuple(map(index, access.guards)))
