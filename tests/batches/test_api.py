"""Batches as providers tell of them, which differ: answers as they were recorded."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from batchrun.batches.api import ApiError, BatchApi, ProviderBatch
from batchrun.client import Resources, Server, Timeouts, build_transport
from batchrun.clock import SystemClock
from batchrun.errors import cause
from batchrun.job import PRESETS
from batchrun.policy.decision import RetryRules
from tests.client.servers import Peer, answer, serving

TOGETHER = {
    "id": "batch-1",
    "input_file_id": "file-1",
    "status": "IN_PROGRESS",
    "progress": 75.0,
    "created_at": "2026-01-15T14:30:00Z",
    "completed_at": None,
}


def told_by(
    document: object, *, find: bool = False, create: bool = False, status: str = "200 OK"
) -> ProviderBatch | None:
    """What is understood of an answer."""

    async def answering(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(json.dumps(document).encode(), status=status))

    async def ask() -> ProviderBatch | None:
        async with serving(answering) as server:
            transport = build_transport(Timeouts(5, 5, 5), max_connections=1)
            resources = Resources(Server(server.url, headers={}), transport)
            rules = RetryRules(max_attempts=1)
            api = BatchApi(resources, rules, SystemClock(), lambda: 0.0)
            try:
                if find:
                    return await api.find("name", "file-1")
                if create:
                    return await api.create("file-1", "24h", {})
                return await api.get("batch-1")
            finally:
                await resources.aclose()

    return anyio.run(ask)


def test_a_batch_of_openai_is_understood() -> None:
    """Its state, files and counts."""
    document = {
        "id": "batch_1",
        "status": "completed",
        "output_file_id": "file-2",
        "error_file_id": None,
        "request_counts": {"total": 10, "completed": 8, "failed": 2},
        "created_at": 100,
        "completed_at": 160,
        "errors": None,
        "metadata": {"a": "b", "batchrun_batch": "n"},
        "input_file_id": "file-1",
    }
    found = told_by(document)
    assert found == ProviderBatch(
        "batch_1", "completed", "file-2", None, 10, 2, (), 100.0, 160.0, "file-1", "n"
    )
    assert found.is_over


@pytest.mark.parametrize("create", [False, True])
def test_together_spells_it_otherwise(create: bool) -> None:
    """States in capitals, times as text, and a new one wrapped in `job`."""
    found = told_by({"job": TOGETHER} if create else TOGETHER, create=create)
    assert found == ProviderBatch("batch-1", "in_progress", input_file="file-1")


@pytest.mark.parametrize("listed", [[TOGETHER], {"data": [TOGETHER]}])
def test_a_batch_without_metadata_is_found_by_its_file(listed: object) -> None:
    """Some providers keep none, and give a list as it is."""
    assert told_by(listed, find=True) == ProviderBatch("batch-1", "in_progress", input_file="file-1")


@pytest.mark.parametrize("listed", [[], None, {"data": []}, [{**TOGETHER, "input_file_id": "file-2"}]])
def test_no_other_batch_is_taken_for_it(listed: object) -> None:
    """Nor nothing for one."""
    assert told_by(listed, find=True) is None


def test_a_batch_that_is_stamped_otherwise_is_another_one() -> None:
    """Though it were made of the same file."""
    stamped = {**TOGETHER, "metadata": {"batchrun_batch": "other"}}
    assert told_by([stamped], find=True) is None
    assert told_by([{**stamped, "metadata": {"batchrun_batch": "name"}, "input_file_id": "x"}], find=True)


@pytest.mark.parametrize("document", [{}, [], {"id": 5, "status": "completed"}, {"id": "x"}])
def test_what_is_no_batch_is_an_error(document: object) -> None:
    """Of which nobody knows whether something was done."""
    with pytest.raises(BaseExceptionGroup) as raised:
        told_by(document)
    error = cause(raised.value)
    assert isinstance(error, ApiError)
    assert error.unsure


def test_a_batch_that_is_not_there_is_told_in_the_providers_words() -> None:
    """It is no matter of the model or of where chat completions are."""
    said = "No such Batch object: batch-1"
    with pytest.raises(BaseExceptionGroup) as raised:
        told_by({"error": {"message": said, "type": "invalid_request_error"}}, status="404 Not Found")
    assert str(cause(raised.value)) == f"HTTP 404: nothing of that name or kind there: {said}"


def test_together_is_sent_files_as_it_wants_them(tmp_path: Path) -> None:
    """To a path of its own, with the purpose and the name beside."""
    path = tmp_path / "x"
    path.write_bytes(b"{}\n")
    seen: list[bytes] = []

    async def answering(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(answer(b'{"id": "file-1"}'))

    async def ask() -> None:
        async with serving(answering) as server:
            resources = Resources(
                Server(server.url, headers={}), build_transport(Timeouts(5, 5, 5), max_connections=1)
            )
            api = BatchApi(
                resources, RetryRules(max_attempts=1), SystemClock(), lambda: 0.0, PRESETS["together"].uploads
            )
            assert await api.upload(path, "in.jsonl") == "file-1"
            await resources.aclose()

    anyio.run(ask)
    assert b"POST /v1/files/upload" in seen[0]
    assert b'name="purpose"\r\n\r\nbatch-api' in seen[0]
    assert b'name="file_name"\r\n\r\nin.jsonl' in seen[0]


def test_a_batch_is_told_from_others_by_its_name_or_its_file() -> None:
    """One of which neither is told may be any."""
    told = ProviderBatch("batch-1", "in_progress", input_file="file-1", stamp="name")
    assert told.is_of("name", "file-2")
    assert told.is_of("other", "file-1")
    assert not told.is_of("other", "file-2")
    assert ProviderBatch("batch-1", "in_progress").is_of("name", "file-1")
