"""What is sent for a call, with its status line and headers, and what is billed for it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from batchrun.codec import dumps
from batchrun.simulator.faults import name_of, spoil, spoil_body
from batchrun.simulator.ledger import Answer
from batchrun.simulator.limits.headers import PASSED_ON
from batchrun.simulator.limits.rules import HintForm, Limits
from batchrun.simulator.reading.request import ChatRequest
from batchrun.simulator.refusal import Refusal, of_status
from batchrun.simulator.replying.stream import events
from batchrun.simulator.rules import Fault, StatusFault

_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer, ready to be sent."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False
    """The body is already cut into HTTP chunks."""
    retry_after: float | None = None
    """Seconds; as in the headers."""

    def head(self, request_id: str, limits: Mapping[str, str], *, keep_alive: bool) -> bytes:
        """Status line and headers."""
        length = {"transfer-encoding": "chunked"} if self.chunked else {"content-length": str(len(self.body))}
        closing = {} if keep_alive else {"connection": "close"}
        own = {"content-type": self.content_type, **length, "x-request-id": request_id, **closing}
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Unassigned')}"]
        lines += [f"{name}: {value}" for name, value in {**own, **limits, **self.headers}.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def refused(refusal: Refusal, limits: Limits | None = None, wall: float = 0.0) -> HttpAnswer:
    """An error as its answer; a wait is told as `limits` say, by default in seconds and in milliseconds.

    `wall`: seconds since the epoch.
    """
    wait = refusal.retry_after
    headers = {} if wait is None else _told(wait, "header" if limits is None else limits.retry_after, wall)
    if limits is not None and limits.headers == "litellm":
        headers = {f"{PASSED_ON}{name}": value for name, value in headers.items()}
    return HttpAnswer(refusal.status, refusal.body(), headers=headers, retry_after=wait)


def _told(wait: float, form: HintForm, wall: float) -> dict[str, str]:
    """The headers that tell a wait, rounded up."""
    match form:
        case "header":
            return {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))}
        case "date":
            return {"retry-after": formatdate(math.ceil(wall + wait), usegmt=True)}
        case "ms":
            return {"retry-after-ms": str(math.ceil(wait * 1000))}
        case _:
            return {}


def injected(fault: StatusFault) -> HttpAnswer:
    """The answer that a fault puts in place of a completion."""
    wait = fault.retry_after
    headers = {} if wait is None else {"retry-after": f"{wait:.15g}"}
    if fault.raw_body is None:
        body = of_status(fault.status, fault.message, fault.type, fault.code).body()
    else:
        body = fault.raw_body.encode()
    return HttpAnswer(
        fault.status, body, fault.content_type, headers={**headers, **fault.headers}, retry_after=wait
    )


def completed(request: ChatRequest, completion: dict[str, Any], fault: Fault | None) -> HttpAnswer:
    """A completion, spoiled where the fault says so, as one JSON object or as events."""
    spoiled = spoil(completion, fault)
    if not request.stream:
        return HttpAnswer(200, spoil_body(dumps(spoiled), fault))
    text = spoil_body(b"".join(events(spoiled, include_usage=request.include_usage, fault=fault)), fault)
    return HttpAnswer(200, _chunked(text), "text/event-stream", {"cache-control": "no-cache"}, chunked=True)


def _chunked(data: bytes) -> bytes:
    """`data` as one chunk and the last, RFC 9112 section 7.1: chunks mean nothing to the events inside."""
    return (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n"


def model_list(models: Sequence[str], created: int) -> HttpAnswer:
    """The answer to GET /v1/models."""
    data = [{"id": m, "object": "model", "created": created, "owned_by": "simulator"} for m in models]
    return HttpAnswer(200, dumps({"object": "list", "data": data}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a call, and what is billed for it."""

    answer: HttpAnswer
    fault: Fault | None = None
    billed: bool = False
    usage: Mapping[str, Any] | None = None
    """Of what is billed."""
    cost_usd: float | None = None

    def note(self) -> Answer:
        """What the ledger says of it before any of it has left."""
        usage = self.usage
        return Answer(
            at=time.time(),
            status=None,
            delivered=False,
            billed=self.billed,
            retry_after=self.answer.retry_after,
            fault=name_of(self.fault),
            completion_tokens=usage["completion_tokens"] if usage else 0,
            prompt_tokens=usage["prompt_tokens"] if usage else 0,
            cached_tokens=usage["prompt_tokens_details"]["cached_tokens"] if usage else 0,
            cost_usd=self.cost_usd,
        )
