"""How a program ends: what python does at its end is done, whoever ends it."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import execute, run_source

GORT = [os.path.join(sysconfig.get_path("scripts"), "gort"), "run"]
RUNNERS = {"python": [sys.executable], "gort": GORT}

OPEN_FILES = """
import atexit, gzip, os, signal, sys, tempfile, zipfile
from gort import chan, go, time

def with_a_local():
    local = open("local", "w")
    local.write("line\\n")
    written.send(None)
    chan().recv()

written = chan()

text = open("text", "w")
text.write("line\\n")
binary = open("binary", "w+b")
binary.write(b"line\\n")
zipped = gzip.open("zipped", "wt")
zipped.write("line\\n")
archive = zipfile.ZipFile("archive", "w")
archive.writestr("member", "line\\n")
folder = tempfile.TemporaryDirectory(dir=".", prefix="temporary")
named = tempfile.NamedTemporaryFile(dir=".", prefix="temporary")
atexit.register(print, "atexit")
go(with_a_local)
written.recv()

def leave():
    if how == "exit":
        sys.exit(3)
    raise ValueError("boom")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def check_files(here: Path) -> None:
    assert (here / "text").read_text() == "line\n"
    assert (here / "binary").read_bytes() == b"line\n"
    with gzip.open(here / "zipped", "rt") as file:
        assert file.read() == "line\n"
    with zipfile.ZipFile(here / "archive") as archive:
        assert archive.read("member") == b"line\n"
    assert (here / "local").read_text() == "line\n"


@pytest.mark.parametrize("runner", RUNNERS)
def test_sys_exit_of_a_goroutine(here: Path, runner: str) -> None:
    (here / "prog.py").write_text("how = 'exit'\n" + OPEN_FILES + "go(leave)\ntime.sleep(20)\n")
    execute([*RUNNERS[runner], "prog.py"]).check(status=3, stdout="atexit\n", stderr="")
    check_files(here)
    assert not list(here.glob("temporary*"))


@pytest.mark.parametrize("runner", RUNNERS)
def test_panic_of_a_goroutine(here: Path, runner: str) -> None:
    (here / "prog.py").write_text("how = 'panic'\n" + OPEN_FILES + "go(leave)\ntime.sleep(20)\n")
    outcome = execute([*RUNNERS[runner], "prog.py"])
    assert outcome.status == 2 and "ValueError: boom\n\ngoroutine " in outcome.stderr
    assert outcome.stdout == ""  # Go runs nothing of the program's at such an end
    check_files(here)


@pytest.mark.parametrize("runner", RUNNERS)
def test_exception_out_of_main(here: Path, runner: str) -> None:
    (here / "prog.py").write_text("how = 'panic'\n" + OPEN_FILES + "leave()\n")
    outcome = execute([*RUNNERS[runner], "prog.py"])
    assert outcome.status == (1 if runner == "python" else 2)
    assert outcome.stdout == "atexit\n" and "ValueError: boom\n" in outcome.stderr
    check_files(here)
    assert not list(here.glob("temporary*"))


@pytest.mark.parametrize("runner", RUNNERS)
def test_return_of_main(here: Path, runner: str) -> None:
    (here / "prog.py").write_text("how = ''\n" + OPEN_FILES)
    execute([*RUNNERS[runner], "prog.py"]).check(stdout="atexit\n", stderr="")
    check_files(here)
    assert not list(here.glob("temporary*"))


@pytest.mark.parametrize("runner", RUNNERS)
def test_ctrl_c(here: Path, runner: str) -> None:
    program = "how = ''\n" + OPEN_FILES + "os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)\n"
    (here / "prog.py").write_text(program)
    outcome = execute([*RUNNERS[runner], "prog.py"])
    assert outcome.status == -signal.SIGINT
    assert outcome.stdout == "atexit\n" and outcome.stderr.endswith("KeyboardInterrupt\n")
    check_files(here)
    assert not list(here.glob("temporary*"))


def test_deadlock_flushes(here: Path) -> None:
    (here / "prog.py").write_text(
        "import gort\nfile = open('text', 'w')\nfile.write('line\\n')\ngort.chan().recv()\n"
    )
    assert execute([sys.executable, "prog.py"]).status == 2
    assert (here / "text").read_text() == "line\n"


def test_a_pipe_that_nobody_reads_does_not_keep_the_process() -> None:
    """The file on the disk is written, the pipe is given up after some seconds."""
    outcome = run_source(
        """
        import os, sys, tempfile
        from gort import go, time
        read, write = os.pipe()
        os.set_blocking(write, False)
        try:
            while True:
                os.write(write, bytes(4096))
        except BlockingIOError:
            os.set_blocking(write, True)
        stuck = os.fdopen(write, "wb")
        stuck.write(b"x")
        fine = open(tempfile.gettempdir() + f"/fine{os.getpid()}", "w")
        fine.write("line")
        print(fine.name, flush=True)
        go(lambda: 1 / 0)
        time.sleep(60)
        """,
        timeout=40,
    )
    assert outcome.status == 2 and "ZeroDivisionError" in outcome.stderr
    path = Path(outcome.stdout.strip())
    assert path.read_text() == "line"
    path.unlink()


@pytest.mark.parametrize("code", ["2**70", "-(2**70)", "2**63 - 1", "-1", "256 + 7", "True", "Odd()"])
def test_statuses(code: str) -> None:
    """From a goroutine as from main in plain python; Odd's text cannot be had.

    Later versions of CPython print an exception of their own here, some time later; nobody wants that.
    """
    text = "import sys\nclass Odd:\n    def __str__(self): raise ValueError\n"
    plain = subprocess.run(
        [sys.executable, "-c", f"{text}sys.exit({code})"], capture_output=True, text=True, check=False
    )
    goroutine = f"{text}import gort\ngort.go(lambda: sys.exit({code}))\ngort.chan().recv()"
    outcome = execute([sys.executable, "-c", goroutine])
    outcome.check(status=plain.returncode, stdout="", stderr="\n" if code == "Odd()" else "")


@pytest.mark.parametrize("where", ["sys.excepthook", "threading.excepthook"])
def test_the_programs_hook_sees_a_panic(where: str) -> None:
    """Once, before the text, with the traceback; and may call the hook that was there."""
    outcome = run_source(
        f"""
        import sys, threading, traceback
        from gort import go, time
        previous = {where}
        def hook(*args):
            exc = args[1] if len(args) > 1 else args[0].exc_value
            names = [frame.name for frame in traceback.extract_tb(exc.__traceback__)]
            print("seen", type(exc).__name__, names, file=sys.stderr)
            if {where!r} == "sys.excepthook":
                previous(*args)
        {where} = hook
        def broken():
            raise ValueError("boom")
        go(broken)
        time.sleep(20)
        """
    )
    assert outcome.status == 2
    assert outcome.stderr.startswith("seen ValueError ['broken']\nTraceback (most recent call last):\n")
    assert outcome.stderr.count("ValueError: boom") == 1 and "\ngoroutine 2 [running]:\n" in outcome.stderr


@pytest.mark.parametrize(
    "body",
    [
        "raise KeyError('of the hook')",
        "sys.exit(7)",
        "hook(*args)",  # a RecursionError
        "while True: pass",
        "time.sleep(3600)",
        "re.match(r'(a?){60}a{60}', 'a' * 60)",  # keeps the GIL for ever
        "go(hook, *args); runtime.goexit()",
    ],
)
def test_a_hook_that_is_broken_does_not_keep_the_process(body: str) -> None:
    outcome = run_source(
        f"""
        import re, sys
        from gort import go, runtime, time
        def hook(*args):
            {body}
        sys.excepthook = hook
        def broken():
            raise ValueError("boom")
        go(broken)
        time.sleep(60)
        """,
        timeout=40,
    )
    assert outcome.status == 2
    assert outcome.stderr.count("ValueError: boom") == 1 and "\ngoroutine 2 [running]:\n" in outcome.stderr


def test_hook_of_main_under_gort_run() -> None:
    outcome = run_source(
        """
        import sys
        sys.excepthook = lambda kind, exc, trace: print("seen", kind.__name__)
        raise ValueError("boom")
        """,
        runner="gort",
    )
    assert (outcome.status, outcome.stdout) == (2, "seen ValueError\n")
    assert outcome.stderr.count("ValueError: boom") == 1 and "\ngoroutine 1 [running]:\n" in outcome.stderr


def test_exception_in_a_finally_of_goexit() -> None:
    """It shows itself; that goexit was under way is not part of it."""
    outcome = run_source(
        """
        from gort import go, runtime, time
        def leave():
            try:
                runtime.goexit()
            finally:
                raise ValueError("in finally")
        go(leave)
        time.sleep(20)
        """
    )
    assert outcome.status == 2
    assert outcome.stderr.startswith("Traceback (most recent call last):\n")
    assert "ValueError: in finally\n\ngoroutine 2 [running]:\n" in outcome.stderr
    assert "Goexit" not in outcome.stderr and "During handling" not in outcome.stderr


def test_sys_exit_in_a_finally_of_goexit() -> None:
    outcome = run_source(
        """
        import sys
        from gort import go, runtime, time
        def leave():
            try:
                runtime.goexit()
            finally:
                sys.exit(5)
        go(leave)
        time.sleep(20)
        """
    )
    outcome.check(status=5, stdout="", stderr="")


# -- descriptors 0, 1 and 2 --------------------------------------------------------------------


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2), (1,)])
def test_closed_descriptors_are_not_the_programs(tmp_path: Path, closed: tuple[int, ...]) -> None:
    """The program's files get other numbers, and hold nothing of the runtime's."""
    (tmp_path / "prog.py").write_text(
        "import gort, sys\n"
        "files = [open(sys.argv[1] + str(i), 'wb', buffering=0) for i in range(3)]\n"
        "for file in files:\n"
        "    file.write(b'%d' % (file.fileno() > 2))\n"
        "gort.go(lambda: 1 / 0)\n"
        "gort.chan().recv()\n"
    )
    subprocess.run(
        [sys.executable, tmp_path / "prog.py", tmp_path / "data"],
        preexec_fn=lambda: [os.close(fd) for fd in closed],
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert [(tmp_path / f"data{i}").read_bytes() for i in range(3)] == [b"1"] * 3


def test_a_file_opened_as_descriptor_2_before_gort_is_the_programs(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(
        "import os, sys\n"
        "file = open(sys.argv[1], 'wb', buffering=0)\n"
        "assert file.fileno() == 2\n"
        "file.write(b'DATA')\n"
        "import gort\n"
        "gort.go(lambda: 1 / 0)\n"
        "gort.chan().recv()\n"
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "prog.py", tmp_path / "data"],
        preexec_fn=lambda: os.close(2),
        env=os.environ | {"GOGC": "nonsense"},  # said while gort is imported
        check=False,
    )
    assert done.returncode == 2
    assert (tmp_path / "data").read_bytes() == b"DATA"


# -- threads that goroutines start ---------------------------------------------------------------


def test_threads_of_a_goroutine_are_joined() -> None:
    outcome = run_source(
        """
        import threading, time
        from gort import go
        from gort.sync import WaitGroup
        def work():
            time.sleep(0.2)
            print("thread ran")
        def start():
            thread = threading.Thread(target=work)
            assert not thread.daemon
            thread.start()
        wg = WaitGroup()
        for _ in range(3):
            wg.go(start)
        wg.wait()
        """
    )
    outcome.check(stdout="thread ran\n" * 3, stderr="")


def test_current_thread_of_a_goroutine() -> None:
    outcome = run_source(
        """
        import logging, threading
        from gort import go, run
        from gort.runtime import gosched
        threads = []
        def work():
            thread = threading.current_thread()
            for _ in range(3):
                gosched()
                assert threading.current_thread() is thread
            assert thread.ident == threading.get_ident() and thread.daemon and thread.is_alive()
            assert isinstance(thread, threading._DummyThread) and thread in threading.enumerate()
            threads.append(thread)
            assert logging.makeLogRecord({}).threadName == thread.name
            try:
                thread.join()
            except RuntimeError as error:
                print(error)
        before = len(threading._active)
        run(work)
        run(work)
        assert threads[0] is not threads[1] and len(threading._active) == before
        assert [thread.is_alive() for thread in threads] == [False, False]
        assert not set(threads) & set(threading.enumerate())
        print(threads[0].name.startswith("goroutine "), threading.main_thread().name)
        """
    )
    line = "cannot join a goroutine; use a WaitGroup to wait for one\n"
    outcome.check(stdout=line * 2 + "True MainThread\n", stderr="")


# -- the command ---------------------------------------------------------------------------------


def test_gort_alone_lists_its_commands() -> None:
    outcome = execute(GORT[:1])
    assert (outcome.status, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("usage: gort") and "show every setting" in outcome.stderr


@pytest.mark.parametrize(
    "words", [["prog.py"], ["/"], ["-c", "SHOW"], ["-m", "show"], ["-"], ["{folder}/show.py"]]
)
@pytest.mark.parametrize("launcher", [GORT, [sys.executable, "-m", "gort", "run"]])
def test_in_a_removed_directory(tmp_path: Path, words: list[str], launcher: list[str]) -> None:
    """The same as python: status, output, sys.path."""
    show = "import sys; print(sys.path, sys.argv)"
    (tmp_path / "show.py").write_text(show)
    words = [word.replace("SHOW", show).replace("{folder}", str(tmp_path)) for word in words]
    results = []
    for start in ([sys.executable], launcher):
        folder = tmp_path / "gone"
        folder.mkdir()
        script = f'rmdir {folder}; exec "$@"'
        results.append(
            subprocess.run(
                ["sh", "-c", script, "sh", *start, *words],
                cwd=folder,
                input=show,
                env=os.environ | {"PYTHONPATH": str(tmp_path)},
                capture_output=True,
                text=True,
                check=False,
            )
        )
    plain, ours = results
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
    assert ours.stderr.split(": ", 1)[-1] == plain.stderr.split(": ", 1)[-1]


RAISES_WHILE_SAVING = """
import gc, os, signal, sys
from gort import chan, go

def handler(*_):
    raise RuntimeError("from a handler")

class Text(type(sys.stdout)):
    def flush(self):
        if not self.closed and self.told < 1:
            self.told += 1
            os.kill(os.getpid(), signal.SIGUSR1)
        super().flush()

def holds(make):
    file = make()
    file.write("line\\n")
    written.send(None)
    chan().recv()

written = chan()

def special():
    file = Text(open("special", "wb"))
    file.told = 0
    return file

signal.signal(signal.SIGUSR1, handler)
go(holds, lambda: open("plain", "w"))
go(holds, special)
written.recv()
written.recv()
objects = gc.get_objects

def get_objects():
    os.kill(os.getpid(), signal.SIGUSR1)
    return objects()

gc.get_objects = get_objects
"""


def test_a_signal_handler_that_raises_while_files_are_saved(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(RAISES_WHILE_SAVING)
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "plain").read_text() == (tmp_path / "special").read_text() == "line\n"


# -- main and a goroutine end the program at the same time -----------------------------------------

# A goroutine wakes main, which has nothing more to do, on its way to a panic: Go's main waits for that, too.
PANIC = """
import atexit, sys, threading, time
from gort import chan, go
atexit.register(print, "at exit")
done = chan()
def task():
    try:
        1 / 0
    finally:
        done.close()
"""
PANICS = {
    "woken by a finally": """
go(task)
done.recv()
""",
    "while the program's hook reports it": """
threading.excepthook = lambda args: time.sleep(0.05)
go(task)
done.recv()
time.sleep(0.01)
sys.exit(0)
""",
}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("way", PANICS)
def test_main_waits_for_a_panic(here: Path, way: str, runner: str) -> None:
    (here / "program.py").write_text(PANIC + PANICS[way])
    for _ in range(4):  # what it depends on is a matter of moments
        outcome = execute([*RUNNERS[runner], "program.py"])
        assert (outcome.status, outcome.stdout) == (2, "")
        assert "ZeroDivisionError: division by zero" in outcome.stderr


def test_panic_while_main_ends() -> None:
    outcome = run_source(
        """
import atexit
from gort import chan, go
atexit.register(print, "not reached")
@atexit.register
def bye():
    go(lambda: 1 / 0)
    chan().recv()
go(int)
""",
    )
    assert (outcome.status, outcome.stdout) == (2, "")
    assert "ZeroDivisionError: division by zero" in outcome.stderr


@pytest.mark.parametrize(
    "main",
    [
        "time.sleep(30)",
        "chan().recv()",
        "while True: a.send(1); b.recv()",
        "while True: threading.Thread(target=int).start()",
    ],
)
def test_main_is_quiet_when_a_goroutine_has_ended_the_program(main: str) -> None:
    """It can be woken by nobody any more: it rests until the process is gone."""
    program = f"""
import sys, threading, time as os_time
from gort import chan, go, time
a, b = chan(), chan()
def echo():
    for x in a:
        b.send(x)
def stop():
    os_time.sleep(0.005)
    sys.exit(6)
go(echo)
for _ in range(3):
    threading.Thread(target=lambda: go(stop)).start()
{main}
"""
    for _ in range(8):
        run_source(program).check(status=6, stdout="", stderr="")


def test_main_returns_after_a_goexit_that_it_swallowed() -> None:
    run_source(
        """
import atexit
from gort import chan, go, runtime
atexit.register(print, "at exit")
go(chan().recv)
try:
    runtime.goexit()
except BaseException as error:
    print("swallowed", type(error).__name__)
""",
    ).check(stdout="swallowed Goexit\nat exit", stderr="")
