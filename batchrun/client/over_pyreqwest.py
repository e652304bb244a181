"""Calls on pyreqwest's native API.

Its own httpx adapter is not used: it adds up the timeouts, calls a silent server a connect timeout although
the request was sent, and leaves cancellations that anyio's scopes do not recognise as theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from datetime import timedelta
from operator import length_hint
from typing import TypeVar

import anyio.lowlevel
from pyreqwest import exceptions
from pyreqwest.client import Client as Connections
from pyreqwest.http import HeaderMap
from pyreqwest.multipart import FormBuilder, PartBuilder
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from batchrun.client.transport import CallError, Form, LateError, Transport, joined, without_type

_T = TypeVar("_T")

_WITHOUT_BODY = frozenset({"GET", "DELETE"})
"""Whether one was sent is not seen, and does not matter: to send it again costs nothing."""


class PyreqwestTransport(Transport):
    """Sends requests through pyreqwest's connection pool.

    The total timeout is pyreqwest's own: it ends a call while it connects, writes, waits and reads. Connect
    and idle timeouts, proxies and certificates are the pool's (`build_transport`). A body arrives
    decompressed, without the `content-encoding` header.

    A cancelled call ends at once, but pyreqwest (0.15) drops its connection only when the
    total timeout ends it, or the body is already being read: the server may go on working.
    Until the head is there the request is a task of its own in pyreqwest's runtime, which nothing
    aborts: not the request's end or deletion, and not the closing of its whole pool.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Form,
        total: float,
        *,
        at_once: bool,
        method: str = "POST",
    ) -> PyreqwestAnswer:
        """Send the request; return when the headers and the first of the body are there.

        Where not `at_once`, that is the first 64 kB or the body's end, which saves 22 µs of processor time.
        """
        upload: Iterator[bytes] = iter(())
        try:
            builder = self._connections.request(method, url)
            if isinstance(body, Form):
                builder = builder.headers(without_type(headers)).multipart(await _form(body))
            elif method in _WITHOUT_BODY:
                builder = builder.headers(without_type(headers))
            else:
                upload = _upload(body)
                builder = builder.headers([*headers.items(), ("content-length", str(len(body)))])
                builder = builder.body_stream(upload)
            builder = builder.timeout(timedelta(seconds=total))
        except ValueError as error:  # an address that only looks like one
            raise CallError(str(error), sent=False) from error
        call = (builder.streamed_read_buffer_limit(0) if at_once else builder).build_streamed()
        return PyreqwestAnswer(call, await _translated(call.__aenter__(), upload), upload)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._connections.close()


class PyreqwestAnswer:
    """The answer to one request."""

    __slots__ = ("_call", "_reader", "_upload", "headers", "status")

    def __init__(self, call: StreamRequest, response: Response, upload: Iterator[bytes]) -> None:
        self._call = call
        self._reader = response.body_reader
        self._upload = upload
        self.status = response.status
        self.headers = joined(_received(response.headers))

    def __aiter__(self) -> PyreqwestAnswer:
        return self

    async def __anext__(self) -> bytes:
        chunk = await _translated(self._reader.read_chunk(), self._upload)
        if chunk is None:
            raise StopAsyncIteration
        return chunk.to_bytes()

    async def aclose(self) -> None:
        """Close the connection when the body was not read to its end."""
        await self._call.__aexit__(None, None, None)


async def _form(form: Form) -> FormBuilder:
    """It is always taken for sent: what pyreqwest reads of the file does not show."""
    part = (await PartBuilder.from_file(form.path)).file_name(form.name).mime(form.media_type)
    builder = FormBuilder()
    for name, value in form.fields.items():
        builder = builder.text(name, value)
    return builder.part("file", part)


def _upload(body: bytes) -> Iterator[bytes]:
    """A body as a stream, because a stream is asked for its bytes only when a connection stands.

    So it tells whether the request was sent, which no error of pyreqwest's does; and it cannot be replayed,
    so that nothing below us sends it a second time. A tuple's own iterator: for one written in Python the
    interpreter would map and unmap a stack in pyreqwest's thread, 10 µs for each request.
    """
    return iter((body,))


def _sent(upload: Iterator[bytes]) -> bool:
    return length_hint(upload) == 0


def _received(headers: HeaderMap) -> list[tuple[str, str]]:
    """The headers in order; one with bytes outside ASCII, which pyreqwest cannot give us, is left out."""
    try:
        return list(headers.items())
    except ValueError:
        return [(name, value) for name in dict.fromkeys(headers) for value in _values(headers, name)]


def _values(headers: HeaderMap, name: str) -> list[str]:
    try:
        return headers.getall(name)
    except ValueError:
        return []


async def _translated(step: Awaitable[_T], upload: Iterator[bytes]) -> _T:
    """Await one step of pyreqwest's; its errors become ours, its cancellations anyio's."""
    try:
        return await step
    except exceptions.PyreqwestError as error:
        raise translate(error, sent=_sent(upload)) from error
    except asyncio.CancelledError:
        # pyreqwest answers a cancellation with a CancelledError of its own. A cancelled anyio scope
        # lets only the one it sent end there, so let it send it again; a task's own is re-raised.
        await anyio.lowlevel.checkpoint_if_cancelled()
        raise


def translate(error: exceptions.PyreqwestError, *, sent: bool) -> CallError:
    """The error that says the same, with the innermost cause as its text."""
    kind = LateError if isinstance(error, exceptions.RequestTimeoutError) else CallError
    return kind(_reason(error), sent=sent)


def _reason(error: exceptions.PyreqwestError) -> str:
    """The innermost cause: the outer ones only repeat the URL."""
    causes = (getattr(error, "details", None) or {}).get("causes") or []
    reason = error.message if len(causes) < 2 else str(causes[-1]["message"])
    return reason or type(error).__name__
