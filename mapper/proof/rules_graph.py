"""Coverage and order: every operator runs exactly once, and never before what it reads is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mapper.ir import AnyOp, Op, Opaque
from mapper.mapping import Mapping
from mapper.violation import Violation

__all__ = ["coverage", "listing", "order", "settings"]


def settings(mapping: Mapping) -> Iterator[Violation]:
    """Axes, homes and stages have one meaning each, and sizes that can be."""
    for kind, names in (("axis", [axis.name for axis in mapping.axes]),
                        ("home of tensor", [tensor for tensor, _ in mapping.homes]),
                        ("stage", [stage.name for stage in mapping.stages])):  # fmt: skip
        for name, times in Counter(names).items():
            if times > 1:
                yield Violation("unique names", f"{kind} {name!r}", f"given {times} times", "given once")
    for axis in mapping.axes:
        if axis.extent < 1:
            yield Violation("axes", f"axis {axis.name!r}", f"extent {axis.extent}", "an extent of at least 1")
    if mapping.schedule not in ("sequence", "pipeline"):
        yield Violation("schedule", "mapping", repr(mapping.schedule), "'sequence' or 'pipeline'")
    for stage in mapping.stages:
        if stage.launches < 1 or stage.configuration_bytes < 0:
            found = f"{stage.launches} launches of {stage.configuration_bytes} configuration bytes"
            yield Violation("launches", f"stage {stage.name!r}", found, "at least one launch of no negative size")


def coverage(mapping: Mapping) -> Iterator[Violation]:
    """Every loop nest has one stage, every opaque operator one host call, views and strangers none."""
    staged = Counter(stage.op for stage in mapping.stages)
    hosted = Counter(call.op for call in mapping.host)
    known = {op.name for op in mapping.graph.ops}
    for op in mapping.graph.ops:
        on_fabric, on_host = _wanted(op)
        if staged[op.name] != on_fabric:
            yield _times(op, staged[op.name], on_fabric, "stages")
        if hosted[op.name] != on_host:
            yield _times(op, hosted[op.name], on_host, "host calls")
    for name in (*staged, *hosted):
        if name not in known:
            yield Violation("coverage", f"operator {name!r}", "a stage or host call", "an operator of the graph")


def _wanted(op: AnyOp) -> tuple[int, int]:
    return int(isinstance(op, Op)), int(isinstance(op, Opaque))


def _times(op: AnyOp, found: int, expected: int, what: str) -> Violation:
    return Violation("coverage", f"operator {op.name!r} ({op.op_type})", f"{found} {what}", str(expected))


def listing(mapping: Mapping) -> Iterator[Violation]:
    """`after` names stages that are listed before: so there is no cycle."""
    earlier: set[str] = set()
    known = {stage.name for stage in mapping.stages}
    for stage in mapping.stages:
        for name in stage.after:
            if name not in earlier:
                found = f"after {name!r}, which is {'listed later' if name in known else 'no stage'}"
                yield Violation("stage order", f"stage {stage.name!r}", found, "stages listed earlier")
        earlier.add(stage.name)


def order(mapping: Mapping) -> Iterator[Violation]:
    """What a stage reads, through views and host calls, is produced by stages that must end before it."""
    position = {stage.op: at for at, stage in enumerate(mapping.stages)}
    ended: dict[str, frozenset[str]] = {}
    ops = {op.name: op for op in mapping.graph.ops}
    for at, stage in enumerate(mapping.stages):
        direct = frozenset(name for name in stage.after if name in ended)
        ended[stage.name] = direct.union(*(ended[name] for name in direct))
        for giver in sorted(_givers(mapping, ops[stage.op]) if stage.op in ops else ()):
            before = mapping.stages[position[giver]].name if giver in position else None
            listed = giver in position and position[giver] < at
            waits = listed if mapping.schedule == "sequence" else before in ended[stage.name]
            if not listed or not waits:
                found = f"operator {giver!r} {'does not have to end before' if listed else 'is not listed before'} it"
                yield Violation("data dependence", f"stage {stage.name!r}", found, "its inputs to be complete")


def _givers(mapping: Mapping, op: AnyOp) -> frozenset[str]:
    """Loop nests whose results `op` reads, seen through views and host calls."""
    found: set[str] = set()
    open_ = list(op.inputs)
    seen = set(open_)
    while open_:
        giver = mapping.graph.producer.get(mapping.graph.root(open_.pop()))
        if isinstance(giver, Op) and giver not in mapping.graph.prepare and giver.name != op.name:
            found.add(giver.name)
        elif isinstance(giver, Opaque):
            open_ += [name for name in giver.inputs if name not in seen]
            seen.update(giver.inputs)
    return frozenset(found)
