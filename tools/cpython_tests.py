"""Runs CPython's own regression tests with and without gort, and compares them test by test.

    python tools/cpython_tests.py [--jobs 2] [--goroutine] [--memlimit 2.5G] [--report FILE] [MODULE ...]

Run it with the Python that gort is installed for. Each module of tests runs in two processes, `python -m test
MODULE` and `python -m gort run -m test MODULE`. A test whose outcome differs is run again, both ways: a
difference that is not there twice is the machine's, and is only counted. What remains must be listed in
EXPECTED with its reason. The exit status is 0, or 1: a difference is not expected, an expected one did not
show, or a module ran no test.

With --goroutine the tests run in a goroutine that is not the main one, and are compared with a run in a
thread that is not the main one: what only the main thread may do fails in both. Without names: INSIDE.

Without --memlimit the tests that want gigabytes run with small sizes. With it (regrtest's -M; at least 2G)
those that fit run in earnest.
"""

import argparse
import concurrent.futures
import fnmatch
import importlib.util
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidebyside import FAILED, OK, PROCESS, SKIPPED, Outcome, differences, read_junit, run

VERSION = sys.version_info[:2]

# Where the heap may show, then where goroutines, signals, threads and hooks may. Names that a version lacks
# are left out: test__xxsubinterpreters became test__interpreters in 3.13.
MODULES = """
    test_gc test_weakref test_capi test_list test_dict test_bytes test_bigmem test_io test_json test_pickle
    test_threading test_thread test_subprocess test_os test_signal test_faulthandler test_generators
    test_coroutines test_sqlite3 test_ctypes test_exceptions test_memoryview test_array test_zlib
    test_interpreters test__interpreters test__xxsubinterpreters test_tracemalloc test_sys
    test_bdb test_pdb test_code_module test_import test_importlib
    """.split()


# Where locks, identities and buffers of goroutines may show.
INSIDE = "test_threading test_thread test_io test_sqlite3 test_logging test_functools test_queue".split()

# With some versions this kills any CPython that runs it off the main thread: an interpreter is ended
# while threads of its own still run.
LEFT_OUT_INSIDE = ["test_threads_join*"]


@dataclass(frozen=True)
class Expected:
    """Tests whose outcome under gort is another one, and why."""

    tests: str  # a pattern of fnmatch
    reason: str
    versions: tuple[tuple[int, int], ...] = ((3, 11), (3, 12), (3, 13))
    always: bool = True  # False: it need not show


OWN_HOOK = "code gives what is not sys.__excepthook__, such as gort's, a traceback with its own frame"
MORE_THREADS = "3.11 does not say whether an interpreter with several threads runs; gort's scheduler is one"

EXPECTED = (
    Expected("test.test_interpreters.TestInterpreterIsRunning.test_main", MORE_THREADS, ((3, 11),)),
    Expected("test.test__xxsubinterpreters.IsRunningTests.test_main", MORE_THREADS, ((3, 11),)),
    Expected("test.test_code_module.TestInteractiveConsole.test_cause_tb", OWN_HOOK, ((3, 11), (3, 12))),
    Expected("test.test_code_module.TestInteractiveConsole.test_context_tb", OWN_HOOK, ((3, 11), (3, 12))),
)


def outcome(module: str, gort: bool, arguments: argparse.Namespace) -> Outcome:
    """Runs one module of tests."""
    with tempfile.TemporaryDirectory(prefix="gort-cpython-") as folder:
        report = Path(folder, "report.xml")
        words = ["test", "--junit-xml", str(report), "--tempdir", folder, "--timeout", str(arguments.timeout)]
        if arguments.memlimit:
            words += ["-M", arguments.memlimit]
        for test in LEFT_OUT_INSIDE if arguments.goroutine else ():
            words += ["--ignore", test]
        # regrtest's own time limit is for one test, and prints where it hangs
        result = run([*words, module], gort, folder, arguments.timeout * 2, inside=arguments.goroutine)
        result.tests.update(read_junit(report))
        # what the report has no name for: tests of which a part failed, and setUpClass
        for test in re.findall(r"^(?:ERROR|FAIL): \S+ \(([\w.]+)\)", result.text, re.MULTILINE):
            result.tests[test] = FAILED
        return result


@dataclass
class Comparison:
    module: str
    plain: Outcome
    under: Outcome
    different: dict[str, tuple[str, str]]  # seen twice
    once: int  # seen only in the first run
    seconds: float


def compare(module: str, arguments: argparse.Namespace) -> Comparison:
    start = time.monotonic()
    plain, under = (outcome(module, gort, arguments) for gort in (False, True))
    found, once = differences(plain, under), 0
    if found:
        plain, under = (outcome(module, gort, arguments) for gort in (False, True))
        again = differences(plain, under)
        once = len(found.keys() - again.keys())
        found = {name: pair for name, pair in again.items() if name in found}
    return Comparison(module, plain, under, found, once, time.monotonic() - start)


def expectation(test: str) -> Expected | None:
    for expected in EXPECTED:
        if VERSION in expected.versions and fnmatch.fnmatchcase(test, expected.tests):
            return expected
    return None


def available(modules: Sequence[str]) -> list[str]:
    return [module for module in modules if importlib.util.find_spec(f"test.{module}")]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("modules", metavar="MODULE", nargs="*", help="such as test_gc; none: all of the list")
    parser.add_argument("--jobs", type=int, default=1, help="modules at a time (1)")
    parser.add_argument("--goroutine", action="store_true", help="in a goroutine, against in a thread")
    parser.add_argument("--memlimit", metavar="SIZE", help="regrtest's -M, such as 2.5G")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for a test (600)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="what gort's side printed goes there")
    arguments = parser.parse_args()
    if importlib.util.find_spec("gort") is None or importlib.util.find_spec("test.libregrtest") is None:
        parser.error(f"{sys.executable} needs both gort and the package `test` of CPython")
    if unknown := set(arguments.modules) - set(available(arguments.modules)):
        parser.error(f"there is no {min(unknown)} in this version's package `test`")
    modules = arguments.modules or available(INSIDE if arguments.goroutine else MODULES)

    total: Counter[str] = Counter()
    seen: set[Expected] = set()
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for c in pool.map(lambda module: compare(module, arguments), modules):
            ours = Counter(outcome for test, outcome in c.under.tests.items() if test != PROCESS)
            total += ours
            known = {test: e for test in c.different if (e := expectation(test))}
            seen.update(known.values())
            fresh = {test: pair for test, pair in c.different.items() if test not in known}
            if known:  # the status of a process follows from its tests
                fresh.pop(PROCESS, None)
            bad += len(fresh)
            once = f", {c.once} differed once" if c.once else ""
            print(
                f"{c.module}: {ours[OK]} ok, {ours[SKIPPED]} skipped, {ours[FAILED]} failed; "
                f"{len(known)} differ as expected, {len(fresh)} unexpectedly{once} ({c.seconds:.0f} s)",
                flush=True,
            )
            for test, (plain, under) in fresh.items():
                print(f"    {test}: {plain} in python, {under} under gort", flush=True)
            if not ours:
                print(f"    no test was run: {c.under.tests[PROCESS]}", flush=True)
                bad += 1
            if (c.different or not ours) and arguments.report:
                with arguments.report.open("a") as file:
                    print(f"==== {c.module}", c.under.text, sep="\n", file=file)
    if not arguments.modules and not arguments.goroutine:
        for e in EXPECTED:
            if e.always and VERSION in e.versions and e not in seen:
                print(f"expected, but did not show: {e.tests} ({e.reason})")
                bad += 1
    print(f"{total[OK]} ok, {total[SKIPPED]} skipped, {total[FAILED]} failed; {bad} unexpected")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
