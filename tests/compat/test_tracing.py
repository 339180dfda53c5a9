"""settrace, setprofile, sys.monitoring, cProfile, coverage, pdb and tracemalloc with goroutines."""

from __future__ import annotations

import cProfile
import linecache
import pstats
import sys
import threading
import trace
import tracemalloc
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import gort
from gort import chan, go
from gort.runtime import gosched
from gort.sync import WaitGroup
from harness import isolated, run_source
from helpers import wait_until_parked


def traced(rounds: int) -> int:
    total = 0
    for i in range(rounds):
        gosched()
        total += i
    return total


@isolated()
def test_settrace_is_per_goroutine() -> None:
    wg = WaitGroup()

    def body(n: int) -> None:
        lines: list[int] = []

        def tracer(frame: FrameType, event: str, arg: Any) -> Any:
            if frame.f_code is not traced.__code__:
                return None
            if event == "line":
                lines.append(frame.f_lineno)
            return tracer

        sys.settrace(tracer)
        assert traced(n) == sum(range(n))
        assert sys.gettrace() is tracer
        sys.settrace(None)
        assert len(lines) == 3 + 3 * n

    def untraced() -> None:
        for _ in range(20):
            assert sys.gettrace() is None
            gosched()

    for n in range(20):
        wg.go(body, n)
        wg.go(untraced)
    wg.wait()
    assert sys.gettrace() is None


@isolated()
def test_threading_settrace_reaches_new_goroutines() -> None:
    calls: Counter[str] = Counter()

    def tracer(frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code is traced.__code__:
            calls[event] += 1
        return tracer

    threading.settrace(tracer)
    wg = WaitGroup()
    for _ in range(10):
        wg.go(traced, 5)
    wg.wait()
    threading.settrace(None)
    assert calls["call"] == calls["return"] == 10
    assert calls["line"] == 10 * (3 + 3 * 5)
    gort.run(traced, 5)
    assert calls["call"] == 10


@isolated()
def test_setprofile_is_per_goroutine() -> None:
    wg = WaitGroup()

    def body() -> None:
        events: Counter[str] = Counter()

        def profiler(frame: FrameType, event: str, arg: Any) -> None:
            if frame.f_code is traced.__code__:
                events[event] += 1

        sys.setprofile(profiler)
        traced(10)
        sys.setprofile(None)
        assert events["call"] == events["return"] == 1
        assert events["c_call"] == events["c_return"] == 10

    for _ in range(20):
        wg.go(body)
        wg.go(traced, 10)
    wg.wait()


@isolated()
def test_threading_setprofile_reaches_new_goroutines() -> None:
    calls = [0]

    def profiler(frame: FrameType, event: str, arg: Any) -> None:
        calls[0] += frame.f_code is traced.__code__ and event == "call"

    threading.setprofile(profiler)
    for _ in range(5):
        gort.run(traced, 3)
    threading.setprofile(None)
    assert calls[0] == 5


@isolated()
def test_trace_function_may_park() -> None:
    def tracer(frame: FrameType, event: str, arg: Any) -> Any:
        gosched()
        return tracer

    wg, sums = WaitGroup(), []

    def body(n: int) -> None:
        sys.settrace(tracer)
        sums.append(traced(n))
        sys.settrace(None)

    for n in range(20):
        wg.go(body, n)
    wg.wait()
    assert sorted(sums) == sorted(sum(range(n)) for n in range(20))


@isolated()
def test_trace_function_that_raises() -> None:
    def tracer(frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code is traced.__code__ and event == "line":
            raise KeyError("from the tracer")
        return tracer

    def body() -> None:
        sys.settrace(tracer)
        with pytest.raises(KeyError):
            traced(1)
        assert sys.gettrace() is None

    for _ in range(5):
        gort.run(body)
    assert traced(3) == 3


@isolated()
def test_settrace_on_parked_goroutines_frames() -> None:
    """A debugger may look at, and set the trace function of, frames that are parked."""
    from gort import _core

    gate = chan()

    def parked() -> str:
        local = gate.recv()
        return str(local)

    done = chan(1)
    go(lambda: done.send(parked()))
    wait_until_parked(1, "chan receive")
    frame = next(info.frame for info in _core.goroutines() if info.wait_reason == "chan receive")
    assert frame is not None
    assert frame.f_code is parked.__code__ and frame.f_locals["gate"] is gate
    frame.f_trace = lambda *args: None
    with pytest.raises(RuntimeError):
        frame.clear()
    gate.send(7)
    assert done.recv() == "7"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
@isolated()
def test_monitoring() -> None:
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    lines: Counter[int] = Counter()
    calls = [0]

    def on_line(code: CodeType, line: int) -> None:
        gosched()
        lines[line - traced.__code__.co_firstlineno] += 1

    def on_start(code: CodeType, offset: int) -> None:
        calls[0] += 1

    tool, events = 4, monitoring.events
    monitoring.use_tool_id(tool, "test")
    monitoring.register_callback(tool, events.LINE, on_line)
    monitoring.register_callback(tool, events.PY_START, on_start)
    monitoring.set_local_events(tool, traced.__code__, events.LINE | events.PY_START)
    wg = WaitGroup()
    for _ in range(20):
        wg.go(traced, 10)
    wg.wait()
    monitoring.set_local_events(tool, traced.__code__, 0)
    monitoring.free_tool_id(tool)
    assert calls[0] == 20
    assert lines == {1: 20, 2: 20 * 11, 3: 200, 4: 200, 5: 20}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
@isolated()
def test_monitoring_switched_while_goroutines_are_parked() -> None:
    """Instrumenting code that goroutines are parked in, and taking it back, disturbs none of them."""
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    gate, wg, sums = chan(), WaitGroup(), []

    def parked(n: int) -> None:
        total = n
        for value in gate:
            total += value
        sums.append(total)

    for n in range(50):
        wg.go(parked, n)
    tool, events = 4, monitoring.events
    monitoring.use_tool_id(tool, "test")
    for event in (events.LINE, events.INSTRUCTION, events.PY_RESUME, events.CALL):
        monitoring.register_callback(tool, event, lambda *args: None)
    for i in range(100):
        mask = 0 if i % 2 else events.LINE | events.INSTRUCTION | events.PY_RESUME | events.CALL
        monitoring.set_events(tool, mask)
        gate.send(1)
    monitoring.set_events(tool, 0)
    monitoring.free_tool_id(tool)
    gate.close()
    wg.wait()
    assert sum(sums) == sum(range(50)) + 100


@isolated()
def test_cprofile_in_a_goroutine() -> None:
    profile = cProfile.Profile()
    wg = WaitGroup()

    def body() -> None:
        profile.runcall(traced, 50)

    wg.go(body)
    wg.wait()
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    counts = {name: entry[1] for (_, _, name), entry in stats.items()}
    assert counts["traced"] == 1
    assert sum(count for name, count in counts.items() if "gosched" in name) == 50


@isolated()
def test_trace_module() -> None:
    tracer = trace.Trace(count=True, trace=False)
    gort.run(tracer.runfunc, traced, 7)
    counts = {line: n for (file, line), n in tracer.results().counts.items() if file == __file__}
    body = [n for line, n in counts.items() if line > traced.__code__.co_firstlineno]
    assert 7 in body and 8 in body


@isolated()
def test_tracemalloc() -> None:
    tracemalloc.start(10)
    gate, ready, wg = chan(), WaitGroup(), WaitGroup()
    ready.add(20)

    def allocate() -> None:
        data = [bytes(1000) for _ in range(100)]
        ready.done()
        gate.recv()
        assert len(data) == 100

    for _ in range(20):
        wg.go(allocate)
    ready.wait()
    top = tracemalloc.take_snapshot().statistics("lineno")[0]
    assert (
        linecache.getline(top.traceback[0].filename, top.traceback[0].lineno).strip().startswith("data = [")
    )
    assert top.size >= 20 * 100 * 1000
    gate.close()
    wg.wait()
    tracemalloc.stop()


COVERED = """\
import gort, gort.sync, gort.time

def worker(n, wg):
    total = 0
    for i in range(3):
        gort.time.sleep(0.0001)
        total += i
    if n < 0:
        total = -1
    wg.done()

def never(n):
    return n

def main():
    wg = gort.sync.WaitGroup()
    wg.add(20)
    for n in range(20):
        gort.go(worker, n, wg)
    wg.wait()
    print("done")

main()
"""


@pytest.mark.parametrize("core", ["ctrace", "pytrace", "sysmon"])
def test_coverage(tmp_path: Path, core: str) -> None:
    coverage = pytest.importorskip("coverage")
    if core == "sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in 3.12")
    program = tmp_path / "covered.py"
    program.write_text(COVERED)
    data = tmp_path / "data"
    script = f"""
        import runpy, sys
        from coverage.cmdline import main
        sys.exit(main(["run", "--data-file={data}", {str(program)!r}]))
    """
    run_source(script, env={"COVERAGE_CORE": core}).check(stdout="done", stderr="")
    measured = coverage.CoverageData(str(data))
    measured.read()
    lines = set(measured.lines(str(program)) or ())
    missing = {n for n, line in enumerate(COVERED.splitlines(), 1) if line.strip()} - lines
    assert missing == {9, 13}


# set_trace() stops at its own line from 3.13 on, and at the one after it before.
TO_THE_NEXT_LINE = "next\n" if sys.version_info >= (3, 13) else ""
NO_PDBRC = {"HOME": "/nonexistent"}


def test_pdb_in_a_goroutine() -> None:
    """Other goroutines run on while one is stopped in the debugger."""
    run_source(
        """
        import pdb, gort, gort.time

        ticks = [0]

        def tick():
            while True:
                ticks[0] += 1
                gort.time.sleep(0.001)

        def worker(n, done):
            here = n * 2
            pdb.set_trace()
            after = here + 1
            done.send(after)

        done = gort.chan()
        gort.go(tick)
        gort.go(worker, 21, done)
        print("result", done.recv(), ticks[0] > 0)
        """,
        stdin=f"{TO_THE_NEXT_LINE}p here\nnext\np after\nwhere\np after.bit_length() + 100\ncontinue\n",
        env=NO_PDBRC,
    ).check(
        stdout="""\
...
(Pdb) 42
(Pdb) > ...prog.py(14)worker()
-> done.send(after)
(Pdb) 43
(Pdb) ...
...
(Pdb) 106
(Pdb) result 43 True""",
        stderr="",
    )


def test_pdb_post_mortem_and_step() -> None:
    run_source(
        """
        import pdb, sys, gort

        def fail(n):
            return 1 // n

        def worker():
            try:
                fail(0)
            except ZeroDivisionError:
                pdb.post_mortem(sys.exc_info()[2])

        gort.run(worker)
        print("end")
        """,
        stdin="p n\nup\nlist\nquit\n",
        env=NO_PDBRC,
    ).check(stdout="> ...prog.py(4)fail()\n-> return 1 // n\n(Pdb) 0\n...\n(Pdb) end", stderr="")


def test_breakpoint_in_main_beside_goroutines() -> None:
    run_source(
        """
        import gort, gort.time
        gort.go(gort.time.sleep, 3600)
        ch = gort.chan()
        gort.go(ch.send, 5)
        breakpoint()
        value = ch.recv()
        print("value", value)
        """,
        stdin=f"{TO_THE_NEXT_LINE}next\np value\ncontinue\n",
        env={**NO_PDBRC, "PYTHONBREAKPOINT": ""},
    ).check(stdout="...\n(Pdb) 5\n(Pdb) value 5", stderr="")


def test_imports_are_traced_as_without_gort() -> None:
    """No function of gort's is among what a debugger steps through."""
    run_source(
        """
        import sys
        import gort

        seen = []

        def trace(frame, event, arg):
            seen.append(frame.f_globals["__name__"])

        def load():
            sys.settrace(trace)
            import colorsys
            sys.settrace(None)

        load()
        gort.run(load)
        print([name for name in seen if name.startswith("gort")], "colorsys" in seen)
        """
    ).check(stdout="[] True", stderr="")
