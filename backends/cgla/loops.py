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
    pins = cast(Literal["keep", "drop"], request.options["pins"])
    enforce_share = request.options["share"] == "enforce"
    asked = KernelRequest(
        machine.fabric.rows,
        request.effort,
        request.seed,
        pins,
        enforce_share,
        request.time_limit_seconds,
        request.watch,
    )
    found = map_kernel(dfg, asked)
    if isinstance(found, DoesNotFit):
        return Infeasible(found.resource, found.demand, found.limit, "rows", dfg.name, (found.hint,))
    facts = {
        "rows": found.rows,
        "rows_bound": found.rows_bound,
        "hops": found.hops,
        "lmm_share_ok": found.lmm_share_ok,
        "ii": machine.setting("iteration_cycles", 4),
        "why_not_lower": found.why_not_lower,
    }
    return KernelSolved(found.mapping, found.outcome, facts, solution_json(found.mapping))
