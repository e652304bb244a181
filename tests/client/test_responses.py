"""What a call sends, and how a server's answer comes back as a `Response`."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from batchrun.client import Client
from batchrun.errors import UsageError
from tests.client.servers import (
    ANSWER,
    KEY,
    RELAXED,
    Peer,
    answer,
    answering,
    calling,
    one_call,
    replied,
    sending,
    serving,
)


def unreachable(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"nothing may be sent: {request}")


def test_a_call_posts_the_body_with_the_key_and_its_length() -> None:
    """The server sees one POST to chat/completions: our headers, the exact body, its length."""

    async def main() -> None:
        async with serving(answering) as server, calling(server.url) as client:
            await client.call('{"content": "Käse"}'.encode())
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert lines[0] == b"post /v1/chat/completions http/1.1"
        assert f"authorization: bearer {KEY}".encode() in lines
        assert b"content-type: application/json" in lines
        assert b"content-length: 20" in lines
        assert f"host: {httpx.URL(server.url).netloc.decode()}".encode() in lines
        assert not [line for line in lines if line.startswith(b"transfer-encoding")]
        assert body == '{"content": "Käse"}'.encode()

    anyio.run(main)


def test_a_reply_carries_status_lower_case_headers_body_and_latency() -> None:
    """Names of headers are lower case and repeated ones joined; latency is in seconds."""

    async def main() -> None:
        headers = "X-Request-ID: Abc\r\nX-Tag: a\r\nx-tag: b\r\n"
        reply = replied((await one_call(sending(answer(headers=headers))))[0])
        assert (reply.status, reply.body) == (200, ANSWER)
        assert reply.headers["x-request-id"] == "Abc"
        assert reply.headers["x-tag"] == "a, b"
        assert 0 < reply.latency < 5

    anyio.run(main)


@pytest.mark.parametrize(
    ("pieces", "status", "body"),
    [
        pytest.param([answer(b"", status="204 No Content")], 204, b"", id="204"),
        pytest.param([answer(b"")], 200, b"", id="empty 200"),
        pytest.param([answer(b"slow down", status="429 Too Many Requests")], 429, b"slow down", id="429"),
        pytest.param([answer(b"<html>", status="502 Bad Gateway")], 502, b"<html>", id="502"),
        pytest.param([answer(b"?", status="529 Overloaded")], 529, b"?", id="status without a standard name"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n", answer()], 200, ANSWER, id="100 first"),
        pytest.param([b"HTTP/1.0 200 OK\r\n\r\n", b"to the ", b"end"], 200, b"to the end", id="HTTP/1.0"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"],
            200,
            b"abcde",
            id="chunked",
        ),
        pytest.param(
            [answer(gzip.compress(ANSWER), headers="content-encoding: gzip\r\n")], 200, ANSWER, id="gzip"
        ),
        pytest.param([answer(headers=f"x-long: {'x' * 60_000}\r\n")], 200, ANSWER, id="60 kB header"),
        pytest.param([answer(b"z" * 300_000)], 200, b"z" * 300_000, id="300 kB body"),
    ],
)
def test_any_whole_answer_is_a_reply(pieces: list[bytes], status: int, body: bytes) -> None:
    """Whatever the status, framing or coding, an answer that came whole is a `Response`."""

    async def main() -> None:
        reply = replied((await one_call(sending(*pieces)))[0])
        assert (reply.status, reply.body) == (status, body)
        assert "content-encoding" not in reply.headers

    anyio.run(main)


def test_a_header_in_latin_1_is_no_obstacle() -> None:
    """A byte outside ASCII in an answer's header costs neither the answer nor the run."""

    async def main() -> None:
        pieces = b"HTTP/1.1 200 OK\r\nx-city: K\xf6ln\r\nx-request-id: 1\r\ncontent-length: 2\r\n\r\nok"
        reply = replied((await one_call(sending(pieces)))[0])
        assert reply.body == b"ok"
        assert reply.headers == {"x-request-id": "1", "content-length": "2"}

    anyio.run(main)


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
def test_a_redirect_is_never_followed(status: str) -> None:
    """A 3xx is a reply like any other; the host it names, which must not get the key, sees nothing."""

    async def main() -> None:
        async with serving(answering) as elsewhere:
            redirect = answer(b"", status=status, headers=f"location: {elsewhere.url}\r\n")
            reply = replied((await one_call(sending(redirect)))[0])
            assert reply.status == int(status[:3])
            assert elsewhere.connections == 0

    anyio.run(main)


@pytest.mark.parametrize(
    ("suffix", "target"),
    [
        ("", b"/v1/chat/completions"),
        ("/", b"/v1/chat/completions"),
        ("?api-version=1", b"/v1/chat/completions?api-version=1"),
        ("/a%2Fb", b"/v1/a%2Fb/chat/completions"),
    ],
)
def test_the_path_is_joined_to_the_base_url(suffix: str, target: bytes) -> None:
    """A trailing slash does not double, a query stays at the end, escapes stay escapes."""

    async def main() -> None:
        async with serving(answering) as server, calling(server.url + suffix) as client:
            await client.call(b"{}")
        assert server.requests[0].split(b" ")[1] == target

    anyio.run(main)


def test_a_user_and_password_in_the_base_url_become_basic_authorization() -> None:
    """They are sent as RFC 7617 says, unless a key is given, and are not in the repr."""

    async def main() -> None:
        async with serving(answering) as server:
            url = server.url.replace("http://", "http://ann:s3%63ret@")
            transport = httpx.AsyncHTTPTransport()
            client = Client(url, headers={}, timeouts=RELAXED, transport=transport)
            replied(await client.call(b"{}"))
            await client.aclose()
        assert b"authorization: basic yw5uonmzy3jlda==" in server.requests[0].lower()
        assert "s3cret" not in repr(client)

    anyio.run(main)


def test_connections_are_kept_for_the_next_call() -> None:
    """Calls one after another use one connection."""

    async def main() -> None:
        async with serving(answering) as server, calling(server.url) as client:
            for _ in range(5):
                replied(await client.call(b"{}"))
        assert (len(server.requests), server.connections) == (5, 1)

    anyio.run(main)


def test_any_transport_of_httpx_fits() -> None:
    """The seam is httpx's: a handler function serves a test, and coded bodies are decoded."""

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.read() == b"{}"
        return httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(b"hello"))

    async def main() -> None:
        transport = httpx.MockTransport(handler)
        client = Client("http://x/v1", headers={}, timeouts=RELAXED, transport=transport)
        assert replied(await client.call(b"{}")).body == b"hello"

    anyio.run(main)


class Stream(httpx.AsyncByteStream):
    """A transport's body that counts how often it was closed."""

    def __init__(self, error: httpx.ReadError | None) -> None:
        self.error = error
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"abc"
        if self.error:
            raise self.error

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(("error", "max_body"), [(None, 9), (None, 2), (httpx.ReadError("cut"), 9)])
def test_the_answer_is_closed_however_its_reading_ends(error: httpx.ReadError | None, max_body: int) -> None:
    """Read to the end, too long or cut: the transport gets its connection back, once."""
    stream = Stream(error)

    async def main() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))
        client = Client("http://x/v1", headers={}, timeouts=RELAXED, transport=transport, max_body=max_body)
        await client.call(b"{}")
        assert stream.closed == 1

    anyio.run(main)


@pytest.mark.parametrize("url", ["", "localhost:8000/v1", "ftp://host/v1", "http://", "http://[::1", "/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """The error says how to write one."""
    with pytest.raises(UsageError, match=r"base_url .*\n.*https://HOST/v1"):
        Client(url, headers={}, timeouts=RELAXED, transport=httpx.MockTransport(unreachable))


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}\n"},
        {"Authorization": f"Bearer {KEY}\r\nx: y"},
        {"Authorization": f"Bearer {KEY}\x00"},
        {"Authorization": f"Bearer „{KEY}“"},
        {"X-App ID": KEY},
        {"": KEY},
    ],
)
def test_a_header_that_http_cannot_carry_is_refused_without_showing_it(headers: dict[str, str]) -> None:
    """A key with a line break stops the run before the first call, and is not printed."""
    transport = httpx.MockTransport(unreachable)
    with pytest.raises(UsageError, match="line break") as caught:
        Client("http://x/v1", headers=headers, timeouts=RELAXED, transport=transport)
    assert KEY not in str(caught.value)


def test_the_repr_shows_the_address_only() -> None:
    """Neither the key nor the query nor a password appear in the repr."""
    client = Client(
        f"http://ann:{KEY}@host/v1?key={KEY}",
        headers={"Authorization": KEY},
        timeouts=RELAXED,
        transport=httpx.MockTransport(unreachable),
    )
    assert repr(client) == "Client('http://host/v1/chat/completions')"


def test_a_key_that_the_server_quotes_is_hidden() -> None:
    """What is kept of an answer never holds the key, even where a server says which key was wrong."""
    said = f'{{"error": {{"message": "Incorrect API key provided: {KEY}"}}}}'.encode()

    async def quoting(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(said, status="401 Unauthorized"))

    async def main() -> None:
        async with serving(quoting) as server, calling(server.url) as client:
            reply = replied(await client.call(b"{}"))
        assert KEY.encode() not in reply.body
        assert b"Incorrect API key provided: [API key]" in reply.body

    anyio.run(main)


@pytest.mark.parametrize(
    ("headers", "secrets", "quoted"),
    [
        ({"X-Portkey-Key": KEY}, [KEY], KEY),
        ({"X-Auth": f"{KEY}-longer"}, [KEY, f"{KEY}-longer"], f"{KEY}-longer"),
        ({"Authorization": "Basic " + b64encode(f"ann:{KEY}".encode()).decode()}, [], KEY),
        ({"Authorization": "Basic " + b64encode(f"ann:{KEY}".encode()).decode()}, [], f"ann:{KEY}"),
    ],
)
def test_every_secret_that_is_sent_is_hidden(
    headers: dict[str, str], secrets: list[str], quoted: str
) -> None:
    """Whatever header carries it, and the password of Basic authorization in clear."""

    async def main() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(401, content=f"wrong: {quoted}, short"))
        client = Client(
            "http://x/v1", headers=headers, timeouts=RELAXED, transport=transport, secrets=[*secrets, "short"]
        )
        body = replied(await client.call(b"{}")).body
        assert body == f"wrong: {quoted.replace(quoted.removeprefix('ann:'), '[API key]')}, short".encode()

    anyio.run(main)


def test_a_password_in_the_base_url_is_hidden() -> None:
    """A server that quotes what it decoded of it gets no further."""

    async def main() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(401, content=f"no user with {KEY}"))
        client = Client(f"http://ann:{KEY}@x/v1", headers={}, timeouts=RELAXED, transport=transport)
        assert replied(await client.call(b"{}")).body == b"no user with [API key]"

    anyio.run(main)
