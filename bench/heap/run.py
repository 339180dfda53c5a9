"""Runs the heap's bench: gort's allocator and collector beside CPython's. ../README.md explains it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))

from catalogue import PROGRAMS  # noqa: E402
from figures import Judge, Line, Results, geomean  # noqa: E402
from measure import PARTS  # noqa: E402

from programs import allocator  # noqa: E402
from runners import Unavailable, last_line, names_of, note, number, positive, table  # noqa: E402

TIMEOUT = 300  # seconds for one process
# Memory varies little from run to run, and idling takes long.
MAX_ROUNDS = {"idle": 1, "pauses": 3}
# What would change a contender behind our back.
STRIPPED = ("GO", "PYTHON", "LD_PRELOAD", "MALLOC_", "MIMALLOC_", "GLIBC_TUNABLES")


@dataclass(frozen=True)
class Column:
    """One way to run the programs."""

    name: str
    gort: bool = False  # under `gort run`
    env: dict[str, str] = field(default_factory=dict)


MALLOC = {"PYTHONMALLOC": "malloc"}
COLUMNS = [
    Column("cpython"),
    Column("gort", True),
    Column("gort25", True, {"GOGC": "25"}),
    Column("jemalloc", env={**MALLOC, "LD_PRELOAD": "libjemalloc.so.2"}),
    Column("mimalloc", env={**MALLOC, "LD_PRELOAD": "libmimalloc.so.2"}),
]
# The allocator alone: gort is imported on both sides.
SIDES = [Column("without", True, {"GORT_HEAP": "0"}), Column("with", True, {"GORT_HEAP": "1"})]


Occasion = tuple[str, str, int, Column]  # part, program, round, column


# -- running ----------------------------------------------------------------------------------


class Runner(NamedTuple):
    python: str
    pin: int | None  # the CPU that the processes are bound to

    def run(self, column: Column, words: list[str]) -> str:
        """Runs a Python program in that column; returns what it printed."""
        gort = [str(Path(self.python).with_name("gort")), "run"]
        command = [*(gort if column.gort else [self.python]), *words]
        if self.pin is not None:
            command = ["taskset", "--cpu-list", str(self.pin), *command]
        env = {name: value for name, value in os.environ.items() if not name.startswith(STRIPPED)}
        env |= {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", **column.env}
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"no result in {TIMEOUT} s") from None
        except FileNotFoundError as exc:
            raise Unavailable(f"there is no {exc.filename}") from None
        if done.returncode:
            raise Unavailable(f"exit status {done.returncode}: {last_line(done.stderr)}")
        return done.stdout

    def check(self, column: Column) -> None:
        """Raises Unavailable if the column would not measure what it says."""
        if library := column.env.get("LD_PRELOAD"):
            # The loader goes on without a library that it does not find.
            if library not in self.run(column, ["-c", "print(open('/proc/self/maps').read())"]):
                raise Unavailable(f"{library} is not installed")
        if "GOGC" in column.env:
            settings = json.loads(self.run(Column("python"), ["-m", "gort", "env", "--json"]))
            if not any(setting["name"] == "GOGC" and setting["built"] for setting in settings):
                raise Unavailable("this gort does nothing with GOGC")

    def measure(self, part: str, program: str, column: Column, scale: float, seconds: float) -> Line:
        words = [str(HERE / "measure.py"), part, program, str(scale), str(seconds)]
        start = time.perf_counter()
        output = self.run(column, words)
        seconds_in_all = time.perf_counter() - start
        try:
            line: Line = {**json.loads(output), "process_s": seconds_in_all}
        except ValueError:
            raise Unavailable(f"printed no JSON: {last_line(output)}") from None
        heap = column.gort and column.env.get("GORT_HEAP") != "0"
        if (line["gort"], line["heap"]) != (column.gort, heap):
            raise Unavailable(f"gort imported: {line['gort']}, its heap in use: {line['heap']}")
        return line


def programs_of(part: str, chosen: list[str]) -> list[str]:
    """The chosen programs that take part; all of the part's if none was chosen."""
    if part == "allocator":
        known = list(allocator.PROGRAMS)
    elif part == "idle":
        known = [*(name for name, program in PROGRAMS.items() if program.heavy), "scattered"]
    else:
        known = list(PROGRAMS)
    return [name for name in known if not chosen or name in chosen]


def schedule(parts: list[str], chosen: list[str], columns: list[Column], rounds: int) -> Iterator[Occasion]:
    """Every run that is to be made. The columns take turns, each second round backwards."""
    for part in parts:
        for program in programs_of(part, chosen):
            for turn in range(min(rounds, MAX_ROUNDS.get(part, rounds))):
                sides = SIDES if part == "allocator" else columns
                for column in sides[:: -1 if turn % 2 else 1]:
                    yield part, program, turn, column


class Run:
    """What was measured, and what failed."""

    def __init__(self) -> None:
        self.results = Results()
        self.lines: list[Line] = []
        self.failures: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    def add(self, part: str, program: str, turn: int, column: str, line: Line) -> None:
        self.results.add(part, program, column, line)
        self.lines.append({**line, "part": part, "program": program, "round": turn, "column": column})

    def fail(self, part: str, program: str, column: str, reason: str) -> None:
        self.results.add(part, program, column, None)
        self.failures[f"{part} {program} {column}"] = reason
        note(f"{part} {program} {column}: {reason}")

    def measure(self, runner: Runner, scale: float, seconds: float, occasions: Iterator[Occasion]) -> None:
        """A program that failed in a column is not run there again. Ctrl-C keeps what there is."""
        computed: dict[tuple[str, str], float] = {}
        try:
            for part, program, turn, column in occasions:
                if self.results.failed(part, program, column.name):
                    continue
                try:
                    line = runner.measure(part, program, column, scale, seconds)
                    expected = computed.setdefault((part, program), line.get("result", 0))
                    if line.get("result", 0) != expected:
                        raise Unavailable(f"computed {line['result']}, others {expected}")
                except Unavailable as reason:
                    self.fail(part, program, column.name, str(reason))
                    continue
                self.add(part, program, turn, column.name, line)
                note(f"{part} {program} {column.name}: {summary(line)}")
        except KeyboardInterrupt:
            note("interrupted: the tables show what was measured until now")

    def save(self, file: str, verdicts: list[dict[str, Any]]) -> None:
        document = {
            "missing": self.missing,
            "failures": self.failures,
            "lines": self.lines,
            "targets": verdicts,
        }
        Path(file).write_text(json.dumps(document, indent=1))

    def load(self, file: str) -> None:
        """Takes an earlier run's lines in, from what --json wrote."""
        document = json.loads(Path(file).read_text())
        for line in document["lines"]:
            self.add(line["part"], line["program"], line["round"], line["column"], line)
        for what, reason in document["failures"].items():
            part, program, column = what.split(" ")
            self.fail(part, program, column, reason)
        self.missing |= document["missing"]


def summary(line: Line) -> str:
    units = {"cpu_s": (1, "s CPU"), "wall_s": (1, "s"), "longest_ms": (1, "ms longest pause")}
    units |= {"peak_rss": (1 << 20, "MiB peak"), "idle_rss": (1 << 20, "MiB idle")}
    shown = {each: unit for each, unit in units.items() if each in line}
    return ", ".join(f"{number(line[each] / by)} {unit}" for each, (by, unit) in shown.items())


# -- tables -----------------------------------------------------------------------------------


def mebibytes(value: float | None) -> str:
    return "-" if value is None else number(value / (1 << 20))


def times(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def time_table(results: Results, part: str, markdown: bool) -> str:
    """Seconds of the first column; of the others the ratios to it."""
    first, *others = results.columns(part)
    rows = [["program", f"{first}: CPU s", "wall s"]]
    for other in others:
        rows[0] += [f"{other}: CPU", "min - max", "wall"]
    for program in results.programs(part):
        seconds = [results.middle(part, program, first, figure) for figure in ("cpu_s", "wall_s")]
        row = [program, *("-" if value is None else f"{value:.3f}" for value in seconds)]
        for other in others:
            ratios = results.ratios(part, program, "cpu_s", other, first)
            row.append(times(results.ratio(part, program, "cpu_s", other, first)))
            row.append(f"{min(ratios):.3f} - {max(ratios):.3f}" if ratios else "-")
            row.append(times(results.ratio(part, program, "wall_s", other, first)))
        rows.append(row)
    last = ["geometric mean", "", ""]
    for other in others:
        for figure in ("cpu_s", "", "wall_s"):
            every = results.all_ratios(part, figure, other, first)
            last.append(times(geomean(every.values())) if every else "")
    return table([*rows, last], markdown)


def memory_table(results: Results, markdown: bool) -> str:
    """Peak RSS in MiB of the first column; of the others the ratio to it."""
    first, *others = results.columns("time")
    rows = [["program", f"{first}: peak MiB", *others]]
    for program in results.programs("time"):
        row = [program, mebibytes(results.middle("time", program, first, "peak_rss"))]
        row += [times(results.ratio("time", program, "peak_rss", other, first)) for other in others]
        rows.append(row)
    last = ["geometric mean", ""]
    for other in others:
        every = results.all_ratios("time", "peak_rss", other, first)
        last.append(times(geomean(every.values())) if every else "-")
    return table([*rows, last], markdown)


def idle_table(results: Results, markdown: bool) -> str:
    columns = results.columns("idle")
    rows = [["program", *(f"{column}: {word} MiB" for column in columns for word in ("peak", "idle"))]]
    for program in results.programs("idle"):
        figures = [(column, figure) for column in columns for figure in ("peak_rss", "idle_rss")]
        rows.append([program, *(mebibytes(results.middle("idle", program, *each)) for each in figures)])
    return table(rows, markdown)


def pause_table(results: Results, markdown: bool) -> str:
    columns = results.columns("pauses")
    words = {"longest_ms": "longest ms", "total_ms": "total ms", "collections": "collections"}
    rows = [["program", *(f"{column}: {word}" for column in columns for word in words.values())]]
    for program in results.programs("pauses"):
        row = [program]
        for column in columns:
            for figure in words:
                value = results.middle("pauses", program, column, figure)
                row.append("-" if value is None else number(value))
        rows.append(row)
    return table(rows, markdown)


def target_table(judge: Judge, markdown: bool) -> tuple[str, list[dict[str, Any]]]:
    rows = [["target", "measured", "at most", "verdict", ""]]
    verdicts: list[dict[str, Any]] = []
    for verdict in judge.verdicts():
        measured = "failed" if verdict.measured is None else f"{verdict.measured:.3f}"
        limit = "-" if verdict.limit is None else f"{verdict.limit:g}"
        rows.append([verdict.what, measured, limit, verdict.word, verdict.detail])
        verdicts.append({"target": verdict.what, "measured": verdict.measured, "verdict": verdict.word})
    return table(rows, markdown) if verdicts else "", verdicts


# -- main -------------------------------------------------------------------------------------


def fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, up to 100")
    return value


def main() -> int:
    names = [column.name for column in COLUMNS]
    programs = list(dict.fromkeys([*PROGRAMS, "scattered", *allocator.PROGRAMS]))
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    for part, text in (
        ("time", "time and peak memory of each program; the default if no part is named"),
        ("allocator", "the allocator alone: the collector off, gort imported, GORT_HEAP=0 against 1"),
        ("idle", "memory some time after the peak, and scattered survivors"),
        ("pauses", "the collector's pauses"),
    ):
        add(f"--{part}", action="store_true", help=text)
    add("--rounds", type=positive, default=5, metavar="N", help="default 5; at most 1 of idle, 3 of pauses")
    add("--programs", type=names_of(programs), default=[], metavar="P1,P2", help="default: all of the part")
    add("--columns", type=names_of(names), default=names, metavar="C1,C2", help="default: " + ",".join(names))
    add("--scale", type=fraction, default=1, metavar="S", help="amount of work; below 1 to see that it works")
    add("--seconds", type=fraction, default=10, metavar="S", help="of idling (default 10)")
    add("--figure", choices=("cpu", "wall"), default="cpu", help="what the targets look at (default cpu)")
    add("--pin", type=int, metavar="CPU", help="bind the programs to it; gort's threads share it then")
    add("--python", default=sys.executable, metavar="PATH", help="has gort; default: the one that runs this")
    add("--load", action="append", default=[], metavar="FILE", help="what --json wrote: tables of that too")
    add("--json", metavar="FILE", help="write every line and verdict")
    add("--markdown", action="store_true", help="tables in Markdown")
    args = parser.parse_args()

    run = Run()
    for file in args.load:
        run.load(file)
    parts = [part for part in PARTS if getattr(args, part)] or ([] if args.load else ["time"])
    runner = Runner(args.python, args.pin)
    columns = []
    for column in COLUMNS:
        if column.name in args.columns and any(part != "allocator" for part in parts):
            try:
                runner.check(column)
                columns.append(column)
            except Unavailable as reason:
                run.missing[column.name] = str(reason)
                note(f"{column.name}: {reason}")
    occasions = schedule(parts, args.programs, columns, args.rounds)
    run.measure(runner, args.scale, args.seconds, occasions)
    report(run, args)
    return 1 if run.failures else 0


def report(run: Run, args: argparse.Namespace) -> None:
    results, markdown = run.results, args.markdown
    version = str(run.lines[0]["python"]) if run.lines else "-"
    made = (
        "medians of what was loaded"
        if args.load
        else f"medians of {args.rounds} rounds, scale {args.scale:g}"
    )
    print(f"CPython {version}, {os.cpu_count()} CPUs; {made}")
    for name, reason in run.missing.items():
        print(f"{name} is left out: {reason}")
    tables: dict[str, Callable[[], str]] = {
        "time": lambda: time_table(results, "time", markdown),
        "peak memory": lambda: memory_table(results, markdown),
        "allocator alone": lambda: time_table(results, "allocator", markdown),
        "after the peak": lambda: idle_table(results, markdown),
        "pauses": lambda: pause_table(results, markdown),
    }
    needs = {"peak memory": "time", "allocator alone": "allocator", "after the peak": "idle"}
    for heading, make in tables.items():
        if results.programs(needs.get(heading, heading)):
            print(f"\n{'### ' if markdown else ''}{heading}\n\n{make()}")
    for what, reason in run.failures.items():
        print(f"\n{what} failed: {reason}")
    judge = Judge(results, f"{args.figure}_s", version.startswith("3.11."))
    text, verdicts = target_table(judge, markdown)
    if text:
        print(f"\n{'### ' if markdown else ''}targets\n\n{text}")
    if args.json:
        run.save(args.json, verdicts)


if __name__ == "__main__":
    sys.exit(main())
