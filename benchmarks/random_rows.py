"""Random loop bodies on the row array: is every placement legal, by three programs that know nothing of each other?

    python benchmarks/random_rows.py [--count 60] [--seed 0] [--effort fast] [--judge judge.py] [--json]

Every body has a planted placement of 2 to 16 rows (`planted_rows.py`), so it must be placed in no more. The placement,
and those of up to three copies stacked and interleaved, must pass `check_rows` and `simulate_rows`, keep their share of
local memory and their bound; `--judge` asks the benchmark's own judge as well. Exit code 5 if one is at fault.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from planted_rows import planted

from mapper.backends.cgla.kernel import DoesNotFit, KernelRequest, map_kernel
from mapper.backends.cgla.replicas import Arrangement, copied, replicas
from mapper.backends.cgla.solution import solution_json
from mapper.check_rows import check_rows, lmm_share_ok
from mapper.dfg import Dfg, Node
from mapper.frontends import imax
from mapper.placement import KernelMapping
from mapper.simulate_rows import simulate_rows

MOST_COPIED = 60  # nodes of a body that is also copied
COPIES, AT_FAULT = 3, 5


@dataclass(frozen=True, slots=True)
class Trial:
    """A body with `planted` rows: its rows (None: no placement), copies (stacked, interleaved), and what is wrong."""

    id: str
    nodes: int
    planted: int
    rows: int | None
    copies: tuple[int, ...]
    faults: tuple[str, ...]


def trial(seed: int, request: KernelRequest, judge: str | None) -> Trial:
    """Place one body, and copies of it if it is small."""
    rows = random.Random(seed * 7).randint(2, 16)
    dfg = imax.parse(planted(seed, rows))
    result = map_kernel(dfg, request)
    if isinstance(result, DoesNotFit):
        return Trial(dfg.name, len(dfg.nodes), rows, None, (), (f"no placement: {result.resource}",))
    faults = [*_faults(dfg, result.mapping, judge)]
    if not result.rows_bound <= result.rows <= rows:
        faults.append(f"{result.rows} rows, not between the bound {result.rows_bound} and {rows} planted ones")
    counts = []
    for arrangement in get_args(Arrangement):
        found = replicas(dfg, request, arrangement, at_most=COPIES) if len(dfg.nodes) < MOST_COPIED else None
        counts.append(found.count if found else 0)
        if found and found.count > 1:
            of_copies = _faults(copied(dfg, found.count), found.mapping, judge)
            faults += [f"{found.count} copies {arrangement}: {fault}" for fault in of_copies]
    return Trial(dfg.name, len(dfg.nodes), rows, result.rows, tuple(counts), tuple(faults))


def _faults(dfg: Dfg, mapping: KernelMapping, judge: str | None) -> Iterator[str]:
    for violation in (*check_rows(mapping), *simulate_rows(mapping).violations):
        yield str(violation)
    if lmm_share_ok(mapping) is False:
        yield "local-memory share broken"
    if judge:
        yield from judged(judge, dfg, mapping)


def judged(judge: str, dfg: Dfg, mapping: KernelMapping) -> Iterator[str]:
    """What the benchmark's own judge, called by path, has against a placement."""
    with tempfile.TemporaryDirectory() as folder:
        kernel, solution = Path(folder, "kernel.json"), Path(folder, "solution.json")
        kernel.write_text(json.dumps(kernel_json(dfg)))
        solution.write_text(json.dumps(solution_json(mapping)))
        command = [sys.executable, judge, str(kernel), str(solution)]
        answer = subprocess.run(command, capture_output=True, check=False, text=True)
    if answer.returncode:
        yield (answer.stdout + answer.stderr).strip() or "judged illegal"


def kernel_json(dfg: Dfg) -> dict[str, Any]:
    """A body in the benchmark's format."""
    regions = [{"id": region.id, "words": region.words, "vendor_share": region.share} for region in dfg.regions]
    return {"name": dfg.name, "loop_levels": dfg.loop_levels, "loop_host": list(dfg.loop_host), "complete": True,
            "regions": regions, "nodes": [_node_json(dfg, node) for node in dfg.nodes]}  # fmt: skip


def _node_json(dfg: Dfg, node: Node) -> dict[str, Any]:
    sources = dict.fromkeys(edge.src for edge in dfg.predecessors[node.id] if edge.distance == 0)
    found: dict[str, Any] = {"id": node.id, "kind": node.kind, "srcs": list(sources)}
    use = node.memory
    if use is None:
        return found | {"host": list(node.host), "ops": [node.op, "NOP", "NOP"], "self_update": node.self_update}
    return found | {"op": node.op, "region": use.region, "lmm": use.descriptor, "base": use.base, "offs": use.offset,
                    "data": use.data, "pred": use.predicate, "pair": use.pair}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effort", choices=("fast", "default", "max"), default="fast")
    parser.add_argument("--judge")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    request = KernelRequest(effort=asked.effort)
    trials = []
    for seed in range(asked.seed, asked.seed + asked.count):
        trials.append(trial(seed, request, asked.judge))
        if trials[-1].faults and not asked.json:
            print(trials[-1], flush=True)
    bad = sum(bool(each.faults) for each in trials)
    if asked.json:
        print(json.dumps({"rows": [asdict(each) for each in trials]}))
    else:
        shorter = sum(each.rows is not None and each.rows < each.planted for each in trials)
        copied_too = sum(each.copies != () and min(each.copies) > 1 for each in trials)
        print(f"{len(trials)} bodies, {bad} at fault; {shorter} in fewer rows than planted; {copied_too} in copies too")
    return AT_FAULT if bad else 0


if __name__ == "__main__":
    sys.exit(main())
