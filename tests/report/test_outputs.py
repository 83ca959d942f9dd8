"""Pictures, traces, tables, the annotated model, the terminal and the notebook."""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import mapper
from mapper import machines
from mapper.report import floorplan
from mapper.report.load import link_load
from mapper.report.terminal import fabric_map

from .builders import DATA, FORMULA, folder, hostile_model, result

KINDS = ("grid", "line", "contest", "cgra", "cgla", "wafer")


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_well_formed_and_deterministic(kind):
    svg = result(kind).svg()
    root = ElementTree.fromstring(svg)
    assert svg == result(kind).svg()
    assert root.tag.endswith("svg")
    assert float(root.get("width")) <= 700  # legible at column width: 9 units of text are 4 % of the height of a line
    assert "nan" not in svg and "inf" not in svg.lower().replace("info", "")


def test_a_picture_of_a_grid_shows_every_operation():
    found = result("grid")
    texts = [e.text for e in ElementTree.fromstring(found.svg()).iter("{http://www.w3.org/2000/svg}text")]
    for placed in found.mapping.placed:
        assert str(placed.node) in texts


@pytest.mark.parametrize("kind", ["grid", "line", "cgra", "cgla", "wafer"])
def test_traces_keep_the_chrome_trace_format(kind):
    events = json.loads(result(kind).files()["trace.json"])["traceEvents"]
    named = {e["tid"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    slices = [e for e in events if e["ph"] == "X"]
    assert slices
    for event in events:
        assert event["ph"] in "XMsf" and isinstance(event["pid"], int) and isinstance(event["tid"], int)
    for event in slices:
        assert event["tid"] in named and event["ts"] >= 0 and event["dur"] > 0 and isinstance(event["name"], str)
    for number, ends in _flows(events).items():
        assert [e["ph"] for e in ends] == ["s", "f"], number
        assert ends[0]["ts"] <= ends[1]["ts"]
        for end in ends:  # a flow is drawn only where its ends lie in slices of their tracks
            assert any(s["tid"] == end["tid"] and s["ts"] <= end["ts"] <= s["ts"] + s["dur"] for s in slices)


def _flows(events):
    found = {}
    for event in events:
        if event["ph"] in "sf":
            found.setdefault(event["id"], []).append(event)
    return found


def test_slices_of_one_track_do_not_overlap():
    events = json.loads(result("cgra").files()["trace.json"])["traceEvents"]
    ends = Counter()
    for event in sorted((e for e in events if e["ph"] == "X"), key=lambda e: e["ts"]):
        assert event["ts"] >= ends[event["tid"]]
        ends[event["tid"]] = event["ts"] + event["dur"]


def test_the_annotated_model_is_the_same_model():
    path = hostile_model(folder())
    marked = onnx.load_from_string(result("cgra").files()["annotated.onnx"])
    onnx.checker.check_model(marked, full_check=True)
    source = onnx.load(path)
    feeds = {"x": np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)}
    for a, b in zip(
        ReferenceEvaluator(marked).run(None, feeds), ReferenceEvaluator(source).run(None, feeds), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    facts = [{p.key: p.value for p in node.metadata_props} for node in marked.graph.node]
    assert all("mapper.where" in fact and int(fact["mapper.bytes"]) > 0 for fact in facts)
    for node in marked.graph.node:
        del node.metadata_props[:]
    assert marked == source


def test_cells_of_the_table_are_no_formulas():
    rows = list(csv.reader(io.StringIO(result("cgra").files()["layers.csv"])))
    assert len({len(row) for row in rows}) == 1
    assert any(row[0] == "'" + FORMULA or row[0].startswith("'=") for row in rows)
    assert not any(cell[:1] in ("=", "+", "@") for row in rows for cell in row)


@pytest.mark.parametrize("kind", KINDS)
def test_the_map_is_compact_and_plain_unless_asked(kind):
    plain = fabric_map(result(kind).decision)
    lines = plain.splitlines()
    assert 2 <= len(lines) <= 24 and max(map(len, lines)) <= 500
    assert "\x1b" not in plain
    assert "\x1b[" in fabric_map(result(kind).decision, colour=True)


def test_the_map_of_a_floorplan_shows_each_large_area():
    text = fabric_map(result("contest").decision)
    drawn = set("".join(text.splitlines()[:-1])) - {"."}
    assert len(drawn) >= 12


def test_a_floorplan_numbers_and_lists_every_stage():
    found = result("wafer")
    texts = [e.text for e in ElementTree.fromstring(found.svg()).iter("{http://www.w3.org/2000/svg}text")]
    for number, stage in enumerate(found.mapping.stages, 1):
        assert any(text.startswith(f"{number} ") and text.endswith(stage.op[-12:]) for text in texts)


@pytest.mark.parametrize(
    ("name", "kind", "role"),
    [("layer.0/attn/query/matmul", "MatMul", "query"), ("layer.0/ffn/gelu/div_1", "Div", "gelu"),
     ("conv1", "Conv", "conv1"), ("/Add_3", "Add", "Add_3"), ("layer.2/ffn/w1", "MatMul", "w1")],
)  # fmt: skip
def test_labels_say_the_role_rather_than_the_type(name: str, kind: str, role: str) -> None:
    assert floorplan._role(name, kind) == role


def test_link_load_counts_every_lane_once():
    found = result("wafer")
    load = link_load(found.mapping.routes, found.machine.fabric)
    heaviest = max(r.bytes / r.lanes for r in found.mapping.routes if r.links)
    assert heaviest <= load.max() <= sum(r.bytes for r in found.mapping.routes)
    assert not link_load((), found.machine.fabric).any()


def test_values_draw_themselves_in_a_notebook():
    dfg, graph = mapper.load(DATA / "cgra" / "gsm.json"), mapper.load(hostile_model(folder()))
    for svg in (dfg._repr_svg_(), machines.resolve("imax3")._repr_svg_(), result("grid")._repr_svg_()):
        assert ElementTree.fromstring(svg).tag.endswith("svg")
    html = graph._repr_html_()
    assert "<img" not in html and html.count("<tr>") == 1 + len(graph.ops)
    assert "<svg" in result("wafer")._repr_html_() and "<img" not in result("wafer")._repr_html_()


def test_the_command_line_is_plain_outside_a_terminal(capsys, tmp_path):
    from mapper.cli import main

    source = str(DATA / "cgra" / "gsm.json")
    with pytest.raises(SystemExit) as stop:
        main(["compile", source, "--target", "cgra", "--effort", "fast", "-o", str(tmp_path / "out")])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "slot 0" in text and "\x1b" not in text
