"""Scenes with the files and batches of a simulator, over a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from batchrun.simulator import Running, SimulatorConfig, serve

Scene = Callable[[httpx.AsyncClient], Awaitable[None]]


def line(number: int, **members: Any) -> dict[str, Any]:
    """A line of a batch, changed by `members`."""
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
    """Send a file of these lines; its id."""
    data = "".join(json.dumps(one) + "\n" for one in lines)
    files = {"file": ("in.jsonl", data.encode(), "application/jsonl")}
    answer = await client.post("/files", files=files, data={"purpose": "batch"})
    return str(answer.raise_for_status().json()["id"])


async def create(client: httpx.AsyncClient, file_id: str, **members: Any) -> dict[str, Any]:
    """Begin a batch."""
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
    """The lines of a file; none where there is no file."""
    if file_id is None:
        return []
    answer = await client.get(f"/files/{file_id}/content")
    return [json.loads(text) for text in answer.raise_for_status().text.splitlines()]
