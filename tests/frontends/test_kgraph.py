"""Kernel graphs are read alike from JSON and from the contest's text; errors name the file and the culprit."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from mapper.frontends.kgraph import KernelGraphError, load, recognises

DATA = Path(__file__).parents[2] / "benchmarks" / "data" / "wafer"

TEXT = """(*
test=tiny
width=40
height=30
wdeltat=1
wlength=2.5
wadapter=0
memlimit=24576
*)

(* Node Definitions *)
input[ 0] n=[8 8 4] name='a'
conv[1] W=8 H=8 R=3 S=3 C=4 K=8 T=1 U=1 name='old' name='k1'
dblock[ 2] f=16 h=8 w=8 name='k2'
output[3] n=[8 8 16] name='z'

(* Connectivity *)
input[ 0]:_    -> conv[ 1]:x, shape:[8][8][4]
conv[1]:y\t->\tdblock[2]:x, shape:[8][8][8]
dblock[ 2]:y   -> output[3]:_, shape:[8][8][16]
"""


def written(tmp_path: Path, text: str, name: str = "tiny.kgraph") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def as_json() -> dict[str, object]:
    return {
        "name": "tiny",
        "width": 40,
        "height": 30,
        "memory_limit": 24576,
        "weights": {"time": 1, "wirelength": 2.5, "adapter": 0},
        "nodes": [
            {"id": 0, "name": "a", "type": "input", "shape": [8, 8, 4]},
            {"id": 1, "name": "k1", "type": "conv", "H": 8, "W": 8, "R": 3, "S": 3, "C": 4, "K": 8, "T": 1, "U": 1},
            {"id": 2, "name": "k2", "type": "dblock", "H": 8, "W": 8, "F": 16},
            {"id": 3, "name": "z", "type": "output", "shape": [8, 8, 16]},
        ],
        "edges": [
            {"src": 0, "dst": 1, "shape": [8, 8, 4]},
            {"src": 1, "dst": 2, "shape": [8, 8, 8]},
            {"src": 2, "dst": 3, "shape": [8, 8, 16]},
        ],
    }


def test_both_forms_give_the_same_graph(tmp_path: Path) -> None:
    graph = load(written(tmp_path, TEXT))
    assert graph == load(written(tmp_path, json.dumps(as_json()), "tiny.json"))
    assert [node.name for node in graph.kernels] == ["k1", "k2"]  # the last name counts
    assert graph.wires == ((0, 1),)
    assert graph.weights.wirelength == Fraction(5, 2)


def test_public_instances_have_their_published_sizes() -> None:
    sizes = {path.stem: (len(load(path).kernels), len(load(path).wires)) for path in sorted(DATA.glob("*.json"))}
    assert sizes["A"] == (16, 15) and sizes["C"] == (100, 131) and sizes["M"] == (23, 26)
    assert len(sizes) == 10


def test_recognises_by_content() -> None:
    assert recognises("x", TEXT.encode())
    assert recognises("x.json", json.dumps(as_json()).encode())
    assert not recognises("x.json", b'{"name": "fir", "nodes": [], "edges": []}')
    assert not recognises("x.onnx", b"\x08\x07\x12\x04")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("conv[1] W", "pool[1] W", "line 13: unknown kernel type 'pool'"),
        (" C=4", "", "line 13 (k1) has no 'C'"),
        ("name='k2'", "", "line 14: dblock[2] has no name"),
        ("name='k2'", "name='k1'", "node name 'k1' occurs twice"),
        ("dblock[2]:x", "dblock[7]:x", "edge 1 -> 7 joins an unknown node"),
        ("memlimit=24576\n", "", "the header has no 'memlimit'"),
        ("f=16", "f=2", "k2: F must be at least 4, found 2"),
        ("K=8", "K=0", "K must be an integer of 1 to"),
        ("wlength=2.5", "wlength=-1", "weight wlength must not be negative"),
        ("(* Connectivity *)", "hello", "neither a kernel nor a stream: 'hello'"),
    ],
)
def test_errors_are_one_line_with_file_and_culprit(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = written(tmp_path, TEXT.replace(old, new))
    with pytest.raises(KernelGraphError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and words in message and "\n" not in message


def test_json_errors_name_the_key(tmp_path: Path) -> None:
    data = as_json()
    del data["memory_limit"]
    with pytest.raises(KernelGraphError, match="graph has no 'memory_limit'"):
        load(written(tmp_path, json.dumps(data), "x.json"))
    with pytest.raises(KernelGraphError, match="not JSON"):
        load(written(tmp_path, "{", "y.json"))
    with pytest.raises(KernelGraphError, match="cannot be read"):
        load(tmp_path / "absent.json")
