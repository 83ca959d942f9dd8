"""Graph -> Graph, plain functions; :func:`optimise` is the standard pipeline.

Each pass takes a valid graph and gives a valid graph that computes the same outputs.
"""

from __future__ import annotations

from mapper.ir import Graph

from .account import account
from .dead import remove_dead
from .empty import settle_empty
from .forward import forward_reads
from .fuse import fuse_elementwise
from .prepare import prepare
from .recompute import recompute
from .scale import fold_scales
from .share import share_reads

__all__ = [
    "account",
    "fold_scales",
    "forward_reads",
    "fuse_elementwise",
    "optimise",
    "prepare",
    "recompute",
    "remove_dead",
    "settle_empty",
    "share_reads",
]


def optimise(graph: Graph) -> Graph:
    """Drops empty and dead work, reads through copies, prepares what weights decide, fuses chains, computes again what
    costs more to move, reads nothing twice, folds scales."""
    graph = prepare(forward_reads(remove_dead(settle_empty(graph))))
    graph = fold_scales(share_reads(recompute(fuse_elementwise(graph))))
    return account(remove_dead(graph))
