"""Placed loop bodies in the formats of public simulators; each program is executed before it leaves.

`esl`: ESL-CGRA-simulator's `instructions.csv` and `memory.csv` (4x4 torus). `neura`: instruction files of neura and
VectorCGRA (meshes and king-meshes), with a memory in the same form. An interpreter of the format, which shares no
code with its writer, runs what was written; its memory must be the one that the body's meaning gives, its number of
cycles the schedule's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mapper.errors import CheckFailed
from mapper.export import Exported
from mapper.machine import Fabric
from mapper.placement import KernelMapping

from .esl import esl_program
from .esl_run import run_esl
from .memory import Layout, csv_of, played
from .neura import neura_program
from .neura_run import run_neura

__all__ = ["FORMATS", "program_of"]


Files = Mapping[str, str]
Ran = tuple[Sequence[int], int]


def _esl(mapping: KernelMapping, fabric: Fabric, iterations: int, layout: Layout) -> tuple[Files, Ran]:
    instructions = esl_program(mapping, fabric, iterations, layout)
    after, cycles = run_esl(instructions, layout.csv())
    return {"instructions.csv": instructions}, ([after[at] for at in sorted(after)], cycles)


def _neura(mapping: KernelMapping, fabric: Fabric, iterations: int, layout: Layout) -> tuple[Files, Ran]:
    instructions = neura_program(mapping, fabric, layout)
    run = run_neura(instructions, layout.words, iterations)
    return {"instructions.yaml": instructions}, (run.memory, run.cycles)


FORMATS: Mapping[str, Callable[[KernelMapping, Fabric, int, Layout], tuple[Files, Ran]]] = {
    "esl": _esl,
    "neura": _neura,
}


def program_of(format_: str, mapping: KernelMapping, fabric: Fabric, iterations: int, seed: int) -> Exported:
    """`iterations` runs of a placed body on drawn words. Raises NotExportable for what the format lacks, and
    CheckFailed if the program does not do what the body means."""
    run = played(mapping.dfg, iterations, seed)
    files, (after, cycles) = FORMATS[format_](mapping, fabric, iterations, run.layout)
    wrong = _differing(after, run.after)
    if wrong:
        raise CheckFailed(f"the program leaves {len(wrong)} wrong words", f"{mapping.dfg.name} address {wrong[0]}")
    scheduled = mapping.length_cycles + (iterations - 1) * mapping.ii
    if cycles != scheduled:
        raise CheckFailed(f"the program takes {cycles} cycles", mapping.dfg.name, f"the schedule takes {scheduled}")
    every = {**files, "memory.csv": run.layout.csv(), "expected.csv": csv_of(run.after)}
    return Exported(every, cycles, len(run.after))


def _differing(found: Sequence[int], expected: Sequence[int]) -> list[int]:
    """Addresses at which two memories differ; a NaN equals any NaN."""
    if len(found) != len(expected):
        return [min(len(found), len(expected))]
    pairs = [np.array(words, np.int64).astype(np.int32) for words in (found, expected)]
    floats = [words.view(np.float32) for words in pairs]
    same = (pairs[0] == pairs[1]) | (np.isnan(floats[0]) & np.isnan(floats[1]))
    return [int(at) for at in np.flatnonzero(~same)]
