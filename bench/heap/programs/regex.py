"""Regular expressions over log lines and markup."""

from __future__ import annotations

import re

N = 25_000  # lines

LINE = re.compile(
    r'(?P<host>\S+) \[(?P<time>[^\]]+)\] "(?P<verb>[A-Z]+) (?P<path>[^" ]+)" (?P<status>\d{3}) (\d+)'
)
TAG = re.compile(r"<(/?)(\w+)((?:\s+\w+=\"[^\"]*\")*)\s*>")
PAIR = re.compile(r"(\w+)=\"([^\"]*)\"")
WORDS = re.compile(r"[\s,;.]+")


def run(n: int) -> int:
    total = 0
    for i in range(n):
        line = f'10.0.{i % 256}.{i % 199} [24/Nov:{i:05}] "GET /a/{i}/b?c={i % 7}" {200 + i % 5} {i * 37}'
        match = LINE.match(line)
        assert match
        total += int(match["status"]) + len(match.groupdict()["path"])
        page = f'<p class="c{i % 9}">text {i}, more; text. <a href="/x/{i}" id="n{i}">here</a></p>' * 2
        for tag in TAG.finditer(page):
            total += len(tag[2]) + sum(len(value) for _, value in PAIR.findall(tag[3]))
        total += len(TAG.sub(lambda found: found[1] + found[2], page)) + len(WORDS.split(page))
        total += len(re.sub(r"\d+", "#", line))
    return total
