"""A server of raw sockets that does to a share of its requests what no server should, in its own process.

Its ledger has a line for each request it read: which row, what was done to it, and when the connection or
the answer was over. The truth is there, not in what batchrun says.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Literal, TypeAlias

from tests.reliability.hostile_acts import ACTS, packed
from tests.reliability.hostile_peer import DesertedError, Peer
from tests.runs import row_of

Ending: TypeAlias = Literal["answered", "deserted", "struck"]
"""The connection stays open; the client closed it; the server closed it."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a server does."""

    faults: tuple[str, ...]
    """Names of ACTS, or of `UNREAD`; taken in turn."""
    every: int = 5
    """Each so many-th row is struck, from the first on; 1: every one."""
    megabytes: int = 100
    certificate: str | None = None
    """A PEM file with certificate and key: then the server speaks TLS."""

    def fault(self, row: int) -> str:
        """What is done to a row."""
        if self.faults[0] in UNREAD:
            return "right"
        number, rest = divmod(row, self.every)
        return self.faults[number % len(self.faults)] if not rest else "right"


UNREAD = ("RST at once", "FIN at once", "answer at once", "stall unread")
"""Faults of a connection, done before anything is read from it: each fifth connection."""


@dataclass(frozen=True, slots=True)
class Met:
    """A request, or a connection of which nothing was read, that the server met."""

    server: str
    """`main`, or the kind of address that a redirect leads to."""
    row: int | None
    fault: str
    at: float
    """When its first byte had come, in seconds since the epoch."""
    ended: float
    """When the last byte of the answer was handed on, or either side closed."""
    how: Ending
    key: bool
    """Whether it carried Authorization."""

    @property
    def took(self) -> float:
        """Seconds."""
        return self.ended - self.at


@dataclass(slots=True)
class Server:
    """One process, one loop: the server, and those that redirects lead to."""

    script: Script
    ledger: IO[str]
    elsewhere: dict[str, str] = field(default_factory=dict)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection to the main server."""
        self.connections += 1
        try:
            if self.script.faults[0] in UNREAD and self.connections % self.script.every == 1:
                await self._unread(self.script.faults[0], reader, writer)
            else:
                while await self._request(reader, writer):
                    pass
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def trap(self, kind: str, writer: asyncio.StreamWriter) -> None:
        """A server that nobody should ask: that somebody came is all it notes."""
        self._note(Met(kind, None, "", time.time(), time.time(), "struck", key=False))
        writer.close()

    async def _unread(self, fault: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, 0, 0, {})
        at = time.time()
        how: Ending = "struck"
        try:
            if fault == "RST at once":
                peer.reset()
            elif fault == "answer at once":
                await ACTS["HTML 502"](peer)
            elif fault == "stall unread":
                await peer.silence()
        except DesertedError:
            how = "deserted"
        self._note(Met("main", None, fault, at, time.time(), how, key=False))

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read a request and act; whether another may follow."""
        try:
            first = await reader.readexactly(1)
            at = time.time()
            head = (first + await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = json.loads(await reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        row = row_of(body["messages"][-1]["content"])
        fault = self.script.fault(row)
        peer = Peer(reader, writer, row, self.script.megabytes, self.elsewhere)
        how: Ending = "struck"
        try:
            await ACTS[fault](peer)
            how = "answered" if peer.kept else "struck"
        except DesertedError:
            how = "deserted"
        self._note(Met("main", row, fault, at, time.time(), how, key=b"authorization:" in head))
        return peer.kept

    def _note(self, met: Met) -> None:
        self.ledger.write(json.dumps(asdict(met)) + "\n")
        self.ledger.flush()


def read_met(ledger: Path) -> list[Met]:
    """What a server met."""
    return [Met(**json.loads(line)) for line in ledger.read_text().splitlines()]


@contextmanager
def hostile(script: Script, ledger: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """Start the server on a free port of loopback; its base URL. It ends with the block, or this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.hostile"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    start = {"script": asdict(script), "ledger": str(ledger), "host": host}
    try:
        process.stdin.write(json.dumps(start).encode() + b"\n")
        process.stdin.flush()
        base_url = process.stdout.readline().decode().strip()
        assert base_url, "the hostile server did not start"
        yield base_url
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def main() -> None:
    """The child's side: read the start line, say the base URL, serve until standard input ends."""
    start = json.loads(sys.stdin.buffer.readline())
    script = Script(**{**start["script"], "faults": tuple(start["script"]["faults"])})
    packed(script.megabytes)  # now, not while a client waits
    with Path(start["ledger"]).open("a") as ledger:
        asyncio.run(_serve(Server(script, ledger), start["host"]))


async def _serve(server: Server, host: str) -> None:
    context = None
    if server.script.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.script.certificate)
    listener = await asyncio.start_server(server.serve, host, 0, ssl=context, backlog=512, limit=2**20)
    scheme, port = "https" if context else "http", listener.sockets[0].getsockname()[1]
    server.elsewhere["the same host"] = f"http://127.0.0.1:{port}/moved"
    for kind in ("another host", "another scheme"):
        server.elsewhere[kind] = await _trap(server, kind)
    _say(f"{scheme}://{'localhost' if context else _host(host)}:{port}/v1")
    await asyncio.to_thread(sys.stdin.buffer.read)


async def _trap(server: Server, kind: str) -> str:
    async def visited(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.trap(kind, writer)

    listener = await asyncio.start_server(visited, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    return f"https://localhost:{port}/v1" if kind == "another scheme" else f"http://localhost:{port}/v1"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def certificates(folder: Path) -> dict[str, Path]:
    """An authority, and certificates that it gave or did not give, each a PEM file with its key."""
    import datetime

    import trustme

    ours, theirs = trustme.CA(), trustme.CA()
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    ours.cert_pem.write_to_path(folder / "authority.pem")
    issued = {
        "good": ours.issue_cert("localhost"),
        "unknown authority": theirs.issue_cert("localhost"),
        "another host": ours.issue_cert("example.org"),
        "expired": ours.issue_cert("localhost", not_after=past),
    }
    for name, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    return {name: folder / f"{name}.pem" for name in ("authority", *issued)}


def struck(met: Sequence[Met]) -> list[Met]:
    """What was done wrong."""
    return [one for one in met if one.fault not in ("right", "")]


if __name__ == "__main__":
    main()
