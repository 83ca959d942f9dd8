"""The door: a path becomes a ModelProto that is worth reading, or one line that says why not.

`stat` comes first (a regular file, of bounded size), then the first bytes (what it is instead of a model), then the
wire itself (protobuf bounds its own recursion). Weights kept in other files are located and bounded, never opened;
weights inside the file are dropped as soon as they are counted.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from mapper import dtypes
from mapper.ir import Graph

from .errors import ModelError, shown
from .functions import DEEPEST_NESTING
from .lower import graph_of
from .node import dtype_name
from .validity import check_text

__all__ = ["load", "load_model", "read_model", "recognises"]

LARGEST_FILE_BYTES = 2_147_483_647  # protobuf's own limit
STRIP_BYTES = 1 << 20

_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer", "run `git lfs pull`"),
    (b"PK\x03\x04", "a zip archive", "unpack it, or export with torch.onnx.export"),
    (b"\x80\x02", "a Python pickle", "pickles are never opened; export with torch.onnx.export"),
    (b"\x80\x03", "a Python pickle", "pickles are never opened; export with torch.onnx.export"),
    (b"\x80\x04", "a Python pickle", "pickles are never opened; export with torch.onnx.export"),
    (b"\x80\x05", "a Python pickle", "pickles are never opened; export with torch.onnx.export"),
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"\x89HDF", "an HDF5 file", "convert it with tf2onnx"),
    (b"GGUF", "a GGUF file", "export the model to ONNX"),
    (b"ORTM", "an ORT format file", "use the .onnx file it was made from"),
    (b"\x7fELF", "a program", ""),
    (b"%PDF", "a PDF file", ""),
    (b"\x89PNG", "a picture", ""),
)


def recognises(path: Path, head: bytes) -> bool:
    """True for what should be read as ONNX: by its ending, or by a first field that ModelProto starts with."""
    return path.suffix.lower() == ".onnx" or head[:1] == b"\x08"


def load(path: Path, dims: Mapping[str, int] | None = None) -> Graph:
    """The graph of the model at `path`; `dims` binds symbolic dimensions. Raises ModelError."""
    model = read_model(Path(path))
    check_text(model)
    _check_external(model, Path(path))
    for tensor in _tensors(model):
        if len(tensor.raw_data) > STRIP_BYTES and tensor.data_type not in (TensorProto.INT64, TensorProto.STRING):
            tensor.ClearField("raw_data")
    return load_model(model, dims)


def load_model(model: ModelProto, dims: Mapping[str, int] | None = None) -> Graph:
    """The graph of a model in memory. Raises ModelError."""
    try:
        return graph_of(model, dims or {})
    except RecursionError:
        raise ModelError("expressions are nested too deep", "graph") from None


def read_model(path: Path) -> ModelProto:
    """The parsed file, weights included. Raises ModelError for anything that is not an ONNX model."""
    data = _bytes_of(path)
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, ValueError):
        raise ModelError("the file is cut off or is not an ONNX model", path.name, "does it open in Netron?") from None
    except UnicodeDecodeError:
        raise ModelError("the file holds names that are not text", path.name) from None
    if not model.graph.node and not model.graph.output:
        raise ModelError("the file holds no ONNX graph", path.name, "does it open in Netron?")
    return model


def _bytes_of(path: Path) -> bytes:
    try:
        found = os.stat(path)
    except OSError as fault:
        raise ModelError(f"cannot open the model: {fault.strerror}", str(path)) from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise ModelError(f"the model is {kind}", str(path), "name an .onnx file")
    if found.st_size == 0:
        raise ModelError("the file is empty", path.name)
    if found.st_size > LARGEST_FILE_BYTES:
        hint = "ONNX files end at 2 GiB; larger models keep their weights in external data"
        raise ModelError(f"the file has {found.st_size} bytes", path.name, hint)
    with path.open("rb") as file:
        _check_head(file.read(512), path)
        file.seek(0)
        return file.read(LARGEST_FILE_BYTES)


def _check_head(head: bytes, path: Path) -> None:
    for magic, kind, hint in _FOREIGN:
        if head.startswith(magic):
            raise ModelError(f"the file is {kind}, not an ONNX model", path.name, hint)
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ModelError("the file is a web page, not an ONNX model", path.name, "download the file itself")
    if text.startswith((b"{", b"[")):
        raise ModelError("the file is JSON, not an ONNX model", path.name)
    if not head.strip(b"\x00"):
        raise ModelError("the file starts with nothing but zeros", path.name, "was the download cut?")


# External data -----------------------------------------------------------------------------------------------------


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor of the file: initializers and attributes of the graph, of its bodies and functions."""
    graphs: list[tuple[GraphProto, int]] = [(model.graph, 0)]
    nodes: list[tuple[NodeProto, int]] = [(n, 0) for function in model.functions for n in function.node]
    while graphs or nodes:
        if graphs:
            graph, depth = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield sparse.values
                yield sparse.indices
            nodes += [(node, depth) for node in graph.node]
            continue
        node, depth = nodes.pop()
        if depth > DEEPEST_NESTING:
            raise ModelError(f"bodies are nested deeper than {DEEPEST_NESTING}", node.name or node.op_type)
        for attribute in node.attribute:
            yield from _attribute_tensors(attribute)
            graphs += [(g, depth + 1) for g in ([attribute.g] if attribute.HasField("g") else attribute.graphs)]


def _attribute_tensors(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors


def _check_external(model: ModelProto, path: Path) -> None:
    """Each external tensor lies inside a regular file beside the model. Nothing is opened."""
    sizes: dict[str, int] = {}
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        facts = {entry.key: entry.value for entry in tensor.external_data}
        location = facts.get("location", "")
        if location not in sizes:
            sizes[location] = _external_size(location, path, tensor.name)
        _check_extent(tensor, facts, sizes[location])


def _external_size(location: str, path: Path, name: str) -> int:
    where = f"tensor {shown(name)}"
    relative = PurePosixPath(location)
    if not location or relative.is_absolute() or ".." in relative.parts or "\\" in location or "\x00" in location:
        raise ModelError(
            f"external data {location!r} lies outside the model's folder", where, "keep it beside the model"
        )
    folder = path.resolve().parent
    place = folder
    for part in relative.parts:
        place = place / part
        if place.is_symlink():
            raise ModelError(
                f"external data {location!r} is a symbolic link", where, "keep the file itself beside the model"
            )
    try:
        found = os.lstat(place)
    except OSError as fault:
        raise ModelError(f"external data {location!r}: {fault.strerror}", where, "keep it beside the model") from None
    if not stat.S_ISREG(found.st_mode):
        raise ModelError(f"external data {location!r} is no regular file", where)
    if found.st_nlink > 1:
        raise ModelError(f"external data {location!r} is a hard link", where, "keep the file itself beside the model")
    return found.st_size


def _check_extent(tensor: TensorProto, facts: Mapping[str, str], size: int) -> None:
    where = f"tensor {shown(tensor.name)}"
    needed = dtypes.bytes_of(math.prod(tensor.dims), dtype_name(tensor.data_type, where))
    try:
        offset, length = int(facts.get("offset", "0")), int(facts.get("length", str(needed)))
    except ValueError:
        raise ModelError("external data with an offset or length that is no number", where) from None
    if offset < 0 or length < needed or offset + length > size:
        text = f"external data of {length} bytes at {offset} does not hold {needed} bytes in a file of {size}"
        raise ModelError(text, where, "is the data file complete?")
