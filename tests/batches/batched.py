"""Jobs that go by batches, for tests: a simulator in a process of its own, and what it has of batches."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from tests.runs import JobFolder, simulated

PRICES = {"local/small": {"input": 1.0, "output": 1.0}}
COST = {"input": 1.0, "output": 1.0}
QUICK = {"seconds": 0.05, "validating": 0.01}
BRIEF: dict[str, Any] = {"max_attempts": 3, "backoff": {"initial": 0.01, "max": 0.02}}
"""`retry` without waits."""

Change: TypeAlias = Callable[[str, str, int, bytes], tuple[int, bytes]]
"""What a provider says instead: of a method, a path, a status and a body, the status and the body."""


@contextmanager
def batched(
    folder: Path,
    *,
    rows: int,
    batches: Mapping[str, Any] | None = None,
    engine: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Iterator[JobFolder]:
    """A job of `rows` rows that go by batches, which are over at once unless `batches` says otherwise."""
    rules = {"cost": COST, "batches": {**QUICK, **(batches or {})}, **(config or {})}
    settings = {"kind": "provider_batch", "poll": 0.05, **(engine or {})}
    with simulated(
        folder, rows=rows, config=rules, **{"engine": settings, "prices": PRICES, **sections}
    ) as job:
        yield job


def base_url(job: JobFolder) -> str:
    return str(job.endpoint()["base_url"])


def provider_batches(job: JobFolder) -> list[dict[str, Any]]:
    """The batches that the simulator was given, newest first."""
    while True:
        with suppress(httpx.HTTPError, ValueError):  # a fault that was meant for the submit
            answer = httpx.get(f"{base_url(job)}/batches", params={"limit": 100}, trust_env=False)
            found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
            return found


def provider_files(job: JobFolder) -> list[dict[str, Any]]:
    """The files that it has, newest first."""
    answer = httpx.get(f"{base_url(job)}/files", params={"limit": 100}, trust_env=False)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
    return found


def lines_of(job: JobFolder, file_id: str) -> list[dict[str, Any]]:
    """The lines of one of its files."""
    answer = httpx.get(f"{base_url(job)}/files/{file_id}/content", trust_env=False)
    return [json.loads(line) for line in answer.raise_for_status().text.splitlines()]


@contextmanager
def altered(job: JobFolder, change: Change) -> Iterator[None]:
    """The job asks a server that hands all on to its simulator; the answers are as `change` leaves them."""
    target = base_url(job).removesuffix("/v1")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def hand_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            sent = {name: self.headers[name] for name in ("content-type",) if name in self.headers}
            url = f"{target}{self.path}"
            found = httpx.request(self.command, url, content=body, headers=sent, trust_env=False)
            status, data = change(self.command, self.path, found.status_code, found.content)
            with suppress(OSError):
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def do_GET(self) -> None:
            self.hand_on()

        do_POST = do_DELETE = do_GET  # noqa: N815 - as http.server calls them

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    before = job.endpoint()
    job.edit(endpoints={"local": {"base_url": f"http://127.0.0.1:{server.server_address[1]}/v1"}})
    try:
        yield
    finally:
        job.edit(endpoints={"local": before})
        server.shutdown()
        server.server_close()
        thread.join()
