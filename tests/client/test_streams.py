"""Streamed answers on real sockets: accumulated, timed, and never taken for whole when they are not."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from batchrun.client import Timeouts
from batchrun.outcome import Exchange, Response
from tests.chat.streaming import DONE, chunk, event, stop
from tests.client.servers import (
    KEY,
    RELAXED,
    Handler,
    Peer,
    Server,
    answer,
    calling,
    replied,
    serving,
    unanswered,
)

KIND = "content-type: text/event-stream; charset=utf-8\r\n"
HEAD = f"HTTP/1.1 200 OK\r\n{KIND}transfer-encoding: chunked\r\n\r\n".encode()
ASKED = b'{"stream":true}'
END = b"0\r\n\r\n"
SLACK = 1.5
"""How much later than promised a busy machine may end a call, in seconds."""

ROLE = event(chunk({"role": "assistant", "content": ""}))
HELLO = event(chunk({"content": "Hello"}))
WHOLE = ROLE + HELLO + event(stop()) + DONE


def framed(data: bytes) -> bytes:
    """One chunk of HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def streaming(*steps: bytes | float, ends: bool = True) -> Handler:
    """A server that streams: bytes are sent, numbers are seconds to wait; `ends` closes the body."""

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        for step in steps:
            if isinstance(step, bytes):
                await peer.send(framed(step))
            else:
                await anyio.sleep(step)
        if ends:
            await peer.send(END)

    return handler


async def one_stream(handler: Handler, timeouts: Timeouts = RELAXED) -> tuple[Exchange, Server]:
    """One call that asks a server of its own for a stream."""
    async with serving(handler) as server, calling(server.url, timeouts) as client:
        return await client.call(ASKED), server


def content(reply: Response) -> Any:
    return json.loads(reply.body)["choices"][0]["message"]["content"]


def test_a_streamed_answer_is_the_whole_document_with_its_ttft() -> None:
    """`ttft` is the seconds to the first piece of the answer, `latency` those to the last."""

    async def main() -> None:
        reply = replied((await one_stream(streaming(ROLE, 0.1, HELLO, 0.1, event(stop()), DONE)))[0])
        assert reply.status == 200
        assert json.loads(reply.body)["object"] == "chat.completion"
        assert content(reply) == "Hello"
        assert reply.ttft is not None
        assert 0.1 <= reply.ttft < reply.latency - 0.09
        assert reply.latency < 0.2 + SLACK

    anyio.run(main)


@pytest.mark.parametrize("asked", [b'{"a": 1, "stream": true}', b'{"content":"\\"stream\\":true"}'])
def test_a_stream_is_read_whatever_was_asked_for(asked: bytes) -> None:
    """A server may stream although nobody asked; then its first pieces may come together."""

    async def main() -> None:
        handler = streaming(ROLE, 0.05, HELLO, 0.1, event(stop()), DONE)
        async with serving(handler) as server, calling(server.url) as client:
            reply = replied(await client.call(asked))
        assert content(reply) == "Hello"
        assert reply.ttft is not None
        assert (reply.ttft < reply.latency - 0.09) is (b'"stream": true' in asked)

    anyio.run(main)


@pytest.mark.parametrize(
    "served",
    [
        answer(b'{"choices":[]}', headers="content-type: application/json\r\n"),
        answer(b'{"choices":[]}'),
        answer(b"data: {}\n\n", status="500 Oops", headers="content-type: text/event-stream\r\n"),
        answer(b"slow down", status="429 Too Many Requests", headers="content-type: text/event-stream\r\n"),
    ],
)
def test_an_answer_that_is_no_stream_is_read_as_it_is(served: bytes) -> None:
    """JSON to a request that asked for a stream, and errors whatever their content type."""

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(served)

    async def main() -> None:
        reply = replied((await one_stream(handler))[0])
        assert reply.body == served.partition(b"\r\n\r\n")[2]
        assert reply.ttft is None

    anyio.run(main)


LABELS = [
    "content-type: application/json\r\n",
    "content-type: text/plain; charset=utf-8\r\n",
    "content-type: application/octet-stream\r\n",
    "",
]
BEGINNINGS = [b"", b": hello\n\n", b"event: message\n", b"id: 1\n", b"\r\n \n", b"\xef\xbb\xbf"]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_stream_that_was_asked_for_is_known_by_its_first_bytes(label: str, beginning: bytes) -> None:
    """Whatever a proxy calls it, cut anywhere: it was paid for, and as JSON it would be broken."""

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD.replace(KIND.encode(), label.encode()))
        data = beginning + WHOLE
        for piece in (data[:1], data[1:4], data[4:]):
            await peer.send(framed(piece))
            await anyio.sleep(0.005)
        await peer.send(END)

    async def main() -> None:
        reply = replied((await one_stream(handler))[0])
        assert content(reply) == "Hello"
        assert reply.ttft is not None

    anyio.run(main)


def test_a_stream_without_its_label_is_no_answer_when_it_ends_early() -> None:
    """It is read as any stream is."""

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(ROLE + HELLO, headers=LABELS[0]))

    async def main() -> None:
        lost = unanswered((await one_stream(handler))[0])
        assert "ended before the answer was whole, after 2 events" in lost.message

    anyio.run(main)


NO_STREAMS = [b"", b" \n", b"dat", b"data", b"evening", b'\n{"data:": 1}', b"\xef\xbb\xbf{}"]


@pytest.mark.parametrize("body", NO_STREAMS)
def test_what_does_not_begin_like_a_stream_is_kept_to_the_byte(body: bytes) -> None:
    """Its blanks too."""

    async def handler(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(body, headers=LABELS[0]))

    async def main() -> None:
        assert replied((await one_stream(handler))[0]).body == body

    anyio.run(main)


def test_the_first_bytes_mean_nothing_where_no_stream_was_asked_for() -> None:
    """Nor in an error."""

    async def handler(peer: Peer) -> None:
        while True:
            asked = ASKED in await peer.request()
            await peer.send(answer(WHOLE, status="502 Bad Gateway" if asked else "200 OK"))

    async def main() -> None:
        async with serving(handler) as server, calling(server.url) as client:
            for asked in (b"{}", ASKED):
                assert replied(await client.call(asked)).body == WHOLE

    anyio.run(main)


@pytest.mark.parametrize("size", [1, 7])
def test_a_stream_may_be_cut_anywhere(size: int) -> None:
    """Within characters too."""

    async def main() -> None:
        data = (
            ROLE
            + 'data: {"choices":[{"delta":{"content":"Käse 🧀"}}]}\r\n\r\n'.encode()
            + event(stop())
            + DONE
        )
        cuts = [data[at : at + size] for at in range(0, len(data), size)]
        assert content(replied((await one_stream(streaming(*cuts)))[0])) == "Käse 🧀"

    anyio.run(main)


def test_a_stream_without_an_answer_in_it_has_no_ttft() -> None:
    """It is still the server's whole answer."""

    async def main() -> None:
        reply = replied((await one_stream(streaming(DONE)))[0])
        assert (json.loads(reply.body)["choices"], reply.ttft) == ([], None)

    anyio.run(main)


def test_a_stream_that_ends_early_is_no_answer_and_says_how_much_had_come() -> None:
    """The server closed the body in good order, but in the middle of its text: possibly paid."""

    async def main() -> None:
        lost = unanswered((await one_stream(streaming(ROLE, HELLO)))[0])
        assert (lost.type, lost.sent) == ("connection", True)
        assert (
            "the stream ended before the answer was whole, after 2 events with 5 characters of the answer;"
            " the request had been sent" in lost.message
        )

    anyio.run(main)


@pytest.mark.parametrize("reset", [True, False])
def test_a_connection_lost_in_the_stream_is_no_answer(reset: bool) -> None:
    """By FIN or RST, before the last event."""

    async def handler(peer: Peer) -> None:
        await streaming(ROLE, HELLO, 0.05, ends=False)(peer)
        await (peer.reset() if reset else peer.stream.aclose())

    async def main() -> None:
        lost = unanswered((await one_stream(handler))[0])
        assert (lost.type, lost.sent) == ("connection", True)
        assert "after 2 events with 5 characters of the answer" in lost.message

    anyio.run(main)


@pytest.mark.parametrize("last", [[event(stop())], [event(stop()), DONE]])
def test_a_connection_lost_after_the_last_event_costs_nothing(last: list[bytes]) -> None:
    """The answer is whole: with `[DONE]`, or where every choice has its finish reason."""

    async def handler(peer: Peer) -> None:
        await streaming(HELLO, *last, 0.05, ends=False)(peer)
        await peer.reset()

    async def main() -> None:
        assert content(replied((await one_stream(handler))[0])) == "Hello"

    anyio.run(main)


def test_a_stream_that_stalls_ends_by_the_idle_timeout() -> None:
    """Counted from each chunk: a stream may take many times `idle`, and then fall silent."""

    async def stalling(peer: Peer) -> None:
        await streaming(ROLE, *(0.06, HELLO) * 5, ends=False)(peer)
        await peer.silence()

    async def main() -> None:
        exchange, _ = await one_stream(stalling, Timeouts(connect=5, idle=0.8, total=5))
        lost = unanswered(exchange)
        assert (lost.type, lost.sent) == ("timeout", True)
        assert 1.1 <= lost.latency < 1.1 + SLACK
        assert "not a byte for 0.8 s (idle timeout), after 6 events with 25 characters" in lost.message

    anyio.run(main)


def test_the_total_timeout_holds_for_endless_comments() -> None:
    """A stream that is never idle and never says anything ends all the same."""

    async def main() -> None:
        comments = streaming(*(b": keep-alive\n\n", 0.02) * 200)
        lost = unanswered((await one_stream(comments, Timeouts(connect=5, idle=5, total=0.2)))[0])
        assert (lost.type, lost.sent) == ("timeout", True)
        assert 0.2 <= lost.latency < 0.2 + SLACK
        assert "(total timeout), after 0 events with 0 characters of the answer" in lost.message

    anyio.run(main)


def test_a_server_that_stays_after_done_is_not_waited_for() -> None:
    """Not `idle` seconds, and not in `latency`: nothing of the answer can follow."""

    async def staying(peer: Peer) -> None:
        await streaming(WHOLE, ends=False)(peer)
        await peer.silence()

    async def main() -> None:
        async with serving(staying) as server, calling(server.url) as client:
            with anyio.fail_after(2):
                reply = replied(await client.call(ASKED))
                await server.deserted.wait()
        assert content(reply) == "Hello"
        assert reply.latency < 0.4

    anyio.run(main)


def test_the_connection_of_a_stream_is_used_again() -> None:
    """Its end is read, although `[DONE]` comes before."""

    async def handler(peer: Peer) -> None:
        while True:
            await streaming(WHOLE, 0.01)(peer)

    async def main() -> None:
        async with serving(handler) as server, calling(server.url) as client:
            for _ in range(3):
                replied(await client.call(ASKED))
        assert (len(server.requests), server.connections) == (3, 1)

    anyio.run(main)


def test_a_key_that_a_stream_quotes_is_hidden_though_it_is_cut() -> None:
    """In two deltas it is no key; in the document it would be one."""

    async def main() -> None:
        quoting = [event(chunk({"content": part})) for part in ("You sent ", KEY[:9], KEY[9:])]
        reply = replied((await one_stream(streaming(*quoting, event(stop()), DONE)))[0])
        assert KEY.encode() not in reply.body
        assert content(reply) == "You sent [API key]"

    anyio.run(main)


def test_an_error_in_a_stream_is_a_reply() -> None:
    """The document has it, to be judged as one in any other 200."""

    async def main() -> None:
        broken = event({"error": {"code": 502, "message": "upstream"}})
        reply = replied((await one_stream(streaming(HELLO, broken, ends=False)))[0])
        assert json.loads(reply.body)["error"] == {"code": 502, "message": "upstream"}

    anyio.run(main)


def test_a_stream_is_bounded_like_any_answer() -> None:
    """By the bytes that arrive."""

    async def main() -> None:
        endless = streaming(*[HELLO] * 30, DONE)
        async with serving(endless) as server, calling(server.url, max_body=1000) as client:
            lost = unanswered(await client.call(ASKED))
        assert "longer than 1,000 bytes" in lost.message

    anyio.run(main)
