"""From a schedule to a `KernelMapping`, and from a mapping to the benchmark's solution file."""

from __future__ import annotations

from collections.abc import Mapping

from mapper.dfg import Dfg
from mapper.machine import Fabric
from mapper.placement import KernelMapping, Move, Path, Placed, RegisterUse

from .formulation import Schedule
from .problem import Problem

__all__ = ["mapping_of", "solution_json"]


def mapping_of(dfg: Dfg, problem: Problem, schedule: Schedule, registers: Mapping[int, int]) -> KernelMapping:
    """The mapping of a schedule: first cycle 0, MOVEs that nobody reads dropped and the others named m0, m1, …"""
    chains = _chains(problem, schedule)
    used = sorted({m for chain in chains.values() for m in chain}, key=lambda m: (schedule.start[m], schedule.pe[m]))
    name = {m: f"m{number}" for number, m in enumerate(used)}
    fixed = [i for i, operation in enumerate(problem.operations) if not operation.optional]
    first = min(schedule.start[i] or 0 for i in [*fixed, *used])
    columns = problem.fabric.columns
    placed = tuple(
        Placed(int(problem.operations[i].key), schedule.pe[i] or 0, (schedule.start[i] or 0) - first) for i in fixed
    )
    source = {read.reader: s for read, s in zip(problem.reads, schedule.source, strict=True) if read.edge is None}
    moves = tuple(
        Move(name[m], schedule.pe[m] or 0, (schedule.start[m] or 0) - first, _name(problem, name, source[m]))
        for m in used
    )
    paths = tuple(
        Path(edge[0], edge[1], edge[2], tuple(name[m] for m in chain), (0,) * len(chain) + (edge[2],))
        for edge, chain in sorted(chains.items())
        if chain
    )
    kept = tuple(
        RegisterUse(_name_text(problem, name, i), *divmod(schedule.pe[i] or 0, columns), register)
        for i, register in sorted(registers.items())
        if i in name or not problem.operations[i].optional
    )
    return KernelMapping(dfg, schedule.ii, placed, moves, paths, kept)


def _chains(problem: Problem, schedule: Schedule) -> dict[tuple[int, int, int], tuple[int, ...]]:
    """Per edge the MOVEs it passes, from the value on."""
    source = {read.reader: s for read, s in zip(problem.reads, schedule.source, strict=True) if read.edge is None}
    chains: dict[tuple[int, int, int], tuple[int, ...]] = {}
    for read, reached in zip(problem.reads, schedule.source, strict=True):
        if read.edge is None:
            continue
        chain: tuple[int, ...] = ()
        while reached is not None and problem.operations[reached].optional:
            chain, reached = (reached, *chain), source[reached]
        chains[read.edge.src, read.edge.dst, read.edge.distance] = chain
    return chains


def _name(problem: Problem, name: Mapping[int, str], index: int | None) -> int | str:
    assert index is not None
    return name[index] if index in name else int(problem.operations[index].key)


def _name_text(problem: Problem, name: Mapping[int, str], index: int) -> str:
    return str(_name(problem, name, index))


def solution_json(mapping: KernelMapping, fabric: Fabric) -> dict[str, object]:
    """The mapping as the benchmark's `solution.json` (topologies torus, mesh and king; others keep the same form)."""
    return {
        "benchmark": mapping.dfg.name,
        "grid": [fabric.rows, fabric.columns],
        "topology": fabric.topology,
        "ii": mapping.ii,
        "nodes": {str(p.node): {"t": p.cycle, "pe": p.pe} for p in mapping.placed},
        "moves": [
            {"id": m.id, "t": m.cycle, "pe": m.pe, "from": m.source, "distance": m.distance} for m in mapping.moves
        ],
        "edges": [
            {"src": p.src, "dst": p.dst, "distance": p.distance, "via": list(p.via), "distances": list(p.distances)}
            for p in mapping.paths
        ],
    }
