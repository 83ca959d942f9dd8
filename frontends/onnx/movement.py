"""Operators that only move data: views where bytes keep their order, nests with one read per element elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from mapper.index import Index, constant
from mapper.ir import Access
from mapper.scalar import Const, Counter, Scalar

from .context import Context, Reads
from .errors import ModelError
from .joining import concatenate
from .nests import axis_of, call, identity, loops_over, move, names_of, spread
from .node import Node
from .opaque import send_to_host

__all__ = ["TABLE", "slice_into", "view_as"]

# Views -------------------------------------------------------------------------------------------------------------


def view_as(c: Context, node: Node, shape: Sequence[int], position: int = 0) -> None:
    """The first input under `shape`. Raises ModelError if the elements do not fit."""
    x = node.input(0)
    if math.prod(shape) != math.prod(c.shape(x)):
        raise ModelError(f"{list(c.shape(x))} cannot be seen as {list(shape)[:8]}", node.name)
    if tuple(shape) == c.shape(x):
        c.rename(node, x, position)
    else:
        c.view(node, x, c.output(node, position, shape, c.dtype(x)))


def reshape(c: Context, node: Node) -> None:
    wanted = node.ints("shape") if node.version < 5 else c.ints(node, 1, "shape")
    source, zero = c.shape(node.input(0)), bool(node.int("allowzero"))
    if any(e == 0 and i >= len(source) for i, e in enumerate(wanted or ()) if not zero):
        raise ModelError(f"Reshape copies a dimension that {list(source)} lacks", node.name)
    shape = [source[i] if e == 0 and not zero else e for i, e in enumerate(wanted or ())]
    if shape.count(-1) > 1 or any(e < -1 for e in shape):
        raise ModelError(f"Reshape to {shape[:8]} is not a shape", node.name)
    if -1 in shape:
        known = math.prod(e for e in shape if e != -1)
        total = math.prod(source)
        if known == 0 or total % known:
            raise ModelError(f"{list(source)} cannot be seen as {shape[:8]}", node.name)
        shape[shape.index(-1)] = total // known
    view_as(c, node, shape)


def flatten(c: Context, node: Node) -> None:
    shape = c.shape(node.input(0))
    axis = node.int("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise ModelError(f"axis {axis} of a tensor of rank {len(shape)}", node.name)
    axis = axis + len(shape) if axis < 0 else axis
    view_as(c, node, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _axes(c: Context, node: Node) -> tuple[int, ...] | None:
    return c.ints(node, 1, "axes") if node.input(1) else node.ints("axes")


def squeeze(c: Context, node: Node) -> None:
    shape, axes = c.shape(node.input(0)), _axes(c, node)
    gone = (
        [axis_of(a, len(shape), node.name) for a in axes]
        if axes is not None
        else [i for i, e in enumerate(shape) if e == 1]
    )
    if any(shape[a] != 1 for a in gone):
        raise ModelError(f"Squeeze of {list(shape)} along {gone}", node.name, "only extents of 1 can go")
    view_as(c, node, [e for i, e in enumerate(shape) if i not in gone])


def unsqueeze(c: Context, node: Node) -> None:
    axes = _axes(c, node)
    if axes is None:
        raise ModelError("Unsqueeze has no axes", node.name)
    shape = list(c.shape(node.input(0)))
    rank = len(shape) + len(axes)
    for axis in sorted(axis_of(a, rank, node.name) for a in axes):
        shape.insert(axis, 1)
    view_as(c, node, shape)


# One read per element ----------------------------------------------------------------------------------------------


def transpose(c: Context, node: Node) -> None:
    x = node.input(0)
    shape = c.shape(x)
    order = node.ints("perm") or tuple(reversed(range(len(shape))))
    if sorted(order) != list(range(len(shape))):
        raise ModelError(f"Transpose by {list(order)} of a tensor of rank {len(shape)}", node.name)
    target = [shape[i] for i in order]
    if [i for i in order if shape[i] != 1] == [i for i in range(len(shape)) if shape[i] != 1]:
        return view_as(c, node, target)  # only extents of 1 change place
    out = c.output(node, 0, target, c.dtype(x))
    move(c, node, x, out, lambda at: [at[order.index(i)] for i in range(len(shape))])
    return None


def slice_into(
    c: Context, node: Node, x: str, out: str, starts: Sequence[int], steps: Sequence[int], label: str = ""
) -> str:
    """out[i] = x[starts + steps * i]."""
    return move(c, node, x, out, lambda at: [a * s + b for a, s, b in zip(at, steps, starts, strict=True)], label)


def slice_(c: Context, node: Node) -> None:
    x = node.input(0)
    shape = c.shape(x)
    starts, ends, axes, steps = _slice_arguments(c, node, len(shape))
    begins, strides, extents = [0] * len(shape), [1] * len(shape), list(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis_of(axis, len(shape), node.name)
        if step == 0:
            raise ModelError("Slice by steps of 0", node.name)
        chosen = range(*slice(start, _end(end, step), step).indices(shape[axis]))
        begins[axis], strides[axis], extents[axis] = chosen.start, step, len(chosen)
    if tuple(extents) == shape and all(s == 1 for s in strides):
        return c.rename(node, x)
    slice_into(c, node, x, c.output(node, 0, extents, c.dtype(x)), begins, strides)
    return None


def _end(end: int, step: int) -> int | None:
    """Past the first element when stepping down to the very start."""
    return None if step < 0 and end <= -(1 << 31) else end


def _slice_arguments(c: Context, node: Node, rank: int) -> tuple[Sequence[int], ...]:
    if node.version < 10:
        starts, ends = node.ints("starts") or (), node.ints("ends") or ()
        axes, steps = node.ints("axes") or tuple(range(len(starts))), (1,) * len(starts)
    else:
        starts, ends = c.ints(node, 1, "starts"), c.ints(node, 2, "ends")
        axes = c.ints(node, 3, "axes") if node.input(3) else tuple(range(len(starts)))
        steps = c.ints(node, 4, "steps") if node.input(4) else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or len(starts) > rank:
        raise ModelError("Slice's starts, ends, axes and steps differ in length", node.name)
    return starts, ends, axes, steps


def split(c: Context, node: Node) -> None:
    x = node.input(0)
    shape = c.shape(x)
    axis = axis_of(node.int("axis", 0), len(shape), node.name)
    parts = c.ints(node, 1, "split") if node.input(1) else node.ints("split")
    if parts is None:
        count = node.int("num_outputs", len(node.outputs))
        if not len(node.outputs) <= count <= max(shape[axis], len(node.outputs)):
            raise ModelError(f"Split of {shape[axis]} elements into {count} parts", node.name)
        each = -(-shape[axis] // max(count, 1))
        parts = tuple(max(0, min(each, shape[axis] - i * each)) for i in range(count))
    if sum(parts) != shape[axis] or len(parts) < len(node.outputs) or any(p < 0 for p in parts):
        raise ModelError(f"Split of {shape[axis]} elements into {list(parts)[:8]}", node.name)
    offset = 0
    for position, (name, extent) in enumerate(zip(node.outputs, parts, strict=False)):
        if name:
            out = c.output(node, position, [extent if i == axis else e for i, e in enumerate(shape)], c.dtype(x))
            slice_into(c, node, x, out, [offset if i == axis else 0 for i in range(len(shape))], [1] * len(shape))
        offset += extent


def concat(c: Context, node: Node) -> None:
    names = list(node.inputs)
    shapes = [c.shape(name) for name in names]
    if c.dtype(names[0]) == "string":
        return send_to_host(c, node)
    axis = axis_of(node.int("axis", 1 if node.version < 4 else 0), len(shapes[0]), node.name)
    rest = {s[:axis] + s[axis + 1 :] for s in shapes}
    if len(rest) != 1 or len({len(s) for s in shapes}) != 1:
        text = ", ".join(str(list(s)) for s in shapes[:4])
        raise ModelError(f"Concat of {text} along axis {axis}", node.name, "all other extents must agree")
    if len(names) == 1:
        return c.rename(node, names[0])
    total = sum(s[axis] for s in shapes)
    shape = (*shapes[0][:axis], total, *shapes[0][axis + 1 :])
    concatenate(c, node, names, axis, c.output(node, 0, shape, c.dtype(names[0])))
    return None


def expand(c: Context, node: Node) -> None:
    x = node.input(0)
    source, wanted = c.shape(x), c.ints(node, 1, "shape")
    rank = max(len(source), len(wanted))
    left, right = (1,) * (rank - len(source)) + source, (1,) * (rank - len(wanted)) + wanted
    if any(a != b and 1 not in (a, b) for a, b in zip(left, right, strict=True)):
        raise ModelError(f"{list(source)} does not expand to {list(wanted)[:8]}", node.name)
    shape = tuple(b if a == 1 else a for a, b in zip(left, right, strict=True))
    if shape == source:
        return c.rename(node, x)
    out = c.output(node, 0, shape, c.dtype(x))
    move(c, node, x, out, lambda at: spread(source, at, shape))
    return None


def tile(c: Context, node: Node) -> None:
    x = node.input(0)
    shape, repeats = c.shape(x), c.ints(node, 1, "repeats")
    if len(repeats) != len(shape):
        raise ModelError(f"Tile of rank {len(shape)} by {len(repeats)} repeats", node.name)
    out = c.output(node, 0, [e * r for e, r in zip(shape, repeats, strict=True)], c.dtype(x))
    move(c, node, x, out, lambda at: [a % e if e else constant(0) for a, e in zip(at, shape, strict=True)])


def pad(c: Context, node: Node) -> None:
    x = node.input(0)
    shape, rank = c.shape(x), len(c.shape(x))
    pads = node.ints("pads") or node.ints("paddings") if node.version < 11 else c.ints(node, 1, "pads")
    axes = [axis_of(a, rank, node.name) for a in c.ints(node, 3, "axes")] if node.input(3) else list(range(rank))
    if pads is None or len(pads) != 2 * len(axes) or any(abs(p) > 1 << 40 for p in pads):
        raise ModelError("Pad has impossible pads", node.name, "one before and one after for each axis")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[len(axes) + i]
    target = [e + b + a for e, b, a in zip(shape, before, after, strict=True)]
    mode = node.text("mode", "constant")
    if mode == "constant":
        out = c.output(node, 0, target, c.dtype(x))
        _pad_constant(c, node, x, out, before)
    else:
        _pad_from_inside(c, node, x, before, target, mode)


def _pad_constant(c: Context, node: Node, x: str, out: str, before: Sequence[int]) -> None:
    shape, target = c.shape(x), c.shape(out)
    at = identity(len(shape))
    reads = Reads(c)
    index = [a - b for a, b in zip(at, before, strict=True)]
    guards = [g for i, e in zip(index, shape, strict=True) for g in (i, e - 1 - i)]
    fill = node.float("value") if node.version < 11 else 0
    if node.version >= 11 and node.input(2):
        value = c.value(node.input(2))
        if value is None or value.dtype.kind == "O":
            return _pad_runtime(c, node, x, out, index, guards)
        fill = value.reshape(-1)[0].item() if value.size else 0
    body = reads(x, index, guards, fill)
    c.nest(node, loops_over(target), reads, Access(out, at), body)
    return None


def _pad_runtime(c: Context, node: Node, x: str, out: str, index: Sequence[Index], guards: Sequence[Index]) -> None:
    """A fill that only run time knows: a second read, chosen outside the image by comparing counters."""
    reads = Reads(c)
    value = reads(x, index, guards)
    fill = reads(node.input(2), [constant(0)] * len(c.shape(node.input(2))))
    names, shape = names_of(len(c.shape(out))), c.shape(x)
    inside: Scalar = Const(True)
    for name, i, extent in zip(names, index, shape, strict=True):
        at = call("add", Counter(name), i.const)
        inside = call("and", inside, call("and", call("greater_equal", at, 0), call("less", at, extent)))
    c.nest(node, loops_over(c.shape(out)), reads, Access(out, identity(len(shape))), call("where", inside, value, fill))


def _pad_from_inside(c: Context, node: Node, x: str, before: Sequence[int], target: Sequence[int], mode: str) -> None:
    """Edge, reflect and wrap, one axis after another."""
    changed = [i for i, (e, t) in enumerate(zip(c.shape(x), target, strict=True)) if e != t or before[i]]
    if not changed:
        return c.rename(node, x)
    for axis in changed:
        shape = list(c.shape(x))
        shape[axis] = target[axis]
        out = (
            c.output(node, 0, shape, c.dtype(x))
            if axis == changed[-1]
            else c.temporary(node, f"pad{axis}", shape, c.dtype(x))
        )
        _pad_axis(c, node, x, out, axis, before[axis], mode)
        x = out
    return None


def _pad_axis(c: Context, node: Node, x: str, out: str, axis: int, before: int, mode: str) -> None:
    extent, rank = c.shape(x)[axis], len(c.shape(x))
    after = c.shape(out)[axis] - before - extent
    at = identity(rank)
    inner = at[axis] - before
    if extent == 0 or (mode == "reflect" and max(before, after) >= extent):
        raise ModelError(f"Pad by {max(before, after)} reflects more than the {extent} elements there are", node.name)
    if mode == "wrap":
        move(c, node, x, out, lambda i: [inner % extent if d == axis else a for d, a in enumerate(i)])
        return
    low = -1 * inner if mode == "reflect" else constant(0)
    high = 2 * (extent - 1) - inner if mode == "reflect" else constant(extent - 1)
    reads = Reads(c)

    def at_place(place: Index) -> Scalar:
        return reads(x, [place if d == axis else a for d, a in enumerate(at)], (place, extent - 1 - place))

    counter = Counter(names_of(rank)[axis])
    body = call("where", call("less", counter, before + extent), at_place(inner), at_place(high))
    body = call("where", call("less", counter, before), at_place(low), body)
    c.nest(node, loops_over(c.shape(out)), reads, Access(out, at), body)


def depth_to_space(c: Context, node: Node) -> None:
    """out[b, c, y, x] = in[b, channel(c, y mod s, x mod s), y / s, x / s]."""
    x, size = node.input(0), node.int("blocksize")
    shape = c.shape(x)
    if len(shape) != 4 or size < 1 or shape[1] % (size * size):
        raise ModelError(f"DepthToSpace of {list(shape)} by blocks of {size}", node.name)
    depth = shape[1] // (size * size)
    out = c.output(node, 0, (shape[0], depth, shape[2] * size, shape[3] * size), c.dtype(x))
    by_column = node.text("mode", "DCR") == "CRD"

    def index(at: tuple[Index, ...]) -> list[Index]:
        block = (at[2] % size) * size + at[3] % size
        channel = at[1] * (size * size) + block if by_column else block * depth + at[1]
        return [at[0], channel, at[2] // size, at[3] // size]

    move(c, node, x, out, index)


def space_to_depth(c: Context, node: Node) -> None:
    x, size = node.input(0), node.int("blocksize")
    shape = c.shape(x)
    if len(shape) != 4 or size < 1 or shape[2] % size or shape[3] % size:
        raise ModelError(f"SpaceToDepth of {list(shape)} by blocks of {size}", node.name)
    out = c.output(node, 0, (shape[0], shape[1] * size * size, shape[2] // size, shape[3] // size), c.dtype(x))
    by_column = node.text("mode", "DCR") == "CRD"

    def index(at: tuple[Index, ...]) -> list[Index]:
        depth = at[1] // (size * size) if by_column else at[1] % shape[1]
        block = at[1] % (size * size) if by_column else at[1] // shape[1]
        return [at[0], depth, at[2] * size + block // size, at[3] * size + block % size]

    move(c, node, x, out, index)


# Elements that depend on their place only --------------------------------------------------------------------------


def trilu(c: Context, node: Node) -> None:
    x = node.input(0)
    shape = c.shape(x)
    names = names_of(len(shape))
    offset = c.ints(node, 1, "diagonal")[0] if node.input(1) else 0
    out = c.output(node, 0, shape, c.dtype(x))
    distance = call("sub", Counter(names[-1]), Counter(names[-2]))
    kept = call("greater_equal" if node.int("upper", 1) else "less_equal", distance, offset)
    reads = Reads(c)
    value = reads(x, identity(len(shape)))
    body = call("where", kept, value, False if c.dtype(x) == "bool" else 0)
    c.nest(node, loops_over(shape), reads, Access(out, identity(len(shape))), body)


def fill(c: Context, node: Node, shape: Sequence[int], value: float | int | bool, dtype: str) -> None:
    out = c.output(node, 0, shape, dtype)
    c.nest(node, loops_over(shape), Reads(c), Access(out, identity(len(shape))), Const(value))


TABLE: Mapping[str, Callable[[Context, Node], None]] = {
    "Reshape": reshape, "Flatten": flatten, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose,
    "Slice": slice_, "Split": split, "Concat": concat, "Expand": expand, "Tile": tile, "Pad": pad,
    "DepthToSpace": depth_to_space, "SpaceToDepth": space_to_depth, "Trilu": trilu,
}  # fmt: skip
