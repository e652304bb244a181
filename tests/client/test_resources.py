"""Requests to the other paths of an endpoint, over a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from batchrun.client import Form, Resources, Server, Timeouts, Transport, build_transport
from batchrun.client.over_httpx import HttpxTransport
from batchrun.outcome import Exchange, NoResponse, Response
from batchrun.simulator import SimulatorConfig, serve
from tests.client.servers import Peer, serving

TIMEOUTS = Timeouts(5.0, 60.0, 60.0)
KEY = "canary-key-0000"

Scene = Callable[[Resources], Awaitable[None]]


def pyreqwest() -> Transport:
    return build_transport(TIMEOUTS, max_connections=2)


def over_httpx() -> Transport:
    return HttpxTransport(httpx.AsyncHTTPTransport(), TIMEOUTS)


def played(scene: Scene, transport: Callable[[], Transport] = pyreqwest, **config: Any) -> None:
    """Play a scene with the resources of a simulator."""

    async def play() -> None:
        async with serve(SimulatorConfig.model_validate({"api_key": KEY, **config})) as running:
            server = Server(running.base_url, headers={"authorization": f"Bearer {KEY}"})
            resources = Resources(server, transport())
            try:
                await asyncio.wait_for(scene(resources), 30)
            finally:
                await resources.aclose()

    asyncio.run(play())


def document(exchange: Exchange, status: int = 200) -> dict[str, Any]:
    assert isinstance(exchange, Response), exchange
    assert exchange.status == status
    found: dict[str, Any] = json.loads(exchange.body)
    return found


@pytest.mark.parametrize("transport", [pyreqwest, over_httpx])
def test_a_file_comes_back_as_it_was_sent(tmp_path: Path, transport: Callable[[], Transport]) -> None:
    """Uploaded from a file, listed with a query, downloaded into a file, deleted."""
    sent, received = tmp_path / "sent", tmp_path / "received.jsonl"
    sent.write_bytes(b'{"n": 1}\r\n--x\r\n' * 20_000)

    async def scene(resources: Resources) -> None:
        form = Form({"purpose": "batch"}, sent, "sent ü.jsonl", "application/jsonl")
        made = document(await resources.upload("/files", form))
        assert (made["purpose"], made["bytes"]) == ("batch", sent.stat().st_size)
        assert document(await resources.get("/files", {"purpose": "batch"}))["data"] == [made]
        assert document(await resources.get("/files", {"purpose": "other"}))["data"] == []
        answer = await resources.download(f"/files/{made['id']}/content", received)
        assert isinstance(answer, Response)
        assert received.read_bytes() == sent.read_bytes()
        assert document(await resources.delete(f"/files/{made['id']}"))["deleted"]
        assert document(await resources.get(f"/files/{made['id']}"), 404)["error"]

    played(scene, transport)


def test_what_is_refused_says_why_and_no_file_is_written(tmp_path: Path) -> None:
    """The body of an answer that is no success is a document, also where a file was asked for."""

    async def scene(resources: Resources) -> None:
        to = tmp_path / "received.jsonl"
        found = document(await resources.download("/files/file-0/content", to), 404)
        assert "file-0" in found["error"]["message"]
        assert not to.exists()
        assert document(await resources.post("/batches", {"input_file_id": "x"}), 400)["error"]

    played(scene)


def test_a_server_that_is_not_there_is_no_exception() -> None:
    """And nothing was sent then; the key is not in what is said."""

    async def main() -> None:
        server = Server(
            "http://127.0.0.1:9/v1?key=hidden-in-query", headers={"authorization": f"Bearer {KEY}"}
        )
        resources = Resources(server, pyreqwest())
        answer = await resources.post("/batches", {})
        assert isinstance(answer, NoResponse)
        assert not answer.sent
        assert "POST http://127.0.0.1:9/v1/batches: " in answer.message
        assert "hidden" not in answer.message
        await resources.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("piece", [1, 7, 64, 100_000])
def test_no_key_is_written_to_a_file(tmp_path: Path, piece: int) -> None:
    """Wherever the pieces are cut in which the file comes; everything else stays as it is."""
    text = f'first\n{{"said":"your key {KEY} is wrong"}}\n\nlast {KEY}'.encode()

    async def answering(peer: Peer) -> None:
        await peer.request()
        await peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n".encode())
        for at in range(0, len(text), piece):
            await peer.send(text[at : at + piece])

    async def main() -> None:
        async with serving(answering) as server:
            own = Server(server.url, headers={"authorization": f"Bearer {KEY}"})
            resources = Resources(own, pyreqwest())
            await resources.download("/files/f/content", tmp_path / "received")
            await resources.aclose()

    asyncio.run(main())
    assert (tmp_path / "received").read_bytes() == text.replace(KEY.encode(), b"[API key]")
