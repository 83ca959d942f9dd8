"""Files that appear whole or not at all.

A set is written to a fresh folder beside its destination, every file and the folder flushed to disk, and then
exchanged with the destination in one step; a kill at any moment leaves the older set or the new one. What a killed run
left beside it (`.NAME.partial-…`) is removed by the next run that writes there; a lock tells it from the work of a run
that is still alive. Only folders that an earlier run wrote (they hold `run.json`) or empty ones are replaced.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from glob import escape as glob_escape
from pathlib import Path
from typing import Any

from mapper.errors import InputError
from mapper.inputs import Loaded
from mapper.signals import undisturbed

__all__ = ["annotated", "usable", "write_file", "write_set"]

MARK = "run.json"
RENAME_EXCHANGE = 2


def usable(folder: Path) -> None:
    """Raise InputError unless a set can be written to `folder` (asked before the long work)."""
    try:
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise InputError("output place is not a folder", str(folder), "name a folder with -o")
        if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
            raise InputError("output folder holds other files", str(folder), "name a new or empty folder with -o")
        parent = _existing_parent(folder)
        if not os.access(parent, os.W_OK | os.X_OK):
            raise InputError("output folder cannot be written", str(folder), f"{parent} is not writable")
    except (OSError, ValueError) as error:
        raise _unwritable(folder, error) from error


def _existing_parent(folder: Path) -> Path:
    parent = folder.absolute().parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    return parent


def _unwritable(place: Path, error: OSError | ValueError) -> InputError:
    return InputError("output cannot be written", str(place), getattr(error, "strerror", None) or str(error))


def write_set(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write `files` (by their path in it) as the whole contents of `folder`; returns it. Raises InputError with nothing
    published."""
    usable(folder)
    place = folder.absolute()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        with _fresh_folder(place) as fresh:
            folders = sorted({(fresh / name).parent for name in files} | {fresh})
            for each in folders:
                each.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                _write_flushed(fresh / name, content)
            fresh.chmod(0o755)
            for each in reversed(folders):
                _flush_folder(each)
            with undisturbed():
                _publish(fresh, place)
        with contextlib.suppress(
            OSError
        ):  # the set is in its place; a parent that cannot be flushed takes nothing away
            _flush_folder(place.parent)
        return folder
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_file(path: Path, content: str | bytes) -> None:
    """Write one file whole: to a fresh folder beside it first, then renamed."""
    place = path.absolute()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        with _fresh_folder(place) as fresh:
            _write_flushed(fresh / "file", content)
            os.replace(fresh / "file", place)
    except OSError as error:
        raise _unwritable(path, error) from error


def _partial(place: Path) -> str:
    """How the names of folders begin that hold what is not yet in `place`."""
    return f".{place.name[:40]}.partial-"


@contextlib.contextmanager
def _fresh_folder(place: Path) -> Iterator[Path]:
    """A locked folder beside `place`; whatever it holds at the end is removed."""
    fresh = Path(tempfile.mkdtemp(prefix=_partial(place), dir=place.parent))
    lock = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _locked(lock)
        yield fresh
    finally:
        os.close(lock)
        shutil.rmtree(fresh, ignore_errors=True)


def _locked(descriptor: int) -> bool:
    """Lock an open folder until it is closed; False if another process holds it or the system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep(place: Path) -> None:
    """Remove what killed runs left beside `place`."""
    for left in sorted(place.parent.glob(glob_escape(_partial(place)) + "*")):
        with contextlib.suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if _locked(descriptor):
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_flushed(path: Path, content: str | bytes) -> None:
    data = content.encode("utf-8") if isinstance(content, str) else content
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)


def _publish(fresh: Path, folder: Path) -> None:
    """Put `fresh` in the place of `folder`; afterwards `fresh` holds the old contents, if there were any.

    Where folders cannot be swapped, the older set steps aside under a name that no sweep removes, and back if need be.
    """
    if folder.is_dir() and _exchanged(fresh, folder):
        return
    if not folder.is_dir() or not any(folder.iterdir()):
        os.rename(fresh, folder)
        return
    aside = folder.with_name(f".{folder.name[:40]}.older-{fresh.name[-8:]}")
    os.rename(folder, aside)
    try:
        os.rename(fresh, folder)
    except OSError:
        os.rename(aside, folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchanged(first: Path, second: Path) -> bool:
    """Swap two folders atomically where the system can (Linux renameat2)."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_cwd = -100
    return bool(rename(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), RENAME_EXCHANGE) == 0)


def annotated(loaded: Loaded, report: Mapping[str, Any]) -> bytes | None:
    """The model with place, cycles and bytes as metadata of each node; None where the input is no ONNX model."""
    if loaded.kind != "onnx":
        return None
    from mapper.report.annotated import annotate

    return annotate(loaded.source, report)
