"""A server that stores completions and loses their answers as it is told: for what no simulator should do.

with shelf(["dies", "stored"]) as (server, job):
    job(folder, rows=2).submit_here()
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from tests.runs import JobFolder, write_rows

Act: TypeAlias = int | str
"""What is done with a call:

stored: answered and kept; cut: the same, but at its token limit, a minute ago; dies: kept, and the connection
is closed; lost: closed, and nothing is kept; a status of a gateway that lost sight (408, 502, 504): kept, and
answered so; another status: answered so.
"""

Look: TypeAlias = int | str | bytes
"""How the listing is answered: a status, `dies`, a body in its place, `listed`, or `hangs`: not at all."""

_BEHIND_GATEWAY = (408, 502, 504)


@dataclass
class Shelf:
    """What the server has seen and keeps. Calls beyond `acts` are `stored`."""

    acts: list[Act]
    look: Look
    filtered: bool
    bodies: list[dict[str, Any]] = field(default_factory=list)
    looks: list[dict[str, str]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    """Until then a listing that hangs does so."""

    def call(self, body: dict[str, Any]) -> tuple[int, bytes] | None:
        """Status and body of the answer to a call; None: there is none."""
        with self.lock:
            self.bodies.append(body)
            number = len(self.bodies)
            act = self.acts[number - 1] if number <= len(self.acts) else "stored"
            found = _completion(body, number, cut=act == "cut")
            if act in ("stored", "cut", "dies", *_BEHIND_GATEWAY):
                self.kept.append({**found, "metadata": body.get("metadata")})
        if isinstance(act, int):
            return act, b'{"error": {"message": "no luck"}}'
        return (200, json.dumps(found).encode()) if act in ("stored", "cut") else None

    def list(self, query: dict[str, str]) -> tuple[int, bytes] | None:
        """The same for the listing."""
        with self.lock:
            self.looks.append(query)
        if self.look == "hangs":
            self.over.wait(60)
            return None
        with self.lock:
            if self.look == "dies":
                return None
            if isinstance(self.look, int):
                return self.look, b"{}"
            if isinstance(self.look, bytes):
                return 200, self.look
            wanted = {key[9:-1]: text for key, text in query.items() if key.startswith("metadata[")}
            fits = [
                one for one in self.kept if not self.filtered or wanted.items() <= one["metadata"].items()
            ]
            return 200, json.dumps({"object": "list", "data": fits[::-1], "has_more": False}).encode()


def _completion(body: dict[str, Any], number: int, *, cut: bool) -> dict[str, Any]:
    message = {"role": "assistant", "content": f"to {body['messages'][-1]['content']}"}
    return {
        "id": f"c{number}",
        "object": "chat.completion",
        "created": int(time.time()) - 60 * cut,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }


@contextmanager
def shelf(
    acts: Sequence[Act], *, look: Look = "listed", filtered: bool = True
) -> Iterator[tuple[Shelf, Callable[..., JobFolder]]]:
    """The server, and what makes a job that asks it; not `filtered`: each listing has all that is kept."""
    found = Shelf(list(acts), look, filtered)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def job(folder: Path, rows: int = 1, **sections: Any) -> JobFolder:
        made = JobFolder(folder)
        write_rows(made.rows, rows)
        request = {"max_completion_tokens": 20, "store": True}
        retry = {"max_attempts": 4, "backoff": {"initial": 0.01, "max": 0.01}}
        base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        made.write(base_url, **{"request": request, "retry": retry, **sections})
        return made

    try:
        yield found, job
    finally:
        found.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(shelf: Shelf) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self._tell(shelf.call(body))

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            assert address.path == "/v1/chat/completions", self.path
            self._tell(shelf.list(dict(parse_qsl(address.query))))

        def _tell(self, answer: tuple[int, bytes] | None) -> None:
            self.close_connection = answer is None
            if answer is None:
                return
            with suppress(OSError):
                self.send_response(answer[0])  # which says what time it is, too
                self.send_header("content-length", str(len(answer[1])))
                self.end_headers()
                self.wfile.write(answer[1])

        def log_message(self, *_: object) -> None: ...

    return Handler
