"""Proxies, and the certificates that are trusted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteReceiveStream, ByteSendStream

from batchrun.client import build_transport
from batchrun.errors import UsageError
from tests.client.servers import (
    KEY,
    RELAXED,
    TLS,
    Peer,
    answer,
    answering,
    calling,
    replied,
    serving,
    unanswered,
)

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxies the machine has, the tests begin without."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def tunnelling(peer: Peer) -> None:
    """A CONNECT proxy: open the connection that is asked for, then pass bytes both ways."""
    head = await connect_request(peer)
    host, port = head.split(b" ")[1].decode().split(":")
    async with await anyio.connect_tcp(host, int(port)) as onward:
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(passing, onward, peer.stream)
            await passing(peer.stream, onward)
            tasks.cancel_scope.cancel()


async def connect_request(peer: Peer) -> bytes:
    head = await peer.stream.receive()
    while not head.endswith(b"\r\n\r\n"):
        head += await peer.stream.receive()
    peer.server.requests.append(head)
    return head


async def passing(source: ByteReceiveStream, sink: ByteSendStream) -> None:
    try:
        async for chunk in source:
            await sink.send(chunk)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # either end may go first


def address(url: str) -> str:
    return url.removesuffix("/v1")


def test_a_proxy_carries_calls_over_http() -> None:
    """The proxy gets the whole address (RFC 9112, 3.2.2) and its own credentials."""

    async def main() -> None:
        async with serving(answering) as proxy:
            url = address(proxy.url).replace("http://", "http://ann:s3cret@")
            async with calling("http://api.invalid/v1", proxy=url) as client:
                replied(await client.call(b"{}"))
        request = proxy.requests[0].lower()
        assert request.startswith(b"post http://api.invalid/v1/chat/completions http/1.1\r\n")
        assert b"proxy-authorization: basic yw5uonmzy3jlda==" in request

    anyio.run(main)


def test_a_proxy_carries_calls_over_https_unread() -> None:
    """CONNECT, then TLS with the endpoint itself: the proxy never sees the key."""

    async def main() -> None:
        async with serving(answering, tls=True) as server, serving(tunnelling) as proxy:
            async with calling(server.url, proxy=address(proxy.url), ca_file=TLS / "authority.pem") as client:
                replied(await client.call(b"{}"))
            assert proxy.requests[0].startswith(b"CONNECT localhost:")
            assert KEY.encode() not in proxy.requests[0]
            assert KEY.encode() in server.requests[0]

    anyio.run(main)


async def refusing(peer: Peer) -> None:
    await connect_request(peer)
    await peer.send(answer(b"", status="407 Proxy Authentication Required"))


async def mute(peer: Peer) -> None:
    await connect_request(peer)
    await peer.silence()


@pytest.mark.parametrize(("handler", "kind"), [(refusing, "connection"), (mute, "timeout")])
def test_a_proxy_that_makes_no_tunnel_sent_nothing(
    handler: Callable[[Peer], Awaitable[None]], kind: str
) -> None:
    """The endpoint was never reached, and the message has no password of the proxy's."""

    async def main() -> None:
        async with serving(handler) as proxy:
            url = address(proxy.url).replace("http://", f"http://ann:{KEY}@")
            timeouts = type(RELAXED)(connect=0.3, idle=5, total=5)
            async with calling("https://api.invalid/v1", timeouts, proxy=url) as client:
                lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == (kind, False)

    anyio.run(main)


def test_a_proxy_that_is_not_there_sent_nothing() -> None:
    """A refused connection to the proxy is one to the endpoint."""

    async def main() -> None:
        async with calling("http://api.invalid/v1", proxy="127.0.0.1:1") as client:
            lost = unanswered(await client.call(b"{}"))
        assert (lost.type, lost.sent) == ("connection", False)

    anyio.run(main)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_environments_proxy_is_used(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a company's proxy nothing else reaches the endpoint: as with curl and httpx."""

    async def main() -> None:
        async with serving(answering) as proxy:
            monkeypatch.setenv(variable, address(proxy.url))
            async with calling("http://api.invalid/v1") as client:
                replied(await client.call(b"{}"))
            assert len(proxy.requests) == 1

    anyio.run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "LOCALHOST"])
def test_loopback_never_goes_through_the_environments_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local vLLM or simulator is reached directly, whatever HTTP_PROXY says."""

    async def main() -> None:
        async with serving(answering) as proxy, serving(answering) as server:
            monkeypatch.setenv("HTTP_PROXY", address(proxy.url))
            monkeypatch.setenv("ALL_PROXY", address(proxy.url))
            async with calling(server.url.replace("127.0.0.1", host)) as client:
                await client.call(b"{}")
            assert proxy.requests == []

    anyio.run(main)


@pytest.mark.parametrize("exempt", ["api.invalid", ".invalid", "other,api.invalid", "*"])
def test_no_proxy_names_hosts_to_reach_directly(exempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY exempts hosts and domains. (A label of 64 letters resolves nowhere, asking nobody.)"""

    async def main() -> None:
        host = f"{'a' * 64}.invalid"
        async with serving(answering) as proxy:
            monkeypatch.setenv("HTTP_PROXY", address(proxy.url))
            monkeypatch.setenv("NO_PROXY", exempt.replace("api.invalid", host))
            async with calling(f"http://{host}/v1") as client:
                unanswered(await client.call(b"{}"))
            assert proxy.requests == []

    anyio.run(main)


def test_a_proxy_of_the_job_is_used_for_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """`proxy` was asked for by name: neither NO_PROXY nor loopback takes a call off it."""

    async def main() -> None:
        monkeypatch.setenv("NO_PROXY", "*")
        url = "http://127.0.0.1:9/v1"
        async with serving(answering) as proxy, calling(url, proxy=address(proxy.url)) as client:
            replied(await client.call(b"{}"))

    anyio.run(main)


@pytest.mark.parametrize("proxy", ["", "http://", f"ftp://ann:{KEY}@host:21", f"http://ann:{KEY}@:x", "a b"])
def test_a_proxy_that_is_no_address_is_refused(proxy: str) -> None:
    """The error says how to write one, and leaves out what was written: it may hold a password."""
    with pytest.raises(UsageError, match=r"proxy: not the address of a proxy\n.*http://HOST:PORT") as caught:
        build_transport(RELAXED, proxy=proxy, max_connections=1)
    assert KEY not in str(caught.value)


def test_a_ca_file_is_trusted() -> None:
    """An endpoint with a private authority's certificate is reached, and its name is checked."""

    async def main() -> None:
        ca_file = TLS / "authority.pem"
        async with serving(answering, tls=True) as server, calling(server.url, ca_file=ca_file) as client:
            replied(await client.call(b"{}"))

    anyio.run(main)


def test_a_ca_file_adds_to_the_systems_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's authorities stay trusted beside those of `ca_file`."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "authority.pem"))
    other = TLS / "localhost.pem"

    async def main() -> None:
        async with serving(answering, tls=True) as server, calling(server.url, ca_file=other) as client:
            replied(await client.call(b"{}"))

    anyio.run(main)


def test_a_system_without_certificates_still_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A minimal container has no authorities: loopback works, and https trusts certifi's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    async def main() -> None:
        async with serving(answering) as server, calling(server.url) as client:
            replied(await client.call(b"{}"))

    anyio.run(main)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), ("not a certificate", "PEM|certificate")]
)
def test_a_ca_file_that_holds_no_certificate_is_refused(
    content: str | None, reason: str, tmp_path: Path
) -> None:
    """The error names the file and says what it must be."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=rf"ca_file .*ca\.pem: .*(?i:{reason})"):
        build_transport(RELAXED, ca_file=path, max_connections=1)
