"""Reproduces the CGRA table: our II beside SAT-MapIt's and the best known one, kernel by kernel and grid by grid.

    python benchmarks/cgra.py [PATH …] [--grid 4x4] [--variant direct] [--effort fast] [--judge judge.py] [--json]

PATH is a kernel file or a folder of them with `results.csv` beside. Times are CPU seconds of one mapping, and until its
first legal answer, without interpreter start and imports. Every mapping is checked by `mapper.check_kernel` and
simulated; `--judge` asks another program as well, with `--fixed-registers`. Exit status 5 if a row falls short of its
reference.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mapper.backends.cgra.kernel import DoesNotFit, KernelRequest, KernelResult, map_kernel
from mapper.backends.cgra.solution import solution_json
from mapper.check_kernel import check_kernel
from mapper.dfg import Dfg
from mapper.frontends import dfg as frontend
from mapper.machine import Fabric
from mapper.placement import KernelMapping
from mapper.simulate_kernel import simulate_kernel

DATA = Path(__file__).parent / "data" / "cgra"
SHORT = 5


@dataclass(frozen=True, slots=True)
class Reference:
    """One row of results.csv, as far as it is known."""

    mii: int | None = None
    satmapit_ii: int | None = None
    satmapit_cpu_s: float | None = None
    best_direct_ii: int | None = None
    best_direct_status: str = ""
    best_routed_ii: int | None = None


@dataclass(frozen=True, slots=True)
class Ours:
    """What came out, and whether checker, simulation and (if asked) the judge agree."""

    ii: int | None
    ii_bound: int | None
    proof: str
    length: int | None
    moves: int | None
    moves_bound: int | None
    legal: bool
    why_not_lower: str


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel on one grid in one variant; `answer_cpu_s`: until the first legal mapping."""

    id: str
    ours: Ours
    reference: Reference
    cpu_s: float
    answer_cpu_s: float
    shortfall: str

    @property
    def speedup(self) -> float | None:
        theirs = self.reference.satmapit_cpu_s
        return theirs / self.cpu_s if theirs and self.cpu_s and self.id.endswith(" direct") else None


def kernels(paths: Sequence[Path]) -> Iterator[Path]:
    """The kernel files of files and folders; other JSON files of a folder are passed over."""
    for path in paths:
        if path.is_file():
            yield path
        else:
            yield from (file for file in sorted(path.glob("*.json")) if _is_kernel(file))


def _is_kernel(file: Path) -> bool:
    """Solutions, which have an II, may lie beside the kernels of a folder."""
    with file.open("rb") as stream:
        head = stream.read(4096)
    return frontend.recognises(file, head) and b'"ii"' not in head


def references(kernel: Path) -> dict[tuple[str, str], Reference]:
    """Reference by (kernel name, grid) from the results.csv beside a kernel."""
    table = kernel.parent / "results.csv"
    if not table.exists():
        return {}
    with table.open(newline="", encoding="utf-8") as stream:
        return {(row["name"], row["grid"]): _reference(row) for row in csv.DictReader(stream)}


def _reference(row: dict[str, str]) -> Reference:
    def number(key: str) -> int | None:
        return int(row[key]) if row.get(key) else None

    cpu = row.get("satmapit_time_kind") == "cpu" and row.get("satmapit_time_s")
    direct = number("best_direct_ii")
    return Reference(
        number("MII"),
        number("satmapit_ii"),
        float(row["satmapit_time_s"]) if cpu else None,
        direct,
        row.get("best_direct_status", ""),
        number("best_routed_ii") or direct,
    )


def run(dfg: Dfg, grid: str, topology: str, request: KernelRequest, reference: Reference, judge: str | None) -> Row:
    """Map one kernel and compare."""
    rows, columns = (int(part) for part in grid.split("x"))
    fabric = Fabric(topology, rows, columns)  # type: ignore[arg-type]
    answers: list[float] = []
    started = time.process_time()
    result = map_kernel(dfg, fabric, replace(request, watch=lambda _: answers.append(time.process_time())))
    cpu_s = time.process_time() - started
    answer_cpu_s = answers[0] - started if answers else cpu_s
    ours = _ours(result, fabric, judge, request.variant)
    name = f"{dfg.name} {grid} {request.variant}"
    return Row(
        name, ours, reference, round(cpu_s, 4), round(answer_cpu_s, 4), _shortfall(ours, reference, request.variant)
    )


def _ours(result: KernelResult | DoesNotFit, fabric: Fabric, judge: str | None, variant: str) -> Ours:
    if isinstance(result, DoesNotFit):
        return Ours(None, None, "bound" if result.proven else "none", None, None, None, False, str(result))
    mapping = result.mapping
    legal = not check_kernel(mapping, fabric) and not simulate_kernel(mapping, fabric).violations
    if legal and judge:
        legal = not judged(judge, mapping, fabric, variant)
    return Ours(
        mapping.ii,
        result.ii_bound,
        result.outcome.proof,
        mapping.length_cycles,
        len(mapping.moves),
        result.moves_bound,
        legal,
        result.why_not_lower,
    )


def judged(judge: str, mapping: KernelMapping, fabric: Fabric, variant: str) -> str:
    """What the benchmark's own judge, called by path, has against the solution file of `mapping`; "" if nothing."""
    dfg = mapping.dfg
    body = {
        "name": dfg.name,
        "nodes": [{"id": n.id, "op": n.op} for n in dfg.nodes],
        "edges": [{"src": e.src, "dst": e.dst, "distance": e.distance} for e in dfg.edges],
    }
    with tempfile.TemporaryDirectory() as folder:
        kernel, solution = Path(folder, "kernel.json"), Path(folder, "solution.json")
        kernel.write_text(json.dumps(body))
        solution.write_text(json.dumps(solution_json(mapping, fabric)))
        command = [sys.executable, judge, str(kernel), str(solution), "--fixed-registers", "--variant", variant]
        answer = subprocess.run(command, capture_output=True, check=False, text=True)
    return "" if answer.returncode == 0 else (answer.stdout + answer.stderr).strip() or "judged illegal"


def _shortfall(ours: Ours, reference: Reference, variant: str) -> str:
    """In which way a row falls short of its reference; empty if it does not."""
    if ours.ii is None:
        return "no mapping"
    if not ours.legal:
        return "illegal"
    goals = [reference.best_routed_ii] if variant == "routed" else [reference.satmapit_ii, reference.best_direct_ii]
    if any(goal is not None and ours.ii > goal for goal in goals):
        return f"II {ours.ii} above {min(goal for goal in goals if goal is not None)}"
    sat, mii = reference.satmapit_ii, reference.mii
    if variant == "routed" and sat is not None and mii is not None and ours.ii >= sat > mii:
        return f"II {ours.ii} not below SAT-MapIt's {sat}, which is above MII {mii}"
    return ""


def _line(row: Row) -> str:
    ours, reference = row.ours, row.reference
    best = reference.best_routed_ii if row.id.endswith("routed") else reference.best_direct_ii
    faster = f"{row.speedup:5.0f}x" if row.speedup else "      "
    cells = f"{row.id:32} II {ours.ii!s:>4} (SAT-MapIt {reference.satmapit_ii or '-'!s:>2}, best {best or '-'!s:>2})"
    moves = f"MOVEs {ours.moves} (>= {ours.moves_bound})"
    times = f"{row.cpu_s:8.3f} s (first {row.answer_cpu_s:6.3f}) {faster}"
    return f"{cells}  {ours.proof:15} {moves:18} {times}  {row.shortfall or ours.why_not_lower}"


def summary(rows: Sequence[Row]) -> dict[str, float | int]:
    """Cells, closed cells, rows that fall short and the geometric mean of SAT-MapIt's CPU time over ours."""
    ratios = [row.speedup for row in rows if row.speedup]
    mean = math.exp(sum(math.log(r) for r in ratios) / len(ratios)) if ratios else 0.0
    return {
        "cells": len(rows),
        "closed": sum(row.ours.proof != "none" for row in rows),
        "short": sum(bool(row.shortfall) for row in rows),
        "speedup_cells": len(ratios),
        "speedup_geometric_mean": round(mean, 1),
        "cpu_s": round(sum(row.cpu_s for row in rows), 2),
        "slowest_cpu_s": max((row.cpu_s for row in rows), default=0.0),
        "slowest_answer_cpu_s": max((row.answer_cpu_s for row in rows), default=0.0),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("paths", nargs="*", type=Path, default=[DATA], metavar="PATH")
    parser.add_argument("--grid", help="only these grids, e.g. 4x4 or 2x2,3x3; also grids that results.csv lacks")
    parser.add_argument("--topology", choices=("torus", "mesh", "king", "onehop"), default="torus")
    parser.add_argument("--variant", default="direct,routed")
    parser.add_argument("--effort", choices=("fast", "default", "max"), default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", help="path of the benchmark's judge.py, asked about every mapping")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    for path in kernels(options.paths):
        dfg, known = frontend.load(path), references(path)
        listed = [grid for name, grid in known if name == dfg.name] or ["4x4"]
        for grid in options.grid.split(",") if options.grid else listed:
            for variant in options.variant.split(","):
                request = KernelRequest(variant, options.effort, options.seed)
                # references are for the torus
                reference = known.get((dfg.name, grid), Reference()) if options.topology == "torus" else Reference()
                yield run(dfg, grid, options.topology, request, reference, options.judge)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _options(arguments)
    rows = []
    try:
        for row in _rows(options):
            rows.append(row)
            if not options.json:
                print(_line(row), flush=True)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "summary": summary(rows)}, indent=1))
    else:
        print(", ".join(f"{key} {value}" for key, value in summary(rows).items()))
    return SHORT if any(row.shortfall for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
