"""What verbs that change a run do around their work, where the run is kept in object storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from batchrun.job import Job
from batchrun.remote.copies import LocalCopy
from batchrun.remote.lease import TTL
from batchrun.remote.leased_run import LeasedRun, held
from batchrun.remote.reading import require_run
from batchrun.run_folder.checkpoint.spend import keep_dropped
from batchrun.run_folder.folder import RunFolder
from batchrun.run_folder.log import Log
from batchrun.summary import Summary


@contextmanager
def held_run(
    job: Job, say: Callable[[str], None], *, ttl: float = TTL, begins: bool = False
) -> Iterator[LeasedRun | None]:
    """Hold a job's run in the block as `held` does; None for one that is kept on this machine alone.

    Unless the block `begins` one where there is none, that raises RunFolderError, and nothing is written.
    """
    if job.output_address is None:
        yield None
        return
    if not begins:
        require_run(job.output_address, job.output_path)
    with held(LocalCopy(job.output_address, job.output_path), job.name, say, ttl=ttl) as remote:
        yield remote


def account_for_loss(remote: LeasedRun, run: RunFolder, say: Callable[[str], None], log: Log) -> None:
    """Say what submits before took with them, and count what that had cost; upload that, and what is on this
    machine alone, before anything is asked: were the machine lost now, nobody would know of it.

    For the holder of the lock. Raises as `LeasedRun.ship`.
    """
    for loss in remote.losses:
        say(loss.sentence())
        log("loss", host=loss.host, rows=loss.rows, calls=loss.calls)
        if loss.calls:
            keep_dropped(run.checkpoint_path, {f"lost with lease {loss.epoch}": loss.spend})
    if remote.losses or remote.is_ahead:
        remote.ship()
        remote.settle_losses()


def give_back(
    remote: LeasedRun, summary: Summary, *, say: Callable[[str], None], phase: Callable[[str], None]
) -> None:
    """Upload what a submit leaves, unless it was to stop at once. Raises as `LeasedRun.finish`."""
    if summary.stopped_by and summary.stopped_by.at_once:
        remote.leaves = True
        say(f"not uploaded: submit again from this machine, where {remote.copy.path} has all of it")
        return
    phase(f"uploading to {remote.copy.place}")
    remote.finish()
