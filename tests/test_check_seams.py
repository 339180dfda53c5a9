"""tools/check_seams.py holds for this tree and finds each kind of violation."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "check_seams.py"


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_seams", TOOL)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def at(tool: Any, root: Path, files: dict[str, str]) -> None:
    """Lets the tool look at these files instead of gort's own."""
    tool.ROOT, tool.CORE, tool.PACKAGE = root, root / "src" / "_core", root / "src" / "gort"
    for name, text in files.items():
        file = root / "src" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_this_tree(tool: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("#if PY_VERSION_HEX < 0x030c0000", "compat.c"),
        ("#define Py_BUILD_CORE", "compat.h"),
        ('#include "internal/pycore_frame.h"', "compat.c"),
        ("# include <sys/mman.h>", "os_linux.c"),
        ("#include <linux/futex.h>", "os.h"),
        ("#include <pthread.h>", "os_linux.c"),
        ("#include <signal.h>", "signal.c"),
    ],
)
def test_seams(tool: Any, tmp_path: Path, text: str, allowed: str) -> None:
    at(tool, tmp_path, {"_core/sched.c": f"int x;\n{text}\n", f"_core/{allowed}": text})
    (fault,) = tool.check_seams()
    assert fault.startswith("src/_core/sched.c:2: ")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("from ._run import run\nfrom . import _core\n_core._x", ""),
        ("from gort._core import _thing", ""),
        ("from gort._secret import x", "gort._secret.x"),
        ("from ._secret import x", "gort._secret.x"),
        ("from . import context\ncontext._Node", "_Node"),
        ("from .context import _Node", "gort.context._Node"),
        ("import gort._secret", "gort._secret"),
        ("from .context import __doc__", ""),
    ],
)
def test_privacy(tool: Any, tmp_path: Path, text: str, fault: str) -> None:
    at(
        tool,
        tmp_path,
        {"gort/time.py": text, "gort/__init__.py": "", "gort/__main__.py": "from . import _cli"},
    )
    faults = list(tool.check_privacy())
    expected = [f"{fault} is private to another module"] if fault else []
    assert [text.split(": ", 1)[1] for text in faults] == expected


def test_package_may_use_its_own_modules(tool: Any, tmp_path: Path) -> None:
    at(tool, tmp_path, {"gort/__init__.py": "from ._run import run\nfrom .time import _clock"})
    (fault,) = tool.check_privacy()
    assert fault.endswith("gort.time._clock is private to another module")


def test_stub(tool: Any, tmp_path: Path) -> None:
    stub = """
_T = TypeVar("_T")
LIMIT: Final[int]
def go() -> None: ...
def gone() -> None: ...
class _Base:
    def load(self) -> int: ...
class Chan(_Base):
    def send(self) -> None: ...
    def lost(self) -> None: ...
class Value: ...
"""

    class Chan:
        def load(self) -> None: ...
        def send(self) -> None: ...
        def extra(self) -> None: ...

    at(tool, tmp_path, {"gort/_core.pyi": stub})
    core = SimpleNamespace(LIMIT=1, go=len, added=len, Chan=Chan, Value=3, _private=len)
    assert sorted(tool.check_stub(core)) == [
        "_core.pyi lacks Chan.extra of the built core",
        "_core.pyi lacks added of the built core",
        "_core.pyi: Chan.lost is not in the built core",
        "_core.pyi: Value is a class there, but int in the built core",
        "_core.pyi: gone is not in the built core",
    ]
    assert "check_seams" not in sys.modules
