"""What Python and C both know, they know alike: the runtime's own files, and the settings that C takes."""

import inspect
import shutil
import sys
from pathlib import Path

import pytest

from gort import _cli, _core, _env, _traceback
from harness import execute

HERE = _traceback.__file__.removesuffix("_traceback.py")


def stack_with(filename: str) -> str:
    """The running goroutine's stack, at the level of `single`, with a call of a function in this file."""
    names: dict[str, object] = {"traceback": _core.traceback}
    exec(compile("def called(): return traceback(False)", filename, "exec"), names)
    called = names["called"]
    assert callable(called)
    return str(called())


@pytest.mark.parametrize(
    "filename, runtime",
    [
        ("program.py", False),
        ("", False),
        (HERE + "_cli.py", True),
        (HERE + "module.py", True),
        (HERE + "sync/module.py", True),
        (HERE + "mod\xfcl.py", True),
        (HERE + "x" * 2000, True),
        (HERE.rstrip("/") + "-other/module.py", False),
        ("<frozen runpy>", True),
        ("<frozen importlib._bootstrap>", True),
        ("<frozen importlib._bootstrap_external>", True),
        ("<frozen importlib._bootstrap_other>", False),
        ("<frozen os>", False),
        ("<string>", False),
    ],
)
def test_files_of_the_runtime(filename: str, runtime: bool) -> None:
    assert _core.is_runtime_file(filename) == runtime
    assert (f"{filename}:" not in stack_with(filename)) == runtime
    assert _core.is_launcher_file(filename) == filename.endswith("gort/_cli.py")


DUMP = """
import os, signal
from gort import go, runtime
def program(): print(runtime.stack(), flush=True); os.kill(os.getpid(), signal.SIGQUIT)
program()
"""


@pytest.mark.parametrize("folder", ["plain", "k\xf6rper", "\u03a9mega", "\U0001f40d"])
def test_the_runtime_knows_its_files_wherever_they_are(folder: str, tmp_path: Path) -> None:
    """Without the interpreter, too: what SIGQUIT prints comes from the signal's handler."""
    place = tmp_path / folder
    shutil.copytree(HERE, place / "gort")
    (tmp_path / "program.py").write_text(DUMP)
    outcome = execute(
        [sys.executable, "-m", "gort", "run", str(tmp_path / "program.py")], env={"PYTHONPATH": str(place)}
    )
    assert outcome.status == 2
    for text in (outcome.stdout, outcome.stderr):
        assert "__main__.program(...)" in text
        assert "_cli" not in text and "runpy" not in text


def test_launcher() -> None:
    """Frames outside of the launcher's are not the program's. Nothing but its file says which it is."""
    assert _cli.main.__code__.co_filename == HERE + "_cli.py"
    outer: dict[str, object] = {"stack_with": stack_with}
    exec(compile("def launch(f): return stack_with(f)", HERE + "_cli.py", "exec"), outer)
    launch = outer["launch"]
    assert callable(launch)
    assert "test_launcher(" not in launch("program.py")
    assert "program.py:" in launch("program.py")
    assert "test_launcher(" in stack_with("program.py")


def test_debug_modes_of_the_heap() -> None:
    assert list(inspect.signature(_core.install_heap).parameters) == list(_env.heap_modes())


def test_settings_of_the_collector() -> None:
    assert {*list(inspect.signature(_core.start_gc).parameters)[2:]} == {*_env.collector_settings()}


def test_words_of_gotraceback() -> None:
    for word in _env.TRACEBACK_WORDS:
        assert _env.is_traceback_level(word)
    assert _env.TRACEBACK_LEVELS == "one of none, single, all, system, crash or a number"
