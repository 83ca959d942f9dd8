"""Files that lie, bomb or point elsewhere: each refused in one line that names the culprit, quickly and cheaply."""

from __future__ import annotations

import os
import resource
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mapper.errors import DoesNotFit
from mapper.frontends.onnx import ModelError, load, load_model

from .making import FLOAT, model, node

INT64 = TensorProto.INT64


def refused(proto, words: str) -> ModelError:
    with pytest.raises(ModelError, match=words) as caught:
        load_model(proto)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    return caught.value


def written(tmp_path, data: bytes, name: str = "m.onnx"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


# The file itself ---------------------------------------------------------------------------------------------------

FOREIGN = {
    "empty": (b"", "the file is empty"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "web page": (b"<!DOCTYPE html><html></html>", "web page"),
    "pickle": (b"\x80\x04\x95aaaa", "Python pickle"),
    "zip": (b"PK\x03\x04aaaa", "zip archive"),
    "JSON": (b'{"irVersion": 8}', "JSON"),
    "zeros": (b"\x00" * 600, "zeros"),
    "noise": (bytes(range(7, 250)) * 3, "not an ONNX model|no ONNX graph"),
    "length bomb": (b"\x3a\xff\xff\xff\xff\x07", "cut off"),
    "nested groups": (b"\x3a\x80\x02" + b"\x0b" * 400, "cut off|no ONNX graph"),
}


@pytest.mark.parametrize(("data", "words"), FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_files_are_named(tmp_path, data, words) -> None:
    with pytest.raises(ModelError, match=words):
        load(written(tmp_path, data))


def test_a_truncated_model(tmp_path) -> None:
    whole = model([node("Relu", "x")], {"x": (2, 3)}, ["y"]).SerializeToString()
    for cut in range(1, len(whole)):
        with pytest.raises(ModelError):
            load(written(tmp_path, whole[:cut]))


def test_places_that_are_no_files(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo.onnx")
    for path, words in (
        (tmp_path, "a folder"),
        (tmp_path / "fifo.onnx", "no regular file"),
        (tmp_path / "x", "cannot open"),
    ):
        with pytest.raises(ModelError, match=words):
            load(path)


def test_a_hole_of_three_gigabytes_is_not_read(tmp_path) -> None:
    path = tmp_path / "hole.onnx"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ModelError, match="3221225472 bytes"):
        load(path)


# External data -----------------------------------------------------------------------------------------------------


def external(tmp_path, location: str, **facts: str):
    weight = TensorProto(name="w", data_type=FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **facts}.items():
        weight.external_data.add(key=key, value=value)
    proto = model([node("MatMul", "xw")], {"x": (2, 4)}, ["y"])
    proto.graph.initializer.append(weight)
    return written(tmp_path, proto.SerializeToString())


def test_external_data_is_bounded_and_never_read(tmp_path) -> None:
    data = tmp_path / "w.bin"
    data.write_bytes(b"\0" * 64)
    os.chmod(data, 0)
    graph = load(external(tmp_path, "w.bin"))
    assert graph.params == 16 and graph.tensor("w").role == "weight"


LOCATIONS = {
    "traversal": "../w.bin", "hidden traversal": "a/../../w.bin", "absolute": "/etc/passwd", "missing": "none.bin",
    "folder": "folder", "symlink": "link.bin", "hard link": "twin.bin", "fifo": "fifo", "empty": "",
}  # fmt: skip


@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS.keys())
def test_external_data_outside_the_folder_or_irregular(tmp_path, location) -> None:
    (tmp_path / "real.bin").write_bytes(b"\0" * 64)
    (tmp_path / "folder").mkdir()
    os.symlink("real.bin", tmp_path / "link.bin")
    os.link(tmp_path / "real.bin", tmp_path / "twin.bin")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ModelError, match="external data .*tensor w"):
        load(external(tmp_path, location))


EXTENTS = {"too short": {"length": "60"}, "beyond": {"offset": "8"}, "negative": {"offset": "-8"},
           "text": {"offset": "x"}, "huge": {"length": str(1 << 70)}}  # fmt: skip


@pytest.mark.parametrize("facts", EXTENTS.values(), ids=EXTENTS.keys())
def test_external_extents_that_do_not_fit(tmp_path, facts) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 64)
    with pytest.raises(ModelError, match="external data .*tensor w"):
        load(external(tmp_path, "w.bin", **facts))


# The graph ---------------------------------------------------------------------------------------------------------


def test_cycles_twins_and_dangling_names() -> None:
    refused(model([node("Add", "xb", "a"), node("Relu", "a", "b")], {"x": (2,)}, ["b"]), "cycle through (Add|Relu)")
    refused(model([node("Relu", "x"), node("Neg", "x")], {"x": (2,)}, ["y"]), "'y' is produced twice")
    refused(model([node("Add", ["x", "nowhere"])], {"x": (2,)}, ["y"]), "reads 'nowhere', which nothing produces")
    refused(model([node("Relu", "x", "z")], {"x": (2,)}, ["y"]), "output 'y' is never produced")


def test_unsorted_nodes_are_sorted() -> None:
    graph = load_model(model([node("Relu", "a", "y"), node("Neg", "x", "a")], {"x": (2,)}, ["y"]))
    assert [op.op_type for op in graph.ops] == ["Neg", "Relu"]


def test_symbolic_dimensions_are_bound_not_run() -> None:
    proto = model([node("Relu", "x")], {"x": ("batch", "2*seq + 1")}, ["y"])
    assert load_model(proto, {"batch": 3, "seq": 4}).tensor("y").shape == (3, 9)
    assert "--dim batch=1" in refused(proto, "dimension 'batch' has no value").hint
    evil = model([node("Relu", "x")], {"x": ("__import__('os').getpid()",)}, ["y"])
    refused(evil, "has no value")


SHAPES = {
    "negative": {"x": (2, -3)}, "beyond int64 in product": {"x": (1 << 40, 1 << 40)},
}  # fmt: skip


@pytest.mark.parametrize("inputs", SHAPES.values(), ids=SHAPES.keys())
def test_impossible_extents(inputs) -> None:
    refused(model([node("Relu", "x")], inputs, ["y"]), "'x'")


BOMBS = {
    "ConstantOfShape": [node("ConstantOfShape", ["n"])],
    "Expand": [node("Expand", ["one", "n"])],
    "Tile": [node("Tile", ["matrix", "n"])],
    "Range": [node("Range", ["zero", "big", "step"])],
    "chain of tiles": [node("Tile", ["matrix", "n"], ["a"]), node("Tile", ["a", "n"], ["b"]), node("Tile", ["b", "n"])],
}


@pytest.mark.parametrize("nodes", BOMBS.values(), ids=BOMBS.keys())
def test_size_bombs_allocate_nothing(nodes) -> None:
    tensors = {"n": np.array([1 << 31, 1 << 31]), "one": np.int64(1), "matrix": np.ones((1, 1), np.int64),
               "zero": np.int64(0), "big": np.int64(1 << 62), "step": np.int64(1)}  # fmt: skip
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    refused(model(nodes, {"x": (2,)}, ["y"], tensors), "would be|larger")
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def lie(op_type, x, w, words, **attributes):
    return model([node(op_type, "xw", **attributes)], {"x": x}, ["y"], {"w": np.ones(w, np.float32)}), words


LIES = {
    "group 0": lie("Conv", (1, 4, 8, 8), (4, 4, 3, 3), "0 groups", group=0),
    "kernel_shape": lie("Conv", (1, 4, 8, 8), (4, 4, 3, 3), "kernel_shape .5, 5. differs", kernel_shape=[5, 5]),
    "channels": lie("Conv", (1, 3, 8, 8), (4, 4, 3, 3), "channels and groups do not agree"),
    "kernel too large": lie("Conv", (1, 4, 2, 2), (4, 4, 3, 3), "kernel of 3 is larger than its input of 2"),
    "stride 0": lie("Conv", (1, 4, 8, 8), (4, 4, 3, 3), "impossible window", strides=[0, 1]),
    "pads": lie("Conv", (1, 4, 8, 8), (4, 4, 3, 3), "impossible pads", pads=[-1, 0, 0, 0]),
    "axis": lie("Concat", (1, 4), (1, 4), "axis 4611686018427387904", axis=1 << 62),
    "broadcast": lie("Add", (3, 4), (5, 4), "do not broadcast"),
}


@pytest.mark.parametrize(("proto", "words"), LIES.values(), ids=LIES.keys())
def test_operators_that_contradict_their_tensors(proto, words) -> None:
    refused(proto, words)


MALFORMED = {
    "too few inputs": (node("Add", "x"), "Add is not valid: Node.* has input size 1"),
    "too many inputs": (node("MatMul", "xxx"), "MatMul is not valid: Node.* has input size 3"),
    "a missing attribute": (node("GridSample", "x"), "GridSample is not valid"),
    "a missing input": (node("TopK", ["x", ""], ["y", "z"]), "TopK is not valid: Node .TopK_0.'s input 1"),
    "types that differ": (node("Add", ["x", "n"]), "Add mixes float32 'x' with int64 'n'"),
    "a trillion parts": (node("Split", "x", num_outputs=1 << 40), "into 1099511627776 parts"),
    "an empty mean": (node("LRN", "x", size=0), "LRN is not valid"),
}


@pytest.mark.parametrize(("bad", "words"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_nodes_are_named_before_onnx_trips_over_them(bad, words) -> None:
    refused(model([bad], {"x": (1, 2, 3, 4), "n": (INT64, (1, 2, 3, 4))}, ["y"]), words)


def test_names_that_are_not_text(tmp_path) -> None:
    data = model([node("Relu", "x", ["middle"]), node("Neg", ["middle"])], {"x": (2,)}, ["y"]).SerializeToString()
    with pytest.raises(ModelError, match=r"a name is not text: m.xffddle"):
        load(written(tmp_path, data.replace(b"middle", b"m\xffddle")))


def test_flipped_bits_never_escape_as_anything_else(tmp_path) -> None:
    rng = np.random.default_rng(4)
    nodes = [node("Conv", "xw", ["c"], pads=[1, 1, 1, 1]), node("Softmax", ["c"], axis=1)]
    whole = model(nodes, {"x": (1, 2, 5, 5)}, ["y"], {"w": np.ones((3, 2, 3, 3), np.float32)}).SerializeToString()
    taken = 0
    for _ in range(400):
        data = bytearray(whole)
        data[rng.integers(len(data))] = rng.integers(256)
        try:
            load(written(tmp_path, bytes(data)))
            taken += 1
        except ModelError as fault:
            assert "\n" not in str(fault)
    assert taken > 100  # flips inside the weight are harmless


def test_values_that_are_no_shape() -> None:
    for target, words in (
        ([7, -1], "cannot be seen"),
        ([-1, -1], "is not a shape"),
        ([0, 0, 0, 0], "copies a dimension"),
    ):
        refused(model([node("Reshape", "xs")], {"x": (2, 3)}, ["y"], {"s": np.array(target)}), words)
    refused(model([node("Pad", "xp")], {"x": (2,)}, ["y"], {"p": np.array([0, 1 << 61])}), "impossible pads")


def test_an_output_declared_otherwise_than_computed() -> None:
    proto = model([node("Relu", "x")], {"x": (2, 3)}, [])
    for declared in ((2, 4), (6,)):
        del proto.graph.output[:]
        proto.graph.output.append(helper.make_tensor_value_info("y", FLOAT, declared))
        refused(proto, r"output 'y' is declared \[.*\] and computed \[2, 3\]")


def test_an_initializer_that_lies_about_its_size() -> None:
    proto = model([node("Add", "xs")], {"x": (2,)}, ["y"], {"s": np.array([1, 2])})
    proto.graph.initializer[0].dims[0] = 3
    refused(proto, "'s' cannot be decoded")


# Bodies ------------------------------------------------------------------------------------------------------------


def function(name, nodes):
    return helper.make_function(
        "f", name, ["x"], ["y"], nodes, [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    )


def test_a_billion_laughs_is_counted_before_it_is_told() -> None:
    functions = [function("f0", [node("Relu", "x")])]
    for level in range(1, 31):
        calls = [
            node(f"f{level - 1}", [f"t{i}" if i else "x"], [f"t{i + 1}" if i < 9 else "y"], domain="f")
            for i in range(10)
        ]
        functions.append(function(f"f{level}", calls))
    proto = model([node("f30", "x", domain="f")], {"x": (2,)}, ["y"], functions=functions, domains=["f"])
    start = time.process_time()
    refused(proto, r"more than 10\^30 nodes")
    assert time.process_time() - start < 2


def test_recursive_functions_by_name() -> None:
    functions = [function("a", [node("b", "x", domain="f")]), function("b", [node("a", "x", domain="f")])]
    proto = model([node("a", "x", domain="f")], {"x": (2,)}, ["y"], functions=functions, domains=["f"])
    refused(proto, "calls itself")


def test_a_missing_function_by_name() -> None:
    refused(model([node("gone", "x", domain="f")], {"x": (2,)}, ["y"], domains=["f"]), r"operator f\.gone")


def test_the_local_function_wins_over_the_standard_operator() -> None:
    negated = helper.make_function("", "Relu", ["x"], ["y"], [node("Neg", "x")], [helper.make_opsetid("", 18)])
    graph = load_model(model([node("Relu", "x")], {"x": (2,)}, ["y"], functions=[negated]))
    assert [op.op_type for op in graph.ops] == ["Neg"]


def test_deep_nesting_is_refused() -> None:
    body = helper.make_graph([node("Relu", "x", ["r"])], "b", [], [helper.make_tensor_value_info("r", FLOAT, None)])
    for _ in range(20):
        inner = node("If", ["p"], ["r"], then_branch=body, else_branch=body)
        inner.attribute.pop() if len(inner.attribute) > 1 else None
        body = helper.make_graph([inner], "b", [], [helper.make_tensor_value_info("r", FLOAT, None)])
    proto = model(list(body.node), {"x": (2,), "p": (TensorProto.BOOL, ())}, ["r"])
    refused(proto, "nested deeper than 16")


def test_a_loop_of_a_trillion_turns() -> None:
    values = [helper.make_tensor_value_info(n, t, ()) for n, t in (("i", INT64), ("c", TensorProto.BOOL))]
    state = helper.make_tensor_value_info("s", FLOAT, None)
    out = helper.make_tensor_value_info("t", FLOAT, None)
    body = helper.make_graph([node("Relu", "s", ["t"]), node("Identity", "c", ["d"])], "b", [*values, state],
                             [helper.make_tensor_value_info("d", TensorProto.BOOL, ()), out])  # fmt: skip
    proto = model([node("Loop", ["m", "", "x"], body=body)], {"x": (2,)}, ["y"], {"m": np.array(10**12)})
    refused(proto, "Loop makes 1000000000000 turns")


# Names and scale ---------------------------------------------------------------------------------------------------


def test_names_cannot_reach_the_terminal() -> None:
    name = "\x1b[31m<script>\n../../x" + "n" * 1_000_000
    fault = refused(model([node("Add", ["x", name])], {"x": (2,)}, ["y"]), "which nothing produces")
    assert "\x1b" not in str(fault) and "\\x1b[31m" in str(fault) and len(str(fault)) < 600


def test_unnamed_and_twin_nodes_get_names_of_their_own() -> None:
    nodes = [node("Relu", "x", ["a"], name="n"), node("Neg", "a", ["b"], name="n"), node("Abs", "b")]
    graph = load_model(model(nodes, {"x": (2,)}, ["y"]))
    assert [n.name for n in graph.nodes] == ["n", "n_1", "Abs_2"]
    assert len({op.name for op in graph.ops}) == 3


def test_many_nodes_take_linear_time() -> None:
    nodes = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(20_000)]
    start = time.process_time()
    graph = load_model(model(nodes, {"t0": (4,)}, ["t20000"]))
    assert len(graph.ops) == 20_000
    assert time.process_time() - start < 15


def test_a_ladder_of_two_to_the_sixty_paths() -> None:
    nodes = [node("Add", [f"t{i}", f"t{i}"], [f"t{i + 1}"]) for i in range(60)]
    assert len(load_model(model(nodes, {"t0": (4,)}, ["t60"])).ops) == 60


def test_sparse_initializers_are_not_dropped() -> None:
    proto = model([node("Add", "xs")], {"x": (2,)}, ["y"])
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2]))
    refused(proto, "sparse initializer 's'")


def test_more_operators_than_one_mapping_holds_are_refused_with_the_limit(tmp_path, monkeypatch) -> None:
    import mapper.compiler as compiler

    nodes = [node("Transpose", [f"t{i}"], [f"t{i + 1}"]) for i in range(60)]
    nodes = [n for i, t in enumerate(nodes) for n in (t, node("Softmax", [f"t{i + 1}"], [f"s{i}"]))]
    path = tmp_path / "long.onnx"
    onnx.save(model(nodes, {"t0": (4, 5)}, ["t60", *(f"s{i}" for i in range(60))]), path)
    monkeypatch.setattr(compiler, "MOST_OPERATORS", 100)
    with pytest.raises(DoesNotFit, match=r"operators after fusion, 100 at most in one mapping"):
        compiler.compile(path, "wafer")


MARKUP = [
    "</script><img src=x onerror=alert(1)>",
    "\x1b[31mred\x07",
    "a\nb",
    "../../etc/passwd",
    "=cmd()|x",
    "x" * 100_000,
]


@pytest.mark.parametrize("target", ["cgla", "wafer"])
def test_names_stay_names_in_everything_that_is_written(tmp_path, target) -> None:
    """No markup reaches a page, no formula a table, no escape a terminal, no name a path."""
    import mapper

    names = ["x", *MARKUP]
    nodes = [
        node("Relu" if i % 2 else "Neg", [names[i]], [names[i + 1]], name=names[i + 1]) for i in range(len(MARKUP))
    ]
    path = tmp_path / "names.onnx"
    onnx.save(model(nodes, {"x": (4, 4)}, [names[-1]]), path)
    result = mapper.compile(path, target, effort="fast")
    folder = result.save(tmp_path / "out")
    assert {p.parent for p in folder.rglob("*")} == {folder}
    for page in ("report.html", "mapping.svg"):
        text = (folder / page).read_text()
        assert "<img src=x" not in text and "\x1b" not in text
    assert not any(line.startswith(("=", "\x1b")) for line in (folder / "layers.csv").read_text().splitlines())
    assert "\x1b" not in result.summary() and max(map(len, result.summary().splitlines())) < 500


@pytest.mark.parametrize("target", ["cgla", "cgra", "wafer"])
def test_a_model_with_nothing_for_the_fabric_still_has_a_legal_mapping(tmp_path, target) -> None:
    import mapper

    path = tmp_path / "host.onnx"
    onnx.save(model([node("NonZero", ["x"])], {"x": (3, 4)}, ["y"]), path)
    result = mapper.compile(path, target, effort="fast")
    assert result.check() == () and [op["op_type"] for op in result.report["host_ops"]] == ["NonZero"]
