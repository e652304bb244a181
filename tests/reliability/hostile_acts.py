"""What a hostile server does with one request, byte by byte: each act under the name of its fault.

An act returns when it has done its worst; the connection is then closed, unless the act left it `kept`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TypeAlias

import pyarrow as pa

from tests.reliability.hostile_peer import Peer

MEGABYTE = 1_000_000
STRANGER = "the answer of another call"
"""The completion that no request asked for."""


Act: TypeAlias = Callable[[Peer], Awaitable[None]]

ACTS: dict[str, Act] = {}


def completion(text: str, **members: object) -> bytes:
    """A whole answer, `text` its content."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    return json.dumps({"id": "a", "model": "small", "choices": [choice], "usage": usage, **members}).encode()


def expected(row: int) -> str:
    """What the right answer to a row says."""
    return f"answer to row {row:06d}"


def http(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole HTTP answer, after which another may follow."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def last(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole HTTP answer that is the connection's last."""
    return http(body, status=status, headers=f"connection: close\r\n{headers}")


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
UNTIL_CLOSE = HEAD + b"\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
GZIPPED = HEAD + b"content-encoding: gzip\r\n\r\n"


def act(name: str) -> Callable[[Act], Act]:
    """Give a fault its name."""

    def named(function: Act) -> Act:
        ACTS[name] = function
        return function

    return named


@act("right")
async def right(peer: Peer) -> None:
    """What a server should do."""
    await peer.send(http(completion(expected(peer.row))))
    peer.kept = True


def _leave(name: str, *, reset: bool) -> None:
    async def leaving(peer: Peer) -> None:
        """The connection is not announced to close, and does just when the next request may come."""
        await right(peer)
        peer.kept = False
        await asyncio.sleep(0.002)
        if reset:
            peer.reset()

    ACTS[name] = leaving


_leave("right, then closed", reset=False)
_leave("right, then reset", reset=True)


@act("right, and one more")
async def unasked(peer: Peer) -> None:
    """Two answers to one request: the next request on this connection must not take the second.

    One that comes after the next request has left cannot be told from its own: HTTP/1.1 numbers nothing.
    """
    await peer.send(http(completion(expected(peer.row))) + http(completion(STRANGER)))
    peer.kept = True


def _cut(name: str, sent: bytes, *, reset: bool) -> None:
    async def cutting(peer: Peer) -> None:
        if sent:
            await peer.send(sent)
            await asyncio.sleep(0.01)  # so that the client has read it before the reset comes
        if reset:
            peer.reset()

    ACTS[name] = cutting


def _stall(name: str, sent: bytes) -> None:
    async def stalling(peer: Peer) -> None:
        if sent:
            await peer.send(sent)
        await peer.silence()

    ACTS[name] = stalling


_WHOLE = last(completion("never whole"))
_IN_BODY = _WHOLE.index(b"\r\n\r\n") + 4
for _name, _sent in {"headers": b"", "the middle of headers": _WHOLE[:20], "the end": _WHOLE[:-5]}.items():
    _cut(f"FIN before {_name}", _sent, reset=False)
    _cut(f"RST before {_name}", _sent, reset=True)
_cut("chunk without its size", CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", reset=False)
_cut("chunk of 2^64 bytes", CHUNKED + b"ffffffffffffffff\r\nabc", reset=False)
_cut("chunks without an end", CHUNKED + b"3\r\nabc\r\n", reset=False)
_cut("gzip that is none", last(completion("x"), headers="content-encoding: gzip\r\n"), reset=False)
_cut("gzip without its end", GZIPPED + gzip.compress(completion("x"))[:-9], reset=False)
_cut("1,000 headers", last(b"", headers="".join(f"x-{n}: y\r\n" for n in range(1000))), reset=False)
_cut("two lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc", reset=False)
_cut("not HTTP", b"220 smtp.example.org ESMTP\r\n", reset=False)
_cut("HTML 502", last(b"<html><h1>Bad Gateway</h1></html>", status="502 Bad Gateway"), reset=False)
_cut("HTML 200", last(b"<html><h1>Welcome</h1></html>", headers="content-type: text/html\r\n"), reset=False)
_cut("200 without a body", last(b""), reset=False)
_cut("200 of bytes", last(bytes(range(256)) * 10), reset=False)
_cut("204", b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n", reset=False)
_cut("101", b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", reset=False)
_cut("JSON 100,000 deep", last(b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), reset=False)
_cut("error 100,000 deep", last(b'{"error":' * 100_000 + b"}" * 100_000, status="500 No"), reset=False)
_cut("stream of garbage", STREAM + b"data: {{{{\n\n\xff\xfe\x00", reset=False)
_cut("stream without an end", STREAM + b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', reset=False)
_stall("stall before headers", b"")
_stall("stall after 1 byte", _WHOLE[:1])
_stall("stall in headers", _WHOLE[:20])
_stall("stall before the body", _WHOLE[:_IN_BODY])
_stall("stall after 1 byte of the body", _WHOLE[: _IN_BODY + 1])
_stall("stall before the last byte", _WHOLE[:-1])
_stall("stream that stalls", STREAM + b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n')


def _answer(name: str, make: Callable[[bytes], bytes]) -> None:
    """Another way to send a right answer."""

    async def answering(peer: Peer) -> None:
        await peer.send(make(completion(expected(peer.row))))

    ACTS[name] = answering


def _compressed(codec: str) -> Callable[[bytes], bytes]:
    return lambda body: last(
        pa.compress(body, codec={"br": "brotli"}.get(codec, codec), asbytes=True),
        headers=f"content-encoding: {codec}\r\n",
    )


for _codec in ("gzip", "br", "zstd"):
    _answer(f"answer in {_codec}", _compressed(_codec))
_answer("answer in deflate", lambda b: last(zlib.compress(b), headers="content-encoding: deflate\r\n"))
_answer("answer in X-GZIP", lambda b: last(gzip.compress(b), headers="content-encoding: X-GZIP\r\n"))
_answer("206", lambda b: last(b, status="206 Partial Content"))
_answer("100 first", lambda b: b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + last(b))
_answer("HTTP/1.0", lambda b: b"HTTP/1.0 200 OK\r\n\r\n" + b)


def _trickle(name: str, sent: bytes, drop: bytes) -> None:
    """A drop again and again, without an end."""

    async def trickling(peer: Peer) -> None:
        await peer.send(sent)
        while True:
            await peer.pause(0.3)
            await peer.send(drop)

    ACTS[name] = trickling


_trickle("trickle of headers", b"HTTP/1.1 200 OK\r\nx-slow: ", b"x")
_trickle("trickle of the body", UNTIL_CLOSE, b" ")
_trickle("trickle of chunks", CHUNKED, b"1\r\n \r\n")
_trickle("stream of comments", STREAM, b": PROCESSING\n\n")


def _flood(name: str, sent: bytes, wave: bytes, *, endless: bool = True) -> None:
    """As much as the client takes."""

    async def flooding(peer: Peer) -> None:
        await peer.send(sent)
        left = peer.megabytes
        while endless or left > 0:
            await peer.send(wave)
            left -= 1
            await asyncio.sleep(0)  # the server is one loop, and a write that fits a buffer does not yield

    ACTS[name] = flooding


_PADDING = b'{"choices":[],"padding":"'
_EVENT = b'data: {"choices":[{"delta":{"content":"' + b"x" * 1000 + b'"}}]}\n\n'
_flood("endless headers", b"HTTP/1.1 200 OK\r\n", b"x-more: " + b"z" * 60_000 + b"\r\n")
_flood("endless body", UNTIL_CLOSE + _PADDING, b"x" * MEGABYTE)
_flood("long body", UNTIL_CLOSE + _PADDING, b"x" * MEGABYTE, endless=False)
_flood("endless stream", STREAM, _EVENT * 500)
_flood("endless line of a stream", STREAM + b"data: ", b"x" * MEGABYTE)


@cache
def packed(megabytes: int) -> bytes:
    """A gzip of a thousandth of what it unpacks to."""
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(_PADDING), *(packer.compress(b"x" * MEGABYTE) for _ in range(megabytes))]
    return b"".join(parts) + packer.flush()


@act("gzip bomb")
async def gzip_bomb(peer: Peer) -> None:
    """It is sent in pieces, as a server would that packs while it sends."""
    body = packed(peer.megabytes)
    await peer.send(GZIPPED)
    for at in range(0, len(body), 10_000):
        await peer.send(body[at : at + 10_000])


@act("gzip in gzip bomb")
async def double_bomb(peer: Peer) -> None:
    """A gzip of a gzip: some hundred bytes for each million."""
    body = gzip.compress(packed(peer.megabytes))
    await peer.send(last(body, headers="content-encoding: gzip, gzip\r\n"))


@act("zstd bomb")
async def zstd_bomb(peer: Peer) -> None:
    """Frame after frame of one megabyte in about a hundred bytes."""
    frame = pa.compress(b"x" * MEGABYTE, codec="zstd", asbytes=True)
    await peer.send(HEAD + b"content-encoding: zstd\r\n\r\n" + frame * peer.megabytes)


def _redirect(kind: str, status: str) -> None:
    async def redirecting(peer: Peer) -> None:
        location = f"location: {peer.elsewhere[kind]}/chat/completions\r\n"
        await peer.send(last(b"", status=f"{status} Moved", headers=location))

    ACTS[f"{status} to {kind}"] = redirecting


for _status in ("301", "302", "303", "307", "308"):
    for _kind in ("the same host", "another host", "another scheme"):
        _redirect(_kind, _status)
