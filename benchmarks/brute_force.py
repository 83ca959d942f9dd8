"""Is "optimal" optimal? Small random instances, each solved by us and by trying everything (`benchmarks/brute/`).

    python benchmarks/brute_force.py [PART ...] [--count 500] [--seed 0] [--json]

PART is any of `cgra`, `cgla`, `wafer` (default: all). Demanded of every instance: the printed bound is not
above the true optimum, the result is not below it, a result that is called optimal or exhausted
equals it, "does not fit" is said only where nothing fits, and the objective is what other code reads from the mapping.
On grids the variant without MOVEs is compared in both directions; with MOVEs, which brute force does not try, a result
called optimal must not be above the optimum without. Exit code 5 if an instance disagrees with brute force.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module

from brute import contest, grids, rows
from campaign import Trial, asked, reported

from mapper.check_contest import check_contest, score_contest
from mapper.check_kernel import check_kernel
from mapper.check_rows import check_rows, rows_used
from mapper.kgraph import KernelGraph, PlacedKernel
from mapper.solver import Outcome

__all__ = ["PARTS", "judged", "main"]

MOST_II, MOST_ROWS = 6, 3


def judged(outcome: Outcome, truth: float | None) -> str:
    """What is wrong with an outcome if the least objective is `truth`."""
    if truth is None:
        return f"found {outcome.objective} where brute force finds nothing"
    if outcome.bound > truth + 1e-9:
        return f"bound {outcome.bound} above the optimum {truth}"
    if outcome.objective < truth - 1e-9:
        return f"objective {outcome.objective} below the optimum {truth}"
    if _claim(outcome) != "feasible" and outcome.objective > truth + 1e-9:
        return f"{_claim(outcome)} at {outcome.objective}, the optimum is {truth}"
    return ""


def _claim(outcome: Outcome) -> str:
    return "optimal" if outcome.status == "optimal" else "exhausted" if outcome.proof == "exhausted" else "feasible"


def cgra(seed: int) -> Trial:
    kernel = import_module("mapper.backends.cgra.kernel")
    body, fabric = grids.instance(seed)
    found = kernel.map_kernel(body, fabric, kernel.KernelRequest("direct", "fast"))
    if isinstance(found, kernel.DoesNotFit):
        truth = grids.least_ii(body, fabric, MOST_II)
        fault = f"refused by proof, but II {truth} exists" if found.proven and truth is not None else ""
        return Trial(body.name, "no fit" if found.proven else "nothing found", fault)
    fault = judged(found.outcome, grids.least_ii(body, fabric, found.mapping.ii)) or str(
        next(iter(check_kernel(found.mapping, fabric)), "")
    )
    routed = kernel.map_kernel(body, fabric, kernel.KernelRequest("routed", "fast"))
    if not fault and _claim(routed.outcome) != "feasible" and routed.mapping.ii > found.mapping.ii:
        fault = f"with MOVEs {_claim(routed.outcome)} at {routed.mapping.ii}, without them {found.mapping.ii}"
    return Trial(body.name, _claim(found.outcome), fault)


def cgla(seed: int) -> Trial:
    kernel = import_module("mapper.backends.cgla.kernel")
    body = rows.instance(seed)
    found = kernel.map_kernel(body, kernel.KernelRequest(effort="fast"))
    truth = rows.fewest_rows(body, MOST_ROWS if isinstance(found, kernel.DoesNotFit) else found.rows)
    if isinstance(found, kernel.DoesNotFit):
        return Trial(body.name, "no fit", "" if truth is None else f"refused, but {truth} rows suffice")
    fault = judged(found.outcome, truth) or str(next(iter(check_rows(found.mapping)), ""))
    if not fault and rows_used(found.mapping) != found.rows:
        fault = f"{found.rows} rows reported, {rows_used(found.mapping)} used"
    return Trial(body.name, _claim(found.outcome), fault)


def wafer(seed: int) -> Trial:
    place = import_module("mapper.backends.wafer.contest")
    graph = contest.instance(seed)
    found = place.place_contest(graph, place.ContestRequest("fast"))
    truth, checked = contest.least_score(graph), _checkers_agree(graph, seed)
    if not hasattr(found, "places"):
        return Trial(graph.name, "no fit", checked or ("" if truth is None else f"refused, but {truth} is possible"))
    fault = checked or judged(found.outcome, None if truth is None else float(truth))
    places = list(found.places)
    if not fault and not contest.is_legal(graph, places):
        fault = "the placement is not legal"
    if not fault and float(contest.score_of(graph, places)) != found.outcome.objective:
        fault = f"objective {found.outcome.objective}, the placement scores {contest.score_of(graph, places)}"
    return Trial(graph.name, _claim(found.outcome), fault)


def _checkers_agree(graph: KernelGraph, seed: int) -> str:
    """Random placements, legal or not: the checker and the rules as read here say the same, and score the same."""
    draw = random.Random(seed)
    for _ in range(20):
        places = [_random_place(graph, node.name, draw) for node in graph.kernels]
        legal = contest.is_legal(graph, places)
        if legal is not (check_contest(graph, places) == ()):
            return f"legal {legal} by brute force, not by the checker: {places}"
        if legal and contest.score_of(graph, places) != score_contest(graph, places).score:
            return f"scores differ: {places}"
    return ""


def _random_place(graph: KernelGraph, name: str, draw: random.Random) -> PlacedKernel:
    """Mostly within all ranges, now and then one past an end."""
    node = next(n for n in graph.kernels if n.name == name)
    h, w, c, k = (min(draw.randint(1, most), draw.choice((1, 3))) for most in (node.H, node.W, node.C, node.K))
    place = PlacedKernel(name, 0, 0, draw.choice((0, 90)), h, w, (c,), (k,))
    wide, tall = (3 * k, h * w * (c + 1)) if place.rotation == 0 else (h * w * (c + 1), 3 * k)
    slip = draw.choice((-1, 0, 0, 0, 1))
    x, y = (draw.randint(0, max(0, room - side)) + slip for room, side in ((graph.width, wide), (graph.height, tall)))
    return replace(place, x=x, y=y)


PARTS: dict[str, Callable[[int], Trial]] = {"cgra": cgra, "cgla": cgla, "wafer": wafer}


def instances(part: str, count: int, seed: int) -> Iterator[Trial]:
    """Trials of one part, with what was claimed: optimal, exhausted, feasible, no fit, nothing found."""
    for number in range(count):
        yield replace(PARTS[part](seed * 1_000_003 + number), row=part)


def main(arguments: list[str] | None = None) -> int:
    words = "Compare claims of optimality with brute force on small instances."
    options = asked(words, PARTS, "--count", 500, "instances of each part", arguments)
    return reported((t for part in options.parts for t in instances(part, options.count, options.seed)), options.json)


if __name__ == "__main__":
    sys.exit(main())
