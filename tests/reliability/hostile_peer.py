"""The hostile server's end of one connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass


class DesertedError(Exception):
    """The client closed its end before the act was over."""


@dataclass(slots=True)
class Peer:
    """The server's end of one connection, with one request read from it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    row: int
    megabytes: int
    """How much an answer of excess is, after decompression."""
    elsewhere: dict[str, str]
    """Addresses that redirects lead to, by kind."""
    kept: bool = False
    """Whether another request may come on this connection."""

    async def send(self, data: bytes) -> None:
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError as error:
            raise DesertedError from error

    async def silence(self) -> None:
        """Say nothing until the client goes away."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError as error:
            raise DesertedError from error
        raise DesertedError

    async def pause(self, seconds: float) -> None:
        """Let time pass, or find that the client went away."""
        try:
            async with asyncio.timeout(seconds):
                await self.silence()
        except TimeoutError:
            return

    def reset(self) -> None:
        """Close with an RST in place of a FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
