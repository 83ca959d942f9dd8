"""Bodies that are stacked on a line of rows: each copy has rows of its own, and tails that have not take turns.

The rows of a stage's rectangle are cut into a strip per instance (`mapper.mapping`, *Displaced bodies*). A body stays
in its strip with the host constants that its first row reads: those stand in the row before, which in its first strip
is the last row of the ring. What `check_rows` allows in the first strip it allows in every other one, since rows
are alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mapper.check_rows import rows_used
from mapper.mapping import Mapping, Stage
from mapper.placement import KernelMapping
from mapper.violation import Violation

from .displaced import displaced_copies

__all__ = ["stacked_bodies", "turns"]


def stacked_bodies(mapping: Mapping) -> Iterator[Violation]:
    """Stages whose copies of the body have less rows than they take."""
    for stage in mapping.stages:
        copies = displaced_copies(mapping, stage, "rows")
        if stage.body is not None and copies > 1:
            body = mapping.bodies[stage.body]
            need, strip = _rows(mapping, body), stage.rect.height // copies
            if need > strip:
                found = f"{copies} copies of body {body.dfg.name!r} on {stage.rect.height} rows"
                yield Violation("stacked", f"stage {stage.name!r}", found, f"{need} rows for each")


def turns(mapping: Mapping, stage: Stage) -> int:
    """How often in a row the tail runs, so that all instances finish: 1 where each has rows for it."""
    if stage.tail is None or mapping.machine.fabric.topology != "line":
        return 1
    at_once = mapping.machine.fabric.rows // _rows(mapping, mapping.bodies[stage.tail])
    return math.ceil(displaced_copies(mapping, stage, "rows") / max(at_once, 1))


def _rows(mapping: Mapping, body: KernelMapping) -> int:
    """Rows of a body, and one more if its first row reads host constants."""
    last = mapping.machine.fabric.rows - 1
    before = any(use.row == last and use.value.startswith("h") for use in body.registers)
    return rows_used(body) + (before and rows_used(body) <= last)
