"""Networks on the linear array: what LOAD and DRAIN move beside the least that these lanes can move.

    python benchmarks/cgla_networks.py [MODEL …] [--machines imax3,imax3-28nm] [--lanes 1,2,8] [--effort fast]
                                       [--json] [--write]    # --write puts the table into docs/cgla-network.md
    python benchmarks/cgla_networks.py [MODEL …] --sweep    # local memory from 8 to 512 KiB: more never moves more

MODEL is anything that `mapper compile` takes (default: five networks of the zoo). Bytes are those of operands and
results between the backing store and local memory, without configuration and registers, which have a column of their
own. Each row is a process of its own that starts with nothing kept from earlier runs. `all lanes` is the share of the
multiply-accumulates that run on every lane; `worst` is the largest ratio to
`mapper.backends.cgla.network.bounds.lane_bound_bytes` over the matrix products and convolutions. Exit status 5 if a
ratio is above 1.5, a compile takes over 60 CPU seconds, or a sweep rises.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import mapper
from mapper.backends.cgla.network.bounds import lane_bound_bytes
from mapper.cost import cost
from mapper.mapping import Mapping
from mapper.request import Effort
from mapper.result import ModelResult

PAGE = Path(__file__).parents[1] / "docs" / "cgla-network.md"
HEADING = "## Five networks"
MODELS = ("zoo:lfm2.5-1.2b-decode", "zoo:lfm2.5-1.2b", "zoo:resnet50", "zoo:bert-base", "zoo:whisper-tiny.en")
SWEPT = ("zoo:resnet50", "zoo:bert-base", "zoo:whisper-tiny-mini", "zoo:resnet-tiny")
SIZES_KIB = (8, 16, 32, 64, 128, 256, 512)
MOST_RATIO, MOST_CPU_S, SHORT = 1.5, 60.0, 5


@dataclass(frozen=True, slots=True)
class Row:
    """One compile: bytes of operands, of control, and the operator farthest from its bound."""

    id: str
    cpu_s: float
    data_bytes: int
    bound_bytes: int
    control_bytes: int
    launches: int
    worst: float
    worst_op: str
    ops: int
    ops_above: int
    all_lanes: float

    @property
    def short(self) -> bool:
        return self.worst > MOST_RATIO or self.cpu_s > MOST_CPU_S


def measured(model: str, machine: str, effort: Effort) -> Row:
    """Compile and compare every matrix product and convolution with its bound."""
    mapping = _mapped(model, machine, effort)
    seconds = time.process_time()
    ratios = sorted(_ratios(mapping), reverse=True)
    stages = mapping.stages
    control = sum(stage.configuration_bytes * stage.launches for stage in stages)
    return Row(f"{model} on {machine}", round(seconds, 1), sum(moved for _, moved, _, _ in ratios),
               sum(least for _, _, least, _ in ratios), control, sum(stage.launches for stage in stages),
               round(ratios[0][0], 3), ratios[0][3], len(ratios), sum(r[0] > MOST_RATIO for r in ratios),
               round(_on_all_lanes(mapping), 3))  # fmt: skip


def _mapped(model: str, machine: str, effort: Effort) -> Mapping:
    result = mapper.compile(model, "cgla", machine, effort=effort)
    assert isinstance(result, ModelResult), "networks only"
    return result.mapping


def _on_all_lanes(mapping: Mapping) -> float:
    """Multiply-accumulates of operators that hold every lane, over all."""
    macs = {op.name: op.macs for op in mapping.graph.nests}
    lanes = mapping.machine.setting("lanes", 1)
    return sum(macs[s.op] for s in mapping.stages if s.rect.lanes == lanes) / max(1, sum(macs.values()))


def _ratios(mapping: Mapping) -> Iterator[tuple[float, int, int, str]]:
    """(ratio, bytes, bound, name) of every operator that multiplies and accumulates."""
    ops = {op.name: op for op in mapping.graph.nests}
    moved = {op.stage: op.level("dram").bytes for op in cost(mapping).ops}
    lmm, resident = mapping.machine.memory("lmm"), frozenset(tensor for tensor, _ in mapping.homes)
    for stage in mapping.stages:
        op, lanes = ops[stage.op], stage.rect.lanes
        if op.macs:
            data = moved[stage.name] - stage.configuration_bytes * stage.launches
            inside = (lmm.capacity_bytes or 0) * mapping.machine.fabric.rows * lanes
            least = lane_bound_bytes(mapping.graph, op, lanes, inside, resident)
            yield data / max(least, 1), data, least, op.name


def sweep(model: str, effort: Effort) -> dict[str, list[float]]:
    """For growing local memory: LOAD + DRAIN of all operators, bytes at the backing store with control, and pJ."""
    found: dict[str, list[float]] = {"LOAD + DRAIN": [], "with control": [], "movement pJ": []}
    for size in SIZES_KIB:
        mapping = _mapped(model, f"imax3:lmm={size}KiB", effort)
        total = cost(mapping)
        control = sum(stage.configuration_bytes * stage.launches for stage in mapping.stages)
        moved = total.level("dram").bytes
        for column, value in zip(found.values(), (moved - control, moved, total.movement_pj), strict=True):
            column.append(value)
    return found


def _print(rows: Sequence[Row]) -> None:
    print(f"{'model and machine':<52}{'CPU s':>7}{'data':>12}{'x bound':>9}{'control':>12}{'launches':>10}"
          f"{'all lanes':>11}{'worst':>7}  above 1.5")  # fmt: skip
    for row in rows:
        ratio = row.data_bytes / max(row.bound_bytes, 1)
        print(
            f"{row.id:<52}{row.cpu_s:>7.1f}{row.data_bytes:>12.3g}{ratio:>9.3f}{row.control_bytes:>12.3g}"
            f"{row.launches:>10,}{row.all_lanes:>11.1%}{row.worst:>7.2f}  {row.ops_above} of {row.ops} ({row.worst_op})"
        )


def section(rows: Sequence[Row]) -> str:
    """The table as a section of the page."""
    lines = [HEADING, "", "    python benchmarks/cgla_networks.py --write", "",
             "| model and machine | CPU s | LOAD + DRAIN, MB | x bound | worst | above 1.5 | on all lanes |"
             " control, MB | launches |", "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        ratio = row.data_bytes / max(row.bound_bytes, 1)
        lines.append(f"| {row.id.removeprefix('zoo:')} | {row.cpu_s:.0f} | {row.data_bytes / 1e6:,.0f} | {ratio:.3f} |"
                     f" {row.worst:.2f} | {row.ops_above} of {row.ops} | {row.all_lanes:.0%} |"
                     f" {row.control_bytes / 1e6:,.0f} | {row.launches:,} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def written(page: str, part: str) -> str:
    """The page with the section in place of the old one, at the end if there was none."""
    before, heading, rest = page.partition(HEADING)
    _, next_heading, after = rest.partition("\n## ") if heading else ("", "", "")
    return f"{before.rstrip()}\n\n{part}" + (f"\n## {after}" if next_heading else "")


def _rows(asked: argparse.Namespace) -> Iterator[Row]:
    """Every row from a process of its own."""
    for model in asked.models or MODELS:
        for machine in asked.machines.split(","):
            for lanes in asked.lanes.split(","):
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    yield pool.submit(measured, model, f"{machine}:lanes={lanes}", asked.effort).result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*")
    parser.add_argument("--machines", default="imax3,imax3-28nm")
    parser.add_argument("--lanes", default="1,2,8")
    parser.add_argument("--effort", choices=("fast", "default", "max"), default="default")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    if asked.sweep:
        return _sweeps(asked.models or SWEPT, asked.effort)
    os.environ["MAPPER_CACHE"] = "off"
    rows = list(_rows(asked))
    if asked.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), section(rows)), encoding="utf-8")
    if asked.json:
        print(json.dumps({"rows": [{"id": r.id, "ours": asdict(r), "reference": {"most_ratio": MOST_RATIO},
                                    "cpu_s": r.cpu_s} for r in rows]}))  # fmt: skip
    else:
        _print(rows)
    return SHORT if any(row.short for row in rows) else 0


def _sweeps(models: Sequence[str], effort: Effort) -> int:
    rises = False
    for model in models:
        for name, column in sweep(model, effort).items():
            up = any(b > a for a, b in pairwise(column))
            rises |= up
            print(f"{model}: {name} {[f'{value:.4g}' for value in column]} at {SIZES_KIB} KiB: "
                  f"{'RISES' if up else 'falls or stays'}", flush=True)  # fmt: skip
    return SHORT if rises else 0


if __name__ == "__main__":
    sys.exit(main())
