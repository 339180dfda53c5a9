"""What the runners share: tables, progress, arguments."""

import argparse
import sys
from collections.abc import Callable


class Unavailable(Exception):
    """What cannot be had here, or a program that failed: the reason in one line."""


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: list[list[str]], markdown: bool) -> str:
    """Rows as aligned columns, the first row the headings; columns after the first are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("| " + " | ".join(cells) + " |" if markdown else "  ".join(cells).rstrip())
    rule = ["-" * width for width in widths]
    if markdown:
        lines.insert(1, "|" + "|".join([f" {rule[0]} "] + [f" {each[1:]}: " for each in rule[1:]]) + "|")
    else:
        lines.insert(1, "  ".join(rule))
    return "\n".join(lines)


def note(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def last_line(text: str) -> str:
    """The last line, without what a terminal would not print."""
    line = (text.strip().splitlines() or ["no message"])[-1]
    return "".join(filter(str.isprintable, line))


def names_of(known: list[str]) -> Callable[[str], list[str]]:
    """An argparse type: a comma-separated list of known names."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)
