"""Would a mistake in the code be seen? Changes one spot of the checker or of the lowering and runs the nearest tests.

    python benchmarks/mutation.py [GROUP ...] [--count 150] [--seed 0] [--survivors] [--json]

A *mutant* is a module with one change: a comparison made strict or lax or turned round, an operation exchanged, a
constant off by one, `and` for `or`, a condition negated, `min` for `max`, a statement dropped, a result lost. Mutants
are drawn at random, with a fixed seed, among all the spots of a group's files; strings, annotations, imports and
statements of modules are left alone. A mutant is *killed* if a test fails, or does not come to an end. Files of a group
share its tests, which are tried in order until one fails. Each mutant runs in a forked child that compiles the changed
source in place of the file's; nothing is written.

The score is killed / drawn, equivalent mutants among the survivors included, so it is a lower estimate; with it comes
Wilson's 95 % interval for all mutants of the group. Exit code 5 if a group's score is below 80 %.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["GROUPS", "Group", "Mutant", "main", "mutants", "survives"]

ROOT = Path(__file__).resolve().parent.parent
FEWEST = 0.8
SECONDS = 120
PRELOADED = ("numpy", "onnx.reference", "ml_dtypes", "hypothesis", "pytest", "networkx", "pydantic", "yaml",
             "ortools.sat.python.cp_model", "importlib.metadata", "onnx.backend.test.case.node")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Files (glob patterns from the root) and the tests that are nearest to them, quick ones first."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


_PLAYING = ("crossings", "held", "literal", "merging", "replay", "run", "tally", "values")
_PLAY = ("tests/test_simulate.py", "tests/test_check.py", "tests/test_traffic.py", "tests/test_faults.py",
         "tests/test_invariants.py")  # fmt: skip
_LOWERING = tuple(
    f"tests/frontends/onnx/test_{name}.py"
    for name in ("random_graphs", "operators", "node_cases", "scatter", "quantised", "corrections", "microsoft",
                 "bodies", "spectral", "domains", "found_by_fuzzing", "hostile", "models")
)  # fmt: skip
_PLACED = "tests/test_faults.py::test_faults_of_placed_kernels"
GROUPS = {
    "checker of networks": Group(
        ("mapper/check.py", "mapper/proof/rules_*.py", "mapper/proof/slices.py", "mapper/proof/chains.py"),
        ("tests/test_check.py", "tests/test_simulate.py", "tests/test_faults.py", "tests/test_invariants.py"),
    ),
    "checker of grids": Group(("mapper/check_kernel.py",), ("tests/test_check_kernel.py", _PLACED)),
    "checker of rows": Group(("mapper/check_rows.py",), ("tests/test_check_rows.py", _PLACED)),
    "checker of contests": Group(
        ("mapper/check_contest.py",), ("tests/test_check_contest.py", "tests/benchmarks/test_campaigns.py"),
    ),
    "play": Group(
        ("mapper/simulate.py", *(f"mapper/proof/{name}.py" for name in _PLAYING)), _PLAY,
    ),
    "bodies": Group(
        ("mapper/kernels/*.py",), ("tests/kernels/test_random_bodies.py", "tests/kernels", "tests/test_interpret.py"),
    ),
    "lowering": Group(("frontends/onnx/*.py",), _LOWERING),
}  # fmt: skip


# spots and changes ---------------------------------------------------------------------------------------------------

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
    """One change of a file: the spot is the `number`th of the file; `line` and `what` describe it."""

    file: str
    number: int
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


def _spots(tree: ast.Module) -> Iterator[tuple[str, int, Callable[[], None]]]:
    """Every change of the bodies of functions, as (words, line, what does it in place)."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    inner = {id(n) for f in functions for n in ast.walk(f) if n is not f and isinstance(n, ast.FunctionDef)}
    for function in functions:
        if id(function) not in inner:
            yield from _spots_below(function)


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


def mutants(group: Group) -> list[Mutant]:
    """Every mutant of a group, file by file."""
    files = sorted({path for pattern in group.files for path in ROOT.glob(pattern)})
    found = []
    for path in files:
        tree = ast.parse(path.read_text())
        name = str(path.relative_to(ROOT))
        found += [Mutant(name, number, line, what) for number, (what, line, _) in enumerate(_spots(tree))]
    return found


def mutated(mutant: Mutant) -> Any:
    """The code object of the changed module."""
    tree = copy.deepcopy(ast.parse((ROOT / mutant.file).read_text()))
    *_, (_, _, do) = (spot for spot, _ in zip(_spots(tree), range(mutant.number + 1), strict=False))
    do()
    return compile(ast.fix_missing_locations(tree), str(ROOT / mutant.file), "exec")


# running -------------------------------------------------------------------------------------------------------------


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module by its file's name and runs other code in its place."""

    def __init__(self, file: str, code: Any) -> None:
        name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.name = name if name.startswith("mapper.") else f"mapper.{name}"
        self.code = code
        self.place = str(ROOT / (file if file.startswith("mapper/") else f"mapper/{file}"))

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.place, loader=_Loader(self))


class _Loader(importlib.abc.Loader):
    def __init__(self, changed: _Changed) -> None:
        self.changed = changed

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.changed.code, module.__dict__)


def survives(mutant: Mutant | None, tests: Sequence[str]) -> bool:
    """Whether every test passes with the mutant (None: with the code as it is)."""
    child = os.fork()
    if child == 0:
        os._exit(_tested(mutant, tests))
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def _tested(mutant: Mutant | None, tests: Sequence[str]) -> int:
    """In the child: pytest's exit code; 1 if the mutant cannot even be imported."""
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    with contextlib.suppress(BaseException):
        if mutant is not None:
            sys.meta_path.insert(0, _Changed(mutant.file, mutated(mutant)))
        for test in tests:
            if pytest.main(["-q", "-x", "-p", "no:cacheprovider", test]) != 0:
                return 1
        return 0
    return 1


def interval(killed: int, drawn: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, killed / drawn
    middle = share + z * z / (2 * drawn)
    spread = z * sqrt(share * (1 - share) / drawn + z * z / (4 * drawn * drawn))
    return (middle - spread) / (1 + z * z / drawn), (middle + spread) / (1 + z * z / drawn)


def measured(name: str, count: int, seed: int, tell: Callable[[Mutant], None]) -> dict[str, Any]:
    """One row: drawn and killed mutants of a group; each survivor is told."""
    group = GROUPS[name]
    everything = mutants(group)
    drawn = random.Random(f"{seed} {name}").sample(everything, min(count, len(everything)))
    killed = 0
    for mutant in sorted(drawn, key=lambda m: (m.file, m.number)):
        if survives(mutant, group.tests):
            tell(mutant)
        else:
            killed += 1
    low, high = interval(killed, len(drawn))
    return {"id": name, "mutants": len(everything), "drawn": len(drawn), "killed": killed,
            "score": killed / len(drawn), "low": low, "high": high}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Change one spot of the code; the nearest tests must see it.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--count", type=int, default=150, help="mutants drawn per group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--survivors", action="store_true", help="tell every survivor on stderr")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    unknown = set(options.groups) - set(GROUPS)
    if unknown:
        parser.error(f"unknown group {min(unknown)!r}: {', '.join(GROUPS)}")
    for module in PRELOADED:
        importlib.import_module(module)

    def tell(mutant: Mutant) -> None:
        if options.survivors:
            print(f"survives: {mutant}", file=sys.stderr, flush=True)

    rows = []
    for name in options.groups or GROUPS:
        if not survives(None, GROUPS[name].tests):
            print(f"error: the tests of {name!r} fail without a mutant", file=sys.stderr)
            return 5
        rows.append(measured(name, options.count, options.seed, tell))
        if not options.json:
            row = rows[-1]
            print(f"{name:22} {row['mutants']:6} mutants, {row['drawn']:4} drawn, {row['killed']:4} killed: "
                  f"{row['score']:.1%} ({row['low']:.0%} to {row['high']:.0%})", flush=True)  # fmt: skip
    if options.json:
        print(json.dumps({"rows": rows}, indent=1))
    return 5 if any(row["score"] < FEWEST for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
