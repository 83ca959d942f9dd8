"""What a checker says: one broken rule, where, what was found and what was expected."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Violation"]


@dataclass(frozen=True, slots=True)
class Violation:
    """`rule` is broken by `subject`: `found` is not `expected`."""

    rule: str
    subject: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: found {self.found}, expected {self.expected}"
