"""An endpoint, and a proxy, that quotes the secret it is sent, in all places and spellings.

The prompt of a row (`write_rows`) names the place and the spelling; the model's name may ask for an ending.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.runs import row_of
from tests.spellings import SPELLINGS


@dataclass(frozen=True, slots=True)
class Said:
    """An answer to be written; without a length it is streamed."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def _completion(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    return {"id": "c-1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}


def _json(document: Any, status: int = 200, **headers: str) -> Said:
    return Said(status, json.dumps(document).encode(), headers=headers)


def _streamed(spelled: str) -> Said:
    pieces = [spelled[at : at + 3] for at in range(0, len(spelled), 3)]
    chunks = [{"id": "c", "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks.append({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return Said(200, "".join([*events, "data: [DONE]\n\n"]).encode(), "text/event-stream")


def _failing_stream(spelled: str) -> Said:
    event = {"error": {"message": f"no {spelled}", "code": 400}}
    return Said(200, f"data: {json.dumps(event)}\n\n".encode(), "text/event-stream")


def _called(spelled: str) -> Said:
    function = {"name": "look", "arguments": json.dumps({"key": spelled})}
    return _json(
        _completion(content=None, tool_calls=[{"id": "t", "type": "function", "function": function}])
    )


def _header(spelled: str) -> str:
    return spelled.encode("ascii", errors="replace").decode().replace("\n", " ")


PLACES: dict[str, Callable[[str], Said]] = {
    "the completion": lambda spelled: _json(_completion(content=f"It is {spelled}, isn't it?")),
    "the refusal": lambda spelled: _json(_completion(content=None, refusal=spelled)),
    "the reasoning": lambda spelled: _json(_completion(content="yes", reasoning_content=spelled)),
    "a tool's arguments": _called,
    "ids and names": lambda spelled: _json(
        {**_completion(content="yes"), "id": spelled, "model": spelled, "system_fingerprint": spelled}
    ),
    "a member's name": lambda spelled: _json({**_completion(content="yes"), spelled: 1}),
    "a stream in small pieces": _streamed,
    "an error in a stream": _failing_stream,
    "an error": lambda spelled: _json(
        {"error": {"message": f"Incorrect: {spelled}", "code": spelled, "metadata": {"raw": spelled}}}, 400
    ),
    "an error in a 200": lambda spelled: _json({"error": {"message": spelled, "type": spelled}}),
    "a text": lambda spelled: Said(400, f"bad key {spelled}".encode(), "text/plain"),
    "a page": lambda spelled: Said(502, f"<html><h1>{spelled}</h1>".encode(), "text/html"),
    "no answer": lambda spelled: Said(200, f'{{"choices": {spelled}'.encode()),
    "headers": lambda spelled: _json(
        _completion(content="yes"),
        200,
        **{"x-request-id": _header(spelled), "openai-model": _header(spelled)},
    ),
}

CASES = [(place, spelling) for place in PLACES for spelling in SPELLINGS]
"""What the row of each number gets."""


class Echo(ThreadingHTTPServer):
    """The server. `sent` holds the secrets that it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent: set[str] = set()
        self.calls = 0

    def handle_error(self, *_: object) -> None:
        """A client that is killed closes its connections: nothing to say."""

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Echo

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.calls += 1
        secret = self._secret()
        prompt = next(m["content"] for m in request["messages"] if m["role"] == "user")
        self._say(_answer(request, row_of(prompt), secret))

    def _secret(self) -> str:
        """The one secret among the headers."""
        secrets = [self.headers["authorization"], self.headers["x-team"], self.headers["proxy-authorization"]]
        scheme, _, secret = next((text for text in secrets if text), " ").partition(" ")
        if scheme == "Basic":
            secret = base64.b64decode(secret).decode().partition(":")[2]
        self.server.sent.add(secret)
        return secret

    def _say(self, said: Said) -> None:
        self.send_response(said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        self.send_header("content-type", said.content_type)
        self.send_header("content-length", str(len(said.body)))
        self.end_headers()
        self.wfile.write(said.body)


def _answer(request: dict[str, Any], row: int, secret: str) -> Said:
    place, spelling = CASES[row % len(CASES)]
    spelled = SPELLINGS[spelling](secret)
    asked = request["model"]
    if asked == "refusing":
        return _json({"error": {"message": f"Incorrect API key: {spelled}", "code": "invalid_api_key"}}, 401)
    if asked == "moved":
        return Said(
            308, spelled.encode(), headers={"location": f"https://x.invalid/{_header(spelled)}?k={secret}"}
        )
    if asked == "calling":
        if request["messages"][-1]["role"] == "tool":
            return _json(_completion(content=request["messages"][-1]["content"]))
        function = {"name": "look", "arguments": "{}"}
        return _json(
            _completion(content=None, tool_calls=[{"id": "t", "type": "function", "function": function}])
        )
    return PLACES[place](spelled)


@contextmanager
def echoing() -> Iterator[Echo]:
    """The server, on a port of its own."""
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
