"""The documentation's promises: its programs run and print what it says; commands, links and names are right.

A ```python block of README.md or docs/*.md is a whole program. A ```text block right after it is what the
program prints, standard output first and then standard error, in the notation of harness.compare; without one
the program prints nothing. Words after `python` are directives: `exit=2` the expected status,
`env:NAME=VALUE` a variable.
"""

import dataclasses
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gort import _env
from gort.runtime import MemStats
from harness import command, compare, execute, run_source

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md"))]  # their programs are run
# All that link to something; and those that name files of the source.
LINKING = [
    *PAGES,
    ROOT / "CHANGES.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((DOCS / "internals").glob("*.md")),
    *sorted((ROOT / "bench").glob("*.md")),
]
NAMING = [page for page in LINKING if page.name != "CHANGES.md" and page.parent.name != "bench"]
PAGE_OF_VARIABLES = DOCS / "environment.md"
PAGE_OF_FIGURES = DOCS / "memory_reference.md"
MACHINE_DEPENDENT = {"GOMAXPROCS", "GOARCH", "GOOS", "GOROOT"}
BLOCK = re.compile(r"^```python(.*)\n((?:.*\n)*?)```\n(?:\n*```text\n((?:.*\n)*?)```\n)?", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMANDS = re.compile(r"^```sh\n((?:.*\n)*?)```$", re.MULTILINE)
FILE = re.compile(r"[\w./*-]*\w\.(?:c|h|S|py|pyi|txt|svg)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# What is not in the repository: files of a reader, of a design, of CPython.
PLACEHOLDERS = {
    "prog.py",
    "NAME.py",
    "NAME.txt",
    "NAME.svg",
    "tests/programs/NAME.py",
    "sema.c",
    "Python/pystate.c",
}

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@dataclass
class Sample:
    """A program of the documentation."""

    page: Path
    line: int
    source: str
    output: str
    status: str
    env: dict[str, str]


def samples() -> Iterator[Sample]:
    for page in PAGES:
        text = page.read_text()
        for block in BLOCK.finditer(text):
            status, env = "0", {}
            for word in block[1].split():
                if word.startswith("exit="):
                    status = word.removeprefix("exit=")
                elif word.startswith("env:"):
                    name, _, value = word.removeprefix("env:").partition("=")
                    env[name] = value
                else:
                    raise ValueError(f"{page.name}: {word!r} is not a directive: exit=N or env:NAME=VALUE")
            line = text.count("\n", 0, block.start()) + 1
            yield Sample(page, line, block[2], block[3] or "", status, env)


SAMPLES = list(samples())


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.page.name}:{sample.line}")
def test_sample(sample: Sample) -> None:
    outcome = run_source(sample.source, env=sample.env)
    outcome.check(status=sample.status)
    difference = compare(sample.output, outcome.stdout + outcome.stderr)
    assert not difference, "\n".join(["- expected, + actual:", *difference])


def test_every_block_is_found() -> None:
    """A block whose fence the pattern does not see would never be run."""
    for page in PAGES:
        fences = page.read_text().count("```python")
        assert fences == sum(sample.page == page for sample in SAMPLES), page.name


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", LINKING, ids=page_id)
def test_links(page: Path) -> None:
    """Links within the repository lead to files, and to headings where they name one."""
    for target in LINK.findall(page.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target}: no such file"
        if anchor:
            headings = re.findall(r"^#+ +(.*)$", file.read_text(), re.MULTILINE)
            anchors = {
                re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
            }
            assert anchor in anchors, f"{target}: no such heading"


@pytest.fixture(scope="module")
def files() -> set[str]:
    """The paths of the repository's files, without what is built or installed beside them."""
    found = set()
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if not f.startswith((".", "build")) and f != "__pycache__"]
        found |= {"/" + str((Path(folder) / name).relative_to(ROOT)) for name in names}
    return found


@pytest.mark.parametrize("page", NAMING, ids=page_id)
def test_files_exist(page: Path, files: set[str]) -> None:
    """A file that a page names in backticks exists, by the end of its path; `*` stands for any text."""
    text = FENCED.sub("", page.read_text())
    words = {word for span in re.findall(r"`([^`\n]+)`", text) for word in span.split()}
    for name in sorted(words - PLACEHOLDERS):
        if FILE.fullmatch(name):
            pattern = re.compile(".*/" + ".*".join(map(re.escape, name.lstrip("/").split("*"))))
            assert any(map(pattern.fullmatch, files)), f"{name}: no such file"


def map_of_the_source() -> list[str]:
    """The parts of "The layers" in internals/README.md: the layers, the core's files, the Python modules."""
    text = (DOCS / "internals" / "README.md").read_text()
    return text.split("\n## The layers\n")[1].split("\n## ")[0].split("\n### ")


def test_map_of_the_core() -> None:
    """It has a row for each folder of src/_core, and a table for each with its files, every .c once."""
    core = ROOT / "src" / "_core"
    layers, files, _ = map_of_the_source()
    folders = sorted(path.name for path in core.iterdir() if path.is_dir())
    assert sorted(re.findall(r"^\| `(\w+)/` \|", layers, re.MULTILINE)) == folders
    table = r"^\| (?:`(\w+)/`|\(top\)) \|.*\n\|---\|---\|\n((?:\|.*\n)+)"
    tables = dict(re.findall(table, files, re.MULTILINE))
    assert sorted(tables) == ["", *folders]
    for folder, rows in tables.items():
        named = re.findall(r"`([\w*/]+\.[chS])`", rows)
        there = sorted(path.name for path in (core / folder).glob("*.c"))
        assert sorted(name for name in named if name.endswith(".c")) == there
        for name in named:
            assert list((core / folder).glob(name)), f"{folder}/{name}"


def test_map_of_the_package() -> None:
    """It names each module of src/gort once."""
    package = ROOT / "src" / "gort"
    there = sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py*"))
    named = re.findall(
        r"`([\w/]+\.pyi?)`", "".join(re.findall(r"^\|.*?\|", map_of_the_source()[2], re.MULTILINE))
    )
    assert sorted(named) == [name for name in there if name.endswith((".py", ".pyi"))]


def test_hard_program_is_an_example() -> None:
    """README shows examples/hello.py as it is."""
    assert (ROOT / "examples" / "hello.py").read_text() in README.read_text()


# -- commands ---------------------------------------------------------------------------------


def commands() -> list[list[str]]:
    """The commands of README: those of its blocks, and those in its text."""
    text = README.read_text()
    lines = [line for block in COMMANDS.findall(text) for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", FENCED.sub("", text).replace("\n", " "))
    lines += [span for span in spans if re.match(r"(make|gort|python3?|pip|bash) |\S+/", span)]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def make(*words: str) -> list[str]:
    """The lines that make would run."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@needs_make
@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_command_of_readme(words: list[str], tmp_path: Path) -> None:
    """It can be given as printed: it names targets, programs, files and options that exist."""
    match words:
        case ["make", *rest]:
            last = shlex.split(make(*rest)[-1])
            if len(scripts := [word for word in last if word.endswith(".py")]) == 1:
                assert (ROOT / scripts[0]).exists()
                options = [word for word in last if word.startswith("--")]
                if options:
                    shown = execute([sys.executable, str(ROOT / scripts[0]), "--help"]).stdout
                    assert not [option for option in options if option not in shown]
        case [".venv/bin/gort", "run", program]:
            assert make("build")  # that is what makes .venv
            execute([*command("gort"), str(ROOT / program)]).check(stdout="...")
        case ["gort", "run", "prog.py"] | ["python", "prog.py"]:
            first = next(sample for sample in SAMPLES if sample.page == README)
            (tmp_path / "prog.py").write_text(first.source)
            execute([*command(words[0]), str(tmp_path / "prog.py")]).check(stdout=first.output)
        case ["pip", "install", "."]:
            # It takes minutes. `make build` does the same in an environment of its own.
            with_venv = [line for line in make("build", "VENV=/nowhere") if " -m pip " in line]
            assert [shlex.split(line)[-2:] for line in with_venv] == [["install", "."]]
        case _:
            pytest.fail(f"{words}: say in this test how it can be tried")


def test_readme_has_commands() -> None:
    first = {words[0] for words in commands()}
    assert first == {"make", ".venv/bin/gort", "gort", "python", "pip"}
    assert ["make", "bench"] in commands()


def test_settings_of_readme() -> None:
    """What README says GODEBUG may be set to is there."""
    settings = re.findall(r"`(?:GODEBUG=)?(\w+)=\d`", README.read_text())
    assert set(settings) == {"gctrace", "efence", "clobberfree", "gccheckmark"}
    assert set(settings) <= {setting.name for setting in _env.TABLE if setting.built}


@needs_make
def test_hooks_are_those_of_lint(tmp_path: Path) -> None:
    """.pre-commit-config.yaml runs the commands that `make lint` runs when a gort is built.

    A hook is given the names of the files by pre-commit, and has a shell only as an argument.
    """
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert set(re.findall(r"- repo: (.*)", text)) == {"local"}
    hooks = re.findall(r"^ +entry: (.*)$", text, re.MULTILINE)
    (tmp_path / ".built").touch()
    lines = make("lint", f"VENV={tmp_path}", "PY=python3")
    lint = [
        line.replace(str(tmp_path), ".venv")
        for line in lines
        if not re.match(r"python3 -m venv|.* -m pip |touch ", line)
    ]
    assert all(line.startswith(("python3 ", ".venv/", ".venv-lint/")) for line in lint)
    expected = [re.sub(r" src/_core/.*", "", line) for line in lint]
    assert [shlex.split(hook)[-1] if hook.startswith("bash -c ") else hook for hook in hooks] == expected


@needs_make
def test_lint_leaves_nothing_out_when_gort_is_built(tmp_path: Path) -> None:
    """As in .ci/run, which builds it first and fails if that does."""
    (tmp_path / ".built").touch()
    lines = make("lint", f"VENV={tmp_path}")
    assert f".venv-lint/bin/python tools/check_stub.py {tmp_path}/bin/python" in lines
    assert f"{tmp_path}/bin/python tools/check_seams.py --require-compiler" in lines
    lanes = re.findall(r'^lane .*? make (\w+) PY="\$PY"$', (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert lanes[:2] == ["build", "lint"]


# -- tables -----------------------------------------------------------------------------------


def test_figures_of_memory() -> None:
    """memory_reference.md has each field of MemStats in its table, and no other."""
    section = PAGE_OF_FIGURES.read_text().split("\n## ")[1]
    assert section.startswith("MemStats\n")
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    documented = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(documented) == sorted(field.name for field in dataclasses.fields(MemStats))


def test_environment_variables() -> None:
    """environment.md has a row for each setting that `gort env` prints, with the same words."""
    rows = re.findall(
        r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) ?\|$", PAGE_OF_VARIABLES.read_text(), re.MULTILINE
    )
    documented = {name: (default, meaning, note.strip()) for name, default, meaning, note in rows}
    assert documented.keys() >= {setting.name for setting in _env.TABLE}
    for setting in _env.TABLE:
        default, meaning, note = documented[setting.name]
        assert meaning == setting.meaning
        assert note == ("" if setting.built else "not built yet"), setting.name
        if setting.name not in MACHINE_DEPENDENT:
            assert default == (f"`{setting.default}`" if setting.default else "empty"), setting.name


# -- pictures ---------------------------------------------------------------------------------


def test_pictures_are_drawn() -> None:
    """Drawing each description again gives the picture that is there, and some page shows it."""
    spec = importlib.util.spec_from_file_location("draw", DOCS / "img" / "draw.py")
    assert spec and spec.loader
    module = sys.modules["draw"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        descriptions = sorted((DOCS / "img").glob("*.txt"))
        assert descriptions
        for file in descriptions:
            assert module.draw(file.read_text()) == file.with_suffix(".svg").read_text(), file.name
            shown = f"img/{file.stem}.svg)"
            assert any(shown in page.read_text() for page in LINKING), file.name
    finally:
        del sys.modules["draw"]
