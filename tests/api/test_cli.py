"""The command gort: `gort run` behaves as python does; panics; the other commands."""

from __future__ import annotations

import os
import py_compile
import signal
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from harness import Outcome, execute

GORT = os.path.join(sysconfig.get_path("scripts"), "gort")

SHOW = """\
import os, sys
main = sys.modules["__main__"]
def home(path):
    return path.replace(os.getcwd(), "CWD")
print(__name__, __package__, main.__dict__ is globals(), type(__builtins__).__name__)
print([home(word) for word in sys.argv], home(sys.path[0]), home(globals().get("__file__", "no file")))
print(getattr(__loader__, "__name__", type(__loader__).__name__), __spec__ and __spec__.name)
print(sorted(name for name in globals() if not name.startswith("_")))
import helper
print(helper.WHERE)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with programs, and the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "show.py").write_text(SHOW)
    (tmp_path / "helper.py").write_text("WHERE = 'beside the program'\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(SHOW)
    (tmp_path / "package" / "helper.py").write_text("WHERE = 'in the package'\n")
    (tmp_path / "package" / "show.py").write_text(SHOW)
    return tmp_path


def gort(*words: str, env: dict[str, str] | None = None, stdin: str = "") -> Outcome:
    return execute([GORT, *words], env=env, stdin=stdin)


def python(*words: str, env: dict[str, str] | None = None, stdin: str = "") -> Outcome:
    return execute([sys.executable, *words], env=env, stdin=stdin)


# -- as python does ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["show.py"],
        ["show.py", "-x", "--flag", "-m", "two words", "--"],
        ["./show.py", "-h"],
        ["package/show.py", "x"],
        ["package", "x"],
        ["-m", "show", "-x"],
        ["-mshow", "-x"],
        ["-m", "package", "a", "-m", "b"],
        ["-m", "package.show", "--help"],
        ["-c", SHOW, "-x", "y"],
        ["-c" + SHOW, "-x"],
    ],
    ids=lambda words: " ".join(words).replace(SHOW, "CODE"),
)
def test_a_program_sees_the_same(folder: Path, words: list[str]) -> None:
    expected = python(*words)
    assert expected.status == 0
    gort("run", *words).check(stdout=expected.stdout, stderr=expected.stderr)


def test_symbolic_link_to_a_script(folder: Path) -> None:
    (folder / "links").mkdir()
    (folder / "links" / "link.py").symlink_to(folder / "show.py")
    expected = python("links/link.py")
    assert "beside the program" in expected.stdout
    gort("run", "links/link.py").check(stdout=expected.stdout, stderr="")


def test_zip_file(folder: Path) -> None:
    with zipfile.ZipFile("program.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
        archive.writestr("helper.py", "WHERE = 'in the archive'\n")
    expected = python("program.zip", "x")
    assert "in the archive" in expected.stdout
    gort("run", "program.zip", "x").check(stdout=expected.stdout, stderr="")


def test_compiled_file(folder: Path) -> None:
    py_compile.compile("show.py", "program.pyc", doraise=True)
    expected = python("program.pyc")
    assert "SourcelessFileLoader" in expected.stdout
    gort("run", "program.pyc").check(stdout=expected.stdout, stderr="")


def test_standard_input_as_the_program(folder: Path) -> None:
    source = "import sys; print(__name__, sys.argv, repr(sys.path[0]))"
    expected = python("-", "x", stdin=source)
    gort("run", "-", "x", stdin=source).check(stdout=expected.stdout, stderr="")


def test_python_dash_m_gort(folder: Path) -> None:
    expected = python("show.py", "x")
    python("-m", "gort", "run", "show.py", "x").check(stdout=expected.stdout, stderr="")


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"print('no end of line')",
        b"print(1)\r\nprint(repr('''a\r\nb'''))\r\n",
        b"\xef\xbb\xbfprint('after a mark')\n",
        b"# coding: latin-1\nprint(ascii('\xe9'))\n",
        "print(ascii('\u20ac'))\n".encode(),
    ],
)
def test_text_of_a_program(folder: Path, source: bytes) -> None:
    (folder / "text.py").write_bytes(source)
    gort("run", "text.py").check(stdout=python("text.py").stdout, stderr="")


def test_text_that_is_given(folder: Path) -> None:
    """No encoding is looked for in what is text already."""
    code = "# coding: latin-1\nprint(ascii('\u20ac'))"
    gort("run", "-c", code).check(stdout="'\\u20ac'\n", stderr="")
    gort("run", "-", stdin=code).check(stdout="'\\u20ac'\n", stderr="")


@pytest.mark.parametrize("way", ["script", "code"])
def test_a_program_finds_no_classes_of_ast(folder: Path, way: str) -> None:
    """They would be 200 KiB of it."""
    code = "print([c for c in object.__subclasses__() if c.__module__ == 'ast'])"
    (folder / "classes.py").write_text(code)
    words = ["classes.py"] if way == "script" else ["-c", code]
    gort("run", *words).check(stdout="[]\n", stderr="")


def test_two_dashes_before_the_script(folder: Path) -> None:
    gort("run", "--", "show.py", "x").check(stdout=python("show.py", "x").stdout, stderr="")


def test_safe_path(folder: Path) -> None:
    (folder / "path.py").write_text("import sys; print(sys.path)")
    expected = python("path.py", env={"PYTHONSAFEPATH": "1"})
    gort("run", "path.py", env={"PYTHONSAFEPATH": "1"}).check(stdout=expected.stdout, stderr="")


def test_future_imports_of_gort_are_its_own(folder: Path) -> None:
    code = "def f(x: 1 + 1): ...\nprint(f.__annotations__)"
    gort("run", "-c", code).check(stdout="{'x': 2}\n", stderr="")


def test_pickle_and_multiprocessing(folder: Path) -> None:
    (folder / "work.py").write_text(
        "import multiprocessing, pickle\n"
        "import gort\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "def double(point): return Point(gort.run(lambda: 2 * point.x))\n"
        "if __name__ == '__main__':\n"
        "    print(pickle.loads(pickle.dumps(Point(1))).x, Point.__module__)\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print([point.x for point in pool.map(double, [Point(1), Point(2)])])\n"
    )
    gort("run", "work.py").check(stdout="1 __main__\n[2, 4]\n", stderr="")


def test_output_is_not_lost(folder: Path) -> None:
    gort("run", "-c", "import sys; sys.stdout.write('no newline'); sys.exit(3)").check(
        status=3, stdout="no newline", stderr=""
    )


# -- exit statuses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", ["0", "None", "3", "True", "256", "-1", "'a text'", "(1, 2)", "ValueError('v')", ""]
)
def test_system_exit_of_main_and_of_a_goroutine(folder: Path, code: str) -> None:
    expected = python("-c", f"import sys; sys.exit({code})")
    gort("run", "-c", f"import sys; sys.exit({code})").check(
        status=expected.status, stdout="", stderr=expected.stderr
    )
    in_goroutine = f"import sys, gort; gort.go(lambda: sys.exit({code})); gort.chan().recv()"
    for run in (python, lambda *words: gort("run", *words)):
        run("-c", in_goroutine).check(status=expected.status, stdout="", stderr=expected.stderr)


def test_system_exit_of_a_goroutine_is_orderly(folder: Path) -> None:
    (folder / "exit.py").write_text(
        "import atexit, sys, threading, time, concurrent.futures\n"
        "import gort\n"
        "gate = gort.chan()\n"
        "atexit.register(lambda: print('atexit', gort.run(lambda: 'with goroutines')))\n"
        "def thread():\n"
        "    gate.recv()\n"
        "    print('thread')\n"
        "threading.Thread(target=thread).start()\n"
        "threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
        "pool = concurrent.futures.ThreadPoolExecutor(1)\n"
        "pool.submit(gate.recv)\n"
        "def leave():\n"
        "    gort.go(gate.close)\n"
        "    sys.stdout.write('buffered\\n')\n"
        "    sys.exit(4)\n"
        "gort.go(leave)\n"
        "gort.chan().recv()\n"
    )
    for run in (python, lambda *words: gort("run", *words)):
        run("exit.py").check(status=4, stdout="buffered\nthread\natexit with goroutines\n", stderr="")


def test_first_system_exit_counts(folder: Path) -> None:
    (folder / "exit.py").write_text(
        "import atexit, sys, gort, gort.time\n"
        "def slowly():\n"
        "    gort.go(sys.exit, 5)\n"
        "    gort.time.sleep(0.05)\n"
        "    print('once')\n"
        "atexit.register(slowly)\n"
        "gort.go(sys.exit, 4)\n"
        "gort.chan().recv()\n"
    )
    python("exit.py").check(status=4, stdout="once\n", stderr="")


def test_missing_file(folder: Path) -> None:
    missing = folder / "nothing.py"
    gort("run", "nothing.py").check(
        status=2,
        stdout="",
        stderr=f"gort: can't open file '{missing}': [Errno 2] No such file or directory\n",
    )


def test_missing_module(folder: Path) -> None:
    gort("run", "-m", "nothing").check(status=1, stdout="", stderr="...: No module named nothing\n")


def test_folder_without_main(folder: Path) -> None:
    (folder / "empty").mkdir()
    gort("run", "empty").check(status=1, stdout="", stderr="...: can't find '__main__' module in ...\n")


@pytest.mark.parametrize(
    "words", [["run"], ["run", "-m"], ["run", "-c"], [], ["nothing"], ["run", "--nothing", "x"]]
)
def test_wrong_usage(folder: Path, words: list[str]) -> None:
    outcome = gort(*words)
    assert outcome.status == 2
    assert outcome.stdout == ""
    assert outcome.stderr.strip()
    assert "Traceback" not in outcome.stderr


def test_null_in_a_program(folder: Path) -> None:
    (folder / "null.py").write_bytes(b"print(1)\n\0")
    outcome = gort("run", "null.py")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr.endswith("Error: source code string cannot contain null bytes\n")


@pytest.mark.parametrize("source", ["print('a'\n", "x = '\\udc80'.encode(", "return"])
def test_syntax_error_is_what_python_prints(folder: Path, source: str) -> None:
    (folder / "bad.py").write_text(source)
    expected = python("bad.py")
    outcome = gort("run", "bad.py")
    assert outcome.status == expected.status == 1
    assert outcome.stdout == ""
    assert outcome.stderr.splitlines()[-1] == expected.stderr.splitlines()[-1]
    assert "goroutine" not in outcome.stderr


# -- what ends main ---------------------------------------------------------------------------

CRASH = """\
def inner(x):
    return {}[x]
def outer():
    inner("missing")
outer()
"""


@pytest.mark.parametrize("how", ["script", "module", "code"])
def test_exception_that_escapes_main_is_a_panic(folder: Path, how: str) -> None:
    (folder / "crash.py").write_text(CRASH)
    words = {"script": ["crash.py"], "module": ["-m", "crash"], "code": ["-c", CRASH]}[how]
    file = "<string>" if how == "code" else str(folder / "crash.py")
    outcome = gort("run", *words)
    outcome.check(
        status=2,
        stdout="",
        stderr=f"""\
Traceback (most recent call last):
  File "{file}", line 5, in <module>
...
  File "{file}", line 4, in outer
...
  File "{file}", line 2, in inner
...
KeyError: 'missing'

goroutine 1 [running]:
__main__.inner(...)
	{file}:2
__main__.outer(...)
	{file}:4
__main__.<module>(...)
	{file}:5
""",
    )
    assert "gort" not in outcome.stderr.replace(str(folder), "")


def test_atexit_runs_in_a_panic_of_main_alone(folder: Path) -> None:
    code = "import atexit; atexit.register(print, 'atexit'); print('before'); "
    outcome = gort("run", "-c", code + "raise ValueError('boom')")
    assert (outcome.status, outcome.stdout) == (2, "before\natexit\n")
    outcome = gort("run", "-c", code + "import gort; gort.go(lambda: 1 / 0); gort.chan().recv()")
    assert (outcome.status, outcome.stdout) == (2, "before\n")


def test_keyboard_interrupt_ends_as_python_does(folder: Path) -> None:
    code = "import atexit; atexit.register(print, 'atexit')\nraise KeyboardInterrupt"
    for runner in ([GORT, "run"], [sys.executable, "-m", "gort", "run"]):
        outcome = execute([*runner, "-c", code])
        outcome.check(
            status="SIGINT",
            stdout="atexit\n",
            stderr="""\
Traceback (most recent call last):
  File "<string>", line 2, in <module>
...
KeyboardInterrupt
""",
        )


def test_program_may_have_an_excepthook(folder: Path) -> None:
    (folder / "hook.py").write_text(
        "import sys, gort\n"
        "sys.excepthook = lambda kind, exc, trace: print('hook', kind.__name__)\n"
        "raise ValueError\n"
    )
    python("hook.py").check(status=1, stdout="hook ValueError\n", stderr="")


def test_import_alone_leaves_main_to_python(folder: Path) -> None:
    (folder / "crash.py").write_text("import gort\n" + CRASH)
    outcome = python("crash.py")
    assert outcome.status == 1
    assert outcome.stderr.endswith("KeyError: 'missing'\n")
    assert "goroutine" not in outcome.stderr


def test_import_alone_keyboard_interrupt(folder: Path) -> None:
    (folder / "interrupt.py").write_text("import gort\nraise KeyboardInterrupt\n")
    outcome = python("interrupt.py")
    assert outcome.status == -signal.SIGINT
    assert outcome.stderr.endswith("KeyboardInterrupt\n")


def test_interrupt_after_goexit_of_main(folder: Path) -> None:
    (folder / "leave.py").write_text(
        "import atexit, sys, gort, gort.runtime, gort.time\n"
        "atexit.register(print, 'atexit')\n"
        "def ticker():\n"
        "    while True:\n"
        "        gort.time.sleep(0.001)\n"
        "gort.go(ticker)\n"
        "print('READY', flush=True)\n"
        "gort.runtime.goexit()\n"
    )
    for runner in ([sys.executable], [GORT, "run"]):
        outcome = execute([*runner, "leave.py"], send=[(signal.SIGINT, "READY")])
        outcome.check(status="SIGINT", stdout="READY\natexit\n")
        assert outcome.stderr.endswith("KeyboardInterrupt\n")


def test_system_exit_in_a_signal_handler_after_goexit_of_main(folder: Path) -> None:
    (folder / "leave.py").write_text(
        "import signal, sys, gort, gort.runtime, gort.time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "gort.go(gort.time.sleep, 3600)\n"
        "print('READY', flush=True)\n"
        "gort.runtime.goexit()\n"
    )
    outcome = execute([sys.executable, "leave.py"], send=[(signal.SIGTERM, "READY")])
    outcome.check(status=9, stdout="READY\n", stderr="")


# -- the other commands -----------------------------------------------------------------------


def test_version() -> None:
    python_version = ".".join(map(str, sys.version_info[:3]))
    gort("version").check(
        stdout=f"gort version gort{{{{\\S+}}}} linux/{{{{amd64|arm64}}}} CPython {python_version}\n"
    )


@pytest.mark.parametrize("words", [["-h"], ["run", "-h"], ["env", "-h"], ["version", "-h"]])
def test_help(words: list[str]) -> None:
    outcome = gort(*words)
    assert outcome.status == 0
    assert outcome.stdout.startswith("usage: gort")
