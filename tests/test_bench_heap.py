"""The heap's bench: small runs have the form that full ones have, and verdicts follow from the figures."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import Outcome, execute

RUN = str(Path(__file__).resolve().parent.parent / "bench" / "heap" / "run.py")
VERSION = sys.version.split()[0]

pytestmark = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="the programs that are measured get no LD_PRELOAD, which an instrumented gort needs",
)


def bench(*argv: str) -> Outcome:
    return execute([sys.executable, RUN, *argv], timeout=300)


def test_parts(tmp_path: Path) -> None:
    """All parts and all columns that can be had, with little to do."""
    file = tmp_path / "lines.json"
    outcome = bench(
        "--time",
        "--allocator",
        "--idle",
        "--pauses",
        "--programs=web,scattered,churn",
        "--scale=0.01",
        "--rounds=2",
        "--seconds=0.05",
        f"--json={file}",
    )
    outcome.check(
        stdout=f"""\
CPython {VERSION}, {os.cpu_count()} CPUs; medians of 2 rounds, scale 0.01
...

time

program {{{{ +}}}}cpython: CPU s{{{{ +}}}}wall s{{{{ +}}}}gort: CPU{{{{ +}}}}min - max{{{{ +}}}}wall...
-----...
web ...
geometric mean ...

peak memory

program {{{{ +}}}}cpython: peak MiB {{{{ +}}}}gort...
-----...
web ...
geometric mean ...

allocator alone

program {{{{ +}}}}without: CPU s{{{{ +}}}}wall s{{{{ +}}}}with: CPU{{{{ +}}}}min - max{{{{ +}}}}wall
-----...
churn ...
geometric mean ...

after the peak

program {{{{ +}}}}cpython: peak MiB  cpython: idle MiB  gort: peak MiB  gort: idle MiB...
-----...
web ...
scattered ...

pauses

program  cpython: longest ms  cpython: total ms  cpython: collections  gort: longest ms...
-----...
web ...

targets

target {{{{ +}}}}measured  at most  verdict...
-----...
time: geometric mean of programs ...
time: slowest program ...
allocator: geometric mean of programs ...
allocator: slowest program ...
peak RSS of gort: geometric mean of programs ...
peak RSS of gort: geometric mean of heavy programs ...
...
scattered: RSS after idling ...
scattered: idle and not released, of the peak heap ...
"""
    )
    document: dict[str, Any] = json.loads(file.read_text())
    assert document["failures"] == {}
    lines = document["lines"]
    names = {"cpython", "gort", "gort25", "jemalloc", "mimalloc"}
    measured = {line["column"] for line in lines if line["part"] == "time"}
    assert {"cpython", "gort"} <= measured
    assert measured | set(document["missing"]) == names
    rounds = {"time": 2, "allocator": 2, "idle": 1, "pauses": 2}
    seen: dict[tuple[str, str, str], list[int]] = {}
    for line in lines:
        seen.setdefault((line["part"], line["program"], line["column"]), []).append(line["round"])
        assert line["python"] == VERSION
        assert line["gort"] == (line["column"] not in ("cpython", "jemalloc", "mimalloc"))
        assert line["heap"] == (line["gort"] and line["column"] != "without")
        if line["part"] in ("time", "pauses"):
            assert line["n"] == 240
            assert line["wall_s"] > 0 and line["cpu_s"] > 0 and line["peak_rss"] > 4 << 20
        if line["part"] == "idle":
            assert 0 < line["idle_rss"] <= line["peak_rss"]
        if line["part"] == "pauses":
            assert line["longest_ms"] <= line["total_ms"]
            assert (line["total_ms"] > 0) == (line["collections"] > 0)
        if line["program"] == "scattered" and line["heap"]:
            # 33,000 nodes with a list, a dict and a name each
            assert line["peak_heap"] > 8 << 20 and line["heap_unreleased"] >= 0
    expected = {("allocator", "churn", side) for side in ("without", "with")}
    expected |= {(part, "web", name) for part in ("time", "idle", "pauses") for name in measured}
    expected |= {("idle", "scattered", name) for name in measured}
    assert set(seen) == expected
    for (part, _, _), turns in seen.items():
        assert turns == list(range(rounds[part]))


def test_every_program(tmp_path: Path) -> None:
    """Each one computes the same with and without gort; a difference is a failure, and the exit status 1."""
    file = tmp_path / "lines.json"
    argv = ["--rounds=1", "--scale=0.002", "--columns=cpython,gort", f"--json={file}"]
    bench(*argv).check()
    lines = json.loads(file.read_text())["lines"]
    programs = {line["program"] for line in lines}
    assert len(programs) >= 18
    assert len(lines) == 2 * len(programs)
    modules = {path.stem for path in (Path(RUN).parent / "programs").glob("*.py")}
    assert programs == modules - {"__init__", "allocator", "scattered"}


def figures(part: str, program: str, column: str, turn: int = 0, **more: float) -> dict[str, Any]:
    about = {"part": part, "program": program, "column": column, "round": turn}
    return {**about, "python": "3.11.7", "cpu_s": 1.0, "wall_s": 1.0, "peak_rss": 100.0, **more}


def verdicts(
    tmp_path: Path, lines: list[dict[str, Any]], *argv: str, failures: dict[str, str] | None = None
) -> dict[str, list[str]]:
    """The rows of the target table for these lines: measured, limit, verdict and detail."""
    file, out = tmp_path / "in.json", tmp_path / "out.json"
    file.write_text(json.dumps({"missing": {}, "failures": failures or {}, "lines": lines}))
    outcome = bench(f"--load={file}", f"--json={out}", "--markdown", *argv)
    outcome.check(status=1 if failures else 0)
    rows = [line.strip("| ").split("|") for line in outcome.stdout.partition("### targets")[2].splitlines()]
    table = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows if len(row) > 3}
    saved = json.loads(out.read_text())["targets"]
    assert [row["verdict"] for row in saved] == [row[2] for name, row in table.items() if name in TARGETS]
    return {name: row for name, row in table.items() if name in TARGETS}


TARGETS = (
    "time: graph",
    "time: geometric mean of programs",
    "time: slowest program",
    "time: growth",
    "allocator: geometric mean of programs",
    "allocator: slowest program",
    "peak RSS of gort: geometric mean of programs",
    "peak RSS of gort: geometric mean of heavy programs",
    "peak RSS of gort25: geometric mean of programs",
    "peak RSS of gort25: geometric mean of heavy programs",
    "scattered: RSS after idling",
    "scattered: idle and not released, of the peak heap",
)


def pair(program: str, cpu: float, rss: float, turn: int = 0, slow: float = 1.0) -> list[dict[str, Any]]:
    """One round of a program: gort has `cpu` and `rss` times CPython's figures; `slow` is its time."""
    return [
        figures("time", program, "cpython", turn, cpu_s=slow),
        figures("time", program, "gort", turn, cpu_s=cpu * slow, wall_s=2.0, peak_rss=100 * rss),
    ]


def test_verdicts(tmp_path: Path) -> None:
    lines = pair("graph", 0.4, 1.2) + pair("growth", 1.2, 1.0) + pair("nbody", 1.0, 1.5)
    rows = verdicts(tmp_path, lines)
    assert rows["time: graph"][:3] == ["0.400", "0.45", "PASS"]
    assert rows["time: growth"][:3] == ["1.200", "1.1", "FAIL"]
    # The cube root of 0.48.
    assert rows["time: geometric mean of programs"][:3] == ["0.783", "0.85", "PASS"]
    assert rows["time: slowest program"] == ["1.200", "1.03", "FAIL", "growth"]
    assert rows["peak RSS of gort: geometric mean of programs"][:3] == ["1.216", "1.15", "FAIL"]
    assert rows["peak RSS of gort: geometric mean of heavy programs"][:3] == ["1.095", "1.15", "PASS"]
    assert verdicts(tmp_path, lines, "--figure=wall")["time: graph"][:3] == ["2.000", "0.45", "FAIL"]


def test_ratios_are_paired(tmp_path: Path) -> None:
    """A machine that is slow for one round does not show: the ratios are 0.5, 0.5 and 0.4."""
    lines = pair("graph", 0.5, 1, 0) + pair("graph", 0.5, 1, 1, slow=10) + pair("graph", 0.4, 1, 2)
    assert verdicts(tmp_path, lines)["time: graph"][:3] == ["0.500", "0.45", "FAIL"]


def test_verdicts_of_later_pythons(tmp_path: Path) -> None:
    lines = pair("graph", 0.7, 1.2) + pair("growth", 1.04, 1.2)
    rows = verdicts(tmp_path, [{**line, "python": "3.13.0"} for line in lines])
    assert rows["time: graph"][:3] == ["0.700", "-", "-"]
    assert rows["time: geometric mean of programs"][1:3] == ["-", "-"]
    assert rows["time: slowest program"][:3] == ["1.040", "1.05", "PASS"]


def test_verdict_of_a_failure(tmp_path: Path) -> None:
    """A program that failed under gort misses the targets that it has a part in."""
    rows = verdicts(tmp_path, pair("growth", 1.0, 1.0), failures={"time graph gort": "exit status 1"})
    failed = ["time: graph", "time: geometric mean of programs", "time: slowest program"]
    for name in failed:
        assert rows[name][0] == "failed" and rows[name][2] == "FAIL", name
    assert rows["time: growth"][2] == "PASS"


def test_verdicts_of_scattered(tmp_path: Path) -> None:
    lines = [
        figures("idle", "scattered", "cpython", idle_rss=1000.0),
        figures("idle", "scattered", "gort", idle_rss=900.0, heap_unreleased=30.0, peak_heap=200.0),
    ]
    rows = verdicts(tmp_path, lines)
    assert rows["scattered: RSS after idling"][:3] == ["0.900", "1", "PASS"]
    assert rows["scattered: idle and not released, of the peak heap"][:3] == ["0.150", "0.1", "FAIL"]


FAKE = """\
#!{python}
# Stands for a Python: under gort graph computes something else, growth ends badly, strings has no heap,
# and nbody says nothing of use.
import json, sys
part, program = sys.argv[-4:-2]
gort = sys.argv[0].endswith("/gort")
if gort and program == "growth":
    sys.exit("no more memory")
if gort and program == "nbody":
    sys.exit(print("nothing"))
line = {{"part": part, "program": program, "python": "3.11.7", "gort": gort}}
line |= {{"heap": gort and program != "strings", "result": 2 if gort and program == "graph" else 1}}
print(json.dumps({{**line, "cpu_s": 1, "wall_s": 1, "peak_rss": 1 << 20}}))
"""


def test_failures(tmp_path: Path) -> None:
    """What failed is shown with its reason, is not run again, and makes the exit status 1."""
    fake = tmp_path / "python"
    for file in (fake, tmp_path / "gort"):
        file.write_text(FAKE.format(python=sys.executable))
        file.chmod(0o755)
    argv = ["--columns=cpython,gort", "--programs=graph,growth,strings,nbody,regex", "--rounds=2"]
    outcome = bench(f"--python={fake}", *argv)
    outcome.check(
        status=1,
        stdout="""\
CPython 3.11.7, ...
...
time graph gort failed: computed 2, others 1

time strings gort failed: gort imported: True, its heap in use: False

time growth gort failed: exit status 1: no more memory

time nbody gort failed: printed no JSON: nothing

targets
...
time: slowest program ... failed ... FAIL
...
""",
    )
    assert outcome.stderr.count("time growth gort") == 1
    assert outcome.stderr.count("time growth cpython") == 2
    assert outcome.stderr.count("time regex gort") == 2


def test_missing_columns(tmp_path: Path) -> None:
    """A library that the loader does not find leaves its column out, with the reason."""
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho no libraries at all\n")
    fake.chmod(0o755)
    outcome = bench(f"--python={fake}", "--columns=jemalloc,mimalloc", "--programs=nbody")
    outcome.check(
        stdout="""\
CPython -, ...
jemalloc is left out: libjemalloc.so.2 is not installed
mimalloc is left out: libmimalloc.so.2 is not installed
"""
    )


@pytest.mark.parametrize(
    "argument, complaint",
    [
        ("--programs=nothing", "argument --programs: 'nothing' is none of graph, ..."),
        ("--columns=cpython,tcmalloc", "argument --columns: 'tcmalloc' is none of cpython, gort, ..."),
        ("--scale=0", "argument --scale: '0' is not a number above 0, up to 100"),
        ("--rounds=0", "argument --rounds: '0' is not a positive number"),
    ],
)
def test_bad_arguments(argument: str, complaint: str) -> None:
    bench(argument).check(status=2, stdout="", stderr=f"usage: ...\n...\nrun.py: error: {complaint}")
