"""What every target owes: run over the registry, so a new target is tested as soon as it is listed."""

import json

import pytest

import mapper
from mapper import registry
from mapper.ir import Opaque
from mapper.models import zoo

TARGETS = registry.backend_names()
CASES = [*((target, "resnet-tiny") for target in TARGETS), (TARGETS[0], "bert-tiny")]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def result(request):
    target, model = request.param
    return mapper.compile(f"zoo:{model}", target=target, effort="fast")


def test_the_mapping_is_legal(result) -> None:
    assert result.check() == ()


def test_values_equal_the_reference_and_counts_equal_the_cost(result) -> None:
    verification = result.simulate(seed=3)
    assert verification.violations == ()
    assert any("ONNX reference" in what for what in verification.compared)


def test_movement_is_above_its_provable_bound(result) -> None:
    for boundary in result.report["bounds"].values():
        assert boundary["provable_bytes"] <= boundary["mapping_bytes"]
    assert result.outcome.bound <= result.outcome.objective
    assert result.outcome.objective == pytest.approx(result.report["totals"]["movement_pj"])


def test_every_node_of_the_model_is_in_the_report(result) -> None:
    nodes = {node.name or f"{node.op_type}_{i}" for i, node in enumerate(zoo.build(result.loaded.name[4:]).graph.node)}
    assert {node["name"] for node in result.report["nodes"]} >= nodes
    ops = {op["name"] for op in result.report["ops"]}
    assert ops == {op.name for op in result.mapping.graph.nests}
    assert result.report["host_ops"] == []


def test_totals_are_the_sums_of_the_operators(result) -> None:
    totals, ops = result.report["totals"], result.report["ops"]
    assert totals["movement_pj"] == pytest.approx(sum(op["movement_pj"] for op in ops))
    for name, level in totals["levels"].items():
        assert level["read_bytes"] == sum(op["levels"][name]["read_bytes"] for op in ops)
    assert totals["macs"] == sum(op["macs"] for op in ops)


def test_outputs_are_the_same_bytes_again(result, tmp_path) -> None:
    again = mapper.compile(result.loaded.name, target=result.target, effort="fast")
    assert {n: c for n, c in again.files().items()} == result.files()


def test_the_saved_mapping_is_legal_when_read_back(result, tmp_path) -> None:
    from mapper.documents import check_decision, read

    folder = result.save(tmp_path / "out")
    decision, header = read(folder)
    assert decision == result.decision and check_decision(decision) == ()
    assert header["input"]["sha256"] == result.loaded.sha256
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(result.report))


def test_no_operator_with_a_nest_form_goes_to_the_host(result) -> None:
    assert not [op for op in result.mapping.graph.ops if isinstance(op, Opaque)]
