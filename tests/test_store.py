"""Answers kept between runs: what is kept comes back, what is damaged does not, and nothing else changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import mapper
from mapper.codec import encode
from mapper.store import code_digest, keep, recall


@dataclass(frozen=True)
class Answer:
    number: int
    words: tuple[str, ...] = ()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAPPER_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_an_answer_comes_back_for_its_question_only(folder: Path) -> None:
    keep("how many", Answer(3, ("a",)))
    assert recall(Answer, "how many") == Answer(3, ("a",))
    assert [path.suffix for path in folder.rglob("*") if path.is_file()] == [".json"]
    assert recall(Answer, "how many more") is None


@pytest.mark.parametrize("old, new", [("3", "4"), ("answer", "anwser"), ("{", "")])
def test_a_damaged_document_is_as_good_as_none(folder: Path, old: str, new: str) -> None:
    keep("how many", Answer(3))
    (path,) = folder.rglob("*.json")
    path.write_text(path.read_text().replace(old, new))
    assert recall(Answer, "how many") is None


def test_off_and_folders_that_cannot_be_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file where the folder should be")
    keep("how many", Answer(3))
    assert recall(Answer, "how many") is None
    monkeypatch.setenv("MAPPER_CACHE", "off")
    keep("how many", Answer(3))
    assert recall(Answer, "how many") is None


def test_the_code_is_part_of_the_question() -> None:
    assert code_digest("mapper.backends.cgra") != code_digest("mapper.backends.cgla")


def test_a_module_and_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert code_digest("mapper.store") == code_digest("mapper")
    for name in ("MAPPER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    keep("how many", Answer(3))
    assert recall(Answer, "how many") is None and not list(tmp_path.iterdir())


def test_a_second_run_searches_nothing_and_gives_the_same_mapping(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = mapper.compile("zoo:resnet-tiny", target="cgra")
    assert list(folder.rglob("*.json"))

    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError("a kept answer was searched again")

    monkeypatch.setattr("mapper.backends.cgra.network.rules.map_kernel", unexpected)
    monkeypatch.setattr("mapper.planning.tilings", unexpected)
    assert encode(mapper.compile("zoo:resnet-tiny", target="cgra").mapping) == encode(first.mapping)


def product(path: Path, rows: int) -> Path:
    """A matrix product of so many rows, saved under `path`."""
    shapes = {"x": (rows, 24), "w": (24, 20), "y": (rows, 20)}
    x, w, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x, w], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def test_what_is_kept_of_one_model_changes_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = product(folder.parent / "a.onnx", 2), product(folder.parent / "b.onnx", 16)
    alone = mapper.compile(second, target="cgra")
    monkeypatch.setenv("MAPPER_CACHE", str(folder / "shared"))
    mapper.compile(first, target="cgra")
    assert encode(mapper.compile(second, target="cgra").mapping) == encode(alone.mapping)
