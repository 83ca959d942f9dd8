"""What campaigns of trials share: their option words, the count of outcomes, the table or JSON, the exit code.

A campaign has parts by name, each of which yields trials. Failures are told on stderr as they happen; the JSON is
`{"rows": [{"id", "outcome", "trials"}], "trials", "failed"}`. Exit code 5 if a trial failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["Trial", "asked", "reported"]

AT_FAULT = 5


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: `id` names what was done; `fault` is empty if everything held; `outcome` is what remained.

    Trials of one `row` ("" for the id itself) are counted together.
    """

    id: str
    outcome: str
    fault: str = ""
    row: str = ""


def asked(
    description: str, parts: Collection[str], option: str, count: int, words: str, arguments: list[str] | None
) -> argparse.Namespace:
    """The command line: some of `parts` (default: all) and how many trials of each (`option`)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument(option, type=int, default=count, help=words)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    unknown = set(options.parts) - set(parts)
    if unknown:
        parser.error(f"unknown part {min(unknown)!r}: {', '.join(parts)}")
    options.parts = options.parts or list(parts)
    return options


def reported(trials: Iterable[Trial], as_json: bool) -> int:
    """Runs the trials, prints the table of outcomes; returns the exit code."""
    counted, failed = Counter[tuple[str, str]](), 0
    for trial in trials:
        counted[trial.row or trial.id, trial.outcome] += 1
        if trial.fault:
            failed += 1
            print(f"failed: {trial.id}: {trial.fault}", file=sys.stderr, flush=True)
    rows = [{"id": name, "outcome": outcome, "trials": n} for (name, outcome), n in counted.items()]
    if as_json:
        print(json.dumps({"rows": rows, "trials": counted.total(), "failed": failed}, indent=1))
    else:
        for row in rows:
            print(f"{row['id']:48} {row['outcome']:20} {row['trials']:5}")
        print(f"{counted.total()} trials, {failed} failed")
    return AT_FAULT if failed else 0
