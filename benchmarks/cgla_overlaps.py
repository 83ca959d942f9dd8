"""What windows load twice on the row array: the most that sliding windows (`mapdist`) could save.

    python benchmarks/cgla_overlaps.py MODEL ... [--machine imax3:lmm=32KiB]

A window's index adds two loops, so slices of neighbouring rows, and of one step of the host's loops and the next,
overlap. Of each operand that a stage brings in, its bytes are compared with what they would be if (1) overlaps of one
fill were sent once to all rows, (2) besides, nothing that a step brought to a lane came again while only the loops of
that window advance. (2) is more than the ring shift can give, which keeps what the last step left and moves by whole
rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from math import prod

import mapper
from mapper import dtypes
from mapper.backends.cgla.network.runs import groups
from mapper.footprint import Component
from mapper.ir import Op
from mapper.mapping import WRITTEN, Mapping, Stage, TileLoop
from mapper.result import ModelResult
from mapper.traffic import links

Box = dict[str, range]


def boxes(loops: list[TileLoop], whole: Box) -> Iterator[tuple[tuple[int, ...], Box]]:
    """Every position of the tile loops, with the iterations that are left of each operator loop."""
    if not loops:
        yield (), whole
        return
    tile, *rest = loops
    for number, start in enumerate(range(whole[tile.loop].start, whole[tile.loop].stop, tile.step)):
        part = range(start, min(start + tile.step, whole[tile.loop].stop))
        yield from (((number, *at), box) for at, box in boxes(rest, whole | {tile.loop: part}))


def elements(group: Component, box: Box) -> set[int]:
    """What a window of two loops touches inside its dimension."""
    ((index, extent),) = group.dimensions
    first, second = group.loops
    values = (index.at({first: a, second: b}) for a in box[first] for b in box[second])
    return {value for value in values if 0 <= value < extent}


def window_counts(op: Op, loops: list[TileLoop], group: Component) -> tuple[int, int, int]:
    """Elements of a window's dimension over all steps: as loaded, overlaps of a fill once, and of all steps once."""
    loaded, fills, lanes = 0, dict[tuple[int, ...], set[int]](), dict[tuple[int, ...], set[int]]()
    whole = {name: range(op.extents[name]) for name in group.loops}
    for at, box in boxes(loops, whole):
        touched = elements(group, box)
        loaded += len(touched)
        lane = tuple(n for n, tile in zip(at, loops, strict=True) if tile.axis == "lane")
        step = tuple(n for n, tile in zip(at, loops, strict=True) if tile.axis in (None, "lane"))
        fills.setdefault(step, set()).update(touched)
        lanes.setdefault(lane, set()).update(touched)
    return loaded, sum(map(len, fills.values())), sum(map(len, lanes.values()))


def windows(op: Op, group: Component) -> bool:
    return len(group.dimensions) == 1 and len(group.loops) == 2 and not group.gathered


def saved_bytes(mapping: Mapping, stage: Stage, op: Op) -> tuple[float, float, float]:
    """Bytes of a stage, and what of them (1) and (2) would save."""
    graph, axes = mapping.graph, {axis.name: axis for axis in mapping.axes}
    moved = once = kept = 0.0
    for link in links(graph, stage, op, axes, lambda name: mapping.home(graph.root(name))):
        access = op.write if link.operand == WRITTEN else op.reads[link.operand]
        tensor = graph.tensor(access.tensor)
        if "dram" not in (link.source, link.target):
            continue
        count = dtypes.bytes_of(link.sent if link.source == "dram" else link.received, tensor.dtype)
        moved += count
        if link.operand == WRITTEN:
            continue
        depth = min(b.depth for b in stage.buffers if b.operand == link.operand)
        parts = [g for g in groups(op, access, tensor.shape) if windows(op, g)]
        counts = [window_counts(op, [t for t in stage.loops[:depth] if t.loop in g.loops], g) for g in parts]
        once += count * (1 - prod(fill / max(1, all_) for all_, fill, _ in counts))
        kept += count * (1 - prod(lane / max(1, all_) for all_, _, lane in counts))
    return moved, once, kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--machine", default="imax3")
    asked = parser.parse_args()
    for name in asked.models:
        found = mapper.compile(f"zoo:{name}", "cgla", asked.machine)
        assert isinstance(found, ModelResult)
        ops = {op.name: op for op in found.mapping.graph.nests}
        rows = [saved_bytes(found.mapping, stage, ops[stage.op]) for stage in found.mapping.stages]
        moved, once, kept = (sum(column) for column in zip(*rows, strict=True))
        print(f"{name} on {asked.machine}: {moved / 1e6:,.0f} MB; overlaps of a fill once saves {once / moved:.1%}, "
              f"of all steps {kept / moved:.1%}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
