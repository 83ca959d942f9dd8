"""Random loop bodies on random grids: is every mapping legal, by three programs that know nothing of each other?

    python benchmarks/random_loops.py [--count 100] [--seed 0] [--effort fast] [--large] [--judge judge.py] [--json]

Every body (recurrences of distance 1 and 2, several readers, loads and stores) is mapped on a grid drawn with it:
torus, mesh, king-mesh or one-hop, register files of 0 to 4, memory columns, latencies above one, ports, dead PEs.
Without MOVEs and with them, the mapping must pass `check_kernel` and `simulate_kernel` (values and registers), keep its
bound, and be no worse with MOVEs than without. `--judge` asks the benchmark's judge as well, with `--fixed-registers`,
where it knows the machine. `--large` draws bodies as public kernels are: 20 to 130 nodes, recurrences of 3 to 8, some
values with up to 10 readers, on tori of 2x2 to 20x20; every one of them must get an answer, and the time until then is
told. On plain grids a mesh is followed by the torus of its size, which must not be worse.
Exit code 5 if one is at fault.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from cgra import judged

from mapper.backends.cgra.kernel import DoesNotFit, KernelRequest, map_kernel
from mapper.check_kernel import check_kernel
from mapper.dfg import Dfg, Edge, Node
from mapper.machine import Fabric, MemoryPorts, PeClass
from mapper.simulate_kernel import simulate_kernel

OPS = ("add", "mul", "sub", "load", "store")
JUDGED = ("torus", "mesh", "king")


@dataclass(frozen=True, slots=True)
class Trial:
    """A body on a grid: II without and with MOVEs (None: no mapping), and what is wrong."""

    id: str
    nodes: int
    direct_ii: int | None
    routed_ii: int | None
    answer_cpu_s: float
    faults: tuple[str, ...]


def body(seed: int) -> Dfg:
    """4 to 26 nodes: one or two operands each, values of earlier iterations into phis."""
    draw = random.Random(seed)
    count, phis = draw.randint(4, 26), draw.randint(0, 3)
    ops = ["phi" if n < phis else draw.choice(OPS) for n in range(count)]
    edges = {
        (draw.randrange(max(0, n - 9), n), n, 0)
        for n in range(max(1, phis), count)
        for _ in range(draw.choice((0, 1, 1, 2, 2)))
    }
    edges |= {(draw.randrange(phis, count), phi, draw.choice((1, 1, 2))) for phi in range(phis)}
    return Dfg(f"random{seed}", tuple(Node(n, op) for n, op in enumerate(ops)), tuple(Edge(*e) for e in sorted(edges)))


def large_body(seed: int) -> Dfg:
    """20 to 130 nodes in chains and trees; a few recurrences through phis; some values with up to 10 readers."""
    draw = random.Random(f"large {seed}")
    count, phis = draw.randint(20, 130), draw.randint(1, 4)
    ops = ["phi" if n < phis else draw.choice((*OPS, "add", "mul")) for n in range(count)]
    popular = draw.sample(range(count), max(1, count // 20))
    edges: set[tuple[int, int, int]] = set()
    for n in range(phis, count):
        for _ in range(draw.choice((1, 1, 1, 2, 2))):
            near = draw.randrange(max(0, n - 8), n)
            earlier = [p for p in popular if p < n and sum(e[0] == p for e in edges) < 10]
            edges.add((draw.choice(earlier) if earlier and draw.random() < 0.1 else near, n, 0))
    edges |= {(draw.randrange(phis + 1, min(count, phis + 8)), phi, 1) for phi in range(phis)}
    return Dfg(f"large{seed}", tuple(Node(n, op) for n, op in enumerate(ops)), tuple(Edge(*e) for e in sorted(edges)))


def large_grid(seed: int) -> Fabric:
    side = random.Random(f"grid {seed}").choice((2, 3, 4, 4, 4, 5, 8, 20))
    return Fabric("torus", side, side)


def grid(seed: int) -> Fabric:
    """Half of the grids are plain (the judge knows them), half have something special."""
    draw = random.Random(-1 - seed)
    topology = draw.choice(("torus", "torus", "mesh", "king", "onehop"))
    plain = Fabric(topology, draw.randint(2, 4), draw.randint(2, 4))  # type: ignore[arg-type]
    special = draw.choice(("", "", "", "registers", "latency", "memory", "ports", "dead"))
    alu = PeClass("alu", frozenset({"add", "mul", "sub", "phi"}))
    if special == "registers":
        return replace(plain, registers=draw.choice((0, 1, 2)))
    if special == "latency":
        return replace(plain, classes=(PeClass("alu", frozenset({*OPS, "phi"}), (("mul", draw.randint(2, 3)),)),))
    if special == "memory":
        return replace(plain, classes=(alu, PeClass("memory", frozenset({"load", "store", "add"}), (), "column 0")))
    if special == "ports":
        return replace(plain, memory_ports=MemoryPorts(1, draw.choice(("column", "fabric"))))
    return replace(plain, dead=frozenset({(0, 0)})) if special == "dead" else plain


def tried(seed: int, effort: str, judge: str | None, large: bool = False) -> Trial:
    """Map one body without MOVEs and with them."""
    dfg, fabric = (large_body(seed), large_grid(seed)) if large else (body(seed), grid(seed))
    faults: list[str] = []
    direct = mapped(dfg, fabric, "direct", effort, judge, faults)
    told: list[float] = []
    started = time.process_time()
    routed = mapped(dfg, fabric, "routed", effort, judge, faults, told)
    answer_cpu_s = round(told[0] - started, 3) if told else 0.0
    if large and routed is None:
        faults.append("no mapping")
    if direct is not None and (routed is None or routed > direct):
        faults.append(f"II {routed} with MOVEs, {direct} without")
    if fabric.topology == "mesh" and fabric == Fabric("mesh", fabric.rows, fabric.columns) and routed is not None:
        wrapped = mapped(dfg, replace(fabric, topology="torus"), "routed", effort, judge, faults)
        if wrapped is None or wrapped > routed:
            faults.append(f"II {wrapped} on the torus, {routed} on the mesh of its size")
    name = f"{dfg.name} {fabric.topology} {fabric.rows}x{fabric.columns}"
    return Trial(name, len(dfg.nodes), direct, routed, answer_cpu_s, tuple(faults))


def mapped(
    dfg: Dfg,
    fabric: Fabric,
    variant: str,
    effort: str,
    judge: str | None,
    faults: list[str],
    told: list[float] | None = None,
) -> int | None:
    """The II of one mapping; what is wrong with it goes to `faults`, the moments of answers to `told`."""
    moments = [] if told is None else told
    request = KernelRequest(variant, effort, watch=lambda _: moments.append(time.process_time()))  # type: ignore[arg-type]
    result = map_kernel(dfg, fabric, request)
    if isinstance(result, DoesNotFit):
        return None
    mapping = result.mapping
    faults += [f"{variant}: {fault}" for fault in check_kernel(mapping, fabric)]
    faults += [f"{variant}: {fault}" for fault in simulate_kernel(mapping, fabric).violations]
    if not result.ii_bound <= mapping.ii:
        faults.append(f"{variant}: II {mapping.ii} below its bound {result.ii_bound}")
    plain = Fabric(fabric.topology, fabric.rows, fabric.columns)
    if judge and fabric.topology in JUDGED and fabric == plain:
        words = judged(judge, mapping, fabric, variant)
        faults += [f"{variant}: {words}"] if words else []
    return mapping.ii


def trials(options: argparse.Namespace) -> Iterator[Trial]:
    for seed in range(options.seed, options.seed + options.count):
        yield tried(seed, options.effort, options.judge, options.large)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effort", choices=("quick", "fast", "default", "max"), default="fast")
    parser.add_argument("--large", action="store_true", help="bodies of 20 to 130 nodes on tori of 2x2 to 20x20")
    parser.add_argument("--judge", help="path of the benchmark's judge.py")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found = []
    for trial in trials(options):
        found.append(trial)
        if (trial.faults or options.large) and not options.json:
            told = f"{trial.nodes} nodes, II {trial.direct_ii} and {trial.routed_ii}, answer {trial.answer_cpu_s} s"
            print(f"{trial.id}: {told} {'; '.join(trial.faults)}", flush=True)
    totals = {
        "bodies": len(found),
        "mapped_direct": sum(trial.direct_ii is not None for trial in found),
        "mapped_routed": sum(trial.routed_ii is not None for trial in found),
        "slowest_answer_cpu_s": max((trial.answer_cpu_s for trial in found), default=0.0),
        "faults": sum(bool(trial.faults) for trial in found),
    }
    if options.json:
        print(json.dumps({"rows": [asdict(trial) for trial in found], "summary": totals}, indent=1))
    else:
        print(", ".join(f"{key} {value}" for key, value in totals.items()))
    return 5 if totals["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
