"""Mutants: modules with one change each.

A change is: a comparison made strict or lax or turned round, an operation exchanged, a constant off by one, `and` for
`or`, a condition negated, `min` for `max`, a statement dropped, a result lost. Strings, annotations, imports and
statements of modules are left alone.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "Mutant", "mutants", "mutated"]

ROOT = Path(__file__).resolve().parent.parent

Change = Callable[[Any], None]
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.Pow: ast.Mult,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


def changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """What may be done to one node of a syntax tree."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in COMPARISONS:
                yield f"comparison {i}", partial(_turned, i)
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        yield "operation", lambda n: setattr(n, "op", OPERATIONS[type(n.op)]())
    elif isinstance(node, ast.BoolOp):
        yield "and/or", lambda n: setattr(n, "op", ast.Or() if isinstance(n.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign", lambda n: setattr(n, "op", ast.UAdd())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not", lambda n: setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand))
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        value: Any = node.value
        other = (not value) if isinstance(value, bool) else value + 1
        yield "constant", lambda n: setattr(n, "value", other)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "negated", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in NAMES:
        yield "other end", lambda n: setattr(n, "id", NAMES[n.id])
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "result lost", lambda n: setattr(n, "value", ast.Constant(None))


def _turned(i: int, node: ast.Compare) -> None:
    node.ops[i] = COMPARISONS[type(node.ops[i])]()


def _drop(statements: list[Any], at: int) -> None:
    statements[at] = ast.Pass()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _droppable(node: ast.AST) -> bool:
    """A statement without which the module still compiles and that is no mere text."""
    return isinstance(node, ast.Expr | ast.AugAssign | ast.Raise | ast.Continue) and not (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of a file: the spot is the `number`th of the file; `line` and `what` describe it.

    `first` and `last` are the lines of the function, or method, that it is in.
    """

    file: str
    number: int
    line: int
    what: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


def _spots(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, str, int, Callable[[], None]]]:
    """Every change of the bodies of functions, as (outermost function, words, line, what does it in place)."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    inner = {id(n) for f in functions for n in ast.walk(f) if n is not f and isinstance(n, ast.FunctionDef)}
    for function in functions:
        if id(function) not in inner:
            yield from ((function, *spot) for spot in _spots_below(function))


def _spots_below(parent: ast.AST) -> Iterator[tuple[str, int, Callable[[], None]]]:
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list", "type_comment", "exc"):
            continue
        children: list[Any] = value if isinstance(value, list) else [value]
        for at, node in enumerate(children):
            if not isinstance(node, ast.AST):
                continue
            if isinstance(value, list) and _droppable(node):
                yield "dropped", getattr(node, "lineno", 0), partial(_drop, value, at)
            for what, change in changes(node):
                yield what, getattr(node, "lineno", 0), partial(change, node)
            if not isinstance(node, ast.JoinedStr | ast.Assert):
                yield from _spots_below(node)


def mutants(patterns: Sequence[str]) -> list[Mutant]:
    """Every mutant of the files that match one of the patterns, file by file."""
    found = []
    for path in sorted({path for pattern in patterns for path in ROOT.glob(pattern)}):
        name = str(path.relative_to(ROOT))
        for number, (function, what, line, _) in enumerate(_spots(ast.parse(path.read_text()))):
            first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
            found.append(Mutant(name, number, line, what, first, function.end_lineno or line))
    return found


def mutated(mutant: Mutant) -> Any:
    """The code object of the changed module."""
    tree = copy.deepcopy(ast.parse((ROOT / mutant.file).read_text()))
    *_, (_, _, _, do) = (spot for spot, _ in zip(_spots(tree), range(mutant.number + 1), strict=False))
    do()
    return compile(ast.fix_missing_locations(tree), str(ROOT / mutant.file), "exec")
