"""Faults that users see as one line: `error: WHAT (WHERE): HINT`, each with its exit code."""

from __future__ import annotations

import unicodedata

__all__ = ["CheckFailed", "DoesNotFit", "InputError", "MapperError", "Unsupported", "clean"]


class MapperError(Exception):
    """A fault with its parts as data. `exit_code` follows the command line's contract."""

    exit_code = 1

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        where = f" ({clean(self.where)})" if self.where else ""
        hint = f": {clean(self.hint, 400)}" if self.hint else ""
        return f"{clean(self.what, 400)}{where}{hint}"


class InputError(MapperError):
    """Wrong usage, file, machine or option."""

    exit_code = 2


class DoesNotFit(MapperError):
    """Something needs more of a resource than there is."""

    exit_code = 3


class Unsupported(MapperError):
    """An operator that `--strict` refuses."""

    exit_code = 4


class CheckFailed(MapperError):
    """A check or a comparison failed."""

    exit_code = 5


def clean(text: str, limit: int = 200) -> str:
    """`text` on one line: control characters escaped, cut to `limit` characters."""
    shown = "".join(c if unicodedata.category(c)[0] != "C" else repr(c)[1:-1] for c in text[: limit + 1])
    return shown if len(text) <= limit else shown[:limit] + "…"
