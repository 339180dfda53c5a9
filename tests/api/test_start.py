"""What a program that does nothing pays for gort: the modules that are loaded before its first line.

Each module of the standard library costs every program time and memory. BANNED are those that something in
gort uses, or that serve annotations, and that a program may live without: they are loaded when needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import Outcome, execute

BANNED = {
    "argparse",
    "ast",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "dis",
    "enum",
    "importlib.machinery",
    "importlib.metadata",
    "importlib.util",
    "inspect",
    "json",
    "linecache",
    "pkgutil",
    "re",
    "runpy",
    "shutil",
    "signal",
    "tokenize",
    "traceback",
    "typing",
    "weakref",
}
OWN = {
    "gort",
    "gort._assert",
    "gort._cli",
    "gort._core",
    "gort._env",
    "gort._heap",
    "gort._lazy",
    "gort._run",
    "gort._threads",
    "gort._traceback",
}

# What `gort run` does. The installed command is written by the installer, and `-m` needs runpy.
COMMAND = "import sys; from gort._cli import main; sys.exit(main(sys.argv[1:]))"
SHOW = "import sys; print(*sorted(sys.modules))"


def loaded(*words: str) -> set[str]:
    """The modules that are there when a program starts. -I -S: without those that site and its files load."""
    outcome: Outcome = execute([sys.executable, "-I", "-S", "-c", *words])
    outcome.check(stderr="")
    return set(outcome.stdout.split())


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "show.py"
    path.write_text(SHOW)
    return str(path)


def found(code: str) -> str:
    """`code` with gort's place in sys.path."""
    import gort

    return f"import sys; sys.path.append({str(Path(gort.__file__).parents[1])!r}); {code}"


@pytest.mark.parametrize("way", ["import", "run", "run -c", "run -m"])
def test_little_is_loaded(way: str, script: str) -> None:
    banned = BANNED - loaded(SHOW)  # python -c loads linecache itself from 3.13 on
    assert BANNED - banned <= {"linecache"}
    match way:
        case "import":
            modules = loaded(found(f"import gort; {SHOW}"))
            assert {name for name in modules if name.startswith("gort")} == OWN - {"gort._cli"}
        case "run":
            modules = loaded(found(COMMAND), "run", script)
            assert {name for name in modules if name.startswith("gort")} == OWN
        case "run -c":
            modules = loaded(found(COMMAND), "run", "-c", SHOW)
        case _:
            folder = str(Path(script).parent)
            modules = loaded(found(f"sys.path.append({folder!r}); {COMMAND}"), "run", "-m", "show")
            banned -= loaded(f"import runpy; {SHOW}")
    assert sorted(banned & modules) == []
