"""The simulator's files and batches, over a socket."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from batchrun.simulator import connection, read_ledger
from tests.simulator.batched import content, create, line, over, played, upload


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


async def listed(client: httpx.AsyncClient, path: str, **query: Any) -> list[str]:
    """The ids of all pages."""
    found: list[str] = []
    while True:
        page = (await client.get(path, params=query)).raise_for_status().json()
        found += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            return found
        query["after"] = page["last_id"]


def test_files_are_listed_newest_first_by_their_purpose() -> None:
    """All on one page where no limit is given, and in pages where one is."""

    async def scene(client: httpx.AsyncClient) -> None:
        made = [await upload(client, [line(number)]) for number in range(25)]
        batch = await over(client, await create(client, made[0]))
        page = (await client.get("/files")).json()
        assert [one["id"] for one in page["data"]] == [batch["output_file_id"], *made[::-1]]
        assert not page["has_more"]
        assert await listed(client, "/files", purpose="batch", limit=10) == made[::-1]
        assert await listed(client, "/files", purpose="batch_output", limit=1) == [batch["output_file_id"]]

    played(scene, batches={"seconds": 0})


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/batches?limit=0", "limit"),
        ("/batches?limit=101", "limit"),
        ("/batches?limit=x", "limit"),
        ("/files?limit=10001", "limit"),
        ("/batches?after=batch_0", "after"),
        ("/files?after=file-0", "after"),
    ],
)
def test_a_page_that_cannot_be_is_refused(path: str, param: str) -> None:
    """Not answered with another page, which a client would go through for ever."""

    async def scene(client: httpx.AsyncClient) -> None:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)

    played(scene)


def test_a_provider_may_list_neither_batches_nor_files() -> None:
    """A 404, as of any address that is not; each can still be looked at by its id."""

    async def scene(client: httpx.AsyncClient) -> None:
        file_id = await upload(client, [line(0)])
        batch = await over(client, await create(client, file_id))
        for path in ("/batches", "/files?purpose=batch"):
            answer = await client.get(path)
            assert (answer.status_code, "Invalid URL" in answer.text) == (404, True)
        assert (await client.get(f"/batches/{batch['id']}")).json()["input_file_id"] == file_id
        assert (await client.get(f"/files/{file_id}")).json()["filename"] == "in.jsonl"

    played(scene, batches={"seconds": 0, "listing": False})


@pytest.mark.parametrize("models", ["one", "any"])
def test_a_file_may_have_to_name_one_model(models: str) -> None:
    """Then another one fails the batch, and the error says in which line."""

    async def scene(client: httpx.AsyncClient) -> None:
        lines = [line(number) for number in range(4)]
        lines[2]["body"]["model"] = "other"
        batch = await over(client, await create(client, await upload(client, lines)))
        if models == "any":
            assert batch["status"] == "completed"
            return
        assert batch["status"] == "failed"
        (error,) = batch["errors"]["data"]
        assert (error["code"], error["line"]) == ("mismatched_model", 3)
        assert "other" in error["message"]

    played(scene, batches={"seconds": 0, "models": models})


def test_cancelling_takes_as_long_as_it_is_told_to(tmp_path: Path) -> None:
    """No line is answered after the wish, however far the next is off; the files come at the end."""
    ledger = tmp_path / "ledger.jsonl"

    async def scene(client: httpx.AsyncClient) -> None:
        batch = await create(client, await upload(client, [line(number) for number in range(10)]))
        while batch["status"] != "in_progress":
            batch = (await client.get(f"/batches/{batch['id']}")).json()
        wished = time.monotonic()
        batch = (await client.post(f"/batches/{batch['id']}/cancel")).json()
        assert (batch["status"], batch["error_file_id"]) == ("cancelling", None)
        batch = await over(client, batch)
        assert 0.3 <= time.monotonic() - wished < 10
        assert batch["status"] == "cancelled"
        cut = await content(client, batch["error_file_id"])
        assert len({one["id"] for one in cut}) == len(cut) == 10
        assert {one["error"]["code"] for one in cut} == {"batch_cancelled"}

    played(scene, ledger, batches={"seconds": 600, "cancelling": 0.3})
    assert read_ledger(ledger) == []


def test_a_batch_can_be_cancelled_while_it_is_finalized() -> None:
    """Everything was answered, and it says that it was cancelled."""

    async def scene(client: httpx.AsyncClient) -> None:
        batch = await create(client, await upload(client, [line(0)]))
        while batch["status"] != "finalizing":
            batch = (await client.get(f"/batches/{batch['id']}")).json()
        await client.post(f"/batches/{batch['id']}/cancel")
        batch = await over(client, batch)
        assert (batch["status"], batch["request_counts"]["completed"]) == ("cancelled", 1)

    played(scene, batches={"seconds": 0, "validating": 0.3, "cancelling": 0})


@pytest.mark.parametrize("size", [999_990, 1_000_000, 1_000_001, 1_500_000])
def test_a_file_may_have_so_many_bytes_and_no_more(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger one is told so by an answer of the API, and the connection goes on."""
    monkeypatch.setattr(connection, "MAX_BODY", 600_000)

    async def scene(client: httpx.AsyncClient) -> None:
        file = {"file": ("in.jsonl", b"x" * size)}
        answer = await client.post("/files", files=file, data={"purpose": "batch"})
        if size <= 1_000_000:
            assert (answer.status_code, answer.json()["bytes"]) == (200, size)
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
            assert "larger than 1000000 bytes" in answer.text
        assert "connection" not in answer.headers

    played(scene, batches={"bytes": 1_000_000})


@pytest.mark.parametrize(
    "body",
    [
        b'--b\r\nname="file"\r\n\r\n{}\r\n--b--\r\n',
        b'--b\r\nx; name="file"\r\n\r\n{}\r\n--b\r\nx; name="purpose"\r\n\r\nbatch',
        b"no part at all",
        b"",
    ],
    ids=["no purpose", "no end", "no part", "nothing"],
)
def test_an_upload_that_is_not_whole_is_refused(body: bytes) -> None:
    """A file and its purpose, each with an end."""

    async def scene(client: httpx.AsyncClient) -> None:
        headers = {"content-type": "multipart/form-data; boundary=b"}
        assert (await client.post("/files", content=body, headers=headers)).status_code == 400

    played(scene)


def test_a_file_comes_back_byte_for_byte() -> None:
    """With line ends and dashes that look like a boundary's, after words before the first part."""
    data = b"\r\n--\r\n\r\n--x\r\n" + bytes(range(256)) * 20_000

    async def scene(client: httpx.AsyncClient) -> None:
        body = (
            b'words\r\n--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\n'
            b'content-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
            + data
            + b"\r\n--b--\r\n"
        )
        headers = {"content-type": "multipart/form-data; boundary=b"}
        file = (await client.post("/files", content=body, headers=headers)).raise_for_status().json()
        assert (file["filename"], file["purpose"], file["bytes"]) == ("a.jsonl", "batch", len(data))
        assert (await client.get(f"/files/{file['id']}/content")).content == data

    played(scene)
