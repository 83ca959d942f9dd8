"""The row-array kernel files: what is read, and what is refused in which words."""

import json
from pathlib import Path

import pytest

from mapper.errors import InputError
from mapper.frontends import imax

DATA = Path(__file__).parents[2] / "benchmarks" / "data" / "cgla"
SMALL = {
    "name": "small",
    "loop_levels": 1,
    "loop_host": [0],
    "complete": True,
    "regions": [{"id": 0, "words": 64, "vendor_share": 0.5}, {"id": 1, "words": None, "vendor_share": 1.0}],
    "nodes": [
        {"id": 0, "kind": "exe", "srcs": [], "ops": ["ADD", "AND", "NOP"], "self_update": True, "host": [1, 2]},
        {"id": 1, "kind": "load", "srcs": [0], "op": "LDWR", "region": 0, "base": 0, "offs": None, "lmm": 0},
        {"id": 2, "kind": "exe", "srcs": [1], "ops": ["FML", "NOP", "NOP"], "self_update": False, "host": []},
        {
            "id": 3,
            "kind": "store",
            "srcs": [2],
            "op": "STWR",
            "region": 1,
            "data": 2,
            "base": None,
            "offs": None,
            "lmm": 1,
            "vendor_pin": [3, 1],
        },
    ],
}


def changed(**fields: object) -> dict[str, object]:
    return {**SMALL, **fields}


def with_node(number: int, **fields: object) -> dict[str, object]:
    nodes = [{**node, **fields} if node["id"] == number else node for node in SMALL["nodes"]]
    return changed(nodes=nodes)


def test_a_kernel_becomes_a_loop_body() -> None:
    dfg = imax.parse(SMALL, "small.json")
    assert [(n.id, n.kind, n.op) for n in dfg.nodes] == [
        (0, "exe", "ADD"),
        (1, "load", "LDWR"),
        (2, "exe", "FML"),
        (3, "store", "STWR"),
    ]
    assert [(e.src, e.dst) for e in dfg.edges] == [(0, 1), (1, 2), (2, 3)]
    assert (dfg[0].stages, dfg[0].host, dfg[0].self_update) == (("ADD", "AND", "NOP"), (1, 2), True)
    assert dfg[3].memory is not None and dfg[3].memory.data == 2 and dfg[3].pin == (3, 1)
    assert [(r.words, r.share, r.may_split) for r in dfg.regions] == [(64, 0.5, False), (None, 1.0, False)]
    assert (dfg.loop_levels, dfg.loop_host, dfg.complete) == (1, (0,), True)


def test_every_public_kernel_is_read_whole() -> None:
    for path in sorted(DATA.glob("*.json")):
        raw = json.loads(path.read_text())
        dfg = imax.load(path)
        assert len(dfg.nodes) == len(raw["nodes"])
        assert len(dfg.edges) == sum(len(set(node["srcs"])) for node in raw["nodes"])
        assert {n.id for n in dfg.nodes if n.memory} == {n["id"] for n in raw["nodes"] if "region" in n}


def test_recognised_by_content() -> None:
    assert imax.recognises(Path("a.json"), (DATA / "jacobi.json").read_bytes()[:400])
    assert not imax.recognises(Path("a.json"), b'{"name": "x", "nodes": [], "edges": []}')
    assert not imax.recognises(Path("a.csv"), b'{"loop_levels": 1}')


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "a kernel is an object"),
        (changed(loop_levels="two"), "'loop_levels' is 'two', expected int"),
        (with_node(1, kind="fetch"), "'kind' is 'fetch', expected one of exe, cex, load, store"),
        (with_node(1, region=7), "node 1 uses region 7, which the file lacks"),
        (with_node(1, base=2), "node 1 names 2 as 'base' but not among its sources"),
        (with_node(1, srcs=[99], base=None), "edge 99->1 names node 99"),
        (with_node(0, srcs=[2]), "cycle of distance-0 edges"),
        (with_node(0, host=["a"]), "'host' is ['a'], expected a list of integers"),
        (with_node(3, vendor_pin=[3, 4]), "'vendor_pin' is [3, 4], expected [row, column 0..3]"),
        (with_node(3, data=None), "'data' is None, expected int"),
        (changed(regions=[{"id": 0, "words": 64, "vendor_share": 0.3}]), "'vendor_share' is 0.3, expected 0.25"),
    ],
)
def test_errors_name_file_and_culprit(data: object, words: str) -> None:
    with pytest.raises(InputError) as fault:
        imax.parse(data, "small.json")
    assert words in str(fault.value)
    assert "small.json" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"loop_levels": 1,')
    with pytest.raises(InputError, match=r"not JSON.*broken\.json"):
        imax.load(path)
    with pytest.raises(InputError, match=r"No such file.*none\.json"):
        imax.load(tmp_path / "none.json")
