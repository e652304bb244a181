"""The lines of batch files: a request goes out, an answer or an error comes back (OpenAI, Batch API)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batchrun import codec
from batchrun.outcome import Exchange, NoResponse, Response
from batchrun.value import value

URL = "/v1/chat/completions"
"""What the requests of a batch ask for, whatever the endpoint's own address."""

_STREAMS = re.compile(rb'"stream(_options)?":')
_NOT_IN_BATCHES = ("stream", "stream_options")

_NOT_BEGUN = ("batch_expired", "batch_cancelled")
"""Codes of requests that the provider has not worked on, and does not bill."""


@value(frozen=True, slots=True)
class Line:
    """What came back for one request; `exchange` without its time."""

    custom_id: str
    exchange: Exchange


def custom_id(task: int, call: int, request_hash: str) -> str:
    """The name of a request, which no other one of the run has: whose it is, which call, what is asked."""
    return f"{task}-{call}-{request_hash[:32]}"


def request_line(name: str, body: bytes) -> bytes:
    """A request as a line. `body` is JSON on one line; a batch streams nothing."""
    if _STREAMS.search(body):
        document = codec.loads(body)
        body = codec.dumps({key: item for key, item in document.items() if key not in _NOT_IN_BATCHES})
    return b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}\n' % (name.encode(), URL.encode(), body)


def read_line(line: bytes, latency: float) -> Line | None:
    """What a line of an output file or an error file says; None where it is none.

    `latency` in seconds: what the batch took. A request that was not begun before its batch ended is an
    `NoResponse` that was never sent.
    """
    name, document = named(line)
    return None if name is None else Line(name, _exchange(document, latency))


def named(line: bytes) -> tuple[str | None, dict[str, Any]]:
    """A line's `custom_id`, None where it has none, and its document."""
    try:
        document = codec.loads(line)
    except ValueError:
        return None, {}
    name = document.get("custom_id") if isinstance(document, dict) else None
    return name if isinstance(name, str) else None, document


def is_begun(document: Mapping[str, Any]) -> bool:
    """Whether the line's request was worked on before its batch ended."""
    error = document.get("error")
    return not isinstance(error, dict) or error.get("code") not in _NOT_BEGUN


def refused(error: Mapping[str, Any]) -> Exchange:
    """What a provider says of a line for which it does not take a whole file, as an answer to it."""
    said = {"message": error.get("message"), "code": error.get("code"), "type": "invalid_request_error"}
    return Response(400, {}, codec.dumps({"error": said}), 0.0)


def _exchange(document: dict[str, Any], latency: float) -> Exchange:
    response, error = document.get("response"), document.get("error")
    if isinstance(response, dict) and (status := _status(response.get("status_code"))):
        request_id = response.get("request_id")
        headers = {"x-request-id": request_id} if isinstance(request_id, str) else {}
        return Response(status, headers, _body(response.get("body")), latency)
    if not is_begun(document):
        why = "expired" if document["error"]["code"] == "batch_expired" else "was cancelled"
        message = f"the batch {why} before this request was answered"
        return NoResponse("timeout", message, sent=False, latency=latency)
    return Response(
        500, {}, codec.dumps({"error": error or {"message": "a line without an answer"}}), latency
    )


def _status(told: Any) -> int | None:
    """A status as HTTP has them; None for anything else."""
    return told if type(told) is int and 100 <= told <= 599 else None


def _body(body: Any) -> bytes:
    return body.encode(errors="replace") if isinstance(body, str) else codec.dumps(body)
