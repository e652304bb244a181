"""How a call without a whole answer ends: as a `NoResponse` that says whether it was sent."""

from __future__ import annotations

import gzip
import inspect
import socket
import zlib

import anyio
import httpx
import pytest
from pyreqwest import exceptions

from batchrun.client import Client
from batchrun.client.over_pyreqwest import translate
from batchrun.client.transport import CallError, LateError
from batchrun.outcome import Response
from tests.client.servers import (
    KEY,
    RELAXED,
    TLS,
    Handler,
    Peer,
    answer,
    answering,
    calling,
    one_call,
    replied,
    sending,
    serving,
    unanswered,
)

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        pytest.param(sending(), "closed before message completed", id="close instead of an answer"),
        pytest.param(sending(reset=True), "reset", id="RST instead of an answer"),
        pytest.param(sending(HEAD[:30], reset=True), "reset", id="RST in the head"),
        pytest.param(sending(HEAD[:30]), "closed before message completed", id="close in the head"),
        pytest.param(sending(HEAD + b"abc", reset=True), "reset", id="RST in the body"),
        pytest.param(sending(HEAD + b"abc"), "before message length", id="short body"),
        pytest.param(
            sending(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
            "unexpected EOF",
            id="cut chunked body",
        ),
        pytest.param(sending(b"SSH-2.0-OpenSSH_9\r\n\r\n"), "invalid HTTP", id="not HTTP"),
        pytest.param(
            sending(answer(headers=f"x-long: {'x' * 1_000_000}\r\n")), "too large", id="1 MB header"
        ),
        pytest.param(
            sending(answer(b"no gzip at all", headers="content-encoding: gzip\r\n")), "gzip", id="bad gzip"
        ),
        pytest.param(
            sending(answer(gzip.compress(b"x" * 9999)[:-20], headers="content-encoding: gzip\r\n")),
            "unexpected end of file",
            id="cut gzip",
        ),
    ],
)
def test_a_lost_answer_was_sent_and_may_be_paid(handler: Handler, reason: str) -> None:
    """Once the request was written, whatever cuts the answer leaves the call possibly paid."""

    async def main() -> None:
        exchange, server = await one_call(handler)
        lost = unanswered(exchange)
        assert (lost.type, lost.sent) == ("connection", True)
        assert reason in lost.message
        assert "the request had been sent" in lost.message
        assert lost.message.startswith(f"POST {server.url}/chat/completions: ")
        assert len(server.requests) == 1

    anyio.run(main)


def test_a_refused_connection_sent_nothing() -> None:
    """Nobody listens on the port: nothing was sent, and the message asks for the server."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        async with calling(url) as client:
            lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == ("connection", False)
        assert "Connection refused" in lost.message
        assert "nothing was sent; is the server running" in lost.message

    anyio.run(main)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        # A label of 64 letters: the resolver refuses it without asking anybody.
        pytest.param(f"http://{'a' * 64}.invalid/v1", "lookup", id="no such host"),
        pytest.param("http://127.0.0.1:99999/v1", "invalid port", id="no such port"),
        pytest.param("http://exa^mple/v1", "invalid international domain name", id="no host name"),
    ],
)
def test_a_host_that_cannot_be_looked_up_sent_nothing(url: str, reason: str) -> None:
    """A name that does not resolve ends as data, and certainly unsent."""

    async def main() -> None:
        async with calling(url) as client:
            lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == ("connection", False)
        assert reason in lost.message

    anyio.run(main)


def test_a_certificate_of_an_unknown_authority_sent_nothing() -> None:
    """Certificates are verified: the key does not reach a server nobody vouches for."""

    async def main() -> None:
        async with serving(answering, tls=True) as server, calling(server.url) as client:
            lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == ("connection", False)
        assert "certificate" in lost.message
        assert "ca_file" in lost.message
        assert server.requests == []

    anyio.run(main)


def test_a_certificate_for_another_host_sent_nothing() -> None:
    """A trusted authority does not help a certificate whose name is not the host's."""

    async def main() -> None:
        async with serving(answering, tls=True) as server:
            url = server.url.replace("localhost", "127.0.0.1")
            async with calling(url, ca_file=TLS / "authority.pem") as client:
                lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent, server.requests) == ("connection", False, [])

    anyio.run(main)


def test_plain_http_behind_https_sent_nothing() -> None:
    """A server that answers the TLS greeting with something else never saw the request."""

    async def greeting(peer: Peer) -> None:
        await peer.stream.receive()
        await peer.send(answer(status="400 Bad Request"))

    async def main() -> None:
        async with serving(greeting) as server, calling(server.url.replace("http:", "https:")) as client:
            lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == ("connection", False)

    anyio.run(main)


def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    """The server closes after each answer: the next call uses a new connection, each is sent once."""

    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())

    async def main() -> None:
        async with serving(once) as server, calling(server.url) as client:
            for _ in range(20):
                replied(await client.call(b"{}"))
                await anyio.sleep(0.005)  # let the close arrive
        assert (len(server.requests), server.connections) == (20, 20)

    anyio.run(main)


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_a_request_lost_on_a_kept_connection_is_not_sent_again(reset: bool) -> None:
    """The server took the second request and closed: a silent second POST would be paid twice."""

    async def taking(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await peer.request()
        if reset:
            await peer.reset()

    async def main() -> None:
        async with serving(taking) as server, calling(server.url) as client:
            replied(await client.call(b"{}"))
            lost = unanswered(await client.call(b"{}"))
            assert (lost.type, lost.sent) == ("connection", True)
            assert (len(server.requests), server.connections) == (2, 1)

    anyio.run(main)


def test_a_close_that_crosses_a_request_loses_or_sends_it_once() -> None:
    """Closing a kept connection while the next request leaves: never more requests than calls."""

    async def racing(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        with anyio.move_on_after(0.001):
            await peer.request()
            await peer.send(answer())

    async def main() -> None:
        answered = possibly_paid = 0
        async with serving(racing) as server, calling(server.url) as client:
            for _ in range(100):
                exchange = await client.call(b"{}")
                if isinstance(exchange, Response):
                    answered += 1
                else:
                    possibly_paid += unanswered(exchange).sent
                await anyio.sleep(0.001)
        assert answered <= len(server.requests) <= answered + possibly_paid

    anyio.run(main)


@pytest.mark.parametrize("coded", [False, True], ids=["plain", "gzip"])
def test_an_answer_beyond_all_bounds_is_not_kept(coded: bool) -> None:
    """A body, or what it decompresses to, is read up to the bound: then the call ends as data."""

    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + (b"content-encoding: gzip\r\n" if coded else b"") + b"\r\n")
        packer = zlib.compressobj(wbits=31)
        while True:
            await peer.send(packer.compress(bytes(1_000_000)) if coded else bytes(65536))

    async def main() -> None:
        exchange, _ = await one_call(endless)
        lost = unanswered(exchange)
        assert (lost.type, lost.sent) == ("connection", True)
        assert "longer than 1,000,000 bytes" in lost.message

    anyio.run(main)


def test_messages_leave_out_passwords_and_queries() -> None:
    """A base URL may carry secrets; where the call went is said without them."""

    async def main() -> None:
        url = f"http://ann:{KEY}@127.0.0.1:1/v1?api-key={KEY}"
        async with calling(url) as client:
            lost = unanswered(await client.call(b"{}"))
        assert lost.message.startswith("POST http://127.0.0.1:1/v1/chat/completions: ")

    anyio.run(main)


@pytest.mark.parametrize(
    ("error", "kind", "sent"),
    [
        (httpx.ConnectError("x"), "connection", False),
        (httpx.ConnectTimeout("x"), "timeout", False),
        (httpx.PoolTimeout("x"), "timeout", False),
        (httpx.ProxyError("x"), "connection", False),
        (httpx.UnsupportedProtocol("x"), "connection", False),
        (httpx.ReadTimeout("x"), "timeout", True),
        (httpx.WriteTimeout("x"), "timeout", True),
        (httpx.ReadError("x"), "connection", True),
        (httpx.WriteError("x"), "connection", True),
        (httpx.CloseError("x"), "connection", True),
        (httpx.NetworkError("x"), "connection", True),
        (httpx.TimeoutException("x"), "timeout", True),
        (httpx.ProtocolError("x"), "connection", True),
        (httpx.RemoteProtocolError("x"), "connection", True),
        (httpx.LocalProtocolError("x"), "connection", True),
        (httpx.TransportError("x"), "connection", True),
        (httpx.DecodingError("x"), "connection", True),
        (httpx.TooManyRedirects("x"), "connection", True),
        (httpx.RequestError("x"), "connection", True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_error_of_httpx_becomes_data(error: httpx.RequestError, kind: str, sent: bool) -> None:
    """Under another transport the error's class says whether the request was sent; if in doubt, yes."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    async def main() -> None:
        transport = httpx.MockTransport(handler)
        client = Client("http://x/v1", headers={}, timeouts=RELAXED, transport=transport)
        lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == (kind, sent)

    anyio.run(main)


def test_no_error_of_httpx_is_missing_above() -> None:
    """The table above holds every class below RequestError, so that a new one is noticed."""
    table = test_every_error_of_httpx_becomes_data.pytestmark[0].args[1]  # type: ignore[attr-defined]  # pytest's
    known = {type(row[0]) for row in table}
    found = {
        kind for _, kind in inspect.getmembers(httpx, inspect.isclass) if issubclass(kind, httpx.RequestError)
    }
    assert known == found


TIMEOUTS = {
    exceptions.RequestTimeoutError,
    exceptions.ConnectTimeoutError,
    exceptions.ReadTimeoutError,
    exceptions.WriteTimeoutError,
    exceptions.PoolTimeoutError,
}
OTHERS = {
    exceptions.PyreqwestError,
    exceptions.DetailedPyreqwestError,
    exceptions.RequestError,
    exceptions.StatusError,
    exceptions.RedirectError,
    exceptions.DecodeError,
    exceptions.BodyDecodeError,
    exceptions.JSONDecodeError,
    exceptions.TransportError,
    exceptions.NetworkError,
    exceptions.ConnectError,
    exceptions.ReadError,
    exceptions.WriteError,
    exceptions.ClientClosedError,
    exceptions.BuilderError,
    exceptions.RequestPanicError,
}


def test_no_error_of_pyreqwest_is_missing_above() -> None:
    """A class that a new release brings must be given its meaning."""
    found = {
        kind
        for _, kind in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(kind, exceptions.PyreqwestError)
    }
    assert found == TIMEOUTS | OTHERS


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("raised", sorted(TIMEOUTS | OTHERS, key=str))
def test_an_error_means_what_the_request_had_come_to(
    raised: type[exceptions.PyreqwestError], sent: bool
) -> None:
    """pyreqwest names an error by its text; what had been sent decides what it is. The innermost cause is
    said, or the error's name where it says nothing."""
    detailed = issubclass(raised, exceptions.DetailedPyreqwestError)
    known = {"doc": "", "pos": 0, "causes": None}  # what pyreqwest wants to know of broken JSON
    causes = {**known, "causes": [{"message": "http://x?key=1"}, {"message": "inner"}]}
    translated = translate(raised("outer", causes) if detailed else raised("outer"), sent=sent)
    assert type(translated) is (LateError if raised in TIMEOUTS else CallError)
    assert (str(translated), translated.sent) == ("inner" if detailed else "outer", sent)
    assert str(translate(raised("", known) if detailed else raised(""), sent=sent)) == raised.__name__
