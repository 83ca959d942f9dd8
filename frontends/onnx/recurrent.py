"""RNN, GRU and LSTM: one projection of the whole input, then a few nests per time step.

The projection x W + b of all steps is a single matrix product. A step multiplies the state by R, adds its slice of
the projection in the tail, and mixes gates and state elementwise; each step reads the state that the one before made.

    RNN    h = f(x W + h' R + b)
    GRU    z, r = f(..); n = g(x W + (r h') R + b)  or  g(x W + b + r (h' R + b'));  h = (1 - z) n + z h'
    LSTM   i, o, f = f(..); n = g(..); c = f c' + i n; h = o h(c), with optional peepholes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mapper.index import Index, constant, loop
from mapper.ir import Access, Combiner, Loop
from mapper.scalar import Acc, Const, Counter, Scalar

from .context import Context, Reads
from .errors import ModelError
from .joining import WIDEST, chosen_part, stack_into
from .nests import accumulator, call
from .node import Node
from .opaque import send_to_host

__all__ = ["TABLE"]

MOST_STEPS = 20_000
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
_ALPHA = {"LeakyRelu": 0.01, "HardSigmoid": 0.2, "Elu": 1.0, "ThresholdedRelu": 1.0, "Affine": 1.0, "ScaledTanh": 1.0}
_BETA = {"HardSigmoid": 0.5, "ScaledTanh": 1.0}

Activation = Callable[[Scalar], Scalar]


@dataclass(frozen=True, slots=True)
class StepReads:
    """Reads of one elementwise step: `gate` of a [batch, gate, hidden] tensor, `state` of a [batch, hidden] one,
    `peephole` of the weights that let a gate see the cell."""

    reads: Reads
    direction: int
    hidden: int

    def state(self, name: str) -> Scalar:
        return self.reads(name, (loop("b"), loop("k")))

    def gate(self, name: str, number: int) -> Scalar:
        return self.reads(name, (loop("b"), constant(number), loop("k")))

    def peephole(self, name: str, number: int) -> Scalar:
        return self.reads(name, (constant(self.direction), loop("k") + number * self.hidden))


@dataclass(frozen=True, slots=True)
class Cell:
    """One direction of a recurrent node: extents, names and activations."""

    direction: int
    reverse: bool
    steps: int
    batch: int
    hidden: int
    gates: int
    activations: tuple[Activation, ...]
    clip: float | None
    projection: str = ""


def recurrent(c: Context, node: Node) -> None:
    x, w, r = node.inputs[:3]
    batch_first = bool(node.int("layout"))
    image = c.shape(x)
    if len(image) != 3 or len(c.shape(w)) != 3 or len(c.shape(r)) != 3:
        raise ModelError(f"{node.op_type} of ranks {len(image)}, {len(c.shape(w))} and {len(c.shape(r))}", node.name)
    steps, batch = (image[1], image[0]) if batch_first else (image[0], image[1])
    if node.input(4) and not _all_full(c, node.input(4), steps):
        return send_to_host(c, node)
    if steps > MOST_STEPS:
        raise ModelError(f"{node.op_type} over {steps} steps", node.name, f"at most {MOST_STEPS} are taken")
    directions, hidden = c.shape(r)[0], c.shape(r)[2]
    way = node.text("direction", "forward")
    if directions != (2 if way == "bidirectional" else 1) or c.shape(r)[1] != GATES[node.op_type] * hidden:
        raise ModelError(f"{node.op_type}'s weights {list(c.shape(r))} do not fit direction {way!r}", node.name)
    states, finals, cells = [], [], []
    for d in range(directions):
        reverse = way == "reverse" or d == 1
        cell = Cell(d, reverse, steps, batch, hidden, GATES[node.op_type], _activations(node, d), _clip(node))
        sequence, last_cell = _run(c, node, cell, batch_first)
        states.append(sequence)
        finals.append(sequence[0 if reverse else -1])
        cells.append(last_cell)
    _outputs(c, node, states, finals, cells, batch_first)
    return None


def _all_full(c: Context, name: str, steps: int) -> bool:
    known = c.value(name)
    return known is not None and bool((known == steps).all())


def _clip(node: Node) -> float | None:
    return node.float("clip") if node.has("clip") else None


def _activations(node: Node, direction: int) -> tuple[Activation, ...]:
    names = node.texts("activations") or _DEFAULTS[node.op_type] * 2
    each = len(_DEFAULTS[node.op_type])
    alphas, betas = list(node.floats("activation_alpha") or ()), list(node.floats("activation_beta") or ())
    found: list[Activation] = []
    for name in names:
        alpha = alphas.pop(0) if name in _ALPHA and alphas else _ALPHA.get(name, 0.0)
        beta = betas.pop(0) if name in _BETA and betas else _BETA.get(name, 0.0)
        found.append(_activation(name, alpha, beta, node))
    return tuple(found[direction * each : (direction + 1) * each])


def _activation(name: str, alpha: float, beta: float, node: Node) -> Activation:
    table: Mapping[str, Activation] = {
        "Tanh": lambda x: call("tanh", x),
        "Sigmoid": lambda x: call("sigmoid", x),
        "Relu": lambda x: call("max", x, 0.0),
        "Affine": lambda x: call("add", call("mul", x, alpha), beta),
        "LeakyRelu": lambda x: call("where", call("less", x, 0.0), call("mul", x, alpha), x),
        "ThresholdedRelu": lambda x: call("where", call("greater", x, alpha), x, 0.0),
        "ScaledTanh": lambda x: call("mul", call("tanh", call("mul", x, beta)), alpha),
        "HardSigmoid": lambda x: call("max", call("min", call("add", call("mul", x, alpha), beta), 1.0), 0.0),
        "Elu": lambda x: call("where", call("less", x, 0.0), call("mul", alpha, call("sub", call("exp", x), 1.0)), x),
        "Softsign": lambda x: call("div", x, call("add", call("abs", x), 1.0)),
        "Softplus": lambda x: call("softplus", x),
    }
    if name not in table:
        raise ModelError(f"activation {name!r} of {node.op_type} is unknown", node.name)
    return table[name]


# One direction -----------------------------------------------------------------------------------------------------


def _run(c: Context, node: Node, cell: Cell, batch_first: bool) -> tuple[list[str], str]:
    """Hidden states by time, and the last cell state ("" without one)."""
    cell = replace(cell, projection=_project(c, node, cell, batch_first))
    step = {"RNN": _rnn_step, "GRU": _gru_step, "LSTM": _lstm_step}[node.op_type]
    h = _initial(c, node, cell, 5, batch_first, "h0")
    state = _initial(c, node, cell, 6, batch_first, "c0") if node.op_type == "LSTM" else ""
    found = [""] * cell.steps
    for t in reversed(range(cell.steps)) if cell.reverse else range(cell.steps):
        h, state = step(c, node, cell, t, h, state)
        found[t] = h
    return found, state


def _loops(cell: Cell, *names: str) -> tuple[Loop, ...]:
    extents = {"t": cell.steps, "b": cell.batch, "g": cell.gates, "k": cell.hidden, "j": cell.hidden}
    return tuple(Loop(n, extents[n]) for n in names)


def _label(cell: Cell, text: str) -> str:
    return f"d{cell.direction}.{text}"


def _project(c: Context, node: Node, cell: Cell, batch_first: bool) -> str:
    """projection[t, b, g, k] = sum over i of x[t, b, i] W[g, k, i] + biases."""
    x, w, bias = node.input(0), node.input(1), node.input(3)
    dtype, inputs = c.dtype(x), c.shape(x)[2]
    out = c.temporary(node, _label(cell, "projection"), (cell.steps, cell.batch, cell.gates, cell.hidden), dtype)
    t, b, g, k, i = (loop(n) for n in "tbgki")
    row = g * cell.hidden + k
    reads = Reads(c)
    product = call(
        "mul", reads(x, (b, t, i) if batch_first else (t, b, i)), reads(w, (constant(cell.direction), row, i))
    )
    tail: Scalar | None = None
    if bias:
        first = reads(bias, (constant(cell.direction), row))
        second = reads(bias, (constant(cell.direction), row + cell.gates * cell.hidden))
        if node.op_type == "GRU" and node.int("linear_before_reset"):
            second = call("where", call("less", Counter("g"), 2), second, 0.0)  # the third belongs inside the reset
        tail = call("add", call("add", Acc(), first), second)
    combiner = Combiner("sum", accumulator(dtype))
    loops = (*_loops(cell, "t", "b", "g", "k"), Loop("i", inputs))
    c.nest(
        node,
        loops,
        reads,
        Access(out, (t, b, g, k)),
        product,
        combiner,
        tail,
        label=_label(cell, "projection"),
        counted=True,
    )
    return out


def _initial(c: Context, node: Node, cell: Cell, position: int, batch_first: bool, label: str) -> str:
    """The state before the first step as [batch, hidden]; zero if the model gives none."""
    out = c.temporary(node, _label(cell, label), (cell.batch, cell.hidden), c.dtype(node.input(0)))
    reads, name = Reads(c), node.input(position)
    d, b, k = constant(cell.direction), loop("b"), loop("k")
    body = reads(name, (b, d, k) if batch_first else (d, b, k)) if name else Const(0.0)
    c.nest(node, _loops(cell, "b", "k"), reads, Access(out, (b, k)), body, label=_label(cell, label))
    return out


def _clipped(cell: Cell, x: Scalar) -> Scalar:
    return x if cell.clip is None else call("max", call("min", x, cell.clip), -cell.clip)


def _state_product(
    c: Context, node: Node, cell: Cell, t: int, h: str, gates: Sequence[int], label: str,
    finish: Callable[[Scalar], Scalar], reset: str = "", projected: bool = True, bias: bool = False,
) -> str:  # fmt: skip
    """out[b, g, k] = finish(sum over j of h[b, j] R[gate, k, j] + projection[t, b, gate, k]); gates are consecutive."""
    dtype = c.dtype(h)
    out = c.temporary(node, _label(cell, f"{label}{t}"), (cell.batch, len(gates), cell.hidden), dtype)
    b, g, k, j = (loop(n) for n in "bgkj")
    gate = g + gates[0] if len(gates) > 1 else constant(gates[0])
    reads = Reads(c)
    value = reads(h, (b, j))
    if reset:
        value = call("mul", reads(reset, (b, constant(1), j)), value)
    d = constant(cell.direction)
    product = call("mul", value, reads(node.input(2), (d, gate * cell.hidden + k, j)))
    total: Scalar = Acc()
    if projected:
        total = call("add", total, reads(cell.projection, (constant(t), b, gate, k)))
    if bias and node.input(3):
        total = call("add", total, reads(node.input(3), (d, gate * cell.hidden + k + cell.gates * cell.hidden)))
    write = Access(out, (b, g if len(gates) > 1 else constant(0), k))
    loops = (Loop("b", cell.batch), *((Loop("g", len(gates)),) if len(gates) > 1 else ()), *_loops(cell, "k", "j"))
    combiner = Combiner("sum", accumulator(dtype))
    c.nest(node, loops, reads, write, product, combiner, finish(total), label=_label(cell, f"{label}{t}"), counted=True)
    return out


def _mixed(c: Context, node: Node, cell: Cell, t: int, label: str, body: Callable[[StepReads], Scalar]) -> str:
    """out[b, k] = body(reads): gates and states mixed element by element."""
    out = c.temporary(node, _label(cell, f"{label}{t}"), (cell.batch, cell.hidden), c.dtype(node.input(0)))
    reads = Reads(c)
    value = body(StepReads(reads, cell.direction, cell.hidden))
    write = Access(out, (loop("b"), loop("k")))
    c.nest(node, _loops(cell, "b", "k"), reads, write, value, label=_label(cell, f"{label}{t}"))
    return out


def _rnn_step(c: Context, node: Node, cell: Cell, t: int, h: str, state: str) -> tuple[str, str]:
    wide = _state_product(c, node, cell, t, h, [0], "h", lambda x: cell.activations[0](_clipped(cell, x)))
    return _flat(c, node, cell, wide), state


def _flat(c: Context, node: Node, cell: Cell, wide: str) -> str:
    """[batch, 1, hidden] seen as [batch, hidden]."""
    out = c.temporary(node, f"{wide.rsplit('.', 1)[-1]}.state", (cell.batch, cell.hidden), c.dtype(wide))
    c.view(node, wide, out)
    return out


def _gru_step(c: Context, node: Node, cell: Cell, t: int, h: str, state: str) -> tuple[str, str]:
    f, g = cell.activations
    gates = _state_product(c, node, cell, t, h, [0, 1], "zr", lambda x: f(_clipped(cell, x)))
    if node.int("linear_before_reset"):
        inner = _state_product(c, node, cell, t, h, [2], "n", lambda x: x, projected=False, bias=True)
        reads_projection = _slice_of_projection(c, node, cell, t)
    else:
        inner = _state_product(c, node, cell, t, h, [2], "n", lambda x: g(_clipped(cell, x)), reset=gates)
        reads_projection = ""

    def candidate(read: StepReads) -> Scalar:
        value = read.gate(inner, 0)
        if not reads_projection:
            return value
        return g(_clipped(cell, call("add", read.state(reads_projection), call("mul", read.gate(gates, 1), value))))

    def body(read: StepReads) -> Scalar:
        z = read.gate(gates, 0)
        return call("add", call("mul", call("sub", 1.0, z), candidate(read)), call("mul", z, read.state(h)))

    return _mixed(c, node, cell, t, "h", body), state


def _slice_of_projection(c: Context, node: Node, cell: Cell, t: int) -> str:
    """The candidate's part of the projection at step t as [batch, hidden]."""
    out = c.temporary(node, _label(cell, f"x{t}"), (cell.batch, cell.hidden), c.dtype(cell.projection))
    reads, b, k = Reads(c), loop("b"), loop("k")
    body = reads(cell.projection, (constant(t), b, constant(2), k))
    c.nest(node, _loops(cell, "b", "k"), reads, Access(out, (b, k)), body, label=_label(cell, f"x{t}"))
    return out


def _lstm_gate(cell: Cell, x: Scalar) -> Scalar:
    """Gate "g" of 0 to 3 activated, once per element: i, o and f by the first function, the candidate by the second.

    With the usual pair one function serves both, since tanh x = 2 sigmoid(2 x) - 1.
    """
    f, g, _ = cell.activations
    last = call("equal", Counter("g"), 3)
    if (f(x), g(x)) != (call("sigmoid", x), call("tanh", x)):
        return call("where", last, g(x), f(x))
    factor = call("where", last, 2.0, 1.0)
    return call("sub", call("mul", call("sigmoid", call("mul", x, factor)), factor), call("where", last, 1.0, 0.0))


def _lstm_step(c: Context, node: Node, cell: Cell, t: int, h: str, state: str) -> tuple[str, str]:
    f, _, final = cell.activations
    peepholes = node.input(7)
    finish: Activation = (lambda x: x) if peepholes else (lambda x: _lstm_gate(cell, _clipped(cell, x)))
    gates = _state_product(c, node, cell, t, h, [0, 1, 2, 3], "gates", finish)

    def gate(read: StepReads, number: int, at: str, peep: int) -> Scalar:
        value = read.gate(gates, number)
        if not peepholes:
            return value
        return f(_clipped(cell, call("add", value, call("mul", read.peephole(peepholes, peep), read.state(at)))))

    def candidate(read: StepReads) -> Scalar:
        value = read.gate(gates, 3)
        return cell.activations[1](_clipped(cell, value)) if peepholes else value

    def cell_state(read: StepReads) -> Scalar:
        i = gate(read, 0, state, 0)
        forget = call("sub", 1.0, i) if node.int("input_forget") else gate(read, 2, state, 2)
        return call("add", call("mul", forget, read.state(state)), call("mul", i, candidate(read)))

    new = _mixed(c, node, cell, t, "c", cell_state)
    h = _mixed(c, node, cell, t, "h", lambda read: call("mul", gate(read, 1, new, 1), final(read.state(new))))
    return h, new


# Outputs -----------------------------------------------------------------------------------------------------------


def _outputs(
    c: Context,
    node: Node,
    states: Sequence[Sequence[str]],
    finals: Sequence[str],
    cells: Sequence[str],
    batch_first: bool,
) -> None:
    steps, (batch, hidden) = len(states[0]), c.shape(finals[0])
    dtype, ways = c.dtype(finals[0]), len(states)
    t, d, b, k = (loop(n) for n in "tdbk")
    loops = (Loop("t", steps), Loop("d", ways), Loop("b", batch), Loop("k", hidden))
    if node.output(0):
        shape = (batch, steps, ways, hidden) if batch_first else (steps, ways, batch, hidden)
        out = c.output(node, 0, shape, dtype)
        flat = [(i * ways + j, states[j][i]) for i in range(steps) for j in range(ways)]
        if len(flat) > WIDEST:
            _long(c, node, states, out, batch_first)
        else:
            write = Access(out, (b, t, d, k) if batch_first else (t, d, b, k))
            _gathered(c, node, flat, loops, write, "y")
    for position, tensors in ((1, finals), (2, cells)):
        if node.output(position):
            last = (batch, ways, hidden) if batch_first else (ways, batch, hidden)
            out = c.output(node, position, last, dtype)
            write = Access(out, (b, d, k) if batch_first else (d, b, k))
            _gathered(c, node, list(enumerate(tensors)), loops[1:], write, f"y{position}")


def _long(c: Context, node: Node, states: Sequence[Sequence[str]], out: str, batch_first: bool) -> None:
    """All states of many steps: each direction stacked over time, in groups, then the directions joined."""
    dtype, (batch, hidden) = c.dtype(out), c.shape(states[0][0])
    runs = []
    for i, parts in enumerate(states):
        label = f"d{i}.all"
        runs.append(c.temporary(node, label, (len(parts), batch, hidden), dtype))
        stack_into(c, node, parts, 0, runs[-1], label)
    t, d, b, k = (loop(n) for n in "tdbk")
    loops = (Loop("t", len(states[0])), Loop("d", len(states)), Loop("b", batch), Loop("k", hidden))
    reads = Reads(c)
    chosen = [(i + 1, reads(run, (t, b, k), (d - i, i - d) if len(runs) > 1 else ())) for i, run in enumerate(runs)]
    write = Access(out, (b, t, d, k) if batch_first else (t, d, b, k))
    c.nest(node, loops, reads, write, chosen_part(chosen, Counter("d")), label="y")


def _gathered(
    c: Context, node: Node, parts: Sequence[tuple[int, str]], loops: Sequence[Loop], write: Access, label: str
) -> None:
    """Stacks states: the part that (t, d) asks for, by the loop counters."""
    reads = Reads(c)
    ways = next(x.extent for x in loops if x.name == "d")
    counter: Scalar = Counter("d")
    if loops[0].name == "t":
        counter = call("add", call("mul", Counter("t"), ways), counter)
    index: tuple[Index, ...] = (loop("b"), loop("k"))
    slot = loop("t") * ways + loop("d") if loops[0].name == "t" else loop("d")
    body = chosen_part([(n + 1, reads(name, index, (slot - n, n - slot))) for n, name in parts], counter)
    c.nest(node, loops, reads, write, body, label=label)


TABLE: Mapping[str, Callable[[Context, Node], None]] = {"RNN": recurrent, "GRU": recurrent, "LSTM": recurrent}
