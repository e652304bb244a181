"""The batches that are with providers: each begins when there is room, and is taken up when it is over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from batchrun.batches.api import ApiError, Told
from batchrun.batches.arrived import Answers, Arrived, Known
from batchrun.batches.desk import Desk
from batchrun.batches.landing import Landing, Took
from batchrun.batches.lines import custom_id, refused
from batchrun.batches.sending import Sender, StoppedError, is_full
from batchrun.budget import Amounts
from batchrun.flights import Flight
from batchrun.run_folder.batches import Record, drop_record, read_rows
from batchrun.summary import Stop
from batchrun.wording import counted

_PATIENCE = 3
"""How often a file is tried again that the provider has no room for although nothing of this run is there."""

_SOON = 10.0
"""Seconds between two looks at batches that are being cancelled, at most."""

_LIMIT = re.compile(r"limit[^0-9]{0,10}([0-9][0-9,_.]*)", re.IGNORECASE)


@dataclass(slots=True)
class Lane:
    """What is with the providers, of one run.

    `waits`: whether to wait until there is room, and for batches to be over. `hurry_at` is when rows go on in
    realtime (seconds since the epoch), None for never.
    """

    desk: Desk
    sender: Sender
    landing: Landing
    waits: bool
    hurry_at: float | None = None
    again: list[int] = field(default_factory=list)
    """Rows (by their indexes) that are to be asked again, or further."""
    hurrying: bool = False
    """Whether nothing more goes by batch."""
    _quota: dict[tuple[str, str], int] = field(default_factory=dict)
    """Tokens that a model takes at once, as its provider has said."""
    _most: dict[tuple[str, str], int] = field(default_factory=dict)
    """Tokens that one file may have, where larger ones found no room."""
    _parked: list[Record] = field(default_factory=list)
    """Files that found no room."""
    _tries: dict[str, int] = field(default_factory=dict)
    _full: bool = False
    """Whether it was said that there is no room."""
    _silent: bool = False
    """Whether a provider has not answered when it was asked last."""

    def most_tokens(self, endpoint: str, model: str) -> float:
        """Tokens of prompts that one file may have."""
        known = (
            self.desk.job.engine.enqueued_tokens,
            self._quota.get((endpoint, model)),
            self._most.get((endpoint, model)),
        )
        return min((limit for limit in known if limit is not None), default=float("inf"))

    async def begin(self, record: Record) -> bool:
        """Create the batch of an uploaded file as soon as there is room; False where nobody waits for that.

        Raises StoppedError.
        """
        while self._parked and self._parked[0] is not record:
            if not self.waits:
                return False
            await self._unpark()
        while not self.hurrying:
            if self._has_room(record):
                if await self.sender.create(record) is not None:
                    return True
                if self.desk.control.stopped_by:
                    raise StoppedError
            if not self.waits:
                return False
            self._say_full(record)
            if self._others(record):
                await self.next_over()
            else:
                await self._rest()
        self._give_up(record)
        return True

    def _say_full(self, record: Record) -> None:
        if not self._full:
            self._full = True
            self.desk.log("batch_waits", rows=record.lines, tokens=record.tokens)
            self.desk.say(f"{record.endpoint} has no room for another batch yet: the next one waits")

    async def next_over(self) -> None:
        """Wait until a batch is over, and take up what came of it; less where rows are to go on in realtime.

        Raises StoppedError.
        """
        while True:
            for record in list(self.desk.outstanding):
                if (told := await self._look(record)) and told.is_over:
                    await self._take_up(record, told)
                    return
            if not self.waits or not self.desk.outstanding:
                return
            await self._rest()

    async def settle(self) -> None:
        """Wait until no batch is left, and take up what came of each; where nobody waits, try once what has
        found no room. Raises StoppedError."""
        if not self.waits:
            parked, self._parked = self._parked, []
            for record in parked:
                if not await self.begin(record):
                    await self.leave(record)
        while self.waits and (self._parked or self.desk.outstanding):
            if self._parked and not self._others(self._parked[0]):
                await self._unpark()
            else:
                await self.next_over()

    async def look_once(self) -> None:
        """Take up every batch that is over by now."""
        for record in list(self.desk.outstanding):
            if (told := await self._look(record)) and told.is_over:
                await self._take_up(record, told)

    async def hurry(self) -> None:
        """Let nothing more go by batch: what no batch has answered goes on in realtime."""
        self.hurrying = True
        rows = sum(record.lines - record.done for record in self.desk.outstanding)
        if rows:
            self.desk.say(f"finish_by is near: {counted(rows, 'row')} go on in realtime, at the full price")
        for record in self.desk.outstanding:
            await self.desk.apis[record.endpoint].cancel(record.batch_id)
        for record in self._parked:
            self._give_up(record)
        self._parked.clear()

    def _others(self, record: Record) -> list[Record]:
        """The batches of the same model that are under way."""
        asked = (record.endpoint, record.model, record.named)
        return [one for one in self.desk.outstanding if (one.endpoint, one.model, one.named) == asked]

    def _has_room(self, record: Record) -> bool:
        given = self.desk.job.engine.enqueued_tokens
        quota = given or self._quota.get((record.endpoint, record.model))
        others = self._others(record)
        return quota is None or not others or sum(o.tokens for o in others) + record.tokens <= quota

    async def _rest(self) -> None:
        """Wait for the next look, or for the moment from which rows go on in realtime."""
        clock, pause = self.desk.clock, self.desk.job.engine.poll
        if self.hurrying:
            pause = min(pause, _SOON)
        elif self.hurry_at is not None:
            pause = min(pause, max(0.0, self.hurry_at - clock.wall()))
        await clock.sleep(pause)
        if not self.hurrying and self.hurry_at is not None and clock.wall() >= self.hurry_at:
            await self.hurry()

    async def _look(self, record: Record) -> Told | None:
        """How a batch stands; None where that cannot be found out now."""
        desk = self.desk
        try:
            told = await desk.apis[record.endpoint].get(record.batch_id)
        except ApiError as error:
            if error.lacking:
                self._lost(record, error)
            elif error.error.type in ("auth", "model_not_found"):
                desk.end(record.endpoint, error, f"batch {record.batch_id} cannot be looked at")
                raise StoppedError from error
            elif not self._silent:
                self._silent = True
                desk.say(f"{record.endpoint} does not tell how its batches stand: {error.error.message}")
            return None
        self._silent = False
        if (told.status, told.done) != (record.status, record.done):
            desk.log("batch_status", batch=told.id, status=told.status, done=told.done, rows=record.lines)
            desk.keep(replace(record, status=told.status, done=told.done, failed=told.failed))
        return told

    def _lost(self, record: Record, error: ApiError) -> None:
        """The provider knows a batch no more. Raises StoppedError, unless it was a simulator's."""
        if not self.desk.job.endpoints[record.endpoint].base_urls:  # which has ended with its submit
            self._give_up(record)
            return
        text = (
            f"{record.endpoint} does not know batch {record.batch_id} any more, with "
            f"{counted(record.lines, 'row')}: {error.error.message}. Where it is gone for good, submit with "
            f"--batch {record.stem}=none: its rows are then asked, and paid for, again"
        )
        self.desk.control.stop(Stop("batches", text))
        raise StoppedError

    async def _take_up(self, record: Record, told: Told) -> None:
        if told.status == "failed" and told.output_file is None:
            await self._take_up_failed(record, told)
            return
        took = self.desk.clock.wall() - record.at
        if told.ended_at is not None and told.created_at is not None:  # in whole seconds
            took = min(took, told.ended_at - told.created_at + 1)
        with ExitStack() as stack:
            paths: list[Path] = []
            for name in (told.output_file, told.error_file):
                if name:
                    paths.append(path := self.desk.checkpoint / f"batch-{record.stem}-{len(paths)}.tmp")
                    stack.callback(path.unlink, missing_ok=True)
                    await self._download(record, name, path)
            arrived = stack.enter_context(
                Arrived(paths, max(0.0, took), self.desk.apis[record.endpoint].hide)
            )
            came, again = await self._landed(record, read_rows(self.desk.checkpoint, record), arrived)
        self._end(record, told, came, again)
        await self.desk.apis[record.endpoint].delete(record.file_id)

    async def _landed(self, record: Record, rows: pl.DataFrame, arrived: Answers) -> tuple[Took, list[int]]:
        """Take up answers: they are paid for, so whatever stops the run leaves them the time of the drain."""
        flight, landed = Flight(record.model_index, self.desk.clock.monotonic()), None
        with self.desk.flights.took_off(flight):
            try:
                landed = await self.landing.take_up(record, rows, arrived)
            finally:
                self.desk.flights.landed(flight)
        if landed is None:
            raise StoppedError
        return landed

    async def _download(self, record: Record, name: str, to: Path) -> None:
        try:
            await self.desk.apis[record.endpoint].download(name, to)
        except ApiError as error:
            self.desk.end(record.endpoint, error, f"the answers of batch {record.batch_id} cannot be fetched")
            raise StoppedError from error

    def _end(self, record: Record, told: Told, took: Took, again: list[int]) -> None:
        desk = self.desk
        self._drop(record, took.amounts)
        self.again += again
        desk.log(
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
        desk.say(f"batch {told.id} {told.status}: {took.answered:,} of {record.lines:,} answered{more}")
        if took.gone:
            desk.say(f"{counted(took.gone, 'answer')} of it to requests that the job makes no longer: kept")

    async def _take_up_failed(self, record: Record, told: Told) -> None:
        """A batch that was refused as a whole: nothing of it was worked on, nothing is billed."""
        errors = list(told.errors)
        if is_full(errors):
            self._park(record, errors)
            return
        wrong = {error["line"]: error for error in errors if isinstance(error.get("line"), int)}
        said = "; ".join(str(error.get("message")) for error in errors[:3]) or "it says no reason"
        if not wrong:
            self._drop(record, Amounts())
            text = f"{record.endpoint} has refused batch {told.id}: {said}"
            self.desk.control.stop(Stop("refused", text))
            raise StoppedError
        rows = read_rows(self.desk.checkpoint, record)
        at = [number - 1 for number in wrong if 0 < number <= len(rows)]
        names = (custom_id(*line) for line in rows[at].select("task", "call", "request_hash").iter_rows())
        known = Known(dict(zip(names, map(refused, wrong.values()), strict=False)))
        took, again = await self._landed(record, rows[at], known)
        others = rows.with_row_index("at").filter(~pl.col("at").is_in(at)).drop("at")
        self._end(record, told, took, [*again, *self._rows_of(others)])

    def _park(self, record: Record, errors: list[Mapping[str, object]]) -> None:
        """There is no room for a batch yet: its file stays, and is tried again."""
        desk, asked = self.desk, (record.endpoint, record.model)
        desk.forget(record)
        drop_record(desk.checkpoint, record, rows=False)
        told = next((match for one in errors if (match := _LIMIT.search(str(one.get("message"))))), None)
        if told and (number := int(re.sub(r"\D", "", told[1]) or 0)):
            self._quota[asked] = number
        elif others := self._others(record):
            self._quota[asked] = sum(other.tokens for other in others)
        self._say_full(record)
        self._parked.append(record)

    async def _unpark(self) -> None:
        """Try the first file again that found no room; split it where that does not help."""
        record = self._parked[0]
        if self._others(record):
            await self.next_over()
            return
        tries = self._tries[record.stem] = self._tries.get(record.stem, 0) + 1
        if tries > _PATIENCE and record.lines > 1:
            self._parked.remove(record)
            self._most[record.endpoint, record.model] = max(1, record.tokens // 2)
            self._give_up(record)
            return
        if tries > 1:
            await self._rest()
        if self._parked and self._parked[0] is record:
            self._parked.remove(record)
            await self.begin(record)

    async def leave(self, record: Record) -> None:
        """A file that found no room is not to be sent now: its rows stay pending."""
        self._drop(record, Amounts())
        await self.desk.apis[record.endpoint].delete(record.file_id)

    def _give_up(self, record: Record) -> None:
        """Nothing comes of a batch: its rows are asked some other way."""
        self.again += self._rows_of(read_rows(self.desk.checkpoint, record))
        self._drop(record, Amounts())

    def _rows_of(self, rows: pl.DataFrame) -> list[int]:
        """Where the rows of a batch stand in the input now."""
        found: list[int] = self.landing.matched(rows)["row_index"].to_list()
        return found

    def _drop(self, record: Record, took: Amounts) -> None:
        """Forget a batch that has come to its end; what it took counts in place of what was kept free."""
        desk = self.desk
        reservation = desk.reserved.pop(record.stem, None)
        if reservation is not None and desk.budget:
            desk.budget.settle(reservation, took)
        desk.forget(record)
        drop_record(desk.checkpoint, record)
