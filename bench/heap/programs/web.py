"""What a web application does to memory, without a network: requests and responses that refer to each other,
dicts of headers, JSON bodies, pages from templates, sessions that stay."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, quote

N = 24_000  # requests

PAGE = """<html><head><title>{title}</title></head>
<body><h1>Hello, {user}</h1><ul>{items}</ul><p>{count} of {total}</p></body></html>"""
ITEM = '<li><a href="/item/{id}">{name}</a> {price:.2f}</li>'


class Request:
    def __init__(self, head: str, body: bytes) -> None:
        first, *lines = head.split("\r\n")
        self.method, target, self.protocol = first.split(" ")
        self.path, _, query = target.partition("?")
        self.query = dict(parse_qsl(query))
        self.headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value
        self.body = body
        self.response: Response | None = None


class Response:
    def __init__(self, request: Request) -> None:
        self.request = request
        request.response = self
        self.status = 200
        self.headers = {"content-type": "text/html", "server": "bench"}
        self.parts: list[str] = []
        self.on_close = self.finish  # a bound method: another cycle

    def finish(self) -> bytes:
        body = "".join(self.parts).encode()
        self.headers["content-length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"HTTP/1.1 {self.status} OK\r\n{head}\r\n".encode() + body


class Application:
    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.items = [{"id": i, "name": f"item {i}", "price": i * 1.25} for i in range(200)]

    def page(self, request: Request, response: Response) -> None:
        user = request.query.get("user", "nobody")
        session = self.sessions.setdefault(user, {"seen": [], "count": 0})
        session["count"] += 1
        start = int(request.query.get("start", "0"))
        shown = self.items[start : start + 10]
        session["seen"] = [item["id"] for item in shown] + session["seen"][:20]
        response.parts.append(
            PAGE.format(
                title=request.path.title(),
                user=user,
                items="".join(ITEM.format(**item) for item in shown),
                count=len(shown),
                total=len(self.items),
            )
        )

    def store(self, request: Request, response: Response) -> None:
        document = json.loads(request.body)
        document["lines"] = [dict(line, sum=line["count"] * line["price"]) for line in document["lines"]]
        document["total"] = sum(line["sum"] for line in document["lines"])
        response.headers["content-type"] = "application/json"
        response.parts.append(json.dumps(document))

    def serve(self, head: str, body: bytes) -> bytes:
        request = Request(head, body)
        response = Response(request)
        (self.store if request.method == "POST" else self.page)(request, response)
        return response.on_close()


def arrive(i: int) -> tuple[str, bytes]:
    """The text of request number i."""
    body = b""
    if i % 3 == 0:
        lines = [{"item": k, "count": k + 1, "price": k * 1.5} for k in range(i % 8)]
        body = json.dumps({"order": i, "lines": lines}).encode()
    user = quote(f"user {i % 2000}")
    first = f"POST /orders/{i} HTTP/1.1" if body else f"GET /catalog?user={user}&start={i % 190} HTTP/1.1"
    names = {"Host": "example.org", "Accept": "*/*", "Cookie": f"id={i}", "Content-Length": len(body)}
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in names.items())]), body


def run(n: int) -> int:
    application = Application()
    return sum(len(application.serve(*arrive(i))) for i in range(n)) + len(application.sessions)
