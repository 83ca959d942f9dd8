"""The command line's contract: exit codes, one-line errors, nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

KERNEL = Path(__file__).parent.parent / "benchmarks/data/cgra/gsm.json"


def mapper(*words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-m", "mapper", *words], capture_output=True, text=True, cwd=cwd, env=env)


def test_a_kernel_compiles_checks_and_simulates(tmp_path: Path) -> None:
    done = mapper("compile", str(KERNEL), "--target", "cgra", "--machine", "torus3x3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "mapper-out" / "gsm-cgra"
    assert {"mapping.json", "report.json", "mapping.svg", "report.html", "trace.json", "solution.json", "run.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert json.loads((folder / "report.json").read_text())["kernel"]["ii"] == 3
    assert mapper("check", str(folder)).stdout == "legal\n"
    assert "equal" in mapper("simulate", str(folder)).stdout


def test_the_model_is_found_again_beside_its_result_by_its_bytes(tmp_path: Path) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph), tmp_path / "relu.onnx")
    assert mapper("compile", "relu.onnx", "--target", "cgra", "-o", "out", cwd=tmp_path).returncode == 0
    assert "1 outputs with the ONNX reference" in mapper("simulate", str(tmp_path / "out")).stdout
    graph.name = "another"
    onnx.save(helper.make_model(graph), tmp_path / "relu.onnx")
    assert "relu.onnx with the same bytes is not here" in mapper("simulate", str(tmp_path / "out")).stdout


def test_json_goes_to_stdout_alone(tmp_path: Path) -> None:
    done = mapper("compile", str(KERNEL), "--target", "cgra", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["outcome"]["proof"] == "bound"
    assert done.stderr == ""


@pytest.mark.parametrize(("words", "code", "message"), [
    (("compile", "nope.onnx", "--target", "cgla"), 2, "error: input does not exist (nope.onnx): name a file"),
    (("compile", ".", "--target", "cgla"), 2, "error: input is a folder (.)"),
    (("compile", "zoo:resnet5", "--target", "cgla"), 2, "resnet50"),
    (("compile", str(KERNEL), "--target", "cgar"), 2, "error: unknown target 'cgar' (--target): did you mean 'cgra'?"),
    (("compile", str(KERNEL), "--target", "cgra", "--machine", "imax3"), 2, "is made for target 'cgla'"),
    (("compile", str(KERNEL), "--target", "cgra", "--machine", "torus9"), 2, "error: unknown machine 'torus9'"),
    (("compile", str(KERNEL), "--target", "cgra", "--set", "speed=9"), 2, "has no option 'speed'"),
    (("compile", str(KERNEL), "--target", "cgra", "--set", "variant=x"), 2, "one of routed, direct"),
    (("compile", str(KERNEL), "--target", "wafer"), 2, "does not take loop kernels"),
    (("compile", "zoo:resnet-tiny", "--target", "cgla", "--dim", "n=x"), 2, "dimension 'n' cannot be 'x'"),
    (("compile", str(KERNEL)), 2, "error: Missing option '--target'"),
    (("check", "nope"), 2, "error: no mapping.json there (nope)"),
    (("frobnicate",), 2, "error: No such command 'frobnicate'"),
])  # fmt: skip
def test_faults_are_one_line_with_the_right_code(words, code: int, message: str, tmp_path: Path) -> None:
    done = mapper(*words, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def added(folder: Path, dtype: int, machine: str) -> Path:
    """A compiled model of one addition."""
    x, y = (helper.make_tensor_value_info(name, dtype, [6]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"], name="twice")], "g", [x], [y])
    onnx.save(helper.make_model(graph), folder / "add.onnx")
    assert (
        mapper("compile", "add.onnx", "--target", "cgra", "--machine", machine, "-o", "c", cwd=folder).returncode == 0
    )
    return folder / "c"


def test_an_integer_model_is_exported_for_a_simulator(tmp_path: Path) -> None:
    folder = added(tmp_path, TensorProto.INT32, "torus4x4")
    done = mapper("export", str(folder), "--format", "esl", "-o", "esl", "--iterations", "3", cwd=tmp_path)
    assert done.returncode == 0 and "memory as expected" in done.stdout, done.stderr
    inner = {path.name for path in (tmp_path / "esl" / "body0").iterdir()}
    assert inner == {"instructions.csv", "memory.csv", "expected.csv"}
    facts = json.loads((tmp_path / "esl" / "export.json").read_text())
    assert (facts["format"], facts["iterations"], facts["refused"]) == ("esl", 3, [])
    assert facts["bodies"][0]["ops"] == ["twice"]
    again = mapper("export", str(folder), "--format", "esl", "-o", "two", "--iterations", "3", "--json", cwd=tmp_path)
    assert json.loads(again.stdout) == facts
    for name in inner:
        assert (tmp_path / "esl/body0" / name).read_bytes() == (tmp_path / "two/body0" / name).read_bytes()


def test_an_export_that_cannot_be_writes_nothing(tmp_path: Path) -> None:
    folder = added(tmp_path, TensorProto.FLOAT, "torus4x4")
    kernel = tmp_path / "kernel"
    assert mapper("compile", str(KERNEL), "--target", "cgra", "-o", str(kernel)).returncode == 0
    for place, format_, code, words in [
        (folder, "esl", 4, "none of 1 bodies can be written as esl (add.onnx): twice: operation 'add'"),
        (folder, "elf", 2, "target 'cgra' has no format 'elf' (--format): known are esl, neura"),
        (kernel, "esl", 4, "operations of a loop kernel are labels (gsm.json): only bodies lowered from ONNX compute"),
        (tmp_path / "nope", "esl", 2, "no mapping.json there"),
    ]:
        done = mapper("export", str(place), "--format", format_, "-o", str(tmp_path / "out"))
        assert (done.returncode, done.stdout) == (code, "") and words in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_model_larger_than_its_machine_names_the_resource(tmp_path: Path) -> None:
    machine = "wse2:width=2,height=2,sram=1KiB"
    done = mapper("compile", "zoo:resnet-tiny", "--target", "wafer", "--machine", machine, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("error: does not fit: ") and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_dimension_is_bound_from_the_command_line(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="act")], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "m.onnx")
    unbound = mapper("inspect", str(tmp_path / "m.onnx"))
    assert unbound.returncode == 2 and "--dim N=1" in unbound.stderr
    bound = mapper("inspect", str(tmp_path / "m.onnx"), "--dim", "N=3", "--json")
    assert json.loads(bound.stdout)["inputs"][0]["shape"] == [3, 4]


def test_wrong_files_are_named(tmp_path: Path) -> None:
    page = tmp_path / "model.onnx"
    page.write_text("<!DOCTYPE html><html>not found</html>")
    done = mapper("compile", str(page), "--target", "cgla")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_other_peoples_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = mapper("compile", str(KERNEL), "--target", "cgra", "-o", str(tmp_path))
    assert done.returncode == 2 and "holds other files" in done.stderr
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_tampered_mapping_fails_the_check(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    mapper("compile", str(KERNEL), "--target", "cgra", "-o", str(folder))
    document = json.loads((folder / "mapping.json").read_text())
    document["mapping"]["mapping"]["placed"][0]["pe"] = document["mapping"]["mapping"]["placed"][1]["pe"]
    document["mapping"]["mapping"]["placed"][0]["cycle"] = document["mapping"]["mapping"]["placed"][1]["cycle"]
    (folder / "mapping.json").write_text(json.dumps(document))
    done = mapper("check", str(folder))
    assert done.returncode == 5 and "resource" in done.stdout


def test_outputs_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    for seed in ("1", "77"):
        done = mapper("compile", str(KERNEL), "--target", "cgra", "-o", str(tmp_path / seed), PYTHONHASHSEED=seed)
        assert done.returncode == 0
    for path in (tmp_path / "1").iterdir():
        if path.name != "run.json":
            assert path.read_bytes() == (tmp_path / "77" / path.name).read_bytes(), path.name


def test_help_is_quick() -> None:
    best = 9.0
    for _ in range(3):
        started = time.process_time(), os.times().children_user
        assert mapper("--help").returncode == 0
        best = min(best, os.times().children_user - started[1])
    assert best < 0.4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_before_a_mapping_leaves_nothing(number: int, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mapper",
        "compile",
        "zoo:qwen3-0.6b",
        "--target",
        "cgla",
        "-o",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(4)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []
