"""The completions that the simulator stores, over a socket."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from batchrun.simulator import read_ledger
from tests.simulator.batched import content, create, line, over, played, upload
from tests.simulator.wire import QUESTION

PATH = "/chat/completions"
GONE = (httpx.RemoteProtocolError, httpx.ReadError)


def body(question: str = QUESTION, **members: Any) -> dict[str, Any]:
    """A request whose completion is stored."""
    messages = [{"role": "user", "content": question}]
    return {"model": "m", "messages": messages, "store": True, **members}


async def ask(client: httpx.AsyncClient, question: str = QUESTION, **members: Any) -> dict[str, Any]:
    """The completion of such a request."""
    answer = await client.post(PATH, json=body(question, **members))
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def listed(client: httpx.AsyncClient, path: str = PATH, **query: Any) -> list[dict[str, Any]]:
    """The items of one page."""
    found: list[dict[str, Any]] = (await client.get(path, params=query)).raise_for_status().json()["data"]
    return found


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in found]


def test_a_completion_that_asks_for_it_is_kept_with_what_was_asked() -> None:
    """The same document that was answered, the request's metadata and settings, and its id."""

    async def scene(client: httpx.AsyncClient) -> None:
        asked = body(metadata={"run": "x", "row": "7"}, temperature=0.5, seed=3)
        answer = await client.post(PATH, json=asked)
        await client.post(PATH, json={**asked, "store": False})
        await client.post(PATH, json={**asked, "store": None})
        (found,) = await listed(client)
        assert found == (await client.get(f"{PATH}/{found['id']}")).json()
        own = answer.json()
        assert {name: found[name] for name in own} == own
        assert found["metadata"] == {"run": "x", "row": "7"}
        assert found["request_id"] == answer.headers["x-request-id"]
        assert (found["temperature"], found["seed"], found["top_p"]) == (0.5, 3, 1.0)
        assert [found[name] for name in ("input_user", "tools", "tool_choice", "response_format")] == [
            None
        ] * 4

    played(scene)


def test_what_is_asked_of_the_store_is_no_call(tmp_path: Path) -> None:
    """The ledger has the completion and nothing else."""
    ledger = tmp_path / "ledger.jsonl"

    async def scene(client: httpx.AsyncClient) -> None:
        made = await ask(client)
        await listed(client)
        await client.get(f"{PATH}/{made['id']}/messages")
        await client.post(f"{PATH}/{made['id']}", json={"metadata": {}})
        await client.delete(f"{PATH}/{made['id']}")

    played(scene, ledger)
    assert len(read_ledger(ledger)) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", [{"close": "before_headers"}, {"reset": "mid_body"}, {"answer": "malformed"}]
)
def test_a_completion_is_whole_in_the_store_however_it_was_delivered(
    stream: bool, fault: dict[str, str]
) -> None:
    """What was billed and never arrived is found by its metadata, and is what the next call gets."""

    async def scene(client: httpx.AsyncClient) -> None:
        asked = body(metadata={"row": "7"}, stream=stream)
        if "answer" in fault:
            assert (await client.post(PATH, json=asked)).status_code == 200
        else:
            with pytest.raises(GONE):
                await client.post(PATH, json=asked)
        (found,) = await listed(client, **{"metadata[row]": "7"})
        own = await ask(client)
        assert (found["object"], found["choices"]) == ("chat.completion", own["choices"])
        assert found["usage"] == own["usage"]

    played(scene, faults=[{**fault, "calls": [1, 1]}])


def test_a_completion_is_kept_when_its_client_has_left() -> None:
    """It was billed: the client gave up while it was generated."""

    async def scene(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(PATH, json=body(), timeout=0.05)
        assert await listed(client) == []
        while not await listed(client):  # noqa: ASYNC110 - what the server keeps is no event
            await asyncio.sleep(0.01)

    played(scene, latency={"kind": "constant", "seconds": 0.3})


def test_what_was_not_billed_is_not_kept(tmp_path: Path) -> None:
    """Failures and refused requests; the ledger's billed calls are those of the store."""
    ledger = tmp_path / "ledger.jsonl"

    async def scene(client: httpx.AsyncClient) -> None:
        answers = [await client.post(PATH, json=body(f"question {number}")) for number in range(4)]
        assert [answer.status_code for answer in answers] == [500, 429, 200, 200]
        assert (await client.post(PATH, json=body(n=0))).status_code == 400
        assert ids(await listed(client)) == [answers[3].json()["id"]]

    faults = [
        {"calls": [1, 1], "status": 500},
        {"calls": [2, 2], "status": 429},
        {"calls": [3, 3], "error_in_200": 502},
    ]
    played(scene, ledger, faults=faults)
    assert [call.answer.billed for call in read_ledger(ledger) if call.answer].count(True) == 1


@pytest.mark.parametrize(
    ("fault", "reason", "is_empty"),
    [
        ({"answer": "content_filter"}, "content_filter", True),
        ({"finish_reason": "length"}, "length", False),
        ({"answer": "null_choices"}, "stop", False),
    ],
)
def test_the_store_has_what_the_model_said(fault: dict[str, str], reason: str, is_empty: bool) -> None:
    """Where it was filtered, that; where only the answer was broken, the whole of it."""

    async def scene(client: httpx.AsyncClient) -> None:
        await client.post(PATH, json=body())
        (found,) = await listed(client)
        (choice,) = found["choices"]
        assert (choice["finish_reason"], choice["message"]["content"] == "") == (reason, is_empty)

    played(scene, faults=[fault])


def test_the_lines_of_a_batch_are_kept_too() -> None:
    """Those that were answered well, each as its line has it."""

    async def scene(client: httpx.AsyncClient) -> None:
        lines = [line(number) for number in range(10)]
        for number, one in enumerate(lines):
            one["body"] |= {"store": number != 4, "metadata": {"row": str(number)}}
        batch = await over(client, await create(client, await upload(client, lines)))
        answered = {one["custom_id"]: one for one in await content(client, batch["output_file_id"])}
        rows = {one["metadata"]["row"]: one for one in await listed(client)}
        assert sorted(rows) == ["0", "1", "2", "5", "6", "7", "8", "9"]
        for row, found in rows.items():
            own = answered[f"r{row}"]["response"]["body"]
            assert {name: found[name] for name in own} == own

    played(scene, batches={"seconds": 0}, faults=[{"match": "row 000003", "status": 500}])


def test_the_list_is_filtered_by_model_and_by_every_metadata() -> None:
    """Keys and values may hold anything that a URL can be made to carry."""

    async def scene(client: httpx.AsyncClient) -> None:
        odd = {"a[b]&c=d e": "ü+/? %41"}
        made = [
            await ask(client, "1", metadata={"run": "x", "row": "1"}),
            await ask(client, "2", metadata={"run": "x", "row": "2"}, model="other"),
            await ask(client, "3", metadata={"run": "y", "row": "1"}),
            await ask(client, "4", metadata={**odd, "empty": ""}),
            await ask(client, "5"),
        ]
        for query, expected in [
            ({}, [0, 1, 2, 3, 4]),
            ({"model": "other"}, [1]),
            ({"model": "none"}, []),
            ({"metadata[run]": "x"}, [0, 1]),
            ({"metadata[run]": "x", "metadata[row]": "1"}, [0]),
            ({"metadata[run]": "x", "metadata[row]": "1", "model": "other"}, []),
            ({"metadata[a[b]&c=d e]": "ü+/? %41"}, [3]),
            ({"metadata[empty]": ""}, [3]),
            ({"metadata[run]": "x", "order": "desc"}, [1, 0]),
        ]:
            assert ids(await listed(client, **query)) == [made[place]["id"] for place in expected], query

    played(scene)


@pytest.mark.parametrize("order", ["asc", "desc", None])
def test_the_list_comes_page_by_page(order: str | None) -> None:
    """Twenty where nothing is said, oldest first; what is deleted from behind does not move the pages."""

    async def scene(client: httpx.AsyncClient) -> None:
        made = [(await ask(client, f"question {number}"))["id"] for number in range(45)]
        expected = made[::-1] if order == "desc" else made
        query = {"order": order} if order else {}
        found: list[str] = []
        sizes = []
        while True:
            page = (await client.get(PATH, params=query)).json()
            found += ids(page["data"])
            sizes.append(len(page["data"]))
            assert (page["object"], page["first_id"]) == ("list", page["data"][0]["id"])
            await client.delete(f"{PATH}/{page['first_id']}")
            if not page["has_more"]:
                break
            query["after"] = page["last_id"]
        assert (found, sizes) == (expected, [20, 20, 5])
        assert len(await listed(client, limit=100)) == 42

    played(scene)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"order": "up"}, "order"),
        ({"after": "chatcmpl-none"}, "after"),
    ],
)
@pytest.mark.parametrize("of", ["completions", "messages"])
def test_a_page_that_cannot_be_is_refused(of: str, query: dict[str, str], param: str) -> None:
    """With the parameter that is wrong."""

    async def scene(client: httpx.AsyncClient) -> None:
        made = await ask(client)
        answer = await client.get(
            PATH if of == "completions" else f"{PATH}/{made['id']}/messages", params=query
        )
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)

    played(scene)


def test_metadata_is_replaced() -> None:
    """As a whole; null is none at all. The list goes by the new one."""

    async def scene(client: httpx.AsyncClient) -> None:
        made = await ask(client, metadata={"run": "x"})
        path = f"{PATH}/{made['id']}"
        changed = (await client.post(path, json={"metadata": {"seen": "yes"}})).raise_for_status().json()
        assert changed["metadata"] == {"seen": "yes"}
        assert changed["choices"] == made["choices"]
        assert await listed(client, **{"metadata[run]": "x"}) == []
        assert ids(await listed(client, **{"metadata[seen]": "yes"})) == [made["id"]]
        assert (await client.post(path, json={"metadata": None})).json()["metadata"] == {}
        assert (await client.get(path)).json()["metadata"] == {}

    played(scene)


@pytest.mark.parametrize(
    "wrong",
    [
        {"metadata": {str(number): "v" for number in range(17)}},
        {"metadata": {"k" * 65: "v"}},
        {"metadata": {"k": "v" * 513}},
        {"metadata": {"k": 1}},
        {"metadata": {"k": None}},
        {"metadata": ["k"]},
    ],
    ids=["pairs", "key", "value", "number", "null", "list"],
)
def test_metadata_has_its_bounds_everywhere(wrong: dict[str, Any]) -> None:
    """In a request, in a change, and in a batch; nothing is done then."""

    async def scene(client: httpx.AsyncClient) -> None:
        made = await ask(client, metadata={"k" * 64: "v" * 512, **{str(n): "" for n in range(15)}})
        path = f"{PATH}/{made['id']}"
        file_id = await upload(client, [line(0)])
        batch = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        for target, asked in [(path, wrong), (PATH, body(**wrong)), ("/batches", {**batch, **wrong})]:
            answer = await client.post(target, json=asked)
            assert (answer.status_code, answer.json()["error"]["param"][:8]) == (400, "metadata")
        assert len((await client.get(path)).json()["metadata"]) == 16
        assert (await client.post(path, json={})).status_code == 400
        assert len(await listed(client)) == 1

    played(scene)


def test_what_is_deleted_is_gone() -> None:
    """And says so; the others stay."""

    async def scene(client: httpx.AsyncClient) -> None:
        made = [await ask(client, str(number)) for number in range(2)]
        path = f"{PATH}/{made[0]['id']}"
        gone = (await client.delete(path)).raise_for_status().json()
        assert gone == {"id": made[0]["id"], "object": "chat.completion.deleted", "deleted": True}
        assert ids(await listed(client)) == [made[1]["id"]]
        for method, address in [("GET", path), ("GET", f"{path}/messages"), ("DELETE", path), ("POST", path)]:
            answer = await client.request(method, address, json={"metadata": {}})
            assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")

    played(scene)


def test_the_messages_of_the_request_are_listed() -> None:
    """Each with an id; content is text, and parts are in a member of their own."""
    parts = [{"type": "text", "text": "Look:"}, {"type": "text", "text": "there"}]
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": parts, "name": "ann"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "found", "tool_call_id": "c1"},
    ]

    async def scene(client: httpx.AsyncClient) -> None:
        made = await ask(client, messages=messages)
        path = f"{PATH}/{made['id']}/messages"
        page = (await client.get(path)).json()
        found = page["data"]
        assert len(set(ids(found))) == 4
        assert [one["role"] for one in found] == ["system", "user", "assistant", "tool"]
        assert [one["content"] for one in found] == ["Be brief.", None, None, "found"]
        assert [one["content_parts"] for one in found] == [None, parts, None, None]
        assert [one["name"] for one in found] == [None, "ann", None, None]
        assert (found[2]["tool_calls"], found[3]["tool_call_id"]) == ([call], "c1")
        assert (page["first_id"], page["last_id"], page["has_more"]) == (
            found[0]["id"],
            found[3]["id"],
            False,
        )
        assert await listed(client, path, order="desc") == found[::-1]
        assert await listed(client, path, after=found[1]["id"], limit=1) == found[2:3]

    played(scene)


def test_a_provider_may_not_list() -> None:
    """A 404, as of any address that is not; what is known by its id is still there."""

    async def scene(client: httpx.AsyncClient) -> None:
        made = await ask(client)
        answer = await client.get(PATH)
        assert (answer.status_code, "Invalid URL" in answer.text) == (404, True)
        assert (await client.get(f"{PATH}/{made['id']}")).json()["id"] == made["id"]

    played(scene, stored={"listing": False})


def test_a_completion_is_shown_some_time_after_it_was_billed() -> None:
    """Neither in the list nor by its id before that."""

    async def scene(client: httpx.AsyncClient) -> None:
        began = time.monotonic()
        path = f"{PATH}/{(await ask(client))['id']}"
        assert ((await client.get(path)).status_code, await listed(client)) == (404, [])
        while (await client.get(path)).status_code == 404:  # noqa: ASYNC110 - time shows it
            await asyncio.sleep(0.01)
        assert time.monotonic() - began >= 0.4
        assert len(await listed(client)) == 1

    played(scene, stored={"delay": 0.4})


def test_the_store_asks_for_the_key() -> None:
    """As the completions do."""

    async def scene(client: httpx.AsyncClient) -> None:
        made = await ask(client)
        wrong = {"authorization": "Bearer wrong"}
        for path in (PATH, f"{PATH}/{made['id']}"):
            answer = await client.get(path, headers=wrong)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")

    played(scene, api_key="right")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", PATH),
        ("GET", f"{PATH}x"),
        ("PUT", f"{PATH}/a"),
        ("GET", f"{PATH}/a/b"),
        ("GET", f"{PATH}/"),
    ],
)
def test_other_addresses_are_not_found(method: str, path: str) -> None:
    """Those near the store's too."""

    async def scene(client: httpx.AsyncClient) -> None:
        assert (await client.request(method, path)).status_code == 404

    played(scene)
