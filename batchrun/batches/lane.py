"""The batches that are with providers: each begins when there is room, and is taken up when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from batchrun.batches.api import ApiError, ProviderBatch
from batchrun.batches.context import BatchContext
from batchrun.batches.quotas import Quotas, Spoken
from batchrun.batches.sending import NoBatchesError, Refusal, Sender, StoppedError, says_full
from batchrun.batches.taking import Taking, give_it_up
from batchrun.budget import Amounts
from batchrun.run_folder.checkpoint.batches import BatchRecord, drop_record
from batchrun.summary import Stop
from batchrun.wording import counted

_PATIENCE = 3
"""How often a file is tried again that the provider has no room for although nothing of this run is there."""

_SURE = 0.25
"""Of a limit, what a file surely keeps within: its tokens are estimates, and providers may count more than
the prompts."""

_SOON = 10.0
"""Seconds between two looks at batches that are being cancelled, at most."""


@dataclass(slots=True)
class Lane:
    """What is with the providers, of one run.

    `waits`: whether to wait until there is room, and for batches to be over. `hurry_at` is when rows go on in
    realtime (seconds since the epoch), None for never.
    """

    context: BatchContext
    sender: Sender
    taking: Taking
    quotas: Quotas
    waits: bool
    hurry_at: float | None = None
    again: list[int] = field(default_factory=list)
    """Rows (by their indexes) that are to be asked again, or further."""
    no_room: str = ""
    """Why a file was not sent that nobody waits for."""
    hurrying: bool = False
    """Whether nothing more goes by batch."""
    _parked: list[BatchRecord] = field(default_factory=list)
    """Files that found no room."""
    _tries: dict[str, int] = field(default_factory=dict)
    _full: bool = False
    """Whether it was said that there is no room."""
    _silent: bool = False
    """Whether a provider has not answered when it was asked last."""

    async def begin(self, record: BatchRecord, *, waited: bool = False) -> bool:
        """Create the batch of an uploaded file as soon as there is room; False where nobody waits for that.

        Where the provider has no such file any more once it has `waited`, its rows are written anew, and
        their upload tells whether there are batches at all. Raises StoppedError and, unless it has waited,
        NoBatchesError.
        """
        while self._parked and self._parked[0] is not record:
            if not self.waits:
                return False
            await self._unpark()
        while not self.hurrying:
            refusal: Refusal | None = None
            if self.quotas.has_room(record, self._others(record)):
                try:
                    if await self.sender.create(record) is not None:
                        return True
                except NoBatchesError:
                    if not waited:
                        raise
                    break
                refusal = self._refused(record)
            self._say_full(record)
            if not self.waits:
                return False
            waited = True
            if refusal and not refusal.is_full:
                await self._rest()
            elif self._others(record):
                await self.next_over()
            elif await self._is_too_large(record):
                break
            else:
                await self._rest()
        await self._give_up(record)
        return True

    def _refused(self, record: BatchRecord) -> Refusal:
        """Why a batch has not been created; a limit that is named for it is learned. Raises StoppedError."""
        if self.context.control.stopped_by:
            raise StoppedError
        refusal = self.sender.refusals[record.endpoint, record.model]
        if refusal.is_full:
            self.quotas.hear(record, refusal.words)
        return refusal

    async def _is_too_large(self, record: BatchRecord) -> bool:
        """Whether a file has found no room often enough to try smaller ones.

        One well below the limit that the provider names waits for others than this run. Raises StoppedError
        for a single request above it.
        """
        tries = self._tries[record.stem] = self._tries.get(record.stem, 0) + 1
        limit = self.quotas.spoken(record)
        if tries <= _PATIENCE:
            return False
        if record.lines == 1:
            if limit is not None and record.tokens > limit.tokens:
                await self.leave(record)
                self.context.control.stop(Stop("no_model", _above(record, limit)))
                raise StoppedError
            return False
        if limit is not None and record.tokens <= _SURE * limit.tokens:
            return False
        self.quotas.halve(record)
        return True

    def _say_full(self, record: BatchRecord) -> None:
        if not self._full:
            self._full = True
            self.context.log("batch_waits", rows=record.lines, tokens=record.tokens)
            what = "the next one waits" if self.waits else "what is left stays pending"
            self.context.say(
                f"{record.endpoint} has no room for another batch yet: {what}{self._in_its_words(record)}"
            )

    def _in_its_words(self, record: BatchRecord) -> str:
        """Why a provider had no room, as far as it has said that."""
        said = self.quotas.spoken(record) or self.sender.refusals.get((record.endpoint, record.model))
        return f" ({said.words})" if said and said.words else ""

    async def next_over(self) -> None:
        """Wait until a batch is over, and take up what came of it; less where rows are to go on in realtime.

        Raises StoppedError.
        """
        while True:
            for record in list(self.context.outstanding):
                if (told := await self._look(record)) and told.is_over:
                    await self._take_up(record, told)
                    return
            if not self.waits or not self.context.outstanding:
                return
            await self._rest()

    async def settle(self) -> None:
        """Wait until no batch is left, and take up what came of each; where nobody waits, try once what has
        found no room. Raises StoppedError."""
        if not self.waits:
            parked, self._parked = self._parked, []
            for record in parked:
                if not await self.begin(record, waited=True):
                    await self.leave(record)
        while self.waits and (self._parked or self.context.outstanding):
            if self._parked and not self._others(self._parked[0]):
                await self._unpark()
            else:
                await self.next_over()

    async def look_once(self) -> None:
        """Take up every batch that is over by now."""
        for record in list(self.context.outstanding):
            if (told := await self._look(record)) and told.is_over:
                await self._take_up(record, told)

    async def mind_the_time(self) -> None:
        """Hurry, if it is time to."""
        late = self.hurry_at is not None and self.context.clock.wall() >= self.hurry_at
        if late and not self.hurrying:
            await self.hurry()

    async def hurry(self) -> None:
        """Let nothing more go by batch: what no batch has answered goes on in realtime."""
        self.hurrying = True
        rows = sum(record.lines - record.done for record in self.context.outstanding)
        if rows:
            self.context.say(
                f"finish_by is near: {counted(rows, 'row')} go on in realtime, at the full price"
            )
        for record in self.context.outstanding:
            await self.context.apis[record.endpoint].cancel(record.batch_id)
        for record in self._parked:
            await self._give_up(record)
        self._parked.clear()

    def _others(self, record: BatchRecord) -> list[BatchRecord]:
        """The batches of the same model that are under way."""
        asked = (record.endpoint, record.model, record.named)
        return [one for one in self.context.outstanding if (one.endpoint, one.model, one.named) == asked]

    async def _rest(self) -> None:
        """Wait for the next look, or for the moment from which rows go on in realtime."""
        clock, pause = self.context.clock, self.context.job.engine.poll
        if self.hurrying:
            pause = min(pause, _SOON)
        elif self.hurry_at is not None:
            pause = min(pause, max(0.0, self.hurry_at - clock.wall()))
        await clock.sleep(pause)
        await self.mind_the_time()

    async def _look(self, record: BatchRecord) -> ProviderBatch | None:
        """How a batch stands; None where that cannot be found out now."""
        context = self.context
        try:
            told = await context.apis[record.endpoint].get(record.batch_id)
        except ApiError as error:
            if error.lacking:
                self._lost(record, error)
            elif error.error.type in ("auth", "model_not_found"):
                context.end(record.endpoint, error, f"batch {record.batch_id} cannot be looked at")
                raise StoppedError from error
            elif not error.may_pass:
                text = f"{record.endpoint} does not tell of batch {record.batch_id}: {error.error.message}"
                context.control.stop(Stop("batches", f"{text}. {give_it_up(record)}"))
                raise StoppedError from error
            elif not self._silent:
                self._silent = True
                context.say(f"{record.endpoint} does not tell how its batches stand: {error.error.message}")
            return None
        self._silent = False
        if (told.status, told.done) != (record.status, record.done):
            context.log("batch_status", batch=told.id, status=told.status, done=told.done, rows=record.lines)
            context.keep(replace(record, status=told.status, done=told.done, failed=told.failed))
        if self.hurrying and not told.is_over and told.status != "cancelling":  # it was not heard
            await context.apis[record.endpoint].cancel(record.batch_id)
        return told

    def _lost(self, record: BatchRecord, error: ApiError) -> None:
        """The provider knows a batch no more. Raises StoppedError, unless it was a simulator's."""
        if not self.context.job.endpoints[record.endpoint].base_urls:  # which has ended with its submit
            self.again += self.taking.give_up(record)
            return
        text = (
            f"{record.endpoint} does not know batch {record.batch_id} any more, with "
            f"{counted(record.lines, 'row')}: {error.error.message}. {give_it_up(record)}"
        )
        self.context.control.stop(Stop("batches", text))
        raise StoppedError

    async def _take_up(self, record: BatchRecord, told: ProviderBatch) -> None:
        if says_full(told.errors):
            self._park(record, told.errors)
        else:
            self.again += await self.taking.take_up(record, told)

    def _park(self, record: BatchRecord, errors: Sequence[Mapping[str, Any]]) -> None:
        """There is no room for a batch yet: its file stays, and is tried again."""
        self.context.forget(record)
        drop_record(self.context.checkpoint, record, rows=False)
        self.quotas.learn(record, errors, self._others(record))
        self._say_full(record)
        self._parked.append(record)

    async def _unpark(self) -> None:
        """Try the first file again that found no room; split it where that does not help."""
        record = self._parked[0]
        if self._others(record):
            await self.next_over()
            return
        if await self._is_too_large(record):
            self._parked.remove(record)
            await self._give_up(record)
            return
        if self._tries[record.stem] > 1:
            await self._rest()
        if self._parked and self._parked[0] is record:
            self._parked.remove(record)
            await self.begin(record, waited=True)

    async def leave(self, record: BatchRecord) -> None:
        """A file that found no room is not to be sent now: its rows stay pending."""
        self.no_room = f"{record.endpoint} has no room for another batch now{self._in_its_words(record)}"
        self.taking.drop(record, Amounts())
        await self.context.apis[record.endpoint].delete(record.file_id)

    async def _give_up(self, record: BatchRecord) -> None:
        """Nothing comes of a file: its rows are asked some other way."""
        self.again += self.taking.give_up(record)
        await self.context.apis[record.endpoint].delete(record.file_id)


def _above(record: BatchRecord, limit: Spoken) -> str:
    return (
        f"{record.endpoint} has no room for a batch of one request of {counted(record.tokens, 'token')}: "
        f"{limit.words.rstrip('.')}. Have that limit raised, or set engine.kind: local: the rows that are "
        "left then go one by one"
    )
