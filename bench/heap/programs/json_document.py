"""A document of nested objects to text and back."""

from __future__ import annotations

import json
from typing import Any

N = 16_000  # entries of the document


def entry(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "name": f"customer {i}",
        "tags": ["new", f"group-{i % 97}", None],
        "address": {
            "street": f"{i % 200} Main Street",
            "town": f"Town {i % 1000}",
            "position": [i * 0.25, -i],
        },
        "orders": [{"item": k, "price": k * 9.75, "paid": k % 2 == 0} for k in range(i % 5)],
    }


def run(n: int) -> int:
    document = {"version": 1, "entries": [entry(i) for i in range(n)]}
    text = ""
    for _ in range(3):
        text = json.dumps(document)
        document = json.loads(text)
    return len(text) + len(json.dumps(document, indent=1, sort_keys=True))
