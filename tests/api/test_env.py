"""The environment: Go's rules of parsing, reports, `gort env`."""

from __future__ import annotations

import json
import os
import sysconfig
from typing import Any

import pytest

from harness import Outcome, execute, run_source

GORT = os.path.join(sysconfig.get_path("scripts"), "gort")

VARIABLES = {
    "GOGC",
    "GOMEMLIMIT",
    "GOMAXPROCS",
    "GORACE",
    "GOTRACEBACK",
    "GOARCH",
    "GOOS",
    "GOPATH",
    "GOROOT",
    "GODEBUG",
}
GODEBUG_NAMES = {
    "allocfreetrace", "clobberfree", "cgocheck", "efence", "gccheckmark", "gcpacertrace", "gcshrinkstackoff",
    "gcstoptheworld", "gctrace", "invalidptr", "madvdontneed", "memprofilerate", "sbrk", "scavenge",
    "scheddetail", "schedtrace", "tracebackancestors",
}  # fmt: skip
BUILT = {
    "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GOTRACEBACK", "GOARCH", "GOOS", "GOPATH", "GOROOT", "GODEBUG",
    "allocfreetrace", "clobberfree", "cgocheck", "efence", "gccheckmark", "gcpacertrace", "gcshrinkstackoff",
    "gcstoptheworld", "gctrace", "invalidptr", "madvdontneed", "memprofilerate", "sbrk", "scavenge",
    "schedtrace", "scheddetail", "tracebackancestors",
}  # fmt: skip


def env(**variables: str) -> tuple[dict[str, Any], list[str]]:
    """The rows of `gort env --json` by name, and what it reports."""
    outcome = execute([GORT, "env", "--json"], env=variables)
    assert outcome.status == 0, outcome.stderr
    # A schedtrace that is set traces this very command.
    reports = [line for line in outcome.stderr.splitlines() if line.startswith("gort: ")]
    return {row["name"]: row for row in json.loads(outcome.stdout)}, reports


def test_every_setting_is_there() -> None:
    rows, reports = env()
    assert reports == []
    assert rows.keys() == VARIABLES | GODEBUG_NAMES
    assert {name for name, row in rows.items() if row["built"]} == BUILT
    for name, row in rows.items():
        assert row["variable"] == (name if name in VARIABLES else "GODEBUG")
        assert row["value"] == row["default"]
        assert row["meaning"]
    defaults = {name: row["default"] for name, row in rows.items()}
    assert defaults["GOGC"] == "100"
    assert defaults["GOMAXPROCS"] == str(len(os.sched_getaffinity(0)))
    assert defaults["GOTRACEBACK"] == "single"
    assert (defaults["cgocheck"], defaults["invalidptr"], defaults["gctrace"]) == ("1", "1", "0")
    assert defaults["memprofilerate"] == "524288"


def test_table_for_people() -> None:
    outcome = execute([GORT, "env"], env={"GODEBUG": "schedtrace=0,gctrace=1"})
    lines = outcome.stdout.splitlines()
    assert lines[0].split() == ["NAME", "VALUE", "DEFAULT", "MEANING"]
    assert len(lines) == 1 + len(VARIABLES | GODEBUG_NAMES)
    by_name = {line.split()[0]: line for line in lines}
    assert by_name["gctrace"].split()[:3] == ["gctrace", "1", "0"]
    assert by_name["GORACE"].endswith("(not built yet)")
    assert "not built yet" not in by_name["schedtrace"]
    assert "not built yet" not in by_name["GOMAXPROCS"]


def test_values_are_taken() -> None:
    rows, reports = env(GOMAXPROCS="3", GOTRACEBACK="all", GOPATH="/p", GOROOT="/r", GODEBUG="scheddetail=1")
    values = {name: row["value"] for name, row in rows.items()}
    assert values["GOMAXPROCS"] == "3"
    assert values["GOTRACEBACK"] == "all"
    assert values["GOPATH"] == "/p"
    assert values["GOROOT"] == "/r"
    assert values["GODEBUG"] == "scheddetail=1"
    assert values["scheddetail"] == "1"
    assert reports == []


def test_system_names_are_those_of_the_build() -> None:
    rows, reports = env(GOOS="plan9", GOARCH="mips")
    assert rows["GOOS"]["value"] == "linux"
    assert rows["GOARCH"]["value"] in ("amd64", "arm64")
    assert reports == []


@pytest.mark.parametrize("value", ["zero", "0", "-2", "+2", " 2", "2 ", "2.0", "1_0", "2147483648", "٢"])
def test_bad_gomaxprocs(value: str) -> None:
    rows, reports = env(GOMAXPROCS=value)
    default = rows["GOMAXPROCS"]["default"]
    assert rows["GOMAXPROCS"]["value"] == default
    assert reports == [f"gort: GOMAXPROCS={value!r} is not a positive 32-bit integer; using {default}"]


@pytest.mark.parametrize("value", ["1", "2147483647", "007"])
def test_good_gomaxprocs(value: str) -> None:
    rows, reports = env(GOMAXPROCS=value)
    assert rows["GOMAXPROCS"]["value"] == value
    assert reports == []


def test_an_empty_variable_is_not_set() -> None:
    rows, reports = env(GOMAXPROCS="", GOTRACEBACK="", GOGC="", GODEBUG="", GOROOT="")
    assert all(row["value"] == row["default"] for row in rows.values())
    assert reports == []


@pytest.mark.parametrize(
    "value", ["none", "single", "all", "system", "crash", "0", "1", "2", "7", "4294967295"]
)
def test_good_gotraceback(value: str) -> None:
    rows, reports = env(GOTRACEBACK=value)
    assert rows["GOTRACEBACK"]["value"] == value
    assert reports == []


@pytest.mark.parametrize("value", ["ALL", "everything", "-1", "4294967296", "1.0"])
def test_bad_gotraceback(value: str) -> None:
    rows, reports = env(GOTRACEBACK=value)
    assert rows["GOTRACEBACK"]["value"] == "0"
    assert reports == [
        f"gort: GOTRACEBACK={value!r} is not one of none, single, all, system, crash or a number; using 0"
    ]


@pytest.mark.parametrize("value", ["50", "off", "-1", "0"])
def test_good_gogc(value: str) -> None:
    rows, reports = env(GOGC=value)
    assert rows["GOGC"]["value"] == value
    assert reports == []


def test_bad_gogc() -> None:
    rows, reports = env(GOGC="OFF")
    assert rows["GOGC"]["value"] == "100"
    assert reports[0] == "gort: GOGC='OFF' is not a 32-bit integer or off; using 100"


def test_godebug_rules() -> None:
    rows, reports = env(GODEBUG="schedtrace=50,nothing=1, scheddetail=1,,schedtrace=70,Schedtrace=9,x")
    values = {name: row["value"] for name, row in rows.items()}
    assert values["schedtrace"] == "70"  # The last one counts.
    assert values["scheddetail"] == "0"  # Blanks belong to the name, and unknown names are ignored.
    assert reports == []


@pytest.mark.parametrize(
    "field", ["schedtrace=", "schedtrace=x", "schedtrace=1 ", "schedtrace=2147483648", "schedtrace"]
)
def test_bad_godebug_value(field: str) -> None:
    rows, reports = env(GODEBUG=f"{field},scheddetail=1")
    assert (rows["schedtrace"]["value"], rows["scheddetail"]["value"]) == ("0", "1")
    value = field.removeprefix("schedtrace").removeprefix("=")
    assert reports == [f"gort: GODEBUG schedtrace={value!r} is not a 32-bit integer; using 0"]


def test_bad_godebug_value_leaves_an_earlier_good_one() -> None:
    rows, reports = env(GODEBUG="schedtrace=-5,schedtrace=many")
    assert rows["schedtrace"]["value"] == "-5"
    assert reports == ["gort: GODEBUG schedtrace='many' is not a 32-bit integer; using -5"]


def test_memprofilerate_has_64_bits_and_no_sign() -> None:
    rows, _ = env(GODEBUG=f"memprofilerate={2**40}")
    assert rows["memprofilerate"]["value"] == str(2**40)
    rows, reports = env(GODEBUG="memprofilerate=-1")
    assert rows["memprofilerate"]["value"] == "524288"
    accepted = "a 64-bit integer that is not negative"
    assert reports == [f"gort: GODEBUG memprofilerate='-1' is not {accepted}; using 524288"]


@pytest.mark.parametrize("name", sorted(GODEBUG_NAMES - BUILT))
def test_what_is_not_built_says_so_once(name: str) -> None:
    source = "import gort, gort.runtime, sys\nprint('ran')"
    outcome = run_source(source, env={"GODEBUG": f"{name}=1,{name}=2"})
    outcome.check(stdout="ran\n", stderr=f"gort: GODEBUG {name}='2' has no effect in this version of gort\n")


def test_reports_are_one_line_each() -> None:
    cpus = len(os.sched_getaffinity(0))
    _, reports = env(GOMAXPROCS="2\n3\x1b[31m", GORACE="history", GOGC="1\n")
    assert reports == [
        "gort: GOGC='1\\n' is not a 32-bit integer or off; using 100",
        f"gort: GOMAXPROCS='2\\n3\\x1b[31m' is not a positive 32-bit integer; using {cpus}",
        "gort: GORACE='history' is not name=value fields separated by spaces; using none",
        "gort: GORACE='history' has no effect in this version of gort",
    ]


def test_bytes_that_are_no_text() -> None:
    outcome: Outcome = run_source(
        """
        import os, sys
        environment = {**os.environb, b"GOMAXPROCS": b"\\xff"}
        os.execve(sys.executable, [sys.executable, "-c", "import gort"], environment)
        """
    )
    outcome.check(stderr="gort: GOMAXPROCS='\\udcff' is not a positive 32-bit integer; using ...\n")


def test_the_environment_is_read_once() -> None:
    run_source(
        """
        import os
        from gort import runtime
        before = runtime.gomaxprocs()
        os.environ["GOMAXPROCS"] = "77"
        import gort.time
        print(runtime.gomaxprocs() == before)
        """
    ).check(stdout="True\n", stderr="")


def test_gomaxprocs_takes_effect() -> None:
    run_source("from gort import runtime; print(runtime.gomaxprocs())", env={"GOMAXPROCS": "5"}).check(
        stdout="5\n", stderr=""
    )


def test_without_standard_error() -> None:
    run_source(
        """
        import os, sys
        os.close(2)
        os.environ["GOMAXPROCS"] = "many"
        import gort
        print(gort.run(lambda: "ran"))
        """
    ).check(stdout="ran\n", stderr="")
