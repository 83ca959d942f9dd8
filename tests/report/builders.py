"""Small results of every kind, with names that try to break out of wherever they are written."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from onnx import TensorProto, helper, save

import mapper

HOSTILE = "</script><img src=x onerror=alert(1)>"
FORMULA = '=HYPERLINK("x")'
DATA = Path(__file__).parents[2] / "benchmarks" / "data"


def hostile_model(folder: Path) -> Path:
    """Two matrix products and a softmax whose nodes carry markup and spreadsheet formulas as names."""
    weights = [helper.make_tensor(n, TensorProto.FLOAT, [8, 8], [0.25 * (i % 5) for i in range(64)]) for n in "vw"]
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["h"], name=HOSTILE),
        helper.make_node("Softmax", ["h"], ["s"], name="soft&max"),
        helper.make_node("MatMul", ["s", "w"], ["y"], name=FORMULA),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4, 8]) for n in "xy"]
    graph = helper.make_graph(nodes, HOSTILE, ends[:1], ends[1:], weights)
    path = folder / "hostile.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@cache
def folder() -> Path:
    return Path(mkdtemp(prefix="mapper-report-"))


@cache
def result(kind: str) -> Any:
    """`grid`, `line`, `contest`, or a target's name for the hostile model on it; `zoo:NAME@TARGET` for the zoo."""
    if kind == "grid":
        return mapper.compile(DATA / "cgra" / "gsm.json", "cgra", effort="fast")
    if kind == "line":
        return mapper.compile(DATA / "cgla" / "jacobi.json", "cgla", effort="fast")
    if kind == "contest":
        return mapper.compile(DATA / "wafer" / "A.json", "wafer", effort="fast")
    if "@" in kind:
        source, target = kind.split("@")
        return mapper.compile(source, target, effort="fast")
    return mapper.compile(hostile_model(folder()), kind, effort="fast")


def page_data(html: str) -> dict[str, Any]:
    """The JSON block of a page."""
    start = html.index('id="data">') + len('id="data">')
    found: dict[str, Any] = json.loads(html[start : html.index("</script>", start)])
    return found
