"""Analyses the Python standard library's own source: gort run examples/stdlib_report.py

A walker, readers, parsers, packers and an aggregator are goroutines joined by channels; all of them call
ordinary blocking code. Afterwards the same job runs on a ThreadPoolExecutor (stdlib_report_threads.py), and
the two databases must hold the same rows: if not, the difference is printed and the exit status is 1.
"""

import difflib
import subprocess
import sys
import tempfile
import time as clock
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TypeVar

import stdlib_analysis as job
from gort import Chan, chan, context, go, runtime, select, sync, time
from gort.context import Context
from gort.sync import errgroup

READERS = 4
PARSERS = 4
PACKERS = 4
TICK = 0.1  # seconds between updates of the progress line

T = TypeVar("T")
U = TypeVar("U")


def feed(ctx: Context, source: Iterable[T], sink: Chan[T]) -> None:
    """Sends everything from `source`; stops early, with the context's error, when `ctx` is done."""
    for item in source:
        match select((sink, item), ctx.done()):
            case 1, _, _:
                raise ctx.err() or AssertionError("a done context has an error")


def stage(
    group: errgroup.Group, ctx: Context, workers: int, work: Callable[[T], U], source: Iterable[T]
) -> Chan[U]:
    """Starts `workers` goroutines that work on `source`; the channel of results is closed at the end."""
    sink: Chan[U] = chan(16)
    running = sync.WaitGroup()
    running.add(workers)

    def worker() -> None:
        try:
            feed(ctx, map(work, source), sink)
        finally:
            running.done()

    def closer() -> None:
        running.wait()
        sink.close()

    for _ in range(workers):
        group.go(worker)
    group.go(closer)
    return sink


def aggregate(ctx: Context, packed: Chan[job.Packed], file: Path) -> None:
    """Stores what arrives, keeps the progress line going and counts goroutines and OS threads."""
    # An sqlite3 connection insists on the OS thread that opened it, so this goroutine stays on one.
    runtime.lock_os_thread()
    started = clock.monotonic()
    progress = job.Progress("goroutines")
    store, stored, goroutines, threads = job.Store(file), 0, 0, 0
    ticker = time.Ticker(TICK)
    try:
        while True:
            match select(packed, ticker.c, ctx.done()):
                case 0, item, True:
                    store.add(item)
                    stored += 1
                case 0, _, False:  # closed: the last packer is done, or gave up because ctx is done
                    if error := ctx.err():
                        raise error
                    break
                case 1, _, _:
                    progress.show(f"{stored:,} files")
                    goroutines = max(goroutines, runtime.num_goroutine())
                    threads = max(threads, job.os_threads())
                case 2, _, _:
                    raise ctx.err() or AssertionError("a done context has an error")
        store.close(wall=clock.monotonic() - started, goroutines=goroutines, threads=threads)
    finally:
        ticker.stop()
        progress.done(f"{stored:,} files")


def run(opts: job.Options, file: Path) -> None:
    """Analyses all files and stores the results in `file`; context.DeadlineExceeded when the time is over."""
    limit, cancel = context.with_timeout(context.background(), opts.timeout)
    # The group's context is cancelled by the first goroutine of the group that fails: all others then stop.
    group, ctx = errgroup.with_context(limit)
    try:
        paths = stage(group, ctx, 1, str, job.walk(opts.root, opts.limit))
        sources = stage(group, ctx, READERS, lambda path: job.read(opts.root, path), paths)
        parsed = stage(group, ctx, PARSERS, job.parse, sources)
        packed = stage(group, ctx, PACKERS, job.pack, parsed)
        group.go(lambda: aggregate(ctx, packed, file))
        group.wait()
    finally:
        cancel()


def run_threads(opts: job.Options, file: Path) -> int:
    """Runs the twin program; its exit status. The wait for it is an ordinary blocking call."""
    program = Path(__file__).with_name("stdlib_report_threads.py")
    command = [sys.executable, str(program), f"--root={opts.root}", f"--limit={opts.limit}"]
    command += [f"--timeout={opts.timeout}", f"--store={file}"]
    finished: Chan[int] = chan()
    go(lambda: finished.send(subprocess.run(command, stdout=subprocess.DEVNULL).returncode))
    # The child ends by itself at its --timeout; what is left to it after that is to stop its threads.
    match select(finished, time.after(opts.timeout + 60)):
        case 0, status, _:
            return int(status)
    print(f"stdlib_report: the thread pool's program did not end in {opts.timeout + 60:g} s", file=sys.stderr)
    return 1


def main() -> int:
    opts = job.options(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = opts.store or Path(folder) / "goroutines.db", Path(folder) / "threads.db"
        try:
            run(opts, ours)
        except context.DeadlineExceeded as error:
            print(f"stdlib_report: not done after {opts.timeout:g} s: {error}", file=sys.stderr)
            return 1
        print(job.report(ours, opts.root), flush=True)
        if status := run_threads(opts, theirs):
            return status
        a, b = job.run_figures(ours), job.run_figures(theirs)
        print(f"""
Run by                 wall time   OS threads   goroutines
  gort               {a["wall"]:>10.1f} s   {a["threads"]:>10.0f}   {a["goroutines"]:>10.0f}
  ThreadPoolExecutor {b["wall"]:>10.1f} s   {b["threads"]:>10.0f}            -""")
        mine, other = job.rows(ours), job.rows(theirs)
    if mine != other:
        print("\nThe two results differ:")
        diff = difflib.unified_diff(mine, other, "gort", "ThreadPoolExecutor", n=0, lineterm="")
        print(*islice(diff, 50), sep="\n")
        return 1
    print(f"\nBoth results are equal: {len(mine):,} rows.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
