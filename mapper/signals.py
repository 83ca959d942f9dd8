"""Ctrl-C and SIGTERM: a run ends within seconds, with a complete set of outputs or with nothing.

The first signal only asks: searches read :data:`asked`, stop, and their incumbent is written. Who has not come to an
end `GRACE_SECONDS` later is ended by KeyboardInterrupt, as by a second signal. Once an answer is complete, nothing
stops its being written (:meth:`Stop.finish`, :func:`undisturbed`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["GRACE_SECONDS", "Stop", "aside", "asked", "interruptible", "undisturbed"]

Result = TypeVar("Result")

GRACE_SECONDS = 3.0
ENDINGS = (signal.SIGINT, signal.SIGTERM)
asked = threading.Event()


class Stop:
    """What :func:`interruptible` gives to the run that it guards."""

    finished = False

    def is_set(self) -> bool:
        """Whether a signal has asked for an end."""
        return asked.is_set()

    def finish(self) -> None:
        """The answer is complete: from here on no grace period ends the run."""
        self.finished = True
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def interruptible() -> Iterator[Stop]:
    """Turn the first SIGINT or SIGTERM into a request to stop with the incumbent; main thread only."""
    stop, previous = Stop(), dict[signal.Signals, Any]()

    def request_stop(number: int, _frame: Any) -> None:
        asked.set()
        signal.signal(number, previous[signal.Signals(number)] or signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0 if stop.finished else GRACE_SECONDS)

    previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, _give_up)
    for number in ENDINGS:
        previous[number] = signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)
        asked.clear()


def _give_up(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put off the signals that end a run until what is inside is done: short work that must be whole."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*ENDINGS, signal.SIGALRM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def aside(work: Callable[[], Result], stop: Callable[[], None] | None = None) -> Result | None:
    """The result of `work`, run in a thread, so that the main thread stays free to receive signals.

    For long calls that hold no interpreter lock. When an end is asked for, `stop` makes `work` return early; without
    `stop` it is left alone, and the result is None.
    """
    result: list[Result] = []
    fault: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:  # carried to the caller's thread below
            fault.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
            if asked.is_set() and stop is None:
                return None
            if asked.is_set() and stop is not None:
                stop()
    except BaseException:  # the caller is ended: so is the work
        if stop is not None:
            stop()
        raise
    if fault:
        raise fault[0]
    return result[0]
