"""The harness itself: a tool that judges all others must be able to fail."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import PROGRAMS, Program, compare, execute, isolated, read_sections, run_source, version_fits


@pytest.mark.parametrize(
    "want, got",
    [
        ("", ""),
        ("a\nb", "a\nb\n"),
        ("a\n...\nb", "a\nb"),
        ("a\n...\nb", "a\n1\n2\nb"),
        ("...", ""),
        ("...\nb\n...", "a\nb\nc"),
        ("goroutine ... [running]:", "goroutine 17 [running]:"),
        (r"threads={{\d+}} idle", "threads=12 idle"),
        ("f(x) [y] *.", "f(x) [y] *."),
        ("{{a|b}}c", "bc"),
    ],
)
def test_texts_that_agree(want: str, got: str) -> None:
    assert compare(want, got) == []


@pytest.mark.parametrize(
    "want, got, difference",
    [
        ("a", "", ["- a"]),
        ("", "a", ["+ a"]),
        ("a\nb\nc", "a\nx\nc", ["  a", "- b", "+ x", "  c"]),
        (r"n={{\d+}}", "n=x", [r"- n={{\d+}}", "+ n=x"]),
        ("a\n...\nz", "a\nb\nc", ["  a", "  ...  (2 lines)", "- z"]),
        ("{{a|b}}c", "bcd", ["- {{a|b}}c", "+ bcd"]),
    ],
)
def test_texts_that_differ(want: str, got: str, difference: list[str]) -> None:
    assert compare(want, got) == difference


def test_sections() -> None:
    text = "-- stdout [gort] --\ng\n-- stdout --\np\nq\n-- stderr [>=3.99] --\nno\n-- stderr --\nyes\n"
    assert read_sections(text, "gort") == {"stdout": "g\n", "stderr": "yes\n"}
    assert read_sections(text, "python") == {"stdout": "p\nq\n", "stderr": "yes\n"}
    with pytest.raises(ValueError, match="before the first section"):
        read_sections("loose text", "python")


def test_versions() -> None:
    assert version_fits("") and version_fits(">=3.11") and version_fits(">=3.11 <4.0")
    assert not version_fits("<3.11") and not version_fits(">=3.11 ==3.10")
    with pytest.raises(ValueError, match="3.11"):
        version_fits("3.11")


def test_directives(tmp_path: Path) -> None:
    path = tmp_path / "p.py"
    path.write_text(
        "#: env A=1 B='x y'\n#: argv -v 'a b'\n#: exit python=1 gort=SIGABRT\n#: runner gort\n"
        "#: stdin one\n#: stdin two\n#: send SIGINT ready\n#: timeout 5\n#: flags -X dev\npass\n"
    )
    program = Program.load(path)
    assert program.env == {"A": "1", "B": "x y"}
    assert program.argv == ["-v", "a b"] and program.flags == ["-X", "dev"]
    assert program.status == {"python": "1", "gort": "SIGABRT"} and program.runners == ("gort",)
    assert program.stdin == "one\ntwo\n" and program.send == [(signal.SIGINT, "ready")]
    assert program.timeout == 5


@pytest.mark.parametrize("line", ["#: nonsense 1", "#: exit many", "#: runner go", "#: python 3", "#: env A"])
def test_bad_directives(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.py"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match="p.py: bad directive"):
        Program.load(path)


def test_outcome_is_reported() -> None:
    outcome = run_source("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    outcome.check(status=3, stdout="out", stderr="err")
    with pytest.raises(AssertionError) as failure:
        outcome.check(status=0, stdout="OUT", stderr="err")
    report = str(failure.value)
    assert "ended with exit status 3, expected 0" in report
    assert "- OUT\n+ out" in report and "stderr was:\nerr" in report


def test_signals_are_sent_and_reported() -> None:
    source = "import time; print('ready', flush=True); time.sleep(60)"
    run_source(source, send=[(signal.SIGTERM, "ready")]).check(status="SIGTERM", stdout="ready", stderr="")


def test_hang_is_reported() -> None:
    outcome = execute(["sleep", "60"], timeout=0.2)
    assert outcome.hung
    with pytest.raises(AssertionError, match="hung"):
        outcome.check()


def test_standard_input_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODEBUG", "schedtrace=1")
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    source = """
        import os, sys
        print(sys.stdin.read(), sorted(name for name in os.environ if name.startswith(("GO", "PYTHON"))))
    """
    run_source(source, stdin="hello", env={"GOGC": "off"}).check(stdout="hello ['GOGC']")


@pytest.mark.parametrize("n", [3])
@isolated(stdout="n 3", status=4)
def test_isolated(n: int) -> None:
    print("n", n)
    raise SystemExit(4)


@isolated()
def _fails() -> None:
    raise ValueError("boom")


def test_isolated_fails() -> None:
    with pytest.raises(AssertionError, match="(?s)ended with exit status 1.*ValueError: boom"):
        _fails()


# -- what the installed core lacks --------------------------------------------------------------


def direct() -> None:
    core._check_heap()


def in_a_text() -> None:
    run_source("from gort import _core; _core._walk_stop()")


@isolated()
def through_another() -> None:
    again: list[Callable[[], None]] = [lambda: direct()]
    again[0]()


def in_a_constant() -> None:
    run_source("\n".join(PROGRAM))


def of_another_word() -> None:
    core._check_heap_later()


PROGRAM = ["pass", "_core._entry_of(code)"]
core: Any = None


@pytest.mark.parametrize(
    "function, arguments, names",
    [
        (direct, (), {"_check_heap"}),
        (in_a_text, (), {"_walk_stop"}),
        (through_another, (), {"_check_heap"}),
        (in_a_constant, (), {"_entry_of"}),
        (of_another_word, (), set()),
        (of_another_word, {"name": "x", "source": "_walk_stop()"}, {"_walk_stop"}),
        (of_another_word, {"program": Program(PROGRAMS / "allocfreetrace.py")}, {"_trace_gc"}),
    ],
)
def test_what_a_test_needs(
    function: Callable[[], None], arguments: object, names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks = frozenset({"_check_heap", "_entry_of", "_trace_gc", "_walk_stop"})
    monkeypatch.setattr(harness, "not_built", lambda: lacks)
    assert harness.lacking(function, arguments) == names


def test_a_program_beside_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    from stress.test_stress import test_heap, test_stress

    monkeypatch.setattr(harness, "not_built", lambda: frozenset({"_check_heap"}))
    assert harness.lacking(test_heap) == {"_check_heap"} and harness.lacking(test_stress) == set()
