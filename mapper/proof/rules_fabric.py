"""The fabric: rectangles, loop bodies, routes, and time that bandwidth and initiation intervals allow."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from mapper.check_kernel import check_kernel
from mapper.check_rows import check_rows, rows_used
from mapper.ir import Op
from mapper.mapping import Mapping, Rect, Route, Stage
from mapper.placement import KernelMapping
from mapper.violation import Violation

from .replay import distinct_elements, iterations
from .stacked import turns
from .tally import MemoryCount

__all__ = ["bodies", "rectangles", "routes", "time"]

Place = tuple[int, int]


def rectangles(mapping: Mapping) -> Iterator[Violation]:
    """Rectangles lie inside the fabric and its lanes, avoid dead PEs, and do not overlap where stages run at once."""
    fabric, lanes = mapping.machine.fabric, mapping.machine.setting("lanes", 1)
    for stage in mapping.stages:
        rect, subject = stage.rect, f"stage {stage.name!r}"
        inside = rect.row >= 0 <= rect.column and rect.height > 0 < rect.width
        inside = inside and rect.row + rect.height <= fabric.rows and rect.column + rect.width <= fabric.columns
        if not inside:
            yield Violation("rectangles", subject, _words(rect), f"inside {fabric.rows} x {fabric.columns} PEs")
        if not (rect.lane >= 0 and rect.lanes > 0 and rect.lane + rect.lanes <= lanes):
            yield Violation(
                "rectangles", subject, f"lanes {rect.lane} to {rect.lane + rect.lanes - 1}", f"{lanes} lanes"
            )
        dead = sorted(place for place in fabric.dead if _covers(rect, place))
        if dead:
            yield Violation("rectangles", subject, f"{_words(rect)} with dead PE {dead[0]}", "working PEs only")
    if mapping.schedule == "pipeline":
        yield from _apart(mapping)


def _words(rect: Rect) -> str:
    return f"{rect.height} x {rect.width} PEs from ({rect.row}, {rect.column})"


def _covers(rect: Rect, place: Place) -> bool:
    row, column = place
    return rect.row <= row < rect.row + rect.height and rect.column <= column < rect.column + rect.width


def _apart(mapping: Mapping) -> Iterator[Violation]:
    """No PE belongs to two stages: sweep over the rows, comparing rectangles that are open at once."""
    open_: list[Stage] = []
    for stage in sorted(mapping.stages, key=lambda s: s.rect.row):
        open_ = [other for other in open_ if other.rect.row + other.rect.height > stage.rect.row]
        for other in open_:
            if _meet(stage.rect, other.rect):
                found = f"{_words(stage.rect)} and {_words(other.rect)}"
                yield Violation("rectangles", f"stages {other.name!r} and {stage.name!r}", found, "no PE in both")
        open_.append(stage)


def _meet(a: Rect, b: Rect) -> bool:
    rows = a.row < b.row + b.height and b.row < a.row + a.height
    columns = a.column < b.column + b.width and b.column < a.column + a.width
    return rows and columns and a.lane < b.lane + b.lanes and b.lane < a.lane + a.lanes


def bodies(mapping: Mapping) -> Iterator[Violation]:
    """Stages point at bodies that exist and fit their rectangles, and each body is legal on this fabric."""
    for stage in mapping.stages:
        for role, body in (("body", stage.body), ("tail", stage.tail)):
            if body is not None and not 0 <= body < len(mapping.bodies):
                yield Violation("bodies", f"stage {stage.name!r}", f"{role} {body}", f"0 to {len(mapping.bodies) - 1}")
            elif body is not None and not _fits(mapping, mapping.bodies[body], stage.rect):
                yield Violation(
                    "bodies", f"stage {stage.name!r}", f"{role} {body}", f"one that fits {_words(stage.rect)}"
                )
    for number, body_ in enumerate(mapping.bodies):
        for v in _judge(mapping, body_):
            yield Violation(v.rule, f"body {number}, {v.subject}", v.found, v.expected)


def _fits(mapping: Mapping, body: KernelMapping, rect: Rect) -> bool:
    """Is the rectangle as high as the body? On grids `displaced.py` asks more: its very PEs."""
    return mapping.machine.fabric.topology != "line" or rows_used(body) <= rect.height


def _judge(mapping: Mapping, body: KernelMapping) -> tuple[Violation, ...]:
    """What the checker of loop bodies for this kind of fabric finds."""
    if mapping.machine.fabric.topology != "line":
        return check_kernel(body, mapping.machine.fabric)
    return check_rows(body)


def routes(mapping: Mapping) -> Iterator[Violation]:
    """Routes join known stages by trees of existing links, carry what is read, and share no colour in a router."""
    stages = {stage.name: stage for stage in mapping.stages}
    for number, route in enumerate(mapping.routes):
        subject = f"route {number} ({route.tensor!r})"
        unknown = [name for name in (route.source, *_targets(route)) if name and name not in stages]
        if unknown:
            yield Violation("routes", subject, f"stage {unknown[0]!r}", "a stage of the mapping")
            continue
        if len(set(_targets(route))) < len(_targets(route)):
            yield Violation("routes", subject, f"targets {', '.join(_targets(route))}", "each stage once")
        yield from _links(mapping, route, subject)
        for lane, links in enumerate(_lanes(route)):
            each = replace(route, links=links)
            named = subject if lane == 0 else f"{subject}, lane {lane}"
            yield from _tree(mapping, each, named, stages)
            yield from _arrival(mapping, each, named, stages)
        yield from _volume(mapping, route, subject, stages)
    yield from _colours(mapping)


def _targets(route: Route) -> tuple[str, ...]:
    return (route.target, *route.also)


def _lanes(route: Route) -> Iterator[tuple[tuple[Place, Place], ...]]:
    """The links of each lane of a bundle: the tree displaced by the stride."""
    for lane in range(route.lanes):
        down, right = lane * route.stride[0], lane * route.stride[1]
        yield tuple(((a + down, b + right), (c + down, d + right)) for (a, b), (c, d) in route.links)


def _links(mapping: Mapping, route: Route, subject: str) -> Iterator[Violation]:
    """Every link of every lane joins neighbouring, working PEs."""
    if route.lanes < 1 or (route.lanes > 1 and route.stride == (0, 0)):
        found = f"{route.lanes} lanes, displaced by {route.stride}"
        yield Violation("routes", subject, found, "at least one lane, each in a place of its own")
    for links in _lanes(route):
        for here, there in links:
            if not _neighbours(mapping, here, there):
                found = f"link {here} to {there}"
                yield Violation("routes", subject, found, "a link of the fabric between working PEs")


def _tree(mapping: Mapping, route: Route, subject: str, stages: dict[str, Stage]) -> Iterator[Violation]:
    """Every link starts where the value is: in the source, at the edge, or where an earlier link ended."""
    reached: set[Place] = set()
    for here, there in route.links:
        rooted = _covers(stages[route.source].rect, here) if route.source else _at_edge(mapping, here)
        if here not in reached and not rooted:
            origin = f"stage {route.source!r}" if route.source else "the edge"
            yield Violation("routes", subject, f"link {here} to {there} starts nowhere", f"a path from {origin}")
        if there in reached:
            yield Violation("routes", subject, f"two links into {there}", "a tree")
        reached.add(there)


def _arrival(mapping: Mapping, route: Route, subject: str, stages: dict[str, Stage]) -> Iterator[Violation]:
    """Every target is reached by a link, or (without links) lies on the source's own PEs."""
    fabric = mapping.machine.fabric
    places = {place for link in route.links for place in link}
    for name in _targets(route):
        if name and route.links:
            arrived = any(_covers(stages[name].rect, place) for place in places)
        elif name:
            arrived = not route.source or _meet(stages[route.source].rect, stages[name].rect)
        else:
            rect = stages[route.source].rect if route.source else Rect(0, 0, 1, 1)
            arrived = any(_at_edge(mapping, place) for place in places) if places else _touches_edge(mapping, rect)
        if not arrived:
            target = f"stage {name!r}" if name else f"the edge of {fabric.rows} x {fabric.columns} PEs"
            found = f"ends at {route.links[-1][1]}" if route.links else "no links"
            yield Violation("routes", subject, found, f"a path to {target}")


def _neighbours(mapping: Mapping, here: Place, there: Place) -> bool:
    """Does a link lead from one working PE to the other? Decided by their distance, whatever the fabric's size."""
    fabric = mapping.machine.fabric
    for row, column in (here, there):
        if not (0 <= row < fabric.rows and 0 <= column < fabric.columns) or (row, column) in fabric.dead:
            return False
    down, right = there[0] - here[0], there[1] - here[1]
    if fabric.topology == "line":
        return down == 1
    if fabric.topology == "torus":
        down, right = min(down % fabric.rows, -down % fabric.rows), min(right % fabric.columns, -right % fabric.columns)
    reach = (abs(down), abs(right))
    return reach in {"king": ((0, 1), (1, 0), (1, 1)), "onehop": ((0, 1), (1, 0), (0, 2), (2, 0))}.get(
        fabric.topology, ((0, 1), (1, 0))
    )


def _at_edge(mapping: Mapping, place: Place) -> bool:
    fabric = mapping.machine.fabric
    return place[0] in (0, fabric.rows - 1) or place[1] in (0, fabric.columns - 1)


def _touches_edge(mapping: Mapping, rect: Rect) -> bool:
    fabric = mapping.machine.fabric
    far = rect.row + rect.height == fabric.rows or rect.column + rect.width == fabric.columns
    return rect.row == 0 or rect.column == 0 or far


def _volume(mapping: Mapping, route: Route, subject: str, stages: dict[str, Stage]) -> Iterator[Violation]:
    """The tensor is written by the source and read by the targets, and travels whole at least once."""
    graph = mapping.graph
    if route.tensor not in {tensor.name for tensor in graph.tensors}:
        yield Violation("routes", subject, f"tensor {route.tensor!r}", "a tensor of the graph")
        return
    ops, root = {op.name: op for op in graph.ops}, graph.root(route.tensor)
    ends = [(route.source, "outputs", "writes"), *((name, "inputs", "reads") for name in _targets(route))]
    for name, tensors, verb in ends:
        if name and root not in {graph.root(t) for t in getattr(ops[stages[name].op], tensors)}:
            yield Violation("routes", subject, f"stage {name!r}", f"a stage that {verb} the tensor")
    whole = graph.tensor(route.tensor).bytes
    least = max(_read_once(mapping, route.tensor, stages[name]) if name else whole for name in _targets(route))
    if route.bytes < least:
        asked = "what the consumer reads once" if all(_targets(route)) else "the whole result"
        yield Violation("routes", subject, f"{route.bytes} bytes", f"{least}, {asked}")


def _read_once(mapping: Mapping, name: str, target: Stage) -> int:
    """Bytes of the tensor that the target touches at least once."""
    graph = mapping.graph
    op = next(op for op in graph.nests if op.name == target.op)
    tensor = graph.tensor(name)
    reads = [r for r in op.reads if graph.root(r.tensor) == graph.root(name)]
    touched = [distinct_elements(op, r, graph.tensor(r.tensor).shape) for r in reads]
    return math.floor(max(touched, default=0) * tensor.bytes / tensor.elements) if tensor.elements else 0


def _colours(mapping: Mapping) -> Iterator[Violation]:
    """In each router a colour belongs to one route, and there are only as many as the links have."""
    limit = mapping.machine.links.colours
    if limit is None:
        return
    holder: dict[tuple[Place, int], int] = {}
    for number, route in enumerate(mapping.routes):
        subject = f"route {number} ({route.tensor!r})"
        if not 0 <= route.colour < limit:
            yield Violation("colours", subject, f"colour {route.colour}", f"0 to {limit - 1}")
        for place in dict.fromkeys(place for links in _lanes(route) for link in links for place in link):
            other = holder.setdefault((place, route.colour), number)
            if other != number:
                found = f"colour {route.colour} at {place} held by route {other} too"
                yield Violation("colours", subject, found, "a colour of its own")


def time(mapping: Mapping, stage: Stage, op: Op, moved: tuple[MemoryCount, ...]) -> Iterator[Violation]:
    """A stage takes II cycles per run of its body and of its tail, and no memory delivers faster than its bandwidth."""
    subject = f"stage {stage.name!r}"
    busy: dict[str, int] = defaultdict(int)
    for phase in stage.phases:
        if phase.cycles < 0 or phase.times < 0:
            yield Violation(
                "time", f"{subject}, phase {phase.name!r}", f"{phase.times} x {phase.cycles}", "no negatives"
            )
        busy[phase.resource] += phase.cycles * phase.times
    if stage.body is not None:
        runs = ((stage.body, frozenset(op.extents), 1), (stage.tail, op.output_loops, turns(mapping, stage)))
        least = sum(
            mapping.bodies[body].ii * iterations(stage, op, loops) * times
            for body, loops, times in runs
            if body is not None
        )
        working = {phase.resource for phase in stage.phases if phase.name.lower() == "exec"} or busy.keys()
        longest = max((busy[resource] for resource in working), default=0)
        if longest < least:
            found = f"at most {longest} cycles of execution"
            yield Violation("time", subject, found, f"{least} cycles: initiation interval x iterations")
    total = max(busy.values(), default=0) if stage.overlap else sum(busy.values())
    for count, memory in zip(moved, mapping.machine.memories, strict=True):
        if memory.bytes_per_cycle:
            least = math.ceil(max(count.read_bytes, count.write_bytes) / (memory.bytes_per_cycle * memory.instances))
            if total < least:
                yield Violation("time", f"{subject}, memory {memory.name!r}", f"{total} cycles",
                                f"{least}, which its bandwidth needs for {count.read_bytes} bytes read and "
                                f"{count.write_bytes} written")  # fmt: skip
