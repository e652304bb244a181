"""The answers of a batch come to their rows: into the journal first, then as far as they lead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import anyio.lowlevel
import polars as pl

from batchrun.answer.answerer import Answerer
from batchrun.answer.task import Task
from batchrun.batches.arrived import Answers
from batchrun.batches.context import BatchContext
from batchrun.batches.drawing import drawn
from batchrun.batches.lines import custom_id
from batchrun.budget import Amounts
from batchrun.engines.chunks import in_chunks, in_thread
from batchrun.engines.tasks import TASK, Assigner
from batchrun.policy.judge import judge
from batchrun.prices import PriceOf
from batchrun.run_folder.checkpoint.batches import BatchRecord
from batchrun.run_folder.checkpoint.spend import amounts_of_call
from batchrun.run_folder.journal.history import History
from batchrun.run_folder.journal.lines import encode
from batchrun.run_folder.journal.records import Answered, Done, Sent


@dataclass(slots=True)
class BatchTotals:
    """What a batch has come to."""

    answered: int = 0
    failed: int = 0
    strange: int = 0
    gone: int = 0
    """Answers to requests that the job makes no longer."""
    cost_usd: float = 0.0
    tokens: int = 0
    requests: int = 0

    def add(self, amounts: Amounts) -> None:
        """Count what one of its calls took."""
        self.cost_usd += amounts.cost_usd or 0.0
        self.tokens += amounts.tokens or 0
        self.requests += amounts.requests

    @property
    def amounts(self) -> Amounts:
        """What its calls took together."""
        return Amounts(self.cost_usd, self.tokens, self.requests)


class AnswerDelivery:
    """Gives answers to their rows. `states` are all rows of the job (see `index.match`)."""

    def __init__(
        self,
        context: BatchContext,
        answerer: Answerer,
        assigner: Assigner,
        states: pl.DataFrame,
        unfinished: dict[int, History],
        price_of: PriceOf,
    ) -> None:
        self._context = context
        self._answerer = answerer
        self._assigner = assigner
        self._states = states
        self._unfinished = unfinished
        self._price_of = price_of
        self._finished: frozenset[int] = frozenset()

    def know(self, finished: Iterable[int]) -> None:
        """Tasks that earlier submits have finished, of batches that were not taken up to their end."""
        self._finished = frozenset(finished)

    async def take_up(
        self, record: BatchRecord, rows: pl.DataFrame, arrived: Answers
    ) -> tuple[BatchTotals, list[int]]:
        """Take up the answers to the `rows` of a batch (`checkpoint.batches.ROWS`).

        Gives what they took, and the rows (by their indexes) that are to be asked again or further. Raises
        StorageError, and what reading the input raises.
        """
        took, again = BatchTotals(strange=arrived.strange), []
        rows = rows.filter(~pl.col(TASK).is_in(list(self._finished))) if self._finished else rows
        here = self.matched(rows)
        lines = here.select(rows.columns).iter_rows(named=True)
        pairs = zip(self._assigner.tasks(here), lines, strict=True)
        async for chunk in in_thread(in_chunks(pairs)):
            for task, line in chunk:
                if await self._deliver(record, task, line, arrived, took):
                    again.append(task.row)
            await self._context.journal.ready()
            await anyio.lowlevel.checkpoint()
        for line in rows.join(here, on=TASK, how="anti").iter_rows(named=True):
            self._land_gone(record, line, arrived, took)
        return took, again

    def matched(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The job's rows that these requests are of, in the order of the input."""
        names = [name for name in ("row_index", "key", "hash", *_OF_STATES) if name in self._states.columns]
        states = self._states.select(names)
        found = states.join(rows, on=["key", "hash"], how="inner")
        if self._context.job.dedupe:  # any row that asks the same may have become the one that is asked
            others = rows.join(found, on=TASK, how="anti").drop("key")
            first = states.unique("hash", keep="first", maintain_order=True)
            found = pl.concat([found, first.join(others, on="hash", how="inner").select(found.columns)])
        return found.unique(TASK).sort("row_index")

    async def _deliver(
        self, record: BatchRecord, task: Task, line: dict[str, Any], arrived: Answers, took: BatchTotals
    ) -> bool:
        """One answer; whether its row is to be asked again."""
        history = task.history
        if line["call"] not in history.answered:
            sent, answered = self._records(record, {**line, "row": task.row}, arrived, took)
            known = line["call"] in history.sent
            lines = self._carry(sent, answered, known=known)
            if not known:
                history.add(sent, lines[0])
            if sent.request_hash == task.request_hash:  # else a picture has changed since
                history.add(answered, lines[-1])
        found = await drawn(self._answerer, task)
        if not isinstance(found, Done):
            self._assigner.keep(task)
            return True
        self._context.control.finish(found)
        self._context.counters.from_batches.rows += 1
        return False

    def _land_gone(
        self, record: BatchRecord, line: dict[str, Any], arrived: Answers, took: BatchTotals
    ) -> None:
        """An answer to a request that the job does not make any more: kept for when it does again."""
        known = self._unfinished.get(line[TASK])
        if known is None or line["call"] not in known.answered:
            sent, answered = self._records(record, line, arrived, took)
            self._carry(sent, answered, known=known is not None and line["call"] in known.sent)
        took.gone += 1

    def _carry(self, sent: Sent, answered: Answered, *, known: bool) -> list[bytes]:
        """Put an answer into the journal; the lines. `known`: its call is there, for a power cut may keep the
        first of two lines alone."""
        lines = [encode(answered)] if known else [encode(sent), encode(answered)]
        self._context.journal.carry(sent.task, lines)
        return lines

    def _records(
        self, record: BatchRecord, line: dict[str, Any], arrived: Answers, took: BatchTotals
    ) -> tuple[Sent, Answered]:
        exchange = arrived.of(custom_id(line[TASK], line["call"], line["request_hash"]))
        sent = _sent(record, line)
        answered = Answered(sent.task, sent.call, self._context.clock.wall(), exchange)
        self._count(sent, answered, took)
        return sent, answered

    def _count(self, sent: Sent, answered: Answered, took: BatchTotals) -> None:
        amounts, cost = amounts_of_call(sent, answered, self._price_of)
        took.add(amounts)
        judged = judge(answered.exchange)
        good = judged.completion is not None
        took.answered += good
        took.failed += not good
        # no requests, where the batch ended before it was begun
        self._context.counters.came_by_batch(amounts.requests, judged.bill.usage, cost)


_OF_STATES = ("state", "part", "position", "error_type")


def _sent(record: BatchRecord, line: dict[str, Any]) -> Sent:
    return Sent(
        task=line[TASK],
        call=line["call"],
        row=line["row"],
        key=line["key"],
        request_hash=line["request_hash"],
        model=record.model,
        endpoint=record.endpoint,
        model_index=record.model_index,
        at=record.at,
        tokens=line["tokens"],
        bound_usd=line["bound_usd"],
        bound_tokens=line["bound_tokens"],
        step=line["step"],
        step_digest=line["ask"],
        named=record.named,
        batch=record.batch_id,
    )
