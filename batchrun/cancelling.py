"""`cancel`: end the batches that are with providers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import anyio

from batchrun.batches.api import ApiError, BatchApi
from batchrun.batches.glance import brisk_api, look_now, unreachable
from batchrun.job import Job
from batchrun.remote.work import held_run
from batchrun.run_folder.checkpoint.batches import BatchRecord, keep_record, read_records
from batchrun.run_folder.checkpoint.with_providers import Batch
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.lock import locked
from batchrun.wording import counted

Say: TypeAlias = Callable[[str], None]

Came = Literal["cancelled", "over", "absent", "unknown", "unsure", "refused", "untouched"]
"""What has come of it: cancelled, or about to be; over before; never created; not known to the provider; not
known whether it was created; not cancelled, for a reason; left as it is."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A batch, and what came of ending it; `reason` says why it is not ended."""

    batch: Batch
    came: Came
    reason: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether nothing more is to be done about it."""
        return self.came in ("cancelled", "over", "absent", "untouched")


def standing(job: Job, env: Mapping[str, str], *, say: Say) -> tuple[Ended, ...]:
    """What `cancel` would end. Raises as it does."""
    run = RunFolder(job.output_path)
    with held_run(job, say):
        run.require()
        with locked(run.lock):
            batches = tuple(map(Batch.of, read_records(run.checkpoint_path)))
    seen = look_now(batches, job, env) if batches else ()
    return tuple(Ended(batch, "over" if batch.is_over else "untouched", batch.note) for batch in seen)


def cancel(job: Job, env: Mapping[str, str], *, say: Say) -> tuple[Ended, ...]:
    """End every batch of a run that is with a provider, under the run folder's lock.

    What they have answered by then is fetched by the next submit. `say` is told what becomes of a run in
    object storage. Raises RunLockedError while a submit is running, RunFolderError, and UsageError for keys
    that are missing.
    """
    run = RunFolder(job.output_path)
    with held_run(job, say) as remote:
        run.require()
        with locked(run.lock):
            records = read_records(run.checkpoint_path)
            ended = anyio.run(_cancel, job, env, run, records) if records else ()
        if remote:
            remote.finish()
        return ended


async def _cancel(
    job: Job, env: Mapping[str, str], run: RunFolder, records: Sequence[BatchRecord]
) -> tuple[Ended, ...]:
    ended: list[Ended] = []
    for endpoint in dict.fromkeys(record.endpoint for record in records):
        those = [record for record in records if record.endpoint == endpoint]
        if why := unreachable(job, endpoint):
            ended += [Ended(Batch.of(record), "refused", why) for record in those]
            continue
        async with brisk_api(job, endpoint, env) as api:
            ended += [await _end(api, run, record) for record in those]
    return tuple(ended)


async def _end(api: BatchApi, run: RunFolder, record: BatchRecord) -> Ended:
    try:
        known = record.is_known  # else it may never have been created
        found = await (api.get(record.batch_id) if known else api.find(record.name, record.file_id))
        if found is None:
            return Ended(Batch.of(record), "absent")
        record = replace(record, batch_id=found.id)
        was_over = found.is_over
        if not was_over:
            await api.cancel(found.id)
            found = await api.get(found.id)
    except ApiError as error:
        return _not_ended(record, error)
    keep_record(
        run.checkpoint_path, replace(record, status=found.status, done=found.done, failed=found.failed)
    )
    batch = Batch.of(record).told(found.status, found.done, found.failed)
    if was_over:
        return Ended(batch, "over")
    if found.is_over or found.status == "cancelling":
        return Ended(batch, "cancelled")
    return Ended(batch, "refused", f"{record.endpoint} leaves it {found.status}")


def _not_ended(record: BatchRecord, error: ApiError) -> Ended:
    batch, said = Batch.of(record), error.error.message
    if not record.is_known:
        reason = (
            f"whether {record.endpoint} has created it cannot be found out: {said}. Look for a batch with "
            f"the input file {record.file_id} there, then submit with --batch {record.stem}=ID, or with "
            f"--batch {record.stem}=none where there is none"
        )
        return Ended(batch, "unsure", reason)
    if error.lacking:
        reason = (
            f"{record.endpoint} does not know it: {said}. Where it is gone for good, submit with --batch "
            f"{record.stem}=none: its {counted(record.lines, 'row')} are then asked, and paid for, again"
        )
        return Ended(batch, "unknown", reason)
    return Ended(batch, "refused", said)
