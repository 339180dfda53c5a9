"""Go's spellings, which tools/go_names.py declares to type checkers, are those that the modules answer to."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gort import runtime
from gort.runtime import debug
from harness import load_tool


@pytest.fixture
def tool() -> Any:
    return load_tool("go_names")


def test_what_is_checked_in_is_current(tool: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(("file", "module"), [("runtime/__init__.py", runtime), ("runtime/debug.py", debug)])
def test_they_are_those_of_the_module(tool: Any, file: str, module: ModuleType) -> None:
    text = (tool.PACKAGE / file).read_text()
    inside = text.partition(tool.BEGIN)[2].partition(tool.END)[0]
    names = {line.split()[0].rstrip(":") for line in inside.splitlines()}
    assert names == set(dir(module)) - set(vars(module)) - set(dir(type(module)))
    for name in names:
        assert getattr(module, name) == getattr(module, tool.snake_case(name))


MODULE = """
_INDEX = ("NumCPU", "Caller", "Compiler", "Rate", "Later", "GOOS")
GOOS: Final = "linux"
compiler: Final[str] = "cpython"
from x import caller, Caller
def num_cpu(): ...
if TYPE_CHECKING:
    rate: int
    # Go's spellings, as tools/go_names.py writes them.
    Later = later
    # End of Go's spellings.
"""


def test_stale_text_is_seen(
    tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "module.py"
    file.write_text(MODULE)
    (tmp_path / "_spelling.py").write_text((tool.PACKAGE / "_spelling.py").read_text())
    monkeypatch.setattr(tool, "PACKAGE", tmp_path)
    monkeypatch.setattr(tool, "MODULES", ("module.py",))
    assert tool.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().out
    assert file.read_text() == MODULE
    assert tool.main([]) == 0
    expected = "    NumCPU = num_cpu\n    Compiler: Final[str] = compiler\n    Rate: int\n"
    assert file.read_text() == MODULE.replace("    Later = later\n", expected)
    assert tool.main(["--check"]) == 0
