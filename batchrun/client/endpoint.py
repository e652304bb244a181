"""One attempt at one endpoint: `POST {base_url}/chat/completions`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from batchrun.client.body import MAX_BODY, Body, BodyMemory, beginning, whole
from batchrun.client.keys import CommandKey
from batchrun.client.packed import unpacked
from batchrun.client.server import Server
from batchrun.client.streamed import StreamedAnswer, event_stream
from batchrun.client.timeouts import Timeouts
from batchrun.client.transport import CallError, LateError, Transport
from batchrun.outcome import Exchange, NoResponse, Response

if TYPE_CHECKING:
    import httpx

_STREAM = b'"stream":'


class Client:
    """Makes calls to one endpoint.

    `base_url` is the endpoint's address without `/chat/completions`; a query in it is kept, a
    user and password in it become Basic authorization unless `headers` carry one. Nothing
    follows a redirect, so `headers` (the key among them) go to `base_url` alone. Neither they
    nor the query show in a message or in the repr. A bearer key, a password and each of `secrets` of
    at least 8 characters is hidden where an answer, its headers or an error quotes it. `key`, where it is
    given, is sent in its header, and renewed when the server refuses it. `memory` is for the answers
    being read, where several clients share it.

    Raises UsageError when the address or a header cannot be sent.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        transport: Transport | httpx.AsyncBaseTransport,
        secrets: Collection[str] = (),
        key: CommandKey | None = None,
        max_body: int = MAX_BODY,
        memory: BodyMemory | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = Server(base_url, headers=headers, secrets=secrets, key=key)
        self._url = self._server.url("/chat/completions")
        self._key = key
        self._timeouts = timeouts
        self._transport = transport if isinstance(transport, Transport) else adapted(transport, timeouts)
        self._max_body = max_body
        self._memory = memory or BodyMemory()
        self._clock = clock

    def __repr__(self) -> str:
        return f"Client({self._url.partition('?')[0]!r})"

    @property
    def has_spare(self) -> bool:
        """Never: it is one server."""
        return False

    async def call(self, body: bytes, *, timeout: float | None = None) -> Exchange:
        """Send `body`, a JSON document, once, and read the whole answer.

        A streamed one is accumulated: the response's body is the document that the server would have
        sent unstreamed. A stream that ends before its answer is whole is `NoResponse`.

        `timeout` (seconds: what is left of the row's time) caps the total timeout further.
        `NoResponse.sent` is False only when it is certain that nothing reached the server. An
        answer of more than `max_body` bytes, decompressed, ends as `NoResponse`; of one that is no success
        only the beginning is read.

        When a key that a command gives is refused (401), the command is run within what is left of the time,
        and `Response.renewed` says that there is another key to try. The repetition is a call of its own: it
        is counted, paced and paid like any other.
        """
        total = self._timeouts.total if timeout is None else min(timeout, self._timeouts.total)
        started = self._clock()
        if total <= 0:
            return NoResponse(
                "timeout", self._message("no time was left", sent=False), sent=False, latency=0.0
            )
        number = self._key.number if self._key else 0
        exchange: Exchange
        try:
            exchange = await self._exchange(body, total, started)
        except CallError as error:
            exchange = self._unanswered(error, total, self._clock() - started)
        if self._key and isinstance(exchange, Response) and exchange.status == 401:
            with anyio.move_on_after(total - (self._clock() - started)):
                return replace(exchange, renewed=await self._key.renew(number))
        return exchange

    def hide_text(self, text: str) -> str:
        """`text` without the keys, passwords and secrets that are sent."""
        return self._server.hide_text(text)

    async def aclose(self) -> None:
        """Close the transport and its connections."""
        await self._transport.aclose()

    async def _exchange(self, body: bytes, total: float, started: float) -> Response:
        asked = _asks_for_stream(body)
        answer = await self._transport.send(self._url, self._server.headers, body, total, at_once=asked)
        chunks = unpacked(answer, answer.headers)
        arriving = Body(chunks, self._memory, self._max_body, lambda: total - (self._clock() - started))
        try:
            received = self._server.hide_in(answer.headers)
            streams, chunks = await event_stream(answer.status, received, arriving, asked=asked)
            ttft = None
            if streams:
                streamed = StreamedAnswer(self._clock)
                text = await streamed.read(chunks)
                ttft = None if streamed.started is None else streamed.started - started
                latency = streamed.ended - started
            else:
                text = await whole(chunks if 200 <= answer.status < 300 else beginning(chunks))
                latency = self._clock() - started
            return Response(answer.status, received, self._server.hide(text), latency, ttft)
        finally:
            arriving.release()
            await answer.aclose()

    def _unanswered(self, error: CallError, total: float, latency: float) -> NoResponse:
        after = f", after {error.arrived}" if error.arrived else ""
        if isinstance(error, LateError):
            reason = self._which_timeout(error, total, latency) + after
            return NoResponse("timeout", self._message(reason, sent=error.sent), error.sent, latency)
        return NoResponse(
            "connection", self._message(f"{error}{after}", sent=error.sent), error.sent, latency
        )

    def _which_timeout(self, error: LateError, total: float, latency: float) -> str:
        if latency >= total:
            return f"no whole answer within {total:g} s (total timeout)"
        if not error.sent:
            return f"no connection within {min(self._timeouts.connect, self._timeouts.idle):g} s"
        return f"not a byte for {self._timeouts.idle:g} s (idle timeout)"

    def _message(self, reason: str, *, sent: bool) -> str:
        return self._server.message(f"POST {self._url}", reason, sent=sent)


def adapted(transport: httpx.AsyncBaseTransport, timeouts: Timeouts) -> Transport:
    """A transport of httpx's as ours."""
    from batchrun.client.over_httpx import HttpxTransport  # only who uses it pays for its import

    return HttpxTransport(transport, timeouts)


def _asks_for_stream(body: bytes) -> bool:
    """Whether a request has `stream: true`. Not in a text: there the quotes would be escaped."""
    at = body.rfind(_STREAM)  # three times as fast as `in`, which it would have to be asked twice
    while at >= 0:
        if body.startswith((b"true", b" true"), at + len(_STREAM)):
            return True
        at = body.rfind(_STREAM, 0, at)
    return False
