"""Servers for tests of stored completions: a simulator with some in it, one that says what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from batchrun.chat.stamps import ROW, RUN

PATH = "/chat/completions"
Document = dict[str, Any]


QUICK = {"latency": {"kind": "constant", "seconds": 0}}
"""Options of a simulator that answers at once."""


def make(base_url: str, number: int = 1, *, model: str = "small", **metadata: str) -> list[str]:
    """Have the endpoint store some completions with this metadata; their ids, the oldest first."""
    return make_each(base_url, [(model, metadata)] * number)


def make_each(base_url: str, wanted: Iterable[tuple[str, dict[str, str]]]) -> list[str]:
    """Have it store one for each model and metadata; their ids."""
    found = []
    with httpx.Client(base_url=base_url, headers={"authorization": "Bearer made-up"}) as client:
        for count, (model, metadata) in enumerate(wanted):
            said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"ask {count}"}]
            body = {"model": model, "messages": said, "store": True, "metadata": metadata}
            found.append(client.post(PATH, json=body).raise_for_status().json()["id"])
    return found


def stamp(base_url: str, run_id: str, label: str = "row") -> None:
    """Mark what is stored with another `label` as of a run: the label's value is the row."""
    with httpx.Client(base_url=base_url, headers={"authorization": "Bearer made-up"}) as client:
        for one in client.get(PATH, params={"limit": 100}).raise_for_status().json()["data"]:
            if RUN not in one["metadata"] and label in one["metadata"]:
                pairs = {**one["metadata"], RUN: run_id, ROW: one["metadata"][label]}
                client.post(f"{PATH}/{one['id']}", json={"metadata": pairs}).raise_for_status()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a server received."""

    method: str
    path: str
    query: dict[str, str]


@dataclass(frozen=True, slots=True)
class Scripted:
    """A server, and what it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)


Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]
"""Status, body (bytes as they are, else JSON), headers."""


@contextmanager
def scripted(answer: Callable[[Asked], Answer]) -> Iterator[Scripted]:
    """A server that answers each request as `answer` says."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = urlsplit(self.path)
            asked = Asked(self.command, parts.path.removeprefix("/v1"), dict(parse_qsl(parts.query)))
            found.asked.append(asked)
            status, body, *headers = answer(asked)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - names of the standard library

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Scripted(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
