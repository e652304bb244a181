"""What earlier submits have left with providers, found again before anything else is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from batchrun.batches.api import ApiError, ProviderBatch
from batchrun.batches.context import BatchContext
from batchrun.batches.sending import Sender, StoppedError
from batchrun.chat.stamps import BATCH
from batchrun.errors import UsageError
from batchrun.run_folder.checkpoint.batches import NONE, BatchRecord, drop_record, forget_strays
from batchrun.wording import counted


async def find(
    context: BatchContext, sender: Sender, records: Sequence[BatchRecord], given: Mapping[str, str]
) -> None:
    """Take up what earlier submits have created, or may have; `given` says by stem which batch of the
    provider's one is, or NONE. Raises StoppedError, and UsageError before anything is changed."""
    forget_strays(context.checkpoint)
    _check(records, given)
    for record in records:
        if given.get(record.stem) != NONE:
            _check_endpoint(context, record)
    told = await _given(context, records, given)
    for record in records:
        if given.get(record.stem) == NONE:
            drop_record(context.checkpoint, record)
        elif found := told.get(record.stem):
            _adopt(context, sender, record, found)
        elif record.is_known:
            context.outstanding.append(record)
            context.reserve(record)
        elif looked_for := await sender.look_for(record):
            _adopt(context, sender, record, looked_for)
        else:
            drop_record(context.checkpoint, record)
            await context.apis[record.endpoint].delete(record.file_id)


def _check(records: Iterable[BatchRecord], given: Mapping[str, str]) -> None:
    """Raises UsageError where something is said of a batch that is not waited for."""
    known = {record.stem for record in records}
    for stem in given.keys() - known:
        names = ", ".join(sorted(known)) or "there are none"
        raise UsageError(
            f"--batch {stem}: no batch of that name is waited for",
            hint=f"Name one that is: {names}. `batchrun status` lists them.",
        )


def _check_endpoint(context: BatchContext, record: BatchRecord) -> None:
    """Raises UsageError where the job has no model any more where a batch is."""
    if record.endpoint not in context.apis:
        raise UsageError(
            f"{record.endpoint} has {counted(record.lines, 'row')} in a batch, and no model of the job "
            "is there now",
            hint=f"Put the model back, or give the batch up with --batch {record.stem}=none: its rows "
            "are then asked, and paid for, again.",
        )


async def _given(
    context: BatchContext, records: Iterable[BatchRecord], given: Mapping[str, str]
) -> dict[str, ProviderBatch]:
    """The provider's batches that the user has named, by stems. Raises UsageError where one is another."""
    found = {}
    for record in records:
        batch_id = given.get(record.stem, NONE)
        if batch_id == NONE:
            continue
        try:
            told = await context.apis[record.endpoint].get(batch_id)
        except ApiError as error:
            if error.lacking:
                raise _is_another(record, batch_id, f"{record.endpoint} has no batch of that id") from error
            context.end(record.endpoint, error, f"batch {batch_id} cannot be looked at")
            raise StoppedError from error
        if not told.is_of(record.name, record.file_id):
            raise _is_another(record, batch_id, "that batch was made of another file, under another name")
        found[record.stem] = told
    return found


def _is_another(record: BatchRecord, batch_id: str, why: str) -> UsageError:
    return UsageError(
        f"--batch {record.stem}={batch_id}: {why}",
        hint=f"Look at {record.endpoint} for the batch with the metadata {BATCH}={record.name} or the input "
        f"file {record.file_id}. Where there is none, --batch {record.stem}=none has its rows asked, and "
        "paid for, again.",
    )


def _adopt(context: BatchContext, sender: Sender, record: BatchRecord, told: ProviderBatch) -> None:
    """Take up a batch of which the id was not known."""
    context.say(f"batch {told.id} with {counted(record.lines, 'row')} was found again")
    sender.adopt(record, told)
