"""The functions that a model calls, run for a row, and what they gave kept in its records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import anyio

from batchrun import codec
from batchrun.answer.task import RowProgress, Task
from batchrun.chat.dialogue import RunTools
from batchrun.chat.response.completion import ToolCall
from batchrun.clock import Clock
from batchrun.run_folder.journal.journal import Recorder
from batchrun.run_folder.journal.records import Ran
from batchrun.summary import Counters

if TYPE_CHECKING:
    from batchrun.functions import Functions


class ToolRunner:
    """Runs the functions of a job. `log` takes an event's name and fields."""

    def __init__(
        self,
        functions: Functions,
        journal: Recorder,
        counters: Counters,
        clock: Clock,
        log: Callable[..., None],
    ) -> None:
        self._functions = functions
        self._journal = journal
        self._counters = counters
        self._clock = clock
        self._log = log

    async def run(self, task: Task, move: RunTools, progress: RowProgress) -> tuple[str, ...]:
        """What the called functions give: as recorded, else by running them, all at once.

        Raises OutOfTimeError, and StorageError when the journal cannot be written.
        """
        calls = [[call.id, call.name, call.arguments] for call in move.calls]
        digest = codec.digest_of(calls)
        recorded = task.history.ran.get(move.step)
        if recorded and recorded.calls == digest:
            return recorded.results
        results = [""] * len(move.calls)
        with progress.in_time(self._clock):
            async with anyio.create_task_group() as group:
                for at, call in enumerate(move.calls):
                    group.start_soon(self._run_one, call, results, at)
        self._count(task, move, results)
        ran = Ran(task.number, move.step, digest, tuple(results))
        self._journal.append(ran)
        task.history.ran[move.step] = ran  # for when the row is taken up again in this run
        return ran.results

    async def _run_one(self, call: ToolCall, results: list[str], at: int) -> None:
        results[at] = await self._functions.call(call.name or "", call.arguments or "")

    def _count(self, task: Task, move: RunTools, results: Sequence[str]) -> None:
        self._counters.tool_calls += len(results)
        for call, result in zip(move.calls, results, strict=True):
            if self._functions.is_error(result):
                self._counters.tool_errors += 1
                self._log("tool_error", row=task.row_id, function=call.name, error=result[:500])
