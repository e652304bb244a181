"""A file of requests becomes a batch, once and never twice, wherever a kill or a lost answer comes between.

What is to be created is on disk before it is asked for, under a name that the batch is stamped with. Where
the answer does not come, the provider's batches are looked through for that name; where they cannot be
listed, somebody has to say.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import NamedTuple

import anyio
import anyio.lowlevel

from batchrun.answer.in_flight import InFlightCall
from batchrun.batches.api import ApiError, BatchApi, ProviderBatch
from batchrun.batches.context import BatchContext
from batchrun.batches.writing import Written
from batchrun.chat.stamps import BATCH, JOB, RUN
from batchrun.run_folder.checkpoint.batches import BatchRecord, drop_record, keep_rows
from batchrun.summary import Stop
from batchrun.wording import counted

_FULL = re.compile(r"token_limit_exceeded|enqueued token|enqueued.{0,40}limit|too many.{0,30}batch", re.I)


class Refusal(NamedTuple):
    """Why a provider has not created a batch, in its words.

    `is_full`: others must be over first; else it has limited the rate alone.
    """

    words: str
    is_full: bool


class Sender:
    """Uploads files, creates batches of them, and finds those again of which it is not known.

    `looks` are the seconds before each look for one.
    """

    def __init__(self, context: BatchContext, began: float, looks: tuple[float, ...]) -> None:
        self._context = context
        self.began = began
        """When rows were first given to a batch (seconds since the epoch)."""
        self._looks = looks
        self.refusals: dict[tuple[str, str], Refusal] = {}
        """The last ones, by endpoint and model."""

    async def upload(self, written: Written) -> BatchRecord | None:
        """Upload a file; the record of what may be created of it, not on disk yet. None: the run stops.

        Raises NoBatchesError.
        """
        context, model = self._context, self._context.job.models[written.model_index]
        try:
            name = f"batchrun-{context.run_id}-{written.stem}.jsonl"
            file_id = await self._api(model.endpoint).upload(written.path, name)
        except ApiError as error:
            self._refused(model.endpoint, error, "a file of requests could not be uploaded")
            return None
        written.path.unlink()
        keep_rows(context.checkpoint, written.stem, written.rows)
        record = BatchRecord(
            stem=written.stem,
            name="",
            endpoint=model.endpoint,
            model=model.qualified_name,
            model_index=written.model_index,
            named=written.named,
            lines=written.lines,
            tokens=written.tokens,
            bound_usd=written.bound_usd,
            bound_tokens=written.bound_tokens,
            file_id=file_id,
            began=self.began,
            at=0.0,
        )
        context.reserve(record, written.reservation)
        return record

    async def create(self, record: BatchRecord) -> ProviderBatch | None:
        """Create the batch of an uploaded file; what the provider says of it. None: it has not been created,
        because the provider has enough of ours, or the run stops."""
        context = self._context
        await context.control.admission.until_resumed()
        name = f"{context.run_id}-{record.stem}-{secrets.token_hex(2)}"
        record = replace(record, name=name, at=context.clock.wall(), batch_id="", status="")
        context.keep(record)
        await anyio.to_thread.run_sync(context.ship)
        flight = InFlightCall(record.model_index, context.clock.monotonic())
        told: ProviderBatch | None = None
        error: ApiError | None = None
        known = False
        with context.in_flight_calls.under_way(flight):  # what is created must be written down
            told, error = await self._asked(record)
            known = True
        if not known:  # the drain is over: the next submit looks for it
            await anyio.lowlevel.checkpoint()
        if told is not None:
            self._created(record, told)
        elif error is not None:
            drop_record(context.checkpoint, record, rows=False)
            refusal = Refusal(error.error.message, _is_full(error))
            self.refusals[record.endpoint, record.model] = refusal
            if not refusal.is_full and error.error.type != "rate_limit":
                self._refused(record.endpoint, error, "a batch could not be created")
        return told

    async def _asked(self, record: BatchRecord) -> tuple[ProviderBatch | None, ApiError | None]:
        """The batch that is created, and not there already; else why there is none."""
        context, api = self._context, self._api(record.endpoint)
        stamps = {JOB: context.job.name[:512], RUN: context.run_id, BATCH: record.name}
        for attempt in count(1):
            try:
                return await api.create(record.file_id, context.job.engine.completion_window, stamps), None
            except ApiError as error:
                failure = error
            if _is_full(failure):
                break
            if failure.unsure:
                context.log("batch_unsure", batch=record.name, reason=failure.error.message)
                if found := await self.look_for(record):
                    return found, None
            wait = api.wait(failure, attempt)
            if wait is None:
                break
            await context.clock.sleep(wait)
        return None, failure

    async def look_for(self, record: BatchRecord) -> ProviderBatch | None:
        """A batch that may have been created. None: it was not, or the run stops and asks."""
        context, api = self._context, self._api(record.endpoint)
        for wait in self._looks:
            await context.clock.sleep(wait)
            try:
                if found := await api.find(record.name, record.file_id):
                    return found
            except ApiError as error:
                if error.lacking:
                    context.control.stop(Stop("batches", _ask(record)))
                else:
                    context.end(record.endpoint, error, "whether a batch was created cannot be found out now")
                raise StoppedError from error
        return None

    def adopt(self, record: BatchRecord, told: ProviderBatch) -> None:
        """Take up a batch that an earlier submit has created."""
        self._context.reserve(record)
        self._created(record, told)

    def _created(self, record: BatchRecord, told: ProviderBatch) -> None:
        context = self._context
        record = replace(record, batch_id=told.id, status=told.status)
        if all(one.stem != record.stem for one in context.outstanding):
            context.outstanding.append(record)
        context.keep(record)
        context.log("batch", batch=told.id, rows=record.lines, model=record.model, name=record.name)

    def _refused(self, endpoint: str, error: ApiError, doing: str) -> None:
        if error.lacking:
            raise NoBatchesError(error.error.message)
        self._context.end(endpoint, error, doing)

    def _api(self, endpoint: str) -> BatchApi:
        return self._context.apis[endpoint]


class NoBatchesError(Exception):
    """An endpoint has no files, or no batches."""


class StoppedError(Exception):
    """The run has been stopped meanwhile; what was begun is on disk."""


def _is_full(error: ApiError) -> bool:
    return says_full([{"code": error.error.code, "message": str(error)}])


def says_full(errors: Iterable[Mapping[str, object]]) -> bool:
    """Whether the provider's words say that others must be over before a batch finds room."""
    return any(_FULL.search(f"{one.get('code')} {one.get('message')}") for one in errors)


def _ask(record: BatchRecord) -> str:
    return (
        f"{record.endpoint} was asked to create a batch of {counted(record.lines, 'row')} and has not "
        f"answered, and it does not list its batches. Look for a batch with the metadata "
        f"{BATCH}={record.name} or the input file {record.file_id} there, then submit with --batch "
        f"{record.stem}=ID, or with --batch {record.stem}=none where there is none"
    )
