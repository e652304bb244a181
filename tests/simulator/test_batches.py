"""The simulator's files and batches, over a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from batchrun.simulator import Running, SimulatorConfig, read_ledger, serve

Scene = Callable[[httpx.AsyncClient], Awaitable[None]]


def line(number: int, **members: Any) -> dict[str, Any]:
    body = {"model": "m", "messages": [{"role": "user", "content": f"row {number:06d}: hello"}]}
    return {
        "custom_id": f"r{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
        **members,
    }


def played(scene: Scene, ledger: Path | None = None, **config: Any) -> None:
    """Play a scene with a client of an endpoint whose batches go by these rules."""

    async def play() -> None:
        settings = SimulatorConfig.model_validate(config)
        async with serve(settings, ledger=ledger) as running:
            await asyncio.wait_for(_with_client(running, scene), 30)

    asyncio.run(play())


async def _with_client(running: Running, scene: Scene) -> None:
    headers = {"authorization": "Bearer right"}
    async with httpx.AsyncClient(base_url=running.base_url, trust_env=False, headers=headers) as client:
        await scene(client)


async def upload(client: httpx.AsyncClient, lines: list[dict[str, Any]]) -> str:
    data = "".join(json.dumps(one) + "\n" for one in lines)
    files = {"file": ("in.jsonl", data.encode(), "application/jsonl")}
    answer = await client.post("/files", files=files, data={"purpose": "batch"})
    return str(answer.raise_for_status().json()["id"])


async def create(client: httpx.AsyncClient, file_id: str, **members: Any) -> dict[str, Any]:
    asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    answer = await client.post("/batches", json={**asked, **members})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def over(client: httpx.AsyncClient, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch when it will not change any more."""
    while batch["status"] not in ("completed", "failed", "expired", "cancelled"):
        await asyncio.sleep(0.02)
        batch = (await client.get(f"/batches/{batch['id']}")).raise_for_status().json()
    return batch


async def content(client: httpx.AsyncClient, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    answer = await client.get(f"/files/{file_id}/content")
    return [json.loads(text) for text in answer.raise_for_status().text.splitlines()]


def test_every_line_is_answered_once_in_no_order_at_half_the_price(tmp_path: Path) -> None:
    """By its custom_id, with the answer that a call of its own gets; the ledger has each."""

    async def scene(client: httpx.AsyncClient) -> None:
        asked = [line(number) for number in range(300)]
        batch = await over(client, await create(client, await upload(client, asked), metadata={"run": "x"}))
        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 300, "completed": 300, "failed": 0}
        assert (batch["metadata"], batch["error_file_id"]) == ({"run": "x"}, None)
        found = await content(client, batch["output_file_id"])
        ids = [one["custom_id"] for one in found]
        assert sorted(ids) == sorted(one["custom_id"] for one in asked)
        assert ids != [one["custom_id"] for one in asked]
        own = (await client.post("/chat/completions", json=asked[7]["body"])).json()
        batched = next(one for one in found if one["custom_id"] == "r7")["response"]
        assert batched["status_code"] == 200
        assert batched["body"]["choices"] == own["choices"]

    ledger = tmp_path / "ledger.jsonl"
    played(scene, ledger, batches={"seconds": 0.1}, cost={"input": 1.0, "output": 1.0})
    calls = read_ledger(ledger)
    assert len(calls) == 301
    costs = [call.answer.cost_usd for call in calls if call.answer and call.prompt == "row 000007: hello"]
    batched, own = costs
    assert batched
    assert own == pytest.approx(batched * 2)


def test_lines_that_fail_are_in_a_file_of_their_own() -> None:
    """Each with the status and the error that a call gets."""

    async def scene(client: httpx.AsyncClient) -> None:
        batch = await create(client, await upload(client, [line(number) for number in range(20)]))
        batch = await over(client, batch)
        assert batch["request_counts"] == {"total": 20, "completed": 19, "failed": 1}
        (failed,) = await content(client, batch["error_file_id"])
        assert (failed["custom_id"], failed["response"]["status_code"]) == ("r3", 400)
        assert "error" in failed["response"]["body"]

    played(scene, batches={"seconds": 0}, faults=[{"match": "row 000003", "status": 400}])


def test_a_batch_that_expires_keeps_what_was_answered(tmp_path: Path) -> None:
    """The other lines say so, and were no calls."""

    async def scene(client: httpx.AsyncClient) -> None:
        asked = [line(number) for number in range(100)]
        batch = await over(client, await create(client, await upload(client, asked)))
        assert batch["status"] == "expired"
        good = await content(client, batch["output_file_id"])
        bad = await content(client, batch["error_file_id"])
        assert 0 < len(good) < 100
        assert len(good) + len(bad) == 100
        assert {one["error"]["code"] for one in bad} == {"batch_expired"}
        assert len(read_ledger(ledger)) == len(good)

    ledger = tmp_path / "ledger.jsonl"
    played(scene, ledger, batches={"seconds": 10, "expires_after": 2})


def test_a_cancelled_batch_answers_no_more() -> None:
    """And cannot be cancelled twice once it is over."""

    async def scene(client: httpx.AsyncClient) -> None:
        batch = await create(client, await upload(client, [line(number) for number in range(100)]))
        await asyncio.sleep(0.3)
        await client.post(f"/batches/{batch['id']}/cancel")
        batch = await over(client, batch)
        assert batch["status"] == "cancelled"
        assert batch["request_counts"]["completed"] < 100
        assert (await client.post(f"/batches/{batch['id']}/cancel")).status_code == 409

    played(scene, batches={"seconds": 60})


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([line(0), line(0)], "duplicate_custom_id"),
        ([line(0, method="GET")], "mismatched_endpoint"),
        ([line(0, custom_id=None)], "missing_required_parameter"),
        ([line(0, body=[])], "missing_required_parameter"),
        ([], "empty_file"),
        ([line(number) for number in range(6)], "too_many_tasks"),
    ],
)
def test_a_file_that_is_no_batch_fails_and_says_where(lines: list[dict[str, Any]], code: str) -> None:
    """Nothing of it is answered."""

    async def scene(client: httpx.AsyncClient) -> None:
        batch = await over(client, await create(client, await upload(client, lines)))
        assert (batch["status"], batch["output_file_id"]) == ("failed", None)
        assert [one["code"] for one in batch["errors"]["data"]] == [code]

    played(scene, batches={"seconds": 0, "lines": 5})


def test_more_tokens_than_the_quota_fail_until_others_are_over() -> None:
    """As providers word it; the same file is taken later."""

    async def scene(client: httpx.AsyncClient) -> None:
        file_id = await upload(client, [line(number) for number in range(40)])
        first = await create(client, file_id)
        second = await over(client, await create(client, file_id))
        assert second["status"] == "failed"
        assert second["errors"]["data"][0]["code"] == "token_limit_exceeded"
        assert (await over(client, first))["status"] == "completed"
        assert (await over(client, await create(client, file_id)))["status"] == "completed"

    played(scene, batches={"seconds": 0.5, "enqueued_tokens": 1_200})


def test_batches_and_files_are_listed_page_by_page() -> None:
    """Newest first, each once."""

    async def scene(client: httpx.AsyncClient) -> None:
        file_id = await upload(client, [line(0)])
        made = [(await create(client, file_id))["id"] for _ in range(7)]
        found: list[str] = []
        after: dict[str, str] = {}
        while True:
            page = (await client.get("/batches", params={"limit": 3, **after})).json()
            found += [one["id"] for one in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert found == made[::-1]
        files = (await client.get("/files", params={"purpose": "batch"})).json()["data"]
        assert [one["id"] for one in files] == [file_id]
        assert (await client.delete(f"/files/{file_id}")).json()["deleted"]
        assert (await client.get(f"/files/{file_id}")).status_code == 404

    played(scene, batches={"seconds": 0})


def test_what_is_wrong_is_refused() -> None:
    """Files that are too large or no upload, batches of other endpoints, keys that are not right."""

    async def scene(client: httpx.AsyncClient) -> None:
        large = {"file": ("in.jsonl", b"x" * 101)}
        answer = await client.post("/files", files=large, data={"purpose": "batch"})
        assert answer.status_code == 413
        assert (await client.post("/files", content=b"x")).status_code == 400
        assert (await client.post("/batches", json={"input_file_id": "x"})).status_code == 400
        assert (await client.get("/batches/batch_0")).status_code == 404
        assert (await client.get("/batches", headers={"authorization": "Bearer no"})).status_code == 401
        assert (await client.patch("/batches")).status_code == 404

    played(scene, api_key="right", batches={"bytes": 100})
