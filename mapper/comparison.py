"""The rows of a comparison: one model on one system, in units that the names carry.

A *baseline* row is a bound: no schedule of the model on that system is faster or moves less, under the assumptions that
its notes state. A *mapped* row is a mapping that passed the checker. Both count bytes at the ports of each memory, both
have movement in their own technology's picojoules, and both in energies of one 16-bit multiply-accumulate (Eyeriss
ratios), the only unit that may be compared over technology nodes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Figure", "LevelUse", "Row"]

Kind = Literal["baseline", "mapped"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A published number: `value` in base units, as stated with its unit, its source, and how far to trust it.

    `mark` is "" for a figure read in its source, else recalled, derived, disputed, projected or preliminary.
    """

    value: float
    stated: str
    source: str
    mark: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class LevelUse:
    """Bytes at the ports of one memory, and `inward_bytes` that cross the boundary below it; of a mapping also the
    attainable and the provable bytes there (`mapper.boundaries`)."""

    name: str
    kind: str
    bytes: int
    inward_bytes: int
    capacity_bytes: float | None = None
    bytes_per_s: float | None = None
    seconds: float | None = None
    energy_pj: float | None = None
    attainable_bytes: int | None = None
    provable_bytes: int | None = None


@dataclass(frozen=True)
class Row:
    """One system. Where `status` is not "ok", `words` say why and the figures are absent."""

    system: str
    name: str
    kind: Kind
    status: str = "ok"
    words: str = ""
    lives: str = ""
    chips: int = 1
    share_of_capacity: float | None = None
    dtype: str = ""
    peak_dtype: str = ""
    peak_macs_per_s: float | None = None
    macs: int = 0
    levels: tuple[LevelUse, ...] = ()
    seconds: float | None = None
    limited_by: str = ""
    stream_bytes: int = 0
    stream_seconds: float | None = None
    stream_pj: float | None = None
    movement_pj: float | None = None
    technology: str = ""
    eyeriss_macs: float | None = None
    hop_bytes: int = 0
    marks: tuple[str, ...] = ()  # kinds of doubt: marks of its figures, "unpublished" where an on-chip size is missing
    notes: tuple[str, ...] = ()
    figures: tuple[tuple[str, Figure], ...] = ()

    @property
    def outer(self) -> LevelUse | None:
        """The memory that the model is streamed from, or lives in."""
        return self.levels[0] if self.levels else None

    def as_dict(self) -> dict[str, Any]:
        """The row of `compare.json`: absent where a figure is not known."""
        found = {key: value for key, value in asdict(self).items() if value not in (None, "", ())}
        found["levels"] = {
            level.name: {k: v for k, v in asdict(level).items() if k != "name" and v is not None}
            for level in self.levels
        }
        found["figures"] = {name: asdict(figure) for name, figure in self.figures}
        time = "latency_bound_s" if self.kind == "baseline" else "latency_s"
        renamed = {"seconds": time, "stream_seconds": "stream_bound_s"}
        return {renamed.get(key, key): value for key, value in found.items()}
