"""Scenes with a simulator on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from batchrun.simulator import Call, Running, SimulatorConfig, read_ledger, serve
from tests.simulator.wire import HttpAnswer, ask

Scene = Callable[[Running], Awaitable[None]]


def play(scene: Scene, ledger: Path | None = None, **config: Any) -> list[Call]:
    """Run `scene` against a simulator; the calls in its ledger."""

    async def main() -> None:
        async with (
            asyncio.timeout(8),
            serve(SimulatorConfig.model_validate(config), ledger=ledger) as running,
        ):
            await scene(running)

    asyncio.run(main())
    return read_ledger(ledger) if ledger else []


def asked(content: bytes | None = None, headers: dict[str, str] | None = None, **config: Any) -> HttpAnswer:
    """The answer to one request."""
    found = []

    async def scene(running: Running) -> None:
        found.append(await ask(running.base_url, content, **(headers or {})))

    play(scene, **config)
    return found[0]


async def eventually(condition: Callable[[], bool]) -> None:
    """Give the simulator its turns until something has happened."""
    while not condition():  # noqa: ASYNC110 - the simulator's counts are no events
        await asyncio.sleep(0.001)
