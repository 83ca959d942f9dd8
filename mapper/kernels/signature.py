"""A content hash of loop bodies: equal bodies are mapped once.

Names of the body, its tensors and its source stay out. With `values` false, immediates, host constants' values and
initial values stay out too: such bodies place and route alike, but compute something else.
"""

from __future__ import annotations

import hashlib

from mapper.dfg import Dfg

__all__ = ["signature"]


def signature(dfg: Dfg, values: bool = True) -> str:
    """Hexadecimal SHA-256 of the body's structure."""
    nodes = [
        (n.id, n.op, n.kind, n.stages if values else tuple(s.split()[0] for s in n.stages), n.host, n.self_update,
         n.constant if values else n.constant is None, n.memory, n.pin)
        for n in sorted(dfg.nodes, key=lambda n: n.id)
    ]  # fmt: skip
    regions = [(r.id, r.words, r.share, r.may_split, r.one_row) for r in dfg.regions]
    known = dfg.host_values if values else ()
    content = (nodes, sorted(dfg.edges), regions, dfg.loop_levels, dfg.loop_host, dfg.complete, known)
    return hashlib.sha256(repr(content).encode()).hexdigest()
