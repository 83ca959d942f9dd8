"""Graph -> Graph, plain functions; :func:`optimise` is the standard pipeline.

Each pass takes a valid graph and gives a valid graph that computes the same outputs.
"""

from __future__ import annotations

from mapper.ir import Graph

from .account import account
from .dead import remove_dead
from .forward import forward_reads
from .fuse import fuse_elementwise
from .prepare import prepare
from .scale import fold_scales

__all__ = ["account", "fold_scales", "forward_reads", "fuse_elementwise", "optimise", "prepare", "remove_dead"]


def optimise(graph: Graph) -> Graph:
    """Drops dead code, reads through copies, prepares weight-only work, fuses elementwise chains, folds scales."""
    graph = prepare(forward_reads(remove_dead(graph)))
    graph = fold_scales(fuse_elementwise(graph))
    return account(remove_dead(graph))
