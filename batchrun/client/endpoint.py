"""One attempt at one endpoint: `POST {base_url}/chat/completions`."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import anyio

from batchrun.client.body import MAX_BODY, Body, BodyMemory, beginning, whole
from batchrun.client.hiding import Hidden, keys_in
from batchrun.client.keys import CommandKey
from batchrun.client.packed import unpacked
from batchrun.client.streamed import StreamedAnswer, event_stream
from batchrun.client.timeouts import Timeouts
from batchrun.client.transport import CallError, LateError, Transport
from batchrun.errors import UsageError
from batchrun.outcome import Exchange, Reply, Unanswered

if TYPE_CHECKING:
    import httpx

_DEFAULT_HEADERS = {
    "accept": "application/json",
    "content-type": "application/json",
    "user-agent": "batchrun",
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\t -~]*")  # RFC 9110, 5.5, without its obsolete bytes
_STREAM = b'"stream":'
_USERINFO = re.compile(r"(\w+://)[^/@\s]*@")
_QUERY = re.compile(r"(\w+://[^?#\s]*)[?#][^\s)]*")


class Client:
    """Makes calls to one endpoint.

    `base_url` is the endpoint's address without `/chat/completions`; a query in it is kept, a
    user and password in it become Basic authorization unless `headers` carry one. Nothing
    follows a redirect, so `headers` (the key among them) go to `base_url` alone. Neither they
    nor the query show in a message or in the repr. A key, a password and each of `secrets` of
    at least 8 characters is hidden where an answer, its headers or an error quotes it. `key`, where it is
    given, is sent as the bearer token, and renewed when the server refuses it. `memory` is for the answers
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
        self._url, userinfo = _completions_url(base_url)
        self._where = self._url.partition("?")[0]
        self._headers = _checked(headers, self._where)
        if userinfo:  # RFC 7617, 2
            self._headers.setdefault("authorization", "Basic " + base64.b64encode(userinfo.encode()).decode())
        self._hidden = Hidden([*secrets, *keys_in(self._headers)])
        self._key = key
        self._timeouts = timeouts
        self._transport = transport if isinstance(transport, Transport) else _adapted(transport, timeouts)
        self._max_body = max_body
        self._memory = memory or BodyMemory()
        self._clock = clock

    def __repr__(self) -> str:
        return f"Client({self._where!r})"

    @property
    def has_spare(self) -> bool:
        """Never: it is one server."""
        return False

    async def call(self, body: bytes, *, timeout: float | None = None) -> Exchange:
        """Send `body`, a JSON document, once, and read the whole answer.

        A streamed one is accumulated: the reply's body is the document that the server would have
        sent unstreamed. A stream that ends before its answer is whole is `Unanswered`.

        `timeout` (seconds: what is left of the row's time) caps the total timeout further.
        `Unanswered.sent` is False only when it is certain that nothing reached the server. An
        answer of more than `max_body` bytes, decompressed, ends as `Unanswered`; of one that is no success
        only the beginning is read.

        When a key that a command gives is refused (401), the command is run within what is left of the time,
        and `Reply.renewed` says that there is another key to try. The repetition is a call of its own: it
        is counted, paced and paid like any other.
        """
        total = self._timeouts.total if timeout is None else min(timeout, self._timeouts.total)
        started = self._clock()
        if total <= 0:
            return Unanswered(
                "timeout", self._message("no time was left", sent=False), sent=False, latency=0.0
            )
        number = self._key.number if self._key else 0
        exchange: Exchange
        try:
            exchange = await self._exchange(body, total, started)
        except CallError as error:
            exchange = self._unanswered(error, total, self._clock() - started)
        if self._key and isinstance(exchange, Reply) and exchange.status == 401:
            with anyio.move_on_after(total - (self._clock() - started)):
                return replace(exchange, renewed=await self._key.renew(number))
        return exchange

    def hide_text(self, text: str) -> str:
        """`text` without the keys, passwords and secrets that are sent."""
        return self._hide(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")

    async def aclose(self) -> None:
        """Close the transport and its connections."""
        await self._transport.aclose()

    async def _exchange(self, body: bytes, total: float, started: float) -> Reply:
        asked = _asks_for_stream(body)
        headers = {**self._headers, "authorization": self._key.authorization} if self._key else self._headers
        answer = await self._transport.send(self._url, headers, body, total, at_once=asked)
        chunks = unpacked(answer, answer.headers)
        arriving = Body(chunks, self._memory, self._max_body, lambda: total - (self._clock() - started))
        try:
            received = self._hide_in(answer.headers)
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
            return Reply(answer.status, received, self._hide(text), latency, ttft)
        finally:
            arriving.release()
            await answer.aclose()

    def _hide(self, body: bytes) -> bytes:
        body = self._hidden.hide(body)
        return self._key.hidden.hide(body) if self._key else body

    def _hide_in(self, headers: dict[str, str]) -> dict[str, str]:
        together = "\n".join(headers.values()).encode()
        if self._hide(together) is together:  # nearly always, and much faster than one by one
            return headers
        return {name: self._hide(value.encode()).decode() for name, value in headers.items()}

    def _unanswered(self, error: CallError, total: float, latency: float) -> Unanswered:
        after = f", after {error.arrived}" if error.arrived else ""
        if isinstance(error, LateError):
            reason = self._which_timeout(error, total, latency) + after
            return Unanswered("timeout", self._message(reason, sent=error.sent), error.sent, latency)
        return Unanswered(
            "connection", self._message(f"{error}{after}", sent=error.sent), error.sent, latency
        )

    def _which_timeout(self, error: LateError, total: float, latency: float) -> str:
        if latency >= total:
            return f"no whole answer within {total:g} s (total timeout)"
        if not error.sent:
            return f"no connection within {min(self._timeouts.connect, self._timeouts.idle):g} s"
        return f"not a byte for {self._timeouts.idle:g} s (idle timeout)"

    def _message(self, reason: str, *, sent: bool) -> str:
        fate = "the request had been sent" if sent else "nothing was sent"
        reason = self._hide(_without_secrets(reason).encode(errors="replace")).decode()
        return f"POST {self._where}: {reason}; {fate}{_advice(reason)}"


def _adapted(transport: httpx.AsyncBaseTransport, timeouts: Timeouts) -> Transport:
    from batchrun.client.over_httpx import HttpxTransport  # only who uses it pays for its import

    return HttpxTransport(transport, timeouts)


def _completions_url(base_url: str) -> tuple[str, str]:
    """Where calls go, and `USER:PASSWORD` of the address, if it has them."""
    try:
        url = urlsplit(base_url)
        is_one = url.scheme in ("http", "https") and bool(url.hostname) and base_url.isprintable()
    except ValueError:
        is_one = False
    if not is_one:
        raise UsageError(
            f"base_url {_without_secrets(base_url)!r}: not the address of an endpoint",
            hint="Write it as https://HOST/v1, without /chat/completions.",
        )
    userinfo, _, host = url.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    url = url._replace(netloc=host, path=url.path.rstrip("/") + "/chat/completions", fragment="")
    return url.geturl(), f"{unquote(user)}:{unquote(password)}" if userinfo else ""


def _checked(headers: Mapping[str, str], where: str) -> dict[str, str]:
    """The headers of every call; a message names a bad one without its value, which may be the key."""
    for name, value in headers.items():
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise UsageError(
                f"header {name!r} for {where}: it holds a character that HTTP does not allow",
                hint="Look for a line break or a letter outside ASCII in its name, its value or the key.",
            )
    return {**_DEFAULT_HEADERS, **{name.lower(): value for name, value in headers.items()}}


def _asks_for_stream(body: bytes) -> bool:
    """Whether a request has `stream: true`. Not in a text: there the quotes would be escaped."""
    at = body.rfind(_STREAM)  # three times as fast as `in`, which it would have to be asked twice
    while at >= 0:
        if body.startswith((b"true", b" true"), at + len(_STREAM)):
            return True
        at = body.rfind(_STREAM, 0, at)
    return False


def _without_secrets(text: str) -> str:
    return _QUERY.sub(r"\1", _USERINFO.sub(r"\1", text))


_ADVICE = (
    ("Connection refused", "is the server running, and is base_url right?"),
    ("failed to lookup address", "is the host in base_url spelled right?"),
    ("UnknownIssuer", "the endpoint's ca_file can name the authority to trust"),
    ("certificate not valid for name", "base_url must have the host that the certificate names"),
    ("certificate expired", "the server's certificate must be renewed, or this machine's clock is wrong"),
    ("InvalidContentType", "does the server speak plain http there?"),
    ("Too many open files", "raise `ulimit -n`, or lower the endpoint's limits.concurrency"),
)


def _advice(reason: str) -> str:
    return next((f"; {advice}" for sign, advice in _ADVICE if sign in reason), "")
