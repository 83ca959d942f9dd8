"""Would a mistake in the code be seen? Changes one spot of the checker or of the lowering and runs the nearest tests.

    python benchmarks/mutation.py [GROUP ...] [--count 150] [--seed 0] [--survivors] [--json]

Mutants (`benchmarks/mutants.py`) are drawn at random, with a fixed seed, among all the spots of a group's files. A
mutant is *killed* if a test fails, or does not come to an end. The group's tests are run once as the code is, and it is
noted which of them enter which function; a mutant meets the tests that enter its function, quick ones first, until one
fails. Each runs in a forked child that compiles the changed source in place of the file's; nothing is written.

The score is killed / drawn, equivalent mutants among the survivors included, so it is a lower estimate; with it comes
Wilson's 95 % interval for all mutants of the group. Exit code 5 if a group's score is below 80 %.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import pickle
import random
import resource
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest
from mutants import ROOT, Mutant, mutants, mutated

__all__ = ["GROUPS", "Group", "Test", "killed", "main", "tests_of"]

FEWEST = 0.8
SECONDS = 120
PRELOADED = ("numpy", "onnx.reference", "ml_dtypes", "hypothesis", "pytest", "networkx", "pydantic", "yaml",
             "ortools.sat.python.cp_model", "importlib.metadata", "onnx.backend.test.case.node")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Files (glob patterns from the root) and the files or folders of the tests that are nearest to them."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


_PLAYING = ("crossings", "held", "literal", "merging", "replay", "run", "tally", "values")
_PLAY = ("tests/test_play.py", "tests/test_simulate.py", "tests/test_check.py", "tests/test_traffic.py",
         "tests/test_faults.py", "tests/test_invariants.py")  # fmt: skip
_PLACED = "tests/test_faults.py::test_faults_of_placed_kernels"
GROUPS = {
    "checker of networks": Group(
        ("mapper/check.py", "mapper/proof/rules_*.py", "mapper/proof/slices.py", "mapper/proof/chains.py"),
        ("tests/test_check.py", "tests/test_check_fabric.py", "tests/test_simulate.py", "tests/test_faults.py",
         "tests/test_invariants.py"),
    ),
    "checker of grids": Group(("mapper/check_kernel.py",), ("tests/test_check_kernel.py", _PLACED)),
    "checker of rows": Group(("mapper/check_rows.py",), ("tests/test_check_rows.py", _PLACED)),
    "checker of copies": Group(
        ("mapper/proof/displaced.py", "mapper/proof/left_in_rows.py", "mapper/proof/stacked.py"),
        ("tests/test_displaced.py", "tests/test_stacked.py", "tests/backends/cgla/network/test_kept.py"),
    ),
    "passes": Group(("mapper/passes/*.py",), ("tests/passes",)),
    "checker of contests": Group(
        ("mapper/check_contest.py",), ("tests/test_check_contest.py", "tests/benchmarks/test_campaigns.py"),
    ),
    "play": Group(
        ("mapper/simulate.py", *(f"mapper/proof/{name}.py" for name in _PLAYING)), _PLAY,
    ),
    "bodies": Group(
        ("mapper/kernels/*.py",), ("tests/kernels", "tests/test_interpret.py"),
    ),
    "transfers": Group(
        tuple(f"backends/cgla/network/{name}.py" for name in ("runs", "transfers")),
        ("tests/backends/cgla/network/test_transfers.py",),
    ),
    "lowering": Group(("frontends/onnx/*.py",), ("tests/frontends/onnx",)),
}  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class Test:
    """A test by its pytest id, its CPU seconds, and the functions that it enters: file and first line."""

    id: str
    seconds: float
    entered: frozenset[tuple[str, int]]

    def meets(self, mutant: Mutant) -> bool:
        return any(file == mutant.file and mutant.first <= line <= mutant.last for file, line in self.entered)


class _Noted:
    """A pytest plugin that notes the tests."""

    def __init__(self) -> None:
        self.tests: list[Test] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        entered: set[tuple[str, int]] = set()

        def note(frame: FrameType, event: str, argument: Any) -> None:
            entered.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

        start = time.process_time()
        sys.settrace(note)
        threading.settrace(note)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            places = frozenset((_in_project(file), line) for file, line in entered)
            self.tests.append(Test(item.nodeid, time.process_time() - start, places))


@cache
def _in_project(file: str) -> str:
    """The name of a source file from the root; mapper/frontends and its like are links."""
    path = Path(os.path.realpath(file))
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else file


class _Chosen:
    """A pytest plugin that runs some tests only, quick ones first."""

    def __init__(self, tests: Sequence[Test]) -> None:
        self.rank = {test.id: test.seconds for test in tests}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.rank), key=lambda i: self.rank[i.nodeid])


def tests_of(group: Group) -> list[Test]:
    """Runs the group's tests on the code as it is. Raises RuntimeError if one fails."""
    with tempfile.NamedTemporaryFile() as file:

        def noted() -> int:
            plugin = _Noted()
            code = _pytest(group.tests, plugin)
            Path(file.name).write_bytes(pickle.dumps([(t.id, t.seconds, t.entered) for t in plugin.tests]))
            return code

        if _in_child(noted) != 0:
            raise RuntimeError("a test fails without a mutant")
        return [Test(*fields) for fields in pickle.loads(Path(file.name).read_bytes())]


def killed(mutant: Mutant, tests: Sequence[Test]) -> bool:
    """Whether a test that meets the mutant fails."""
    met = [test for test in tests if test.meets(mutant)]

    def tried() -> int:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        sys.meta_path.insert(0, _Changed(mutant.file, mutated(mutant)))
        return _pytest(sorted({test.id.split("::")[0] for test in met}), _Chosen(met))

    return bool(met) and _in_child(tried) != 0


def _pytest(files: Sequence[str], plugin: object) -> int:
    return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *files], plugins=[plugin]))


def _in_child(work: Callable[[], int]) -> int:
    """The exit code of `work` in a forked child, in silence; 1 if it raises or is ended by a signal."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.chdir(ROOT)
        sys.path.insert(0, str(ROOT))
        code = 1
        with contextlib.suppress(BaseException):
            code = work()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1


def interval(killed: int, drawn: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, killed / drawn
    middle = share + z * z / (2 * drawn)
    spread = z * sqrt(share * (1 - share) / drawn + z * z / (4 * drawn * drawn))
    return (middle - spread) / (1 + z * z / drawn), (middle + spread) / (1 + z * z / drawn)


def measured(name: str, count: int, seed: int, tests: Sequence[Test], tell: Callable[[Mutant], None]) -> dict[str, Any]:
    """One row: drawn and killed mutants of a group; each survivor is told."""
    everything = mutants(GROUPS[name].files)
    drawn = random.Random(f"{seed} {name}").sample(everything, min(count, len(everything)))
    survivors = [mutant for mutant in sorted(drawn, key=lambda m: (m.file, m.number)) if not _told(mutant, tests, tell)]
    dead = len(drawn) - len(survivors)
    low, high = interval(dead, len(drawn))
    return {"id": name, "mutants": len(everything), "drawn": len(drawn), "killed": dead,
            "score": dead / len(drawn), "low": low, "high": high}  # fmt: skip


def _told(mutant: Mutant, tests: Sequence[Test], tell: Callable[[Mutant], None]) -> bool:
    dead = killed(mutant, tests)
    if not dead:
        tell(mutant)
    return dead


def preload() -> None:
    """What every child would import or make for itself."""
    for module in PRELOADED:
        importlib.import_module(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("onnx.backend.test.case.node").collect_testcases(None)


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
    preload()

    def tell(mutant: Mutant) -> None:
        if options.survivors:
            print(f"survives: {mutant}", file=sys.stderr, flush=True)

    rows = []
    for name in options.groups or GROUPS:
        try:
            tests = tests_of(GROUPS[name])
        except RuntimeError as error:
            print(f"error: {error} ({name})", file=sys.stderr)
            return 5
        rows.append(measured(name, options.count, options.seed, tests, tell))
        if not options.json:
            row = rows[-1]
            print(f"{name:22} {row['mutants']:6} mutants, {row['drawn']:4} drawn, {row['killed']:4} killed: "
                  f"{row['score']:.1%} ({row['low']:.0%} to {row['high']:.0%})", flush=True)  # fmt: skip
    if options.json:
        print(json.dumps({"rows": rows}, indent=1))
    return 5 if any(row["score"] < FEWEST for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
