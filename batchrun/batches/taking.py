"""A batch that is over is taken up: its files are fetched, and its answers come to their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import anyio.to_thread
import polars as pl

from batchrun.answer.in_flight import InFlightCall
from batchrun.batches.api import ApiError, ProviderBatch
from batchrun.batches.arrived import Answers, Arrived, Known
from batchrun.batches.context import BatchContext
from batchrun.batches.delivery import AnswerDelivery, BatchTotals
from batchrun.batches.lines import custom_id, refused
from batchrun.batches.sending import StoppedError
from batchrun.budget import Amounts
from batchrun.run_folder.checkpoint.batches import BatchRecord, drop_record, read_rows
from batchrun.run_folder.disk import storage_error
from batchrun.summary import Stop
from batchrun.wording import counted


class Taking:
    """Takes up batches of one run."""

    def __init__(self, context: BatchContext, delivery: AnswerDelivery) -> None:
        self._context = context
        self._delivery = delivery

    async def take_up(self, record: BatchRecord, told: ProviderBatch) -> list[int]:
        """Take up a batch that is over; the rows (by their indexes) that are to be asked again or further.

        Raises StoppedError, StorageError, and what reading the input raises.
        """
        rows = read_rows(self._context.checkpoint, record)
        if told.status == "failed" and told.output_file is None:
            took, again = await self._refused(record, told, rows)
        else:
            took, again = await self._answered(record, told, rows)
        self.drop(record, took.amounts)
        self._tell(record, told, took, again)
        await self._context.apis[record.endpoint].delete(record.file_id)
        return again

    def give_up(self, record: BatchRecord) -> list[int]:
        """Forget a batch that nothing comes of; its rows."""
        rows = self._rows_of(read_rows(self._context.checkpoint, record))
        self.drop(record, Amounts())
        return rows

    def drop(self, record: BatchRecord, took: Amounts) -> None:
        """Forget a batch that has come to its end; what it took counts in place of what was kept free."""
        context = self._context
        reservation = context.reserved.pop(record.stem, None)
        if reservation is not None and context.budget:
            context.budget.settle(reservation, took)
        context.forget(record)
        drop_record(context.checkpoint, record)

    async def _answered(
        self, record: BatchRecord, told: ProviderBatch, rows: pl.DataFrame
    ) -> tuple[BatchTotals, list[int]]:
        """What has come back, of a batch that was worked on.

        Providers name files, and write them to their ends, a moment after a batch is over: where lines lack
        it is looked at and fetched again, for rows without one are asked, and paid for, again.
        """
        api = self._context.apis[record.endpoint]
        for attempt in count(1):
            with ExitStack() as stack:
                arrived = stack.enter_context(await self._fetched(record, told, stack))
                lacks = _lacks(record, told, arrived)
                wait = api.pause(attempt) if lacks else None
                if wait is None:
                    if lacks:
                        self._tell_lacking(told, lacks)
                    return await self._delivered(record, rows, arrived)
            await self._context.clock.sleep(wait)
            with suppress(ApiError):
                told = await api.get(record.batch_id)
        raise AssertionError("attempts end")

    async def _fetched(self, record: BatchRecord, told: ProviderBatch, stack: ExitStack) -> Arrived:
        """The files of a batch; gone from the disk when `stack` ends."""
        paths: list[Path] = []
        for name in (told.output_file, told.error_file):
            if name:
                paths.append(path := self._context.checkpoint / f"batch-{record.stem}-{len(paths)}.tmp")
                stack.callback(path.unlink, missing_ok=True)
                await self._download(record, name, path)
        try:
            return await anyio.to_thread.run_sync(Arrived, paths, self._latency(record, told))
        except OSError as error:
            where = self._context.checkpoint
            raise storage_error(error, where, doing="read what was fetched into") from error

    async def _download(self, record: BatchRecord, name: str, to: Path) -> None:
        try:
            await self._context.apis[record.endpoint].download(name, to)
        except OSError as error:
            raise storage_error(error, to) from error
        except ApiError as error:
            if error.lacking:
                text = f"{record.endpoint} has the answers of batch {record.batch_id} no more: "
                text += f"{error.error.message}. {give_it_up(record)}"
                self._context.control.stop(Stop("batches", text))
                raise StoppedError from error
            what = f"the answers of batch {record.batch_id} cannot be fetched"
            self._context.end(record.endpoint, error, what)
            raise StoppedError from error

    def _latency(self, record: BatchRecord, told: ProviderBatch) -> float:
        """Seconds that a batch took, of which providers tell whole ones."""
        took = self._context.clock.wall() - record.at
        if told.ended_at is not None and told.created_at is not None:
            took = min(took, told.ended_at - told.created_at + 1)
        return max(0.0, took)

    async def _refused(
        self, record: BatchRecord, told: ProviderBatch, rows: pl.DataFrame
    ) -> tuple[BatchTotals, list[int]]:
        """A batch that was refused as a whole: nothing of it was worked on, nothing is billed.

        Where the provider names lines, their rows have that answer; the others are asked again.
        """
        wrong = _by_line(told.errors, len(rows))
        if not wrong:
            said = "; ".join(str(error.get("message")) for error in told.errors[:3]) or "it says no reason"
            self.drop(record, Amounts())
            text = f"{record.endpoint} has refused batch {told.id}: {said}"
            self._context.control.stop(Stop("refused", text))
            raise StoppedError
        at = list(wrong)
        names = rows[at].select("task", "call", "request_hash").iter_rows()
        known = {custom_id(*name): refused(wrong[place]) for place, name in zip(at, names, strict=True)}
        took, again = await self._delivered(record, rows[at], Known(known))
        others = rows.with_row_index("at").filter(~pl.col("at").is_in(at)).drop("at")
        return took, [*again, *self._rows_of(others)]

    async def _delivered(
        self, record: BatchRecord, rows: pl.DataFrame, answers: Answers
    ) -> tuple[BatchTotals, list[int]]:
        """Give answers to their rows: they are paid for, so that whatever stops the run leaves them the time
        of the drain."""
        flight, delivered = InFlightCall(record.model_index, self._context.clock.monotonic()), None
        with self._context.in_flight_calls.under_way(flight):
            delivered = await self._delivery.take_up(record, rows, answers)
        if delivered is None:
            raise StoppedError
        return delivered

    def _rows_of(self, rows: pl.DataFrame) -> list[int]:
        """Where the rows of a batch stand in the input now."""
        found: list[int] = self._delivery.matched(rows)["row_index"].to_list()
        return found

    def _tell_lacking(self, told: ProviderBatch, lines: int) -> None:
        context = self._context
        context.log("batch_lacks", batch=told.id, lines=lines)
        context.say(
            f"batch {told.id} {told.status}: the provider counts {counted(lines, 'answer')} more than its "
            "files have"
        )

    def _tell(self, record: BatchRecord, told: ProviderBatch, took: BatchTotals, again: list[int]) -> None:
        context = self._context
        context.log(
            "batch_over",
            batch=told.id,
            status=told.status,
            answered=took.answered,
            failed=took.failed,
            again=len(again),
            gone=took.gone,
            strange=took.strange,
        )
        more = f", {counted(len(again), 'row')} to be asked again" if again else ""
        context.say(f"batch {told.id} {told.status}: {took.answered:,} of {record.lines:,} answered{more}")
        if took.gone:
            context.say(
                f"{counted(took.gone, 'answer')} of it to requests that the job makes no longer: kept"
            )


def _lacks(record: BatchRecord, told: ProviderBatch, arrived: Arrived) -> int:
    """How many answers the files of a batch lack, by what the provider counts. Where it counts none, a batch
    that is completed has one for each request. Some count failed ones twice."""
    done = min(told.done, record.lines) or (record.lines if told.status == "completed" else 0)
    return max(0, done - len(arrived), done - told.failed - arrived.begun)


def _by_line(errors: Sequence[Mapping[str, Any]], lines: int) -> dict[int, Mapping[str, Any]]:
    """What is wrong with lines of a file, by their places from 0."""
    found = {}
    for error in errors:
        line = error.get("line")
        if isinstance(line, int) and 0 < line <= lines:
            found[line - 1] = error
    return found


def give_it_up(record: BatchRecord) -> str:
    """What to do about a batch that the provider does not have."""
    return (
        f"Where it is gone for good, submit with --batch {record.stem}=none: its rows are then asked, and "
        "paid for, again"
    )
