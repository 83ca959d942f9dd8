"""Numbers with units as machine files write them: `64KiB`, `1.2pJ/B`, `145MHz`, `4.64GB/s`."""

from __future__ import annotations

import re

__all__ = ["quantity"]

_PREFIX = {
    "": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip
_FORM = re.compile(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([kKMGTP]?i?)(B/s|B/cycle|B|Hz|pJ/B|pJ)?\s*$")


def quantity(text: str | int | float, unit: str) -> float:
    """The number in the base unit (`B`, `Hz`, `B/s`, `B/cycle`, `pJ`, `pJ/B`; "" for a plain count).

    A bare number is taken to be in the base unit. Raises ValueError naming what was expected.
    """
    if isinstance(text, bool):
        raise ValueError(f"expected a number in {unit or 'units'}, found {text}")
    if isinstance(text, (int, float)):
        return float(text)
    match = _FORM.match(text)
    if match is None or match[2] not in _PREFIX or (match[3] or unit) != unit:
        example = {"B": "64KiB", "Hz": "145MHz", "B/s": "4.64GB/s", "pJ/B": "1.2pJ/B"}.get(unit, "8")
        raise ValueError(f"expected a number in {unit or 'units'} such as {example}, found {text[:40]!r}")
    return float(match[1]) * _PREFIX[match[2]]
