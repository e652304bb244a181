"""One attempt at one endpoint: `POST {base_url}/chat/completions`."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import anyio
import httpx

from batchrun.client.body import MAX_BODY, BodyMemory, Share, beginning, bounded, decoded, whole
from batchrun.client.hiding import Hidden, keys_in
from batchrun.client.keys import CommandKey
from batchrun.client.network import Timeouts
from batchrun.client.streamed import STREAMED, StreamedAnswer, event_stream
from batchrun.client.transport import AT_ONCE, SENT
from batchrun.errors import UsageError
from batchrun.outcome import Exchange, Reply, Unanswered

_DEFAULT_HEADERS = {
    "accept": "application/json",
    "content-type": "application/json",
    "user-agent": "batchrun",
}
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Errors that come before the first byte, for transports that do not keep `SENT`."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[\t -~]*")  # RFC 9110, 5.5, without its obsolete bytes
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
        transport: httpx.AsyncBaseTransport,
        secrets: Collection[str] = (),
        key: CommandKey | None = None,
        max_body: int = MAX_BODY,
        memory: BodyMemory | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = _completions_url(base_url)
        self._where = str(self._url.copy_with(userinfo=b"", query=None))
        self._headers = _checked(headers, self._where)
        if self._url.userinfo:
            user = f"{self._url.username}:{self._url.password}".encode()  # RFC 7617, 2
            self._headers.setdefault("authorization", "Basic " + base64.b64encode(user).decode())
            self._url = self._url.copy_with(userinfo=b"")
        self._hidden = Hidden([*secrets, *keys_in(self._headers)])
        self._key = key
        self._headers["host"] = self._url.netloc.decode("ascii")
        self._timeouts = timeouts
        self._transport = transport
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
        exchange = await self._send(body, total)
        if self._key and isinstance(exchange, Reply) and exchange.status == 401:
            with anyio.move_on_after(total - (self._clock() - started)):
                return replace(exchange, renewed=await self._key.renew(number))
        return exchange

    async def _send(self, body: bytes, total: float) -> Exchange:
        started = self._clock()
        request = self._request(body, total)
        with anyio.move_on_after(total):
            try:
                with self._memory.share() as share:
                    return await self._exchange(request, started, share)
            except httpx.RequestError as error:
                return self._unanswered(error, request, total, self._clock() - started)
        late = httpx.ReadTimeout("", request=request)
        return self._unanswered(late, request, total, max(self._clock() - started, total))

    async def aclose(self) -> None:
        """Close the transport and its connections."""
        await self._transport.aclose()

    def _request(self, body: bytes, total: float) -> httpx.Request:
        limits = self._timeouts
        timeout = {"connect": limits.connect, "read": limits.idle, "write": limits.idle, "total": total}
        # Given as a stream, with the two headers that frame it: httpx would work them out anew each time.
        request = httpx.Request(
            "POST",
            self._url,
            headers=self._headers,
            stream=httpx.ByteStream(body),
            extensions={"timeout": timeout, AT_ONCE: _asks_for_stream(body)},
        )
        request.headers["content-length"] = str(len(body))
        if self._key:
            request.headers["authorization"] = self._key.authorization
        return request

    async def _exchange(self, request: httpx.Request, started: float, share: Share) -> Reply:
        response = await self._transport.handle_async_request(request)
        try:
            headers = self._hide_in(_plain(response.headers))
            streams, chunks = await event_stream(
                response.status_code,
                headers,
                bounded(decoded(response, request), share, self._max_body, request),
                asked=request.extensions[AT_ONCE],
            )
            if streams:
                streamed = request.extensions[STREAMED] = StreamedAnswer(self._clock)
                body = await streamed.read(chunks, request)
                ttft = None if streamed.started is None else streamed.started - started
                latency = streamed.ended - started
            else:
                ok = 200 <= response.status_code < 300
                body, ttft = await whole(chunks if ok else beginning(chunks)), None
                latency = self._clock() - started
            body = self._hide(body)
        finally:
            await response.aclose()
        return Reply(response.status_code, headers, body, latency, ttft)

    def _hide(self, body: bytes) -> bytes:
        body = self._hidden.hide(body)
        return self._key.hidden.hide(body) if self._key else body

    def _hide_in(self, headers: dict[str, str]) -> dict[str, str]:
        together = "\n".join(headers.values()).encode()
        if self._hide(together) is together:  # nearly always, and much faster than one by one
            return headers
        return {name: self._hide(value.encode()).decode() for name, value in headers.items()}

    def _unanswered(
        self, error: httpx.RequestError, request: httpx.Request, total: float, latency: float
    ) -> Unanswered:
        sent = request.extensions.get(SENT, not isinstance(error, _NOT_SENT))
        streamed: StreamedAnswer | None = request.extensions.get(STREAMED)
        after = f", after {streamed.arrived}" if streamed else ""
        if isinstance(error, httpx.TimeoutException):
            reason = self._which_timeout(error, total, latency) + after
            return Unanswered("timeout", self._message(reason, sent=sent), sent, latency)
        reason = (str(error) or type(error).__name__) + after
        return Unanswered("connection", self._message(reason, sent=sent), sent, latency)

    def _which_timeout(self, error: httpx.TimeoutException, total: float, latency: float) -> str:
        if latency >= total:
            return f"no whole answer within {total:g} s (total timeout)"
        if isinstance(error, httpx.ConnectTimeout):
            return f"no connection within {min(self._timeouts.connect, self._timeouts.idle):g} s"
        return f"not a byte for {self._timeouts.idle:g} s (idle timeout)"

    def _message(self, reason: str, *, sent: bool) -> str:
        fate = "the request had been sent" if sent else "nothing was sent"
        reason = self._hide(_without_secrets(reason).encode(errors="replace")).decode()
        return f"POST {self._where}: {reason}; {fate}{_advice(reason)}"


def _completions_url(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(
            f"base_url {_without_secrets(base_url)!r}: not the address of an endpoint",
            hint="Write it as https://HOST/v1, without /chat/completions.",
        )
    path, mark, query = url.raw_path.partition(b"?")
    return url.copy_with(raw_path=path.rstrip(b"/") + b"/chat/completions" + mark + query, fragment=None)


def _checked(headers: Mapping[str, str], where: str) -> httpx.Headers:
    """The headers of every call; a message names a bad one without its value, which may be the key."""
    for name, value in headers.items():
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise UsageError(
                f"header {name!r} for {where}: it holds a character that HTTP does not allow",
                hint="Look for a line break or a letter outside ASCII in its name, its value or the key.",
            )
    return httpx.Headers({**_DEFAULT_HEADERS, **{name.lower(): value for name, value in headers.items()}})


def _plain(headers: httpx.Headers) -> dict[str, str]:
    """Names in lower case; repeated ones joined with a comma (RFC 9110, 5.3)."""
    plain: dict[str, str] = {}
    for raw_name, raw_value in headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        plain[name] = f"{plain[name]}, {value}" if name in plain else value
    return plain


def _asks_for_stream(body: bytes) -> bool:
    """Whether a request has `stream: true`. Not in a text: there the quotes would be escaped."""
    return b'"stream":true' in body or b'"stream": true' in body


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
