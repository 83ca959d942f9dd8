"""The files of the baselines, the choice of a peak, what lives where, and what crosses a boundary."""

from pathlib import Path

import pytest

from mapper import inputs, passes
from mapper.backends import roofline
from mapper.backends.roofline.bound import nearest_peak
from mapper.backends.roofline.crossing import Crossings, resident_activations
from mapper.backends.roofline.system import FOLDER, load, system
from mapper.bounds import op_bound_bytes
from mapper.errors import InputError
from mapper.ir import Graph

NAMED = (
    "nvidia_h100_sxm5", "nvidia_b200", "nvidia_rubin", "google_tpu_v1", "google_tpu_v5e", "google_tpu_v6e",
    "aws_trainium1_inferentia2", "aws_trainium2", "groq_lpu_v1", "apple_ane_m4", "qualcomm_hexagon_xelite",
    "intel_npu4", "arm_ethos_u85", "cerebras_wse3", "imax3_fpga", "imax3_asic28",
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny() -> Graph:
    graph: Graph = passes.optimise(inputs.load("zoo:resnet-tiny").value)
    return graph


def test_every_system_that_the_field_names_is_there() -> None:
    assert set(NAMED) <= set(roofline.names())


@pytest.mark.parametrize("name", roofline.names())
def test_every_figure_names_a_source_and_its_certainty(name: str) -> None:
    found = system(name)
    assert found.id == name and found.figures
    for _, figure in found.figures:
        assert figure.value > 0 and figure.source
        assert figure.mark or figure.source != "recalled"


def test_units() -> None:
    h100 = system("nvidia_h100_sxm5")
    assert dict(h100.peaks)["bfloat16"].value == 989e12 / 2  # an operation is half a multiply-accumulate
    assert h100.levels[0].bandwidth is not None and h100.levels[0].bandwidth.value == 3.35e12
    assert h100.levels[0].energy is not None and h100.levels[0].energy.value == 27.2


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [("nvidia_h100_sxm5", "float16", "bfloat16"), ("nvidia_h100_sxm5", "float32", "bfloat16"),
     ("nvidia_h100_sxm5", "int8", "int8"), ("nvidia_b200", "int8", "float8"), ("nvidia_b200", "int4", "float4"),
     ("apple_ane_m4", "float16", "int8"), ("groq_lpu_v1", "bfloat16", "float16")],
)  # fmt: skip
def test_nearest_peak(name: str, dtype: str, expected: str) -> None:
    found = nearest_peak(system(name), dtype)
    assert found is not None and found[0] == expected


def test_a_wrong_file_says_where(tmp_path: Path) -> None:
    text = (FOLDER / "nvidia_h100_sxm5.yaml").read_text()
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace("bandwidth:", "bandwith:", 1))
    with pytest.raises(InputError, match=r"levels.0.bandwith"):
        load(broken)
    broken.write_text(text.replace("s: h100_spec", "s: hearsay", 1))
    with pytest.raises(InputError, match="names no source of the file: 'hearsay'"):
        load(broken)
    with pytest.raises(InputError, match="did you mean 'groq_lpu_v1'"):
        roofline.system_file("groq_lpu_v2")


def test_more_memory_never_moves_more_and_nothing_beats_the_bound(tiny: Graph) -> None:
    crossings = Crossings(tiny)
    for op in tiny.nests:
        moved = [crossings.bytes(op, capacity) for capacity in (2**10, 2**12, 2**14, 2**30)]
        assert moved == sorted(moved, reverse=True), op.name
        assert all(size >= op_bound_bytes(tiny, op, c).bytes for size, c in zip(moved, (2**10, 2**12), strict=False))
        assert moved[-1] == crossings.bytes(op, None)


def test_residents_fit_at_every_operator(tiny: Graph) -> None:
    everything = resident_activations(tiny, None)
    room = max(tiny.tensor(name).bytes for name in everything)
    kept = resident_activations(tiny, room)
    assert kept < everything
    assert resident_activations(tiny, 0) == frozenset()
    for at in range(len(tiny.ops)):
        before = {n for op in tiny.ops[: at + 1] for n in op.outputs}
        after = {tiny.root(n) for op in tiny.ops[at:] for n in op.inputs}
        assert sum(tiny.tensor(n).bytes for n in kept & before & after) <= room


def test_where_a_model_lives(tiny: Graph) -> None:
    rows = {row.system: row for row in roofline.rows(tiny, roofline.names())}
    assert rows["google_tpu_v1"].lives == "on chip (unified_buffer)"
    assert rows["apple_ane_m4"].lives == "streamed from lpddr5x"
    assert "unpublished" in rows["apple_ane_m4"].marks
    assert rows["google_tpu_v1"].levels[0].bytes == 3 * 32 * 32 * 4 + 10 * 4  # the image and the scores alone
    assert rows["arm_ethos_u55"].seconds is None and rows["arm_ethos_u55"].movement_pj is None
    assert rows["intel_npu3"].limited_by == "arithmetic alone"
