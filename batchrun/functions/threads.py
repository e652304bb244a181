"""A call in a thread that nobody has to wait for.

anyio's worker threads are joined when the process ends, so that one function that hangs would keep a
finished or interrupted run from ending: here each call has a daemon thread of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

from anyio import CapacityLimiter


async def run_in_thread(function: Callable[[str], Any], argument: str, limiter: CapacityLimiter) -> Any:
    """Call `function` in a thread, in a copy of the context, and give its result or raise what it raises.

    When cancelled it does not wait: the thread runs on to its end, which nothing depends on.
    """
    async with limiter:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def work() -> None:
            try:
                settle: Callable[[Any], None] = future.set_result
                outcome = function(argument)
            except StopIteration as error:  # which a future cannot carry
                settle, outcome = future.set_exception, RuntimeError(f"StopIteration: {error}")
            except BaseException as error:  # raised again where it is awaited
                settle, outcome = future.set_exception, error
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(_settle, future, settle, outcome)

        context = contextvars.copy_context()
        Thread(target=context.run, args=(work,), name="batchrun function", daemon=True).start()
        return await future


def _settle(future: asyncio.Future[Any], settle: Callable[[Any], None], outcome: Any) -> None:
    if not future.done():  # it is cancelled when nobody waits any more
        settle(outcome)
