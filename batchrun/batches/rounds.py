"""Files of requests out, answers in, until no row is left: what a run by batches does from beginning to end.

Rows are drawn and written in the order of the input, and a file becomes a batch as soon as it is full.
Batches that are over are taken up whenever there is something to wait for: a quota, the budget, the end. Rows
that are to be asked again form the next round, or go on in realtime.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import polars as pl

from batchrun.answer.answerer import Answerer
from batchrun.answer.needs import Estimator, Needs
from batchrun.answer.task import Task
from batchrun.batches.context import BatchContext
from batchrun.batches.drawing import Wanted, drawn
from batchrun.batches.lane import Lane
from batchrun.batches.sending import NoBatchesError, Sender, StoppedError
from batchrun.batches.writing import OpenFile, line_of
from batchrun.budget import Amounts, Budget
from batchrun.engines.chunks import in_chunks, in_thread
from batchrun.engines.tasks import Assigner
from batchrun.errors import BudgetExhaustedError, JobError
from batchrun.render.request import RowRequest
from batchrun.run_folder.journal.records import Done
from batchrun.summary import Stop
from batchrun.wording import counted

_WORTH = 5
_FEWEST = 10
"""Of the rows that a budget held at first a fifth, and so many rows, are the least to wait for."""


@dataclass(slots=True)
class Rounds:
    """The rows of a run on their way through batches.

    `states` are all rows of the job (see `index.match`). `realtime` takes rows to their outcomes by calls of
    their own. `canary` is how many rows do so first.
    """

    context: BatchContext
    lane: Lane
    sender: Sender
    answerer: Answerer
    estimator: Estimator
    assigner: Assigner
    states: pl.DataFrame
    realtime: Callable[[pl.DataFrame], Awaitable[None]]
    canary: int | None
    _files: dict[tuple[int, str], OpenFile] = field(default_factory=dict)
    """By the model, as a position in the job's chain and as the rows name it."""
    _by_calls: list[int] = field(default_factory=list)
    """Rows (by their indexes) whose model has no batches."""
    _held: int = 0
    """Rows that were added since the budget held no more for the last time."""
    _cut: int = 0
    """The most rows that were sent at once because the budget held no more."""
    _enough: bool = False
    """Whether the rows that are left stay pending, because nobody waits."""

    async def work(self, rows: pl.DataFrame) -> None:
        """Ask for `rows`, beside those that are with a provider already. Raises as a delivery does."""
        try:
            await self.lane.look_once()  # before anything is asked: what is over frees a part of the budget
            if self.canary is not None and len(rows):
                await self.realtime(rows.head(self.canary))
                rows = rows.slice(self.canary)
            await self._go_around(rows)
        except BudgetExhaustedError as exhausted:
            self.context.control.stop(Stop("budget", str(exhausted)))
        except StoppedError:
            pass
        finally:
            for file in self._files.values():
                file.discard()

    async def _go_around(self, rows: pl.DataFrame) -> None:
        while True:
            await self.lane.mind_the_time()
            left = await self._give(rows)
            await self.lane.settle()
            await self._in_realtime(self._by_calls)
            self._by_calls = []
            left += self.lane.again
            self.lane.again = []
            rows = self.states.filter(pl.col("row_index").is_in(left))
            if self.lane.hurrying or self.context.job.engine.leftovers == "realtime":
                await self._in_realtime(left)
                rows = rows.clear()
            if self._enough or rows.is_empty():
                self._tell_what_waits()
                return

    async def _in_realtime(self, rows: list[int]) -> None:
        if rows:
            await self.realtime(self.states.filter(pl.col("row_index").is_in(rows)))

    def _tell_what_waits(self) -> None:
        """End, where nobody waits for the batches that are under way, or for room for more."""
        waiting, counters, told = self.context.outstanding, self.context.counters, []
        rows = sum(record.lines for record in waiting)
        if waiting:
            are = "is" if rows == 1 else "are"
            text = f"{counted(rows, 'row')} {are} with the provider in {counted(len(waiting), 'batch')}"
            told.append(f"{text}: submit again to fetch what is answered")
        if self.lane.no_room:
            left = counted(counters.to_do - counters.finished - rows, "row")
            what = f"{left} more were not handed over" if waiting else f"nothing was handed over of {left}"
            told.append(f"{self.lane.no_room}: {what}, submit again later")
        if told:
            self.context.control.stop(Stop("waiting", "; ".join(told)))

    async def _give(self, rows: pl.DataFrame) -> list[int]:
        """Give rows to batches; those (by index) that are left because nothing more goes by batch."""
        given = array("q")
        async for chunk in in_thread(in_chunks(self.assigner.tasks(rows))):
            for task in chunk:
                if self.lane.hurrying or self._enough:
                    break
                await self._draw(task)
                given.append(task.row)
            if self.lane.hurrying or self._enough:
                break
            await self.context.journal.ready()
        if self.lane.hurrying:
            done = set(given)
            for file in self._files.values():
                done -= set(file.rows)
                self._discard(file)
            self._files.clear()
            return [row for row in rows["row_index"] if row not in done]
        await self._send_all()
        return []

    async def _draw(self, task: Task) -> None:
        found = await drawn(self.answerer, task)
        if isinstance(found, Done):
            self.context.control.finish(found)
        else:
            await self._add(task, found)
            self.assigner.keep(task)

    async def _add(self, task: Task, wanted: Wanted) -> None:
        """Add a row's next call to the file of its model, sending what is full."""
        request = task.request
        assert isinstance(request, RowRequest), "others have their outcome"
        is_prompt = not wanted.step.digest
        needs = self.estimator.needs(
            request, wanted.model_index, wanted.body, is_prompt=is_prompt, row_id=task.row_id
        )
        line = line_of(task, wanted)
        place = wanted.model_index, needs.named
        if (file := self._files.get(place)) and not file.takes(line, needs.prompt):
            await self._send(place)
            if self._enough:  # there was no room: what comes after it is not tried either
                return
        kept = _kept(needs)
        while not self._afford(place, kept):
            if not self._enough:
                await self._earn(kept)
            if self._enough:
                return
        self._files[place].add(line, task, wanted, needs, kept)
        self._held += 1

    def _afford(self, place: tuple[int, str], kept: Amounts) -> bool:
        """Keep free what the call can take; False where the budget does not hold it now."""
        index, named = place
        if place not in self._files:
            model, limits = self.context.job.models[index], self.context.job.engine
            most = self.lane.quotas.most_tokens(model.endpoint, model.qualified_name)
            self._files[place] = OpenFile(self.context.checkpoint, index, named, limits, most)
        file, budget = self._files[place], self.context.budget
        if budget is None:
            return True
        if file.reservation is not None:
            return budget.widen(file.reservation, kept)
        file.reservation = budget.reserve(kept, in_batch=True)
        return file.reservation is not None

    async def _earn(self, kept: Amounts) -> None:
        """Send what the budget holds, and wait until the batches leave a part of what was kept free for them:
        enough to keep `kept` free for a call.

        Raises BudgetExhaustedError where that is nothing, or so little that one small batch would follow the
        other.
        """
        budget = self.context.budget
        assert budget is not None, "nothing else keeps a row"
        lines, self._held = self._held, 0
        if not lines and not self.context.reserved and (said := budget.exhausted(kept)):
            raise BudgetExhaustedError(said)
        if self._cut and lines < max(_FEWEST, self._cut / _WORTH):
            caps = _caps(budget)
            raise BudgetExhaustedError(
                f"{caps}: what is left holds {counted(lines, 'row')}, too few to wait for another batch; "
                f"raise {caps} to go on"
            )
        self._cut = max(self._cut, lines)
        await self._send_all()
        if not self.lane.waits:
            self._enough = True
        else:
            await self.lane.settle()

    async def _send_all(self) -> None:
        for place in list(self._files):
            await self._send(place)

    async def _send(self, place: tuple[int, str]) -> None:
        """Send a file that is done. Raises StoppedError."""
        file = self._files.pop(place)
        if not file.lines:
            self._discard(file)
            return
        try:
            record = await self.sender.upload(file.close())
            if record is None:
                raise StoppedError
            if not await self.lane.begin(record):
                await self.lane.leave(record)
                self._enough = True
        except NoBatchesError as lacking:
            self._go_by_calls(place[0], file, str(lacking))

    def _go_by_calls(self, model_index: int, file: OpenFile, reason: str) -> None:
        """The rows of a file whose endpoint has no batches: those of a fallback go in realtime. Where that is
        the model of all rows, the run stops (StoppedError), or has not begun (JobError)."""
        job, model = self.context.job, self.context.job.models[model_index]
        text = f"endpoint {model.endpoint} has no batches: {reason}"
        if model_index == 0:
            hint = "Remove `engine`, or set engine.kind: local: its rows then go one by one."
            if not self.context.counters.finished:
                raise JobError(f"{job.where('engine', 'kind')}: {text}", hint=hint)
            self._discard(file)
            self.context.control.stop(Stop("no_model", f"{text}. {hint}"))
            raise StoppedError
        self.context.say(f"{text}; {counted(file.lines, 'row')} go in realtime")
        self._by_calls += file.rows
        self._discard(file)

    def _discard(self, file: OpenFile) -> None:
        """A file that is not to be sent."""
        if file.reservation is not None and self.context.budget:
            self.context.budget.settle(file.reservation, Amounts())
        file.discard()


def _kept(needs: Needs) -> Amounts:
    """What to keep free for a call: the most that it can take, where that has no bound what is likely."""
    bound, size = needs.bound, needs.size.asked
    likely = needs.price.bound(needs.prompt, max(0, size - needs.prompt)) if needs.price else None
    cost = likely if bound.cost_usd is None else bound.cost_usd
    return Amounts(cost, size if bound.tokens is None else bound.tokens, bound.requests)


def _caps(budget: Budget) -> str:
    """The caps of a budget, as the job spells them."""
    caps = {"cost_usd": budget.caps.cost_usd, "tokens": budget.caps.tokens, "requests": budget.caps.requests}
    return " or ".join(f"budget.{name}" for name, cap in caps.items() if cap is not None)
