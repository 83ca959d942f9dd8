"""Is the checker able to fail? Injects faults into legal decisions of every target and level: each must be found.

    python benchmarks/faults.py [LEVEL ...] [--count 500] [--seed 0] [--json]

LEVEL is any of `drawn` (mappings that the suite's generators draw, on a small machine with everything in it),
`networks` (random models compiled for each target), `grids` and `rows` (loop kernels placed on the CGRA and the CGLA),
`contests` (placed contest graphs); default: all, `--count` faults each.

A fault is *fatal* if no meaning of the mapping allows it (a byte less than a slice, a bent hop, a lost stage): then
the checker must report it. Others may happen to give another legal decision (a dropped buffer, two loops swapped): they
count as found if the checker reports them or played values differ from the reference, and as *equivalent* only if
everything holds: the checker finds nothing; the played values are the reference's (kernels: every operation, as an
uninterpreted function); the bytes counted by playing every loop equal the cost; contest placements are legal, at the
same score, by the rules as the brute force reads them. Exit code 5 if a fault is neither.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from brute import contest
from fault_kinds import FATAL, GRIDS, MAYBE, PLACES, ROWS, TIGHT
from hypothesis import HealthCheck, Phase, given, settings

import mapper
from mapper.check import check
from mapper.check_contest import check_contest, score_contest
from mapper.cost import cost
from mapper.documents import check_body
from mapper.errors import MapperError
from mapper.interpret import Host, run
from mapper.ir import Graph
from mapper.machine import Machine
from mapper.mapping import Mapping
from mapper.placement import KernelMapping
from mapper.simulate import Limits, compare_counts, compare_values, simulate

__all__ = ["LEVELS", "Verdict", "drawn_mappings", "faults", "judge", "main"]

ROOT = Path(__file__).resolve().parent
TESTS = ROOT.parent / "tests"
TARGETS = ("cgla", "cgra", "wafer")
KERNELS = {
    "grids": ("cgra", ("gsm", "array_add", "cme_mac", "pb_atax", "compare_neighb")),
    "rows": ("cgla", ("jacobi", "grapes", "expand4k")),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one fault: found by "check" or "values", "equivalent", or "missed" (why)."""

    level: str
    fault: str
    outcome: str
    why: str = ""


Attempt = Callable[[random.Random], Verdict | None]  # one fault; None where it does not apply


# networks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Network:
    """A legal mapping, and how its inputs are drawn and its opaque operators run."""

    mapping: Mapping
    feeds: Callable[[Graph, int], dict[str, Any]]
    host: Host


def drawn_mappings(count: int) -> list[Network]:
    """The first `count` legal mappings of each kind that the suite's generators draw: networks, single operators."""
    strategies = _from_tests("strategies")
    found: list[Network] = []
    quiet = settings(max_examples=count, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                     suppress_health_check=list(HealthCheck))  # fmt: skip
    for kind in (strategies.networks(), strategies.mappings()):

        @quiet
        @given(kind)
        def collect(mapping: Mapping) -> None:
            found.append(Network(mapping, strategies.feeds, strategies.host))

        collect()
    return found


def _from_tests(name: str) -> Any:
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    return import_module(name)


def compiled_mappings(count: int) -> list[Network]:
    """The first `count` random models on each target."""
    feeds = import_module("mapper.frontends.onnx.reference").random_feeds
    host = import_module("mapper.frontends.onnx.host").run_opaque
    growing = _from_tests("growing")
    found = []
    for number in range(count):
        grown = growing.grown(number, 4)
        with tempfile.TemporaryDirectory() as top:
            path = Path(top) / "model.onnx"
            path.write_bytes(grown.model.SerializeToString())
            results: list[Any] = [mapper.compile(path, t, dims=grown.dims, effort="fast") for t in TARGETS]
        found += [Network(result.mapping, feeds, host) for result in results if result.mapping.stages]
    return found


def judge(level: str, fault: str, fatal: bool, network: Network, mutant: Mapping, seed: int) -> Verdict:
    """Check first; a mapping that passes must compute the reference's values and cost what play counts."""
    if check(mutant):
        return Verdict(level, fault, "check")
    feeds = network.feeds(mutant.graph, seed)
    played = simulate(mutant, feeds, network.host, Limits(literal_points=1 << 16))
    wrong = played.violations or compare_values(played.values, run(mutant.graph, feeds, network.host))
    if wrong:
        return Verdict(level, fault, "values", str(wrong[0]))
    counts = compare_counts(played, cost(mutant))
    if counts:
        return Verdict(level, fault, "missed", str(counts[0]))
    return Verdict(level, fault, "missed" if fatal else "equivalent", "nothing reports it" if fatal else "")


def network_attempts(level: str, networks: list[Network], seed: int) -> list[Attempt]:
    """Attempts of every kind of fault, on networks drawn at random."""

    def attempt(name: str, mutate: Any, fatal: bool, rng: random.Random) -> Verdict | None:
        network = rng.choice(networks)
        mutant = mutate(network.mapping, rng)
        if mutant is None or mutant == network.mapping:
            return None
        return judge(level, name, fatal, network, mutant, seed)

    kinds = [(name, mutate, level == "drawn" or name not in TIGHT) for name, mutate in FATAL.items()]
    kinds += [(name, mutate, False) for name, mutate in MAYBE.items()]
    return [partial(attempt, *kind) for kind in kinds]


# kernels -------------------------------------------------------------------------------------------------------------


def placed_kernels(level: str) -> list[tuple[KernelMapping, Machine]]:
    """Benchmark kernels on the target's default machine; on the grid, with MOVEs."""
    target, names = KERNELS[level]
    results: list[Any] = [
        mapper.compile(ROOT / "data" / target / f"{name}.json", target, effort="fast") for name in names
    ]
    return [(result.mapping, result.machine) for result in results]


def kernel_attempts(level: str, kernels: list[tuple[KernelMapping, Machine]]) -> list[Attempt]:
    def attempt(name: str, mutate: Any, rng: random.Random) -> Verdict | None:
        body, machine = rng.choice(kernels)
        mutant = mutate(body, machine.fabric.rows * machine.fabric.columns, rng)
        if mutant is None or mutant == body:
            return None
        if check_body(mutant, machine):
            return Verdict(level, name, "check")
        wrong = _played(mutant, machine)
        return Verdict(level, name, "missed" if wrong else "equivalent", str(wrong[0]) if wrong else "")

    return [partial(attempt, name, mutate) for name, mutate in (GRIDS if level == "grids" else ROWS).items()]


def _played(body: KernelMapping, machine: Machine) -> tuple[Any, ...]:
    """Wrong values of a body that the checker holds to be legal."""
    if machine.fabric.topology == "line":
        return tuple(import_module("mapper.simulate_rows").simulate_rows(body).violations)
    return tuple(import_module("mapper.simulate_kernel").simulate_kernel(body, machine.fabric).violations)


# contests ------------------------------------------------------------------------------------------------------------


def placed_contests(count: int) -> list[tuple[Any, tuple[Any, ...]]]:
    """The first `count` small contest graphs that have a place."""
    place = import_module("mapper.backends.wafer.contest")
    found = []
    for seed in range(10 * count):
        graph = contest.instance(seed)
        result = place.place_contest(graph, place.ContestRequest("fast"))
        if hasattr(result, "places"):
            found.append((graph, tuple(result.places)))
        if len(found) == count:
            break
    return found


def contest_attempts(placements: list[tuple[Any, tuple[Any, ...]]]) -> list[Attempt]:
    def attempt(name: str, mutate: Any, rng: random.Random) -> Verdict | None:
        graph, places = rng.choice(placements)
        mutant = mutate(graph, places, rng)
        if mutant is None or mutant == places:
            return None
        if check_contest(graph, mutant):
            return Verdict("contests", name, "check")
        if not contest.is_legal(graph, list(mutant)):
            return Verdict("contests", name, "missed", f"not legal by the rules: {mutant}")
        same = score_contest(graph, mutant).score == contest.score_of(graph, list(mutant))
        return Verdict("contests", name, "equivalent" if same else "missed", "" if same else f"score of {mutant}")

    return [partial(attempt, name, mutate) for name, mutate in PLACES.items()]


# the campaign --------------------------------------------------------------------------------------------------------


LEVELS: dict[str, Callable[[int], list[Attempt]]] = {
    "drawn": lambda seed: network_attempts("drawn", drawn_mappings(150), seed),
    "networks": lambda seed: network_attempts("networks", compiled_mappings(12), seed),
    "grids": lambda seed: kernel_attempts("grids", placed_kernels("grids")),
    "rows": lambda seed: kernel_attempts("rows", placed_kernels("rows")),
    "contests": lambda seed: contest_attempts(placed_contests(40)),
}


def faults(attempts: list[Attempt], count: int, seed: int) -> Iterator[Verdict]:
    """`count` faults, the kinds in turn; kinds that nothing applies to are passed over."""
    rng = random.Random(seed)
    done = turn = 0
    while done < count and turn < 20 * count:
        attempt = attempts[turn % len(attempts)]
        turn += 1
        found = next((verdict for _ in range(50) if (verdict := attempt(rng)) is not None), None)
        if found is not None:
            done += 1
            yield found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Inject faults into legal decisions; each must be found.")
    parser.add_argument("levels", nargs="*", metavar="LEVEL", help=", ".join(LEVELS))
    parser.add_argument("--count", type=int, default=500, help="faults of each level")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    unknown = set(options.levels) - set(LEVELS)
    if unknown:
        parser.error(f"unknown level {min(unknown)!r}: {', '.join(LEVELS)}")
    try:
        found = [
            verdict
            for level in options.levels or LEVELS
            for verdict in faults(LEVELS[level](options.seed), options.count, options.seed)
        ]
    except MapperError as error:
        print(f"error: {error}", file=sys.stderr)
        return 5
    table = Counter((verdict.level, verdict.fault, verdict.outcome) for verdict in found)
    rows = [{"id": f"{level} {fault}", "outcome": end, "faults": n} for (level, fault, end), n in sorted(table.items())]
    missed = [verdict for verdict in found if verdict.outcome == "missed"]
    if options.json:
        print(json.dumps({"rows": rows, "faults": len(found), "missed": len(missed)}, indent=1))
    else:
        for row in rows:
            print(f"{row['id']:36} {row['outcome']:12} {row['faults']:6}")
        for level in dict.fromkeys(verdict.level for verdict in found):
            print(f"{level}: {dict(sorted(Counter(v.outcome for v in found if v.level == level).items()))}")
        print(f"{len(found)} faults: {dict(sorted(Counter(v.outcome for v in found).items()))}")
    for verdict in missed[:10]:
        print(f"missed: {verdict.level} {verdict.fault}: {verdict.why}", file=sys.stderr)
    return 5 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
