"""Networks on the wafer: cores, balance of the stages, bytes x hops, off-wafer bytes, links, each beside its bound.

    python benchmarks/wafer_networks.py [MODEL …] [--machines wse2,wse3] [--effort default] [--json | --markdown]

MODEL is anything that `mapper compile` takes (default: six networks of the zoo). Every figure is read from the mapping,
which the compiler has checked:

    cores          cores inside rectangles / working cores
    slow/mean      cycles of the slowest stage / mean of all stages
    bytes x hops   sum over tensors and readers of bytes x Manhattan distance of the two rectangles' centres (to the
                   west edge for what comes in, to the east edge for what leaves), and how often that is the bound: the
                   same with every pair side by side, its rectangles as large as they are, or what flows from the west
                   edge to the east edge times the columns between, if that is more
    routes         bytes x links of the routes as they are laid
    off-wafer      bytes over the wafer's edge per inference, and how often they are the provable least
    hottest link   words over the busiest link per inference / cycles of the slowest stage

Exit status 5 if a compile takes over 60 CPU seconds, or ResNet-50 or U-Net on WSE-2 uses less than 80 % of the cores,
has a slowest stage above 1.3 times the mean, or bytes x hops above twice the bound.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import networkx as nx

import mapper
from mapper.boundaries import inside_of, provable_bytes
from mapper.cost import cost, stage_cycles
from mapper.mapping import Mapping, Rect
from mapper.request import Effort
from mapper.result import ModelResult

MODELS = ("zoo:resnet50", "zoo:unet", "zoo:bert-base", "zoo:gpt2", "zoo:lfm2.5-1.2b", "zoo:lfm2.5-1.2b-decode")
ASKED = (("zoo:resnet50", "wse2"), ("zoo:unet", "wse2"))
MOST_CPU_S, LEAST_CORES, MOST_UNEVEN, MOST_HOPS, SHORT = 60.0, 0.8, 1.3, 2.0, 5
TITLES = ("model", "machine", "stages", "CPU s", "cores", "cycles", "slow/mean", "bytes x hops", "x bound", "routes",
          "off-wafer bytes", "x bound", "hottest link")  # fmt: skip

Link = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Row:
    """One compile, figures as in the module's text."""

    model: str
    machine: str
    schedule: str
    stages: int
    cpu_s: float
    cores: float
    cycles: int
    uneven: float
    hop_bytes: float
    hops_ratio: float
    route_hop_bytes: int
    off_wafer_bytes: int
    off_wafer_ratio: float
    hottest_link: float

    @property
    def short(self) -> bool:
        """Does the row miss what it is asked for?"""
        if self.cpu_s > MOST_CPU_S:
            return True
        asked = (self.model, self.machine) in ASKED
        return asked and (self.cores < LEAST_CORES or self.uneven > MOST_UNEVEN or self.hops_ratio > MOST_HOPS)

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.model.removeprefix("zoo:"), self.machine, str(self.stages), f"{self.cpu_s:.0f}",
                f"{self.cores:.1%}", f"{self.cycles:,}", f"{self.uneven:.2f}", f"{self.hop_bytes:.3g}",
                f"{self.hops_ratio:.2f}", f"{self.route_hop_bytes:.3g}", f"{self.off_wafer_bytes:,}",
                f"{self.off_wafer_ratio:.2f}", f"{self.hottest_link:.2f}")  # fmt: skip


def measured(model: str, machine: str, effort: Effort) -> Row:
    """Compile and read the figures off the mapping."""
    started = time.process_time()
    result = mapper.compile(model, "wafer", machine, effort=effort)
    seconds = time.process_time() - started
    assert isinstance(result, ModelResult), "networks only"
    mapping = result.mapping
    cycles = [stage_cycles(stage) for stage in mapping.stages]
    used = sum(stage.rect.height * stage.rect.width for stage in mapping.stages)
    distance, least = hop_bytes(mapping)
    moved = cost(mapping).level(mapping.machine.memories[0].name).bytes
    return Row(model, machine, mapping.schedule, len(cycles), round(seconds, 1),
               used / (mapping.machine.fabric.size - len(mapping.machine.fabric.dead)), max(cycles),
               max(cycles) * len(cycles) / sum(cycles), distance, distance / max(least, 1.0),
               sum(route.bytes * len(route.links) for route in mapping.routes), moved,
               moved / max(provable_bytes(mapping.graph, inside_of(mapping, 0)), 1),
               max(link_words(mapping).values(), default=0.0) / max(cycles))  # fmt: skip


def hop_bytes(mapping: Mapping) -> tuple[float, float]:
    """Bytes x distance of centres over all routes and readers; and its bound."""
    rects = {stage.name: stage.rect for stage in mapping.stages}
    total = least = 0.0
    wires = nx.Graph()
    for route in mapping.routes:
        for target in (route.target, *route.also):
            ends = [rects[name] for name in (route.source, target) if name]
            if len(ends) == 2:
                total += route.bytes * _apart(*ends)
                least += route.bytes * min(sum(r.height for r in ends), sum(r.width for r in ends)) / 2
            else:
                (only,) = ends
                west = only.column + only.width / 2
                total += route.bytes * (mapping.machine.fabric.columns - west if route.source else west)
                least += route.bytes * min(only.height, only.width) / 2
            pair = (route.source or "west edge", target or "east edge")
            before = wires.get_edge_data(*pair, {"capacity": 0})["capacity"]
            wires.add_edge(*pair, capacity=before + route.bytes)
    edges = "west edge" in wires and "east edge" in wires
    through = nx.maximum_flow_value(wires, "west edge", "east edge") if edges else 0
    return total, max(least, through * float(mapping.machine.fabric.columns))


def _apart(a: Rect, b: Rect) -> float:
    rows = a.row + a.height / 2 - b.row - b.height / 2
    return abs(rows) + abs(a.column + a.width / 2 - b.column - b.width / 2)


def link_words(mapping: Mapping) -> dict[Link, float]:
    """Words of 32 bits over each link at one inference."""
    found: dict[Link, float] = defaultdict(float)
    for route in mapping.routes:
        words = route.bytes / mapping.machine.links.bytes_per_cycle / route.lanes
        for lane in range(route.lanes):
            down, right = lane * route.stride[0], lane * route.stride[1]
            for (r, c), (s, d) in route.links:
                found[(r + down, c + right), (s + down, d + right)] += words
    return found


def _rows(models: Sequence[str], machines: Sequence[str], effort: Effort) -> Iterator[Row]:
    for model in models:
        for machine in machines:
            yield measured(model, machine, effort)


def _markdown(rows: Sequence[Row]) -> None:
    print(f"| {' | '.join(TITLES)} |\n|---|---|{'---:|' * (len(TITLES) - 2)}")
    for row in rows:
        print(f"| {' | '.join(row.cells)} |")


def _print(rows: Sequence[Row]) -> None:
    table = [TITLES, *(row.cells for row in rows)]
    widths = [max(len(line[n]) for line in table) for n in range(len(TITLES))]
    for line in table:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--machines", default="wse2,wse3")
    parser.add_argument("--effort", choices=("fast", "default", "max"), default="default")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args()
    rows = list(_rows(asked.models, asked.machines.split(","), asked.effort))
    if asked.json:
        print(json.dumps({"rows": [{"id": f"{r.model} on {r.machine}", "ours": asdict(r), "reference": {},
                                    "cpu_s": r.cpu_s} for r in rows]}))  # fmt: skip
    elif asked.markdown:
        _markdown(rows)
    else:
        _print(rows)
    return SHORT if any(row.short for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
