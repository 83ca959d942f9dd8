"""com.microsoft attention: Attention, MultiHeadAttention, GroupQueryAttention, RotaryEmbedding.

All are softmax(scale q k^T + masks) v per head. They differ in where a head's elements lie (in one flat axis, in an
axis of their own, interleaved with other operands), which an :class:`Operand` states as an access, so that no copy is
made; and in what is done before: biases, rotary angles, past keys and values in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mapper.index import Gathered, Index, constant, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Acc, Counter, Scalar

from .context import Context, Reads
from .errors import ModelError
from .nests import accumulator, call, computed
from .node import Node
from .opaque import send_to_host
from .reductions import softmax_over

__all__ = ["TABLE"]

Layout = Literal["flat", "heads", "packed", "stacked"]


@dataclass(frozen=True, slots=True)
class Operand:
    """Queries, keys or values inside a tensor.

    flat: [batch, length, .. heads * size ..] from `part` on; heads: [batch, heads, length, size];
    packed: [batch, length, heads, parts, size], ours is `part`; stacked: [parts, batch, heads, length, size].
    """

    tensor: str
    heads: int
    size: int
    length: int
    layout: Layout = "flat"
    part: int = 0

    def at(self, b: Index, position: Index, head: Index, k: Index) -> tuple[Index, ...]:
        if self.layout == "flat":
            return (b, position, head * self.size + k + self.part)
        if self.layout == "heads":
            return (b, head, position, k)
        if self.layout == "packed":
            return (b, position, head, constant(self.part), k)
        return (constant(self.part), b, head, position, k)


@dataclass(frozen=True, slots=True)
class Masks:
    """What is added to or cut from the scores.

    `additive` broadcasts to [batch, heads, steps, memory]; `lengths` [batch] and `seen` ([batch, memory] or
    [batch, steps, memory], 0 = hidden) hide keys by `filter`; `causal` hides later keys, `window` those further back
    than it; `cap` bounds the scores by tanh.
    """

    additive: str = ""
    lengths: str = ""
    seen: str = ""
    filter: float = -10000.0
    causal: bool = False
    window: int = 0
    cap: float = 0.0


def attend(c: Context, node: Node, query: Operand, key: Operand, value: Operand, out: str, masks: Masks) -> None:
    """softmax(scale q k^T + masks) v into `out` [batch, steps, heads * size]; query heads may share key heads."""
    batch, dtype = c.shape(out)[0], c.dtype(query.tensor)
    share = query.heads // max(key.heads, 1)
    combiner = Combiner("sum", accumulator(dtype))
    scores = c.temporary(node, "scores", (batch, query.heads, query.length, key.length), accumulator(dtype))
    b, h, m, n, k = (loop(x) for x in "bhmnk")
    reads = Reads(c)
    left = computed(reads(query.tensor, query.at(b, m, h, k)), dtype)
    right = computed(reads(key.tensor, key.at(b, n, h // share, k)), c.dtype(key.tensor))
    total = _masked(c, reads, call("mul", Acc(), node.float("scale") or 1 / math.sqrt(query.size)), masks, query, key)
    extents = (batch, query.heads, query.length, key.length, query.size)
    c.nest(
        node, _loops("bhmnk", extents), reads, Access(scores, (b, h, m, n)), call("mul", left, right), combiner, total,
        label="scores", counted=True,
    )  # fmt: skip
    weights = c.temporary(node, "weights", c.shape(scores), c.dtype(scores))
    softmax_over(c, node, scores, weights, (3,))
    reads = Reads(c)
    mixed = computed(reads(value.tensor, value.at(b, n, h // share, k)), c.dtype(value.tensor))
    product = call("mul", reads(weights, (b, h, m, n)), mixed)
    extents = (batch, query.heads, query.length, value.size, key.length)
    c.nest(
        node, _loops("bhmkn", extents), reads, Access(out, (b, m, h * value.size + k)), product, combiner,
        label="mix", counted=True,
    )  # fmt: skip


def _loops(names: str, extents: Sequence[int]) -> tuple[Loop, ...]:
    return tuple(Loop(name, extent) for name, extent in zip(names, extents, strict=True))


def _masked(c: Context, reads: Reads, total: Scalar, masks: Masks, query: Operand, key: Operand) -> Scalar:
    """The scores with everything that hides or shifts them."""
    b, h, m, n = (loop(x) for x in "bhmn")
    if masks.cap:
        total = call("mul", call("tanh", call("div", total, masks.cap)), masks.cap)
    if masks.additive:
        shape, at = c.shape(masks.additive), (b, h, m, n)[-len(c.shape(masks.additive)) :]
        index = tuple(constant(0) if extent == 1 else i for extent, i in zip(shape, at, strict=True))
        total = call("add", total, computed(reads(masks.additive, index), c.dtype(masks.additive)))
    if masks.seen:
        at = (b, n) if len(c.shape(masks.seen)) == 2 else (b, m, n)
        hidden = call("equal", reads(masks.seen, at), 0)
        total = call("where", hidden, call("add", total, masks.filter), total)
    if masks.lengths:
        hidden = call("greater_equal", Counter("n"), reads(masks.lengths, (b,)))
        total = call("where", hidden, call("add", total, masks.filter), total)
    own = call("add", Counter("m"), key.length - query.length)
    if masks.causal:
        total = call("where", call("less_equal", Counter("n"), own), total, -math.inf)
    if masks.window:
        total = call("where", call("less", Counter("n"), call("sub", own, masks.window - 1)), -math.inf, total)
    return total


# Before the heads --------------------------------------------------------------------------------------------------


def _biased(c: Context, node: Node, x: Operand, bias: str, offset: int, label: str) -> Operand:
    """The operand plus its stretch of the joint bias, in its own flat tensor."""
    if not bias:
        return x
    batch = c.shape(x.tensor)[0]
    out = c.temporary(node, label, (batch, x.length, x.heads * x.size), c.dtype(x.tensor))
    b, m, h, k = (loop(i) for i in "bmhk")
    reads, place = Reads(c), h * x.size + k
    body = call("add", reads(x.tensor, x.at(b, m, h, k)), reads(bias, (place + offset,)))
    c.nest(
        node, _loops("bmhk", (batch, x.length, x.heads, x.size)), reads, Access(out, (b, m, place)), body, label=label
    )
    return Operand(out, x.heads, x.size, x.length)


def _present(c: Context, node: Node, fresh: Operand, past: str, position: int, label: str) -> Operand:
    """Past entries [batch, heads, before, size] and the new ones as one cache, which is output `position`."""
    before = c.shape(past)[2] if past else 0
    if not past and not node.output(position):
        return fresh
    batch, dtype = c.shape(fresh.tensor)[0], c.dtype(fresh.tensor)
    shape = (batch, fresh.heads, before + fresh.length, fresh.size)
    out = c.output(node, position, shape, dtype) if node.output(position) else c.temporary(node, label, shape, dtype)
    b, h, n, k = (loop(x) for x in "bhnk")
    reads, late = Reads(c), loop("n") - before
    body = reads(fresh.tensor, fresh.at(b, late, h, k), (late,) if before else ())
    if before:
        body = call("where", call("less", Counter("n"), before), reads(past, (b, h, n, k), (before - 1 - n,)), body)
    c.nest(node, _loops("bhnk", shape), reads, Access(out, (b, h, n, k)), body, label=label)
    return Operand(out, fresh.heads, fresh.size, shape[2], "heads")


def _turned(
    c: Context, node: Node, x: Operand, angles: tuple[str, str], positions: str, first: int, out: str
) -> Operand:
    """The operand turned by the angles of its positions: those given, or `first`, `first` + 1, ...

    y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin; pairs are halves of the turned part of a head, or neighbours when
    interleaved; a head's elements beyond twice the angles stay as they are.
    """
    cos, sin = angles
    batch, (rows, half) = c.shape(x.tensor)[0], c.shape(cos)
    if 2 * half > x.size:
        raise ModelError(f"{node.op_type} turns heads of {x.size} by {half} angles", node.name)
    b, s, h, j = (loop(i) for i in "bshj")
    reads = Reads(c)
    row, guards = _row(c, reads, positions, first, rows)
    if node.int("interleaved") or node.int("rotary_interleaved"):
        other, angle, left = (j // 2) * 2 + ((j + 1) % 2), j // 2, call("equal", call("mod", Counter("j"), 2), 0)
    else:
        other, angle, left = (j + half) % (2 * half), j % half, call("less", Counter("j"), half)
    inside = (2 * half - 1 - j,) if 2 * half < x.size else ()
    own = reads(x.tensor, x.at(b, s, h, j))
    pair = reads(x.tensor, x.at(b, s, h, other), inside)
    c_at, s_at = (reads(table, (row, angle), (*guards, *inside)) for table in (cos, sin))
    turned = call("add", call("mul", own, c_at), call("mul", call("where", left, -1.0, 1.0), call("mul", pair, s_at)))
    body = call("where", call("less", Counter("j"), 2 * half), turned, own) if inside else turned
    made = Operand(out, x.heads, x.size, x.length, "heads" if len(c.shape(out)) == 4 else "flat")
    c.nest(
        node, _loops("bshj", (batch, x.length, x.heads, x.size)), reads, Access(out, made.at(b, s, h, j)), body,
        label="" if out in node.outputs else out.rsplit(".", 1)[-1],
    )  # fmt: skip
    return made


def _row(c: Context, reads: Reads, positions: str, first: int, rows: int) -> tuple[Index, tuple[Index, ...]]:
    """The row of the angle tables for step s, and guards where nothing else keeps it inside."""
    if not positions:
        return loop("s") + first, ((rows - 1 - first) - loop("s"),)
    if math.prod(c.shape(positions)) > 1 or len(c.shape(positions)) == 2:
        return Index(((Gathered(reads.position(positions, (loop("b"), loop("s"))), rows), 1),)), ()
    at = (constant(0),) * len(c.shape(positions))
    row = Index(((Gathered(reads.position(positions, at), rows), 1),)) + loop("s")
    return row, (row, rows - 1 - row)


# Operators ---------------------------------------------------------------------------------------------------------


def multi_head(c: Context, node: Node) -> None:
    """MultiHeadAttention on operands of any of its layouts, bias first, past keys in front."""
    query, key, value = (_operand(c, node, i) for i in range(3))
    bias, padding, additive, past_key, past_value = (node.input(i) for i in range(3, 8))
    mask = _padding(c, node, padding, c.shape(query.tensor)[0]) if padding else {}
    if mask is None or any(node.input(i) for i in range(8, 11)) or node.output(3):
        return send_to_host(c, node)
    offset = 0
    made: list[Operand] = []
    for x, label in ((query, "q"), (key, "k"), (value, "v")):
        made.append(_biased(c, node, x, bias if x.layout != "heads" else "", offset, label))
        offset += x.heads * x.size
    query, key, value = made
    key, value = _present(c, node, key, past_key, 1, "key"), _present(c, node, value, past_value, 2, "value")
    out = c.output(node, 0, (c.shape(query.tensor)[0], query.length, query.heads * value.size), c.dtype(query.tensor))
    attend(c, node, query, key, value, out, _masks(node, additive, mask))
    return None


def _operand(c: Context, node: Node, position: int) -> Operand:
    """Query, key or value (0, 1, 2) of MultiHeadAttention."""
    heads = node.int("num_heads", 1)
    name, part = node.input(position), 0
    while not name:  # packed with the one before
        position, part = position - 1, part + 1
        name = node.input(position)
    shape = c.shape(name)
    if len(shape) == 3:
        return Operand(name, heads, shape[2] // heads, shape[1])
    if len(shape) == 4:
        return Operand(name, heads, shape[3], shape[2], "heads")
    if len(shape) == 5:
        return Operand(name, heads, shape[4], shape[1], "packed", part)
    raise ModelError(f"{node.op_type} of an operand of rank {len(shape)}", node.name)


def _padding(c: Context, node: Node, mask: str, batch: int) -> dict[str, str] | None:
    """How a mask of integers hides keys; None for a form that is not known here."""
    shape = c.shape(mask)
    if len(shape) == 1 and shape[0] == batch:
        return {"lengths": mask}
    return {"seen": mask} if len(shape) in (2, 3) else None


def _masks(node: Node, additive: str, padding: Mapping[str, str]) -> Masks:
    hidden, causal = node.float("mask_filter_value", -10000.0), bool(node.int("unidirectional"))
    return Masks(additive, padding.get("lengths", ""), padding.get("seen", ""), hidden, causal)


def attention(c: Context, node: Node) -> None:
    """Attention: one projection to q, k and v, past keys and values stacked in front, then heads."""
    x, w, bias, mask, past, additive = (node.input(i) for i in range(6))
    heads, (batch, steps, _) = node.int("num_heads", 1), c.shape(x)
    widths = node.ints("qkv_hidden_sizes") or (c.shape(w)[1] // 3,) * 3
    padding = _padding(c, node, mask, batch) if mask else {}
    if padding is None or node.int("do_rotary") or node.input(6):
        return send_to_host(c, node)
    offsets = (0, widths[0], widths[0] + widths[1])
    made = [_projected(c, node, x, w, bias, o, n, label) for o, n, label in zip(offsets, widths, "qkv", strict=True)]
    query, key, value = (Operand(t, heads, n // heads, steps) for t, n in zip(made, widths, strict=True))
    if past or node.output(1):
        key, value = _stacked(c, node, key, value, past)
    out = c.output(node, 0, (batch, steps, widths[2]), c.dtype(x))
    attend(c, node, query, key, value, out, _masks(node, additive, padding))
    return None


def _stacked(c: Context, node: Node, key: Operand, value: Operand, past: str) -> tuple[Operand, Operand]:
    """Keys and values as one tensor [2, batch, heads, length, size], past entries first."""
    before = c.shape(past)[3] if past else 0
    batch, dtype = c.shape(key.tensor)[0], c.dtype(key.tensor)
    shape = (2, batch, key.heads, before + key.length, key.size)
    out = c.output(node, 1, shape, dtype) if node.output(1) else c.temporary(node, "present", shape, dtype)
    t, b, h, n, k = (loop(x) for x in "tbhnk")
    reads, late = Reads(c), loop("n") - before
    new = [reads(x.tensor, x.at(b, late, h, k), (late, i * 2 * t - t + (1 - i))) for i, x in enumerate((key, value))]
    body = call("where", call("equal", Counter("t"), 0), *new)
    if before:
        body = call("where", call("less", Counter("n"), before), reads(past, (t, b, h, n, k), (before - 1 - n,)), body)
    c.nest(node, _loops("tbhnk", shape), reads, Access(out, (t, b, h, n, k)), body, label="present")
    first, second = (Operand(out, key.heads, key.size, shape[3], "stacked", part) for part in (0, 1))
    return first, second


def _projected(c: Context, node: Node, x: str, w: str, bias: str, offset: int, hidden: int, label: str) -> str:
    batch, steps, width = c.shape(x)
    out = c.temporary(node, label, (batch, steps, hidden), c.dtype(x))
    b, m, n, k = (loop(i) for i in "bmnk")
    reads = Reads(c)
    product = call("mul", computed(reads(x, (b, m, k)), c.dtype(x)), computed(reads(w, (k, n + offset)), c.dtype(w)))
    tail = call("add", Acc(), computed(reads(bias, (n + offset,)), c.dtype(bias))) if bias else None
    combiner = Combiner("sum", accumulator(c.dtype(x)))
    loops = _loops("bmnk", (batch, steps, hidden, width))
    c.nest(node, loops, reads, Access(out, (b, m, n)), product, combiner, tail, label=label, counted=True)
    return out


def group_query(c: Context, node: Node) -> None:
    """GroupQueryAttention: q, k, v apart or packed, rotary angles, past keys in front, causal, window and soft cap.

    The past has the length that its tensor has; positions count on from it.
    """
    past_key, past_value, positions, additive = (node.input(i) for i in (3, 4, 9, 10))
    if node.int("smooth_softmax") > 0 or node.input(11) or node.input(12) or node.int("kv_cache_bit_width"):
        return send_to_host(c, node)
    query, key, value = _grouped_operands(c, node)
    before = c.shape(past_key)[2] if past_key else 0
    if node.int("do_rotary"):
        angles = (node.input(7), node.input(8))
        turned = []
        for x, label in ((query, "turned_q"), (key, "turned_k")):
            out = c.temporary(node, label, (c.shape(x.tensor)[0], x.length, x.heads * x.size), c.dtype(x.tensor))
            turned.append(_turned(c, node, x, angles, positions, before, out))
        query, key = turned
    key, value = _present(c, node, key, past_key, 1, "key"), _present(c, node, value, past_value, 2, "value")
    shape = (c.shape(query.tensor)[0], query.length, query.heads * query.size)
    out = c.output(node, 0, shape, c.dtype(query.tensor))
    window = max(node.int("local_window_size", -1), 0)
    attend(c, node, query, key, value, out, Masks(additive, causal=True, window=window, cap=node.float("softcap")))
    return None


def _grouped_operands(c: Context, node: Node) -> tuple[Operand, Operand, Operand]:
    heads, key_heads = node.int("num_heads", 1), node.int("kv_num_heads", 1)
    query, key, value = node.inputs[:3]
    _, steps, width = c.shape(query)
    if not key:
        size = width // (heads + 2 * key_heads)
        starts = (0, heads * size, (heads + key_heads) * size)
        first, second, third = (
            Operand(query, n, size, steps, "flat", start)
            for n, start in zip((heads, key_heads, key_heads), starts, strict=True)
        )
        return first, second, third
    return (
        Operand(query, heads, width // heads, steps),
        Operand(key, key_heads, c.shape(key)[2] // key_heads, c.shape(key)[1]),
        Operand(value, key_heads, c.shape(value)[2] // key_heads, c.shape(value)[1]),
    )


def rotary(c: Context, node: Node) -> None:
    """RotaryEmbedding of [batch, steps, heads * size] or [batch, heads, steps, size]."""
    x, positions, cos, sin = node.inputs[:4]
    shape, half = c.shape(x), c.shape(cos)[1]
    if node.int("is_packed_batching") or len(shape) not in (3, 4):
        return send_to_host(c, node)
    if len(shape) == 4:
        operand = Operand(x, shape[1], shape[3], shape[2], "heads")
    else:
        heads = node.int("num_heads") or shape[2] // (2 * half)
        if heads == 0 or shape[2] % heads:
            raise ModelError(f"RotaryEmbedding of {list(shape)} by angles {list(c.shape(cos))}", node.name)
        operand = Operand(x, heads, shape[2] // heads, shape[1])
    _turned(c, node, operand, (cos, sin), positions, 0, c.output(node, 0, shape, c.dtype(x)))
    return None


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "MultiHeadAttention": multi_head, "Attention": attention, "GroupQueryAttention": group_query,
    "RotaryEmbedding": rotary,
}  # fmt: skip
