"""Lower bounds on the initiation interval, each recomputable from the body and the fabric alone.

* resource: operations that only a set of PEs can run occupy slots of those PEs;
* memory ports: loads and stores share a number of ports per slot;
* recurrence: a cycle of values needs its latency once per II times its distance;
* lifetime: without MOVEs every span is at most II, so undirected cycles of spans must close as well;
* MOVEs: with them, nodes plus the fewest MOVEs that let all spans close must fit the slots of the fabric.

Every bound holds for schedules of every length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mapper.dfg import Dfg
from mapper.machine import Fabric
from mapper.solver import Limits, Model, solve

from .problem import Problem, direct_problem, is_memory
from .windows import differences, positive_cycle

__all__ = [
    "Bound",
    "binding",
    "conflict",
    "fewest_moves",
    "lifetime_bound",
    "ports_bound",
    "recurrence_bound",
    "resource_bound",
    "slots_left",
    "static_bounds",
]

Reason = Literal["resource", "memory ports", "recurrence", "lifetime", "moves", "search"]


@dataclass(frozen=True, slots=True)
class Bound:
    """No schedule has an II below `ii`; `detail` says why in a few words."""

    ii: int
    reason: Reason
    detail: str


def resource_bound(problem: Problem) -> Bound:
    """For every set of PEs that is some operation's choice: cycles of operations confined to it / its size."""
    best = Bound(1, "resource", "one slot for each operation")
    for pes in sorted({operation.pes for operation in problem.operations}):
        inside = [o for o in problem.operations if not o.optional and set(o.pes) <= set(pes)]
        cycles = sum(o.least_latency_cycles for o in inside)
        ii = math.ceil(cycles / len(pes))
        if ii > best.ii:
            detail = f"{len(inside)} operations take {cycles} slots on {len(pes)} PEs"
            best = Bound(ii, "resource", detail)
    longest = max((o.least_latency_cycles for o in problem.operations), default=1)
    if longest > best.ii:
        best = Bound(longest, "resource", f"one operation takes {longest} cycles")
    return best


def ports_bound(dfg: Dfg, fabric: Fabric) -> Bound:
    """Loads and stores over the ports of all groups that hold a PE able to run one."""
    memory = [node for node in dfg.nodes if is_memory(node)]
    able = {pe for node in memory for pe in fabric.capable(node.op)}
    groups = [group for group in fabric.port_groups if able & set(group)]
    if not memory or not groups or fabric.memory_ports is None:
        return Bound(1, "memory ports", "not limited")
    ports = fabric.memory_ports.count * len(groups)
    ii = math.ceil(len(memory) / ports) if ports else 1
    return Bound(ii, "memory ports", f"{len(memory)} loads and stores through {ports} memory ports per cycle")


def recurrence_bound(problem: Problem) -> Bound:
    """Smallest II at which no cycle of reads has more latency than II times its distance."""
    ii, cycle = _least_ii(problem, endless=True)
    assert ii is not None, "a loop body has no cycle of distance 0"
    names = _names(problem, cycle)
    return Bound(ii, "recurrence", f"the values of nodes {names} wait for each other" if names else "no recurrence")


def lifetime_bound(problem: Problem) -> Bound | None:
    """Smallest II at which all spans close without MOVEs; None when no II does."""
    ii, cycle = _least_ii(problem, endless=False)
    if ii is None:
        return None
    return Bound(ii, "lifetime", f"without MOVEs the spans around nodes {_names(problem, cycle)} do not close")


def _names(problem: Problem, cycle: Sequence[int]) -> str:
    keys = [str(problem.operations[i].key) for i in cycle]
    return ", ".join(keys[:8]) + (", …" if len(keys) > 8 else "")


def _least_ii(problem: Problem, endless: bool) -> tuple[int | None, tuple[int, ...]]:
    """The smallest II whose spans close and the cycle that forbids one less. A cycle forbids all II below its own."""
    low, high = 1, sum(o.least_latency_cycles for o in problem.operations) + 1
    if conflict(problem, high, endless):
        return None, conflict(problem, high, endless)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if conflict(problem, middle, endless) else (low, middle)
    return low, conflict(problem, low - 1, endless) if low > 1 else ()


def conflict(problem: Problem, ii: int, endless: bool = False) -> tuple[int, ...]:
    """Operations around a cycle of spans that cannot close at this II; () if there is none.

    With `endless` a value may wait for ever: only the lower ends of the spans count.
    """
    return positive_cycle(len(problem.operations), differences(problem, ii), endless)


def fewest_moves(problem: Problem, ii: int, effort: float = 2.0) -> tuple[int, tuple[int, ...]]:
    """A lower bound on the MOVEs of any routed mapping at this II, and the MOVEs per operation that reach it.

    A chain of m MOVEs on a value, shared by its readers, stretches every span to (m + 1) * II:
    minimise sum m(u) subject to latency(u) <= t(v) + d*II - t(u) <= (m(u) + 1) * II. Places are ignored.
    """
    model = Model()
    limit = 4 * ii * (len(problem.operations) + 1)
    start = [model.integer(0, limit) for _ in problem.operations]
    moves = [model.integer(0, len(problem.operations)) for _ in problem.operations]
    for span in differences(problem, ii):
        wait = start[span.dst] - start[span.src]
        model.add(wait >= span.low)
        model.add(wait <= span.high + ii * moves[span.src])
    model.minimize(sum(moves))
    solution = solve(model, Limits(effort=effort))
    if not solution:
        return 0, tuple(0 for _ in moves)
    return max(0, math.ceil(solution.bound - 1e-6)), tuple(solution.value(m) for m in moves)


def slots_left(problem: Problem, ii: int) -> int:
    """Slots of the whole fabric that the operations leave free for MOVEs."""
    alive = problem.fabric.size - len(problem.fabric.dead)
    return alive * ii - sum(o.least_latency_cycles for o in problem.operations if not o.optional)


def static_bounds(dfg: Dfg, fabric: Fabric) -> tuple[Bound, ...]:
    """Resource, memory ports and recurrence: what holds with and without MOVEs. The largest one binds."""
    problem = direct_problem(dfg, fabric)
    return resource_bound(problem), ports_bound(dfg, fabric), recurrence_bound(problem)


def binding(bounds: Sequence[Bound]) -> Bound:
    """The largest bound, the first of equals."""
    return max(bounds, key=lambda bound: bound.ii)
