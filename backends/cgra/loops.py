"""A loop kernel as the command line asks for it: the request's options in, facts for the report out."""

from __future__ import annotations

from typing import Literal, cast

from mapper.dfg import Dfg
from mapper.machine import Machine
from mapper.mapping import Infeasible
from mapper.request import KernelSolved, Request

from .kernel import DoesNotFit, KernelRequest, map_kernel
from .solution import solution_json


def solve_kernel(dfg: Dfg, machine: Machine, request: Request) -> KernelSolved | Infeasible:
    variant = cast(Literal["direct", "routed"], request.options["variant"])
    found = map_kernel(
        dfg,
        machine.fabric,
        KernelRequest(variant, request.effort, request.seed, request.time_limit_seconds, request.watch),
    )
    if isinstance(found, DoesNotFit):
        return Infeasible(found.resource, found.demand, found.limit, "", dfg.name, (found.hint,))
    facts = {
        "variant": variant,
        "ii": found.mapping.ii,
        "ii_bound": found.ii_bound,
        "length": found.mapping.length_cycles,
        "moves": len(found.mapping.moves),
        "why_not_lower": found.why_not_lower,
    }
    return KernelSolved(found.mapping, found.outcome, facts, solution_json(found.mapping, machine.fabric))
