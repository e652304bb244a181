"""What earlier submits have left with providers, found again before anything else is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from batchrun.batches.api import ApiError
from batchrun.batches.context import BatchContext
from batchrun.batches.sending import Sender, StoppedError
from batchrun.errors import UsageError
from batchrun.run_folder.checkpoint.batches import BatchRecord, drop_record, forget_strays
from batchrun.wording import counted

NONE = "none"
"""What is said of a batch that the provider does not have."""


async def find(
    context: BatchContext, sender: Sender, records: Iterable[BatchRecord], given: Mapping[str, str]
) -> None:
    """Take up what earlier submits have created, or may have; `given` says by stem which batch of the
    provider's one is, or NONE. Raises StoppedError and UsageError."""
    forget_strays(context.checkpoint)
    known = {record.stem for record in records}
    for stem in given.keys() - known:
        names = ", ".join(sorted(known)) or "there are none"
        raise UsageError(
            f"--batch {stem}: no batch of that name is waited for",
            hint=f"Name one that is: {names}. `batchrun status` lists them.",
        )
    for record in records:
        said = given.get(record.stem)
        if said == NONE:
            drop_record(context.checkpoint, record)
            continue
        if record.endpoint not in context.apis:
            raise UsageError(
                f"{record.endpoint} has {counted(record.lines, 'row')} in a batch, and no model of the job "
                "is there now",
                hint=f"Put the model back, or give the batch up with --batch {record.stem}=none: its rows "
                "are then asked, and paid for, again.",
            )
        if said is None and record.is_known:
            context.outstanding.append(record)
            context.reserve(record)
        else:
            await _adopt(context, sender, record, said)


async def _adopt(context: BatchContext, sender: Sender, record: BatchRecord, given: str | None) -> None:
    """Take up a batch of which the id is not known, or is `given`; forget one that was never created."""
    api = context.apis[record.endpoint]
    try:
        told = await api.get(given) if given else await sender.look_for(record)
    except ApiError as error:
        context.end(record.endpoint, error, f"batch {given} cannot be looked at")
        raise StoppedError from error
    if told is None:
        drop_record(context.checkpoint, record)
        await api.delete(record.file_id)
        return
    context.say(f"batch {told.id} with {counted(record.lines, 'row')} was found again")
    sender.adopt(record, told)
