"""The writer of output sets without a whole run: killed before each of its lines, without space, in odd places."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from campaign import Trial

from mapper import outputs
from mapper.errors import MapperError

__all__ = ["Files", "contents", "places", "same", "writing"]


Files = dict[str, bytes]
Set = dict[str, str | bytes]


def contents(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.is_dir() else {}


def same(found: Files, expected: Files) -> bool:
    """Equal, but for the facts of the run."""
    return found.keys() == expected.keys() and all(found[n] == expected[n] for n in found if n != "run.json")


# killed and starved ---------------------------------------------------------------------------------------------------

OLD: Set = {"run.json": "{}", "a.json": "old" * 100}
NEW: Set = {"run.json": "{}", "a.json": "new" * 5000, "b.svg": "<svg/>", "c.onnx": b"\0" * 9000}


def writing(every: int = 1) -> Iterator[Trial]:
    """Kill the writer before every (`every`th) of its lines; over an older set, over nothing, over an empty folder."""
    for state in ("older", "nothing", "empty"):
        line = 0
        while True:
            with tempfile.TemporaryDirectory() as top:
                folder = _state(Path(top), state)
                before = contents(folder)
                killed = _killed_at(folder, line)
                yield replace(
                    _judged(f"writing over {state}, line event {line}", folder, before), row=f"writing over {state}"
                )
            if not killed:
                break
            line += every
    yield from _without_space()


def _state(top: Path, state: str) -> Path:
    folder = top / "out"
    if state == "older":
        outputs.write_set(folder, OLD)
    elif state == "empty":
        folder.mkdir()
    return folder


def _killed_at(folder: Path, line: int) -> bool:
    """Write NEW to `folder` in a child that is killed before its `line`th line; False if it came to the end."""
    child = os.fork()
    if child == 0:
        sys.settrace(_killer(line))
        outputs.write_set(folder, NEW)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _killer(line: int) -> Any:
    left = line

    def trace(frame: Any, event: str, _argument: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != outputs.__file__:
            return None
        if event == "line":
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return trace

    return trace


def _judged(name: str, folder: Path, before: Files) -> Trial:
    """The folder is as it was or complete, and the next run leaves nothing else beside it."""
    whole = {n: c.encode() if isinstance(c, str) else c for n, c in NEW.items()}
    found = contents(folder)
    if found not in (before, whole):
        return Trial(name, "half", f"the folder holds {sorted(found)}")
    outputs.write_set(folder, NEW)
    strays = [p.name for p in folder.parent.iterdir() if p != folder]
    if contents(folder) != whole or strays:
        return Trial(name, "next run", f"the next run leaves {strays}, {sorted(contents(folder))}")
    return Trial(name, "new" if found == whole else "as before")


def _without_space() -> Iterator[Trial]:
    """Each call of the writer that takes space fails in turn, as on a full disk."""
    for call in ("mkdtemp", "open", "fsync", "renamed"):
        for turn in range(8):
            with tempfile.TemporaryDirectory() as top:
                folder = _state(Path(top), "older")
                before = contents(folder)
                name = f"no space: {call} {turn}"
                if not _fails_at(folder, call, turn):
                    break
                strays = [p.name for p in folder.parent.iterdir() if p != folder]
                fault = (
                    "" if contents(folder) == before and not strays else f"left {strays}, {sorted(contents(folder))}"
                )
                yield Trial(name, "as before", fault)


def _fails_at(folder: Path, call: str, turn: int) -> bool:
    """Whether writing NEW is refused when the `turn`th use of `call` fails."""
    place: Any = {"mkdtemp": tempfile, "open": Path, "fsync": os, "renamed": os}[call]
    attribute = {"mkdtemp": "mkdtemp", "open": "open", "fsync": "fsync", "renamed": "rename"}[call]
    original, left = getattr(place, attribute), turn

    def failing(*words: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == -1:
            raise OSError(28, "No space left on device")
        return original(*words, **named)

    setattr(place, attribute, failing)
    swap = outputs._exchanged
    if call == "renamed":
        outputs._exchanged = lambda first, second: False
    try:
        outputs.write_set(folder, NEW)
    except MapperError:
        return True
    finally:
        setattr(place, attribute, original)
        outputs._exchanged = swap
    return False


# places ---------------------------------------------------------------------------------------------------------------


def places() -> Iterator[Trial]:
    """What may stand where the outputs shall go: replaced if it is ours or empty, else refused and left alone."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        for state, (make, accepted) in _PLACES.items():
            folder = top / state.replace(" ", "-") / "out"
            folder.parent.mkdir()
            make(folder)
            before = _listing(folder.parent)
            try:
                outputs.write_set(folder, NEW)
                written = True
            except MapperError:
                written = False
            after = _listing(folder.parent)
            fault = "" if written is accepted else ("written" if written else "refused")
            if not written and after != before:
                fault = f"changed: {before} to {after}"
            if written and sorted(p.name for p in folder.iterdir()) != sorted(NEW):
                fault = f"holds {sorted(p.name for p in folder.iterdir())}"
            yield Trial(f"place: {state}", "written" if written else "refused", fault)


def _listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _older(folder: Path) -> None:
    outputs.write_set(folder, OLD)


def _foreign(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")


def _link(folder: Path) -> None:
    _older(folder.with_name("real"))
    folder.symlink_to("real")


def _no_folder(folder: Path) -> None:
    folder.parent.rmdir()
    folder.parent.write_text("text")


def _partial(folder: Path) -> None:
    """An older set, and what a killed run left of another."""
    _older(folder)
    left = folder.with_name(".out.partial-12345678")
    left.mkdir()
    (left / "mapping.json").write_text("{")


_PLACES: dict[str, tuple[Callable[[Path], Any], bool]] = {
    "nothing": (lambda folder: None, True),
    "an empty folder": (Path.mkdir, True),
    "an older set": (_older, True),
    "an older set beside a killed run's": (_partial, True),
    "foreign files": (_foreign, False),
    "a file": (lambda folder: folder.write_text("text"), False),
    "a link to an older set": (_link, False),
    "a dangling link": (lambda folder: folder.symlink_to("nowhere"), False),
    "a pipe": (os.mkfifo, False),
    "a parent that is a file": (_no_folder, False),
}
