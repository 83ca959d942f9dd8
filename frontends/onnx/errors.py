"""The one error of this frontend: what is wrong, where in the file, and what would help; one short line each."""

from __future__ import annotations

__all__ = ["ModelError", "shown"]

LONGEST_NAME = 120


def shown(text: str, limit: int = LONGEST_NAME) -> str:
    """`text` fit for a terminal: control and other unprintable characters escaped, long names cut in the middle."""
    cut = text if len(text) <= limit else f"{text[: limit // 2]}...{text[-(limit // 4) :]}"
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape", "replace").decode() for ch in cut)


class ModelError(ValueError):
    """A model that cannot be taken. `str()` reads `what (where): hint`."""

    def __init__(self, what: str, where: str = "model", hint: str = "") -> None:
        self.what, self.where, self.hint = shown(what, 240), shown(where), shown(hint, 240)
        tail = f": {self.hint}" if self.hint else ""
        super().__init__(f"{self.what} ({self.where}){tail}")
