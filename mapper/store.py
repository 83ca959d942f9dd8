"""Answers kept between runs: a folder of JSON documents, each named by the hash of its question.

A question says everything that the answer depends on, the code that answers included; so an answer never has to be
invalidated, and a run with the store gives the same bytes as one without. The folder is `$MAPPER_CACHE`, else
`mapper` in the user's cache folder; `MAPPER_CACHE=off` keeps nothing. A document that is damaged, or a folder that
cannot be written, is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import TypeVar

from mapper.codec import CodecError, decode, encode
from mapper.errors import InputError
from mapper.outputs import write_file

__all__ = ["code_digest", "keep", "recall"]

T = TypeVar("T")
VARIABLE = "MAPPER_CACHE"


def recall(kind: type[T], question: str) -> T | None:
    """The kept answer, a dataclass `kind`; None if there is none."""
    path = _path(question)
    if path is None:
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        answer = document["answer"]
        return decode(kind, answer) if document["digest"] == _digest(answer) else None
    except (OSError, ValueError, KeyError, TypeError, CodecError):
        return None


def keep(question: str, answer: object) -> None:
    """Keep a dataclass; the document appears whole or not at all."""
    path = _path(question)
    if path is None:
        return
    content = encode(answer)
    text = json.dumps({"question": question, "digest": _digest(content), "answer": content}, sort_keys=True)
    with contextlib.suppress(InputError):
        write_file(path, text)


@cache
def code_digest(package: str) -> str:
    """A hash of the sources of mapper and of `package`, and of the solver's version: what an answer may depend on."""
    files = sorted({path.resolve() for name in ("mapper", package) for path in _sources(name)})
    content = b"".join(path.read_bytes() for path in files)
    return hashlib.sha256(content + metadata.version("ortools").encode()).hexdigest()


def _sources(name: str) -> list[Path]:
    """The source files of a package, or the one of a module."""
    module = import_module(name)
    if not hasattr(module, "__path__"):
        return [Path(str(module.__file__))]
    return [path for folder in module.__path__ for path in Path(folder).rglob("*.py")]


def _path(question: str) -> Path | None:
    name = os.environ.get(VARIABLE, "")
    if name == "off":
        return None
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not name and not os.path.isabs(home):  # nobody's home: keep nothing
        return None
    folder = Path(name) if name else Path(home) / "mapper"
    key = hashlib.sha256(question.encode()).hexdigest()
    return folder / key[:2] / f"{key}.json"


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
