"""A network on the wafer: all operators at once as a pipeline, or one after the other with their weights streamed past.

Pipeline: every stage gets a rectangle of its own (`sizing`, `floorplan`), every tensor is routed (`routing`), weights
stay. Streamed: each stage has the whole wafer for a while; activations stay spread over the wafer, weights come in from
outside at every inference. A model that fits is pipelined.

The objective is the interval between inferences: the slowest stage, or the wafer's off-wafer traffic, or the hottest
link. Its bound is that of `sizing.bound_cycles`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mapper import dtypes
from mapper.cost import cost, stage_cycles
from mapper.guarantees import movement_outcome
from mapper.ir import Graph, Opaque
from mapper.machine import Machine
from mapper.mapping import Axis, HostCall, Infeasible, Mapping, Phase, Rect, Route, Stage
from mapper.request import Incumbent, Request, Solved
from mapper.solver import Outcome
from mapper.traffic import links

from .floorplan import pack
from .flow import Flow
from .improve import improved
from .latency import latency_cycles
from .packing import Box, Floor
from .program import Cuts, stage_of
from .refine import Effort, tightened
from .routing import Bundle, Mesh, hottest_words, route_all
from .sizing import Plan, Sized, bound_cycles, cuts_in, size
from .slide import slid
from .table import Cores
from .wires import Wires, wires_of
from .work import work_of

__all__ = ["solve_network"]

EDGES = {"fast": (1.0,), "default": (1.0, 2.0), "max": (1.0, 1.5, 2.0, 3.0, 4.0)}
EFFORTS = {"fast": (0, 0, 0.0), "default": (100_000, 8, 0.3), "max": (1_000_000, 400, 2.0)}
ENOUGH = 1.1  # links that take this much longer than the slowest stage are no reason to plan again
COLOURS = 64  # where a machine sets no limit


@dataclass(frozen=True)
class _Problem:
    """The graph on the machine, seen as stages."""

    flow: Flow
    machine: Machine
    sized: Sized

    @property
    def off_wafer_cycles(self) -> float:
        """Cycles in which the wafer takes in and gives out what one inference needs."""
        return max(self.flow.off_wafer_bytes) / (self.machine.memories[0].bytes_per_cycle or math.inf)


@dataclass(frozen=True)
class _Layout:
    """A pipeline on the mesh: what each stage is cut into, where it stands, how its tensors travel."""

    target_cycles: float
    choices: tuple[Cuts, ...]
    boxes: tuple[Box, ...]
    mesh: Mesh
    bundles: tuple[Bundle, ...]

    @property
    def interval_cycles(self) -> float:
        return max(float(self.mesh.load.max()), *(cuts.cycles for cuts in self.choices))

    def faster_than(self, other: _Layout) -> bool:
        return self.interval_cycles < other.interval_cycles


def solve_network(graph: Graph, machine: Machine, request: Request) -> Solved | Infeasible:
    """Pipeline if it fits, else streamed; the option `schedule` forces either."""
    nothing_to_place = not any(graph.nests)
    wish = "streamed" if nothing_to_place else request.options.get("schedule", "auto")
    answer: Solved | Infeasible = Infeasible("cores", 1, 0, "stages", graph.name)
    if wish != "streamed":
        answer = _pipeline(_problem(graph, machine, True), request)
    if wish == "streamed" or (wish == "auto" and isinstance(answer, Infeasible)):
        if isinstance(answer, Infeasible) and wish == "auto":
            request.progress(f"streaming weights: {answer}")
        answer = _streamed(_problem(graph, machine, False), request)
    return answer


def _problem(graph: Graph, machine: Machine, pipelined: bool) -> _Problem:
    """Tables are made for cores whose memory also holds a share of every tensor that lives on the wafer."""
    flow, fabric, sram = Flow(graph, pipelined), machine.fabric, machine.memory("sram")
    spare = -(-flow.live_bytes // sram.instances) + 4
    cores = Cores(fabric.rows, fabric.columns, int(sram.capacity_bytes or 0) - spare, machine.links.bytes_per_cycle / 4)
    works = []
    for number, op in enumerate(flow.ops):
        reads = flow.reads(number)
        staying = frozenset(n for n, stays in enumerate(reads.resident) if stays)
        readers = flow.readers.get(op.write.tensor, 1)
        works.append(work_of(graph, op, dict(enumerate(reads.copies)), staying, readers))
    return _Problem(flow, machine, Sized(tuple(works), cores, Floor(fabric.rows, fabric.columns, fabric.dead)))


def _pipeline(problem: _Problem, request: Request) -> Solved | Infeasible:
    """All stages side by side."""
    short = _memory_shortage(problem)
    if short is not None:
        return short
    bound = bound_cycles(problem.sized, problem.off_wafer_cycles)
    request.progress(f"sizing {len(problem.flow.ops)} stages, no interval below {bound:.0f} cycles")
    best: _Layout | Infeasible | None = None
    for found in _layouts(problem, bound, Effort(*EFFORTS[request.effort], seed=request.seed), EDGES[request.effort]):
        if best is None or isinstance(best, Infeasible) or (isinstance(found, _Layout) and found.faster_than(best)):
            best = found
        if isinstance(best, _Layout):
            request.watch(Incumbent("cycles between inferences", round(best.interval_cycles), round(bound)))
            if best.interval_cycles <= ENOUGH * best.target_cycles:
                break
    assert best is not None
    return best if isinstance(best, Infeasible) else _pipelined(problem, best, request, bound)


def _layouts(problem: _Problem, bound: float, effort: Effort, edges: Sequence[float]) -> Iterator[_Layout | Infeasible]:
    """Sizes, places and ways: plans with short wires first, then ones with more room at the rectangles' edges."""
    wires = wires_of(problem.flow.edges, problem.sized.floor.width)
    for edge in edges:
        sized = _with_edge(problem.sized, edge)
        plan = size(sized, bound)
        if plan is None:
            yield _area_shortage(problem)
            continue
        for each in improved(sized, plan, wires, bound, effort.moves, effort.seed):
            yield _laid_out(problem, sized, each, wires, effort)


def _with_edge(sized: Sized, edge: float) -> Sized:
    """The same with tables that let a tensor take the share 1 / `edge` of a rectangle's edge."""
    return replace(sized, cores=replace(sized.cores, edge_factor=edge))


def _laid_out(problem: _Problem, sized: Sized, plan: Plan, wires: Wires, effort: Effort) -> _Layout | Infeasible:
    """The plan's rectangles in their places, with routes."""
    rooms = plan.packing.boxes
    choices = [cuts_in(sized.table(n), plan.target_cycles, room) for n, room in enumerate(rooms)]
    boxes = tightened(slid(rooms, choices, wires), wires, sized.floor, effort)
    links = problem.machine.links
    mesh = Mesh(sized.floor, links.colours or COLOURS, links.bytes_per_cycle, plan.target_cycles, boxes)
    bundles = route_all(mesh, problem.flow.edges)
    if isinstance(bundles, Infeasible):
        return bundles
    return _Layout(plan.target_cycles, tuple(choices), boxes, mesh, bundles)


def _pipelined(problem: _Problem, layout: _Layout, request: Request, bound: float) -> Solved:
    """The layout written down."""
    stages = _with_link_phases(_stages(problem, layout.choices, layout.boxes), layout.mesh, layout.bundles)
    mapping = _mapping(problem, stages, tuple(_route(stages, bundle) for bundle in layout.bundles), "pipeline")
    return _solved(mapping, request, bound, _facts(problem, layout) | _latency(problem, stages, layout))


def _streamed(problem: _Problem, request: Request) -> Solved | Infeasible:
    """One stage after the other, each with the cores that it can use."""
    short = _memory_shortage(problem)
    if short is not None:
        return short
    choices = [_alone(problem, number) for number in range(len(problem.flow.ops))]
    boxes = [box for box, _ in choices]
    stages = _stages(problem, [cuts for _, cuts in choices], boxes)
    mapping = _mapping(problem, stages, (), "sequence")
    bound = sum(float(problem.sized.table(n).cycles.min()) for n in range(len(stages)))
    return _solved(mapping, request, bound, {"schedule": "streamed", "stages": len(stages)})


def _alone(problem: _Problem, number: int) -> tuple[Box, Cuts]:
    """The fastest choice for one stage on the whole wafer, beside its dead cores."""
    table, floor = problem.sized.table(number), problem.sized.floor
    target = float(table.cycles.min())
    while (packing := pack([table.heights(target, floor.width)], floor)) is None:
        target *= 1.1
    (room,) = packing.boxes
    cuts = cuts_in(table, target, room)
    return Box(room.row, room.column, cuts.height, cuts.width), cuts


def _memory_shortage(problem: _Problem) -> Infeasible | None:
    """An operator whose smallest slices are larger than a core's memory."""
    for number, op in enumerate(problem.flow.ops):
        table = problem.sized.table(number)
        if table.empty:
            return Infeasible("core memory", table.least_memory_bytes, problem.sized.cores.memory_bytes, "bytes",
                              f"operator {op.name!r} ({op.op_type})",
                              ("a machine with more memory per core", "--set schedule=streamed"))  # fmt: skip
    return None


def _area_shortage(problem: _Problem) -> Infeasible:
    """Even the smallest choices do not fit side by side; the largest of them is the culprit."""
    areas = [problem.sized.table(n).least_area(math.inf) for n in range(len(problem.flow.ops))]
    culprit = problem.flow.ops[max(range(len(areas)), key=lambda n: (areas[n], -n))]
    floor = problem.sized.floor
    return Infeasible("cores for a pipeline", sum(areas), floor.height * floor.width - len(floor.dead), "cores",
                      f"the model, most of it operator {culprit.name!r} ({culprit.op_type}),",
                      ("a larger wafer", "--set schedule=streamed"))  # fmt: skip


def _stages(problem: _Problem, choices: Sequence[Cuts], boxes: Sequence[Box]) -> list[Stage]:
    """Tile programs in their places; equal programs are written once."""
    flow, found = problem.flow, []
    registers = problem.machine.memory("reg").capacity_bytes or 0
    for number, (op, cuts, box) in enumerate(zip(flow.ops, choices, boxes, strict=True)):
        stage = stage_of(flow.graph, op, cuts, flow.reads(number), problem.sized.works[number], registers)
        after = tuple(flow.ops[giver].name for giver in flow.givers[number])
        found.append(replace(stage, rect=Rect(box.row, box.column, box.height, box.width), after=after))
    return _with_off_wafer_phases(problem, found)


def _axes(machine: Machine) -> tuple[Axis, ...]:
    return (Axis("y", machine.fabric.rows, hop=True), Axis("x", machine.fabric.columns, hop=True))


def _with_off_wafer_phases(problem: _Problem, stages: list[Stage]) -> list[Stage]:
    """Time of what comes in and goes out. The stages of a pipeline share the channels at every interval, so each that
    uses them takes as long as all of them together."""
    own = [_off_wafer_bytes(problem, number, stage) for number, stage in enumerate(stages)]
    rate = problem.machine.memories[0].bytes_per_cycle
    if not rate:
        return stages
    both = max(sum(into for into, _ in own), sum(out for _, out in own))
    found = []
    for stage, (into, out) in zip(stages, own, strict=True):
        cycles = math.ceil((both if problem.flow.pipelined else max(into, out)) / rate)
        phase = (Phase("off-wafer", "io", cycles),) if into or out else ()
        found.append(replace(stage, phases=(*stage.phases, *phase)))
    return found


def _off_wafer_bytes(problem: _Problem, number: int, stage: Stage) -> tuple[int, int]:
    """(bytes in, bytes out) of one stage."""
    graph, op, outer = problem.flow.graph, problem.flow.ops[number], problem.machine.memories[0].name
    accesses = [*op.reads, op.write]
    if all(_home(problem, access.tensor) != outer for access in accesses):
        return 0, 0
    axes = {axis.name: axis for axis in _axes(problem.machine)}
    into = out = 0
    for link in links(graph, stage, op, axes, lambda name: _home(problem, name)):
        dtype = graph.tensor(accesses[link.operand].tensor).dtype
        if link.source == outer:
            into += dtypes.bytes_of(link.sent, dtype)
        elif link.target == outer:
            wide = op.combiner.accumulator if op.combiner is not None else dtype
            out += dtypes.bytes_of(link.received - link.partial_received, dtype)
            out += dtypes.bytes_of(link.partial_received, wide)
            into += dtypes.bytes_of(link.partial_received, wide)
    return into, out


def _home(problem: _Problem, name: str) -> str:
    return problem.flow.home(problem.flow.graph.root(name)) or problem.machine.memories[0].name


def _with_link_phases(stages: list[Stage], mesh: Mesh, bundles: Sequence[Bundle]) -> list[Stage]:
    """Each stage waits for the busiest link on the way of what it takes in (or gives to the host)."""
    words: dict[int, float] = defaultdict(float)
    for bundle in bundles:
        found = hottest_words(mesh, bundle)
        for target in bundle.targets:
            number = target if target is not None else bundle.edge.source
            assert number is not None
            words[number] = max(words[number], found)
    return [
        replace(stage, phases=(*stage.phases, Phase("route", "mesh", math.ceil(words[number]))))
        if words[number]
        else stage
        for number, stage in enumerate(stages)
    ]


def _route(stages: Sequence[Stage], bundle: Bundle) -> Route:
    names = [stages[t].name if t is not None else "" for t in bundle.targets]
    source = stages[bundle.edge.source].name if bundle.edge.source is not None else ""
    return Route(bundle.edge.tensor, source, names[0], bundle.bytes, bundle.links, bundle.colour, tuple(names[1:]),
                 bundle.lanes, bundle.stride)  # fmt: skip


def _mapping(problem: _Problem, stages: Sequence[Stage], routes: tuple[Route, ...], schedule: Any) -> Mapping:
    flow = problem.flow
    homes = tuple((root, "sram") for root in flow.writer if flow.home(root))
    host = tuple(HostCall(op.name, op.reason) for op in flow.graph.ops if isinstance(op, Opaque))
    return Mapping("wafer", problem.machine, flow.graph, _axes(problem.machine), tuple(stages), (), routes, homes, host,
                   schedule)  # fmt: skip


def _solved(mapping: Mapping, request: Request, bound: float, facts: dict[str, Any]) -> Solved:
    cycles = [stage_cycles(stage) for stage in mapping.stages] or [0]
    interval = float(max(cycles) if mapping.schedule == "pipeline" else sum(cycles))
    least = min(interval, float(math.ceil(bound)))
    if request.objective == "latency":
        outcome = Outcome("feasible", interval, least, "none", request.seed)
    else:
        outcome = movement_outcome(mapping, cost(mapping).movement_pj, request.seed)
    facts |= {
        "minimised": "cycles of the slowest stage first, then bytes x links between stages (a proxy of movement)",
        "interval_bound_cycles": least,
        "slowest_stage_cycles": max(cycles),
        "mean_stage_cycles": sum(cycles) / len(cycles),
    }
    return Solved(mapping, outcome, facts)


def _facts(problem: _Problem, layout: _Layout) -> dict[str, Any]:
    floor, bundles = problem.sized.floor, layout.bundles
    used = sum(box.height * box.width for box in layout.boxes)
    wires = wires_of(problem.flow.edges, floor.width)
    return {
        "schedule": "pipeline",
        "stages": len(layout.boxes),
        "target_cycles": layout.target_cycles,
        "cores_used": used,
        "cores_share": used / (floor.height * floor.width - len(floor.dead)),
        "off_wafer_cycles": problem.off_wafer_cycles,
        "hottest_link_words": float(layout.mesh.load.max()),
        "routes": len(bundles),
        "route_hop_bytes": sum(bundle.bytes * len(bundle.links) for bundle in bundles),
        "placement_hop_bytes": round(wires.of(layout.boxes)),
        "placement_bound_hop_bytes": round(wires.least(layout.boxes)),
        "longest_route_hops": max((len(bundle.links) for bundle in bundles), default=0),
        "colours_used": 1 + max((bundle.colour for bundle in bundles), default=-1),
        "resident_bytes": _resident_bytes(problem),
    }


def _latency(problem: _Problem, stages: Sequence[Stage], layout: _Layout) -> dict[str, Any]:
    """Cycles that one inference is on its way, hops included, and how many of them are hops."""
    hop, cycles = problem.machine.links.cycles_per_hop, [stage_cycles(stage) for stage in stages]
    whole, alone = latency_cycles(cycles, layout.boxes, layout.bundles, hop)
    return {"latency_with_hops_cycles": whole, "hop_latency_cycles": whole - alone}


def _resident_bytes(problem: _Problem) -> int:
    """Weights and constants that are brought in once, before the first inference."""
    flow = problem.flow
    kept = {flow.graph.root(op.reads[n].tensor) for op in flow.ops for n in range(len(op.reads)) if flow.stays(op, n)}
    return sum(flow.graph.tensor(root).bytes for root in kept)
