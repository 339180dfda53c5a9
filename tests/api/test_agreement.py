"""What Python and C both know, they know alike: the runtime's own files, and the settings that C takes."""

import inspect

import pytest

from gort import _cli, _core, _env, _traceback

HERE = _traceback.__file__.removesuffix("_traceback.py")


def stack_with(filename: str) -> str:
    """The running goroutine's stack, at the level of `single`, with a call of a function in this file."""
    names: dict[str, object] = {"traceback": _core.traceback}
    exec(compile("def called(): return traceback(False)", filename, "exec"), names)
    called = names["called"]
    assert callable(called)
    return str(called())


@pytest.mark.parametrize(
    "filename",
    [
        "program.py",
        HERE + "_cli.py",
        HERE + "module.py",
        HERE + "sync/module.py",
        HERE.rstrip("/") + "-other/module.py",
        "<frozen runpy>",
        "<frozen importlib._bootstrap>",
        "<frozen importlib._bootstrap_external>",
        "<frozen importlib._bootstrap_other>",
        "<frozen os>",
        "<string>",
    ],
)
def test_files_of_the_runtime(filename: str) -> None:
    assert (f"{filename}:" not in stack_with(filename)) == _traceback.is_runtime_file(filename)


def test_files_of_the_runtime_are_some() -> None:
    assert _traceback.is_runtime_file(HERE + "_cli.py") and not _traceback.is_runtime_file("program.py")


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
