"""Collects the operations of a body: equal operations become one, constants fold, missing operations are replaced.

Operands are numbers of earlier operations, :class:`Literal` constants, or `SELF`, the previous value of an
accumulator. What the style's PE lacks (`abs`, `neg`, `not`, `fma`) is written with what it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mapper.ir import Access

from .primitives import PRIMITIVES, apply, literal_word
from .style import Style

__all__ = ["SELF", "Before", "Builder", "Literal", "Operand", "Step", "Touch"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: a float stands for its float32 word, an integer for its int32 word."""

    value: float | int

    @property
    def key(self) -> tuple[str, str]:
        return type(self.value).__name__, repr(self.value)


@dataclass(frozen=True, slots=True)
class Self:
    """The value that an accumulator had before this iteration."""


SELF = Self()


@dataclass(frozen=True, slots=True)
class Before:
    """The value that accumulator `step` had before this iteration (arrays with explicit phis only)."""

    step: int


Operand = int | Literal | Self | Before


def _of_kind(operand: Operand, kind: str) -> Operand:
    """A constant as the kind of number that the operation reads, with the same word."""
    if not isinstance(operand, Literal) or kind == "w" or isinstance(operand.value, float) == (kind == "f"):
        return operand
    word = literal_word(operand.value)
    return Literal(float(word.view(np.float32)) if kind == "f" else int(word.view(np.int32)))


@dataclass(frozen=True, slots=True)
class Touch:
    """What a load or store reaches: element `access` of a region; `role` tells regions of one tensor apart,
    `address` feeds the address unit, `data` and `predicate` belong to stores,
    `point` is the copy that a gathered element belongs to."""

    access: Access
    role: str
    address: int | None = None
    data: Operand | None = None
    predicate: int | None = None
    point: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One operation; `initial` starts an accumulator, `touch` belongs to loads and stores."""

    op: str
    operands: tuple[Operand, ...]
    initial: float | int | None = None
    touch: Touch | None = None


@dataclass
class Builder:
    """The body under construction, operands before users."""

    style: Style
    steps: list[Step] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    _known: dict[object, int] = field(default_factory=dict)

    def op(self, name: str, *operands: Operand) -> Operand:
        """The value of operation `name`; folds constants and reuses an equal operation."""
        operands = tuple(map(_of_kind, operands, PRIMITIVES[name].operands))
        replaced = self._replaced(name, operands)
        if replaced is not None:
            return replaced
        if all(isinstance(o, Literal) for o in operands):
            return self._folded(name, [o for o in operands if isinstance(o, Literal)])
        return self._append(Step(name, operands))

    def accumulate(self, name: str, operands: tuple[Operand, ...], initial: float | int) -> int:
        """An operation with `SELF` among its operands: its value is carried from iteration to iteration."""
        return self._append(Step(name, operands, initial))

    def chain(self, name: object, step: int, initial: int = 0) -> int:
        """The induction variable called `name`: starts at `initial`, grows by `step` every iteration."""
        key = ("chain", name)
        if key not in self._known:
            self._known[key] = self._new(Step("iadd", (Literal(step), SELF), initial - step))
        return self._known[key]

    def origin(self, region: object, const: int) -> int:
        """The constant part of the first address of `region`; later addresses are relative to it."""
        return self._known.setdefault(("origin", region), const)

    def load(self, touch: Touch) -> int:
        """A load; the same element is loaded once."""
        key = ("load", touch.access, touch.role, touch.address)
        if key not in self._known:
            self._known[key] = self._new(Step("load", (), None, touch))
        return self._known[key]

    def store(self, touch: Touch) -> int:
        return self._new(Step("store", (), None, touch))

    def _replaced(self, name: str, operands: tuple[Operand, ...]) -> Operand | None:
        """`name` written with operations that the PE has; None when it has `name` itself."""
        if name in self.style.operations:
            return None
        if name == "fma":
            return self.op("add", self.op("mul", operands[0], operands[1]), operands[2])
        if name == "abs":
            return self.op("and", operands[0], Literal(0x7FFFFFFF))
        if name == "neg":
            return self.op("xor", operands[0], Literal(-0x80000000))
        if name == "not":
            return self.op("xor", operands[0], Literal(-1))
        raise ValueError(f"style {self.style.name!r} lacks operation {name!r} and nothing replaces it")

    def _folded(self, name: str, operands: list[Literal]) -> Literal:
        word = apply(name, [literal_word(o.value) for o in operands])
        kind = PRIMITIVES[name].result
        if kind == "w":
            kind = "f" if isinstance(operands[-1].value, float) else "i"
        return Literal(float(word.view(np.float32)) if kind == "f" else int(word.view(np.int32)))

    def _append(self, step: Step) -> int:
        key = (step.op, tuple(o.key if isinstance(o, Literal) else o for o in step.operands), step.initial)
        if key not in self._known:
            self._known[key] = self._new(step)
        return self._known[key]

    def _new(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1
