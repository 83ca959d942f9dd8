"""Reproduces the CGLA table: our rows beside the vendor compiler's and the best known ones, kernel by kernel.

    python benchmarks/cgla.py [PATH …] [--effort fast] [--pins keep] [--judge judge.py] [--json]

PATH is a kernel file or a folder of them with `results.csv` beside. Times are CPU seconds of one mapping, without
interpreter start and imports. Every mapping is checked by `mapper.check_rows` and replayed by `mapper.simulate_rows`;
`--judge` asks another program as well. A row falls short if it is illegal, has more rows than the vendor or the best
known placement (with the local-memory share where that is known), or breaks the share. Exit status 5 if one does.
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
from dataclasses import asdict, dataclass
from pathlib import Path

from mapper.backends.cgla.kernel import DoesNotFit, KernelRequest, KernelResult, map_kernel
from mapper.backends.cgla.solution import solution_json
from mapper.check_rows import check_rows, hops, lmm_share_ok, rows_used
from mapper.errors import InputError
from mapper.frontends import imax as frontend
from mapper.simulate_rows import simulate_rows

DATA = Path(__file__).parent / "data" / "cgla"
SHORT = 5


@dataclass(frozen=True, slots=True)
class Reference:
    """One row of results.csv, as far as it is known. `vendor_own_rows` leaves prefetch and drain rows out."""

    vendor_rows: int | None = None
    vendor_own_rows: int | None = None
    best_known_rows: int | None = None
    best_known_share_rows: int | None = None
    best_known_hops: int | None = None
    lower_bound_rows: int | None = None

    @property
    def is_shifted(self) -> bool:
        """A stencil that shifts between launches: its vendor rows are no measure of its body."""
        return self.vendor_own_rows is not None and self.vendor_own_rows != self.vendor_rows


@dataclass(frozen=True, slots=True)
class Ours:
    """What came out, and whether checker, replay and (if asked) the judge agree."""

    rows: int | None
    rows_bound: int | None
    proof: str
    hops: int | None
    legal: bool
    lmm_share_ok: bool | None
    why_not_lower: str


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel."""

    id: str
    ours: Ours
    reference: Reference
    cpu_s: float
    scored: bool
    shortfall: str

    @property
    def ratio(self) -> float | None:
        """Rows over the vendor's, for kernels that count in the mean."""
        theirs = self.reference.vendor_rows
        counts = self.scored and theirs and self.ours.rows and not self.reference.is_shifted
        return self.ours.rows / theirs if counts and self.ours.rows and theirs else None


def kernels(paths: Sequence[Path]) -> Iterator[Path]:
    """The kernel files of files and folders; other JSON files of a folder are passed over."""
    for path in paths:
        if path.is_file():
            yield path
            continue
        for file in sorted(path.glob("*.json")):
            with file.open("rb") as stream:
                if frontend.recognises(file, stream.read(4096)):
                    yield file


def reference(kernel: Path, name: str) -> Reference:
    """The kernel's row in the results.csv beside it."""
    table = kernel.parent / "results.csv"
    if not table.exists():
        return Reference()
    with table.open(newline="", encoding="utf-8") as stream:
        row = next((row for row in csv.DictReader(stream) if row["name"] == name), {})
    known = {key: int(row[key]) for key in Reference.__dataclass_fields__ if row.get(key)}
    return Reference(**known)


def run(path: Path, request: KernelRequest, judge: str | None) -> Row:
    """Map one kernel and compare."""
    dfg = frontend.load(path)
    started = time.process_time()
    result = map_kernel(dfg, request)
    cpu_s = round(time.process_time() - started, 2)
    known = reference(path, dfg.name)
    ours = _ours(result, path, judge)
    return Row(dfg.name, ours, known, cpu_s, dfg.complete, _shortfall(ours, known, request) if dfg.complete else "")


def _ours(result: KernelResult | DoesNotFit, path: Path, judge: str | None) -> Ours:
    if isinstance(result, DoesNotFit):
        return Ours(None, None, "none", None, False, None, f"{result.resource}: {result.demand} of {result.limit}")
    mapping = result.mapping
    legal = not check_rows(mapping) and not simulate_rows(mapping).violations
    legal = legal and (rows_used(mapping), hops(mapping)) == (result.rows, result.hops)
    if legal and judge:
        legal = _judged(judge, result, path)
    return Ours(
        result.rows,
        result.rows_bound,
        result.outcome.proof,
        result.hops,
        legal,
        lmm_share_ok(mapping),
        result.why_not_lower,
    )


def _judged(judge: str, result: KernelResult, path: Path) -> bool:
    """Ask the benchmark's own judge, by path, about the solution file."""
    with tempfile.TemporaryDirectory() as folder:
        solution = Path(folder, "solution.json")
        solution.write_text(json.dumps(solution_json(result.mapping)))
        command = [sys.executable, judge, str(path), str(solution)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _shortfall(ours: Ours, known: Reference, request: KernelRequest) -> str:
    """In which way a row falls short of its reference; empty if it does not."""
    if ours.rows is None:
        return "no mapping"
    if not ours.legal:
        return "illegal"
    if ours.lmm_share_ok is False and request.enforce_share:
        return "local-memory share broken"
    best = known.best_known_share_rows if request.enforce_share else known.best_known_rows
    goals = [known.vendor_own_rows or known.vendor_rows]
    if request.pins == "drop":
        goals.append(best if best is not None else known.best_known_rows)
    goal = min((g for g in goals if g is not None), default=None)
    return f"{ours.rows} rows, above {goal}" if goal is not None and ours.rows > goal else ""


def summary(rows: Sequence[Row]) -> dict[str, float | int]:
    """Scored kernels, proofs, rows that fall short and the geometric mean of our rows over the vendor's."""
    ratios = [row.ratio for row in rows if row.ratio]
    mean = math.exp(sum(math.log(r) for r in ratios) / len(ratios)) if ratios else 0.0
    return {
        "scored": sum(row.scored for row in rows),
        "proven": sum(row.scored and row.ours.proof != "none" for row in rows),
        "short": sum(bool(row.shortfall) for row in rows),
        "rows_over_vendor": round(mean, 4),
        "cpu_s": round(sum(row.cpu_s for row in rows), 1),
        "slowest_cpu_s": max((row.cpu_s for row in rows), default=0.0),
    }


def _line(row: Row) -> str:
    ours, known = row.ours, row.reference
    vendor = known.vendor_own_rows or known.vendor_rows or "-"
    rows = (
        f"rows {ours.rows!s:>4} (bound {ours.rows_bound!s:>2}, vendor {vendor!s:>2}, best {known.best_known_rows!s:>4})"
    )
    share = {True: "yes", False: "no", None: "not known"}[ours.lmm_share_ok]
    rest = f"hops {ours.hops!s:>4}  share {share:9} {row.cpu_s:6.1f} s"
    remark = "" if row.scored else "not scored; "
    return f"{row.id:14} {rows}  {ours.proof:15} {rest}  {remark}{row.shortfall or ours.why_not_lower}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("paths", nargs="*", type=Path, default=[DATA], metavar="PATH")
    parser.add_argument("--effort", choices=("fast", "default", "max"), default="default")
    parser.add_argument("--pins", choices=("keep", "drop"), default="drop")
    parser.add_argument("--free-share", action="store_true", help="do not enforce the share of local memory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", help="path of the benchmark's judge.py, asked about every mapping")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _options(arguments)
    request = KernelRequest(
        effort=options.effort, seed=options.seed, pins=options.pins, enforce_share=not options.free_share
    )
    rows = []
    try:
        for path in kernels(options.paths):
            rows.append(run(path, request, options.judge))
            if not options.json:
                print(_line(rows[-1]), flush=True)
    except (OSError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "summary": summary(rows)}, indent=1))
    else:
        print(", ".join(f"{key} {value}" for key, value in summary(rows).items()))
    return SHORT if any(row.shortfall for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
