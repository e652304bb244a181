"""A client without manners: raw bytes on a socket, so that tests see exactly what the simulator sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

QUESTION = "Where is my parcel?"
PROMPT = [{"role": "system", "content": "You are a triage clerk."}, {"role": "user", "content": QUESTION}]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.data["error"]


def body(**members: object) -> bytes:
    """A request's body: a usual one, changed by `members`."""
    return json.dumps({"model": "m-1", "messages": PROMPT, **members}).encode()


def request(content: bytes, *, path: str = "/v1/chat/completions", **headers: str) -> bytes:
    """A whole POST; underscores in header names stand for dashes."""
    given = {"host": "simulator", "content-length": str(len(content)), **headers}
    lines = [
        f"POST {path} HTTP/1.1",
        *(f"{name.replace('_', '-')}: {value}" for name, value in given.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def post(self, content: bytes, **headers: str) -> HttpAnswer:
        """Send a request and read its whole answer."""
        await self.send(request(content, **headers))
        return await self.answer()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read a status line and headers."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in lines)

    async def answer(self) -> HttpAnswer:
        """Read a whole answer. Raises IncompleteReadError when it is cut, ConnectionResetError on RST."""
        status, headers = await self.head()
        if headers.get("transfer-encoding") == "chunked":
            return HttpAnswer(status, headers, await self._chunks())
        return HttpAnswer(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def _chunks(self) -> bytes:
        found = b""
        while size := int(await self.reader.readline(), 16):
            found += (await self.reader.readexactly(size + 2))[:-2]
        assert await self.reader.readexactly(2) == b"\r\n"
        return found


@asynccontextmanager
async def connected(base_url: str) -> AsyncIterator[Wire]:
    """A connection to the endpoint at `base_url`."""
    address = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


async def ask(base_url: str, content: bytes | None = None, **headers: str) -> HttpAnswer:
    """One request on a connection of its own."""
    async with connected(base_url) as wire:
        return await wire.post(body() if content is None else content, **headers)
