"""A cancelled call ends at once, in the scope that was cancelled, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from batchrun.client import Client, Timeouts
from batchrun.outcome import Exchange
from tests.client.servers import RELAXED, Handler, Peer, Server, answer, calling, replied, serving


async def stalling(peer: Peer) -> None:
    """Leave the first request without an answer; answer those after it with their own body."""
    await peer.request()
    if len(peer.server.requests) == 1:
        await peer.silence()
    await echoing(peer)


async def stalling_in_the_body(peer: Peer) -> None:
    """Leave the first answer half sent, and finish it when it is too late."""
    await peer.request()
    if len(peer.server.requests) == 1:
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc")
        await anyio.sleep(0.2)
        await peer.send(b"def")
        await peer.request()
    await echoing(peer)


async def echoing(peer: Peer) -> None:
    """Answer the request that was read, and those that follow, with their own bodies."""
    while True:
        await peer.send(answer(peer.server.requests[-1].partition(b"\r\n\r\n")[2]))
        await peer.request()


@asynccontextmanager
async def stalled(handler: Handler, timeouts: Timeouts = RELAXED) -> AsyncIterator[tuple[Client, Server]]:
    async with serving(handler) as server, calling(server.url, timeouts) as client:
        yield client, server


async def move_on_after(client: Client) -> bool:
    with anyio.move_on_after(0.05) as scope:
        await client.call(b"first")
    return scope.cancelled_caught


async def fail_after(client: Client) -> bool:
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.05):
            await client.call(b"first")
    return True


async def inner_scope_of_two(client: Client) -> bool:
    with anyio.CancelScope() as outer, anyio.move_on_after(0.05) as inner:
        await client.call(b"first")
    return inner.cancelled_caught and not outer.cancelled_caught


async def outer_scope_of_two(client: Client) -> bool:
    with anyio.move_on_after(0.05) as outer, anyio.CancelScope() as inner:
        await client.call(b"first")
    return outer.cancelled_caught and not inner.cancelled_caught


async def task_group(client: Client) -> bool:
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(client.call, b"first")
        await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    return True


async def failing_sibling(client: Client) -> bool:
    async def fail() -> None:
        await anyio.sleep(0.05)
        raise ZeroDivisionError

    failed = False
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call, b"first")
            tasks.start_soon(fail)
    except* ZeroDivisionError:  # and nothing else, or it would come through
        failed = True
    return failed


async def native_task(client: Client) -> bool:
    task = asyncio.ensure_future(client.call(b"first"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return task.cancelled()


async def native_timeout(client: Client) -> bool:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.call(b"first")
    return True


WAYS: list[Callable[[Client], Coroutine[Any, Any, bool]]] = [
    move_on_after,
    fail_after,
    inner_scope_of_two,
    outer_scope_of_two,
    task_group,
    failing_sibling,
    native_task,
    native_timeout,
]


@pytest.mark.parametrize("cancelled", WAYS)
@pytest.mark.parametrize("handler", [stalling, stalling_in_the_body])
def test_a_cancelled_call_ends_at_once_where_it_was_cancelled(
    cancelled: Callable[[Client], Coroutine[Any, Any, bool]], handler: Handler
) -> None:
    """Before the head or in the body: the scope that was cancelled catches it, and no other."""

    async def main() -> None:
        async with stalled(handler) as (client, _):
            started = anyio.current_time()
            assert await cancelled(client)
            assert anyio.current_time() - started < 0.3
            await anyio.lowlevel.checkpoint()  # no cancellation is left over in this task

    anyio.run(main)


@pytest.mark.parametrize("handler", [stalling, stalling_in_the_body])
def test_a_half_read_connection_is_not_used_again(handler: Handler) -> None:
    """The next call gets its own answer, not what was left of the cancelled one."""

    async def main() -> None:
        async with stalled(handler) as (client, server):
            assert await move_on_after(client)
            for body in (b"second", b"third"):
                assert replied(await client.call(body)).body == body
            assert server.connections > 1

    anyio.run(main)


def test_a_shielded_call_is_not_cancelled() -> None:
    """A drain shields what is in flight: the answer arrives although the scope was cancelled."""

    async def slow(peer: Peer) -> None:
        await peer.request()
        await anyio.sleep(0.05)
        await peer.send(answer(b"late"))

    async def main() -> None:
        exchanges: list[Exchange] = []
        async with stalled(slow) as (client, _):
            with anyio.CancelScope() as scope:
                scope.cancel()
                with anyio.CancelScope(shield=True):
                    exchanges.append(await client.call(b"{}"))
        assert replied(exchanges[0]).body == b"late"

    anyio.run(main)


def test_a_shield_with_a_deadline_ends_the_call_at_the_deadline() -> None:
    """The drain's own deadline counts inside its shield."""

    async def main() -> None:
        async with stalled(stalling) as (client, _):
            with anyio.CancelScope() as scope:
                scope.cancel()
                with anyio.move_on_after(0.1, shield=True) as drain:
                    await client.call(b"first")
                assert drain.cancelled_caught

    anyio.run(main)


def test_a_call_in_a_cancelled_scope_does_not_wait() -> None:
    """What was cancelled before the call begins ends it at its first step."""

    async def main() -> None:
        async with stalled(stalling) as (client, _):
            with anyio.CancelScope() as scope, anyio.fail_after(1):
                scope.cancel()
                await client.call(b"first")
            assert scope.cancelled_caught

    anyio.run(main)


def test_a_cancelled_calls_connection_is_gone_by_the_total_timeout() -> None:
    """pyreqwest lets a cancelled request run on; its total timeout is what ends it."""

    async def main() -> None:
        async with stalled(stalling, Timeouts(connect=5, idle=5, total=0.2)) as (client, server):
            assert await move_on_after(client)
            with anyio.fail_after(1):
                await server.deserted.wait()

    anyio.run(main)


def test_a_hundred_cancelled_calls_leave_room_for_the_next() -> None:
    """Calls that were cancelled hold no place that a later call would wait for."""

    async def main() -> None:
        async def handler(peer: Peer) -> None:
            request = await peer.request()
            if request.endswith(b"first"):
                await peer.silence()
            await peer.send(answer())

        async with stalled(handler) as (client, server):
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(client.call, b"first")
                await anyio.sleep(0.3)
                tasks.cancel_scope.cancel()
            assert replied(await client.call(b"second")).latency < 1
            assert server.connections == 101

    anyio.run(main)
