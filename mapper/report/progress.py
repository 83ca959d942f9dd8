"""Progress on stderr while a run searches: one live line on a terminal, plain lines elsewhere, nothing if quiet.

The live line holds the present step and, while a solver runs, the best answer so far with its bound and gap. It is
erased at the end, so what stays on the screen is the result. Rich draws it, and honours NO_COLOR.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mapper.errors import clean
from mapper.request import Incumbent

__all__ = ["Display", "Style", "display", "style"]

Style = Literal["live", "lines", "none"]


class Display(Protocol):
    """Where a run tells what it does."""

    def step(self, message: str) -> None:
        """A new step begins."""

    def incumbent(self, found: Incumbent) -> None:
        """The present step has a better answer or a better bound."""


class _Silent:
    def step(self, message: str) -> None:
        pass

    def incumbent(self, found: Incumbent) -> None:
        pass


@dataclass
class _Lines:
    """A line for each step and incumbent, with the seconds since the start."""

    started: float = field(default_factory=time.monotonic)

    def step(self, message: str) -> None:
        self._write(clean(message))

    def incumbent(self, found: Incumbent) -> None:
        self._write(f"  {found}")

    def _write(self, words: str) -> None:
        print(f"[{time.monotonic() - self.started:6.1f} s] {words}", file=sys.stderr)


class _Live:
    """One line that is drawn over and over."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        one_line = Column(no_wrap=True, overflow="ellipsis")
        words = TextColumn("{task.description}", markup=False, table_column=one_line)
        columns = (SpinnerColumn(), TimeElapsedColumn(), words)
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("")
        self._step = ""

    def step(self, message: str) -> None:
        self._step = clean(message)
        self._bar.update(self._task, description=self._step)

    def incumbent(self, found: Incumbent) -> None:
        self._bar.update(self._task, description=f"{self._step}: {found}")

    @contextmanager
    def shown(self) -> Iterator[_Live]:
        with self._bar:
            yield self


def style(verbose: int, quiet: bool, no_progress: bool, terminal: bool) -> Style:
    """Live on a terminal, plain lines where asked for with -v, else nothing."""
    if quiet:
        return "none"
    if terminal and not no_progress:
        return "live"
    return "lines" if verbose else "none"


@contextmanager
def display(how: Style) -> Iterator[Display]:
    """The display for the time of a run."""
    if how == "live":
        with _Live().shown() as live:
            yield live
    else:
        yield _Lines() if how == "lines" else _Silent()
