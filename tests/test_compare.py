"""`mapper compare`: which rows there are, what becomes of failures, and the set of files."""

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mapper import compiler
from mapper.backends.roofline import eyeriss_ratio
from mapper.cli import main
from mapper.compare import Comparison, compare, systems
from mapper.errors import CheckFailed, DoesNotFit, InputError
from mapper.report.comparison_plot import RATIOS

SOME = ("nvidia_h100_sxm5", "groq_lpu_v1", "arm_ethos_u55")


@pytest.fixture(scope="module")
def some() -> Comparison:
    return compare("zoo:resnet-tiny", SOME)


def test_all_systems_have_full_names() -> None:
    assert systems()[:3] == ("cgla:imax3", "cgra:openedge4x4", "wafer:wse3")
    assert {"nvidia_h100_sxm5", "cerebras_wse3", "imax3_fpga"} <= set(systems())


def test_rows_come_in_the_order_asked(some: Comparison) -> None:
    document = json.loads(some.json())
    assert [row["system"] for row in document["rows"]] == list(SOME)
    h100, groq, ethos = document["rows"]
    assert h100["latency_bound_s"] > 0 and h100["levels"]["hbm"]["bytes"] == 12328
    assert groq["chips"] == 1 and "sram" in groq["levels"]
    assert "latency_bound_s" not in ethos and "movement_pj" not in ethos and ethos["eyeriss_macs"] > 0


def test_a_mapped_target_is_a_row() -> None:
    row = compare("zoo:resnet-tiny", ("wafer", "wafer:wse3")).rows
    assert [r.system for r in row] == ["wafer:wse3"]
    assert row[0].status == "ok" and row[0].macs == 563_840 and row[0].seconds
    for level in row[0].levels:
        assert level.provable_bytes is not None and level.provable_bytes <= level.inward_bytes
    # the machine is priced in Eyeriss ratios: both columns are one figure
    assert row[0].eyeriss_macs == pytest.approx(row[0].movement_pj)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("h100", "'nvidia_h100_sxm5'"), ("wafr", "'wafer'"), ("cgla:imax9", "'imax3'"), ("xyzzy", "google_tpu_v1")],
)
def test_unknown_systems_are_refused(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        compare("zoo:resnet-tiny", (name,))


def test_failures_become_rows_and_only_a_failed_check_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = {"cgla": DoesNotFit("does not fit"), "cgra": CheckFailed("rule broken"), "wafer": RuntimeError("oh")}

    def fail(_source: object, target: str, *_: object, **__: object) -> None:
        raise faults[target]

    monkeypatch.setattr(compiler, "compile", fail)
    found = compare("zoo:resnet-tiny", ("cgla", "cgra", "wafer"))
    assert [row.status for row in found.rows] == ["does not fit", "check failed", "failed"]
    assert "wafer:wse3: failed: RuntimeError: oh" in found.text()
    with pytest.raises(CheckFailed, match="rule broken"):
        found.verify()
    compare("zoo:resnet-tiny", ("cgla", "wafer")).verify()


def test_the_files_are_whole(some: Comparison, tmp_path: Path) -> None:
    folder = some.save(tmp_path / "out")
    names = {"compare.json", "compare.csv", "compare.svg", "compare.html", "run.json"}
    assert {path.name for path in folder.iterdir()} == names
    table = list(csv.DictReader(io.StringIO((folder / "compare.csv").read_text())))
    assert [row["system"] for row in table] == list(SOME)
    assert ElementTree.fromstring((folder / "compare.svg").read_text()).tag.endswith("svg")
    page = (folder / "compare.html").read_text()
    assert "<svg" in page and "h100_spec" in page and "<script" not in page
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="other files"):
        some.save(other)


def test_the_same_bytes_again(some: Comparison) -> None:
    again = compare("zoo:resnet-tiny", SOME)
    assert (again.json(), again.csv(), again.html()) == (some.json(), some.csv(), some.html())


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["compare", "zoo:resnet-tiny", "--targets", "groq_lpu_v1", "--json"])
    assert not exit_.value.code
    assert json.loads(capsys.readouterr().out)["rows"][0]["system"] == "groq_lpu_v1"
    with pytest.raises(SystemExit) as exit_:
        main(["machines", "groq_lpu_v1"])
    assert not exit_.value.code and capsys.readouterr().out.startswith("schema: 1\nid: groq_lpu_v1")
    with pytest.raises(SystemExit) as exit_:
        main(["compare", "zoo:resnet-tiny", "--targets", "grok"])
    assert exit_.value.code == 2


def test_the_picture_uses_the_ratios_of_the_energy_table() -> None:
    assert {kind: eyeriss_ratio(kind) for kind in RATIOS} == RATIOS
