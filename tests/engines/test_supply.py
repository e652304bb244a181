"""The rows that wait for a worker."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from batchrun.answer.task import Task
from batchrun.engines.supply import Supply
from batchrun.outcome import Error

ERROR = Error("bad_row", "no object")


def row(number: int) -> Task:
    return Task(number, number, f"r{number}", number, "0" * 64, ERROR, (0,))


def test_rows_go_to_the_workers_in_order_and_each_once() -> None:
    """Three workers wait before there are rows; more rows come than there is room for."""
    taken: list[int] = []

    async def work(supply: Supply) -> None:
        while task := await supply.take():
            taken.append(task.number)
            await anyio.lowlevel.checkpoint()

    async def main() -> None:
        supply = Supply(4)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(work, supply)
            await anyio.wait_all_tasks_blocked()
            for first in range(0, 20, 2):
                await supply.put([row(first), row(first + 1)])
            supply.end()

    anyio.run(main)
    assert taken == list(range(20))


def test_a_chunk_wakes_no_more_workers_than_it_has_rows() -> None:
    """Hundreds of workers that look for a row in vain would cost more than the row."""
    looks: list[int] = []

    async def work(supply: Supply, number: int) -> None:
        await supply.take()
        looks.append(number)

    async def main() -> None:
        supply = Supply(4)
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(work, supply, number)
            await anyio.wait_all_tasks_blocked()
            await supply.put([row(0), row(1)])
            assert len(supply._waiting) == 3
            await anyio.wait_all_tasks_blocked()
            assert looks == [0, 1], "the first that came"
            supply.end()

    anyio.run(main)
    assert looks == [0, 1, 2, 3, 4], "the others are told that no row comes any more"


def test_the_feeder_waits_for_room() -> None:
    async def main() -> None:
        supply = Supply(2)
        await supply.put([row(0), row(1)])
        with anyio.move_on_after(0.01) as full:
            await supply.put([row(2)])
        assert full.cancelled_caught
        await supply.take()
        await supply.put([row(2)])
        assert [(await supply.take()), (await supply.take())] == [row(1), row(2)]

    anyio.run(main)


def test_nothing_is_taken_after_a_drop() -> None:
    """Not what waited, nor what a feeder that was on its way puts afterwards."""

    async def main() -> None:
        supply = Supply(2)
        await supply.put([row(0)])
        supply.drop()
        await supply.put([row(1)])
        assert supply.is_over
        assert await supply.take() is None

    anyio.run(main)
