"""The least that the same calls cost on batchrun's transport: N workers call it, and drop what they read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from batchrun.client import Timeouts, Transport, build_transport
from tests.benchmarks.peers.task import Task, perform

_TIMEOUTS = Timeouts(connect=10, idle=120, total=600)
"""batchrun's defaults."""
_HEADERS = {"accept": "application/json", "content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Makes calls through the seam, as bare as they can be."""

    transport: Transport
    url: str
    streams: bool

    async def call(self, body: bytes) -> bool:
        """Whether the answer was one."""
        answer = await self.transport.send(self.url, _HEADERS, body, _TIMEOUTS.total, at_once=self.streams)
        chunks = aiter(answer)
        try:
            return answer.status == 200 and await (_heard if self.streams else _read)(chunks)
        finally:
            await answer.aclose()


async def _read(chunks: AsyncIterator[bytes]) -> bool:
    answer = orjson.loads(b"".join([chunk async for chunk in chunks]))
    return bool(answer["choices"][0]["message"]["content"])


async def _heard(chunks: AsyncIterator[bytes]) -> bool:
    rest, size = b"", 0
    async for chunk in chunks:
        *events, rest = (rest + chunk).split(b"\n\n")
        for event in events:
            if event == b"data: [DONE]":
                return size > 0
            for choice in orjson.loads(event[len(b"data: ") :])["choices"]:
                size += len(choice["delta"].get("content") or "")
    return False


def _bodies(task: Task) -> Iterator[bytes]:
    rest = {"model": "small", **task.request, **task.response_format}
    for prompt in task.prompts():
        yield orjson.dumps({"messages": [{"role": "user", "content": prompt}], **rest})


async def _work(caller: Caller, bodies: Iterator[bytes]) -> int:
    return sum([await caller.call(body) for body in bodies])


async def _all(task: Task) -> int:
    ca_file = Path(task.ca_file) if task.ca_file else None
    transport = build_transport(_TIMEOUTS, ca_file=ca_file, max_connections=task.in_flight)
    caller = Caller(transport, f"{task.base_url}/chat/completions", bool(task.request.get("stream")))
    bodies = _bodies(task)
    try:
        return sum(await asyncio.gather(*(_work(caller, bodies) for _ in range(task.in_flight))))
    finally:
        await transport.aclose()


def work(task: Task) -> int:
    """Make the calls."""
    return asyncio.run(_all(task))


if __name__ == "__main__":
    perform(work)
