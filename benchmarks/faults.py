"""Is the checker able to fail? Injects faults into random legal mappings and demands that each is found.

    python benchmarks/faults.py --count 2000 [--seed 0] [--json]

A fault is *fatal* if no meaning of the mapping allows it (a byte less than a slice, a bent hop, a lost stage): then
`mapper.check` must report it. Others may happen to give another legal mapping (a dropped buffer, two loops swapped):
they count as found if the checker reports them or the played values differ from the reference, and as *equivalent*
only if everything holds: the checker finds nothing, the played values are the reference's, and the bytes counted by
playing every loop equal the cost. Exit code 5 if a fault is neither.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_kinds import FATAL, MAYBE
from hypothesis import HealthCheck, Phase, given, settings

from mapper.check import check
from mapper.cost import cost
from mapper.interpret import run
from mapper.mapping import Mapping
from mapper.simulate import Limits, compare_counts, compare_values, simulate

__all__ = ["Verdict", "faults", "judge", "legal_mappings", "main"]


def legal_mappings(count: int) -> list[Mapping]:
    """The first `count` legal mappings that the generators of the test suite draw: networks and single operators."""
    strategies = _strategies()
    found: list[Mapping] = []
    quiet = settings(max_examples=count, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                     suppress_health_check=list(HealthCheck))  # fmt: skip
    for kind in (strategies.networks(), strategies.mappings()):

        @quiet
        @given(kind)
        def collect(mapping: Mapping) -> None:
            found.append(mapping)

        collect()
    return found


def _strategies() -> Any:
    path = Path(__file__).resolve().parent.parent / "tests" / "strategies.py"
    spec = importlib.util.spec_from_file_location("strategies", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules["strategies"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# the verdict ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one fault: found by "check" or "values", "equivalent", or "missed" (why)."""

    fault: str
    outcome: str
    why: str = ""


def judge(fault: str, fatal: bool, mutant: Mapping, seed: int) -> Verdict:
    """Check first; a mapping that passes must compute the reference's values and cost what play counts."""
    if check(mutant):
        return Verdict(fault, "check")
    strategies = _strategies() if "strategies" not in sys.modules else sys.modules["strategies"]
    feeds = strategies.feeds(mutant.graph, seed)
    played = simulate(mutant, feeds, strategies.host, Limits(literal_points=1 << 16))
    wrong = played.violations or compare_values(played.values, run(mutant.graph, feeds, strategies.host))
    if wrong:
        return Verdict(fault, "values", str(wrong[0]))
    counts = compare_counts(played, cost(mutant))
    if counts:
        return Verdict(fault, "missed", str(counts[0]))
    return Verdict(fault, "missed" if fatal else "equivalent", "nothing reports it" if fatal else "")


def faults(mappings: list[Mapping], count: int, seed: int) -> Iterator[Verdict]:
    """`count` faults, the kinds in turn, in mappings drawn at random."""
    rng = random.Random(seed)
    kinds = [(name, mutate, True) for name, mutate in FATAL.items()]
    kinds += [(name, mutate, False) for name, mutate in MAYBE.items()]
    done = attempt = 0
    while done < count:
        name, mutate, fatal = kinds[attempt % len(kinds)]
        attempt += 1
        for _ in range(50):
            mapping = rng.choice(mappings)
            mutant = mutate(mapping, rng)
            if mutant is not None and mutant != mapping:
                done += 1
                yield judge(name, fatal, mutant, seed)
                break


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Inject faults into legal mappings; each must be found.")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--mappings", type=int, default=150, help="legal mappings of each kind to mutate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found = list(faults(legal_mappings(options.mappings), options.count, options.seed))
    table = Counter((verdict.fault, verdict.outcome) for verdict in found)
    rows = [{"id": fault, "outcome": outcome, "faults": n} for (fault, outcome), n in sorted(table.items())]
    missed = [verdict for verdict in found if verdict.outcome == "missed"]
    if options.json:
        print(json.dumps({"rows": rows, "faults": len(found), "missed": len(missed)}, indent=1))
    else:
        for row in rows:
            print(f"{row['id']:24} {row['outcome']:12} {row['faults']:6}")
        print(f"{len(found)} faults: {dict(sorted(Counter(v.outcome for v in found).items()))}")
    for verdict in missed[:10]:
        print(f"missed: {verdict.fault}: {verdict.why}", file=sys.stderr)
    return 5 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
