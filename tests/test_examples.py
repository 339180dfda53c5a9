"""The programs of examples/ as a reader would start them."""

import os
import re
import signal
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from harness import Outcome, command, execute

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
RUNNERS = pytest.mark.parametrize("runner", ["python", "gort"])


def example(name: str, *argv: str, runner: str = "gort", timeout: float = 240) -> Outcome:
    return execute([*command(runner), str(EXAMPLES / name), *argv], timeout=timeout)


@RUNNERS
def test_hello(runner: str) -> None:
    example("hello.py", runner=runner).check(
        stdout="tick 1\ntick 2\ntick 3\na blocked call, a busy loop and a ticker: all at once", stderr=""
    )


@RUNNERS
def test_pingpong(runner: str) -> None:
    example("pingpong.py", "1000", runner=runner).check(
        stdout=r"1,000 round trips, {{[\d,]+}} ns each" + "\npong has ended: True", stderr=""
    )


@RUNNERS
def test_ticker(runner: str) -> None:
    ticks = "".join(f"tick {n}\n" for n in range(1, 6))
    example("ticker.py", runner=runner).check(stdout=ticks + "the watcher saw: Canceled(...)", stderr="")


def test_stdlib_report(tmp_path: Path) -> None:
    """Both ways of doing the job give the same rows, and the figures are those of the files."""
    database = tmp_path / "report.db"
    outcome = example("stdlib_report.py", "--limit=150", f"--store={database}")
    outcome.check(
        stdout="""\
Python source under ...
  files               150   ({{[\\d,]+}} of them no valid Python)
  lines      ...
  functions  ...
  bytes      ...
  compressed ...   ({{[\\d.]+}}%)

Largest functions
...

Most imported modules
...

Run by                 wall time   OS threads   goroutines
  gort               {{ *[\\d.]+}} s   {{ *\\d+}}   {{ *\\d+}}
  ThreadPoolExecutor {{ *[\\d.]+}} s   {{ *\\d+}}            -

Both results are equal: {{[\\d,]+}} rows."""
    )
    assert re.search(r"^goroutines: 150 files, [\d.]+ s$", outcome.stderr, re.MULTILINE)
    with sqlite3.connect(database) as db:
        rows = db.execute("SELECT path, bytes, lines FROM file").fetchall()
        goroutines, threads = (
            db.execute("SELECT value FROM run WHERE name = ?", (name,)).fetchone()[0]
            for name in ("goroutines", "threads")
        )
    root = re.match(r"Python source under (.*)", outcome.stdout)
    assert root and len(rows) == 150
    for path, size, lines in rows:
        data = Path(root[1], path).read_bytes()
        assert (size, lines) == (len(data), len(data.removesuffix(b"\n").split(b"\n")) if data else 0), path
    # Main, four stages with a closer each, and the aggregator, seen while the work was going on.
    assert goroutines >= 10
    assert 1 <= threads <= 100


def test_stdlib_report_deadline() -> None:
    """The deadline stops the whole pipeline, and nothing is compared."""
    outcome = example("stdlib_report.py", "--timeout=0.2")
    outcome.check(status=1, stdout="")
    assert "stdlib_report: not done after 0.2 s: context deadline exceeded" in outcome.stderr


def test_stdlib_report_finds_a_difference(tmp_path: Path) -> None:
    """The comparison is a real one: a program that leaves a file out is found out."""
    for name in ("stdlib_report.py", "stdlib_analysis.py", "stdlib_report_threads.py"):
        text = (EXAMPLES / name).read_text()
        if name == "stdlib_report_threads.py":
            text = text.replace("job.walk(opts.root, opts.limit)", "job.walk(opts.root, opts.limit - 1)")
        (tmp_path / name).write_text(text)
    outcome = execute([*command("gort"), str(tmp_path / "stdlib_report.py"), "--limit=5"], timeout=120)
    outcome.check(status=1)
    assert "The two results differ:" in outcome.stdout
    assert re.search(r"^-file \S+\.py ", outcome.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--root=/nowhere", "--root /nowhere is not a folder"),
        ("--limit=-3", "--limit -3 is negative; 0 means all files"),
        ("--timeout=0", "--timeout 0 is not more than 0 seconds"),
        ("--timeout=nan", "--timeout nan is not more than 0 seconds"),
        (f"--store={__file__}", f"--store {__file__} exists already"),
    ],
)
@pytest.mark.parametrize("program", ["stdlib_report.py", "stdlib_report_threads.py"])
def test_bad_options(program: str, option: str, complaint: str) -> None:
    outcome = example(program, option)
    outcome.check(status=2, stdout="")
    assert complaint in outcome.stderr


def test_progress_is_in_place_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the line is rewritten; elsewhere there are few lines."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from stdlib_analysis import Progress

    def written(descriptor: int, other: int) -> str:
        with open(descriptor, "w") as stream:
            progress = Progress("work", stream)
            progress.show("1 of 2")
            progress.show("2 of 2")
            progress.done("2 of 2")
            text = ""
            while not text.endswith("\n"):
                text += os.read(other, 1000).decode()
            return text

    master, terminal = os.openpty()
    assert written(terminal, master).count("\r\x1b[K") == 3
    os.close(master)
    receiver, sender = os.pipe()
    assert re.fullmatch(r"work: 2 of 2, [\d.]+ s\n", written(sender, receiver))
    os.close(receiver)


def test_no_example_is_forgotten() -> None:
    """Every program of the folder is run above."""
    source = Path(__file__).read_text()
    for file in EXAMPLES.glob("*.py"):
        assert file.name in source, f"{file.name} has no test"


def test_many() -> None:
    """SIGQUIT shows each of 5,000 goroutines with what it waits for."""
    outcome = execute(
        [*command("gort"), str(EXAMPLES / "many.py")], send=[(signal.SIGQUIT, "try")], timeout=60
    )
    assert outcome.status == 2, outcome
    states = Counter(re.findall(r"^goroutine \d+ \[(.*)\]:$", outcome.stderr, re.M))
    blocked = states.pop("syscall", 0) + states.pop("running", 0)
    assert blocked == 5
    assert states == {
        "chan receive": 2000,
        "select": 2000,
        "sync.Mutex.Lock": 994,
        "sleep": 2,  # main, and the writer that has the lock
    }
    assert outcome.stderr.count("\ncreated by __main__.main in goroutine 1\n") == 5000
