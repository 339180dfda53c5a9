"""What is printed when the program dies: GOTRACEBACK, frames, created by. (Usual cases: tests/programs.)"""

from __future__ import annotations

import pytest

from harness import Outcome, run_source

# The first line of the program is `import sys`: cleandoc takes the empty one away.
PROGRAM = """
import sys
from gort import chan, go, run
from gort.runtime import lock_os_thread; from gort.time import sleep; from gort._core import goroutines
def sleeper():
    forever.recv()
def start():
    go(sleeper)
def worker(divisor):
    lock_os_thread()
    while sum(g.wait_reason == "chan receive" for g in goroutines()) < 2: sleep(0.001)  # main, sleeper
    return 1 // divisor
forever = chan()
start()
go(worker, 0)
forever.recv()
"""

TRACEBACK = """\
Traceback (most recent call last):
  File "...prog.py", line 11, in worker
...
ZeroDivisionError: {{.*}}
"""
WORKER = """
goroutine 3 [running, locked to thread]:
__main__.worker(...)
	...prog.py:11
created by __main__.<module> in goroutine 1
	...prog.py:14 +0x{{[0-9a-f]+}}
"""
MAIN = """
goroutine 1 [chan receive]:
__main__.<module>(...)
	...prog.py:15
"""
SLEEPER = """
goroutine 2 [chan receive]:
__main__.sleeper(...)
	...prog.py:5
created by __main__.start in goroutine 1
	...prog.py:7 +0x{{[0-9a-f]+}}
"""


def die(level: str | None, source: str = PROGRAM, runner: str = "python") -> Outcome:
    return run_source(source, runner=runner, env={} if level is None else {"GOTRACEBACK": level})


@pytest.mark.parametrize("level", [None, "single", ""])
def test_single(level: str | None) -> None:
    die(level).check(status=2, stdout="", stderr=TRACEBACK + WORKER)


@pytest.mark.parametrize("level", ["all", "1"])
@pytest.mark.parametrize("runner", ["python", "gort"])
def test_all(level: str, runner: str) -> None:
    die(level, runner=runner).check(status=2, stdout="", stderr=TRACEBACK + WORKER + MAIN + SLEEPER)


@pytest.mark.parametrize("level", ["none", "0"])
def test_none(level: str) -> None:
    die(level).check(status=2, stdout="", stderr="ZeroDivisionError: {{.*}}\n")


@pytest.mark.parametrize("level", ["system", "2", "3"])
def test_system_shows_the_runtimes_frames(level: str) -> None:
    source = "import gort\ngort.go(gort.type_assert, 1, str)\ngort.chan().recv()"
    outcome = die(level, source)
    assert outcome.status == 2
    assert "gort._assert.type_assert(...)" not in die("all", source).stderr
    assert "gort._assert.type_assert(...)" in outcome.stderr
    outcome = die(level, "import gort\nraise LookupError", runner="gort")
    assert outcome.status == 2
    assert "gort._cli.main(...)" in outcome.stderr


def test_crash_aborts() -> None:
    outcome = die("crash")
    outcome.check(status="SIGABRT", stdout="")
    assert outcome.stderr.count("\ngoroutine ") == 3 and " fp=0x" in outcome.stderr
    assert "unexpected signal" not in outcome.stderr


def test_fatal_error() -> None:
    source = "from gort import chan, go\ndef park():\n    chan().recv()\ngo(park)\npark()"
    stacks = """
goroutine 1 [chan receive]:
__main__.park(...)
	...prog.py:3
__main__.<module>(...)
	...prog.py:5

goroutine 2 [chan receive]:
__main__.park(...)
	...prog.py:3
created by __main__.<module> in goroutine 1
	...prog.py:4 +0x{{[0-9a-f]+}}
"""
    line = "fatal error: all goroutines are asleep - deadlock!\n"
    for level in (None, "all"):
        for runner in ("python", "gort"):
            die(level, source, runner).check(status=2, stdout="", stderr=line + stacks)
    die("none", source).check(status=2, stdout="", stderr=line)
    outcome = die("crash", source)
    outcome.check(status="SIGABRT", stdout="")
    assert outcome.stderr.startswith(line + "\ngoroutine 1 [chan receive]:\n__main__.park(...)\n\t")


def test_main_that_is_gone_is_not_listed() -> None:
    source = """
        from gort import chan, go
        from gort.runtime import goexit
        def park():
            chan().recv()
        go(park)
        goexit()
        """
    die(None, source).check(
        status=2,
        stderr="""\
fatal error: all goroutines are asleep - deadlock!

goroutine 2 [chan receive]:
__main__.park(...)
	...prog.py:4
created by __main__.<module> in goroutine 1
	...prog.py:5 +0x{{[0-9a-f]+}}
""",
    )


def test_a_hundred_frames() -> None:
    source = """
        import gort
        def down(n):
            if n == 0:
                raise ValueError("at the bottom")
            down(n - 1)
        gort.go(down, 300)
        gort.chan().recv()
        """
    lines = die(None, source).stderr.splitlines()
    assert lines.count("__main__.down(...)") == 100
    assert "...additional frames elided..." in lines
    assert lines[-2] == "created by __main__.<module> in goroutine 1"


def test_names_are_module_and_qualname() -> None:
    source = """
        import json, gort
        class Widget:
            @staticmethod
            def load(text):
                return [json.loads(text) for _ in range(1)]
        gort.go(lambda: Widget.load("{"))
        gort.chan().recv()
        """
    stderr = die(None, source).stderr
    assert "\njson.decoder.JSONDecoder.raw_decode(...)\n" in stderr
    assert "\n__main__.Widget.load(...)\n" in stderr
    assert "\n__main__.<lambda>(...)\n" in stderr


def test_created_by_a_module() -> None:
    source = """
        import gort
        from gort.sync import errgroup
        group = errgroup.Group()
        group.go(gort.chan().recv)
        group.wait()
        """
    assert "created by gort.sync.errgroup.Group.go in goroutine 1" in die(None, source).stderr


def test_exceptions_that_cannot_be_printed() -> None:
    source = """
        import gort
        class Rude(Exception):
            def __str__(self):
                raise RuntimeError("no text")
        class Worse(Exception):
            @property
            def __notes__(self):
                raise KeyboardInterrupt
        def fail():
            raise {}
        gort.go(fail)
        gort.chan().recv()
        """
    outcome = die(None, source.replace("{}", "Rude"))
    assert outcome.status == 2
    assert "Rude: <exception str() failed>\n" in outcome.stderr
    assert "goroutine 2 [running]:" in outcome.stderr
    outcome = die(None, source.replace("{}", "Worse"))
    assert outcome.status == 2
    assert "Worse" in outcome.stderr
    assert "goroutine 2 [running]:" in outcome.stderr


def test_exception_groups_and_causes() -> None:
    source = """
        import gort
        def fail():
            try:
                gort.type_assert(1, str)
            except gort.runtime.Error as error:
                raise ExceptionGroup("both", [error, KeyError("k")]) from error
        gort.go(fail)
        gort.chan().recv()
        """
    stderr = die(None, source).stderr
    assert "ExceptionGroup: both (2 sub-exceptions)" in stderr
    assert "The above exception was the direct cause of the following exception:" in stderr
    assert "_assert.py" not in stderr
    assert "_assert.py" in die("system", source).stderr


def test_output_comes_before_the_panic() -> None:
    source = """
        import os, sys, gort
        os.dup2(1, 2)
        sys.stdout.write("before\\n")
        def fail():
            raise ValueError("boom")
        gort.go(fail)
        gort.chan().recv()
        """
    lines = die(None, source).stdout.splitlines()
    assert lines[:2] == ["before", "Traceback (most recent call last):"]


@pytest.mark.parametrize(
    "spoil",
    ["sys.stdout = None; sys.stderr = None", "sys.stdout.close(); sys.stderr.close()", "sys.stderr = 5"],
)
def test_streams_that_are_gone(spoil: str) -> None:
    source = f"""
        import os, sys, gort
        copy = os.dup(2)
        {spoil}
        os.dup2(copy, 2)
        gort.go(lambda: 1 // 0)
        gort.chan().recv()
        """
    outcome = die(None, source)
    assert outcome.status == 2
    assert "ZeroDivisionError" in outcome.stderr


CHAINED = """\
import resource, os, gort
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
def fail():
    try:
        os.open(".", os.O_RDONLY)
    except OSError as error:
        raise RuntimeError("two\\nlines") from error
"""


def test_without_the_module_traceback() -> None:
    """No file descriptor is left to load it: the interpreter's printer shows the program's frames alone."""
    run_source(CHAINED + "fail()", runner="gort").check(
        status=2,
        stderr="""\
Traceback (most recent call last):
  File ".../prog.py", line 5, in fail
OSError: [Errno 24] Too many open files: '.'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File ".../prog.py", line 8, in <module>
  File ".../prog.py", line 7, in fail
RuntimeError: two
lines

goroutine 1 [running]:
__main__.fail(...)
\t.../prog.py:7
__main__.<module>(...)
\t.../prog.py:8
""",
    )


@pytest.mark.parametrize("level", ["none", "system"])
def test_levels_without_the_module_traceback(level: str) -> None:
    outcome = die(level, CHAINED + "fail()", runner="gort")
    assert outcome.status == 2
    assert outcome.stderr.count("RuntimeError: two\nlines\n") == 1
    if level == "none":
        assert outcome.stderr == "RuntimeError: two\nlines\n"
    else:
        assert "_cli.py" in outcome.stderr.split("goroutine 1")[0]


def test_out_of_file_descriptors() -> None:
    """A panic of a goroutine is printed without opening a file."""
    source = """
        import resource, os, gort
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        def fail():
            os.open(".", os.O_RDONLY)
        gort.go(fail)
        gort.chan().recv()
        """
    outcome = die(None, source)
    assert outcome.status == 2
    assert "Too many open files" in outcome.stderr
    assert "__main__.fail(...)" in outcome.stderr
