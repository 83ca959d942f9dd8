"""Reproduces the cost tables: our traffic, energy and latency beside enumerated optima and published mappers.

    python benchmarks/cost.py [PATH …] [--tiles any|divisors] [--json]

PATH is a file in the format of benchmarks/data/cost or a folder of them; `architectures.json` is looked for beside it.
`--tiles divisors` keeps to sizes that divide and to the files' own rule of movement. Times are CPU seconds of one
problem, without interpreter start and imports. Exit status 5 if a row falls short of its reference.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mapper.bounds import attainable, op_bound_bytes
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.scalar import Arg, Call
from mapper.tiling.accelerator import Accelerator, Layer, architectures
from mapper.tiling.chains import least_chain
from mapper.tiling.fused import attention_words, chain_words
from mapper.tiling.grid import Rules
from mapper.tiling.hierarchy import Hierarchy, Level
from mapper.tiling.latency import latency
from mapper.tiling.nest import nest_of
from mapper.tiling.orders import energy_pj, outermost_bytes, quickest, realise
from mapper.tiling.search import EFFORTS, NoRoom, blocks

DATA = Path(__file__).parent / "data" / "cost"
SHORT = 5
WORD = "int8"  # one word is one byte, so words and bytes agree
ENERGY_SLACK, LATENCY_SLACK, CPU_SHARE = 1.01, 1.05, 0.2
Case = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One case: figures of ours and of the reference, and in which way ours falls short."""

    id: str
    ours: dict[str, Any]
    reference: dict[str, Any]
    cpu_s: float
    shortfall: str = ""
    group: tuple[str, str, str] | None = None


def matmul(m: int, n: int, k: int) -> Graph:
    """C[m, n] = sum_k A[m, k] B[k, n]."""
    tensors = (Tensor("a", (m, k), WORD, "input"), Tensor("b", (k, n), WORD, "weight"), Tensor("c", (m, n), WORD))
    reads = (Access("a", (loop("m"), loop("k"))), Access("b", (loop("k"), loop("n"))))
    loops = (Loop("m", m), Loop("n", n), Loop("k", k))
    op = Op("matmul", "MatMul", loops, reads, Access("c", (loop("m"), loop("n"))), Call("mul", (Arg(0), Arg(1))),
            Combiner("sum", WORD))  # fmt: skip
    return Graph("matmul", tensors, (op,), ("a",), ("c",))


def convolution(case: Case) -> Graph:
    """O[k, y, x] = sum_{c, fy, fx} I[c, y s + fy, x s + fx] W[k, c, fy, fx], the input padded beforehand."""
    k, c, oy, ox, fy, fx, s = (case[key] for key in ("K", "C", "OY", "OX", "FY", "FX", "stride"))
    tensors = (
        Tensor("i", (c, (oy - 1) * s + fy, (ox - 1) * s + fx), WORD, "input"),
        Tensor("w", (k, c, fy, fx), WORD, "weight"),
        Tensor("o", (k, oy, ox), WORD),
    )
    reads = (Access("i", (loop("c"), loop("oy") * s + loop("fy"), loop("ox") * s + loop("fx"))),
             Access("w", (loop("k"), loop("c"), loop("fy"), loop("fx"))))  # fmt: skip
    loops = tuple(Loop(*pair) for pair in (("k", k), ("c", c), ("oy", oy), ("ox", ox), ("fy", fy), ("fx", fx)))
    op = Op("conv", "Conv", loops, reads, Access("o", (loop("k"), loop("oy"), loop("ox"))),
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", WORD))  # fmt: skip
    return Graph("conv", tensors, (op,), ("i",), ("o",))


def least_words(graph: Graph, room: int, tiles: str, whole: Sequence[str] = ()) -> int | None:
    """Least words through one buffer of `room` words; with divisors, input tiles move as boxes, gaps included."""
    op = next(graph.nests)
    if tiles == "any":
        found = attainable(graph, op, room, "max")
        return found.bytes if found else None
    hierarchy = Hierarchy((Level("outside", None, 1.0, 1.0), Level("inside", room, 0.0, 0.0)))
    nest = nest_of(graph, op, hierarchy, lambda name: "outside")
    boxed = tuple(replace(o, parts=tuple(replace(p, boxed=True) for p in o.parts)) for o in nest.operands)
    rules = Rules(True, frozenset(at for at, item in enumerate(op.loops) if item.name in whole))
    states = blocks(replace(nest, operands=boxed), hierarchy, (), EFFORTS["max"], rules)
    return None if isinstance(states, NoRoom) else round(min(state.pj for state in states))


def two_level(case: Case, tiles: str) -> Row:
    """Problems A and B: equal with divisors, at most the optimum with any sizes, never below the bound."""
    is_matmul = case["op"] == "matmul"
    graph = matmul(case["M"], case["N"], case["K"]) if is_matmul else convolution(case)
    keys = ("M", "N", "K") if is_matmul else ("name", "K", "C", "OY", "OX", "FY", "stride")
    name = f"{case['op']} {' '.join(str(case[key]) for key in keys)} S={case['S_words']}"
    started = time.process_time()
    words = least_words(graph, case["S_words"], tiles, ("fy", "fx"))
    cpu_s = time.process_time() - started
    bound = op_bound_bytes(graph, next(graph.nests), case["S_words"]).bytes
    any_integer = case.get("opt_any_integer_tiles")
    optimum = case["opt_divisor_tiles"]["traffic_words"]
    goal = optimum if tiles == "divisors" or not any_integer else any_integer["traffic_words"]
    ours = {"words": words, "bound_words": bound}
    reference = {"words": goal, "bound_words": case["bounds"]["provable_lb_words"]}
    return Row(name, ours, reference, cpu_s, _two_level_shortfall(words, bound, reference, tiles))


def _two_level_shortfall(words: int | None, bound: int, reference: Case, tiles: str) -> str:
    if words is None:
        return "no tiling"
    if bound != reference["bound_words"]:
        return "another bound"
    if words < bound:
        return "below the bound"
    if words > reference["words"]:
        return "above the optimum"
    return "below the optimum of the same rule" if tiles == "divisors" and words != reference["words"] else ""


def single_words(room: int) -> Callable[[int, int, int], int | None]:
    """Words of one product tiled alone, by (m, n, k)."""
    return lambda m, n, k: least_words(matmul(m, n, k), room, "any")


def chain(case: Case, tiles: str) -> Row:
    """Problem C: a chain of matmuls, between the bound and what is known to be attainable."""
    room = case["S_words"]
    started = time.process_time()
    found = chain_words(case["M"], tuple(case["dims"]), room, single_words(room))
    cpu_s = time.process_time() - started
    low, high = case["fused_lb_words"], case["best_attainable_words"]
    short = "above the attainable" if found.words > high else "below the bound" if found.words < low else ""
    name = f"chain {case['name']} {case['M']} S={room}"
    return Row(name, {"words": found.words, "how": found.how}, {"words": high, "bound_words": low}, cpu_s, short)


def attention(case: Case, tiles: str) -> Row:
    """Problem C: one head, at most the row-blocked figure."""
    room = case["S_words"]
    started = time.process_time()
    found = attention_words(case["N"], case["d"], room, single_words(room))
    cpu_s = time.process_time() - started
    low, high = case["provable_lb_words"], case["flash_attention_words"]
    short = "above the row-blocked" if found.words > high else "below the bound" if found.words < low else ""
    name = f"attention {case['name']} N={case['N']} d={case['d']} S={room}"
    return Row(name, {"words": found.words, "how": found.how}, {"words": high, "bound_words": low}, cpu_s, short)


def layer_of(case: Case, machine: Accelerator) -> tuple[Layer, int]:
    """The layer of a case, and the cycles in which a systolic array drains.

    Neither padding nor whether the array is systolic is in the file: both are those with which the reference's own
    mapping has the reference's own energy and latency.
    """
    kernel = max(case["loop_dims"].get("FX", 1), case["loop_dims"].get("FY", 1))
    for padding in range(2 * kernel):
        layer = _layer(case, padding)
        if min((limit for _, limit in layer.input_limits), default=1) < 1:
            break
        splits = case.get("temporal_mapping_inner_to_outer")
        if not splits:
            return _layer(case, kernel - 1), 0
        theirs = energy_pj(layer, machine, splits) + layer.macs * machine.mac_pj
        if math.isclose(theirs, case["energy_pJ"], rel_tol=1e-6):
            return layer, round(case["latency_cycles"] - latency(layer, machine, splits).cycles)
    return _layer(case, kernel - 1), 0


def _layer(case: Case, padding: int) -> Layer:
    sizes = case["loop_dims"]
    strides = {f"O{axis}": int(stride) for axis, stride in
               re.findall(r"I([XY]) = (\d+)\*", " ".join(case["dim_relations"]))}  # fmt: skip
    limits = {
        o: (sizes[o] - 1) * strides[o] + sizes[f] - padding for o, f in (("OX", "FX"), ("OY", "FY")) if o in sizes
    }
    unrolled = tuple((dim, loop_, f) for dim, loops in case["spatial_mapping"].items() for loop_, f in loops.items())
    bits = case["precision_bits"]
    return Layer(tuple(sizes.items()), tuple(strides.items()), unrolled, bits["I"], bits["W"], bits["O"],
                 bits["O_final"], tuple(limits.items()))  # fmt: skip


def layer(case: Case, machine: Accelerator) -> Row:
    """Problem D: one layer under the same spatial mapping, least energy or least latency."""
    problem, drain = layer_of(case, machine)
    solved = _solved.get((problem, machine.name, case["objective"]))
    started = time.process_time()
    if solved is None:
        solved = _solve_layer(problem, machine, case["objective"])
        _solved[problem, machine.name, case["objective"]] = solved
    cpu_s = time.process_time() - started
    ours = {**solved, "latency_cycles": solved["latency_cycles"] + drain}
    reference = {"energy_pJ": case["energy_pJ"], "dram_bytes": case["dram_bytes"]["total"],
                 "latency_cycles": case["latency_cycles"]}  # fmt: skip
    group = (case["workload"], case["arch"], case["objective"])
    return Row(case["id"], ours, reference, cpu_s, _layer_shortfall(ours, reference, case["objective"]), group)


_solved: dict[tuple[Layer, str, str], Case] = {}


def _solve_layer(problem: Layer, machine: Accelerator, objective: str) -> Case:
    if objective == "latency":
        found = quickest(problem, machine)
        order = found[0] if found else None
    else:
        chain = least_chain(problem, machine)
        order = realise(problem, chain, list(problem.size)) if chain else None
    if order is None:
        return {"energy_pJ": math.inf, "dram_bytes": math.inf, "latency_cycles": math.inf}
    splits = order.splits()
    return {
        "energy_pJ": energy_pj(problem, machine, splits) + problem.macs * machine.mac_pj,
        "dram_bytes": outermost_bytes(problem, machine, splits),
        "latency_cycles": latency(problem, machine, splits).cycles,
    }


def _layer_shortfall(ours: Case, reference: Case, objective: str) -> str:
    if objective == "latency":
        return "slower" if ours["latency_cycles"] > LATENCY_SLACK * reference["latency_cycles"] else ""
    if ours["energy_pJ"] > ENERGY_SLACK * reference["energy_pJ"]:
        return "more energy"
    more = ours["dram_bytes"] > reference["dram_bytes"]
    return "more DRAM bytes without less energy" if more and ours["energy_pJ"] >= reference["energy_pJ"] else ""


def totals(rows: Sequence[Row], files: Sequence[Path]) -> Iterator[Row]:
    """Per workload, accelerator and objective: energy in sum, and CPU seconds against the tool's per layer."""
    tools = {(case["workload"], case["arch"], case["objective"]): case for path in files
             for case in _tool_cases(path.parent / "zigzag_models.json")}  # fmt: skip
    for group in dict.fromkeys(row.group for row in rows if row.group):
        members = [row for row in rows if row.group == group]
        key = "latency_cycles" if group[2] == "latency" else "energy_pJ"
        mine, theirs = (sum(side[key] for side in sides) for sides in
                        ([row.ours for row in members], [row.reference for row in members]))  # fmt: skip
        cpu_s = sum(row.cpu_s for row in members)
        tool = tools.get(group, {})
        per_layer = tool["tool_cpu_s"] / tool["layers"] if tool.get("tool_cpu_s") else None
        ours = {key: mine, "cpu_s_per_layer": round(cpu_s / len(members), 4)}
        reference = {key: theirs, "cpu_s_per_layer": round(per_layer, 2) if per_layer else None}
        slow = per_layer is not None and cpu_s / len(members) > CPU_SHARE * per_layer
        short = f"more {key} in sum" if key == "energy_pJ" and mine > theirs else "slow" if slow else ""
        yield Row(f"sum {'/'.join(group)}", ours, reference, 0.0, short)


def _tool_cases(path: Path) -> list[Case]:
    return list(json.loads(path.read_text(encoding="utf-8"))["cases"]) if path.exists() else []


def published(content: Case) -> Iterator[Any]:
    """Rows of published accelerators, none if the content is something else."""
    sys.path.insert(0, str(Path(__file__).parent))
    from eyeriss import rows_in

    sys.path.pop(0)
    yield from rows_in(content)


def rows_of(path: Path, tiles: str) -> Iterator[Row]:
    """Rows of one file, told apart by what its cases hold."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict) and "cases" not in content:
        yield from (Row(r.id, r.ours, r.reference, 0.0, r.shortfall) for r in published(content))
    cases = content.get("cases", []) if isinstance(content, dict) else []
    machines = path.parent / "architectures.json"
    known: dict[str, Accelerator] = architectures(machines) if machines.exists() else {}
    for case in cases:
        if "opt_divisor_tiles" in case:
            yield two_level(case, tiles)
        elif "fused_lb_words" in case:
            yield chain(case, tiles)
        elif "flash_attention_words" in case:
            yield attention(case, tiles)
        elif "spatial_mapping" in case and case["arch"] in known:
            yield layer(case, known[case["arch"]])


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    files = [file for path in options.paths for file in ([path] if path.is_file() else sorted(path.glob("*.json")))]
    rows: list[Row] = []
    for file in files:
        for row in rows_of(file, options.tiles):
            rows.append(row)
            if not options.json:
                print(_line(row), flush=True)
    for row in list(totals(rows, files)):
        rows.append(row)
        if not options.json:
            print(_line(row))
    if options.json:
        print(json.dumps({"rows": [_json(row) for row in rows]}, indent=1))
    else:
        print(f"{len(rows)} rows, {sum(bool(row.shortfall) for row in rows)} fall short, "
              f"{sum(row.cpu_s for row in rows):.1f} CPU s")  # fmt: skip
    return SHORT if any(row.shortfall for row in rows) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Our movement beside enumerated optima and published mappers.")
    parser.add_argument("paths", nargs="*", type=Path, default=[DATA], metavar="PATH")
    parser.add_argument("--tiles", choices=("any", "divisors"), default="any")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def _json(row: Row) -> Case:
    found = {key: value for key, value in asdict(row).items() if key != "group"}
    return {**found, "cpu_s": round(row.cpu_s, 4)}


def _line(row: Row) -> str:
    def cells(values: Case) -> str:
        return " ".join(f"{key}={value:.6g}" if isinstance(value, float) else f"{key}={value}"
                        for key, value in values.items())  # fmt: skip

    return f"{row.id:60} {cells(row.ours)}  |  {cells(row.reference)}  {row.cpu_s:.3f} s  {row.shortfall}"


if __name__ == "__main__":
    sys.exit(main())
