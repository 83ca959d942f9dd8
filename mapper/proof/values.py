"""One stage on values: its loops are played, its buffers filled and drained, its body evaluated window by window.

A *window* is the tile that remains below the innermost buffer: there nothing is refilled, so it is evaluated at once.
Before a window is evaluated, each buffer of each read whose fill has ended takes its touched elements from the buffer
that feeds it. Results gather in the innermost buffer of the written tensor and are merged outwards when its fill ends.
Finished elements, and only those, are in the output when the stage ends; operators that read their own output see each
element as soon as it is finished.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mapper import dtypes
from mapper.index import Gathered, loop
from mapper.interpret import evaluate_op, read_values
from mapper.ir import Access, Combiner, Loop, Op
from mapper.mapping import Mapping, Stage
from mapper.scalar import Call, Cast, Const, Counter, Scalar, cast, evaluate
from mapper.violation import Violation

from .chains import UNITS, Feed, feeds
from .held import Held, Window, clipped, poison, shifted, touched
from .merging import Partial, accumulator, empty, merge
from .replay import distinct_elements

__all__ = ["run_stage"]

Array = np.ndarray[Any, Any]
RESULT = "result"


def run_stage(
    mapping: Mapping, stage: Stage, op: Op, homes: dict[str, Held], windows: int
) -> tuple[Held, list[Violation]]:
    """The written tensor, and what was read that was not there. `homes` holds the tensors that the operator reads."""
    play = _Play(mapping, stage, op, homes)
    depth = _window_depth(stage, op, windows)
    for steps, tiles in _walk(stage, op, depth):
        play.window(steps, tiles)
    return play.finish(), play.missing


def _window_depth(stage: Stage, op: Op, windows: int) -> int:
    """Loops to step one by one: down to the innermost buffer, as far as `windows` allow, and in any case down to every
    ordered loop and every loop that does not visit all of its tile."""
    ordered = {each.name for each in op.loops if each.ordered}
    size, least = dict(op.extents), 0
    for at, tile in enumerate(stage.loops):
        if tile.loop in ordered or tile.trips * tile.step < size[tile.loop]:
            least = at + 1
        size[tile.loop] = min(size[tile.loop], tile.step)
    if any(left > 1 for left in size.values()):
        return len(stage.loops)
    wanted = max([least, *(b.depth for b in stage.buffers)])
    while wanted > least and math.prod(tile.trips for tile in stage.loops[:wanted]) > windows:
        wanted -= 1
    return wanted


def _walk(stage: Stage, op: Op, depth: int) -> Iterator[tuple[tuple[int, ...], list[Window]]]:
    """Steps of the first `depth` loops in their order, with the tile that is left below each of them; below all loops
    it is a point."""

    def down(at: int, steps: tuple[int, ...], tiles: list[Window]) -> Iterator[tuple[tuple[int, ...], list[Window]]]:
        if at == depth:
            last = tiles[-1]
            points = {name: (low, min(low + 1, high)) for name, (low, high) in last.items()}
            yield steps, [*tiles[:-1], points if at == len(stage.loops) else last]
            return
        tile = stage.loops[at]
        low, high = tiles[-1][tile.loop]
        for number in range(tile.trips):
            start = low + number * tile.step
            if start < high:
                inner = {**tiles[-1], tile.loop: (start, min(start + tile.step, high))}
                yield from down(at + 1, (*steps, number), [*tiles, inner])

    yield from down(0, (), [{name: (0, extent) for name, extent in op.extents.items()}])


@dataclass
class _Play:
    """The state of a stage while it runs: contents of buffers by (link, instance), results under way, tail reads."""

    mapping: Mapping
    stage: Stage
    op: Op
    homes: dict[str, Held]
    missing: list[Violation] = field(default_factory=list)
    contents: dict[tuple[int, tuple[int, ...]], tuple[tuple[int, ...], Held]] = field(default_factory=dict)
    results: dict[tuple[int, tuple[int, ...]], tuple[tuple[int, ...], Partial]] = field(default_factory=dict)
    tails: dict[int, Array] = field(default_factory=dict)
    finished: Held | None = None
    ordered_at: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        self.feeds = feeds(self.mapping, self.stage, self.op)
        self.target = self.mapping.graph.tensor(self.op.write.tensor)
        self.total = empty(self.op, tuple(slice(0, n) for n in self.target.shape), self.target.dtype)
        points = math.prod(self.op.extents[name] for name in self.op.output_loops)
        self.collide = distinct_elements(self.op, self.op.write, self.target.shape) != points

    # reading ---------------------------------------------------------------------------------------------------------

    def window(self, steps: tuple[int, ...], tiles: list[Window]) -> None:
        """Fill what must be filled, evaluate the window, leave its results in the innermost buffer."""
        self._publish(tiles[-1])
        reads = [self._supply(operand, steps, tiles) for operand in range(len(self.op.reads))]
        self._keep_tails(reads, tiles[-1])
        part = self._evaluate(reads, tiles[-1])
        self._deliver(part, reads, steps, tiles)

    def _supply(self, operand: int, steps: tuple[int, ...], tiles: list[Window]) -> Held:
        """The innermost buffer's content for one read, after the fills that are due."""
        access = self.op.reads[operand]
        if access.tensor == self.op.write.tensor:
            assert self.finished is not None
            return self.finished
        held = self.homes[access.tensor]
        for number, feed in enumerate(self.feeds):
            if feed.operand == operand and feed.buffer.memory != UNITS and feed.buffer.depth <= len(steps):
                held = self._fill(number, feed, held, steps, tiles[feed.buffer.depth])
        return held

    def _fill(self, number: int, feed: Feed, source: Held, steps: tuple[int, ...], tile: Window) -> Held:
        place = (number, self._instance(feed, steps))
        due = self._fill_number(feed, steps)
        known = self.contents.get(place)
        if known is None or known[0] != due:
            access = self.op.reads[feed.operand]
            tensor = self.mapping.graph.tensor(access.tensor)
            box, masks = touched(feed.groups, access, tensor.shape, tile)
            self.contents[place] = (due, clipped(source, box, masks, tensor.dtype))
        return self.contents[place][1]

    def _instance(self, feed: Feed, steps: tuple[int, ...]) -> tuple[int, ...]:
        spatial = (at for at in range(feed.buffer.depth) if self.stage.loops[at].axis is not None)
        return tuple(steps[at] for at in spatial)

    def _fill_number(self, feed: Feed, steps: tuple[int, ...]) -> tuple[int, ...]:
        temporal = (at for at in range(feed.last + 1) if self.stage.loops[at].axis is None)
        return tuple(steps[at] for at in temporal)

    # computing -------------------------------------------------------------------------------------------------------

    def _evaluate(self, reads: list[Held], window: Window) -> Partial:
        """The body over the window, reducing loops folded; one axis per output loop."""
        op, names = self.op, [each.name for each in self.op.loops if each.name in self.op.output_loops]
        shape = tuple(_size(window, name) for name in names)
        points = math.prod(_size(window, n) for n in op.extents if n not in op.output_loops)
        merged = np.full(shape, points if self._all_there(reads, window) else 0, np.int64)
        kind = accumulator(op, self.target.dtype)
        winner = np.zeros(shape, np.int64)
        if op.combiner is not None and op.combiner.kind.startswith("arg"):
            over = op.combiner.over or ""
            winner = self._windowed(reads, window, names, op.combiner, "int64") + window[over][0]
            best: Any = "max" if op.combiner.kind.startswith("argmax") else "min"
            values = self._windowed(reads, window, names, Combiner(best, kind), kind)
        else:
            values = self._windowed(reads, window, names, op.combiner, kind)
        return Partial((0,) * len(shape), values, winner, merged)

    def _windowed(
        self, reads: list[Held], window: Window, names: list[str], combiner: Combiner | None, dtype: str
    ) -> Array:
        """The operator restricted to the window, without its tail, reading from what its buffers hold."""
        accesses = tuple(
            replace(shifted(access, window, held.low), tensor=str(i))
            for i, (access, held) in enumerate(zip(self.op.reads, reads, strict=True))
        )
        loops = tuple(Loop(each.name, _size(window, each.name)) for each in self.op.loops)
        body = _from(self.op.body, window)
        op = Op("window", "", loops, accesses, Access(RESULT, tuple(loop(n) for n in names)), body, combiner)
        arrays = {str(i): held.values for i, held in enumerate(reads)}
        return evaluate_op(op, arrays, tuple(_size(window, n) for n in names), dtype)

    def _all_there(self, reads: list[Held], window: Window) -> bool:
        """Is every element that the window reads where it reads it? Says so if not."""
        found = True
        for operand, (access, held) in enumerate(zip(self.op.reads, reads, strict=True)):
            if operand in self.op.body_reads and not held.there.all():
                there = self._read(replace(access, fill=1), held.low, held.there, reads, window)
                if not bool(there.all()):
                    found = False
                    self._miss(operand, window)
        return found

    def _miss(self, operand: int, window: Window) -> None:
        if len(self.missing) < 10:
            tile = ", ".join(f"{name} {low}-{high - 1}" for name, (low, high) in window.items())
            self.missing.append(
                Violation("presence", f"stage {self.stage.name!r}, operand {operand}",
                          f"an element of {self.op.reads[operand].tensor!r} that was never filled in, at {tile}",
                          "every element that is read to be there")
            )  # fmt: skip

    def _read(self, access: Access, low: tuple[int, ...], array: Array, reads: list[Held], window: Window) -> Array:
        """Values that an access delivers over the window from a box that starts at `low`."""
        axes = tuple(each.name for each in self.op.loops)
        local = {name: (0, high - first) for name, (first, high) in window.items()}
        earlier: list[Array] = []
        for other, held in zip(self.op.reads, reads, strict=True):
            if any(index.gathered for index in access.index):
                gathered = shifted(other, window, held.low)
                earlier.append(read_values(gathered, held.values, axes, local, earlier))
        return read_values(shifted(access, window, low), array, axes, local, earlier)

    # writing ---------------------------------------------------------------------------------------------------------

    def _deliver(self, part: Partial, reads: list[Held], steps: tuple[int, ...], tiles: list[Window]) -> None:
        """Drain buffers whose fill has ended, innermost first, and merge the window into the innermost one."""
        links = [(n, f) for n, f in enumerate(self.feeds)
                 if f.written and f.buffer.memory != UNITS and f.buffer.depth <= len(steps)]  # fmt: skip
        for number, feed in reversed(links):
            known = self.results.get((number, self._instance(feed, steps)))
            if known is not None and known[0] != self._fill_number(feed, steps):
                self._drain(number, self._instance(feed, steps))
        into = self.total
        for number, feed in links:
            place = (number, self._instance(feed, steps))
            if place not in self.results:
                box, _ = touched(feed.groups, self.op.write, self.target.shape, tiles[feed.buffer.depth])
                self.results[place] = (self._fill_number(feed, steps), empty(self.op, box, self.target.dtype))
            into = self.results[place][1]
        at, inside = self._written(reads, tiles[-1], into.low)
        merge(self.op, into, at, replace(part, merged=part.merged * inside), self.collide)

    def _drain(self, number: int, instance: tuple[int, ...]) -> None:
        """Merge one buffer into the buffer outside it, or home; first all buffers inside that drain into it."""
        for inner in [key for key in self.results if key[0] == number + 1 and key[1][: len(instance)] == instance]:
            self._drain(*inner)
        _, part = self.results.pop((number, instance))
        outer = self._outer(number, instance)
        corner = (a - low for a, low in zip(part.low, outer.low, strict=True))
        box = tuple(slice(at, at + n) for at, n in zip(corner, part.values.shape, strict=True))
        merge(self.op, outer, box, part)

    def _outer(self, number: int, instance: tuple[int, ...]) -> Partial:
        """The buffer outside, in the instance that serves this one; home if there is none."""
        before = self.feeds[number - 1]
        if number == 0 or not before.written:
            return self.total
        spatial = sum(tile.axis is not None for tile in self.stage.loops[: before.buffer.depth])
        return self.results[number - 1, instance[:spatial]][1]

    def _written(self, reads: list[Held], window: Window, low: tuple[int, ...]) -> tuple[tuple[Any, ...], Any]:
        """Coordinates that the window's output points write, counted from `low`, and which of them are written."""
        names = [each.name for each in self.op.loops if each.name in self.op.output_loops]
        grid = np.indices([_size(window, n) for n in names], sparse=True) if names else ()
        values = {n: g + window[n][0] for n, g in zip(names, grid, strict=True)}

        def gathered(atom: Gathered) -> Array:
            position = np.asarray(self._gathering(atom.read, reads, window)).astype(np.int64)
            return np.where(position < 0, position + atom.extent, position)

        at = [np.asarray(i.at(values, gathered)) for i in self.op.write.index]
        inside: Any = np.ones((), bool)
        for place, extent in zip(at, self.target.shape, strict=True):
            inside = inside & (place >= 0) & (place < extent)
        for guard in self.op.write.guards:
            inside = inside & (guard.at(values, gathered) >= 0)
        kept = (np.clip(p, 0, n - 1) - origin for p, n, origin in zip(at, self.target.shape, low, strict=True))
        return tuple(kept), inside

    def _gathering(self, read: int, reads: list[Held], window: Window) -> Array:
        """Positions that a read delivers, over the output loops."""
        values = self._read(self.op.reads[read], reads[read].low, reads[read].values, reads, window)
        keep = tuple(slice(None) if each.name in self.op.output_loops else 0 for each in self.op.loops)
        return values[keep]

    # finishing -------------------------------------------------------------------------------------------------------

    def _keep_tails(self, reads: list[Held], window: Window) -> None:
        """What the tail reads is delivered while reducing loops stand at their first step."""
        if any(window[n][0] for n in self.op.extents if n not in self.op.output_loops):
            return
        for operand in sorted(self.op.tail_reads):
            access, held = self.op.reads[operand], reads[operand]
            if not bool(self._read(replace(access, fill=1), held.low, held.there, reads, window).all()):
                self._miss(operand, window)
                continue
            values = self._read(access, held.low, held.values, reads, window)
            names = [each.name for each in self.op.loops]
            shape = [self.op.extents[n] if values.shape[i] > 1 or n in access.loops else 1 for i, n in enumerate(names)]
            if operand not in self.tails:
                dtype = self.mapping.graph.tensor(access.tensor).dtype
                self.tails[operand] = np.full(shape, poison(dtype))
            box = tuple(slice(*window[n]) if shape[i] > 1 else slice(None) for i, n in enumerate(names))
            first = tuple(slice(None) if n in self.op.output_loops else slice(0, 1) for n in names)
            self.tails[operand][box] = values[first]

    def _publish(self, window: Window) -> None:
        """For operators that read their own output: finished elements appear when an ordered loop steps on."""
        if all(read.tensor != self.op.write.tensor for read in self.op.reads):
            return
        now = tuple(window[each.name][0] for each in self.op.loops if each.ordered)
        if self.finished is None or now != self.ordered_at:
            self.ordered_at, self.finished = now, self.finish()

    def finish(self) -> Held:
        """Drain everything; elements that all their iterations have reached are finished, the others poison."""
        while self.results:
            self._drain(*min(self.results))
        whole = {name: (0, extent) for name, extent in self.op.extents.items()}
        nothing = Held((), np.zeros(()), np.zeros((), bool))
        reads = [self.homes.get(read.tensor, nothing) for read in self.op.reads]
        at, inside = self._written(reads, whole, (0,) * len(self.target.shape))
        there = self.total.merged == self._expected(at, inside)
        values = self._final(at, inside)
        values[~there] = poison(self.target.dtype)
        return Held((0,) * values.ndim, values, there)

    def _expected(self, at: tuple[Any, ...], inside: Any) -> Array:
        """Iterations that write each element."""
        op, expected = self.op, np.zeros(self.target.shape, np.int64)
        shape = tuple(each.extent for each in op.loops if each.name in op.output_loops)
        each = math.prod(n for name, n in op.extents.items() if name not in op.output_loops)
        where = np.broadcast_to(inside, shape)
        np.add.at(expected, tuple(np.broadcast_to(i, shape)[where] for i in at), each)
        if op.combiner is None and self.collide:  # the last writer wins, however many there are
            return np.where(expected > 0, self.total.merged.clip(1), 0)
        return expected

    def _final(self, at: tuple[Any, ...], inside: Any) -> Array:
        """Output values: combined ones through the tail, in the output's type."""
        op, dtype = self.op, self.target.dtype
        arg = op.combiner is not None and op.combiner.kind.startswith("arg")
        held = self.total.winner if arg else self.total.values
        if op.tail is None:
            values: Array = np.array(cast(held, dtype))
            return values
        names = [each.name for each in op.loops if each.name in op.output_loops]
        keep = tuple(slice(None) if each.name in op.output_loops else 0 for each in op.loops)
        args = [
            self.tails[i][keep] if i in self.tails else np.array(poison(self._dtype(i))) for i in range(len(op.reads))
        ]
        grid = np.indices([op.extents[n] for n in names], sparse=True) if names else ()
        result = cast(evaluate(op.tail, args, held[at], dict(zip(names, grid, strict=True))), dtype)
        shape = tuple(op.extents[n] for n in names)
        if not at:  # a single number
            return np.asarray(result).reshape(())
        found = np.zeros(self.target.shape, dtypes.numpy_type(dtype))
        where = np.broadcast_to(inside, shape)
        found[tuple(np.broadcast_to(i, shape)[where] for i in at)] = np.broadcast_to(result, shape)[where]
        return found

    def _dtype(self, read: int) -> str:
        return self.mapping.graph.tensor(self.op.reads[read].tensor).dtype


def _size(window: Window, name: str) -> int:
    return window[name][1] - window[name][0]


def _from(body: Scalar, window: Window) -> Scalar:
    """The body with counters that start at the window's."""
    if isinstance(body, Counter):
        return Call("add", (body, Const(window[body.loop][0])))
    if isinstance(body, Cast):
        return Cast(body.dtype, _from(body.value, window), body.saturate)
    if isinstance(body, Call):
        return Call(body.function, tuple(_from(a, window) for a in body.args))
    return body
