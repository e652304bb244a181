"""The simulator as a process of its own, which lives exactly as long as whoever started it."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchrun.errors import BatchrunError
from batchrun.simulator.config import SimulatorConfig
from batchrun.simulator.server import serve_until

START_TIMEOUT = 30.0
"""Seconds a new process has until it serves."""

END_TIMEOUT = 5.0
"""Seconds a process has to end by itself before it is killed."""


@contextmanager
def start_process(config: SimulatorConfig, *, ledger: Path | None = None) -> Iterator[str]:
    """Start a simulator on a free loopback port, and give its base URL (ends in /v1); it ends with the block.

    It also ends when this process does, by kill -9 too: it lives on a pipe that only this process holds.
    It is in a session of its own, so that a Ctrl-C meant for this process leaves it answering. Raises
    BatchrunError when it does not come up.
    """
    # -P: a file of the user's named like one of our modules must not be imported.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "batchrun.simulator"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield _introduce(process, config, ledger)
    finally:
        _end(process)


def _introduce(process: subprocess.Popen[bytes], config: SimulatorConfig, ledger: Path | None) -> str:
    """Hand over the configuration; the base URL that comes back."""
    assert process.stdin is not None
    assert process.stdout is not None
    path = None if ledger is None else str(ledger.resolve())
    start = {"config": config.model_dump(mode="json"), "ledger": path}
    try:
        process.stdin.write(json.dumps(start).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended already: the empty line below says so
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(START_TIMEOUT) else b""
    if not line:
        raise BatchrunError(
            "the simulator did not start", hint="Look at what it said: it is above, on standard error."
        )
    return line.decode().strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """The child's side: read the start line, say the base URL, serve until standard input ends."""
    start = json.loads(sys.stdin.buffer.readline())
    config = SimulatorConfig.model_validate(start["config"])
    ledger = None if start["ledger"] is None else Path(start["ledger"])
    asyncio.run(serve_until(_orphaned, config, "127.0.0.1", 0, ledger, _say))


def _say(base_url: str) -> None:
    sys.stdout.write(base_url + "\n")
    sys.stdout.flush()


async def _orphaned() -> None:
    """Wait for the end of standard input, which comes when the parent closes it or is gone."""
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, lambda: None if os.read(0, 4096) else gone.set())
    await gone.wait()
