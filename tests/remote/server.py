"""An S3 server in a process of its own, and what stands between it and us."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["refused", "lost", "reset", "away", "denied"]
"""503; done but the answer never arrives; never arrives itself; nobody there at all; 403."""


@contextmanager
def s3_server() -> Iterator[str]:
    """Its URL, while it runs on a port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < end, "moto's server did not start"
            assert process.poll() is None, "moto's server ended"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def make_bucket(server: str, name: str) -> None:
    """Make an empty bucket."""
    link = HTTPConnection(urlsplit(server).netloc, timeout=10)
    link.request("PUT", f"/{name}")
    assert link.getresponse().status == 200
    link.close()


@dataclass
class Between:
    """What stands between batchrun and the server: `fault` says what becomes of a request, None: it passes.

    `seen` are the methods and paths of all requests that came.
    """

    url: str
    fault: Callable[[str, str], Fault | None] = lambda _method, _path: None
    seen: list[tuple[str, str]] = field(default_factory=list)
    faults: int = 0
    hidden: frozenset[str] = frozenset()
    """Headers, in small letters, that the server does not get to see."""


@contextmanager
def between(server: str) -> Iterator[Between]:
    """A proxy in front of `server`, with faults."""
    target = urlsplit(server).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            found.seen.append((self.command, self.path))
            fault = found.fault(self.command, self.path)
            found.faults += fault is not None
            if fault in ("reset", "away"):
                self._cut()
                return
            if fault in ("refused", "denied"):
                self._answer(503 if fault == "refused" else 403, {}, b"")
                return
            link = HTTPConnection(target, timeout=30)
            # with the very headers: the host is part of what is signed
            link.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in found.hidden:
                    link.putheader(name, value)
            link.endheaders(body)
            answer = link.getresponse()
            data = answer.read()
            if fault == "lost":
                self._cut()
            else:
                self._answer(answer.status, dict(answer.getheaders()), data)
            link.close()

        def _cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                with suppress(OSError):
                    self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass  # noqa: N815 - the base class names them

        def log_message(self, format: str, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None: ...

    http = Server(("127.0.0.1", 0), Handler)
    found = Between(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=lambda: http.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
