"""tools/check_stub.py, part of `make lint`, fails if stubtest does, or misses what is planted."""

from types import ModuleType
from typing import Any

import pytest

from harness import load_tool


@pytest.fixture
def tool() -> ModuleType:
    return load_tool("check_stub")


@pytest.mark.parametrize(
    ("right", "wrong", "status"),
    [
        ((0, ""), (1, "all"), 0),
        ((1, "error: gort._core.go is inconsistent"), (1, "all"), 1),
        ((0, ""), (0, ""), 1),
        ((0, ""), (0, "all"), 1),
        ((0, ""), (1, "but one"), 1),
        ((1, "mypy is not there"), (1, "mypy is not there"), 1),
    ],
)
def test_status(
    tool: Any,
    monkeypatch: pytest.MonkeyPatch,
    right: tuple[int, str],
    wrong: tuple[int, str],
    status: int,
) -> None:
    """stubtest finds nothing in the stub that is there, and each planted fault in the other one."""
    lines = [f"error: {name} is not right\n" for _, _, name in tool.PLANTED]
    texts = {"all": "".join(lines), "but one": "".join(lines[1:])}
    real = tool.STUB.read_text()

    def stubtest(stub: str, installed: str) -> tuple[int, str]:
        assert installed == "site-packages"
        number, text = right if stub == real else wrong
        return number, texts.get(text, text)

    monkeypatch.setattr(tool, "platlib", lambda python: "site-packages")
    monkeypatch.setattr(tool, "stubtest", stubtest)
    assert tool.main("python") == status


def test_faults_are_planted(
    tool: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "platlib", lambda python: "site-packages")
    monkeypatch.setattr(tool, "PLANTED", (("def not_there", "", "gort._core.not_there"),))
    assert tool.main("python") == 1
    assert "not in the stub" in capsys.readouterr().out
