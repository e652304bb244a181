"""What an endpoint keeps beside answering calls: files, batches, stored completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from batchrun import codec
from batchrun.client.body import MAX_BODY, beginning, whole
from batchrun.client.packed import unpacked
from batchrun.client.server import Server
from batchrun.client.transport import Arriving, CallError, Form, LateError, Transport
from batchrun.outcome import Exchange, NoResponse, Response

BRIEF = 60.0
"""Seconds that a request may take which moves no file."""

PATIENT = 3600.0
"""Seconds that a file may take on its way."""


class Resources:
    """Makes requests to the other paths of one endpoint.

    Each is made once and never raises for what a server does; a key that a command gives is renewed when it
    is refused, and the request then made again, for it costs nothing.
    """

    def __init__(self, server: Server, transport: Transport) -> None:
        self._server = server
        self._transport = transport

    async def get(
        self, path: str, query: Mapping[str, str | int] | None = None, *, total: float = BRIEF
    ) -> Exchange:
        """GET a document, in `total` seconds at most; `query` is added to the path."""
        return await self._ask("GET", _with_query(path, query), b"", total)

    async def post(self, path: str, document: Any = None) -> Exchange:
        """POST a document, or nothing."""
        body = b"" if document is None else codec.dumps(document)
        return await self._ask("POST", path, body, BRIEF)

    async def delete(self, path: str) -> Exchange:
        """DELETE what is there."""
        return await self._ask("DELETE", path, b"", BRIEF)

    async def upload(self, path: str, form: Form) -> Exchange:
        """POST a file. Raises OSError where it cannot be read."""
        return await self._ask("POST", path, form, PATIENT)

    async def download(self, path: str, to: Path) -> Exchange:
        """GET a file of lines into `to`; the body of the answer is empty then, unless it is no success.

        Raises OSError where it cannot be written.
        """
        return await self._ask("GET", path, b"", PATIENT, to)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _ask(
        self, method: str, path: str, body: bytes | Form, total: float, to: Path | None = None
    ) -> Exchange:
        key = self._server.key
        number = key.number if key else 0
        exchange = await self._once(method, path, body, total, to)
        refused = isinstance(exchange, Response) and exchange.status == 401
        if key and refused and await key.renew(number):
            return await self._once(method, path, body, total, to)
        return exchange

    async def _once(
        self, method: str, path: str, body: bytes | Form, total: float, to: Path | None
    ) -> Exchange:
        url, started = self._url(path), time.monotonic()
        try:
            async with self._sent(method, url, body, total) as answer:
                chunks = unpacked(answer, answer.headers)
                headers = self._server.hide_in(answer.headers)
                if not 200 <= answer.status < 300:
                    text = await whole(beginning(chunks))
                elif to is None:
                    text = await whole(_bounded(chunks))
                else:
                    text = b""
                    await self._write(chunks, to)
        except CallError as error:
            message = self._server.message(f"{method} {url}", str(error), sent=error.sent)
            late = isinstance(error, LateError)
            return NoResponse(
                "timeout" if late else "connection", message, error.sent, time.monotonic() - started
            )
        return Response(answer.status, headers, self._server.hide(text), time.monotonic() - started)

    async def _write(self, chunks: AsyncIterable[bytes], to: Path) -> None:
        """Write whole lines, so that no key in them is cut in two."""
        begun: list[bytes] = []
        with to.open("wb") as file:
            async for chunk in chunks:
                lines, newline, rest = chunk.rpartition(b"\n")
                if newline:
                    file.write(self._hidden(b"".join([*begun, lines])) + newline)
                    begun.clear()
                begun.append(rest)
            file.write(self._hidden(b"".join(begun)))

    def _hidden(self, lines: bytes) -> bytes:
        """Lines without keys, each of them a document of its own."""
        if self._server.hide(lines) is lines:  # nearly always, and much faster than one by one
            return lines
        return b"\n".join(map(self._server.hide, lines.split(b"\n")))

    @asynccontextmanager
    async def _sent(self, method: str, url: str, body: bytes | Form, total: float) -> AsyncIterator[Arriving]:
        headers = self._server.headers
        answer = await self._transport.send(url, headers, body, total, at_once=False, method=method)
        try:
            yield answer
        finally:
            await answer.aclose()

    def _url(self, path: str) -> str:
        path, _, query = path.partition("?")
        url = self._server.url(path)
        return url if not query else f"{url}{'&' if '?' in url else '?'}{query}"


def _with_query(path: str, query: Mapping[str, str | int] | None) -> str:
    return f"{path}?{urlencode(query, errors='replace')}" if query else path


async def _bounded(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > MAX_BODY:
            raise CallError(f"the answer is longer than {MAX_BODY:,} bytes")
        yield chunk
