"""Files that appear whole or not at all.

A set is written to a fresh folder beside its destination, every file flushed to disk and closed, and then exchanged
with the destination in one step; a kill at any moment leaves the older set or the new one. Only folders that an earlier
run wrote (they hold `run.json`) or empty ones are replaced.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mapper.errors import InputError
from mapper.inputs import Loaded

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
    """Write `files` as the whole contents of `folder`; returns it. Raises InputError with nothing published."""
    usable(folder)
    fresh: Path | None = None
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}-", dir=folder.absolute().parent))
        for name, content in files.items():
            _write_flushed(fresh / name, content)
        fresh.chmod(0o755)
        _publish(fresh, folder.absolute())
        return folder
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        if fresh is not None and fresh.exists():
            shutil.rmtree(fresh, ignore_errors=True)


def write_file(path: Path, content: str | bytes) -> None:
    """Write one file whole: to a neighbour first, then renamed."""
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}-", dir=path.absolute().parent)
        os.close(handle)
        try:
            _write_flushed(Path(name), content)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _write_flushed(path: Path, content: str | bytes) -> None:
    data = content.encode("utf-8") if isinstance(content, str) else content
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)


def _publish(fresh: Path, folder: Path) -> None:
    """Put `fresh` in the place of `folder`; afterwards `fresh` holds the old contents, if there were any."""
    if folder.is_dir() and _exchanged(fresh, folder):
        return
    if folder.is_dir():
        old = fresh.with_name(fresh.name + "-old")
        os.rename(folder, old)
        os.rename(fresh, folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(fresh, folder)


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
