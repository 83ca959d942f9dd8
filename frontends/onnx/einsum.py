"""Einsum: one nest over the letters of the equation; several operands are contracted from left to right.

A letter that no later operand and not the result names is summed as soon as it can be. An ellipsis stands for
broadcast dimensions, which get letters of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mapper.index import Index, constant, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Scalar

from .context import Context, Reads
from .errors import ModelError
from .nests import accumulator, call, computed
from .node import Node

__all__ = ["TABLE"]


@dataclass(frozen=True, slots=True)
class Term:
    """An operand and the loop of each of its dimensions."""

    tensor: str
    letters: tuple[str, ...]


def einsum(c: Context, node: Node) -> None:
    terms, result = _parsed(c, node)
    extents = _extents(c, node, terms)
    out_dtype = c.dtype(node.input(0))
    while len(terms) > 2:
        first, second, *rest = terms
        later = {letter for term in rest for letter in term.letters} | set(result)
        letters = tuple(x for x in dict.fromkeys(first.letters + second.letters) if x in later)
        part = c.temporary(node, f"part{len(rest)}", [extents[x] for x in letters], accumulator(out_dtype))
        _contract(c, node, [first, second], Term(part, letters), extents)
        terms = [Term(part, letters), *rest]
    out = c.output(node, 0, [extents[x] for x in result], out_dtype)
    _contract(c, node, terms, Term(out, result), extents)


def _contract(c: Context, node: Node, terms: Sequence[Term], result: Term, extents: Mapping[str, int]) -> None:
    letters = dict.fromkeys((*result.letters, *(x for term in terms for x in term.letters)))
    reads = Reads(c)
    values = [computed(reads(term.tensor, _index(c, term, extents)), c.dtype(term.tensor)) for term in terms]
    body: Scalar = values[0] if len(values) == 1 else call("mul", *values)
    summed = [x for x in letters if x not in result.letters]
    combiner = Combiner("sum", accumulator(c.dtype(terms[0].tensor))) if summed or len(terms) > 1 else None
    loops = tuple(Loop(x, extents[x]) for x in letters)
    write = Access(result.tensor, tuple(loop(x) for x in result.letters))
    c.nest(node, loops, reads, write, body, combiner, counted=len(terms) > 1)


def _index(c: Context, term: Term, extents: Mapping[str, int]) -> tuple[Index, ...]:
    shape = c.shape(term.tensor)
    return tuple(
        constant(0) if e == 1 and extents[x] != 1 else loop(x) for x, e in zip(term.letters, shape, strict=True)
    )


def _parsed(c: Context, node: Node) -> tuple[list[Term], tuple[str, ...]]:
    equation = node.text("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    operands = left.split(",")
    if len(operands) != len(node.inputs) or not all(set(o) <= _ALLOWED for o in (*operands, right)):
        raise ModelError(f"equation {equation!r} does not fit {len(node.inputs)} operands", node.name)
    dots = max(
        (len(c.shape(n)) - len(o.replace("...", "")) for n, o in zip(node.inputs, operands, strict=True) if "..." in o),
        default=0,
    )
    terms = [Term(n, _letters(o, len(c.shape(n)), dots, node)) for n, o in zip(node.inputs, operands, strict=True)]
    if arrow:
        return terms, _letters(
            right, dots + len(right.replace("...", "")) if "..." in right else len(right), dots, node
        )
    joined = left.replace(",", "").replace("...", "")
    once = sorted(x for x in set(joined) if joined.count(x) == 1)
    return terms, (*(f"e{i}" for i in range(dots)), *once)


_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.")


def _letters(text: str, rank: int, dots: int, node: Node) -> tuple[str, ...]:
    before, ellipsis, after = text.partition("...")
    spare = rank - len(before) - len(after)
    if spare < 0 or (spare and not ellipsis) or "." in before + after:
        raise ModelError(f"term {text!r} of the equation does not fit a tensor of rank {rank}", node.name)
    return (*before, *(f"e{i}" for i in range(dots - spare, dots)), *after)


def _extents(c: Context, node: Node, terms: Sequence[Term]) -> dict[str, int]:
    extents: dict[str, int] = {}
    for term in terms:
        for letter, extent in zip(term.letters, c.shape(term.tensor), strict=True):
            known = extents.setdefault(letter, extent)
            if known != extent and 1 not in (known, extent):
                raise ModelError(f"letter {letter!r} of the equation is both {known} and {extent}", node.name)
            extents[letter] = max(known, extent) if 0 not in (known, extent) else 0
    return extents


TABLE: Mapping[str, Callable[[Context, Node], None]] = {"Einsum": einsum}
