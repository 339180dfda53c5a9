"""Runs a C library's own tests with and without gort, and compares them test by test.

    python tools/library_tests.py [numpy | lxml] [--report FILE]

Run it with the Python that gort, pytest and the library with its tests are installed for (numpy's want
hypothesis). Each part of the library runs in two processes, `python -m pytest FOLDER` and `python -m gort run
-m pytest FOLDER`; a difference is looked at a second time, as tools/cpython_tests.py does. The exit status is
0, or 1: something differs, or nothing was run.
"""

import argparse
import importlib.metadata
import importlib.util
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sidebyside import FAILED, OK, PROCESS, SKIPPED, Outcome, differences, read_junit, run

# The parts that are C, and take minutes. numpy's core has another name before 2.0.
LIBRARIES = {
    "numpy": ("numpy._core.tests", "numpy.core.tests", "numpy.lib.tests", "numpy.random.tests"),
    "lxml": ("lxml.tests",),
}

# Whether numpy's largest tests run depends on the memory that is free at that moment, and they take hours.
ENVIRONMENT = {"NPY_AVAILABLE_MEM": "1 GB"}


def outcome(part: str, gort: bool, timeout: float) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="gort-library-") as folder:
        report = Path(folder, "report.xml")
        words = ["pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", str(place(part))]
        result = run(words, gort, folder, timeout, ENVIRONMENT)
        result.tests.update(read_junit(report))
        return result


def place(part: str) -> Path | None:
    """The folder of a package of tests, which need not have an __init__.py; None: this version has none."""
    try:
        spec = importlib.util.find_spec(part)
    except ModuleNotFoundError:
        return None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return Path(folders[0]) if folders else None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "library", choices=LIBRARIES, nargs="?", default="numpy", help="numpy if none is given"
    )
    parser.add_argument(
        "--part", action="append", help="one part, such as numpy._core.tests; may be repeated"
    )
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for a part (3600)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="what gort's side printed goes there")
    arguments = parser.parse_args()
    for module in ("gort", "pytest", arguments.library):
        if importlib.util.find_spec(module) is None:
            parser.error(f"{sys.executable} has no {module}")
    version = importlib.metadata.version(arguments.library)
    print(arguments.library, version, "on Python", sys.version.split()[0])

    total = bad = 0
    for part in filter(place, arguments.part or LIBRARIES[arguments.library]):
        start = time.monotonic()
        plain, under = (outcome(part, gort, arguments.timeout) for gort in (False, True))
        found = first = differences(plain, under)
        if first:
            plain, under = (outcome(part, gort, arguments.timeout) for gort in (False, True))
            found = {test: pair for test, pair in differences(plain, under).items() if test in first}
        counts = Counter(result for test, result in under.tests.items() if test != PROCESS)
        total += counts[OK]
        if not counts:
            print(f"{part}: no test was run: {under.tests[PROCESS]}")
            bad += 1
        bad += len(found)
        once = f" ({len(first) - len(found)} once)" if len(first) > len(found) else ""
        print(
            f"{part}: {counts[OK]} ok, {counts[SKIPPED]} skipped, {counts[FAILED]} failed; "
            f"{len(found)} differ{once} ({time.monotonic() - start:.0f} s)",
            flush=True,
        )
        for test, (there, here) in found.items():
            print(f"    {test}: {there} in python, {here} under gort", flush=True)
        if found and arguments.report:
            with arguments.report.open("a") as file:
                print(f"==== {part}", under.text, sep="\n", file=file)
    if not total:
        print(f"no test of {arguments.library} was run")
    return 1 if bad or not total else 0


if __name__ == "__main__":
    sys.exit(main())
