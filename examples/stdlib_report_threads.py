"""The job of stdlib_report.py with a ThreadPoolExecutor: python examples/stdlib_report_threads.py

The queues between the stages are the executor's, so the stages are one function here, and the number of
files in flight is held down by hand.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path

import stdlib_analysis as job

WORKERS = 8
IN_FLIGHT = 64


def analyse(root: Path, path: str) -> job.Packed:
    """Reads, parses and packs one file."""
    return job.pack(job.parse(job.read(root, path)))


def run(opts: job.Options, file: Path) -> None:
    """Analyses all files and stores the results in `file`; TimeoutError when the time is over."""
    started = time.monotonic()
    progress = job.Progress("threads")
    store, stored, threads = job.Store(file), 0, 0
    paths: Iterator[str] = job.walk(opts.root, opts.limit)
    with ThreadPoolExecutor(WORKERS) as pool:
        running: set[Future[job.Packed]] = set()
        while True:
            for path in islice(paths, IN_FLIGHT - len(running)):
                running.add(pool.submit(analyse, opts.root, path))
            if not running:
                break
            left = started + opts.timeout - time.monotonic()
            done, running = wait(running, min(max(left, 0), 0.1), FIRST_COMPLETED)
            if left <= 0:
                pool.shutdown(cancel_futures=True)
                progress.done(f"{stored:,} files")
                raise TimeoutError(f"not done after {opts.timeout:g} s")
            for future in done:
                store.add(future.result())
                stored += 1
            threads = max(threads, job.os_threads())
            progress.show(f"{stored:,} files")
    wall = time.monotonic() - started
    store.close(wall=wall, threads=threads)
    progress.done(f"{stored:,} files")


def main() -> int:
    opts = job.options(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        file = opts.store or Path(folder) / "threads.db"
        try:
            run(opts, file)
        except TimeoutError as error:
            print(f"stdlib_report_threads: {error}", file=sys.stderr)
            return 1
        print(job.report(file, opts.root))
        figures = job.run_figures(file)
        print(f"\nwall time {figures['wall']:.1f} s, {figures['threads']:.0f} OS threads at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
