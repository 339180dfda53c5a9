"""The documentation's promises: its programs run and print what it says, its links lead somewhere.

A ```python block of README.md or docs/*.md is a whole program. A ```text block right after it is what the
program prints, standard output first and then standard error, in the notation of harness.compare; without one
the program prints nothing. Words after `python` are directives: `exit=2` the expected status,
`env:NAME=VALUE` a variable.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gort import _env
from harness import compare, run_source

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGE_OF_VARIABLES = ROOT / "docs" / "environment.md"
MACHINE_DEPENDENT = {"GOMAXPROCS", "GOARCH", "GOOS", "GOROOT"}
BLOCK = re.compile(r"^```python(.*)\n((?:.*\n)*?)```\n(?:\n*```text\n((?:.*\n)*?)```\n)?", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


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
                    raise ValueError(f"{page.name}: {word!r} is no directive: give exit=N or env:NAME=VALUE")
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
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


def test_first_program_is_an_example() -> None:
    """README shows examples/hello.py as it is."""
    assert (ROOT / "examples" / "hello.py").read_text() in (ROOT / "README.md").read_text()


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
