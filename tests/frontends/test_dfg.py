"""Loop-kernel files: what is read, what is refused, and the words of refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mapper.dfg import Edge
from mapper.frontends.dfg import DfgFileError, load, recognises

DATA = Path(__file__).parents[2] / "benchmarks" / "data" / "cgra"
CGRA_ME = """// a comment
digraph G {
  in0 [opcode = input]; c [opcode=const];
  add1 [opcode=add]; load1[opcode=load];
  in0 -> load1 [operand=0]; load1 -> add1 [operand = 0];
  c -> add1 [operand=1];
  add1 -> add1 [operand=1];
}"""
MORPHER = """digraph Region_18 {
	graph [ nslimit = "1000.0",
		size = "10,7.5" ] ;
"Op_5" [ fontname = "Helvetica" shape = box, label = " store  BB=for.body HyIns=STORE,
5, ASAP=2, ALAP=7"]
"Op_7" [ shape = box, label = " LOAD"]
"Op_9" [ label = "PHI" ]
"Op_7" -> "Op_5" [style = bold, color = black];
"Op_9" -> "Op_7"; "Op_7" -> "Op_9" [distance = 2];
}"""


def written(folder: Path, text: str | bytes, name: str = "k.json") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_every_benchmark_kernel_is_recognised_and_read() -> None:
    kernels = sorted(DATA.glob("*.json"))
    assert len(kernels) == 37
    for path in kernels:
        raw = json.loads(path.read_text())
        body = load(path)
        assert recognises(path, path.read_bytes()[:4096])
        assert [(n.id, n.op) for n in body.nodes] == [(n["id"], n["op"]) for n in raw["nodes"]]
        assert {(e.src, e.dst, e.distance) for e in body.edges} == {
            (e["src"], e["dst"], e["distance"]) for e in raw["edges"]
        }


def test_cgra_me_dot(tmp_path: Path) -> None:
    path = written(tmp_path, CGRA_ME, "sum.dot")
    body = load(path)
    assert recognises(path, CGRA_ME.encode()) and body.name == "sum"
    assert sorted(n.op for n in body.nodes) == ["add", "input", "load"]
    assert next(n.kind for n in body.nodes if n.op == "load") == "load"
    add = next(n.id for n in body.nodes if n.op == "add")
    assert [(e.distance, e.operand) for e in body.predecessors[add]] == [(0, 0), (1, 1)]


def test_morpher_dot(tmp_path: Path) -> None:
    body = load(written(tmp_path, MORPHER, "array.dot"))
    assert [(n.id, n.op) for n in body.nodes] == [(5, "store"), (7, "load"), (9, "phi")]
    assert {(e.src, e.dst, e.distance) for e in body.edges} == {(7, 5, 0), (9, 7, 0), (7, 9, 2)}


def test_cycles_without_distance_are_cut_at_the_phi(tmp_path: Path) -> None:
    text = "digraph { a [opcode=add] p [opcode=phi] m [opcode=mul] a -> p p -> m m -> a }"
    body = load(written(tmp_path, text, "c.dot"))
    number = {n.op: n.id for n in body.nodes}
    assert {(e.src, e.dst) for e in body.edges if e.distance == 1} == {(number["add"], number["phi"])}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "expected a JSON object"),
        ("{", "Expecting property name"),
        (b"\xff\xfe", "not UTF-8"),
        ('{"name": "x", "nodes": [], "edges": []}', "no nodes"),
        ('{"name": "x", "nodes": 3, "edges": []}', '"nodes" must be a list'),
        ('{"name": 4, "nodes": [{"id": 0}], "edges": []}', '"name" must be a text'),
        ('{"nodes": [{"id": true}], "edges": []}', 'needs an integer "id"'),
        ('{"nodes": [{"id": 1, "op": 2}], "edges": []}', '"op" of node 1 must be a text'),
        ('{"nodes": [{"id": 1}, {"id": 1}], "edges": []}', "node 1 is given twice"),
        ('{"nodes": [{"id": 1, "id": 2}], "edges": []}', "key 'id' is given twice"),
        ('{"nodes": [{"id": 1}], "edges": [{"src": 1, "dst": 2, "distance": 0}]}', "names node 2"),
        ('{"nodes": [{"id": 1}], "edges": [{"src": 1, "dst": 1, "distance": -1}]}', "expected an integer 0..10000"),
        ('{"nodes": [{"id": 1}], "edges": [{"src": 1, "dst": 1, "distance": 0}]}', "cycle of distance-0 edges"),
        ('{"nodes": [{"id": NaN}], "edges": []}', "NaN is not a JSON number"),
        ("digraph { a -> b", "expected 'more', found 'end of file'"),
        ("digraph { a -- b }", "undirected edge"),
        ("digraph { a [x=] }", "expected a name, found ']'"),
        ("digraph { a -> b [distance = many] }", "has distance 'many'"),
        ("digraph { ^ }", "unexpected '^"),
        ("digraph { }", "no operations"),
    ],
)
def test_refusals_are_one_line_with_the_file(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(DfgFileError) as caught:
        load(written(tmp_path, text))
    assert words in str(caught.value) and str(caught.value).startswith("k.json: ") and "\n" not in str(caught.value)


def test_hostile_depth_and_size(tmp_path: Path) -> None:
    with pytest.raises(DfgFileError, match="nested too deeply"):
        load(written(tmp_path, '{"nodes": ' + "[" * 200_000))
    assert load(written(tmp_path, "digraph " + "{" * 50_000 + "a" + "}" * 50_000)).nodes[0].op == "a"
    with pytest.raises(DfgFileError, match="larger than"):
        load(written(tmp_path, b" " * (16 * 2**20 + 1)))


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(DfgFileError) as caught:
        load(written(tmp_path, "digraph { \x1b[31m }"))
    assert "\x1b" not in str(caught.value)


def test_other_json_is_left_alone(tmp_path: Path) -> None:
    assert not recognises(tmp_path / "a.json", b'{"name": "A", "suite": "ispd2020", "nodes": [{"id": 0, "op": "x"}]}')
    assert not recognises(tmp_path / "a.json", b'{"nodes": [{"id": 0, "kind": "exe", "srcs": [], "ops": ["ADD"]}]}')
    assert recognises(tmp_path / "a.json", b'{ "edges": [{"src": 1, "dst": 2, "distance": 0}]')
    assert isinstance(Edge(1, 2), Edge)
