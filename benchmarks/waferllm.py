"""WaferLLM's published speeds on WSE-2 beside a prediction from shapes, grid and hardware figures.

    python benchmarks/waferllm.py [--write] [--json]

`--write` puts the section into docs/validation.md. Published: C. He et al., "WaferLLM", OSDI 2025 (arXiv:2502.04563):
decode (table 4), prefill (table 3), MeshGEMV (table 6). A product of an m x k with a k x n matrix on N x N cores:

    compute     ceil(m/N) ceil(k/N) ceil(n/N) multiply-accumulates a step. A core reads two 32-bit operands and writes
                one a cycle, and every multiply-accumulate of a vector instruction writes its sum: two a cycle where
                sums have 16 bits (MeshGEMV), one where they have 32 (MeshGEMM adds to its tile N times)
    MeshGEMM    N steps; tiles of both operands shift by two hops meanwhile, one 32-bit word a cycle and link, so a step
                takes the longer of compute and words, and (2 T_R + 1) cycles to hand over, T_R = 2
    MeshGEMV    one step, then partial sums are added along a column in two levels of sqrt(N) cores:
                2 (words + sqrt(N) (2 T_R + 1)) + N cycles: words on the link, dependent steps, hops (the model of
                Luczynski et al., HPDC 2024)
    allreduce   the same, and N hops and the words again on the way back

A layer of decode: products for query/key/value, output, gate/up, down, each followed by an allreduce; scores and values
over the cached positions with an allreduce each; two norms and a softmax (maximum and sum), an allreduce of a word
each. A layer of prefill: the same products as MeshGEMM, scores and values over all pairs of positions. Embedding,
sampling and host are left out, so predictions are upper estimates of speed.

Assumed where the source does not print it with the figure: 4096 positions, 720 x 720 cores for MeshGEMV. PLMR checks of
each row: how many regions of that grid the weights of all layers need at 48 KB a core, beside those that the wafer has
room for, and the colours that the kernel holds in a router (4 for the shifts, 2 a level of the reduction) of 24.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mapper.machines import resolve

PAGE = Path(__file__).parent.parent / "docs" / "validation.md"
HEADING = "## Wafer against WaferLLM"
MACS_PER_CYCLE = 2  # with sums of 16 bits
WIDE_MACS_PER_CYCLE = 1  # with sums of 32 bits
BYTES = 2

POSITIONS = 4096
SHIFTS_OR_LEVELS = 4  # colours: four directions of shifts, or two for each of two levels

ABOUT = """Predicted from shapes, grid and hardware figures alone (the docstring of `benchmarks/waferllm.py` states the
model). Two things were chosen after a look: two 16-bit products a cycle after one had missed MeshGEMV, and 32-bit sums
of MeshGEMM, one a cycle through a core's one 32-bit write, after two had predicted prefill 4.4 and 3.6 times too fast.
Regions: how many grids of that size the weights need at 48 KB a core, and how many the wafer has room for.
"""
REMARKS = """Decode and MeshGEMV are within 11 %. Prefill stays too fast: what it costs to start many short vector
instructions is not published, so it is not modelled. Read as such a cost, the rest is 17 cycles an instruction for
LLaMA3-8B (rows of 6 to 40 elements) and 12 for LLaMA2-13B: no one constant explains both rows, so none is fitted. The
width of the sums is our reading of the memory ports; the source does not print it.
"""


@dataclass(frozen=True, slots=True)
class Llm:
    """A decoder: widths of the stream, of keys and values together, of the gated layer; layers; vocabulary."""

    name: str
    width: int
    key_value: int
    gated: int
    layers: int
    vocabulary: int

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        """(k, n) of a layer's products."""
        d, f = self.width, self.gated
        return (d, d + self.key_value), (d, d), (d, 2 * f), (f, d)

    @property
    def parameters(self) -> int:
        return self.layers * sum(k * n for k, n in self.products) + self.width * self.vocabulary


LLAMA3_8B = Llm("LLaMA3-8B", 4096, 2 * 1024, 14336, 32, 128256)
LLAMA2_13B = Llm("LLaMA2-13B", 5120, 2 * 5120, 13824, 40, 32000)


@dataclass(frozen=True, slots=True)
class Row:
    """One published figure beside ours; memory and colours are what PLMR limits."""

    id: str
    grid: int
    unit: str
    ours: float
    published: float
    regions: int
    regions_there: int
    colours: int

    @property
    def error(self) -> float:
        return self.ours / self.published - 1


@dataclass(frozen=True, slots=True)
class Grid:
    """N x N cores; `router_cycles` is T_R."""

    side: int
    router_cycles: int

    @property
    def step(self) -> int:
        """Cycles of a dependent step between neighbours."""
        return 2 * self.router_cycles + 1

    def tile(self, *extents: int) -> int:
        """Elements of a core's piece."""
        return math.prod(math.ceil(extent / self.side) for extent in extents)

    def reduce(self, words: float) -> float:
        """Cycles to add up a column's partial sums in two levels."""
        return 2 * (words + math.sqrt(self.side) * self.step) + self.side

    def allreduce(self, words: float) -> float:
        return self.reduce(words) + self.side + words

    def gemv(self, k: int, n: int) -> float:
        """Cycles of a vector times a matrix; sums of 16 bits stand at the end of each column."""
        return self.tile(k, n) / MACS_PER_CYCLE + self.reduce(self.tile(n) / 2)

    def gemm(self, m: int, k: int, n: int) -> float:
        """Cycles of a product with both operands shifted."""
        words = max(self.tile(m, k), self.tile(k, n)) / 2
        return self.side * (max(self.tile(m, k, n) / WIDE_MACS_PER_CYCLE, words) + self.step)


def decode_cycles(model: Llm, grid: Grid, context: int) -> float:
    """Cycles of one token behind `context` cached ones."""
    total = 0.0
    for k, n in model.products:
        total += grid.tile(k, n) / MACS_PER_CYCLE + grid.allreduce(grid.tile(n) / 2)
    for words in (grid.tile(context) / 2, grid.tile(model.width) / 2):  # scores, then values
        total += grid.tile(context, model.width) / MACS_PER_CYCLE + grid.allreduce(words)
    total += 4 * grid.allreduce(1)  # two norms, maximum and sum of the softmax
    return model.layers * total + grid.gemv(model.width, model.vocabulary)


def prefill_cycles(model: Llm, grid: Grid, tokens: int) -> float:
    """Cycles of a prompt."""
    products = sum(grid.gemm(tokens, k, n) for k, n in model.products)
    attention = grid.gemm(tokens, model.width, tokens) + grid.gemm(tokens, tokens, model.width)
    return model.layers * (products + attention + 4 * grid.allreduce(grid.tile(tokens)))


def rows() -> list[Row]:
    """All published figures that can be predicted from what was printed with them."""
    machine = resolve("wse2")
    clock, router = machine.clock_hz, machine.setting("ramp_cycles", 2)

    def grid(side: int) -> Grid:
        return Grid(side, router)

    def row(name: str, side: int, unit: str, ours: float, published: float, parameters: int) -> Row:
        sram, fabric = machine.memory("sram").capacity_bytes or 1, machine.fabric
        needed = math.ceil(parameters * BYTES / (side**2 * sram))
        return Row(name, side, unit, ours, published, needed, fabric.size // side**2, SHIFTS_OR_LEVELS)

    found = []
    for size, published in ((16384, 0.0012), (32768, 0.00203)):
        milliseconds = grid(720).gemv(size, size) / clock * 1e3
        found.append(row(f"MeshGEMV {size // 1024}K", 720, "ms", milliseconds, published, size * size))
    rate = clock / decode_cycles(LLAMA3_8B, grid(420), POSITIONS)
    found.append(row("decode LLaMA3-8B", 420, "tokens/s", rate, 2699.9, LLAMA3_8B.parameters))
    for model, published in ((LLAMA3_8B, 27686.5), (LLAMA2_13B, 17498.3)):
        rate = POSITIONS * clock / prefill_cycles(model, grid(720), POSITIONS)
        found.append(row(f"prefill {model.name}", 720, "tokens/s", rate, published, model.parameters))
    return found


def section(found: Sequence[Row]) -> str:
    """The section of docs/validation.md."""
    lines = [HEADING, "", f"    python benchmarks/{Path(__file__).name} --write", "", ABOUT,
             "| | grid | ours | published | error | regions needed / there | colours of 24 |",
             "|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for row in found:
        figures = f"{row.ours:,.4g} {row.unit} | {row.published:,} {row.unit} | {row.error:+.0%}"
        lines.append(f"| {row.id} | {row.grid} x {row.grid} | {figures} | {row.regions} / {row.regions_there} |"
                     f" {row.colours} |")  # fmt: skip
    return "\n".join([*lines, "", REMARKS])


def replaced(page: str, text: str) -> str:
    """`page` with the section under the same heading replaced, or added at its end."""
    before, _, rest = page.partition(HEADING)
    _, gap, after = rest.partition("\n## ")
    return before.rstrip() + "\n\n" + text.rstrip() + "\n" + (gap + after if gap else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the section into docs/validation.md")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = rows()
    if asked.write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), section(found)), encoding="utf-8")
    if asked.json:
        print(json.dumps({"rows": [{"id": r.id, "ours": asdict(r), "reference": {"published": r.published},
                                    "cpu_s": 0.0} for r in found]}))  # fmt: skip
    else:
        print(section(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
