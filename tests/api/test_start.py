"""What a program that does nothing pays for gort: the modules that are loaded before its first line.

Each module of the standard library costs every program time and memory. BANNED are those that something in
gort uses, or that serve annotations, and that a program may live without: they are loaded when needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import Outcome, execute, run_source

BANNED = {
    "argparse",
    "ast",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "dis",
    "enum",
    "functools",
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
    "threading",
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
    "gort._cpython",
    "gort._env",
    "gort._heap",
    "gort._lazy",
    "gort._session",
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


# -- threading, which goroutines need and programs without goroutines do not ---------------------

LOADED = 'print("threading" in sys.modules)'


def program(source: str, stdout: str, status: int = 0) -> None:
    run_source(source).check(status=status, stdout=stdout, stderr="")


@pytest.mark.parametrize(
    "start",
    ["gort.go(int)", "gort.run(int)", "gort.time.after_func(60, int)", "gort.sync.WaitGroup().go(int)"],
)
def test_threading_comes_with_the_first_goroutine(start: str) -> None:
    program(
        f"""
import gort, sys
ch = gort.chan(1)
ch.send(1)
ch.recv()
gort.time.after(0.001).recv()
gort.runtime.gc()
{LOADED}
{start}
{LOADED}
""",
        "False\nTrue",
    )


def test_the_main_thread_stays_the_main_one() -> None:
    """Whoever loads threading is the main thread to it: a goroutine that another one starts does not."""
    program(
        f"""
import _thread, gort, sys
ch = gort.chan()
_thread.start_new_thread(gort.go, (ch.send, None))
ch.recv()
{LOADED}
import threading
print(threading.main_thread() is threading.current_thread())
gort.go(int)
""",
        "False\nTrue",
    )


def test_sys_exit_without_threading() -> None:
    program(
        f"""
import _thread, atexit, gort, sys
atexit.register(lambda: {LOADED})
_thread.start_new_thread(gort.go, (sys.exit, 4))
gort.chan().recv()
""",
        "False",
        status=4,
    )


@pytest.mark.parametrize("loaded", ["import threading", ""])
def test_first_goroutine_at_exit(loaded: str) -> None:
    program(
        f"""
import atexit, gort
{loaded}
def last():
    ch = gort.chan()
    gort.go(ch.send, "from a goroutine")
    print(ch.recv())
atexit.register(last)
""",
        "from a goroutine",
    )


def test_goroutine_without_file_descriptors() -> None:
    """It starts all the same, and threading is told of the program's end by the next one."""
    program(
        f"""
import gort, resource, sys
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
ch = gort.chan()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
gort.go(ch.send, 1)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
{LOADED}
print(ch.recv())
gort.go(int)
{LOADED}
""",
        "False\n1\nTrue",
    )


def test_goroutine_without_file_descriptors_beside_threading() -> None:
    program(
        """
import gort, resource, threading
def name():
    ch.send(threading.current_thread().name)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
ch = gort.chan()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
gort.go(name)
print(ch.recv())
""",
        "goroutine 2",
    )


def test_exit_without_file_descriptors() -> None:
    """What the interpreter does at its end is done, with nothing loaded for it."""
    program(
        """
import atexit, gort, resource, sys
atexit.register(print, "at exit")
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
gort.go(sys.exit, 4)
gort.chan().recv()
""",
        "at exit",
        status=4,
    )


def test_failed_assertion_without_file_descriptors() -> None:
    program(
        """
import collections.abc, gort.runtime, resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
try:
    gort.type_assert(3, collections.abc.Sized)
except gort.runtime.TypeAssertionError as error:
    print(error)
""",
        "interface conversion: int is not collections.abc.Sized: missing method __len__",
    )
