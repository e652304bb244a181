"""The recipe that most people use: the openai SDK, a task a row, a semaphore."""

from __future__ import annotations

import asyncio
from typing import Any

import openai  # type: ignore[import-not-found,unused-ignore] # installed where the peers are, not here

from tests.benchmarks.peers.task import Task, perform


async def _ask(client: Any, turn: asyncio.Semaphore, prompt: str, request: dict[str, Any]) -> bool:
    async with turn:
        answer = await client.chat.completions.create(
            model="small", messages=[{"role": "user", "content": prompt}], **request
        )
        if not request.get("stream"):
            return bool(answer.choices[0].message.content)
        pieces = [choice.delta.content or "" async for chunk in answer for choice in chunk.choices]
        return bool("".join(pieces))


async def _all(task: Task) -> int:
    pool = openai.DefaultAsyncHttpxClient(
        limits=_limits(max_connections=task.in_flight, max_keepalive_connections=task.in_flight)
    )
    turn = asyncio.Semaphore(task.in_flight)
    request = task.request | task.response_format
    async with openai.AsyncOpenAI(
        base_url=task.base_url, api_key="none", max_retries=0, timeout=600, http_client=pool
    ) as client:
        asked = [_ask(client, turn, prompt, request) for prompt in task.prompts()]
        return sum(answer is True for answer in await asyncio.gather(*asked, return_exceptions=True))


def _limits(**numbers: int) -> Any:
    """Room for every call: the SDK keeps 100 connections by default, and opens 1,000."""
    return type(openai.DEFAULT_CONNECTION_LIMITS)(**numbers)


def work(task: Task) -> int:
    """Make the calls."""
    return asyncio.run(_all(task))


if __name__ == "__main__":
    perform(work)
