"""LFM2-1.2B, one token at context 1024, 16-bit weights and state: bandwidth bounds and energies by hand.

2.3533 GB of weights and state over each system's bandwidth, and times its energy per byte; every figure to the digits
in which it was worked out.
"""

import pytest

from mapper import inputs, passes
from mapper.backends import roofline
from mapper.comparison import Row


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    graph = passes.optimise(inputs.load("zoo:lfm2.5-1.2b-decode").value)
    return {row.system: row for row in roofline.rows(graph, roofline.names())}


def test_weights_and_state(rows: dict[str, Row]) -> None:
    assert round(rows["nvidia_h100_sxm5"].stream_bytes / 1e9, 3) == 2.353
    assert round(rows["nvidia_h100_sxm5"].macs / 1e9, 3) == 1.195
    assert rows["nvidia_h100_sxm5"].dtype == "float16"


@pytest.mark.parametrize(
    ("system", "milliseconds", "digits"),
    [
        ("nvidia_h100_sxm5", 0.70, 2),
        ("nvidia_b200", 0.29, 2),
        ("nvidia_rubin", 0.11, 2),
        ("google_tpu_v5e", 2.87, 2),
        ("google_tpu_v6e", 1.44, 2),
        ("aws_trainium2", 0.81, 2),
        ("apple_ane_m4", 19.6, 1),
        ("intel_npu4", 17.2, 1),
        ("imax3_fpga", 254, 0),
        ("imax3_asic28", 10.9, 1),
        ("groq_lpu_v1", 0.0027, 4),
        ("cerebras_wse3", 0.00011, 5),
    ],
)
def test_bound_from_bandwidth(rows: dict[str, Row], system: str, milliseconds: float, digits: int) -> None:
    found = rows[system].stream_seconds
    assert found is not None and round(found * 1e3, digits) == milliseconds


@pytest.mark.parametrize(
    ("system", "millijoules"),
    [("nvidia_h100_sxm5", 64), ("nvidia_b200", 64), ("nvidia_rubin", 64), ("aws_trainium2", 64),
     ("google_tpu_v5e", 73), ("google_tpu_v6e", 73), ("apple_ane_m4", 85), ("intel_npu4", 85), ("imax3_asic28", 85),
     ("imax3_fpga", 382)],
)  # fmt: skip
def test_energy_of_streaming(rows: dict[str, Row], system: str, millijoules: int) -> None:
    found = rows[system].stream_pj
    assert found is not None and round(found * 1e-9) == millijoules


def test_resident_weights(rows: dict[str, Row]) -> None:
    groq, wafer = rows["groq_lpu_v1"], rows["cerebras_wse3"]
    assert groq.chips == 11 and groq.stream_pj is not None and round(groq.stream_pj * 1e-9, 1) == 4.1
    assert wafer.chips == 1 and wafer.share_of_capacity is not None
    assert round(100 * wafer.share_of_capacity, 1) == 5.3


def test_a_sum_over_operators_is_no_faster_than_the_stream(rows: dict[str, Row]) -> None:
    for row in rows.values():
        if row.seconds is not None and row.stream_seconds is not None:
            assert row.seconds >= row.stream_seconds, row.system
