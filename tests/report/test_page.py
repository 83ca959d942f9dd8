"""The page without a browser: what is written into it, and what must not get out of its place."""

import re

import pytest

from mapper.report.canvas import RAMP, shade
from mapper.report.page import embedded
from mapper.report.summary import summary_html
from mapper.report.view_graph import blocks, layers

from .builders import HOSTILE, page_data, result

KINDS = {"grid": "slots", "line": "rows", "contest": "floor", "cgra": "time", "cgla": "time", "wafer": "floor"}


@pytest.mark.parametrize(("kind", "drawing"), KINDS.items())
def test_the_drawing_follows_the_decision(kind, drawing):
    assert page_data(result(kind).html())["fabric"]["kind"] == drawing


@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_deterministic_and_fetch_nothing(kind):
    html = result(kind).html()
    assert html == result(kind).html()
    assert not re.search(r'(?:src|href)="(?!#|data:)', html)
    assert "@import" not in html and "url(http" not in html


@pytest.mark.parametrize("kind", ["cgra", "wafer"])
def test_names_with_markup_stay_text(kind):
    html = result(kind).html()
    assert "<img" not in html
    assert html.count("</script>") == 2
    assert HOSTILE in [item["n"] for item in page_data(html)["items"]]


def test_nothing_in_embedded_data_can_end_its_element():
    text = embedded({"a": "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)


@pytest.mark.parametrize("kind", ["cgra", "wafer"])
def test_every_operator_has_a_row_a_fact_and_a_place_in_the_graph(kind):
    found = result(kind)
    data, rows = page_data(found.html()), found.html().count("<tr data-op=")
    names = [op["name"] for op in (*found.report["ops"], *found.report["host_ops"])]
    assert sorted(item["n"] for item in data["items"]) == sorted(names)
    assert rows == len(names) == len(data["graph"]["at"]) == len(data["graph"]["cost"])


def test_bars_of_a_sequence_cover_its_cycles():
    found = result("cgra")
    fabric = page_data(found.html())["fabric"]
    assert fabric["total"] == found.cost.cycles
    clock = 0
    for bar in fabric["bars"]:
        assert bar["t"] == clock
        clock += bar["d"]
        assert all(bar["t"] <= start and start + cycles <= clock for _, _, start, cycles, _ in bar["p"])
    assert clock == fabric["total"]


def test_slots_hold_each_operation_once_and_values_wait_until_their_last_reader():
    found = result("grid")
    fabric = page_data(found.html())["fabric"]
    assert len(fabric["items"]) == len(found.mapping.placed) + len(found.mapping.moves)
    for source, reader, distance in fabric["reads"]:
        taken = fabric["items"][reader]["t"] + distance * fabric["ii"]
        assert fabric["items"][source]["t"] < taken <= fabric["items"][source]["until"]


def test_the_summary_says_what_loop_kernels_minimise():
    assert "II, then MOVEs" in summary_html(result("grid").report)
    assert "rows, then hops" in summary_html(result("line").report)
    assert "contest score" in result("contest").summary()
    assert "(movement)" not in result("grid").summary()


def test_optimal_is_only_said_of_proofs():
    report = result("grid").report
    for proof, said in (("bound", True), ("exhausted-twice", True), ("exhausted", False), ("none", False)):
        html = summary_html({**report, "outcome": {**report["outcome"], "proof": proof}})
        assert ("optimal" in html) == said


def test_layers_follow_arrows():
    assert layers(4, [(0, 1), (0, 2), (1, 3), (2, 3)]) == [(0, 0), (1, 0), (1, 1), (2, 0)]
    assert layers(3, [(2, 1), (1, 0)]) == [(2, 0), (1, 0), (0, 0)]
    assert layers(2, [(0, 1), (1, 0)]) == [(0, 0), (1, 0)]  # a cycle is cut, not followed


def test_blocks_are_consecutive_and_few():
    chain = [(i, i + 1) for i in range(499)]
    fold = blocks(500, chain)
    assert fold == sorted(fold) and set(fold) == set(range(fold[-1] + 1))
    assert 20 <= len(set(fold)) <= 60
    assert blocks(30, chain[:29]) == [0] * 30


def test_the_ramp_runs_between_its_stops():
    assert [shade(s) for s in (0, 0.5, 1, 7)] == ["#" + "".join(f"{v:02x}" for v in RAMP[i]) for i in (0, 1, 2, 2)]
