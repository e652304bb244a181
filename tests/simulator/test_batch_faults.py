"""Requests about files and batches that go wrong, over a socket."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from batchrun.simulator import SimulatorConfig, read_ledger
from tests.simulator.batched import content, create, line, over, played, upload

GONE = (httpx.RemoteProtocolError, httpx.ReadError)


async def step(client: httpx.AsyncClient, operation: str) -> httpx.Response:
    """One request of a kind, about the first file and the first batch."""
    file_id, batch_id = "file-00000001", "batch_00000001"
    asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    if operation == "upload":
        files = {"file": ("in.jsonl", b"{}")}
        return await client.post("/files", files=files, data={"purpose": "batch"})
    method, path = {
        "create": ("POST", "/batches"),
        "get": ("GET", f"/batches/{batch_id}"),
        "list": ("GET", "/batches"),
        "content": ("GET", f"/files/{file_id}/content"),
        "cancel": ("POST", f"/batches/{batch_id}/cancel"),
        "delete": ("DELETE", f"/files/{file_id}"),
        "list_files": ("GET", "/files"),
    }[operation]
    return await client.request(method, path, json=asked if operation == "create" else None)


async def done(client: httpx.AsyncClient) -> tuple[list[str], list[str]]:
    """The files and batches that there are, with their states."""
    files = (await client.get("/files")).json()["data"]
    batches = (await client.get("/batches")).json()["data"]
    return [file["id"] for file in files], [f"{one['id']} {one['status']}" for one in batches]


@pytest.mark.parametrize("operation", ["upload", "create", "cancel", "delete"])
@pytest.mark.parametrize("act", ["refuse", "lose", "cut"])
def test_what_is_refused_is_not_done_and_what_is_lost_or_cut_is(operation: str, act: str) -> None:
    """Whoever asks looks at what there is to know which it was."""

    async def scene(client: httpx.AsyncClient) -> None:
        if operation != "upload":
            await upload(client, [line(0)])
        if operation == "cancel":
            batch = await create(client, "file-00000001")
            while batch["status"] != "in_progress":
                batch = (await client.get(f"/batches/{batch['id']}")).json()
        before = await done(client)
        if act == "refuse":
            answer = await step(client, operation)
            assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
            assert await done(client) == before
        else:
            with pytest.raises(GONE):
                await step(client, operation)
            assert await done(client) != before

    fault = {"on": operation, "nth": 1, "act": act}
    played(scene, batches={"seconds": 60, "faults": [fault]})


@pytest.mark.parametrize("operation", ["get", "list", "content", "list_files"])
def test_the_nth_of_a_kind_is_struck_and_no_other(operation: str) -> None:
    """Those of other kinds are not counted."""

    async def scene(client: httpx.AsyncClient) -> None:
        await create(client, await upload(client, [line(0)]))
        statuses = []
        for _ in range(4):
            statuses.append((await step(client, operation)).status_code)
            statuses += [(await client.get(path)).status_code for path in ("/files/file-00000001", "/models")]
        assert statuses[::3] == [200, 200, 503, 200]
        assert {*statuses[1::3], *statuses[2::3]} == {200}

    fault = {"on": operation, "nth": 3, "act": "refuse", "status": 503}
    played(scene, batches={"seconds": 60, "faults": [fault]})


def test_a_fault_without_a_number_strikes_every_one_until_an_earlier_rule_does() -> None:
    """The first rule that applies strikes."""

    async def scene(client: httpx.AsyncClient) -> None:
        statuses = [(await step(client, "list")).status_code for _ in range(4)]
        assert statuses == [500, 429, 500, 500]

    first = {"on": "list", "nth": 2, "act": "refuse", "status": 429}
    played(scene, batches={"faults": [first, {"on": "list", "act": "refuse"}]})


def test_a_refusal_says_when_to_come_back() -> None:
    """As a provider does that has too many batches queued."""

    async def scene(client: httpx.AsyncClient) -> None:
        file_id = await upload(client, [line(0)])
        answer = await step(client, "create")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2.5")
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
        assert (await over(client, await create(client, file_id)))["status"] == "completed"

    fault = {"on": "create", "nth": 1, "act": "refuse", "status": 429, "retry_after": 2.5}
    played(scene, batches={"seconds": 0, "faults": [fault]})


def test_a_batch_whose_answer_was_lost_is_worked_on(tmp_path: Path) -> None:
    """It is found in the list by its metadata, and its lines are answered once."""
    ledger = tmp_path / "ledger.jsonl"

    async def scene(client: httpx.AsyncClient) -> None:
        file_id = await upload(client, [line(number) for number in range(5)])
        with pytest.raises(GONE):
            await create(client, file_id, metadata={"run": "x"})
        (found,) = (await client.get("/batches")).json()["data"]
        assert (found["metadata"], found["input_file_id"]) == ({"run": "x"}, file_id)
        assert (await over(client, found))["request_counts"]["completed"] == 5

    played(scene, ledger, batches={"seconds": 0, "faults": [{"on": "create", "act": "lose"}]})
    assert len(read_ledger(ledger)) == 5


def test_half_of_a_file_comes_and_then_the_connection_ends() -> None:
    """The length that was promised tells that something is missing; the whole comes the next time."""

    async def scene(client: httpx.AsyncClient) -> None:
        lines = [line(number) for number in range(50)]
        file_id = await upload(client, lines)
        got = b""
        async with client.stream("GET", f"/files/{file_id}/content") as answer:
            size = int(answer.headers["content-length"])
            with suppress(httpx.RemoteProtocolError):
                async for piece in answer.aiter_bytes():
                    got += piece
        assert len(got) == size // 2
        assert await content(client, file_id) == lines

    played(scene, batches={"faults": [{"on": "content", "nth": 1, "act": "cut"}]})


def test_an_answer_may_be_late_after_the_work_is_done() -> None:
    """A client that gives up meanwhile finds its batch."""

    async def scene(client: httpx.AsyncClient) -> None:
        file_id = await upload(client, [line(0)])
        asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/batches", json=asked, timeout=0.05)
        assert len((await client.get("/batches")).json()["data"]) == 1
        began = time.monotonic()
        assert (await step(client, "cancel")).status_code == 200
        assert time.monotonic() - began >= 0.2

    stalls = [{"on": "create", "stall": 30}, {"on": "cancel", "stall": 0.2}]
    played(scene, batches={"seconds": 60, "faults": stalls})


def test_a_wrong_key_is_no_request_that_counts() -> None:
    """It is refused before anything else is looked at."""

    async def scene(client: httpx.AsyncClient) -> None:
        wrong = {"authorization": "Bearer wrong"}
        assert (await client.get("/batches", headers=wrong)).status_code == 401
        assert (await client.get("/batches")).status_code == 503

    fault = {"on": "list", "nth": 1, "act": "refuse", "status": 503}
    played(scene, api_key="right", batches={"faults": [fault]})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"on": "get"}, "does something"),
        ({"on": "get", "act": "lose", "status": 500}, "act: refuse"),
        ({"on": "get", "stall": 1, "retry_after": 2}, "act: refuse"),
        ({"on": "get", "act": "refuse", "status": 200}, "greater than or equal to 400"),
        ({"on": "get", "act": "refuse", "nth": 0}, "greater than or equal to 1"),
        ({"on": "look", "act": "refuse"}, "'upload', 'create'"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(fault: dict[str, Any], message: str) -> None:
    """One that does nothing, or says how without saying what."""
    with pytest.raises(ValidationError, match=message):
        SimulatorConfig.model_validate({"batches": {"faults": [fault]}})
