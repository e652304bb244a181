"""How many completions are generated at once: first come, first served, and places that come and go."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from batchrun.simulator import Running
from batchrun.simulator.limits.places import Places
from batchrun.simulator.limits.rules import ConcurrencyStep
from tests.simulator.playing import eventually, play
from tests.simulator.wire import ask, body


def constant(seconds: float) -> dict[str, Any]:
    return {"kind": "constant", "seconds": seconds}


async def ended(running: Running, calls: int) -> list[float]:
    """When each of so many calls was answered, from the first that went; they are sent one after another."""
    began = time.monotonic()
    done = [0.0] * calls

    async def one(place: int) -> None:
        assert (await ask(running.base_url, body(temperature=place / 100))).status == 200
        done[place] = time.monotonic() - began

    tasks = []
    for place in range(calls):
        tasks.append(asyncio.create_task(one(place)))
        await eventually(lambda: running.ledger.counts.calls == len(tasks))  # the order of arrival is known
    await asyncio.gather(*tasks)
    return done


def test_the_queue_is_served_in_order() -> None:
    """Who came first is answered first."""

    async def scene(running: Running) -> None:
        done = await ended(running, 6)
        assert done == sorted(done)
        assert done[-1] >= 0.3

    play(scene, limits={"concurrency": 1}, latency=constant(0.05))


def test_fewer_places_let_those_who_sit_finish() -> None:
    """Three begin at once; then there is one place, and the others go one by one after all three."""

    async def scene(running: Running) -> None:
        done = await ended(running, 5)
        assert max(done[:3]) < 0.5
        assert done[3] >= 0.4
        assert done[4] >= 0.6

    steps = [{"at": 0, "concurrency": 3}, {"at": 0.1, "concurrency": 1}]
    play(scene, limits={"concurrency": steps}, latency=constant(0.2))


def test_more_places_are_taken_when_they_come() -> None:
    """Those who wait need no departure to be let in."""

    async def scene(running: Running) -> None:
        done = await ended(running, 4)
        assert all(0.6 <= at < 1.0 for at in done[1:])  # they begin at 0.1 s, not when the first ends

    steps = [{"at": 0, "concurrency": 1}, {"at": 0.1, "concurrency": 4}]
    play(scene, limits={"concurrency": steps}, latency=constant(0.5))


def test_a_refusing_endpoint_changes_as_well() -> None:
    """With two places two are served and one is refused; with one place later, two are refused."""

    async def scene(running: Running) -> None:
        found = []
        for _ in range(2):
            answers = await asyncio.gather(*(ask(running.base_url) for _ in range(3)))
            found.append(sorted(answer.status for answer in answers))
            await asyncio.sleep(0.15)
        assert found == [[200, 200, 429], [200, 429, 429]]

    steps = [{"at": 0, "concurrency": 2}, {"at": 0.2, "concurrency": 1}]
    play(scene, limits={"concurrency": steps, "queue": False}, latency=constant(0.1))


def test_a_place_is_given_back_by_a_client_that_left_the_queue() -> None:
    """Its answer is generated all the same, in its turn, and the next one comes after it."""

    async def scene(running: Running) -> None:
        first = asyncio.create_task(ask(running.base_url))
        await eventually(lambda: running.ledger.counts.calls == 1)
        gone = asyncio.create_task(ask(running.base_url))
        await eventually(lambda: running.ledger.counts.calls == 2)
        gone.cancel()
        assert (await first).status == 200
        assert (await ask(running.base_url)).status == 200
        assert running.ledger.counts.billed == 3

    play(scene, limits={"concurrency": 1}, latency=constant(0.05))


def test_a_place_is_not_lost_with_the_one_it_was_given_to() -> None:
    """Given and cancelled in the same turn of the loop, it goes to the next one who waits."""

    async def main() -> None:
        places = Places(1, time.monotonic)

        async def sit() -> None:
            async with places:
                pass

        async with asyncio.timeout(5):
            async with places:
                first, second, third = (asyncio.create_task(sit()) for _ in range(3))
                await asyncio.sleep(0)
                second.cancel()  # while it waits
                await asyncio.sleep(0)
            first.cancel()  # it has just been given the place
            await third
        assert (first.cancelled(), second.cancelled(), places.taken, places.full) == (True, True, 0, None)

    asyncio.run(main())


def test_nobody_overtakes_those_who_wait() -> None:
    """A place that has just come is theirs, even before they have been told of it."""

    async def main() -> None:
        now = [0.0]
        steps = (ConcurrencyStep(at=0, concurrency=1), ConcurrencyStep(at=60, concurrency=2))
        places = Places(steps, lambda: now[0])

        async def sit() -> None:
            async with places:
                pass

        async with places:
            assert places.full == 1
            waiting = asyncio.create_task(sit())
            await asyncio.sleep(0)
            now[0] = 60.0
            assert places.full == 2
        await waiting
        assert places.full is None

    asyncio.run(main())


def test_leaving_while_calls_wait_leaves_nothing_behind() -> None:
    """The block ends at once, whoever still waits for a place, and however far off the next step is."""

    async def scene(running: Running) -> None:
        for calls in (1, 2, 3):
            task = asyncio.create_task(ask(running.base_url))
            await eventually(lambda calls=calls: running.ledger.counts.calls == calls)  # type: ignore[misc]  # mypy: lambda default
            task.cancel()

    steps = [{"at": 0, "concurrency": 1}, {"at": 3600, "concurrency": 2}]
    began = time.monotonic()
    play(scene, limits={"concurrency": steps}, latency=constant(3600))
    assert time.monotonic() - began < 5


def test_a_batching_engine_slows_down() -> None:
    """With slowdown 4 the fifth at once takes twice as long as the first, and no one waits for a place."""

    async def scene(running: Running) -> None:
        done = await ended(running, 5)
        assert done == sorted(done)
        assert 0.2 <= done[0] < 0.4 <= done[4]

    play(scene, slowdown=4, latency=constant(0.2))
