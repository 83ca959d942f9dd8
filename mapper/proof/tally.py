"""What a play of a mapping counts: elements per link, bytes per memory, bytes over links.

Elements become bytes link by link: packed, rounded up to whole bytes. Partial results travel in the accumulator's
type, and come back before the next fill: they are read at the outer memory, written at the inner one, and cross the
same links again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mapper.dtypes import BITS
from mapper.ir import Graph, Op

from .chains import UNITS, Feed, access_of

__all__ = ["LinkCount", "MemoryCount", "link_bytes", "memory_counts"]


@dataclass(frozen=True, slots=True)
class LinkCount:
    """Elements that leave one end of a link (`sent`) and reach the other (`received`), and elements x links crossed.

    Of a result, `partial` ones are not an element's last; `returned_hops` is what reading them back crosses again.
    """

    operand: int
    source: str
    target: str
    sent: int
    received: int
    hops: int
    partial_sent: int = 0
    partial_received: int = 0
    partial_hops: int = 0
    returned_hops: int = 0


@dataclass(frozen=True, slots=True)
class MemoryCount:
    """Bytes read from and written to one memory."""

    memory: str
    read_bytes: int
    write_bytes: int


def ends(feed: Feed) -> tuple[str, str]:
    """(source, target) of the link: results leave the inner memory."""
    return (feed.buffer.memory, feed.source) if feed.written else (feed.source, feed.buffer.memory)


def _packed(elements: int, dtype: str) -> int:
    return (elements * BITS[dtype] + 7) // 8


def link_bytes(graph: Graph, op: Op, link: LinkCount) -> tuple[tuple[tuple[str, int, int], ...], int]:
    """((memory, bytes read, bytes written), …) and bytes x links of one link."""
    final = graph.tensor(access_of(op, link.operand).tensor).dtype
    wide = op.combiner.accumulator if link.operand < 0 and op.combiner is not None else final
    sent = _packed(link.sent - link.partial_sent, final) + _packed(link.partial_sent, wide)
    received = _packed(link.received - link.partial_received, final) + _packed(link.partial_received, wide)
    back = _packed(link.partial_received, wide) if link.operand < 0 else 0
    hop_bytes = _packed(link.hops - link.partial_hops, final) + _packed(link.partial_hops, wide)
    hop_bytes += _packed(link.returned_hops, wide)
    return ((link.source, sent, back), (link.target, back, received)), hop_bytes


def memory_counts(names: Iterable[str], parts: Iterable[tuple[str, int, int]]) -> tuple[MemoryCount, ...]:
    """Sums per memory, in the order of `names`; the arithmetic units have no ports of their own."""
    read = dict.fromkeys(names, 0)
    write = dict(read)
    for memory, out, into in parts:
        if memory != UNITS:
            read[memory] += out
            write[memory] += into
    return tuple(MemoryCount(name, read[name], write[name]) for name in read)
