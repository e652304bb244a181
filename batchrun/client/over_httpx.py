"""Calls on any transport of httpx's: its own pool, or a function that a test gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio
import httpx

from batchrun.client.timeouts import Timeouts
from batchrun.client.transport import CallError, Form, LateError, Transport, joined, without_type

_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""Errors that come before the first byte; if in doubt, one was sent."""


class HttpxTransport(Transport):
    """Sends requests through `transport`, which gets the connect and idle timeouts of each."""

    def __init__(self, transport: httpx.AsyncBaseTransport, timeouts: Timeouts) -> None:
        self._transport = transport
        self._timeouts = timeouts

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Form,
        total: float,
        *,
        at_once: bool,
        method: str = "POST",
    ) -> HttpxAnswer:
        """Send the request. Pieces of the answer come whenever `transport` gives them."""
        limits = self._timeouts
        timeout = {"connect": limits.connect, "read": limits.idle, "write": limits.idle}
        late_at = anyio.current_time() + total
        with _translated(late_at), ExitStack() as files:
            content: dict[str, Any] = {"content": body}
            if isinstance(body, Form):
                file = files.enter_context(body.path.open("rb"))
                content = {
                    "data": dict(body.fields),
                    "files": {"file": (body.name, file, body.media_type)},
                }
                headers = without_type(headers)
            request = httpx.Request(method, url, headers=headers, extensions={"timeout": timeout}, **content)
            return HttpxAnswer(await self._transport.handle_async_request(request), late_at)

    async def aclose(self) -> None:
        """Close the transport and its connections."""
        await self._transport.aclose()


class HttpxAnswer:
    """The answer to one request."""

    def __init__(self, response: httpx.Response, late_at: float) -> None:
        self._response = response
        self._late_at = late_at
        assert isinstance(response.stream, httpx.AsyncByteStream), "of a transport of httpx's, as it comes"
        self._chunks = aiter(response.stream)
        self.status = response.status_code
        raw = [
            (name.decode("latin-1").lower(), text.decode("latin-1")) for name, text in response.headers.raw
        ]
        self.headers = joined(raw)

    def __aiter__(self) -> HttpxAnswer:
        return self

    async def __anext__(self) -> bytes:
        with _translated(self._late_at):
            return await anext(self._chunks)

    async def aclose(self) -> None:
        """Give the connection back to its pool."""
        await self._response.aclose()


@contextmanager
def _translated(late_at: float) -> Iterator[None]:
    """One step of a call, until `late_at` (anyio's time); httpx's errors become ours."""
    try:
        with anyio.CancelScope(deadline=late_at) as scope:
            yield
    except httpx.InvalidURL as error:
        raise CallError(str(error), sent=False) from error
    except httpx.RequestError as error:
        kind = LateError if isinstance(error, httpx.TimeoutException) else CallError
        raise kind(str(error) or type(error).__name__, sent=not isinstance(error, _NOT_SENT)) from error
    if scope.cancelled_caught:
        raise LateError("total timeout")
