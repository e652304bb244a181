"""Keys that a command prints: run again when refused, once for all, and never shown."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from batchrun.client import Client, CommandKey, KeyCommand, build_transport
from batchrun.errors import UsageError
from batchrun.outcome import Exchange, Response
from tests.client.servers import RELAXED, Peer, Server, answer, replied, serving

COUNTING = """\
import pathlib, sys, time
runs = pathlib.Path("runs.txt")
with runs.open("a") as file:
    file.write("x")
number = len(runs.read_text())
time.sleep(0.1)
print(f"secret-key-{number}")
"""
"""Prints another key each time, and counts its runs in the folder that it runs in."""


def command(folder: Path, script: str, *, patience: float = 30.0) -> KeyCommand:
    """A command that runs a Python script in `folder`."""
    (folder / "key.py").write_text(script)
    words = [sys.executable, "-S", "key.py", "--argument-of-it"]
    return KeyCommand("corp", words, folder=folder, env=dict(os.environ), patience=patience)


def runs(folder: Path) -> int:
    return len((folder / "runs.txt").read_text())


async def until(holds: Callable[[], bool]) -> None:
    """Wait until another process has done something."""
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110 - no event comes from there
            await anyio.sleep(0.01)


@dataclass
class Door:
    """A server that takes one key at a time, and quotes every key that it is shown."""

    valid: str = "secret-key-1"
    calls_left: float = float("inf")
    """After so many calls the key ends in -2, and so on."""
    seen: list[tuple[str, int]] = field(default_factory=list)
    pause: float = 0.0

    async def serve(self, peer: Peer) -> None:
        while True:
            head = (await peer.request()).partition(b"\r\n\r\n")[0].decode()
            key = head.partition("Bearer ")[2].partition("\r\n")[0]
            status = self.judge(key)
            self.seen.append((key, status))
            await anyio.sleep(self.pause)
            said = "200 OK" if status == 200 else "401 Unauthorized"
            await peer.send(answer(f"your key is {key}".encode(), status=said))

    def judge(self, key: str) -> int:
        if key == self.valid:
            self.calls_left -= 1
            if self.calls_left < 0:
                self.valid, self.calls_left = f"secret-key-{int(key[-1]) + 1}", 8
        return 200 if key == self.valid else 401

    @property
    def statuses(self) -> Counter[int]:
        return Counter(status for _, status in self.seen)


@asynccontextmanager
async def at(door: Door, given: KeyCommand, told: list[str]) -> AsyncIterator[tuple[Client, Server]]:
    """A client of `door` with the key that the command gives."""
    async with serving(door.serve) as server:
        key = CommandKey(given, await given.run(), header="authorization", say=told.append)
        transport = build_transport(RELAXED, max_connections=8)
        client = Client(server.url, headers={}, timeouts=RELAXED, transport=transport, key=key)
        try:
            yield client, server
        finally:
            await client.aclose()


async def call(client: Client) -> Response:
    """One call, made again where its key was refused and there is another: as a row's attempts do."""
    reply = replied(await client.call(b"{}"))
    return replied(await client.call(b"{}")) if reply.renewed else reply


async def together(client: Client, calls: int) -> list[Exchange]:
    """So many calls at once."""
    exchanges: list[Exchange] = []

    async def one() -> None:
        exchanges.append(await call(client))

    async with anyio.create_task_group() as tasks:
        for _ in range(calls):
            tasks.start_soon(one)
    return exchanges


def test_twenty_calls_with_an_expired_key_cost_one_run_and_are_all_answered(tmp_path: Path) -> None:
    """20 times 401, one run of the command, 20 times 200."""

    async def main() -> None:
        door = Door(pause=0.1)
        told: list[str] = []
        async with at(door, command(tmp_path, COUNTING), told) as (client, _):
            door.valid = "secret-key-2"
            exchanges = await together(client, 20)
        assert [replied(exchange).status for exchange in exchanges] == [200] * 20
        assert door.statuses == {401: 20, 200: 20}
        assert (runs(tmp_path), told) == (2, [])

    anyio.run(main)


def test_keys_that_last_for_some_calls_are_renewed_each_time(tmp_path: Path) -> None:
    """60 calls at a server that changes its key after every 8: all are answered."""

    async def main() -> None:
        door = Door(calls_left=8)
        async with at(door, command(tmp_path, COUNTING.replace("0.1", "0")), []) as (client, _):
            statuses = [(await call(client)).status for _ in range(60)]
        assert statuses == [200] * 60
        assert runs(tmp_path) == 1 + door.statuses[401]
        assert 6 <= door.statuses[401] <= 8

    anyio.run(main)


def test_a_call_refused_with_an_older_key_does_not_run_the_command_again(tmp_path: Path) -> None:
    """Its 401 comes when the others have a newer key already: it is sent again with that one."""

    async def main() -> None:
        door = Door(pause=0.5)
        async with at(door, command(tmp_path, COUNTING), []) as (client, _):
            door.valid = "secret-key-2"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call, client)
                await anyio.sleep(0.2)
                door.pause = 0
                assert (await call(client)).status == 200
        assert door.statuses == {401: 2, 200: 2}
        assert runs(tmp_path) == 2

    anyio.run(main)


@pytest.mark.parametrize(
    ("script", "calls", "commands"),
    [(COUNTING, 2, 3), (COUNTING.replace("{number}", "1"), 1, 2)],
    ids=["new key", "unchanged"],
)
def test_a_renewed_key_that_is_refused_too_leaves_the_401(
    tmp_path: Path, script: str, calls: int, commands: int
) -> None:
    """A row asks twice at most, and not with the key that was refused; what follows is the policy's."""

    async def main() -> None:
        door = Door()
        async with at(door, command(tmp_path, script), []) as (client, _):
            door.valid = "another"
            assert (await call(client)).status == 401
        assert (door.statuses, runs(tmp_path)) == ({401: calls}, commands)

    anyio.run(main)


def test_a_command_that_fails_later_is_told_once_and_leaves_the_401(tmp_path: Path) -> None:
    """It is not run again for every call that waits, and no call is sent again."""

    async def main() -> None:
        door = Door(pause=0.05)
        script = COUNTING + "if number > 1: sys.exit('please log in again')\n"
        told: list[str] = []
        async with at(door, command(tmp_path, script), told) as (client, _):
            door.valid = "another"
            statuses = {replied(exchange).status for exchange in await together(client, 5)}
        assert (statuses, door.statuses, runs(tmp_path)) == ({401}, {401: 5}, 2)
        assert len(told) == 1
        assert "endpoint corp" in told[0]
        assert "exit code 1: please log in again" in told[0]

    anyio.run(main)


def test_a_cancelled_call_leaves_the_renewal_to_the_next(tmp_path: Path) -> None:
    """Whoever runs the command may be cancelled; those who wait for the key get it."""

    async def main() -> None:
        door = Door()
        async with at(door, command(tmp_path, COUNTING.replace("0.1", "0.5")), []) as (client, _):
            door.valid = "secret-key-3"
            async with anyio.create_task_group() as tasks:
                first = anyio.CancelScope()

                async def cancelled() -> None:
                    with first:
                        await call(client)

                tasks.start_soon(cancelled)
                await until(lambda: runs(tmp_path) == 2)
                tasks.start_soon(call, client)
                await anyio.sleep(0.1)
                first.cancel()
        assert door.seen[-1] == ("secret-key-3", 200)
        assert runs(tmp_path) == 3

    anyio.run(main)


def test_the_renewal_is_within_the_calls_time(tmp_path: Path) -> None:
    """A command that hangs does not hold a call beyond its timeout: the 401 is its answer."""

    async def main() -> None:
        door = Door()
        script = COUNTING + "if number > 1: time.sleep(60)\n"
        async with at(door, command(tmp_path, script), []) as (client, _):
            door.valid = "another"
            started = time.monotonic()
            assert replied(await client.call(b"{}", timeout=0.5)).status == 401
            assert 0.4 < time.monotonic() - started < 1.5

    anyio.run(main)


def test_the_loop_goes_on_while_the_command_runs(tmp_path: Path) -> None:
    """Other calls are not held up by it."""

    async def main() -> None:
        ticks = 0
        async with anyio.create_task_group() as tasks:

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await anyio.sleep(0.01)
                    ticks += 1

            tasks.start_soon(tick)
            await command(tmp_path, "import time; time.sleep(0.3); print('key')").run()
            tasks.cancel_scope.cancel()
        assert ticks > 10

    anyio.run(main)


def test_this_key_and_those_before_it_are_hidden(tmp_path: Path) -> None:
    """In every answer; and no repr shows one."""

    async def main() -> None:
        door = Door()
        given = command(tmp_path, COUNTING)
        async with at(door, given, []) as (client, _):
            assert replied(await client.call(b"{}")).body == b"your key is [API key]"
            door.valid = "secret-key-2"
            assert replied(await client.call(b"{}")).body == b"your key is [API key]"
            key = client._key
            assert key is not None
            assert sorted(key.hidden.secrets) == ["secret-key-1", "secret-key-2"]
            for shown in (repr(client), repr(key), repr(given)):
                assert "secret" not in shown
                assert "argument" not in shown

    anyio.run(main)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.exit(3)", "it ended with exit code 3"),
        ("import sys; print('a\\nnot logged in', file=sys.stderr); sys.exit(1)", "code 1: not logged in"),
        ("import sys; print('secret-key'); sys.exit('secret-key is old')", "code 1: [API key] is old"),
        ("import sys; sys.exit('Bearer abcdef')", "it ended with exit code 1"),
        ("import os; os.kill(os.getpid(), 9)", "it ended with Killed"),
        ("pass", "it printed nothing"),
        ("import sys; print('none today', file=sys.stderr)", "it printed nothing: none today"),
        ("print('secret-1\\nsecret-2')", "it printed 2 lines"),
        ("print('secret is 1')", "no key: it holds blanks"),
        ("print('s\\u00e9cret')", "no key: it holds blanks or letters outside ASCII"),
        ("while True: print('secret' * 1000)", "it printed more than 65,536 bytes"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(tmp_path: Path, script: str, reason: str) -> None:
    """The endpoint, the program, what happened, what to do; never the arguments or the output."""

    async def main() -> None:
        with pytest.raises(UsageError) as caught:
            await command(tmp_path, script).run()
        said = str(caught.value)
        assert said.startswith(f"api_key_cmd of endpoint corp, {sys.executable}: ")
        assert reason in said
        assert "Run it by hand in the job's folder" in said
        for shown in ("secret", "abcdef", "argument"):
            assert shown not in said

    anyio.run(main)


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """A child that keeps the output open does not hold the run."""
    script = (
        "import subprocess, sys, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path('child.txt').write_text(str(child.pid))\n"
        "child.wait()\n"
    )

    async def main() -> None:
        with pytest.raises(UsageError, match=r"it did not end within 0\.7 s"):
            await command(tmp_path, script, patience=0.7).run()
        status = Path(f"/proc/{(tmp_path / 'child.txt').read_text()}/stat")
        await until(lambda: not status.exists() or ") Z" in status.read_text())

    anyio.run(main)


def test_a_program_is_found_from_the_jobs_folder_or_on_the_path(tmp_path: Path) -> None:
    """With a slash it is a path from the folder; without one PATH is searched, of the run's variables."""
    tool = tmp_path / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho key-from-$0-$NAME\n")
    tool.chmod(0o700)

    async def run(word: str, **env: str) -> str:
        return await KeyCommand("corp", [word], folder=tmp_path, env={"NAME": "x", **env}).run()

    async def main() -> None:
        assert await run("bin/tool") == f"key-from-{tool}-x"
        assert await run("tool", PATH=str(tool.parent)) == f"key-from-{tool}-x"
        with pytest.raises(UsageError, match=r"corp, tool: there is no such program"):
            await run("tool", PATH=str(tmp_path))
        tool.chmod(0o600)
        with pytest.raises(UsageError, match="there is no such program"):
            await run("bin/tool")

    anyio.run(main)
