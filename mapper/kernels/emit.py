"""The operations of a builder as a :class:`mapper.dfg.Dfg` in one style.

Only what some store needs is kept. Operands without an edge are filled in ascending order: host constants, then the
immediate (`Node.constant`), and at last a self-updating node's own previous value. A phi's `constant` is its value
before the first iteration; a self-updating node's first host constant is that. In fused style a node is one arithmetic,
logic and shift stage each; a stage reads "and 255" with its immediate, "nop" where nothing happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mapper.dfg import Dfg, Edge, MemoryUse, Node, Region
from mapper.ir import Access

from .builder import SELF, Before, Builder, Literal, Operand, Step, Touch
from .primitives import LOGIC, SHIFTS

__all__ = ["Lowered", "Site", "emit"]


@dataclass(frozen=True, slots=True)
class Site:
    """Load or store `node` reaches element `access` (over the counters of the first copy) of region `region`.

    `point` is the copy whose gathered values an indirect access uses.
    """

    node: int
    region: int
    role: str
    access: Access
    point: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Lowered:
    """A body, what its loads and stores touch, and the nodes whose value is a loop's counter (of the first copy)."""

    dfg: Dfg
    sites: tuple[Site, ...]
    counters: tuple[tuple[int, str], ...] = ()


@dataclass
class _Emission:
    """Nodes and edges so far; `result` maps a step to the node that holds its value."""

    b: Builder
    groups: Mapping[int, tuple[int, ...]]
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)
    result: dict[int, int] = field(default_factory=dict)
    phis: dict[int, int] = field(default_factory=dict)
    regions: dict[tuple[str, str], int] = field(default_factory=dict)
    host: dict[tuple[str, str], int] = field(default_factory=dict)
    host_values: list[tuple[int, float | int]] = field(default_factory=list)

    def number(self, value: float | int) -> int:
        """The number of a host constant; equal constants share one."""
        key = Literal(value).key
        if key not in self.host:
            self.host[key] = len(self.host)
            self.host_values.append((self.host[key], value))
        return self.host[key]

    def source(self, operand: Operand) -> int:
        if isinstance(operand, Before):
            return self.phis[operand.step]
        assert isinstance(operand, int)
        return self.result[operand]

    def node(self, op: str, **fields: object) -> int:
        self.nodes.append(Node(len(self.nodes), op, **fields))  # type: ignore[arg-type]
        return len(self.nodes) - 1


def emit(b: Builder, name: str) -> Lowered:
    """The body, named after its operator."""
    live = _live(b)
    emission = _Emission(b, _fusions(b, live) if b.style.fused else {s: (s,) for s in live})
    for last in sorted(emission.groups):
        steps = [b.steps[s] for s in emission.groups[last]]
        if steps[0].touch is not None:
            emission.result[last] = _emit_memory(emission, steps[0])
        elif b.style.fused:
            emission.result[last] = _emit_fused(emission, steps)
        else:
            emission.result[last] = _emit_plain(emission, last, steps[0])
    levels = b.style.loop_levels
    hosts = tuple(range(len(emission.host), len(emission.host) + levels + 1)) if levels else ()
    regions = tuple(
        Region(i, tensor=tensor, one_row=role == "partial") for (tensor, role), i in emission.regions.items()
    )
    dfg = Dfg(
        name, tuple(emission.nodes), tuple(emission.edges), regions, levels, hosts,
        host_values=tuple(emission.host_values),
    )  # fmt: skip
    counters = tuple((emission.result[s], name) for name, s in b.counters.items() if s in emission.result)
    return Lowered(dfg, tuple(emission.sites), counters)


def _operands(step: Step) -> tuple[Operand, ...]:
    """All operands, those of the memory unit included."""
    if step.touch is None:
        return step.operands
    touch = step.touch
    return tuple(o for o in (touch.address, touch.data, touch.predicate) if o is not None)


def _live(b: Builder) -> list[int]:
    """Steps that some store needs, in order."""
    live = {i for i, step in enumerate(b.steps) if step.op == "store"}
    for i in range(len(b.steps) - 1, -1, -1):
        if i in live:
            live |= {o for o in _operands(b.steps[i]) if isinstance(o, int)}
            live |= {o.step for o in _operands(b.steps[i]) if isinstance(o, Before)}
    return sorted(live)


def _stage(step: Step) -> int:
    """0 arithmetic, 1 logic, 2 shift."""
    return 1 if step.op in LOGIC else 2 if step.op in SHIFTS else 0


def _fusions(b: Builder, live: list[int]) -> dict[int, tuple[int, ...]]:
    """Runs of steps that one fused operation executes, by their last step.

    A logic or shift step with an immediate joins its operand's run if it is that run's only user and a later stage.
    """
    uses = Counter(o for s in live for o in _operands(b.steps[s]) if isinstance(o, int))
    groups: dict[int, tuple[int, ...]] = {}
    for s in live:
        before = _joins(b.steps[s])
        if before is not None and uses[before] == 1 and before in groups and _accepts(b.steps[before], b.steps[s]):
            groups[s] = (*groups.pop(before), s)
        else:
            groups[s] = (s,)
    return groups


def _joins(step: Step) -> int | None:
    """The operand that a logic or shift step with an immediate continues."""
    if step.initial is not None or _stage(step) == 0 or len(step.operands) != 2:
        return None
    first, second = step.operands
    if isinstance(first, Literal) and step.op in LOGIC:
        first, second = second, first
    return first if isinstance(second, Literal) and isinstance(first, int) else None


def _accepts(before: Step, step: Step) -> bool:
    return before.touch is None and before.initial is None and _stage(before) < _stage(step)


def _wire(e: _Emission, node: int, operands: tuple[Operand, ...]) -> None:
    for position, operand in enumerate(operands):
        if isinstance(operand, (int, Before)):
            e.edges.append(Edge(e.source(operand), node, 0, position))


def _literals(operands: tuple[Operand, ...]) -> list[float | int]:
    return [o.value for o in operands if isinstance(o, Literal)]


def _emit_plain(e: _Emission, number: int, step: Step) -> int:
    """One operation with at most one immediate; loop-carried values through a phi."""
    literals = _literals(step.operands)
    host = tuple(e.number(v) for v in literals[:-1])
    phi = e.node("phi", constant=step.initial) if step.initial is not None else None
    node = e.node(step.op, host=host, constant=literals[-1] if literals else None)
    _wire(e, node, step.operands)
    if phi is not None:
        e.phis[number] = phi
        e.edges.append(Edge(phi, node, 0, step.operands.index(SELF)))
        e.edges.append(Edge(node, phi, 1))
    return node


def _emit_fused(e: _Emission, steps: list[Step]) -> int:
    """One arithmetic, logic and shift stage."""
    stages = ["nop", "nop", "nop"]
    for position, step in enumerate(steps):
        immediate = _joins(step) is not None
        value = f" {_literals(step.operands)[0]}" if immediate else ""
        stages[_stage(step)] = step.op + value
        assert position == 0 or immediate
    first = steps[0]
    start = () if first.initial is None else (e.number(first.initial),)
    operands = first.operands
    if _joins(first) is not None:
        operands = tuple(o for o in operands if not isinstance(o, Literal))
    host = start + tuple(e.number(v) for v in _literals(operands))
    op = next(stage for stage in stages if stage != "nop").split()[0]
    node = e.node(op, stages=tuple(stages), host=host, self_update=first.initial is not None)
    _wire(e, node, operands)
    return node


def _emit_memory(e: _Emission, step: Step) -> int:
    """A load or store: operands are the address (where one is fed), the data, the predicate."""
    touch = step.touch
    assert touch is not None
    region = e.regions.setdefault((touch.access.tensor, touch.role), len(e.regions))
    address = None if touch.address is None else e.result[touch.address]
    data, literal = _stored(e, touch)
    predicate = _condition(e, touch.predicate)
    use = MemoryUse(region, region, offset=address, data=data, predicate=predicate)
    node = e.node(step.op, kind=step.op, constant=literal, memory=use)
    fed = [n for n in (address, data, predicate) if n is not None]
    e.edges += [Edge(source, node, 0, position) for position, source in enumerate(fed)]
    e.sites.append(Site(node, region, touch.role, touch.access, touch.point))
    return node


def _stored(e: _Emission, touch: Touch) -> tuple[int | None, float | int | None]:
    """(node, immediate) that a store writes. A row stores what its units compute or pass on, so in fused style a
    constant is first made a result, from a host constant."""
    if isinstance(touch.data, (int, Before)):
        return e.source(touch.data), None
    if not isinstance(touch.data, Literal):
        return None, None
    if not e.b.style.fused:
        return None, touch.data.value
    number = e.number(touch.data.value)
    return e.node("or", stages=("nop", "or", "nop"), host=(number, number)), None


def _condition(e: _Emission, predicate: int | None) -> int | None:
    """The node that predicates a store: a condition unit where the array has them."""
    if predicate is None or not e.b.style.fused:
        return None if predicate is None else e.result[predicate]
    node = e.node("cex", kind="cex")
    e.edges.append(Edge(e.result[predicate], node))
    return node
