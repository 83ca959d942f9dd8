"""Reproduces the wafer contest table: places every instance, checks it, and holds it against published scores.

    python benchmarks/wafer.py [PATH ...] [--effort fast|default|max] [--unit] [--judge evaluate.py] [--json]

PATH is an instance (JSON or .kgraph) or a folder of them; `results.csv` beside an instance has published scores.
`--unit` also places the graph for weights 1 : 1 : 0 and scores that placement with the instance's weights. `--judge`
runs an outside evaluator on each solution. Exit code 5 if a row is illegal or not below the best published score.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from mapper.backends.wafer.contest import ContestRequest, ContestResult, place_contest
from mapper.backends.wafer.solution import solution_json
from mapper.check_contest import check_contest, score_contest
from mapper.frontends import kgraph
from mapper.frontends.kgraph import load
from mapper.kgraph import KernelGraph, PlacedKernel, Weights

DATA = Path(__file__).parent / "data" / "wafer"


@dataclass(frozen=True, slots=True)
class Row:
    """One instance: our figures, the best published ones, CPU seconds, and whether it falls short."""

    id: str
    ours: dict[str, Any]
    reference: dict[str, Any]
    cpu_s: float
    short: bool


def instances(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found += sorted(file for file in path.iterdir() if _is_instance(file)) if path.is_dir() else [path]
    return found


def _is_instance(file: Path) -> bool:
    """Solutions and tables may lie beside the instances of a folder."""
    if file.suffix not in (".json", ".kgraph"):
        return False
    with file.open("rb") as stream:
        return kgraph.recognises(file, stream.read(4096))


def published(path: Path) -> dict[str, Any]:
    """The best published score of the instance from results.csv in its folder; {} where there is none."""
    table = path.parent / "results.csv"
    if not table.exists():
        return {}
    with table.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["benchmark"] == path.stem]
    if not rows:
        return {}
    best = min(rows, key=lambda row: float(row["score"]))
    figures = {key: float(best[key]) for key in ("time", "wirelength", "score")}
    return {"tool": best["tool"], **figures, "source": best["source"]}


def judged(judge: Path | None, path: Path, text: str) -> float | None:
    """The outside evaluator's score; NaN if it refuses the solution."""
    if judge is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        command = [sys.executable, str(judge), str(path), stream.name, "--json"]
        report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    return float(report["score"]) if report["legal"] else float("nan")


def unit_score(graph: KernelGraph, request: ContestRequest) -> float:
    """The score, with the instance's weights, of a placement made for time + wirelength."""
    unit = replace(graph, weights=Weights(Fraction(1), Fraction(1), Fraction(0)))
    result = place_contest(unit, request)
    assert isinstance(result, ContestResult)
    return float(score_contest(graph, result.places).score)


def figures(graph: KernelGraph, result: ContestResult, places: tuple[PlacedKernel, ...]) -> dict[str, Any]:
    score, faults = score_contest(graph, places), check_contest(graph, places)
    return {
        "legal": not faults and score.score == result.score.total,
        "time": float(score.time),
        "wirelength": float(score.wirelength),
        "adapter": score.adapter,
        "score": float(score.score),
        "time_bound": float(result.bounds.time),
        "wirelength_bound": float(result.bounds.wirelength),
        "score_bound": float(result.bounds.score),
        "gap": round(result.outcome.gap, 4),
    }


def run(path: Path, request: ContestRequest, unit: bool, judge: Path | None) -> Row:
    started = time.process_time()
    graph = load(path)
    result = place_contest(graph, request)
    seconds = round(time.process_time() - started, 1)
    if not isinstance(result, ContestResult):
        return Row(path.stem, {"legal": False, "reason": result.hint}, published(path), seconds, True)
    ours, reference = figures(graph, result, result.places), published(path)
    verdict = judged(judge, path, solution_json(graph, result.places))
    if verdict is not None:
        ours["judge_score"] = verdict
    if unit:
        ours["unit_score"] = unit_score(graph, request)
    short = not ours["legal"] or (verdict is not None and verdict != ours["score"])
    short = short or bool(reference) and ours["score"] >= reference["score"]
    return Row(path.stem, ours, reference, seconds, short)


def line(row: Row) -> str:
    if "score" not in row.ours:
        return f"{row.id:10} no placement: {row.ours['reason']}"
    ours = row.ours
    parts = f"{ours['time']:>10g} {ours['wirelength']:>8g} {ours['adapter']:>4} {ours['score']:>10g}"
    extra = f" unit {ours['unit_score']:g}" if "unit_score" in ours else ""
    rival = f" published {row.reference['score']:g}" if row.reference else ""
    mark = " SHORT" if row.short else ""
    return (
        f"{row.id:10} {parts} bound {ours['score_bound']:.0f} gap {ours['gap']:.1%} {row.cpu_s} s{rival}{extra}{mark}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[DATA])
    parser.add_argument("--effort", choices=("fast", "default", "max"), default="default")
    parser.add_argument("--unit", action="store_true")
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = []
    for path in instances(options.paths):
        rows.append(run(path, ContestRequest(effort=options.effort), options.unit, options.judge))
        print(line(rows[-1]), file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        keys = ("id", "ours", "reference", "cpu_s")
        print(json.dumps({"rows": [{key: getattr(row, key) for key in keys} for row in rows]}, indent=1))
    return 5 if any(row.short for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
