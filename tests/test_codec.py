"""Values survive the way to JSON and back; faults name their path."""

import json

import pytest

from mapper.codec import CodecError, decode, encode
from mapper.index import FloorDiv, Index, loop
from mapper.ir import Access, Combiner, Graph, Loop, Op, Tensor
from mapper.scalar import Acc, Arg, Call, Cast, Const


def graph() -> Graph:
    x = Tensor("x", (4, 6), "float32", "input")
    table = Tensor("t", (2,), "int64", "constant", b"\x01" + b"\x00" * 15)
    read = Access("x", (loop("i") // 2 + loop("i") % 2, loop("j")), (loop("j") - 1,), float("-inf"))
    op = Op("max", "ReduceMax", (Loop("i", 3), Loop("j", 6)), (read,), Access("y", (loop("i"),)), Arg(0),
            Combiner("max", "float32"), Cast("float32", Call("add", (Acc(), Const(1)))), ("node",), 7)  # fmt: skip
    return Graph("g", (x, table, Tensor("y", (3,), "float32")), (op,), ("x",), ("y",))


def test_round_trip_keeps_every_field() -> None:
    document = json.loads(json.dumps(encode(graph())))
    assert decode(Graph, document) == graph()


def test_types_of_constants_are_kept() -> None:
    for value in (1, 1.0, True, float("inf")):
        back = decode(Const, json.loads(json.dumps(encode(Const(value)))))
        assert back == Const(value) and type(back.value) is type(value)


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d["ops"][0]["loops"][0].update(extent="3"), r"graph\.ops\[0\]\.loops\[0\]\.extent: expected int"),
    (lambda d: d["ops"][0].pop("write"), r"graph\.ops\[0\]: Op lacks key 'write'"),
    (lambda d: d["ops"][0].update(colour=1), r"graph\.ops\[0\]\.colour: unknown key of Op"),
    (lambda d: d["ops"][0]["loops"][0].update(extent=9), r"graph: operator 'max' .* touches|extent"),
])  # fmt: skip
def test_faults_name_their_path(change, message: str) -> None:
    document = encode(graph())
    change(document)
    with pytest.raises(CodecError, match=message):
        decode(Graph, document)


def test_atoms_keep_their_class() -> None:
    index = loop("i") // 3
    assert decode(Index, encode(index)).terms[0][0] == FloorDiv(loop("i"), 3)
