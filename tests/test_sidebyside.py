"""tools/sidebyside.py and cpython_tests.py: what they read, and that they notice differences."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import cpython_tests  # noqa: E402
import sidebyside  # noqa: E402
from sidebyside import FAILED, MISSING, OK, PROCESS, SKIPPED, Outcome  # noqa: E402

REPORT = """
<testsuites><testsuite>
<testcase name="a.passes" /><testcase classname="file" name="test[1]" /><testcase />
<testcase name="a.skips"><skipped>why</skipped></testcase>
<testcase name="a.fails"><failure>x</failure></testcase><testcase name="a.errs"><error>x</error></testcase>
</testsuite></testsuites>
"""


def test_report(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    assert dict(sidebyside.read_junit(path)) == {}
    path.write_text(REPORT)
    outcomes = {"a.passes": OK, "file::test[1]": OK, "a.skips": SKIPPED, "a.fails": FAILED, "a.errs": FAILED}
    assert dict(sidebyside.read_junit(path)) == outcomes


def test_differences() -> None:
    plain, under = Outcome({"a": OK, "b": OK, "c": FAILED}), Outcome({"a": OK, "b": FAILED, "d": OK})
    assert sidebyside.differences(plain, under) == {
        "b": (OK, FAILED),
        "c": (FAILED, MISSING),
        "d": (MISSING, OK),
    }


@pytest.mark.parametrize("gort", [False, True])
def test_run(gort: bool, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import sys, os, time\n"
        "print(sys.argv[1:], 'gort' in sys.modules, flush=True)\n"
        "if 'sleep' in sys.argv: time.sleep(60)\n"
        "if 'abort' in sys.argv: os.abort()\n"
        "sys.exit(3)\n"
    )
    for word, limits, status in (
        ("x", (60,), "exit status 3"),
        ("abort", (60,), "SIGABRT"),
        ("sleep", (3, 15, 40), "time limit"),  # the first one in which the interpreter has started
    ):
        for limit in limits:
            got = sidebyside.run(["mine", word], gort, str(tmp_path), limit)
            if got.text:
                break
        assert got.tests == {PROCESS: status}
        assert got.text.startswith(f"['{word}'] {gort}\n")


def test_run_inside(tmp_path: Path) -> None:
    """In a thread and in a goroutine that are not the main ones."""
    (tmp_path / "mine.py").write_text(
        "import sys, threading\n"
        "from importlib import import_module\n"
        "main = threading.current_thread() is threading.main_thread()\n"
        "goid = import_module('gort._core').goid() if 'gort' in sys.modules else 0\n"
        "print(__name__, sys.argv[1:], main, goid > 1)\n"
        "sys.exit(3)\n"
    )
    for gort in (False, True):
        got = sidebyside.run(["mine", "x"], gort, str(tmp_path), 60, inside=True)
        assert got.tests == {PROCESS: "exit status 3"}
        assert got.text == f"__main__ ['x'] False {gort}\n"


ARGUMENTS = argparse.Namespace(memlimit=None, timeout=60, goroutine=False)
CPYTHONS_TESTS = pytest.mark.skipif(
    not cpython_tests.available(["test_bool"]), reason="this Python has no package `test`"
)


@CPYTHONS_TESTS
def test_a_module_of_cpython() -> None:
    for gort in (False, True):
        outcome = cpython_tests.outcome("test_bool", gort, ARGUMENTS)
        assert outcome.tests[PROCESS] == "exit status 0"
        assert outcome.tests["test.test_bool.BoolTest.test_repr"] == OK


def test_only_what_shows_twice_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {False: [Outcome({"a": OK, "b": OK})] * 2, True: [Outcome({"a": FAILED, "b": FAILED})]}
    runs[True].append(Outcome({"a": OK, "b": FAILED}))
    monkeypatch.setattr(cpython_tests, "outcome", lambda module, gort, arguments: runs[gort].pop(0))
    found = cpython_tests.compare("test_x", ARGUMENTS)
    assert found.different == {"b": (OK, FAILED)} and found.once == 1


@pytest.mark.parametrize(("expected", "status"), [(True, 0), (False, 1)])
def test_expectations(
    expected: bool, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcome(module: str, gort: bool, arguments: argparse.Namespace) -> Outcome:
        return Outcome({"test.a.b": FAILED if gort else OK, PROCESS: f"exit status {int(gort)}"})

    here = cpython_tests.Expected("test.a.*", "a reason", (sys.version_info[:2],))
    monkeypatch.setattr(cpython_tests, "EXPECTED", (here,) if expected else ())
    monkeypatch.setattr(cpython_tests, "outcome", outcome)
    monkeypatch.setattr(cpython_tests, "MODULES", ["test_bool"])
    monkeypatch.setattr(cpython_tests, "available", lambda modules: list(modules))
    monkeypatch.setattr(sys, "argv", ["cpython_tests.py"])
    assert cpython_tests.main() == status
    assert ("test.a.b: ok in python, failed under gort" in capsys.readouterr().out) is not expected
    monkeypatch.setattr(
        cpython_tests, "outcome", lambda module, gort, arguments: Outcome({"test.a.b": OK, PROCESS: "x"})
    )
    assert cpython_tests.main() == int(expected)
    assert ("expected, but did not show: test.a.*" in capsys.readouterr().out) is expected


def test_no_test_at_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Both hang: no difference, and no agreement either."""
    late = Outcome({PROCESS: "time limit"})
    monkeypatch.setattr(cpython_tests, "outcome", lambda module, gort, arguments: late)
    monkeypatch.setattr(cpython_tests, "available", lambda modules: list(modules))
    monkeypatch.setattr(sys, "argv", ["cpython_tests.py", "test_x"])
    assert cpython_tests.main() == 1
    assert "no test was run: time limit" in capsys.readouterr().out
