"""House words (docs/internals/words.md) in code, tests, tools and documentation, where a pattern can tell."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["src", "tests", "tools", "bench", "examples", "docs"]
SINGLE = ["README.md", "CHANGES.md", "CONTRIBUTING.md", "Makefile", ".ci/run", "meson.build"]
SUFFIXES = {".c", ".h", ".S", ".py", ".pyi", ".md", ".sh", ".go"}
EXEMPT = {ROOT / "docs" / "internals" / "words.md", Path(__file__).resolve()}

GAP = r"[\s*#]+"  # a line's end and a comment's margin included
NEGATED = re.compile(rf"\b(\w+){GAP}(?:is|are|was|were){GAP}no{GAP}(more{GAP}than|[a-z]+)")
COMPARED = re.compile(r"more\s.*|longer|less|fewer|better|worse|larger|smaller|different", re.DOTALL)
PHRASES = {
    "shall": r"\bshall\b",
    "no more (no longer)": rf"\b(?:does|exists?){GAP}no{GAP}more\b",
    "of before": rf"\bof{GAP}before\b",
    "as ever": rf"\bas{GAP}ever\b",
    "there and then": rf"\bthere{GAP}and{GAP}then\b",
    "worst of cases": rf"\bworst{GAP}of{GAP}cases\b",
}


def files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES)
    yield from (ROOT / name for name in SINGLE)


def misused(text: str) -> Iterator[tuple[int, str]]:
    """Where a house word is not kept, and which one."""
    for match in NEGATED.finditer(text):
        if match[1].lower() != "there" and not COMPARED.fullmatch(match[2]):
            yield match.start(), f"{match[0]!r}: is not a, no longer"
    for word, pattern in PHRASES.items():
        for match in re.finditer(pattern, text, re.IGNORECASE):
            yield match.start(), word


def test_house_words() -> None:
    faults = []
    for path in files():
        if path in EXEMPT:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for at, what in misused(text):
            faults.append(f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, at) + 1}: {what}")
    assert not faults, "see docs/internals/words.md:\n" + "\n".join(faults)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("the caller shall hold it", 1),
        ("/* x is no\n * module */", 1),
        ("# That is no longer so, there is no other, and it is no more than that.", 0),
        ("there are no more", 0),
        ("code that exists no more", 1),
        ("If there\nis no idle P", 0),
        ("those of before, as ever", 2),
    ],
)
def test_what_is_found(text: str, count: int) -> None:
    assert len(list(misused(text))) == count
