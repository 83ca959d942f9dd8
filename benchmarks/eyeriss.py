"""Holds the cost model against published accelerators: Eyeriss (ISCA 2016, JSSC 2017) and TPU v1 (ISCA 2017).

    python benchmarks/eyeriss.py [PATH] [--json] [--write]

PATH is a file in the format of benchmarks/data/cost/published_anchors.json. `--write` puts the section into
docs/validation.md. Exit status 5 if a row falls short.

AlexNet in row-stationary order (Chen, Emer & Sze, ISCA 2016): a PE holds one row of a filter and slides it along a row
of the input; a set of PEs, filter rows x output rows, makes a strip of an output channel; further sets take other
channels (r) or other filters (t). A pass keeps p filters, q channels and n images in each PE. As programs of
`mapper.mapping`, with memories dram - glb - array - rf, where "array" is the network: what it receives is read from the
buffer once for all PEs, what it hands out is a transfer to a PE.

* ISCA 2016: p, q, n, the tile in the buffer and both loop orders are the least in energy of all whose sizes divide (in
  units of what runs side by side), 128 KiB and 512 B of 16-bit words, energies 1, 1, 2, 6, 200. Both halves of the
  network run apart, as on the two GPUs for which it was written: the published figures have the input read twice.
* JSSC 2017: p, q, r, t, rows of a strip, images and channels in the buffer as published; input rows stream again at
  each pass, filters pass the buffer. (The parameters are recalled. Those of conv3 are taken from conv4: as recalled,
  q 4, r 1, t 4, they would give 68.7 MB.)

What is printed is counted by the product's own cost model (`mapper.traffic`) on these programs, not by the search.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations, product
from pathlib import Path
from typing import Any

from mapper.backends.roofline import system
from mapper.index import loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.mapping import WRITTEN, Axis, Buffer, Rect, Stage, TileLoop
from mapper.scalar import Arg, Call
from mapper.traffic import Link, links

ANCHORS = Path(__file__).parent / "data" / "cost" / "published_anchors.json"
PAGE = Path(__file__).parent.parent / "docs" / "validation.md"
HEADING = "## Cost model: Eyeriss and TPU v1"
SHORT = 5
WORD, WORD_BYTES = "int16", 2
PRICE = {"dram": 200.0, "glb": 6.0, "array": 2.0, "rf": 1.0}  # a word, in energies of a 16-bit multiply-accumulate
CLOSE_GIGA, CLOSE_SHARE = 0.1, 0.10


@dataclass(frozen=True, slots=True)
class Shape:
    """`halves` equal convolutions of C to K channels, E x E outputs, F x F taps; the input is padded beforehand."""

    c: int
    k: int
    e: int
    f: int
    stride: int
    halves: int

    @property
    def width(self) -> int:
        return (self.e - 1) * self.stride + self.f


ALEXNET = {
    "conv1": Shape(3, 48, 55, 11, 4, 2), "conv2": Shape(48, 128, 27, 5, 1, 2), "conv3": Shape(256, 192, 13, 3, 1, 2),
    "conv4": Shape(192, 192, 13, 3, 1, 2), "conv5": Shape(192, 128, 13, 3, 1, 2), "fc1": Shape(256, 4096, 1, 6, 1, 1),
    "fc2": Shape(4096, 4096, 1, 1, 1, 1), "fc3": Shape(4096, 1000, 1, 1, 1, 1),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stationary:
    """A row-stationary program. `strip` output rows at once, `r` sets of PEs on channels and `t` on filters; `inner`
    (channels, filters, images) of a pass and `outer` of the tile in the buffer; loop orders from outside, over
    "c", "k", "b". `streams`: input rows are sent again at each pass; `filters_pass`: the buffer does not keep them."""

    strip: int
    r: int
    t: int
    inner: tuple[int, int, int]
    outer: tuple[int, int, int]
    order: tuple[str, ...]
    inner_order: tuple[str, ...]
    streams: bool = False
    filters_pass: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Words: at the backing store, at the buffer, handed to PEs, and used by arithmetic at the register files."""

    macs: int
    dram: int
    glb: int
    array: int
    rf: int

    @property
    def energy(self) -> float:
        return (self.macs + PRICE["dram"] * self.dram + PRICE["glb"] * self.glb + PRICE["array"] * self.array
                + PRICE["rf"] * self.rf)  # fmt: skip


def layer(shape: Shape, batch: int) -> Graph:
    """O[b, k, y, x] = sum I[b, c, y s + g, x s + f] W[k, c, g, f]."""
    s, w = shape.stride, shape.width
    tensors = (Tensor("i", (batch, shape.c, w, w), WORD, "input"),
               Tensor("w", (shape.k, shape.c, shape.f, shape.f), WORD, "weight"),
               Tensor("o", (batch, shape.k, shape.e, shape.e), WORD))  # fmt: skip
    reads = (Access("i", (loop("b"), loop("c"), loop("y") * s + loop("g"), loop("x") * s + loop("f"))),
             Access("w", (loop("k"), loop("c"), loop("g"), loop("f"))))  # fmt: skip
    sizes = {"b": batch, "k": shape.k, "c": shape.c, "y": shape.e, "x": shape.e, "g": shape.f, "f": shape.f}
    written = Access("o", tuple(loop(name) for name in "bkyx"))
    op = Op("conv", "Conv", tuple(Loop(*pair) for pair in sizes.items()), reads, written,
            Call("mul", (Arg(0), Arg(1))), Combiner("sum", WORD))  # fmt: skip
    return Graph("conv", tensors, (op,), ("i",), ("o",))


def program(op: Op, plan: Stationary) -> tuple[Stage, dict[str, Axis]]:
    """The tile program of a plan, and the axes of its PEs."""
    size = dict(op.extents)
    loops: list[TileLoop] = []

    def add(name: str, step: int, axis: str | None = None) -> None:
        loops.append(TileLoop(name, min(step, size[name]), -(-size[name] // step), axis))
        size[name] = min(step, size[name])

    def walk(order: Sequence[str], c: int, k: int, b: int) -> None:
        for name in order:
            add(name, {"c": c, "k": k, "b": b}[name])
            if name == "b":
                add("y", plan.strip)

    walk(plan.order, *plan.outer)
    kept = [0, WRITTEN] if plan.filters_pass else [0, 1, WRITTEN]
    buffers = [Buffer(at, "glb", len(loops), 0) for at in kept]
    walk(plan.inner_order, *plan.inner)
    buffers += [Buffer(0, "array", len(loops), 0, streamed=plan.streams), Buffer(1, "array", len(loops), 0)]
    side = {"g": size["g"], "y": size["y"], "c": plan.r, "k": plan.t}
    for name, copies in side.items():
        add(name, -(-size[name] // copies), f"pe_{name}")
    buffers += [Buffer(0, "rf", len(loops), 0), Buffer(1, "rf", len(loops), 0)]
    add("x", 1)
    buffers.append(Buffer(WRITTEN, "rf", len(loops), 0))
    for name in op.extents:
        add(name, 1)
    axes = {f"pe_{name}": Axis(f"pe_{name}", copies) for name, copies in side.items()}
    return Stage("", op.name, tuple(loops), tuple(buffers), Rect(0, 0, 1, 1)), axes


def counts(shape: Shape, batch: int, plan: Stationary) -> Counts:
    """What the product's cost model counts on a plan, both halves together."""
    graph = layer(shape, batch)
    op = next(graph.nests)
    stage, axes = program(op, plan)
    words = dict.fromkeys(PRICE, 0)
    for link in links(graph, stage, op, axes, lambda name: "dram"):
        for memory, number in _ends(link):
            words[memory] += number
    found = (op.points, words["dram"], words["glb"], words["array"], words["rf"])
    return Counts(*(shape.halves * number for number in found))


def _ends(link: Link) -> Iterator[tuple[str, int]]:
    """(memory, words) that a link is charged for: every access of backing store and buffer, every word that reaches or
    leaves a PE at the array, and every word that arithmetic takes from or gives to the register files."""
    back = link.partial_received
    ends = {link.source: link.sent + (back if link.operand == WRITTEN else 0), link.target: link.received + back}
    at_pe = ends.pop("rf", 0)
    if "" in ends:
        yield "rf", at_pe
    elif at_pe:
        yield "array", at_pe
    yield from ((memory, number) for memory, number in ends.items() if memory in ("dram", "glb"))


def least(shape: Shape, batch: int, array: tuple[int, int], buffer_words: int, register_words: int) -> Stationary:
    """The least-energy plan in the space of the module's first bullet, by enumeration with closed forms."""
    height, width = array
    up, along = max(1, height // shape.f), max(1, width // shape.e)
    folds = -(-shape.e // width)
    fold = -(-folds // min(up, folds))
    up //= min(up, folds)
    strip = -(-shape.e // fold)
    splits = [(r, up // r * along) for r in _divisors(up)]
    trips = {(r, t): -(-shape.c // r) * -(-shape.k // t) for r, t in splits}
    best: tuple[float, Stationary] | None = None
    for (r, t), number in trips.items():
        if number == min(trips.values()):
            for plan in _plans(shape, batch, strip, (r, t), buffer_words, register_words):
                energy = _energy(shape, batch, plan)
                if best is None or energy < best[0]:
                    best = energy, plan
    assert best is not None, "one row of each operand fits"
    return best[1]


def _plans(
    shape: Shape, batch: int, strip: int, sets: tuple[int, int], buffer_words: int, register_words: int
) -> Iterator[Stationary]:
    f, (r, t) = shape.f, sets
    units = (-(-shape.c // r), -(-shape.k // t), batch)
    rows = ((strip - 1) * shape.stride + f) * shape.width
    for c, k, b in product(*map(_divisors, units)):
        outer = c * r, k * t, b
        filters, inputs, outputs = f * f * c * r * k * t, rows * c * r * b, strip * shape.e * k * t * b
        if filters + inputs + outputs > buffer_words:
            continue
        for q, p, n in product(_divisors(c), _divisors(k), _divisors(b)):
            if f * q * p + f * q * n + p * n <= register_words:
                for last, inner_last in product("ckb", "ckb"):
                    yield Stationary(strip, r, t, (q * r, p * t, n), outer, _ending(last), _ending(inner_last))


def _ending(last: str) -> tuple[str, ...]:
    """Loops with `last` innermost: which of the others is outside changes nothing that moves."""
    return next(order for order in permutations("ckb") if order[-1] == last)


def _divisors(number: int) -> list[int]:
    return [at for at in range(1, number + 1) if number % at == 0]


def _energy(shape: Shape, batch: int, plan: Stationary) -> float:
    """Closed form of what differs between plans. Loops over strips count with those over images; partial sums are
    taken to stay where they are while only channels turn, which the exact count does not grant."""
    strips = -(-shape.e // plan.strip)
    whole = {"c": shape.c, "k": shape.k, "b": batch}
    outer = {n: -(-whole[n] // size) for n, size in zip("ckb", plan.outer, strict=True)}
    inner = {n: -(-a // b) for n, a, b in zip("ckb", plan.outer, plan.inner, strict=True)}
    outer["b"] *= strips
    rows = shape.e * shape.stride + strips * (shape.f - shape.stride)
    sizes = (shape.c * shape.width * rows * batch, shape.c * shape.k * shape.f**2, shape.k * shape.e**2 * batch)
    pes = shape.f * shape.e
    handed = (shape.c * shape.width * pes * batch, shape.c * shape.k * shape.f * pes, shape.k * shape.e * pes * batch)
    total = 0.0
    for at, (size, given, other) in enumerate(zip(sizes, handed, "kbc", strict=True)):
        far = outer[other] if _moves(outer, plan.order, other) else 1
        near = far
        if any(inner[n] > 1 for n in inner if n != other):
            near = outer[other] * (inner[other] if _moves(inner, plan.inner_order, other) else 1)
        if at == 2:
            far, near = 2 * far - 1, 2 * near - 1
        total += size * (PRICE["dram"] * far + PRICE["glb"] * near) + PRICE["array"] * given * near
    return total


def _moves(trips: dict[str, int], order: tuple[str, ...], other: str) -> bool:
    """Does a loop inside `other`, or the one beside it, change the operand that `other` does not index?"""
    inside = order[order.index(other) + 1 :]
    return any(trips[name] > 1 for name in inside)


@dataclass(frozen=True)
class Row:
    """One published row: figures of ours and of the source, and in which way ours falls short."""

    id: str
    ours: dict[str, Any]
    reference: dict[str, Any]
    shortfall: str = ""


def isca_rows(anchor: dict[str, Any]) -> Iterator[Row]:
    """Energy by component in 1e9 energies of a multiply-accumulate; arithmetic, DRAM and RF are judged."""
    arch = anchor["arch"]
    buffer_words, register_words = arch["glb_KB"] * 1024 // WORD_BYTES, arch["rf_bytes_per_pe"] // WORD_BYTES
    for name, values in anchor["rows"].items():
        shape = ALEXNET[name]
        found = counts(shape, arch["batch"], least(shape, arch["batch"], arch["pe"], buffer_words, register_words))
        energy = {"alu": found.macs, "dram": PRICE["dram"] * found.dram, "rf": PRICE["rf"] * found.rf,
                  "buffer": PRICE["glb"] * found.glb, "array": PRICE["array"] * found.array}  # fmt: skip
        ours = {key: round(value / 1e9, 3) for key, value in energy.items()}
        reference = dict(zip(anchor["columns"], values, strict=True))
        far = [key for key, value in reference.items() if abs(energy[key] / 1e9 - value) > CLOSE_GIGA]
        yield Row(f"isca2016 {name}", ours, reference, f"{', '.join(far)} off by more than 0.1e9" if far else "")


PUBLISHED = {
    "conv1": Stationary(7, 1, 2, (1, 32, 1), (1, 96, 1), ("b", "k", "c"), ("c", "b", "k"), True, True),
    "conv2": Stationary(27, 1, 1, (2, 16, 1), (2, 64, 1), ("b", "k", "c"), ("c", "b", "k"), True, True),
    "conv3": Stationary(13, 2, 2, (6, 32, 4), (6, 64, 4), ("b", "k", "c"), ("c", "b", "k"), True, True),
    "conv4": Stationary(13, 2, 2, (6, 32, 4), (6, 64, 4), ("b", "k", "c"), ("c", "b", "k"), True, True),
    "conv5": Stationary(13, 2, 2, (6, 32, 4), (6, 64, 4), ("b", "k", "c"), ("c", "b", "k"), True, True),
}
ON_CHIP = {"conv1": Shape(3, 96, 55, 11, 4, 1), "conv3": Shape(256, 384, 13, 3, 1, 1)}  # not divided on the chip


def jssc_rows(anchor: dict[str, Any]) -> Iterator[Row]:
    """MACs, exactly, and bytes at the global buffer of the published mapping at batch 4; DRAM is compressed there."""
    for item in anchor["rows"]:
        name = item["layer"]
        found = counts(ON_CHIP.get(name, ALEXNET[name]), 4, PUBLISHED[name])
        ours = {"macs_M": round(found.macs / 1e6, 2), "buffer_MB": round(found.glb * WORD_BYTES / 1e6, 1),
                "dram_MB": round(found.dram * WORD_BYTES / 1e6, 1)}  # fmt: skip
        reference = {"macs_M": item["macs_M"], "buffer_MB": item["glb_access_MB"], "dram_MB": item["dram_access_MB"]}
        short = "another count of MACs" if abs(ours["macs_M"] - reference["macs_M"]) > 0.05 else ""
        if abs(ours["buffer_MB"] / reference["buffer_MB"] - 1) > CLOSE_SHARE:
            short = "buffer accesses off by more than 10 %"
        yield Row(f"jssc2017 {name}", ours, reference, short)


def tpu_rows(anchor: dict[str, Any]) -> Iterator[Row]:
    """Measured applications lie under the roofline of our baseline `google_tpu_v1`."""
    chip = system("google_tpu_v1")
    peak, rate = dict(chip.peaks)["int8"].value, chip.levels[0].bandwidth
    assert rate is not None
    for item in anchor["rows"]:
        roof = 2 * min(peak, item["macs_per_weight_byte"] * rate.value) / 1e12
        short = "" if item["measured_TOPS"] <= roof else "measured above the roofline"
        yield Row(f"tpu_v1 {item['app']}", {"roofline_TOPS": round(roof, 1)},
                  {"measured_TOPS": item["measured_TOPS"]}, short)  # fmt: skip


def rows_in(content: dict[str, Any]) -> Iterator[Row]:
    """All rows of published anchors."""
    for key, rows in (("eyeriss_isca2016_fig10", isca_rows), ("eyeriss_jssc2017_table5", jssc_rows),
                      ("tpu_v1_roofline", tpu_rows)):  # fmt: skip
        if key in content:
            yield from rows(content[key])


def section(rows: Sequence[Row]) -> str:
    """The section of docs/validation.md."""
    parts = [HEADING, "", f"    python benchmarks/{Path(__file__).name} --write", "", ABOUT, ""]
    for prefix, title in TITLES.items():
        chosen = [row for row in rows if row.id.startswith(prefix)]
        if chosen:
            parts += [title, "", *_table(chosen), ""]
    return "\n".join(parts).rstrip() + "\n"


ABOUT = """Counts of the product's cost model on row-stationary programs of AlexNet (the docstring of
`benchmarks/eyeriss.py` states them), and of the roofline baseline, beside what was published. Each cell is
ours / published; cells with one figure have no published counterpart."""
TITLES = {
    "isca2016": "Eyeriss, ISCA 2016, figure 10: 1e9 energies of a multiply-accumulate, batch 16. Arithmetic, DRAM and "
    "RF within 0.1 are asked.",
    "jssc2017": "Eyeriss, JSSC 2017, table V: batch 4. MACs exactly and buffer accesses within 10 % are asked; DRAM "
    "traffic is compressed on the chip and not in ours.",
    "tpu_v1": "TPU v1, ISCA 2017: tera-operations per second at 8 bit; measured applications lie under the roofline.",
}


def _table(rows: Sequence[Row]) -> list[str]:
    keys = list(dict.fromkeys(key for row in rows for key in (*row.ours, *row.reference)))
    lines = [f"| | {' | '.join(keys)} |", "|---" * (len(keys) + 1) + "|"]
    for row in rows:
        cells = (" / ".join(str(side[key]) for side in (row.ours, row.reference) if key in side) for key in keys)
        lines.append(f"| {row.id.split()[1]} | {' | '.join(cells)} |{row.shortfall}")
    return lines


def replaced(page: str, text: str) -> str:
    """`page` with the section under the same heading replaced, or added at its end."""
    if HEADING not in page:
        return page.rstrip() + "\n\n" + text
    before, rest = page.split(HEADING, 1)
    at = rest.find("\n## ")
    return before + text + ("" if at < 0 else rest[at:])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The cost model beside published accelerators.")
    parser.add_argument("path", nargs="?", type=Path, default=ANCHORS, metavar="PATH")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="put the section into docs/validation.md")
    options = parser.parse_args(arguments)
    rows = list(rows_in(json.loads(options.path.read_text(encoding="utf-8"))))
    if options.write:
        old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Validation\n"
        PAGE.write_text(replaced(old, section(rows)), encoding="utf-8")
    elif options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows]}, indent=1))
    else:
        print(section(rows))
    short = [row for row in rows if row.shortfall]
    print(f"{len(rows)} rows, {len(short)} fall short", file=sys.stderr)
    return SHORT if short else 0


if __name__ == "__main__":
    sys.exit(main())
