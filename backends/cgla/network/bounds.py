"""The least that lanes with memories of their own move, beside the bound for one memory of their total size.

A lane computes whole outputs (reductions are not shared between lanes), and lanes share the work evenly. Let a read of
B1 bytes depend on output loops X and Z, another of B2 bytes on Y and Z, and P lanes run over |Z| independent products.
A lane's outputs number at least |X||Y||Z| / P, and x rows and y columns hold at most x y of them, so if every lane
reads a share of the first operand that sums to d1 times B1 and of the second that sums to d2 times B2, then
d1 d2 >= P / |Z|, each at least 1. Hence

    bytes >= min over d1 d2 = max(1, P / |Z|) of  B1 d1 + B2 d2  +  output

by the inequality of the means where both are above 1. (The isoperimetric argument of Irony, Toledo, Tiskin 2004, for
outputs that are not split.) It holds for every pair of reads with all others read once; the best pair counts. Windows
are counted without the halo that neighbouring outputs share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from mapper.bounds import op_bound_bytes, touched_elements
from mapper.dtypes import bytes_of
from mapper.ir import Graph, Op

__all__ = ["lane_bound_bytes"]


def lane_bound_bytes(
    graph: Graph, op: Op, lanes: int, memory_bytes: int, resident: frozenset[str] = frozenset()
) -> int:
    """Bytes that `lanes` lanes exchange with the backing store; `memory_bytes` is local memory of all together, and
    tensors that are `resident` (roots of views) stay in it."""
    shared = op_bound_bytes(graph, op, memory_bytes, resident)
    if op.combiner is None or len(op.reads) < 2:
        return shared.bytes
    outside = [graph.root(read.tensor) not in resident for read in op.reads]
    sizes = [bytes_of(touched_elements(graph, op, r), graph.tensor(r.tensor).dtype) * out
             for r, out in zip(op.reads, outside, strict=True)]  # fmt: skip
    split = (_split_more(op, sizes, pair, lanes) for pair in combinations(range(len(sizes)), 2))
    return max(shared.bytes, shared.compulsory_bytes + max(split))


def _split_more(op: Op, sizes: Sequence[int], pair: tuple[int, int], lanes: int) -> int:
    """Bytes that lanes read of a pair of operands beyond one copy of each."""
    first, second = (op.reads[number].loops & op.output_loops for number in pair)
    if not (first - second and second - first) or 0 in (sizes[pair[0]], sizes[pair[1]]):
        return 0  # windows may lie in padding alone, and residents are not read
    products = math.prod(op.extents[name] for name in first & second)
    once = sizes[pair[0]], sizes[pair[1]]
    return max(0, math.floor(_split(*once, max(1.0, lanes / products))) - sum(once))


def _split(first_bytes: float, second_bytes: float, copies: float) -> float:
    """Least of first d1 + second d2 with d1 d2 = copies and both at least 1."""
    best = min(max(math.sqrt(copies * second_bytes / first_bytes), 1.0), copies)
    return first_bytes * best + second_bytes * copies / best
