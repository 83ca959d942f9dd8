"""Baselines: every system that the field names, as memories and peaks, and the roofline bound of a model on it.

Not a target: nothing is placed. `rows` gives one row per system; the formulation stands in `bound.py`, what crosses a
memory boundary in `crossing.py`, the published figures in `systems/*.yaml` and `energy.yaml`.
"""

from __future__ import annotations

from collections.abc import Sequence

from mapper.comparison import Row
from mapper.ir import Graph

from .bound import model_facts, row
from .system import eyeriss_ratio, names, system, system_file

__all__ = ["eyeriss_ratio", "names", "rows", "system", "system_file"]


def rows(graph: Graph, ids: Sequence[str]) -> tuple[Row, ...]:
    """The optimised `graph` on the systems called `ids`."""
    facts = model_facts(graph)
    return tuple(row(facts, system(name)) for name in ids)
